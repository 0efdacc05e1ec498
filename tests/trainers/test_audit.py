"""Audits: files as four trainers write them, sound ones and ones with each fault."""

import asyncio
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.store import write_trajectories
from turnwise.agents.worlds import Worlds
from turnwise.cli import main
from turnwise.errors import ConfigError, UnknownName
from turnwise.trainers.audit import audit
from turnwise.trainers.audit.msgpack import unpacked
from turnwise.trainers.checkpoint import write_model
from turnwise.trainers.policies.scratch import Scratch
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


def prime_rl_packed(folder: Path, **change: Any) -> Path:
    """Two sequences and padding in a micro batch, and one that only keeps a rank busy."""
    mask, places, size = [bool(m) for m in MASK], list(range(9)), 2 * 9 + 3
    row: dict[str, Any] = {"ids": IDS * 2 + [1] * 3, "mask": mask * 2 + [False] * 3, "advantages": [0.5] * 18 + [0.0] * 3}
    row |= {"logprobs": LOGPROBS * 2 + [0.0] * 3, "places": places * 2 + [0, 1, 2], "lengths": [9, 12], "t": [1.0] * size}
    row |= {"envs": ["wiki"] * 18 + [""] * 3, "seq_lens": [9, 12], **change}
    idle = {**row, "mask": [False] * size}
    (folder / "rank_0.bin").write_bytes(packed([list(row.values()), list(idle.values())]))
    return folder / "rank_0.bin"


def verl_learned(folder: Path, **change: Any) -> Path:
    """As verl keeps it by default: no log-probabilities of the engine, those of the trainer, of a tool's tokens as well."""
    spoken = torch.tensor([[*(p or -9.0 for p in LOGPROBS[2:]), 0.0]])
    return verl(folder, rollout_log_probs=None, old_log_probs=spoken, **change)


def turnwise(folder: Path, change: Callable[[Trajectory], Trajectory] = lambda t: t) -> Path:
    made = make_trajectory(Task("a", "", "", 0), [0.0, 1.0], tokens=3, terms=[{"made": 0.0}, {"made": 1.0}])
    write_trajectories(folder / "t.jsonl", [[change(made)]])
    return folder / "t.jsonl"


@pytest.mark.parametrize("write", [verl, verl_learned, trl, prime_rl, prime_rl_before, prime_rl_packed])
def test_a_sound_dump_is_sound(write: Callable[..., Path], tmp_path: Path):
    report = audit(write(tmp_path), stop_ids=[STOP])
    assert report.sound and write.__name__.startswith(report.form), report.summary()
    copies = {prime_rl_before: 20, prime_rl_packed: 2}.get(write, 1)
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
        (prime_rl_packed, {"logprobs": LOGPROBS * 2}, "format", "arrays of [18, 21] entries"),
        (prime_rl_packed, {"mask": [True] * 21}, "mask", "the first token is trained"),
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


# --- what only the whole dump can tell -----------------------------------------------------------------------------------


def rows(count: int = 8) -> list[dict[str, Any]]:
    """Of two groups, as TRL writes them: prompt, reply, a tool's answer, reply; nobody names the stop token."""
    out: list[dict[str, Any]] = []
    for k in range(count):
        said, again = [10 + k, 20 + k, 30 + k, STOP], [40 + k, 50 + k, STOP]
        ids = [1, 2, 4, *said, 5, 6, 4, *again]
        mask = [0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1]
        logprobs = [-1.5 * m for m in mask]
        more = {"advantage": 0.5, "group_id": k // 4}
        out.append({"input_ids": ids, "completion_mask": mask, "old_log_probs": logprobs, **more})
    return out


def written(folder: Path, some: list[dict[str, Any]]) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return folder / "rows.jsonl"


def trained(*at: int) -> Callable[[list[dict[str, Any]]], None]:
    def change(some: list[dict[str, Any]]) -> None:
        for i in at:
            some[5]["completion_mask"][i] = 1

    return change


def without(at: int) -> Callable[[list[dict[str, Any]]], None]:
    def change(some: list[dict[str, Any]]) -> None:
        for name in ("input_ids", "completion_mask", "old_log_probs"):
            del some[5][name][at]

    return change


def copied(some: list[dict[str, Any]]) -> None:
    some[5] = {**some[4]}


def alone(some: list[dict[str, Any]]) -> None:
    some[5]["group_id"] = 7


def large(some: list[dict[str, Any]]) -> None:
    some[5]["input_ids"][3] = 2_000_000


@pytest.mark.parametrize(
    ("change", "rule", "says"),
    [
        (trained(1), "sampled", "token 1 is trained, with a log-probability of exactly 0"),
        (trained(8), "sampled", "token 8 is trained"),
        (trained(7), "stops", "the reply at token 3 goes on after its stop token (4 of 5"),
        (trained(9), "mask", "token 9 is trained, the end of the generation prompt (4)"),
        (without(6), "stops", "the reply at token 3 ends without a stop token, yet the conversation goes on"),
        (without(12), "stops", "the reply at token 10 ends without a stop token, yet there was room for more"),
        (copied, "copies", "the same episode as line 5"),
        (alone, "groups", "it is alone in its group (group_id 7), others have 4"),
        (large, "ids", "2000000 at token 3"),
    ],
)
def test_the_rest_of_a_dump_shows_what_is_wrong_in_a_row(change: Any, rule: str, says: str, tmp_path: Path):
    sound = audit(written(tmp_path, rows()))
    assert sound.sound and sound.stops == {STOP}, sound.summary()
    some = rows()
    change(some)
    findings = audit(written(tmp_path, some)).findings
    assert [(f.where, f.rule) for f in findings][:1] == [("line 6", rule)] or change is alone, findings
    assert any(f.where == "line 6" and f.rule == rule and says in f.says for f in findings), findings


def test_what_was_cut_at_a_cap_and_what_coincides_is_no_fault(tmp_path: Path):
    some = rows()
    for name, value in (("input_ids", 60), ("completion_mask", 1), ("old_log_probs", -1.5)):
        some[3][name][-1:] = [value, value]  # no stop token: no other row is as long
    some[1]["old_log_probs"] = some[2]["old_log_probs"] = [-0.1 * m for m in some[1]["completion_mask"]]
    some[2]["input_ids"] = some[1]["input_ids"]
    report = audit(written(tmp_path, some))
    assert report.sound and report.twins == 1, report.summary()


def test_no_number_is_no_log_probability(tmp_path: Path):
    some = rows()
    some[5]["old_log_probs"][4] = None
    (finding,) = audit(written(tmp_path, some)).findings
    assert (finding.where, finding.rule) == ("line 6", "finite") and "nan at token 4" in finding.says


def test_episodes_of_ours_that_are_there_twice(tmp_path: Path):
    def made(name: str, seconds: float) -> Trajectory:
        return make_trajectory(Task(name, "", "", 0), [0.0, 1.0], seconds=[seconds, 0.5], logprob=-0.01)

    groups = [[made("a", 0.1), made("a", 0.2)], [made("b", 0.3), made("b", 0.4)]]
    write_trajectories(tmp_path / "t.jsonl", groups)
    assert audit(tmp_path / "t.jsonl").sound, "equal words, other seconds: two episodes"
    write_trajectories(tmp_path / "t.jsonl", [groups[0], [made("b", 0.3), made("b", 0.3)]])
    (finding,) = audit(tmp_path / "t.jsonl").findings
    assert finding.rule == "copies" and finding.where.startswith("line 2, trajectory 1")
    write_trajectories(tmp_path / "t.jsonl", [groups[0], groups[1], groups[0]])
    (finding,) = audit(tmp_path / "t.jsonl").findings
    assert finding.where.startswith("line 3") and "all of line 3 repeats line 1" in finding.says
    write_trajectories(tmp_path / "t.jsonl", [groups[0], groups[1], [groups[0][0], made("c", 0.7)]])
    assert audit(tmp_path / "t.jsonl").sound, "one episode that is begun from again is there twice on purpose"


# --- with the model's files ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trajectory]:
    """A model of random weights, and an episode that it sampled."""
    out = tmp_path_factory.mktemp("spoken")
    model, tokenizer = Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=128).build(["go on and on"] * 4, 0)
    write_model(out / "model", model, tokenizer)
    agent = ModelAgent(TorchEngine(model), ChatTemplate(cast(Any, tokenizer)), Sampling(max_tokens=12))
    worlds = Worlds(per_env={"turnwise/Lookup-v0": {"style": "terse", "instructions": False}})
    return out, asyncio.run(worlds.play(agent, Problem("turnwise/Lookup-v0", 3), seed=1, limits=Limits(max_turns=3)))


def changed(trajectory: Trajectory, **change: Callable[[Any], Any]) -> Trajectory:
    assert trajectory.leaf is not None
    return replace(trajectory, leaf=replace(trajectory.leaf, **{k: f(getattr(trajectory.leaf, k)) for k, f in change.items()}))


@pytest.mark.parametrize(
    ("change", "rule", "says"),
    [
        ({"action": lambda text: text + " indeed"}, "words", "one was edited or retokenised"),
        ({"observation": lambda text: "what? " + text}, "words", "the ids before the reply are not those of its observation"),
        ({"action_ids": lambda ids: (400, *ids[1:])}, "ids", "the first 400 at token"),
        ({"logprobs": lambda p: (*p[1:], p[0])}, "scores", "are shifted: they are those of the one after"),
        ({"logprobs": lambda p: tuple(x - 2 for x in p)}, "scores", "nats from the model's in the mean"),
        ({"stop_reason": lambda _: "stop"}, "stops", "ended by itself, and its stop token is not trained"),
    ],
)
def test_words_ids_and_log_probabilities_against_the_model(
    change: dict[str, Any], rule: str, says: str, spoken: tuple[Path, Trajectory]
):
    folder, trajectory = spoken
    write_trajectories(folder / "trajectories.jsonl", [[trajectory]])
    report = audit(folder, score=True)
    assert report.sound and report.model == str(folder / "model") and report.stops, report.summary()
    write_trajectories(folder / "trajectories.jsonl", [[changed(trajectory, **change)]])
    report = audit(folder, score=True)
    assert [f.rule for f in report.findings] == [rule] and says in report.findings[0].says, report.summary()
    with pytest.raises(ConfigError, match="needs the model that sampled"):
        audit(trl(folder), score=True)
    with pytest.raises(ConfigError, match="no tokenizer can be loaded"):
        audit(trl(folder), model=folder / "nowhere")


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
    with pytest.raises(ConfigError, match=r"response_mask has the shape \(1, 7\), expected \(1, 8\)"):
        audit(verl(tmp_path, response_mask=torch.ones(1, 7)))


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
