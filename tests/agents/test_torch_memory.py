"""The memory of the torch engine's cache: a budget that holds whatever the conversations' lengths."""

import asyncio
from itertools import chain
from typing import Any

import pytest
import torch

from tests.agents.test_torch_engine import prompt, tiny, together
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.engines.torch_cache import SlotCache
from turnwise.errors import ConfigError


def watched(engine: TorchEngine) -> list[tuple[int, int, int]]:
    """(tokens of the cache, its slots, rows) after each time that room was made in it."""
    seen: list[tuple[int, int, int]] = []
    cache, reserve = engine._batch.cache, engine._batch.cache.reserve  # pyright: ignore[reportPrivateUsage]

    def reserved(slots: int, columns: int) -> None:
        reserve(slots, columns)
        assert cache.capacity >= columns and cache.slots >= slots
        seen.append((cache.slots * cache.capacity, cache.slots, slots))

    cache.reserve = reserved  # pyright: ignore[reportAttributeAccessIssue]
    return seen


async def play(engine: TorchEngine, who: int) -> list[Any]:
    """Two turns of a conversation of its own length."""
    ids, done = prompt(5 + 7 * (who % 8), seed=who), []
    for turn in range(2):
        reply = await engine.generate(ids, Sampling(max_tokens=4 + who % 5, seed=100 * who + turn), f"{who}")
        ids = [*ids, *reply.ids, *prompt(3, seed=who + 50)]
        done.append(reply)
    engine.release(f"{who}")
    return done


@pytest.mark.parametrize("budget", [256, 128])
def test_a_budget_bounds_the_cache_and_changes_no_reply(budget: int):
    free, bound = TorchEngine(tiny()), TorchEngine(tiny(), cache_tokens=budget, kept_tokens=budget)
    seen, unbound = watched(bound), watched(free)
    want, got = together(*(play(free, i) for i in range(16))), together(*(play(bound, i) for i in range(16)))
    assert max(tokens for tokens, _, _ in seen) <= budget < max(tokens for tokens, _, _ in unbound)
    assert max(rows for _, _, rows in seen) > 1
    for a, b in zip(chain(*want), chain(*got), strict=True):
        assert a.ids == b.ids and torch.allclose(torch.tensor(a.logprobs), torch.tensor(b.logprobs), atol=1e-5)


def test_one_conversation_is_decoded_however_long():
    engine = TorchEngine(tiny(), cache_tokens=1)
    replies = together(*(engine.generate(prompt(100, seed=i), Sampling(max_tokens=8, seed=i)) for i in range(3)))
    assert all(replies) and engine.stats.decode_rows == sum(len(r.ids) - 1 for r in replies)


def test_without_a_budget_the_window_bounds_it():
    engine = TorchEngine(tiny(), max_batch=3)
    seen = watched(engine)
    together(*(engine.generate(prompt(100, seed=i), Sampling(max_tokens=28, seed=i)) for i in range(6)))
    assert max(tokens for tokens, _, _ in seen) == 3 * 128


def test_what_is_stored_stays_when_the_cache_changes_its_shape():
    cache = SlotCache(8, 512, 4 * 128)
    cache.reserve(1, 64)
    positions = torch.arange(50)[None]
    cache.aim(0, positions, 50)
    keys = torch.randn(1, 2, 50, 4, generator=torch.Generator().manual_seed(0))
    cache.update(keys, keys + 1, 0)
    for slots, columns in ((2, 60), (2, 256), (8, 64), (1, 500)):
        cache.reserve(slots, columns)
        assert cache.slots >= slots and cache.capacity >= columns and cache.slots * cache.capacity <= 4 * 128
        ((k, v),) = cache.copy_out(0, 50)
        assert torch.equal(k, keys[0]) and torch.equal(v, keys[0] + 1)


def test_a_budget_below_nothing_is_refused():
    with pytest.raises(ConfigError, match="cache_tokens: expected 0"):
        TorchEngine(tiny(), cache_tokens=-1)


def test_waiting_requests_are_served_in_order_of_arrival():
    """A long conversation that does not fit yet is not overtaken for ever by short ones."""
    engine = TorchEngine(tiny(), cache_tokens=128)
    order: list[int] = []

    async def one(number: int, length: int) -> None:
        await engine.generate(prompt(length, seed=number), Sampling(max_tokens=6, seed=number))
        order.append(number)

    async def main() -> None:
        await asyncio.gather(*(one(i, 100 if i == 2 else 10) for i in range(8)))

    asyncio.run(main())
    assert order.index(2) == 2
