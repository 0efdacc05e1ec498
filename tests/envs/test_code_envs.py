"""CodeWrite, CodeRepair and MLEngineering, played: rewards, feedback, forks, budgets, and what wins nothing."""

import ast
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from turnwise.envs.code.attempts import code_of
from turnwise.envs.code.code_repair import CodeRepair
from turnwise.envs.code.code_write import CodeWrite
from turnwise.envs.code.ml_engineering import MARKS, MLEngineering
from turnwise.envs.code.ml_tasks import HELD_OUT, data_of, make_ml_task, program_with, score_of
from turnwise.envs.core import TurnEnv
from turnwise.errors import ConfigError, EnvFailure, UnknownName

ONE = "def {name}(x):\n    return 1\n"


def played(env: TurnEnv, **options: Any) -> tuple[float, int, dict[str, Any]]:
    """(return, turns, the last info) of the expert's episode."""
    env.reset(**options)
    total, over, info = 0.0, False, dict[str, Any]()
    while not over:
        _, reward, terminated, truncated, info = env.step(env.expert_action())
        total, over = total + reward, terminated or truncated
    return total, env.turn, info


@pytest.fixture
def write() -> Iterator[CodeWrite]:
    env = CodeWrite(difficulty=1)
    env.reset(seed=1)
    yield env
    env.close()


@pytest.fixture
def repair() -> Iterator[CodeRepair]:
    env = CodeRepair(difficulty=3)
    env.reset(seed=1)
    yield env
    env.close()


@pytest.fixture
def model() -> Iterator[MLEngineering]:
    env = MLEngineering(difficulty=2)
    env.reset(seed=1)
    yield env
    env.close()


# --- CodeWrite ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", CodeWrite.levels)
def test_the_expert_writes_every_level(level: int) -> None:
    total, turns, info = played(CodeWrite(difficulty=level), seed=3)
    assert total == pytest.approx(1.0) and (turns, info["outcome"]) == (level, 1.0)


def test_a_right_answer_in_every_wrapping(write: CodeWrite) -> None:
    code = write.task.answer
    for reply in (
        f"<answer>{code}</answer>",
        f"<answer>\n```python\n{code}```\n</answer>",
        f"Here it is.\n```python\n{code}\n```\nDone.",
    ):
        write.reset(seed=1)
        assert write.step(reply)[4]["outcome"] == 1.0


def test_progress_is_paid_once_and_the_whole_is_one(write: CodeWrite) -> None:
    lines = write.task.answer.rstrip().split("\n")
    kept = write.problem.floor
    guarded = [*lines[:1], f"    if len({lines[0].split('(')[1][:-2]}) > 9: return None", *lines[1:]]
    text, first, terminated, _, info = write.step("```python\n" + "\n".join(guarded) + "\n```")
    assert 0.0 < first < 0.3 and info["reward_terms"] == {"progress": first} and not terminated and info["outcome"] == 0.0
    assert text.startswith("Not solved. 3 attempts left.\nExamples: 3 of 3 passed.\nHidden tests: ") and "failed: " in text
    assert write.step("```python\n" + "\n".join(guarded) + "\n```")[1] == 0.0
    _, rest, terminated, _, info = write.step(write.expert_action())
    assert terminated and first + rest == pytest.approx(1.0) and info["reward_terms"] == {"answer": rest} and kept < 1.0


def test_constants_and_echoes_earn_nothing(write: CodeWrite) -> None:
    name = write.problem.name
    for reply in (write.task.prompt, f"<answer>{write.task.prompt}</answer>", f"<answer>def {name}(x): return x</answer>"):
        assert write.step(reply)[1] == 0.0
    text, reward, terminated, _, info = write.step(f"```\n{ONE.format(name=name)}```")
    assert (reward, terminated, info["outcome"]) == (0.0, False, 0.0) and "expected" in text  # the first reply held no code


def test_parts_are_asked_for_one_after_the_other() -> None:
    env = CodeWrite(difficulty=3, attempts=2)
    first, _ = env.reset(seed=4)
    assert first.startswith("Part 1 of 3. A program of 3 functions")
    sources = [part["source"] for part in env.task.metadata["parts"]]
    names = [part["name"] for part in env.task.metadata["parts"]]
    assert all(name not in first for name in names[1:])
    env.step(env.format.final(ONE.format(name=names[0])))  # an attempt of the first part only
    text, first_pay, *_, info = env.step(env.format.final(sources[0]))
    assert text.startswith("Part 1 is solved: all tests passed.\n\nPart 2 of 3. Before your code stands what passed so far: ")
    assert first_pay == pytest.approx(0.1) and (info["outcome"], info["valid_action"]) == (0.0, True)
    text, nothing, terminated, *_ = env.step(env.format.final(sources[0]))
    assert f"defines no function `{names[1]}`" in text and nothing == 0.0
    twin = env.fork()
    text, nothing, terminated, *_ = env.step(env.format.final(ONE.format(name=names[1])))
    assert text.startswith("Not solved. 1 attempt left.") and nothing == 0.0 and not terminated
    text, _, terminated, *_ = env.step(env.format.final("\n".join(sources[:1]) + ONE.format(name=names[1])))
    assert terminated and text.startswith("Not solved. No attempt is left.")
    whole = "\n\n".join(sources[:2])  # what was written before may be written again
    assert twin.step(twin.format.final(whole))[1] == pytest.approx(0.1)
    text, last, terminated, _, info = twin.step(twin.expert_action())
    assert terminated and info["outcome"] == 1.0 and last == pytest.approx(0.8)


def test_what_passed_may_not_break_later_parts_in_silence() -> None:
    """Code of a part that only misbehaves later is the agent's own: it is told, and can write over it."""
    env = CodeWrite(difficulty=2)
    env.reset(seed=4)
    one, two = env.task.metadata["parts"]
    mark = f"import sys\nif hasattr(sys, '_again'): {one['name']} = None\n"
    env.step(env.format.final(f"{one['source']}\n{mark}"))
    assert env.part == 1
    assert env.step(env.format.final(f"{two['source']}\nimport sys\nsys.exit(3)"))[1] == 0.0
    assert env.step(env.format.final(two["source"]))[4]["outcome"] == 1.0


def test_attempts_run_out() -> None:
    env = CodeWrite(attempts=2)
    env.reset(seed=1)
    wrong = f"<answer>{ONE.format(name=env.problem.name)}</answer>"
    assert env.step("no code")[4]["valid_action"] is False
    assert env.step("<answer>def other(x): return 1</answer>")[0] == f"The code defines no function `{env.problem.name}`."
    assert env.step(wrong)[2:4] == (False, False)
    text, _, terminated, truncated, _ = env.step(wrong)
    assert terminated and not truncated and text.startswith("Not solved. No attempt is left.")


def test_feedback_keeps_hidden_inputs(write: CodeWrite) -> None:
    """Whatever a submission raises, returns or prints about hidden inputs, none of it comes back."""
    name = write.problem.name
    for body in (
        "raise ValueError(repr(x))",
        "raise type('E' + repr(x), (Exception,), {})()",
        "seen.append(x); print(seen); return seen",
        "seen.append(x); import sys; sys.stderr.write(repr(seen)); import os; os._exit(0) if len(seen) > 3 else 0",
    ):
        text = write.step(f"```python\nseen = []\ndef {name}(x):\n    {body}\n```")[0]
        hidden = [repr(case.given[0]) for case in write.problem.tests if len(repr(case.given[0])) > 20]
        assert hidden and not any(given in text for given in hidden), text


def test_no_code_runs_before_an_attempt(write: CodeWrite, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr("turnwise.envs.code.judge.shared_sandbox", refused)
    write.reset(seed=2)
    for reply in ("", "<answer></answer>", "hello", "<answer>1</answer>", "```\n\n```", "<tool_call>{}</tool_call>"):
        assert write.step(reply)[4]["valid_action"] is False
    with pytest.raises(AssertionError, match="was opened"):
        write.step(write.expert_action())


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("<answer>x = 1</answer>", "x = 1"),
        ("<answer>\n```python\nf = 1\n```\n</answer> and ```\nf = 2\n```", "f = 1"),
        ("```python\nf = 1\n```\nUse it:\n```\nprint(2)\n```", "f = 1"),
        ("```python\nf = 1\n```\nNo:\n```python\nf = 2\n```", "f = 2"),
        ("```f = 1```", ""),
        ("f = 1", ""),
        ("```python\n    f = 1\n    ```", "    f = 1"),
    ],
)
def test_where_the_code_of_a_reply_is(reply: str, code: str) -> None:
    assert code_of(reply, "f") == code


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"attempts": 0}, ConfigError, "attempts must be at least 1"),
        ({"progress": 1.0}, ConfigError, "progress must be"),
        ({"test_s": 0.0}, ConfigError, "test_s must be above 0"),
        ({"needs": "namespace"}, UnknownName, "Did you mean 'namespaces'"),
        ({"profile": "sciense"}, UnknownName, "Did you mean 'science'"),
        ({"data": "nowhere.jsonl"}, ConfigError, "nowhere.jsonl: expected"),
        ({"difficulty": 7}, ConfigError, "1 to 6"),
    ],
)
def test_wrong_options(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        CodeWrite(**options)


@pytest.mark.parametrize("cls", [CodeWrite, CodeRepair, MLEngineering])
def test_the_tables_of_levels_hold(cls: type[TurnEnv]) -> None:
    """Steps or parts, and turn limits; make_envs.py measures the turns."""
    doc = sys.modules[cls.__module__].__doc__ or ""
    rows = [[int(x) for x in row.split()] for row in doc.split("\n") if re.fullmatch(r" +[1-6]( +[0-9]+)+", row)]
    env = cls()
    assert [row[0] for row in rows] == list(env.levels)
    for row in rows:
        env.reset(seed=0, options={"difficulty": row[0]})
        assert env.turn_limit(env.task) == row[-1]
        about = env.task.metadata
        made = re.findall(r"^[0-9]\.", env.task.prompt, re.M) if cls is CodeRepair else about.get("spec", about)["parts"]
        assert len(made) == row[1]


# --- CodeRepair --------------------------------------------------------------------------------------------------------


def test_the_expert_runs_once_for_every_bug(repair: CodeRepair) -> None:
    total, turns, info = played(repair, seed=5)
    assert (total, turns, info["outcome"]) == (1.0, 3, 1.0)


def test_the_function_as_given_can_be_run_and_earns_nothing(repair: CodeRepair) -> None:
    name = repair.problem.name
    say = repair.format.call
    assert name in repair.step(say("run", {"code": f"{name}.__name__"}))[0]
    repair.step(say("run", {"code": "x = 20"}))
    twin = repair.fork()
    assert twin.step(say("run", {"code": "x = x + 1; x"}))[0] == "21"
    assert repair.step(say("run", {"code": "x"}))[0] == "20"
    given = repair.task.metadata["sources"][0]
    assert repair.step(f"```python\n{given}```")[1] == 0.0 and twin.step(twin.format.final(given))[1] == 0.0
    twin.close()


def test_what_runs_in_the_session_does_not_reach_the_tests(repair: CodeRepair) -> None:
    patch = "import builtins, json\nbuiltins.sorted = lambda *a, **k: []\njson.dump = None\nopen('answer.json', 'w').write('1')"
    repair.step(repair.format.call("run", {"code": patch}))
    assert repair.step(repair.format.final(repair.task.answer))[4]["outcome"] == 1.0


def test_the_bugs_stand_in_one_function(repair: CodeRepair) -> None:
    for source in repair.task.metadata["sources"]:
        (function,) = ast.parse(source).body
        assert isinstance(function, ast.FunctionDef) and function.name == repair.problem.name


# --- MLEngineering -----------------------------------------------------------------------------------------------------


def run(env: MLEngineering, code: str, seconds: int = 5) -> str:
    return env.step(env.format.call("run", {"code": code, "seconds": seconds}))[0]


def test_the_expert_adds_part_after_part(model: MLEngineering) -> None:
    total, turns, info = played(model, seed=7)
    assert (total, turns, info["outcome"], info["reward_terms"]) == (1.0, 4, 1.0, {"score": 0.8})
    assert model.left == 80 - 2 * 10 - 5


def test_the_budget_counts_what_is_asked_for(model: MLEngineering) -> None:
    assert run(model, "1", 7).endswith("[73 seconds left]")
    assert run(model, "while True: pass", 1).endswith("[72 seconds left]")
    assert run(model, "1", 61) == "Error: seconds must be from 1 to 60, got 61."
    assert run(model, "1", 60).endswith("[12 seconds left]")
    assert run(model, "1", 13) == "Error: only 12 seconds of the budget are left, 13 were asked for."
    twin = model.fork()
    assert run(twin, "2", 9).endswith("2\n[3 seconds left]") and model.left == 12
    assert twin.step(twin.format.call("submit", {}))[0] == "Error: a submission costs 5 seconds, only 3 are left."
    twin.close()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1", "is not there"),
        ("open('predictions.csv', 'w').write('1\\n' * 399)", "has 399 values; one for each of the 400 rows"),
        ("open('predictions.csv', 'w').write('target\\n' + '1\\n' * 399)", "line 1: 'target' is no number"),
        ("open('predictions.csv', 'w').write('1\\n' * 399 + 'nan')", "line 400: 'nan' is not finite"),
        ("open('predictions.csv', 'w').write('1' * 300000)", "is no regular file of at most"),
        ("import os; os.mkdir('predictions.csv')", "is no regular file"),
        ("import os; os.symlink('/etc/passwd', 'predictions.csv')", "is no regular file"),
    ],
)
def test_submissions_that_cannot_be_read(model: MLEngineering, code: str, message: str) -> None:
    run(model, code)
    text, reward, *_ = model.step(model.format.call("submit", {}))
    assert text.startswith("Error: predictions.csv ") and message in text and reward == 0.0
    assert model.step("<answer>done</answer>")[4]["outcome"] == 0.0


def test_the_given_model_and_a_constant_score_nothing(model: MLEngineering) -> None:
    run(model, "exec(open('baseline.py').read())")
    text, reward, *_ = model.step(model.format.call("submit", {}))
    assert "score 0.00" in text and reward == pytest.approx(0.02)
    run(model, "open('predictions.csv', 'w').write('1e308\\n' * 400)")
    assert model.step(model.format.call("submit", {}))[1] == 0.0
    _, reward, terminated, _, info = model.step("<answer>0.99</answer>")
    assert (reward, terminated, info["outcome"]) == (0.0, True, 0.0)


def test_targets_never_enter_the_session(model: MLEngineering) -> None:
    listed = run(model, "import os\nsorted(os.listdir('.')), open('test.csv').readline()")
    assert "['baseline.py', 'test.csv', 'train.csv']" in listed and "target" not in listed.split("train.csv")[1]
    files = model._data.files
    assert all(f"{y:.4f}".encode() not in files["test.csv"] for y in model._data.target[:50])


def test_the_last_turn_counts_what_was_submitted() -> None:
    env = MLEngineering(difficulty=1, max_turns=3)
    env.reset(seed=1)
    env.step(env.expert_action())
    env.step(env.expert_action())
    text, reward, terminated, truncated, info = env.step("hm")
    assert truncated and not terminated and info["outcome"] == 1.0 and reward == pytest.approx(0.8) and text
    env.close()


def test_marks_never_exceed_solving() -> None:
    assert sum(share for share, _ in MARKS.values()) == pytest.approx(1.0)
    for wrong in (1.0, -0.1):
        with pytest.raises(ConfigError, match="progress must be"):
            MLEngineering(progress=wrong)
    with pytest.raises(ConfigError, match="seconds must be"):
        MLEngineering(seconds=3)


def test_more_parts_score_more() -> None:
    rng = np.random.default_rng(0)
    for level in (3, 6):
        task = make_ml_task(rng, level)
        spec = task.metadata["spec"]
        assert task.answer == program_with(spec, level) and len(spec["parts"]) == level
        data = data_of(json.dumps(spec))
        assert data.target.shape == (HELD_OUT,) and all(b > g + 0.15 for b, g in zip(data.best, data.baseline, strict=True))
        assert score_of(data, np.full(HELD_OUT, data.target.mean()), final=True)[1] == 0.0
        assert score_of(data, data.target, final=True) == (1.0, 1.0)


def test_a_broken_sandbox_is_a_failure(model: MLEngineering) -> None:
    run(model, "1")
    session = model._python._session
    assert session is not None
    session.close()
    with pytest.raises(EnvFailure):
        model.step(model.format.call("submit", {}))
