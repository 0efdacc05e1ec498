"""The warm-start: what is taught, in which order, and that it is learned."""

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from turnwise.agents.agent import ExpertAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds, play_all
from turnwise.errors import ConfigError
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.sft import SFT, Teacher, _batches, encode, texts
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Stop, Task, Trajectory

Rows = list[tuple[torch.Tensor, torch.Tensor]]


def played(agent: Any, count: int = 6) -> list[Trajectory]:
    worlds = Worlds({"style": "terse", "instructions": False})
    starts = [(Problem("turnwise/Lookup-v0", i, {"split": "train"}), i) for i in range(count)]
    return asyncio.run(play_all(worlds, agent, starts, limits=Limits()))


DEMONSTRATIONS = played(ExpertAgent())
MODEL, TOKENIZER = Scratch(hidden=32, layers=1, heads=2, mlp=48, vocabulary=500, context=512).build(texts(DEMONSTRATIONS), 0)
TEMPLATE = ChatTemplate(TOKENIZER)  # type: ignore[arg-type]


def model(seed: int = 0) -> Any:
    return Scratch(hidden=32, layers=1, heads=2, mlp=48, vocabulary=500, context=512).build(texts(DEMONSTRATIONS), seed)[0]


# --- what is taught ----------------------------------------------------------------------------------------------------


def test_a_demonstration_is_encoded_as_its_conversation():
    for shown in DEMONSTRATIONS:
        assert shown.outcome == 1 and len(shown.turns) >= 3
        taught = encode(shown, TEMPLATE)
        tokenizer: Any = TOKENIZER
        messages: list[dict[str, str]] = []
        for turn, before in zip(shown.turns, (None, *shown.turns), strict=False):
            role = "tool" if before is not None and before.tool_calls else "user"
            messages += [{"role": role, "content": turn.observation}, {"role": "assistant", "content": turn.action}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert list(taught.ids) == tokenizer.encode(text.removesuffix("\n"), add_special_tokens=False)
        assert [TEMPLATE.text(t.action_ids) for t in taught.turns] == [t.action for t in shown.turns]
        assert all(t.action_ids[-1] == TEMPLATE.stop_ids[0] for t in taught.turns), "the stop token is taught"
        assert (taught.task, taught.stop, taught.outcome) == (shown.task, shown.stop, shown.outcome)


def test_an_expert_with_a_template_says_the_same_tokens():
    agent = ExpertAgent(TEMPLATE)
    assert [t.ids for t in played(agent)] == [encode(t, TEMPLATE).ids for t in DEMONSTRATIONS]


def test_only_replies_are_taught_unless_all_tokens_are():
    taught = [encode(t, TEMPLATE) for t in DEMONSTRATIONS]
    for (ids, mask), trajectory in zip(SFT().rows(taught), taught, strict=True):
        assert ids.tolist() == list(trajectory.ids)
        assert ids[mask].tolist() == [i for turn in trajectory.turns for i in turn.action_ids]
    for ids, mask in SFT(all_tokens=True).rows(taught):
        assert mask.tolist() == [False] + [True] * (len(ids) - 1), "nothing predicts the first token"


def test_what_failed_or_never_spoke_teaches_nothing():
    task = Task("a", "", "", 0)
    good = make_trajectory(task, [1.0])
    rows = SFT().rows([make_trajectory(task, [1.0], failure="env"), Trajectory(task, "x", 0, None, Stop.TOKENS), good])
    assert len(rows) == 1
    with pytest.raises(ConfigError, match="no demonstration to learn from"):
        next(SFT().train(model(), [], 0))


def test_any_function_can_teach():
    def speak(env: Any, rng: np.random.Generator) -> str:
        return f"{env.expert_action()} {int(rng.integers(1000))}"

    one, two = played(Teacher(speak), 2), played(Teacher(speak), 2)
    said = [[t.action for t in trajectory.turns] for trajectory in one]
    assert said == [[t.action for t in trajectory.turns] for trajectory in two]
    assert len({action for actions in said for action in actions}) == sum(map(len, said)), "a fresh generator each turn"


def test_texts_are_all_that_was_said():
    said = list(texts(DEMONSTRATIONS[:1]))
    turns = DEMONSTRATIONS[0].turns
    assert said == [x for turn in turns for x in (turn.observation, turn.action)]


# --- in which order ----------------------------------------------------------------------------------------------------


def numbered(*lengths: int) -> Rows:
    return [(torch.full((n,), i), torch.ones(n, dtype=torch.bool)) for i, n in enumerate(lengths)]


def order(rows: Rows, size: int, steps: int, seed: int = 0) -> list[list[int]]:
    return [[int(ids[0]) for ids, _ in batch] for batch in _batches(rows, size, steps, np.random.default_rng(seed))]


@pytest.mark.parametrize("count", [4, 30, 31, 33, 64])
def test_every_demonstration_has_its_turn_once_an_epoch(count: int):
    """The longest ones too, whatever the number and the batch size."""
    rows = numbered(*range(3, 3 + count))
    batches = order(rows, 4, -(-count // 4))
    assert sorted(i for batch in batches for i in batch) == list(range(count))


def test_rows_of_like_length_go_together():
    rows = numbered(*[3 + 7 * i % 64 for i in range(64)])
    padding = sum(4 * max(len(rows[i][0]) for i in b) - sum(len(rows[i][0]) for i in b) for b in order(rows, 4, 16))
    assert padding < 64 * 4


def test_the_order_follows_the_seed():
    rows = numbered(*range(3, 40))
    assert order(rows, 4, 20) == order(rows, 4, 20) != order(rows, 4, 20, seed=1)
    assert order(rows, 4, 9) != order(rows, 4, 18)[9:], "another epoch, another order"


def test_fewer_demonstrations_than_a_batch_are_repeated():
    (batch,) = order(numbered(3, 4), 5, 1)
    assert len(batch) == 5 and set(batch) == {0, 1}


def test_steps_follow_from_epochs():
    assert SFT(epochs=2.0, batch_size=8).steps(100) == 25
    assert SFT(epochs=0.5, batch_size=8).steps(100) == 6
    assert SFT(epochs=0.01, batch_size=8).steps(1) == 1


# --- that it is learned ------------------------------------------------------------------------------------------------


def fit(settings: SFT, policy: Any, seed: int = 0) -> list[float]:
    rows = settings.rows([encode(t, TEMPLATE) for t in DEMONSTRATIONS])
    return list(settings.train(policy, rows, seed))


@pytest.mark.parametrize("optimizer", [MuonAdamW(adam_lr=1e-2), AdamW(lr=1e-2)])
def test_the_loss_falls(optimizer: Any):
    losses = fit(SFT(epochs=15.0, batch_size=3, optimizer=optimizer), model())
    assert len(losses) == 30
    assert losses[0] > 3 and sum(losses[-3:]) / 3 < 0.3 * losses[0]


def test_the_loss_is_the_mean_over_taught_tokens():
    policy = model()
    settings = SFT(epochs=1.0, batch_size=6)
    rows = settings.rows([encode(t, TEMPLATE) for t in DEMONSTRATIONS])
    total = count = 0.0
    with torch.no_grad():
        for ids, mask in rows:
            logp = policy(input_ids=ids[None]).logits[0].log_softmax(-1)
            taught = mask.nonzero()[:, 0]
            total -= float(logp[taught - 1, ids[taught]].sum())
            count += len(taught)
    assert fit(settings, policy)[0] == pytest.approx(total / count, rel=1e-4)


def test_training_is_a_function_of_its_seed():
    def weights(seed: int) -> list[torch.Tensor]:
        policy = model()
        fit(SFT(epochs=2.0, batch_size=3), policy, seed)
        return [p.detach() for p in policy.parameters()]

    one, two, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_dropout_and_the_global_generator_are_left_alone():
    policy: Any = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=64))
    rows = [(torch.arange(3, 12), torch.arange(9) > 0)]
    before = torch.random.get_rng_state()
    list(SFT(epochs=3.0, batch_size=1).train(policy, rows, 0))
    assert torch.equal(before, torch.random.get_rng_state())
    assert not policy.training


def test_the_rate_warms_up_and_decays():
    settings = SFT(decay=0.5)
    rates = [settings._rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[10:50] == [1.0] * 40
    assert rates[75] == pytest.approx(0.5) and rates[-1] == pytest.approx(0.1)
    assert rates[50:] == sorted(rates[50:], reverse=True)
