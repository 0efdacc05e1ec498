"""Admission, the controller and the gate, alone and in a simulated world whose clock jumps."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.agents.engine import Load
from turnwise.errors import ConfigError
from turnwise.trainers.admission import Admission
from turnwise.trainers.concurrency import AIMD, Cap, Tuner
from turnwise.trainers.gate import Gate
from turnwise.trainers.simulation import Scenario, in_virtual_time, simulate

# --- admission ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    eta=st.integers(0, 4),
    batch=st.integers(1, 5),
    moves=st.lists(st.sampled_from(["begin", "back", "learn", "crash"]), max_size=80),
)
def test_no_sequence_of_events_breaks_the_bound(eta: int, batch: int, moves: list[str]):
    """Any order of beginnings, returns, updates and crashes: the inequality holds, and no consumed group is older than eta."""
    state = Admission(eta=eta, batch=batch)
    begun_at: list[int] = []  # the version at which each group was begun
    for move in moves:
        if move == "begin" and state.room:
            state = state.begun(1)
            begun_at.append(state.version)
        elif move == "back" and state.running:
            state = state.came_back(1)
        elif move == "learn" and state.accepted >= (state.version + 1) * batch:
            consumed = begun_at[state.version * batch : (state.version + 1) * batch]
            assert all(state.version - version <= eta for version in consumed)
            state = state.learned()
        elif move == "crash":  # what was in flight is lost, and admitted anew
            del begun_at[state.accepted :]
            state = Admission(eta=eta, batch=batch, version=state.version, accepted=state.accepted)
            assert state.room <= (eta + 1) * batch, "no burst after a resume"
        assert state.accepted + state.running <= (eta + state.version + 1) * batch
        assert state.room == (eta + state.version + 1) * batch - state.accepted - state.running


def test_what_cannot_be():
    state = Admission(eta=0, batch=2).begun(2)
    assert state.room == 0 and state.came_back(2).learned().room == 2
    for wrong in (lambda: state.begun(1), lambda: state.came_back(3), state.learned):
        with pytest.raises(ValueError, match="admission"):
            wrong()
    with pytest.raises(ConfigError, match="eta >= 0"):
        Admission(eta=-1, batch=2)


# --- the controller -----------------------------------------------------------------------------------------------------

IDLE, FULL, QUEUE = Load(usage=0.1, waiting=0), Load(usage=0.95, waiting=0), Load(usage=0.5, waiting=3)
CONTROL = AIMD(most=100, least=4, step=8.0)


def after(cap: Cap, *observed: tuple[int, Load]) -> Cap:
    for inflight, load in observed:
        cap = CONTROL.observe(cap, inflight, load)
    return cap


def test_it_grows_by_a_step_for_each_turnover():
    grown = Cap(40.0)
    for _ in range(40):
        grown = after(grown, (int(grown.size), IDLE))
    assert 46 < grown.size < 48, "a little less, as more come to be in flight"
    assert after(grown, *[(100, IDLE)] * 10_000).size == 100


def test_it_does_not_grow_where_the_cap_is_not_what_holds_back():
    assert after(Cap(40.0), *[(20, IDLE)] * 50).size == 40
    assert after(Cap(40.0), *[(40, Load(usage=0.7, waiting=0))] * 50).size == 40


def test_a_full_engine_cuts_once_and_then_waits_until_it_has_drained():
    cut = after(Cap(40.0), (40, FULL))
    assert cut.size == pytest.approx(32.0) and cut.frozen
    assert after(cut, *[(40, FULL)] * 20).size == pytest.approx(32.0)
    assert after(cut, (33, FULL), (32, FULL), (32, FULL)).size == pytest.approx(25.6)
    assert after(Cap(4.0), (4, FULL)).size == 4, "never below the least"


def test_a_short_queue_is_welcome_a_lasting_one_is_not():
    patience = CONTROL.patience
    assert after(Cap(40.0), *[(30, QUEUE)] * (patience - 1)).size == 40
    assert after(Cap(40.0), *[(30, QUEUE)] * (patience - 1), (30, Load(usage=0.5, waiting=0)), (30, QUEUE)).size == 40
    assert after(Cap(40.0), *[(30, QUEUE)] * patience).size == 32


def test_a_preemption_cuts():
    told = Load(usage=0.5, waiting=0, preempted=1)
    assert after(Cap(40.0), (40, told)).size == 32
    assert after(Cap(40.0), (40, told), (20, told), (20, told)).size == 32, "the same one is counted once"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1), st.integers(0, 3), st.integers(0, 2)), max_size=100))
def test_the_cap_stays_in_its_bounds(seen: list[tuple[int, float, int, int]]):
    cap = CONTROL.start()
    for inflight, usage, waiting, preempted in seen:
        cap = CONTROL.observe(cap, inflight, Load(usage=usage, waiting=waiting, preempted=preempted))
        assert CONTROL.least <= cap.size <= CONTROL.most


def test_a_tuner_carries_the_state():
    tuner = Tuner(AIMD(most=64), lambda: IDLE)
    start = tuner.size
    grown = [tuner(tuner.size) for _ in range(start * 2)]
    assert grown[-1] > start == 16


# --- the gate -----------------------------------------------------------------------------------------------------------


def test_a_gate_lets_in_as_many_as_it_says_even_while_it_changes():
    async def go() -> list[int]:
        gate, seen, order = Gate(3), [], list[int]()

        async def one(number: int) -> None:
            async with gate:
                order.append(number)
                seen.append(gate.inside)
                await asyncio.sleep(1.0)

        tasks = [asyncio.create_task(one(i)) for i in range(12)]
        await asyncio.sleep(0.5)
        assert gate.inside == 3
        gate.size = 5
        await asyncio.sleep(0.1)
        assert gate.inside == 5
        gate.size = 1
        tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.inside == 0 and order == list(range(11)), "first come, first in"
        return seen[5:]

    assert set(in_virtual_time(go())) == {1}


# --- simulated runs -----------------------------------------------------------------------------------------------------

SLOW_TOOLS = Scenario(turns=(2, 3), reply_tokens=16.0, learn_s=0.5)


def quick(eta: int, scenario: Scenario = SLOW_TOOLS, **kwargs: object):
    return simulate(scenario, eta=eta, **{"steps": 6, "tasks": 4, "group": 4, **kwargs})  # type: ignore[arg-type]


def test_lock_step_is_on_policy_and_ahead_is_faster_within_its_bound():
    runs = {eta: quick(eta) for eta in (0, 1, 3)}
    assert runs[0].stalest == 0 and runs[0].staleness == 0
    assert all(0 < runs[eta].staleness <= runs[eta].stalest <= eta for eta in (1, 3))
    assert runs[3].rate > runs[1].rate > 1.3 * runs[0].rate
    assert len({run.episodes for run in runs.values()}) == 1, "nothing is dropped"
    assert quick(1) == runs[1], "and the same each time"


def test_where_the_learner_is_the_bottleneck_running_ahead_gains_its_share_and_no_more():
    heavy = Scenario(turns=(2, 3), reply_tokens=16.0, tool_s=0.02, tool_p99_s=0.1, learn_s=5.0)
    lock, ahead = quick(0, heavy), quick(4, heavy)
    assert ahead.learning > 0.9 and ahead.rate < 1.5 * lock.rate


def test_the_controller_finds_an_engines_room():
    """An engine of 16 places and tools that keep episodes away from it: far more than 16 in flight, and no long queue."""
    scenario = Scenario(turns=(3, 3), reply_tokens=16.0, max_batch=16, tool_s=1.0, tool_p99_s=3.0, learn_s=0.1)
    tuned = quick(4, scenario, tasks=16, group=4, control=AIMD(most=512, least=8))
    tight = quick(4, scenario, tasks=16, group=4, concurrency=16)
    assert tuned.cap > 32 and tuned.rate > 1.5 * tight.rate


def test_virtual_time_refuses_what_no_timer_ends():
    async def for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="everybody waits"):
        in_virtual_time(for_ever())
