"""Is the run healthy? Plain functions from a step's records to numbers, and from numbers to alarms.

Call order in a step: `group_metrics` on all groups (failures included), `advantage_metrics` on the batch, `ratio_metrics` on the
log-probabilities of the update's first forward pass, then `alarms` on the merged dict with those of the steps before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.types import Group, Stop, Trajectory, Turn

__all__ = [
    "Thresholds",
    "advantage_metrics",
    "alarms",
    "common_failures",
    "group_metrics",
    "ratio_metrics",
    "staleness_metrics",
]


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What the rollouts of a step were like. Shares are in [0, 1]; means are over surviving trajectories, 0 if there is none.

    `groups_zero_variance` is among groups of two or more survivors, `groups_of_one` and `groups_empty` among all groups;
    `failures/<kind>` counts trajectories. `reward_std` is the mean over groups of two or more of the sample standard deviation.
    `spent/tokens` and `spent/tool_calls` are sums over the step, each shared or abandoned turn once.
    `reward/<term>` and `reward_std/<term>` are the same of a single term, summed over a trajectory's turns.
    """
    trajectories = [t for group in groups for t in group.trajectories]
    alive = [t for t in trajectories if not t.failed]
    sizes = [len(group.survivors) for group in groups]
    spreads = [_spread([t.reward for t in group.survivors]) for group in groups if len(group.survivors) > 1]
    metrics = {
        "groups": float(len(groups)),
        "groups_empty": _share(size == 0 for size in sizes),
        "groups_of_one": _share(size == 1 for size in sizes),
        "groups_zero_variance": _share(spread == 0 for spread in spreads),
        "trajectories": float(len(trajectories)),
        "survivors": float(len(alive)),
        "failures": _share(t.failed for t in trajectories),
        "reward": _mean([t.reward for t in alive]),
        "reward_std": _mean(spreads),
        "success": _share(t.outcome >= 1 for t in alive),
        "turns": _mean([len(t.turns) for t in alive]),
        "tokens": _mean([sum(len(turn.action_ids) for turn in t.turns) for t in alive]),
        "tool_calls": _mean([sum(turn.tool_calls for turn in t.turns) for t in alive]),
        "truncated_turns": _share(t.stop is Stop.TRUNCATED for t in alive),
        "truncated_tokens": _share(t.stop is Stop.TOKENS for t in alive),
        "truncated_budget": _share(t.stop is Stop.BUDGET for t in alive),
        "spent/tokens": float(sum(group.spent.tokens for group in groups)),
        "spent/tool_calls": float(sum(group.spent.tool_calls for group in groups)),
    }
    kinds = Counter(t.failure.kind for t in trajectories if t.failure)
    failures = {f"failures/{kind}": float(n) for kind, n in sorted(kinds.items())}
    return metrics | _turn_metrics(groups, alive) | _term_metrics(groups, alive) | failures


def common_failures(groups: Sequence[Group], most: int = 3) -> str:
    """What broke most often, for a person."""
    counts = Counter(f"{t.failure.kind}: {t.failure.detail}" for group in groups for t in group.trajectories if t.failure)
    return "; ".join(f"{n} x {says}" for says, n in counts.most_common(most)) or "nothing broke"


def staleness_metrics(groups: Sequence[Group], version: int) -> dict[str, float]:
    """How many updates behind the weights `version` the survivors' sampled tokens are: `staleness_mean` and `staleness_max`."""
    turns = [turn for group in groups for turn in _distinct(group.survivors) if not turn.given]
    ages = Counter[int]()
    for turn in turns:
        ages.update([version - v for v in turn.versions] if turn.versions else {version - turn.version: len(turn.action_ids)})
    tokens = ages.total()
    mean = sum(age * n for age, n in ages.items()) / tokens if tokens else 0.0
    return {"staleness_mean": mean, "staleness_max": float(max(ages, default=0))}


def advantage_metrics(batch: Batch, advantages: Tensor) -> dict[str, float]:
    """How much there is to learn from: moments of the advantages over trained tokens, and the share of those that are 0."""
    batch.check("advantage_metrics", advantages=(advantages, "BT"))
    values = advantages[batch.mask].double()
    if not len(values):
        return {"advantage_mean": 0.0, "advantage_std": 0.0, "advantage_max": 0.0, "advantage_zero": 1.0}
    return {
        "advantage_mean": float(values.mean()),
        "advantage_std": float(values.std(correction=0)),
        "advantage_max": float(values.abs().max()),
        "advantage_zero": float((values == 0).double().mean()),
    }


@torch.no_grad()
def ratio_metrics(logprobs: Tensor, batch: Batch, *, clip_low: float = 0.2, clip_high: float = 0.28) -> dict[str, float]:
    """The trainer's log-probabilities [B, T] against the engine's, over trained tokens; r = trainer / engine.

    Before the first optimiser step of a batch they are of the same weights, so every number here is error: of the engine's
    kernels, of the sampling transforms, of stale weights or of a shifted mask. `kl_engine` is k3, an estimate of
    KL(engine || trainer) in nats per token; `ess` the effective sample size as a share, (sum r)^2 / (n sum r^2).
    """
    log_ratio = batch.log_ratio(logprobs)[batch.mask].double()
    if not len(log_ratio):
        return {}
    gap = (logprobs - batch.logprobs)[batch.mask].double().abs()
    ratio = log_ratio.exp()
    clipped = (ratio < 1 - clip_low) | (ratio > 1 + clip_high)
    return {
        "ratio_mean": float(ratio.mean()),
        "ratio_max": float(ratio.max()),
        "ratio_clipped": float(clipped.double().mean()),
        "logprob_gap": float(gap.max()),
        "kl_engine": float((torch.expm1(log_ratio) - log_ratio).mean()),
        "ess": float(ratio.sum().square() / (len(ratio) * ratio.square().sum())),
    }


def _turn_metrics(groups: Sequence[Group], alive: Sequence[Trajectory]) -> dict[str, float]:
    """Over distinct turns: a turn that forked rollouts share counts once."""
    turns = _distinct(alive)
    spoken = [(group.task.id, turn.action) for group in groups for turn in _distinct(group.survivors)]
    repeats = [turn.action in {before.action for before in turn.path()[:-1]} for turn in turns if turn.parent is not None]
    return {
        "invalid_actions": _share(not turn.valid for turn in turns),
        "replies_cut": _share(turn.stop_reason == "length" for turn in turns),
        "repeated_actions": _share(repeats),
        "action_information": _information(spoken),
    }


def _term_metrics(groups: Sequence[Group], alive: Sequence[Trajectory]) -> dict[str, float]:
    """Each reward term by itself: what it pays, and how much it tells the trajectories of a group apart."""
    names = sorted({name for t in alive for turn in t.turns for name in turn.reward_terms})

    def total(trajectory: Trajectory, name: str) -> float:
        return sum(turn.reward_terms.get(name, 0.0) for turn in trajectory.turns)

    metrics: dict[str, float] = {}
    for name in names:
        metrics[f"reward/{name}"] = _mean([total(t, name) for t in alive])
        sizes = [[total(t, name) for t in group.survivors] for group in groups if len(group.survivors) > 1]
        metrics[f"reward_std/{name}"] = _mean([_spread(values) for values in sizes])
    return metrics


def _distinct(trajectories: Sequence[Trajectory]) -> list[Turn]:
    return list({id(turn): turn for t in trajectories for turn in t.turns}.values())


def _information(pairs: Sequence[tuple[Hashable, Hashable]]) -> float:
    """Plug-in mutual information of the pairs, nats. Of (task, reply): near 0, the replies no longer depend on the task.

    The plug-in estimate is too high on few samples, so only its fall means something (template collapse, RAGEN-2).
    """
    joint, left, right = Counter(pairs), Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    n = len(pairs)
    return sum(c / n * math.log(c * n / (left[a] * right[b])) for (a, b), c in joint.items()) if n else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When to raise an alarm. Shares are in [0, 1], entropies and divergences in nats per token."""

    patience: int = 3
    """Steps in a row that a slow trend must hold; what is plainly broken (not finite, weights out of step) alarms at once."""
    reference: int = 10
    """The first steps of the history; their median is what "than at the start" means."""
    solved: float = 0.9
    """Success above which low entropy is no collapse."""
    zero_variance: float = 0.8
    groups_of_one: float = 0.2
    failures: float = 0.2
    entropy_floor: float = 0.02
    entropy_fall: float = 0.1
    """Collapse: entropy below this share of the start's."""
    entropy_growth: float = 3.0
    """Explosion: entropy above this multiple of the start's, and half a nat above it."""
    kl_engine: float = 0.02
    ratio_clipped: float = 0.2
    ess: float = 0.5
    repeated_actions: float = 0.5
    information_fall: float = 0.2
    """Template collapse: dependence of replies on tasks below this share of its best."""
    truncated_turns: float = 0.5
    truncated_tokens: float = 0.2
    replies_cut: float = 0.2
    invalid_actions: float = 0.3
    success_fall: float = 0.5
    """Performance collapse: success below this share of its best."""


def alarms(
    history: Sequence[Mapping[str, float]], metrics: Mapping[str, float], thresholds: Thresholds = Thresholds()
) -> list[str]:
    """What a person should look at now: what, the number, what to try. `history` is the metrics of the steps before, in order.

    An alarm sounds once, on the step on which its condition has held long enough; it sounds again after a step without it.
    Metrics that a step lacks raise nothing.
    """
    steps = [*history, metrics]
    sounding: list[str] = []
    for find, patient in _CHECKS:
        need = thresholds.patience if patient else 1
        held = 0
        while held <= need and held < len(steps) and find(steps[: len(steps) - held], thresholds):
            held += 1
        if held == need:
            sounding.append(find(steps, thresholds))
    return sounding


_Steps = Sequence[Mapping[str, float]]
_Check = Callable[[_Steps, Thresholds], str]
"""Steps up to the one judged, thresholds -> the message, "" if all is well."""


def _not_finite(steps: _Steps, _: Thresholds) -> str:
    bad = [k for k in ("loss", "grad_norm", "entropy", "kl_engine", "critic_loss") if not math.isfinite(steps[-1].get(k, 0.0))]
    return f"{', '.join(bad)}: not finite, the update was wasted. Lower the learning rate; look for empty replies." if bad else ""


def _kl_engine(steps: _Steps, t: Thresholds) -> str:
    mend = (
        "engine and trainer disagree about the same weights. Check the weight update, the sampling temperature and top-p, the "
        "mask, and the precision of both."
    )
    if steps[-1].get("staleness_max", 0.0) > 0:
        return ""  # the samples are of older weights: `ess` and `ratio_clipped` watch over those
    return _above("kl_engine", steps, t.kl_engine, mend)


def _zero_variance(steps: _Steps, t: Thresholds) -> str:
    easy = steps[-1].get("success", 0.0) > 0.5
    mend = (
        "the tasks are too easy: raise the difficulty, or stop here" if easy else "the tasks are too hard: lower the difficulty"
    )
    return _above("groups_zero_variance", steps, t.zero_variance, f"{mend}; larger groups help too.")


def _entropy_collapse(steps: _Steps, t: Thresholds) -> str:
    now, start = steps[-1].get("entropy"), _start("entropy", steps, t)
    if now is None or steps[-1].get("success", 0.0) >= t.solved or now >= max(t.entropy_floor, t.entropy_fall * start):
        return ""
    mend = "the policy stopped exploring. Raise clip_high or the entropy bonus, lower the learning rate, or add a KL penalty."
    return f"entropy collapse: {now:.3g} nats per token (at the start {start:.3g}): {mend}"


def _entropy_explosion(steps: _Steps, t: Thresholds) -> str:
    now, start = steps[-1].get("entropy"), _start("entropy", steps, t)
    if now is None or len(steps) < 2 or now <= max(t.entropy_growth * start, start + 0.5):
        return ""
    mend = (
        "the policy turns into noise. Lower the learning rate and the entropy bonus, go back to a checkpoint, add a KL penalty."
    )
    return f"entropy explosion: {now:.3g} nats per token (at the start {start:.3g}): {mend}"


def _template_collapse(steps: _Steps, t: Thresholds) -> str:
    now, best = steps[-1].get("action_information"), _best("action_information", steps, t)
    if now is None or best < 0.1 or now >= t.information_fall * best:
        return ""
    mend = "the policy says the same whatever the task. Look at the replies; raise the entropy bonus, lower the learning rate."
    return f"action_information: {now:.3g} nats (at best {best:.3g}): {mend}"


def _success_fall(steps: _Steps, t: Thresholds) -> str:
    now, best = steps[-1].get("success"), _best("success", steps, t)
    if now is None or best < 0.2 or now >= t.success_fall * best:
        return ""
    return f"success: {now:.3g} (at best {best:.3g}): training undid itself. Go back to a checkpoint with a lower learning rate."


def _ess(steps: _Steps, t: Thresholds) -> str:
    now = steps[-1].get("ess", 1.0)
    mend = "few tokens carry the gradient. The samples are too old or of another distribution: fewer epochs, fresher rollouts."
    return f"ess: {now:.3g} (alarm below {t.ess:g}): {mend}" if now < t.ess else ""


def _limit(name: str, mend: str) -> _Check:
    """A check that the metric stays below the threshold of the same name."""
    return lambda steps, t: _above(name, steps, getattr(t, name), mend)


def _above(name: str, steps: _Steps, limit: float, mend: str) -> str:
    now = steps[-1].get(name, 0.0)
    return f"{name}: {now:.3g} (alarm above {limit:g}): {mend}" if now > limit else ""


_CHECKS: tuple[tuple[_Check, bool], ...] = (
    (_not_finite, False),
    (_kl_engine, False),
    (_limit("failures", "infrastructure breaks; see failures/<kind> and the trajectories' failure records."), False),
    (_limit("groups_of_one", "groups with one survivor teach nothing; mend the failures or enlarge the groups."), True),
    (_zero_variance, True),
    (_entropy_collapse, True),
    (_entropy_explosion, True),
    (_template_collapse, True),
    (_success_fall, True),
    (_limit("ratio_clipped", "many tokens are outside the clip range before the first step; the samples are stale."), True),
    (_ess, True),
    (
        _limit("repeated_actions", "the policy runs in circles; say in the observation that nothing changed, or penalise it."),
        True,
    ),
    (_limit("truncated_turns", "episodes hit the turn limit; raise it, lower the difficulty, or reward progress."), True),
    (_limit("truncated_tokens", "conversations hit the context limit; raise max_context or shorten observations."), True),
    (_limit("replies_cut", "replies are cut at max_new_tokens before they end; raise it."), True),
    (_limit("invalid_actions", "the environment cannot parse the replies; warm-start, or add the reward invalid_action."), True),
)
"""(check, whether it must hold for `patience` steps)"""


def _start(name: str, steps: _Steps, t: Thresholds) -> float:
    """Median of the first steps that have the metric, 0 if none has."""
    return median([s[name] for s in steps if name in s][: t.reference] or [0.0])


def _best(name: str, steps: _Steps, t: Thresholds) -> float:
    """Highest value that lasted: over windows of `patience` steps, the largest of their smallest; 0 without such a window."""
    values = [s[name] for s in steps if name in s]
    return max((min(values[i : i + t.patience]) for i in range(len(values) - t.patience + 1)), default=0.0)


def _share(flags: Iterable[bool]) -> float:
    return _mean([float(flag) for flag in flags])


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _spread(values: Sequence[float]) -> float:
    """Sample standard deviation of two or more values; exactly 0 if they differ by rounding only."""
    return stdev(values) if max(values) - min(values) > 1e-9 * max(map(abs, values)) else 0.0
