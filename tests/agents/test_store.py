"""What is written is what is read, bit for bit; what is malformed is named by file and line."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.agents.store import (
    TrajectoryWriter,
    decode,
    encode,
    read_groups,
    read_trajectories,
    write_trajectories,
)
from turnwise.errors import ConfigError
from turnwise.types import Failure, Stop, Task, Trajectory, Turn

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates included
FLOATS = st.floats(allow_nan=False)
NAMES = [name for name in Turn.__dataclass_fields__ if name != "parent"]


@st.composite
def turns(draw: st.DrawFn, parent: Turn | None) -> Turn:
    ids = tuple(draw(st.lists(st.integers(0, 2**31), max_size=4)))
    return Turn(
        observation=draw(TEXT),
        context_ids=tuple(draw(st.lists(st.integers(0, 2**31), max_size=4))),
        action=draw(TEXT),
        action_ids=ids,
        logprobs=tuple(draw(FLOATS) for _ in ids),
        entropies=tuple(draw(FLOATS) for _ in ids) if draw(st.booleans()) else (),
        reward=draw(FLOATS),
        reward_terms=draw(st.dictionaries(TEXT, FLOATS, max_size=2)),
        outcome=draw(st.floats(0, 1)),
        valid=draw(st.booleans()),
        tool_calls=draw(st.integers(0, 3)),
        stop_reason=draw(st.sampled_from(["stop", "length", ""])),
        version=draw(st.integers(0, 5)),
        duration_s=draw(st.floats(0, 10)),
        parent=parent,
    )


@st.composite
def forests(draw: st.DrawFn) -> list[Trajectory]:
    """Trajectories over a random tree of turns, with shared prefixes, shared tasks and failures."""
    tasks = [Task(draw(TEXT), draw(TEXT), draw(TEXT), 2, {"grid": ["#", draw(TEXT)], "n": 1}) for _ in range(2)]
    nodes: list[Turn | None] = [None]
    for _ in range(draw(st.integers(0, 5))):
        nodes.append(draw(turns(draw(st.sampled_from(nodes)))))
    failure = st.none() | st.builds(Failure, TEXT, TEXT)
    trajectory = st.builds(
        Trajectory,
        st.sampled_from(tasks),
        TEXT,
        st.integers(0, 2**63 - 1),
        st.sampled_from(nodes),
        st.sampled_from(Stop),
        failure,
        TEXT,
    )
    return draw(st.lists(trajectory, max_size=5))


def same_turn(a: Turn, b: Turn) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in NAMES)


@given(forests())
def test_everything_survives_and_sharing_does_too(written: list[Trajectory]) -> None:
    line = encode(written)
    read = decode(line)
    assert "\n" not in line and len(read) == len(written)
    for a, b in zip(written, read, strict=True):
        assert (a.task, a.env_id, a.seed, a.stop, a.failure, a.final) == (b.task, b.env_id, b.seed, b.stop, b.failure, b.final)
        assert len(a.turns) == len(b.turns) and all(map(same_turn, a.turns, b.turns))
        assert (a.ids, a.turn_of_token) == (b.ids, b.turn_of_token)
    before = {id(turn) for t in written for turn in t.turns}
    assert len({id(turn) for t in read for turn in t.turns}) == len(before) == len(json.loads(line)["turns"])


def one_turn(**changes: object) -> Turn:
    fields: dict[str, object] = {
        "observation": "o",
        "context_ids": (1,),
        "action": "a",
        "action_ids": (2, 3),
        "logprobs": (-0.1, -1 / 3),
        "entropies": (),
        "reward": 1.0,
        "reward_terms": {"r": 1.0},
        "outcome": 1.0,
        "valid": True,
        "tool_calls": 0,
        "stop_reason": "stop",
        "version": 0,
        "duration_s": 0.0,
    }
    return Turn(**{**fields, **changes})  # type: ignore[arg-type]


def one(seed: int = 0, **changes: object) -> Trajectory:
    return Trajectory(Task("t", "p", "a", 1), "e", seed, one_turn(**changes), Stop.TERMINATED)


def test_equal_tasks_are_written_once_and_numbers_of_other_kinds_are_other_tasks() -> None:
    tasks = [Task("t", "p", "a", 1, {"n": n}) for n in (1, 1, True, 1.0)]
    line = encode([Trajectory(task, "e", 0, None, Stop.FAILED) for task in tasks])
    assert len(json.loads(line)["tasks"]) == 3
    assert [repr(t.task.metadata["n"]) for t in decode(line)] == ["1", "1", "True", "1.0"]


def test_files_from_before_the_final_observation_was_kept_are_read() -> None:
    line = json.loads(encode([one()]))
    del line["trajectories"][0]["final"]
    assert decode(json.dumps(line))[0].final == ""


def test_numbers_that_are_not_finite_stay_what_they_are() -> None:
    turn = decode(encode([one(logprobs=(-math.inf, math.nan))]))[0].turns[0]
    assert turn.logprobs[0] == -math.inf and math.isnan(turn.logprobs[1])


def test_lines_append_across_writers_and_concatenate_across_files(tmp_path: Path) -> None:
    for seeds in ((0, 1), (2,)):
        with TrajectoryWriter(tmp_path / "runs" / "a.jsonl") as writer:
            for seed in seeds:
                writer.write([one(seed)])
    write_trajectories(tmp_path / "b.jsonl", [[one(3), one(4)]])
    write_trajectories(tmp_path / "b.jsonl", [[one(5), one(6)]])
    both = tmp_path / "both.jsonl"
    both.write_bytes((tmp_path / "runs" / "a.jsonl").read_bytes() + (tmp_path / "b.jsonl").read_bytes())
    assert [[t.seed for t in group] for group in read_groups(both)] == [[0], [1], [2], [5, 6]]


def test_each_write_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    writer = TrajectoryWriter(tmp_path / "a.jsonl")
    writer.write([one(9)])
    assert [t.seed for t in read_trajectories(tmp_path / "a.jsonl")] == [9]
    writer.close()


def test_a_cut_last_line_is_named_and_dropped_when_appending(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_trajectories(path, [[one(0)], [one(1)]])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"a\.jsonl, line 2: the last line is cut off"):
        read_trajectories(path)
    with TrajectoryWriter(path) as writer:
        writer.write([one(2)])
    assert [t.seed for t in read_trajectories(path)] == [0, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "Expecting value"),
        ("[1]", 'expected an object with the key "turnwise"'),
        ('{"turnwise":2}', "format version 2 is not 1"),
        ('{"turnwise":1,"turns":[]}', "the key 'tasks' is missing"),
        ('{"turnwise":1,"tasks":[],"turns":[],"trajectories":[{"task":0}]}', "task 0 points at nothing"),
        ('{"turnwise":1,"tasks":[],"turns":3,"trajectories":[]}', "not iterable"),
        ("", "Expecting value"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(encode([one(0)]) + "\n" + line + "\n")
    with pytest.raises(ConfigError) as error:
        read_trajectories(path)
    assert f"{path}, line 2: " in str(error.value) and message in str(error.value)


def test_a_parent_after_its_child_is_refused(tmp_path: Path) -> None:
    data = json.loads(encode([one(0)]))
    data["turns"][0]["parent"] = 0
    (tmp_path / "loop.jsonl").write_text(json.dumps(data) + "\n")
    with pytest.raises(ConfigError, match="parent 0 points at nothing"):
        read_trajectories(tmp_path / "loop.jsonl")


def test_missing_files_and_metadata_that_is_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_trajectories(tmp_path / "none.jsonl")
    odd = Trajectory(Task("odd", "", "", 1, {"x": object()}), "e", 0, None, Stop.FAILED)
    with pytest.raises(ConfigError, match="task 'odd': its metadata must be JSON-able"):
        encode([odd])
