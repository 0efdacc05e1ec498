"""Tree packing: the numbers of the unpacked rows, each token once."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainers.test_forward import MODELS, V
from tests.trainers.test_learner import gradients, policy, sampled_by
from turnwise.errors import ConfigError, UnknownName, Unsupported
from turnwise.trainers import recipe as recipes
from turnwise.trainers import tree_packing
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.token_gae import TokenGAE
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.critic import Critic
from turnwise.trainers.forward import Forward
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.testing import make_trajectory
from turnwise.trainers.tree_packing import TreeForward, plant, tree_batches
from turnwise.types import Group, Task, Trajectory, Turn


def counted(forward: Forward) -> list[int]:
    """Tokens of each pass through the backbone from now on."""
    seen: list[int] = []
    forward._core.base_model.register_forward_pre_hook(  # type: ignore[attr-defined]
        lambda _, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return seen


def siblings(shares: list[int], length: int, seed: int = 0) -> Tensor:
    """Rows of which row i has its first `shares[i]` tokens in common with row 0."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, V, (len(shares), length), generator=generator)
    for row, share in enumerate(shares):
        tokens[row, :share] = tokens[0, :share]
    return tokens


def every_second(tokens: Tensor) -> Tensor:
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, 1::2] = True
    return mask


# --- forests -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(1, 3), max_size=7), min_size=1, max_size=8))
@settings(deadline=None, max_examples=150)
def test_a_forest_is_the_set_of_prefixes(rows: list[list[int]]):
    width = max(1, *map(len, rows))
    tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    forest = plant(tokens, torch.tensor([len(row) for row in rows]))
    assert len(forest.tokens) == len({tuple(row[: i + 1]) for row in rows for i in range(len(row))})
    for row, place in zip(rows, forest.place.tolist(), strict=True):
        nodes = place[: len(row)]
        assert forest.tokens[nodes].tolist() == row and forest.depth[nodes].tolist() == list(range(len(row)))
        assert forest.parent[nodes].tolist() == ([nodes[0], *nodes[:-1]] if nodes else [])
    served = torch.cat([b.queries[b.real] for b in forest.branches]) if forest.branches else forest.tokens[:0]
    assert sorted(served.tolist()) == list(range(len(forest.tokens)))
    assert torch.equal(served[forest.order], torch.arange(len(forest.tokens)))


def test_attention_sees_ancestors_and_nothing_else():
    forest = plant(torch.tensor([[1, 2, 3, 4], [1, 2, 5, 0], [1, 2, 5, 6]]), torch.tensor([4, 3, 4]))
    ancestors = {n: {n} if n == p else set() for n, p in enumerate(forest.parent.tolist())}
    for n, p in enumerate(forest.parent.tolist()):
        ancestors[n] = {n} | ancestors[p]
    for b in forest.branches:
        full = torch.ones(len(b.keys), 1, b.queries.shape[1], b.keys.shape[1], dtype=torch.bool)
        mask = full.tril() if b.mask is None else b.mask
        for queries, real, keys, seen in zip(b.queries, b.real, b.keys, mask[:, 0], strict=True):
            for query, row in zip(queries[real].tolist(), seen[real], strict=True):
                assert keys[row].tolist() == sorted(ancestors[query])


# --- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3", "llama", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_numbers_are_those_of_rows(name: str, temperature: float):
    model = MODELS[name]().double()
    tokens = siblings([12, 12, 9, 9, 3, 0], 16)
    mask = every_second(tokens)
    mask[3] = False
    mask[4, 8:] = False
    rows, tree = Forward(model, temperature), TreeForward(model, temperature)
    assert tree.head is rows.head
    for got, want in zip(tree(tokens, mask), rows(tokens, mask), strict=True):
        assert torch.allclose(got, want, atol=1e-10, rtol=0)
    lengths = torch.tensor([16, 12, 16, 9, 5, 1])
    inside = torch.arange(16) < lengths[:, None]
    # these norms compute in float32 whatever they are given
    assert torch.allclose(tree.hidden(tokens, lengths)[inside], rows.hidden(tokens)[inside], atol=1e-6)


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_rows_too_long_for_a_mask_need_none(name: str, monkeypatch: pytest.MonkeyPatch):
    model = MODELS[name]().double()
    tokens = siblings([12, 12, 9, 9, 3, 0], 16)
    mask = every_second(tokens)
    want = gradients_of(TreeForward(model), tokens, mask)
    monkeypatch.setattr(tree_packing, "_MASK", 0)
    forest = plant(tokens, torch.full((6,), 16))
    assert all(b.mask is None for b in forest.branches) and not all(bool(b.real.all()) for b in forest.branches)
    for got, same in zip(gradients_of(TreeForward(model), tokens, mask), want, strict=True):
        assert torch.allclose(got, same, atol=1e-10, rtol=0)


def gradients_of(forward: Forward, tokens: Tensor, mask: Tensor) -> list[Tensor]:
    """Log-probabilities, entropies and what a sum of them makes of the parameters."""
    forward.model.zero_grad()
    logp, entropy = forward(tokens, mask)
    (logp + entropy).sum().backward()
    return [logp.detach(), entropy.detach(), *(p.grad.clone() for p in forward.model.parameters() if p.grad is not None)]


def test_each_token_goes_through_the_model_once():
    model = MODELS["qwen3"]()
    tokens = siblings([12] * 8, 16)
    forward = TreeForward(model)
    seen = counted(forward)
    forward(tokens, every_second(tokens))
    assert seen == [12 + 8 * 4]
    mask = every_second(tokens)
    mask[:, 14:] = False  # nothing is asked after token 13
    forward(tokens, mask)
    assert seen[1:] == [12 + 8 * 2]


def test_nothing_to_predict_is_no_error():
    tokens = siblings([4, 4], 8)
    got, spread = TreeForward(MODELS["qwen3"]())(tokens, torch.zeros_like(tokens, dtype=torch.bool))
    assert not got.any() and not spread.any()


def test_the_models_own_attention_is_put_back():
    model = MODELS["qwen3"]()
    before = model.config._attn_implementation
    forward = TreeForward(model)
    forward.hidden(siblings([2, 2], 4))
    assert model.config._attn_implementation == before
    with pytest.raises(IndexError):
        forward.hidden(siblings([2, 2], 4) + V)
    assert model.config._attn_implementation == before


def test_models_that_attend_within_a_window_are_refused():
    with pytest.raises(Unsupported, match=r'packing = "tree": Gemma2ForCausalLM .* use "rows"'):
        TreeForward(MODELS["gemma2"]())


# --- training ----------------------------------------------------------------------------------------------------------


def forked(task: Task, rewards: list[float], shared: int, own: int) -> tuple[Trajectory, ...]:
    """Trajectories that share a first turn of `shared` tokens and go on with one of `own` tokens each."""
    first = make_trajectory(task, [0.0], tokens=[shared]).leaf
    assert first is not None
    rng = np.random.default_rng(len(task.id) + shared)
    out: list[Trajectory] = []
    for reward in rewards:
        ids = tuple(int(i) for i in rng.integers(3, 40, own))
        last = make_trajectory(task, [reward], tokens=[own]).leaf
        assert last is not None
        leaf: Turn = replace(last, action_ids=ids, parent=first)
        out.append(replace(make_trajectory(task, [reward], tokens=[own]), leaf=leaf))
    return tuple(out)


def specimen(model: Any) -> tuple[Batch, Tensor]:
    a, b = Task("a", "", "", 0), Task("bb", "", "", 0)
    groups = [Group(a, forked(a, [1.0, 0.0, 0.5, 0.0], 12, 5)), Group(b, forked(b, [0.0, 1.0], 6, 9))]
    batch = sampled_by(model, collate(groups).to(torch.float64))
    return replace(batch, logprobs=torch.where(batch.mask, batch.logprobs - 0.05, 0)), GRPO()(batch)


@pytest.mark.parametrize("max_tokens", [1, 25, 10_000])
def test_the_gradient_is_that_of_rows(max_tokens: int):
    model = policy()
    batch, advantages = specimen(model)
    settings_ = {"kl": 0.1, "entropy": 0.01}
    (rows,) = gradients(model, batch, advantages, **settings_)
    (tree,) = gradients(model, batch, advantages, packing="tree", max_tokens=max_tokens, **settings_)
    assert max(float(g.abs().max()) for g in rows) > 1e-4
    assert all(torch.allclose(a, b, atol=1e-10, rtol=0) for a, b in zip(rows, tree, strict=True))


def test_metrics_and_critic_are_those_of_rows():
    model = policy()
    batch, _ = specimen(model)
    found: list[dict[str, float]] = []
    for packing in ("rows", "tree"):
        learner = LocalLearner(copy.deepcopy(model), Update(packing=packing), critic=Critic(level="token"))
        annotated = learner.annotate(batch)
        estimator = TokenGAE()
        found.append(learner.update(annotated, estimator(annotated), estimator.targets(annotated)))
    assert found[0].keys() == found[1].keys()
    assert all(found[0][k] == pytest.approx(found[1][k], abs=1e-9) for k in found[0])


def test_parts_hold_neighbours_and_every_row_once():
    batch, _ = specimen(policy())
    widest = int(batch.lengths.max())
    for limit in (1, widest, widest + 6, 1000):
        parts = tree_batches(batch, limit)
        assert sorted(torch.cat(parts).tolist()) == list(range(len(batch.tokens)))
        sizes = [len(plant(batch.tokens[p], batch.lengths[p]).tokens) for p in parts]
        assert all(size <= max(limit, int(batch.lengths[p].max())) for size, p in zip(sizes, parts, strict=True))
    whole = tree_batches(batch, 1000)[0]
    groups = batch.group[whole].tolist()
    assert groups in ([0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0])
    with pytest.raises(ConfigError, match="max_tokens"):
        tree_batches(batch, 0)


def test_a_recipe_names_it():
    assert recipes.loads('env = "turnwise/Lookup-v0"\npacking = "tree"').packing == "tree"
    with pytest.raises(UnknownName, match="packing"):
        recipes.loads('env = "turnwise/Lookup-v0"\npacking = "trees"')
    with pytest.raises(UnknownName, match="packing"):
        LocalLearner(policy(), Update(packing="trees"))
