"""Several ranks learn what one process learns: gradients, norms, metrics, weights and optimiser states, to rounding."""

import math
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.trainers.ranks import Gang, Job, Played, gang, play
from tests.trainers.test_learner import groups, policy, sampled_by
from tests.trainers.test_lora import adapted
from turnwise.registry import names, resolve
from turnwise.trainers.advantages.bilevel_gae import BilevelGAE
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.aggregates import SequenceMean
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.corrections.icepop import IcePop
from turnwise.trainers.corrections.tis import TIS
from turnwise.trainers.critic import Critic
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.losses.cispo import CISPO
from turnwise.trainers.losses.gspo import GSPO
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.sharded import deal

SIZES = (1, 2, 3)
FAST = AdamW(lr=1e-2, weight_decay=0.01)
CLOSE = 1e-6


@pytest.fixture(scope="module")
def ranks() -> Generator[Callable[[int], Gang]]:
    """Gangs by size, each started when first asked for and kept."""
    with ExitStack() as stack:
        started: dict[int, Gang] = {}
        yield lambda size: started.get(size) or started.setdefault(size, stack.enter_context(gang(size)))


@dataclass
class Poisoned:
    """Advantages of which one row is no number."""

    row: int

    def __call__(self, batch: Batch) -> Tensor:
        out = torch.where(batch.mask, 1.0, 0.0).to(batch.rewards)
        out[self.row] = torch.where(batch.mask[self.row], torch.nan, 0.0)
        return out


def batches() -> list[Batch]:
    """8, 5 and 1 rows, a little off policy."""
    whole = sampled_by(policy(), collate(groups()).to(torch.float64))
    whole = replace(whole, logprobs=torch.where(whole.mask, whole.logprobs - 0.05, 0))
    return [whole, whole.rows(torch.arange(3, 8)), whole.rows(torch.tensor([1]))]


def unequal(batch: Batch) -> Batch:
    """Rewards that differ even where a batch has one row of a group."""
    return replace(batch, rewards=batch.rewards + torch.arange(len(batch.tokens))[:, None])


def jobs() -> dict[str, Job]:
    """What a learner can be asked for."""
    plain = Job(policy(), batches(), Update(optimizer=FAST))
    rewarded = replace(plain, batches=[unequal(batch) for batch in batches()])

    def asked(job: Job = plain, **settings: Any) -> Job:
        return replace(job, update=replace(job.update, **settings))

    corrected = asked(correction=(TIS(), IcePop()), epochs=2, minibatches=2, loss=CISPO(), max_tokens=30)
    return {
        "one pass": plain,
        "a pass per row": asked(max_tokens=1),
        "some passes": replace(asked(max_tokens=40, aggregate=SequenceMean()), temperature=0.7),
        "tree": asked(packing="tree", max_tokens=30),
        "reference and entropy": asked(kl=0.1, entropy=0.01, max_tokens=60),
        "corrections": corrected,
        "minibatches": asked(minibatches=3, epochs=2, warmup=3, loss=GSPO(level="turn")),
        "turn critic": replace(asked(rewarded, max_tokens=40), critic=Critic(), estimator=TurnGAE()),
        "token critic": replace(asked(rewarded, max_tokens=60), critic=Critic(level="token"), estimator=BilevelGAE()),
        "adapters": replace(asked(kl=0.1, max_tokens=40), model=adapted().double()),
        "muon": asked(optimizer=MuonAdamW(lr=1e-2), max_tokens=40),
        "checkpointing": asked(activation_checkpointing=True, max_tokens=40),
        "tree and checkpointing": asked(packing="tree", activation_checkpointing=True, max_tokens=40, kl=0.1),
    }


JOBS = (
    *("one pass", "a pass per row", "some passes", "tree", "reference and entropy", "corrections", "minibatches"),
    *("turn critic", "token critic", "adapters", "muon", "checkpointing", "tree and checkpointing"),
)


def tensors(nested: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors of a nested state, by path."""
    if isinstance(nested, Tensor):
        return {name: nested.double()}
    items = nested.items() if isinstance(nested, dict) else enumerate(nested) if isinstance(nested, list | tuple) else ()
    return {path: t for key, value in items for path, t in tensors(value, f"{name}.{key}").items()}


def gap(one: Any, other: Any) -> float:
    """The largest difference between two nested states of the same make."""
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys() and all(a[name].shape == b[name].shape for name in a)
    return max((float((a[name] - b[name]).abs().max()) for name in a if a[name].numel()), default=0.0)


def check(got: list[Played], want: Played) -> None:
    first = got[0]
    assert gap(first.weights, want.weights) < CLOSE and gap(first.state, want.state) < CLOSE
    for one in got:
        assert one.scores == pytest.approx(want.scores, abs=CLOSE) and gap(one.values, want.values) < CLOSE
        for mine, theirs in zip(one.metrics, want.metrics, strict=True):
            assert mine == pytest.approx(theirs, abs=CLOSE, rel=CLOSE, nan_ok=True)


# --- the same numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", JOBS)
def test_ranks_learn_what_one_process_learns(ranks: Callable[[int], Gang], name: str, size: int):
    job = jobs()[name]
    want, got = play(job), ranks(size)(job)
    check(got, want)
    assert gap(want.weights, dict(job.model.state_dict())) > 1e-3, "something was learned"
    assert len({one.passes for one in got}) == 1, "all ranks make equally many passes"


def test_work_is_shared(ranks: Callable[[int], Gang]):
    job = Job(policy(), batches()[:1], Update(max_tokens=1))
    alone, together = play(job), ranks(2)(job)
    assert alone.passes == 6 and together[0].passes == 3
    one_pass = Job(policy(), batches()[:1], Update())
    assert play(one_pass).passes == ranks(3)(one_pass)[0].passes == 1


def test_a_gradient_that_is_no_number_on_one_rank_is_followed_by_none(ranks: Callable[[int], Gang]):
    job = Job(policy(), [*batches()[:1], *batches()[:1]], Update(optimizer=FAST, max_tokens=1), estimator=Poisoned(2))
    got = ranks(2)(job)
    assert gap(got[0].weights, dict(job.model.state_dict())) == 0.0
    for one in got:
        assert [m["steps_skipped"] for m in one.metrics] == [1.0, 1.0] and math.isnan(one.metrics[0]["grad_norm"])
    healthy = Job(policy(), batches(), Update(optimizer=FAST))
    check(ranks(2)(healthy), play(healthy))


def test_a_batch_of_failures_changes_nothing(ranks: Callable[[int], Gang]):
    broken = replace(batches()[0], failed=torch.ones(8, dtype=torch.bool))
    job = Job(policy(), [broken], Update(optimizer=FAST, kl=0.1, entropy=0.1))
    got = ranks(2)(job)
    assert gap(got[0].weights, dict(job.model.state_dict())) == 0.0 and got[1].metrics[0]["steps_skipped"] == 1


def test_ranks_of_a_bfloat16_policy_keep_float32_masters_of_their_parts(ranks: Callable[[int], Gang]):
    model = policy().bfloat16()
    job = Job(model, [sampled_by(model, collate(groups()))], Update(optimizer=FAST, max_tokens=40))
    want, got = play(job).state, ranks(2)(job)[0].state
    assert [m.dtype for m in got["masters"]] == [m.dtype for m in want["masters"]] == [torch.float32] * len(want["masters"])
    moments = [tensors(state["optimizers"]) for state in (want, got)]
    largest = max(float(t.abs().max()) for name, t in moments[0].items() if "exp_avg" in name)
    assert gap(*moments) < 0.02 * largest, "the same gradient, as far as eight bits go"


@pytest.mark.parametrize("slot", ["losses", "corrections"])
def test_a_rank_without_rows_asks_nothing_of_a_method(slot: str):
    none = batches()[0].rows(torch.arange(0))
    for name in names(f"turnwise.trainers.{slot}"):
        logprobs = none.logprobs.clone().requires_grad_()
        method: Any = resolve(f"turnwise.trainers.{slot}", name)()
        out = method(logprobs, none.logprobs, none) if slot == "losses" else method(logprobs, none)
        assert out.shape == none.tokens.shape, name
        if slot == "losses":
            out.sum().backward()


# --- states ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [FAST, MuonAdamW(lr=1e-2)], ids=["adamw", "muon"])
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (3, 2), (2, 2)])
def test_a_state_goes_on_with_any_number_of_ranks(ranks: Callable[[int], Gang], before: int, after: int, optimizer: Any):
    """0 is the learner of one process."""

    def on(size: int, job: Job) -> Played:
        return ranks(size)(job)[0] if size else play(job)

    update = Update(optimizer=optimizer, kl=0.1, minibatches=2, warmup=3, max_tokens=60)
    job = Job(policy(), batches(), update, Critic(), TurnGAE())
    straight = play(replace(job, batches=[*batches(), *batches()]))
    half = on(before, job)
    model = policy()
    model.load_state_dict({name: torch.as_tensor(value) for name, value in half.weights.items()})
    rest = on(after, replace(job, model=model, state=half.state))
    assert gap(rest.weights, straight.weights) < CLOSE and gap(rest.state, straight.state) < CLOSE
    if before == after:
        whole = on(after, replace(job, batches=[*batches(), *batches()]))
        assert gap(rest.weights, whole.weights) == 0.0, "with the same ranks to the last bit"


# --- dealing -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), max_size=12), st.integers(1, 5))
def test_every_row_is_dealt_once_and_ranks_keep_step(lengths: list[int], size: int):
    rows = iter(range(sum(lengths)))
    parts = [torch.tensor([next(rows) for _ in range(n)]) for n in lengths]
    hands = [deal(parts, rank, size) for rank in range(size)]
    assert sorted(int(i) for hand in hands for part in hand for i in part) == list(range(sum(lengths)))
    assert {len(hand) for hand in hands} == {math.ceil(len(parts) / size)}
    assert max((len(part) for hand in hands for part in hand), default=0) <= max(lengths, default=0), "no pass grows"


def test_rows_that_fit_one_pass_are_shared_by_all_ranks():
    hands = [deal([torch.arange(7)], rank, 3) for rank in range(3)]
    assert [len(hand[0]) for hand in hands] == [3, 2, 2]


def test_a_learner_of_one_process_is_one_rank():
    learner = LocalLearner(policy(), Update())
    assert learner.update(batches()[0], GRPO()(batches()[0]))["rows_trained"] > 0
