"""The command line as a person uses it: real environments, a real model, a real server; only the terminal is captured."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from aiohttp import web

from turnwise.agents.store import read_trajectories
from turnwise.cli import main
from turnwise.cli_parsing import env_id, levels
from turnwise.envs.registration import ids
from turnwise.errors import ConfigError, UnknownName


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)"""
    capsys.readouterr()
    code = main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# --- words ----------------------------------------------------------------------------------------------------------------


def test_environments_are_found_by_id_and_by_name() -> None:
    assert env_id("turnwise/Lookup-v0") == env_id("Lookup") == env_id("lookup") == "turnwise/Lookup-v0"
    with pytest.raises(UnknownName, match="no environment id is called 'Lokup'"):
        env_id("Lokup")


def test_levels_are_numbers_lists_and_ranges() -> None:
    assert [levels(word) for word in ("2", "1,3", "1-4", "3,1-3")] == [(2,), (1, 3), (1, 2, 3, 4), (3, 1, 2)]
    for word in ("", "a", "3-1", "1,,2", "-1", "1-"):
        with pytest.raises(ConfigError, match="expected levels such as"):
            levels(word)


# --- envs -----------------------------------------------------------------------------------------------------------------


def test_envs_lists_every_id_with_its_levels(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "envs")
    assert code == 0 and all(name in out for name in ids())
    code, out, _ = run(capsys, "envs", "--json")
    rows: list[dict[str, Any]] = json.loads(out)
    assert code == 0 and [row["id"] for row in rows] == ids()
    assert all(row["what"].endswith(".") and len(row["levels"]) >= 5 and not row["error"] for row in rows)


# --- play -----------------------------------------------------------------------------------------------------------------


def play(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, *argv: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return run(capsys, "play", *argv)


@pytest.mark.parametrize("name", ["Lookup", "Arithmetic", "Sokoban"])
def test_the_expert_plays_to_the_end(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = play(monkeypatch, capsys, "", name, "--expert", "--seed", "4")
    assert code == 0 and out.splitlines()[-1].startswith("solved: outcome 1, return 1")


def test_a_person_types_calls_answers_and_nonsense(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    env = gymnasium.make("turnwise/Lookup-v0", disable_env_checker=True)
    env.reset(seed=4, options={"split": "test"})
    task = env.unwrapped.task  # type: ignore[attr-defined]
    typed = f'?\nwhat now\nlookup {task.metadata["start"]}\nlookup name="Nobody At All"\n= {task.answer}\n'
    code, out, _ = play(monkeypatch, capsys, typed, "Lookup", "--seed", "4", "--split", "test")
    assert code == 0
    assert out.count("lookup NAME") == 2  # at the start and after ?
    assert "Neither a tool call nor an <answer>" in out
    assert "There is no entry for 'Nobody At All'." in out and task.metadata["start"] in out
    assert out.splitlines()[-1] == "solved: outcome 1, return 1, turn 4"


def test_playing_stops_where_the_input_or_the_person_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in ("", "!\n:q\nlookup never\n"):
        code, out, _ = play(monkeypatch, capsys, typed, "Lookup", "--seed", "4")
        assert code == 0 and "solved" not in out and "never" not in out


def test_a_level_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = play(monkeypatch, capsys, "", "Sokoban", "--difficulty", "77")
    assert (code, err) == (2, "error: Sokoban: difficulty must be an int from 1 to 5, got 77.\n")


# --- eval -----------------------------------------------------------------------------------------------------------------


def test_eval_writes_results_trajectories_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results"
    arguments = ("eval", "Lookup", "Sokoban", "--agent", "expert", "--tasks", "10", "--samples", "2")
    code, printed, _ = run(capsys, *arguments, "--out", str(out))
    assert code == 0 and "100.0 %" in printed and "pass@2" in printed and "turnwise/Sokoban-v0" in printed
    results = json.loads((out / "results.json").read_text())
    assert [e["env_id"] for e in results["evaluations"]] == ["turnwise/Lookup-v0", "turnwise/Sokoban-v0"]
    assert all(e["success"]["mean"] == 1.0 and e["played"] == 20 for e in results["evaluations"])
    stored = read_trajectories(out / "trajectories.jsonl")
    assert len(stored) == 40 and all(t.outcome == 1.0 for t in stored)
    assert (out / "report.html").read_text().count("<details") == 40
    code, _, err = run(capsys, *arguments, "--out", str(out))
    assert code == 2 and "holds an evaluation already" in err
    code, printed, _ = run(capsys, *arguments, "--json")
    assert code == 0 and json.loads(printed) == results


def test_eval_of_random_text_on_several_levels(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "eval", "arithmetic", "--agent", "random", "--tasks", "9", "--difficulty", "1,3", "--max-turns", "2"
    )
    assert code == 0 and "difficulty 1 " in out and "difficulty 3 " in out and "truncated 9" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("Lokup", "--agent", "random"), "no environment id is called 'Lokup'"),
        (("Lookup", "--agent", "expret"), "no agent is called 'expret'. Did you mean 'expert'?"),
        (("Lookup", "--agent", "hf:"), "names no model; write hf:PATH"),
        (("Lookup", "--agent", "hf:./no/such/folder"), "there is no such folder"),
        (("Lookup", "--agent", "expert", "--difficulty", "9"), "difficulty must be an int from 1 to 6, got 9"),
        (("Lookup", "--agent", "expert", "--difficulty", "x"), "expected levels such as"),
        (("Lookup", "--agent", "expert", "--tasks", "0"), "must be at least 1"),
        (("Lookup", "--agent", "openai:m", "--base-url", "nowhere"), "must begin with http"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_2(argv: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "eval", *argv)
    line = err.strip().splitlines()[-1]  # a progress bar may have come before
    assert code == 2 and out == "" and line.startswith("error: ") and message in line and "Traceback" not in err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "eval", "Lokup", "--agent", "random", "--debug")
    assert code == 2 and "Traceback" in err and "UnknownName" in err


def test_eval_of_a_local_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from turnwise.trainers.policies.scratch import Scratch  # noqa: PLC0415  (torch is an extra)

    model, tokenizer = Scratch(hidden=32, layers=1, heads=2, mlp=32, context=2048).build(["lookup the answer"] * 20, 0)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    argv = ("eval", "Lookup", "--agent", f"hf:{tmp_path / 'model'}", "--tasks", "3", "--max-tokens", "6", "--max-turns", "2")
    code, out, err = run(capsys, *argv, "--threads", "1", "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert "tokens sampled" in out and "hf:" in out
    stored = read_trajectories(tmp_path / "out" / "trajectories.jsonl")
    assert all(0 < len(turn.action_ids) == len(turn.logprobs) <= 6 for t in stored for turn in t.turns)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("log-probability") == sum(len(turn.action_ids) for t in stored for turn in t.turns)


@pytest.fixture
def oracle_server() -> Iterator[str]:
    """An OpenAI-compatible server in a thread of its own that answers every conversation with one and the same answer."""
    started = threading.Event()
    address: list[str] = []
    loop = asyncio.new_event_loop()

    async def chat(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer k3y" and (await request.json())["model"] == "tiny"
        message = {"role": "assistant", "content": "<answer>Nobody</answer>"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        return runner

    def serve() -> None:
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert started.wait(10)
    yield address[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_eval_of_a_chat_model_by_environment_variables(
    oracle_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", oracle_server)
    monkeypatch.setenv("OPENAI_API_KEY", "k3y")
    code, out, err = run(capsys, "eval", "Lookup", "--agent", "openai:tiny", "--tasks", "5", "--json")
    assert code == 0, err
    results = json.loads(out)
    assert results["usage"] == {"requests": 5, "retries": 0, "prompt_tokens": 25, "completion_tokens": 10}
    assert results["evaluations"][0]["success"]["mean"] == 0.0 and results["evaluations"][0]["tokens"] is None


# --- the program ------------------------------------------------------------------------------------------------------------


def test_help_and_argparse_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("envs", "play", "check", "eval", "train", "explain", "replay", "audit"):
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0 and f"  turnwise {verb} " in capsys.readouterr().out
    for argv in ([], ["eval"], ["envs", "--nope"], ["envs", "steps=3"], ["train", "r.toml", "--nope", "a=1"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 2 and "error: " in capsys.readouterr().err


def test_starting_the_program_loads_no_torch() -> None:
    code = "import sys, turnwise.cli; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False False\n"


def test_interrupting_exits_130_without_a_traceback() -> None:
    # A shell starts what runs in its background without ears for SIGINT, and so would this test's program be.
    hears = "import signal, sys, turnwise.cli as c; signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(c.main())"
    command = [sys.executable, "-c", hears, "play", "Lookup", "--seed", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdin and program.stdout and program.stderr
        program.stdin.write("?\n")
        program.stdin.flush()
        while "> ?" not in program.stdout.readline():
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        err = program.stderr.read()
        assert program.wait(30) == 130
    assert "Traceback" not in err and "interrupted" in err
