"""Audits: files as four trainers write them, sound ones and ones with each fault."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.agents.store import write_trajectories
from turnwise.cli import main
from turnwise.errors import ConfigError, UnknownName
from turnwise.trainers.audit import audit
from turnwise.trainers.audit.msgpack import unpacked
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Stop, Task, Trajectory

STOP = 9
PROMPT, SAID, TOOL, AGAIN = [1, 2], [5, 6, STOP], [3, 3], [7, STOP]
IDS = [*PROMPT, *SAID, *TOOL, *AGAIN]
MASK = [0, 0, 1, 1, 1, 0, 0, 1, 1]
LOGPROBS = [0.0, 0.0, -0.1, -0.2, -0.3, 0.0, 0.0, -0.4, -0.5]


def packed(value: Any) -> bytes:
    """MessagePack, as msgspec writes it."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return struct.pack(">B", value) if 0 <= value < 128 else b"\xd3" + struct.pack(">q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            raw = value.encode()
            return (struct.pack(">B", 0xA0 | len(raw)) if len(raw) < 32 else b"\xda" + struct.pack(">H", len(raw))) + raw
        case bytes():
            return b"\xc5" + struct.pack(">H", len(value)) + value
        case dict():
            return b"\xde" + struct.pack(">H", len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())
        case _:
            head = struct.pack(">B", 0x90 | len(value)) if len(value) < 16 else b"\xdc" + struct.pack(">H", len(value))
            return head + b"".join(map(packed, value))


# --- one file of each trainer -------------------------------------------------------------------------------------------


def verl(folder: Path, **change: Any) -> Path:
    """Prompts padded on the left, responses on the right, a tool's answer inside the response."""
    pad, response = [0], IDS[2:]
    batch = {
        "prompts": torch.tensor([pad + PROMPT]),
        "responses": torch.tensor([response + pad]),
        "response_mask": torch.tensor([MASK[2:] + pad]),
        "input_ids": torch.tensor([pad + IDS + pad]),
        "attention_mask": torch.tensor([[0] + [1] * len(IDS) + [0]]),
        "rollout_log_probs": torch.tensor([[*LOGPROBS[2:], 0.0]]),
        **change,
    }
    torch.save({k: v for k, v in batch.items() if v is not None}, folder / "batch.pt")
    return folder / "batch.pt"


def trl(folder: Path, **change: Any) -> Path:
    sample = {"prompt": [], "completion": [], "input_ids": IDS, "completion_mask": MASK, "old_log_probs": LOGPROBS}
    sample |= {"advantage": 0.5, "model_version": 3, "metrics": {}, **change}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    return folder / "samples.jsonl"


def prime_rl(folder: Path, **change: Any) -> Path:
    row = {"ids": IDS, "mask": [bool(m) for m in MASK], "logprobs": LOGPROBS, "t": [1.0] * len(IDS), "env": "wiki", **change}
    (folder / "rollouts.bin").write_bytes(packed([[[*row.values(), [], 1.0]], 4]))
    return folder / "rollouts.bin"


def prime_rl_before(folder: Path, **change: Any) -> Path:
    row = {"prompt": PROMPT, "prompt_mask": [False] * 2, "completion": IDS[2:], "mask": [bool(m) for m in MASK[2:]]}
    row |= {"logprobs": LOGPROBS[2:], "advantage": 0.5, **change}
    (folder / "rollouts.bin").write_bytes(packed([[list(row.values())] * 20, 1.0, 512, 4]))
    return folder / "rollouts.bin"


def turnwise(folder: Path, change: Callable[[Trajectory], Trajectory] = lambda t: t) -> Path:
    made = make_trajectory(Task("a", "", "", 0), [0.0, 1.0], tokens=3, terms=[{"made": 0.0}, {"made": 1.0}])
    write_trajectories(folder / "t.jsonl", [[change(made)]])
    return folder / "t.jsonl"


@pytest.mark.parametrize("write", [verl, trl, prime_rl, prime_rl_before])
def test_a_sound_dump_is_sound(write: Callable[..., Path], tmp_path: Path):
    report = audit(write(tmp_path), stop_ids=[STOP])
    assert report.sound and report.form == write.__name__.removesuffix("_before"), report.summary()
    copies = 20 if write is prime_rl_before else 1
    assert (report.rows, report.tokens, report.trained) == (copies, 9 * copies, 5 * copies) and report.twins == copies - 1


def test_our_own_dump_is_sound(tmp_path: Path):
    report = audit(turnwise(tmp_path))
    assert report.sound and report.form == "turnwise" and (report.rows, report.tokens, report.trained) == (1, 12, 6)


# --- each fault ---------------------------------------------------------------------------------------------------------

SHIFTED = [*MASK[1:], 0]


@pytest.mark.parametrize(
    ("write", "change", "rule", "says"),
    [
        (trl, {"completion_mask": MASK[:-1]}, "lengths", "9 ids, 8 mask entries, 9 log-probabilities"),
        (trl, {"completion_mask": SHIFTED}, "recorded", "the two are shifted"),
        (trl, {"completion_mask": [1] * 9}, "mask", "the first token is trained"),
        (trl, {"completion_mask": [0] * 9, "old_log_probs": [0.0] * 9}, "mask", "nothing is trained"),
        (trl, {"input_ids": [-1, *IDS[1:]]}, "ids", "1 ids are no token ids, such as -1"),
        (trl, {"old_log_probs": [p * m for p, m in zip(LOGPROBS, [0] * 9, strict=True)]}, "recorded", "exactly 0"),
        (trl, {"old_log_probs": [-p for p in LOGPROBS]}, "finite", "5 log-probabilities are no such thing"),
        (trl, {"advantage": float("nan")}, "numbers", "advantage is nan"),
        (trl, {"input_ids": [1, 2, 5, STOP, 6, 3, 3, 7, STOP]}, "stops", "goes on after its stop token (2 of 3 tokens in)"),
        (verl, {"input_ids": torch.zeros(1, 11, dtype=torch.int64)}, "format", "not prompts followed by responses"),
        (verl, {"response_mask": torch.ones(1, 8)}, "format", "padding is trained"),
        (verl, {"rollout_log_probs": torch.full((1, 8), -torch.inf)}, "finite", "5 log-probabilities"),
        (prime_rl, {"logprobs": LOGPROBS[1:]}, "lengths", "8 log-probabilities"),
        (prime_rl, {"mask": [bool(m) for m in SHIFTED]}, "recorded", "shifted"),
        (prime_rl_before, {"prompt_mask": [False, True]}, "format", "tokens of the prompt are trained"),
        (prime_rl_before, {"logprobs": LOGPROBS[3:]}, "format", "7 completion ids, 7 mask entries, 6 log-probabilities"),
    ],
)
def test_each_fault_is_found(write: Callable[..., Path], change: dict[str, Any], rule: str, says: str, tmp_path: Path):
    report = audit(write(tmp_path, **change), stop_ids=[STOP])
    assert not report.sound and any(f.rule == rule and says in f.says for f in report.findings), report.summary()


def with_turn(**change: Any) -> Callable[[Trajectory], Trajectory]:
    return lambda t: replace(t, leaf=replace(t.leaf, **change)) if t.leaf else t


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_turn(logprobs=(-1.0,) * 2), "12 ids, 12 mask entries, 11 log-probabilities"),
        (with_turn(entropies=(1.0,)), "turn 1: 1 entropies for 3 sampled ids"),
        (with_turn(versions=(2, 1, 1)), "turn 1: version 0 is not the lowest"),
        (with_turn(reward=0.25), "turn 1: reward 0.25 is not the sum of its terms"),
        (with_turn(action_ids=(4, 4, 4)), "ended by itself, and its stop token is not trained"),
        (with_turn(action_ids=(4, 4, 8), stop_reason="length"), "was cut, and ends with a stop token that nobody sampled"),
    ],
)
def test_faults_of_our_own_dump(change: Callable[[Trajectory], Trajectory], says: str, tmp_path: Path):
    ends = make_trajectory(Task("a", "", "", 0), [0.0, 1.0], tokens=3).turns
    stops = [turn.action_ids[-1] for turn in ends] + [8]
    report = audit(turnwise(tmp_path, change), stop_ids=stops)
    assert [f for f in report.findings if says in f.says], report.summary()


def test_a_failed_trajectory_and_given_turns_are_not_faults(tmp_path: Path):
    given = make_trajectory(Task("a", "", "", 0), [1.0], terms=[{"made": 1.0}])
    assert given.leaf is not None
    shown = make_trajectory(given.task, [1.0], after=replace(given.leaf, given=True), terms=[{"made": 1.0}])
    broken = replace(make_trajectory(given.task, [0.0], failure="env"), leaf=None, stop=Stop.FAILED)
    write_trajectories(tmp_path / "t.jsonl", [[shown, broken]])
    report = audit(tmp_path / "t.jsonl")
    assert report.sound and report.trained == 2, report.summary()


# --- files --------------------------------------------------------------------------------------------------------------


def test_text_dumps_say_that_they_are(tmp_path: Path):
    (tmp_path / "7.jsonl").write_text(json.dumps({"input": "a", "output": "b", "score": 1.0, "step": 7}) + "\n")
    report = audit(tmp_path / "7.jsonl")
    assert report.sound and report.form == "verl" and "no token ids" in report.summary()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x.jsonl", b'{"what": 1}\n', "looks like none of turnwise, verl, trl, prime_rl"),
        ("x.pt", b"no zip", "no plain dict of tensors"),
        ("x.bin", b"\x93\x01", "no TrainingBatch"),
        ("x.bin", b"\x01", "no TrainingBatch"),
        ("none.jsonl", None, "there is no file"),
    ],
)
def test_files_that_are_none(name: str, data: bytes | None, says: str, tmp_path: Path):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=says):
        audit(tmp_path / name)


def test_wrong_names(tmp_path: Path):
    with pytest.raises(UnknownName, match="Did you mean 'prime_rl'"):
        audit(trl(tmp_path), form="primerl")
    with pytest.raises(ConfigError, match="missing rollout_log_probs"):
        audit(verl(tmp_path, rollout_log_probs=None))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit", str(trl(tmp_path)), "--stop-ids", str(STOP)]) == 0
    assert "1 rows, 9 tokens, 56% of them trained" in capsys.readouterr().out
    assert main(["audit", str(trl(tmp_path, completion_mask=SHIFTED))]) == 1
    assert "recorded" in capsys.readouterr().out


@settings(deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(0, 2**40)
        | st.floats(allow_nan=False)
        | st.text(max_size=40)
        | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=30,
    )
)
def test_messagepack_comes_back(value: Any):
    assert unpacked(packed(value)) == value
    with pytest.raises(ValueError, match="after the end"):
        unpacked(packed(value) + b"\x00")
    with pytest.raises(ValueError, match=r"whole|cut off|not read"):
        unpacked(packed([value])[:-1])
