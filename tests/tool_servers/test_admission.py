"""Who comes in, in which order, and what is left behind by those who give up."""

import asyncio

import pytest

from turnwise.errors import ConfigError
from turnwise.tool_servers.admission import Gate, memory_mb
from turnwise.tool_servers.wire import Kind, Refusal


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def queued(gate: Gate, order: list[str], name: str, run: str = "", need: float = 1) -> asyncio.Task[None]:
    """A task that waits at the gate and notes when it came in."""

    async def wait() -> None:
        await gate.enter((need,), run, 60)
        order.append(name)

    task = asyncio.create_task(wait())
    await settle()
    return task


def test_runs_take_turns_and_each_is_served_in_order() -> None:
    async def scenario() -> list[str]:
        gate, order = Gate("calls", (1,)), list[str]()
        await gate.enter((1,), "", 1)
        for name in ("a1", "a2", "a3"):
            await queued(gate, order, name, "a")
        await queued(gate, order, "b1", "b")
        for _ in range(4):
            gate.leave((1,))
            await settle()
        assert gate.waiting == 0 and gate.used == [1]
        return order

    assert asyncio.run(scenario()) == ["a1", "b1", "a2", "a3"]


def test_who_needs_much_is_not_overtaken() -> None:
    async def scenario() -> list[str]:
        gate, order = Gate("sessions", (4,)), list[str]()
        await gate.enter((3,), "", 1)
        await queued(gate, order, "large", need=4)
        await queued(gate, order, "small", need=1)
        assert order == [] and gate.waiting == 2
        gate.leave((3,))
        await settle()
        assert order == ["large"]
        gate.leave((4,))
        await settle()
        return order

    assert asyncio.run(scenario()) == ["large", "small"]


def test_giving_up_lets_the_next_one_in_and_leaks_nothing() -> None:
    async def scenario() -> None:
        gate, order = Gate("calls", (2,)), list[str]()
        await gate.enter((1,), "", 1)
        large = await queued(gate, order, "large", need=2)
        await queued(gate, order, "small", need=1)
        large.cancel()
        await settle()
        assert order == ["small"] and gate.used == [2]
        gave_up = await queued(gate, order, "late")
        gave_up.cancel()
        gate.leave((1,))  # in the very moment of the cancellation
        await settle()
        gate.leave((1,))
        assert order == ["small"] and gate.used == [0] and gate.waiting == 0

    asyncio.run(scenario())


def test_refusals() -> None:
    async def scenario() -> None:
        gate = Gate("calls", (1,), max_waiting=1)
        with pytest.raises(ConfigError, match="ask for less"):
            await gate.enter((2,), "", 1)
        await gate.enter((1,), "", 1)
        with pytest.raises(Refusal) as refused:
            await gate.enter((1,), "", 0.01)
        assert refused.value.kind is Kind.BUSY and refused.value.retriable and gate.waiting == 0
        task = await queued(gate, [], "waits")
        with pytest.raises(Refusal, match="1 wait already"):
            await gate.enter((1,), "", 60)
        task.cancel()

    asyncio.run(scenario())


def test_memory_is_that_of_this_machine() -> None:
    assert 256 < memory_mb() < 10_000_000
