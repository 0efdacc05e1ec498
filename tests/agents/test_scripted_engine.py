"""The scripted engine keeps the engine protocol."""

import asyncio
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from turnwise.agents.engine import Completion, Engine, Sampling, checked
from turnwise.agents.engines.scripted import Call, ScriptedEngine, scripted_entropy, scripted_logprob
from turnwise.errors import ConfigError, EngineFailure


def generate(engine: Engine, ids: list[int], sampling: Sampling, session: str | None = None) -> Completion:
    return asyncio.run(engine.generate(ids, sampling, session))


def test_a_list_is_said_in_order_and_then_fails():
    engine = ScriptedEngine([[5, 6, 2], [7]])
    sampling = Sampling(max_tokens=10, stop_ids=(2,))
    assert generate(engine, [1], sampling, "a").ids == (5, 6, 2)
    assert generate(engine, [1], sampling, "b").ids == (7,)
    with pytest.raises(EngineFailure, match="2 replies were scripted, and this is call 3"):
        generate(engine, [1], sampling)
    assert engine.calls[0] == Call((1,), sampling, "a")


def test_a_function_sees_conversation_and_seed():
    engine = ScriptedEngine(lambda ids, seed: [len(ids), seed])
    assert generate(engine, [4, 4, 4], Sampling(max_tokens=10, seed=9)).ids == (3, 9)


@pytest.mark.parametrize(
    ("max_tokens", "ids", "reason"),
    [(10, (5, 2), "stop"), (2, (5, 2), "stop"), (1, (5,), "length")],
)
def test_a_reply_ends_at_the_stop_id_or_the_limit(max_tokens: int, ids: tuple[int, ...], reason: str):
    done = generate(ScriptedEngine([[5, 2, 8]]), [1], Sampling(max_tokens=max_tokens, stop_ids=(2,)))
    assert (done.ids, done.stop_reason) == (ids, reason)


def test_every_token_has_its_logprob_and_entropy():
    engine = ScriptedEngine([[0, 7, 8]])
    done = generate(engine, [1], Sampling(max_tokens=3))
    assert done.logprobs == (-0.125, -1.0, -0.125) == tuple(map(scripted_logprob, done.ids))
    assert done.entropies == (0.25, 1.0, 0.25) == tuple(map(scripted_entropy, done.ids))
    assert asyncio.run(engine.score([1], [7])) == [-1.0]


def test_the_version_follows_the_weights():
    engine = ScriptedEngine(lambda ids, seed: [1])
    asyncio.run(engine.update_weights({}, 3))
    assert generate(engine, [1], Sampling(max_tokens=1)).version == 3


def test_bad_prompts_and_empty_replies_are_errors():
    engine = ScriptedEngine([[]], context_window=4)
    for prompt in ([], [1, 2, 3, 4]):
        with pytest.raises(ConfigError, match="expected 1 to 3 prompt tokens"):
            generate(engine, prompt, Sampling(max_tokens=1))
    with pytest.raises(EngineFailure, match="empty"):
        generate(engine, [1], Sampling(max_tokens=1))


def test_the_context_window_ends_a_reply():
    done = generate(ScriptedEngine([[5, 5, 5, 5]], context_window=4), [1, 1], Sampling(max_tokens=9))
    assert (done.ids, done.stop_reason) == ((5, 5), "length")


SOUND = Completion((5, 6, 2), (-0.1, -0.2, 0.0), (0.5, 0.5, 0.0), "stop", 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ids": ()}, "0 ids, expected 1 to 4"),
        ({"ids": (5,) * 5}, "5 ids, expected 1 to 4"),
        ({"logprobs": (-0.1, -0.2)}, "3 ids and 2 log-probabilities"),
        ({"logprobs": ()}, "3 ids and 0 log-probabilities"),
        ({"entropies": (0.5,)}, "3 ids and 1 entropies"),
        ({"versions": (3, 3, 3, 4)}, "3 ids and 4 versions"),
        ({"logprobs": (-0.1, math.nan, 0.0)}, "a log-probability of nan"),
        ({"logprobs": (-math.inf, -0.1, 0.0)}, "a log-probability of -inf"),
        ({"logprobs": (-0.1, 0.2, 0.0)}, "a log-probability of 0.2"),
        ({"entropies": (0.5, math.nan, 0.0)}, "an entropy that is not finite"),
        ({"stop_reason": "abort"}, "the stop reason 'abort'"),
        ({"ids": (5, 6, 7)}, "a reply that stopped by itself at 7"),
    ],
)
def test_an_answer_that_is_none_is_the_engines_failure(change: dict[str, Any], says: str):
    sampling = Sampling(max_tokens=4, stop_ids=(2,))
    assert checked(SOUND, sampling) is SOUND
    assert checked(cut := replace(SOUND, ids=(5, 6, 7), stop_reason="length", entropies=()), sampling) is cut
    with pytest.raises(EngineFailure, match=re.escape(says)) as caught:
        checked(replace(SOUND, **change), sampling)
    assert caught.value.kind == "nonsense"
