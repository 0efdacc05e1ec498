"""The implicit process reward model: worked numbers, its gradient by hand, what it learns, and a state that is a value."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from turnwise.agents.engines.torch import TorchEngine
from turnwise.errors import Unsupported
from turnwise.trainers.advantages.istar import IStar
from turnwise.trainers.batch import collate
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.rewards.implicit_prm import ImplicitPRM
from turnwise.trainers.rewards.protocol import Scene, State
from turnwise.trainers.testing import check_shaper, make_trajectory
from turnwise.types import Group, Task, Trajectory, Turn

TASK = Task("a", "", "", 0)


def model(seed: int = 1) -> Any:
    built: Any = Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=64).build([], 0)[0]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.3, generator=generator)
    return built.eval()


POLICY = model()


def logprobs(trajectory: Trajectory, net: Any = POLICY, temperature: float = 1.0) -> torch.Tensor:
    """[T - 1] of every token after the first, by a plain forward pass."""
    ids = torch.tensor([trajectory.ids])
    return (net(ids).logits[0, :-1] / temperature).log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]


def earned(trajectory: Trajectory, q: Sequence[float], beta: float, temperature: float = 1.0) -> Trajectory:
    """The trajectory, its tokens sampled with such probabilities that the policy's copy gives turn k the reward q[k]."""
    with torch.no_grad():
        phi = [0.0, *logprobs(trajectory, temperature=temperature).tolist()]
    leaf: Turn | None = None
    at = 0
    for turn, wanted in zip(trajectory.turns, q, strict=True):
        at += len(turn.context_ids)
        share = wanted / beta / len(turn.action_ids)
        leaf = replace(turn, logprobs=tuple(phi[at + i] - share for i in range(len(turn.action_ids))), parent=leaf)
        at += len(turn.action_ids)
    return replace(trajectory, leaf=leaf)


def scene(shaper: ImplicitPRM, **more: Any) -> Scene:
    plain = Scene(engine=TorchEngine(POLICY), policy=POLICY)
    return replace(plain, state=shaper.start(plain), **more)


def rewards(shaper: ImplicitPRM, groups: Sequence[Group], at: Scene) -> list[list[float]]:
    shaped = asyncio.run(shaper(groups, at))
    return [[turn.reward_terms["implicit_prm"] for turn in t.turns] for g in shaped for t in g.survivors]


def learn(shaper: ImplicitPRM, groups: Sequence[Group], at: Scene) -> tuple[State, dict[str, float]]:
    return asyncio.run(shaper.learn(groups, at))


def pair(*outcomes: float) -> Group:
    lengths = [[0.0, 0.0], [0.0], [0.0, 0.0, 0.0]]
    return Group(
        TASK,
        tuple(make_trajectory(TASK, lengths[i % 3], tokens=2 + i, context=3 + i, outcome=o) for i, o in enumerate(outcomes)),
    )


# --- the worked numbers ------------------------------------------------------------------------------------------------


def test_step_reward_oracle():
    """log phi (-1, -.5, -.2) against log old (-1.4, -.6, -.5): beta times the sum of what is between them."""
    made = make_trajectory(TASK, [0.0], tokens=3)
    with torch.no_grad():
        phi = logprobs(made)[2:].tolist()
    old = tuple(p - gap for p, gap in zip(phi, (0.4, 0.1, 0.3), strict=True))
    assert made.leaf is not None
    group = Group(TASK, (replace(made, leaf=replace(made.leaf, logprobs=old)),))
    shaper = ImplicitPRM()
    assert rewards(shaper, [group], scene(shaper)) == [[pytest.approx(0.04, abs=1e-6)]]


def test_loss_oracle():
    """Q+ = .3, .1 and Q- = -.2, means over each trajectory's turns."""
    steps = ([0.3, 0.5, 0.1], [0.1], [-0.3, -0.1])
    outcomes = (1.0, 1.0, 0.0)
    made = [make_trajectory(TASK, [0.0] * len(q), outcome=o) for q, o in zip(steps, outcomes, strict=True)]
    group = Group(TASK, tuple(earned(t, q, 0.05) for t, q in zip(made, steps, strict=True)))
    shaper = ImplicitPRM()
    _, metrics = learn(shaper, [group], scene(shaper))
    assert metrics["prm_loss"] == pytest.approx(0.514216114, abs=1e-6)
    assert metrics["prm_pairs"] == 2 and metrics["prm_accuracy"] == 1.0
    _, metrics = learn(replace(shaper, total=True), [group], scene(shaper))
    want = torch.nn.functional.softplus(-torch.tensor([0.9 + 0.4, 0.1 + 0.4])).mean()
    assert metrics["prm_loss"] == pytest.approx(float(want), abs=1e-6)


def test_it_feeds_istar():
    steps = ([0.04, 0.02], [0.01, -0.03, -0.02])
    made = [make_trajectory(TASK, r) for r in ([0.0, 1.0], [0.0, 0.0, 0.0])]
    group = Group(TASK, tuple(earned(t, q, 0.05, 0.7) for t, q in zip(made, steps, strict=True)))
    shaper = ImplicitPRM()
    batch = collate(asyncio.run(shaper([group], scene(shaper, temperature=0.7)))).to(torch.float64)
    advantages = IStar()(batch)
    got = [[float(advantages[i][batch.turn[i] == k][0]) for k in range(len(q))] for i, q in enumerate(steps)]
    assert got[0] == pytest.approx([1.045, 1.02], abs=1e-5)
    assert got[1] == pytest.approx([-0.9925, -1.0425, -1.03], abs=1e-5)


def test_protocol():
    check_shaper(ImplicitPRM(), Scene(engine=TorchEngine(POLICY), policy=POLICY))


# --- what it learns -----------------------------------------------------------------------------------------------------


def test_one_step_is_that_of_the_loss_written_down():
    """Two groups of unequal sizes in micro-batches of one row: plain SGD's step from the same gradient, taken by autograd."""
    groups = [pair(1.0, 0.0, 0.0), pair(0.0, 1.0)]
    twin = model()
    margins: list[torch.Tensor] = []
    for group in groups:
        q: list[torch.Tensor] = []
        for t in group.trajectories:
            sampled = torch.tensor(t.turn_of_token[1:]) >= 0
            old = torch.tensor([lp for turn in t.turns for lp in turn.logprobs])
            q.append(0.05 * (logprobs(t, twin)[sampled] - old).sum() / len(t.turns))
        won = [v for v, t in zip(q, group.trajectories, strict=True) if t.outcome >= 1]
        lost = [v for v, t in zip(q, group.trajectories, strict=True) if t.outcome < 1]
        margins += [a - b for a in won for b in lost]
    torch.nn.functional.softplus(-torch.stack(margins)).mean().backward()
    wanted = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None])
    shaper = ImplicitPRM(max_tokens=1, optimizer=AdamW(lr=1e-4, max_grad_norm=1e9))
    at = scene(shaper)
    state, metrics = learn(shaper, groups, at)
    assert metrics["prm_grad_norm"] == pytest.approx(float(wanted.norm()), rel=1e-4) and metrics["prm_pairs"] == 3
    moved = torch.cat([(state["weights"][n] - p.detach()).flatten() for n, p in twin.named_parameters()])
    clear = wanted.abs() > 1e-3 * wanted.abs().max()
    assert torch.equal(moved[clear].sign(), -wanted[clear].sign()), "Adam's first step goes against the gradient's sign"


def test_preferences_become_step_rewards():
    """Trained on the same groups, successes earn more than failures, turn by turn."""
    shaper = ImplicitPRM(optimizer=AdamW(lr=3e-3))
    groups, at = [pair(1.0, 0.0), pair(1.0, 0.0, 0.0)], scene(shaper)
    first = learn(shaper, groups, at)[1]
    for _ in range(40):
        state, metrics = learn(shaper, groups, at)
        at = replace(at, state=state)
    assert metrics["prm_accuracy"] == 1.0 and metrics["prm_loss"] < 0.5 * first["prm_loss"]
    won, lost = rewards(shaper, [pair(1.0, 0.0)], at)
    assert min(won) > max(lost)
    alone = rewards(shaper, [Group(TASK, pair(1.0, 0.0).trajectories[:1])], at)[0]
    assert alone == pytest.approx(won, abs=1e-5), "a group without a failure has its rewards"


def test_the_state_is_a_value():
    shaper = ImplicitPRM(optimizer=AdamW(lr=1e-2))
    at = scene(shaper)
    kept = {name: value.clone() for name, value in at.state["weights"].items()}
    policy = [p.clone() for p in POLICY.parameters()]
    one, two = learn(shaper, [pair(1.0, 0.0)], at)[0], learn(shaper, [pair(1.0, 0.0)], at)[0]
    assert all(torch.equal(value, at.state["weights"][name]) for name, value in kept.items())
    assert all(torch.equal(a, b) for a, b in zip(policy, POLICY.parameters(), strict=True)), "the policy is only read"
    assert all(torch.equal(one["weights"][name], two["weights"][name]) for name in kept)
    assert any(not torch.equal(one["weights"][name], kept[name]) for name in kept)


@pytest.mark.parametrize("group", [pair(1.0, 1.0), pair(0.0, 0.0), pair(1.0), Group(TASK, ())])
def test_nobody_to_compare_with_teaches_nothing(group: Group):
    shaper = ImplicitPRM()
    at = scene(shaper)
    state, metrics = learn(shaper, [group], at)
    assert state is at.state and metrics == {"prm_pairs": 0.0}


def test_failures_are_no_evidence_and_earn_nothing():
    lost = make_trajectory(TASK, [0.0, 0.0], outcome=0.0, failure="env")
    group = Group(TASK, (*pair(1.0).trajectories, lost))
    shaper = ImplicitPRM()
    at = scene(shaper)
    assert learn(shaper, [group], at)[1]["prm_pairs"] == 0
    (shaped,) = asyncio.run(shaper([group], at))
    assert "implicit_prm" in shaped.trajectories[0].turns[0].reward_terms
    assert "implicit_prm" not in shaped.trajectories[1].turns[0].reward_terms
    nothing = Group(TASK, (replace(lost, leaf=None),))
    assert asyncio.run(shaper([nothing], at)) == [nothing]


def test_a_policy_elsewhere_is_refused_at_the_start():
    with pytest.raises(Unsupported, match="needs the policy's model in this process"):
        ImplicitPRM().start(Scene(engine=TorchEngine(POLICY)))
