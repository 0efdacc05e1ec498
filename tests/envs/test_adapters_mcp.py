"""MCP servers as tools, run for real: stdio and streamable HTTP, deaths and hangs, forks by replay."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.envs.servers.started import started
from turnwise.envs import Task
from turnwise.envs.adapters.mcp_tools import McpTools, mcp_tools
from turnwise.envs.tool_env import ToolEnv
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).parent / "servers" / "moody_mcp.py"
COMMAND = [sys.executable, str(SERVER)]


class Counting(ToolEnv):
    """Count to a number with whatever tools there are."""

    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        number = int(rng.integers(1000))
        return Task(f"counting/{number}", f"Count to {number}.", str(number), difficulty)

    def grade(self, answer: str) -> float:
        return float(answer == self.task.answer)

    def expert_action(self) -> str:
        return self.format.final(self.task.answer)


def counting(**options: Any) -> Counting:
    env = Counting(toolset=[mcp_tools(COMMAND, call_s=60, start_s=120, **options)])
    env.reset(seed=0)
    return env


def said(env: ToolEnv, tool: str, **arguments: Any) -> str:
    return env.step(env.format.call(tool, arguments))[0]


def by(number: int, why: str = "") -> dict[str, Any]:
    return {"step": {"by": number, "why": why}}


def test_a_server_over_stdio() -> None:
    """Schemas taken over, errors of tools as observations, forks, and a new server for the next episode."""
    env = counting()
    specs = {spec["name"]: spec for spec in env.tools}
    assert list(specs) == ["count", "chance", "fail", "die", "hang", "facts"]
    assert specs["count"]["description"] == "Count on." and "$defs" in specs["count"]["parameters"]
    assert env.metadata["inline"] is False

    assert said(env, "count", **by(3, "é")) == "3 é"
    twin = env.fork()
    assert (said(twin, "count", **by(10)), said(env, "count", **by(1))) == ("13", "4")
    second = twin.fork()
    assert said(second, "count", **by(5)) == "18"
    second.close(), twin.close()

    observation, _, _, _, info = env.step(env.format.call("count", {"step": {"by": "many"}}))
    assert observation == "Error: count: step.by: 'many' is not of type 'integer'." and not info["valid_action"]
    assert said(env, "fail", message="no").startswith("Error")
    assert said(env, "hang", seconds=0, server="a", self="b") == "ab"
    assert '"a":1' in said(env, "facts").replace(" ", "").replace("\n", "")

    env.reset(seed=1)
    assert said(env, "count", **by(1)) == "1"
    with pytest.raises(EnvFailure, match=r"(?s)mcp.*goodbye, cruel world"):
        said(env, "die")
    with pytest.raises(EnvFailure, match="lost earlier in this episode"):
        said(env, "count", **by(1))
    env.reset(seed=2)
    assert said(env, "count", **by(2)) == "2"
    env.close()


def test_a_hang_is_a_failure_and_nothing_is_left_behind() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    env = Counting(toolset=[mcp_tools(COMMAND, call_s=3, start_s=120)])
    env.reset(seed=0)
    with pytest.raises(EnvFailure, match="mcp"):
        said(env, "hang", seconds=600)
    env.close(), env.close()
    deadline = time.monotonic() + 60
    while left := {child.pid for child in psutil.Process().children(recursive=True)} - before:
        assert time.monotonic() < deadline, f"{left} are still there"
        time.sleep(0.05)


def test_a_server_of_chance_cannot_be_forked() -> None:
    env = counting()
    said(env, "chance")
    twin = env.fork()
    with pytest.raises(EnvFailure, match="not deterministic"):
        said(twin, "count", **by(1))
    assert len(said(env, "chance")) == 16
    twin.close(), env.close()


def test_without_a_state_the_connection_is_shared() -> None:
    """This server does remember, which shows that there is only one."""
    env = counting(state="none", only=["count"])
    assert [spec["name"] for spec in env.tools] == ["count"]
    assert said(env, "count", **by(1)) == "1"
    twin = env.fork()
    assert [said(twin, "count", **by(1)), said(env, "count", **by(1))] == [
        "2",
        "3",
    ]
    env.close()
    assert said(twin, "count", **by(1)) == "4"
    twin.close()


def test_a_server_over_http() -> None:
    with started(*COMMAND, "http", path="/mcp") as address:
        url = f"{address}/mcp"
        env = Counting(toolset=[mcp_tools(url, call_s=60, start_s=120)])
        env.reset(seed=0)
        assert said(env, "count", **by(2)) == "2"
        env.reset(seed=1)
        assert said(env, "count", **by(2)) == "4"  # what is remembered is outside
        with pytest.raises(Unsupported, match=r"cannot be forked; say state='none'"):
            env.fork()
        with pytest.raises(EnvFailure, match="mcp"):
            said(env, "die")
        env.close()
    gone = Counting(toolset=[mcp_tools(url, start_s=20)])
    with pytest.raises(EnvFailure, match="mcp"):
        gone.reset(seed=0)
    gone.close()


@pytest.mark.parametrize(
    ("server", "options", "message"),
    [
        ("python server.py", {}, "expected a URL or a command as a list"),
        ([], {}, "the command is empty"),
        ("http://127.0.0.1:1/mcp", {"cwd": "."}, "env and cwd are for a command"),
        (COMMAND, {"state": "some"}, "no state of mcp_tools is called 'some'"),
        (COMMAND, {"call_s": 0}, "must be positive"),
    ],
)
def test_wrong_settings(server: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mcp_tools(server, **options)


def test_what_is_no_server() -> None:
    for command in (["/nowhere/to/be/found"], [sys.executable, "-c", "print('I am no server')"]):
        tools: McpTools = mcp_tools(command, start_s=60)
        with pytest.raises(EnvFailure, match="mcp"):
            _ = tools.tools
        tools.close()
    with pytest.raises(UnknownName, match="Did you mean 'count'"):
        counting(only=["cuont"])


def test_the_example(tmp_path: Path) -> None:
    """examples/shop, installed as a stranger would: an environment on top of an MCP server, in under 40 lines."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--root-user-action=ignore"]
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("shop_env.py", "shop_server.py", "pyproject.toml"):
        (folder / name).write_text((ROOT / "examples" / "shop" / name).read_text())
    site = tmp_path / "site"
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site), str(folder)], check=True)
    code = (
        "import gymnasium, turnwise\n"
        "env = gymnasium.make('shop/Shop-v0', difficulty=2)\n"
        "env.reset(seed=0)\n"
        "over = False\n"
        "while not over:\n"
        "    *_, reward, over, _, info = env.step(env.unwrapped.expert_action())\n"
        "env.close()\n"
        "print(reward, info['outcome'], env.unwrapped.turn)\n"
    )
    path = os.pathsep.join([str(site), str(ROOT)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert (done.returncode, done.stdout) == (0, "1.0 1.0 4\n"), done.stderr
    assert len((ROOT / "examples" / "shop" / "shop_env.py").read_text().splitlines()) < 40
