"""The critic: where it looks, and that it learns what the estimator tells it."""

import copy

import torch

from turnwise.trainers.batch import collate
from turnwise.trainers.critic import Critic, ValueHead, turn_starts
from turnwise.trainers.testing import make_group, make_trajectory
from turnwise.types import Group, Stop, Task, Trajectory

CPU = torch.device("cpu")


def head(lr: float = 3e-3, steps: int = 20) -> ValueHead:
    return ValueHead(4, Critic(lr=lr, steps=steps), device=CPU, dtype=torch.float64)


def test_it_looks_at_the_last_token_before_each_turn():
    """Context 3 tokens a turn, 2 sampled: turns start at 3 and 8; after the last turn it looks at the last token."""
    batch = collate([make_group("a", [0.0, 1.0], [0.0])])
    assert turn_starts(batch).tolist() == [[2, 7, 9], [2, 4, 4]]


def test_a_trajectory_without_a_turn_has_somewhere_to_look():
    task = Task("a", "", "", 0)
    empty = Trajectory(task, "x", 0, None, Stop.TOKENS)
    batch = collate([Group(task, (empty, make_trajectory(task, [1.0])))])
    assert turn_starts(batch)[0].tolist() == [0, 0]


def test_values_start_at_zero():
    assert not bool(head().values(torch.randn(3, 2, 4, dtype=torch.float64)).any())


def features(rows: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 3, 4, dtype=torch.float64, generator=generator)
    mask = torch.rand(rows, 3, generator=generator) < 0.7
    seen = torch.nn.functional.layer_norm(x, (4,))
    return x, seen[..., 0] - seen[..., 1] + 0.5, mask


def test_it_regresses_on_the_targets():
    x, y, mask = features(40)
    critic = head(lr=3e-2, steps=30)
    errors = [critic.fit(x, y, mask) for _ in range(8)]
    assert errors[0] > 1 and errors[-1] < 0.1 * errors[0]
    assert errors == sorted(errors, reverse=True)


def test_what_is_outside_the_mask_does_not_matter():
    x, y, mask = features()
    one, two = head(), head()
    first = one.fit(x, y, mask)
    wild = torch.where(mask, y, torch.nan)
    assert two.fit(x, wild, mask) == first
    assert torch.equal(one.values(x), two.values(x))


def test_nothing_to_fit_changes_nothing():
    x, y, mask = features()
    critic = head()
    assert critic.fit(x, y, torch.zeros_like(mask)) == 0.0
    assert not bool(critic.values(x).any())


def test_features_get_no_gradient():
    x, y, mask = features()
    x.requires_grad_()
    head().fit(x, y, mask)
    assert x.grad is None


def test_state_survives_a_round_trip():
    x, y, mask = features()
    one, two = head(), head()
    one.fit(x, y, mask)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    for critic in (one, two):
        critic.fit(x, y, mask)
    assert torch.equal(one.values(x), two.values(x))
