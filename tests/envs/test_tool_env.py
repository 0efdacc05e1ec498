"""ToolEnv and tools: schemas from signatures, errors that a model can read, the course of an episode."""

import copy
from typing import Any

import numpy as np
import pytest

from turnwise.envs import Task
from turnwise.envs.testing import check_turn_env
from turnwise.envs.tool_env import MAX_RESULT, ToolEnv
from turnwise.envs.tools import Tool, tool
from turnwise.errors import ConfigError, EnvFailure, UnknownName


@tool
def double(number: int, times: int = 1) -> str:
    """Double a number, once or several times."""
    return str(number << max(0, min(times, 10)))


@tool
def shout(text: str) -> str:
    """Say it again and again."""
    return text[:2] * MAX_RESULT


class Vault(ToolEnv):
    """A code that the tool `digit` gives away, one place at a time."""

    levels = range(1, 3)

    @tool
    def digit(self, place: int) -> str:
        """One digit of the code; the first place is 0."""
        if place == 999:
            raise EnvFailure("vault", "the door fell off")
        code = self.task.answer
        self.asked = (*self.asked, place)
        return code[place] if 0 <= place < len(code) else "There is no such place."

    toolset = (digit, double, shout)
    asked: tuple[int, ...] = ()

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        code = "".join(str(d) for d in rng.integers(0, 10, size=8 + difficulty))
        return Task(f"vault/{code}", f"The code has {len(code)} digits. What is it?", code, difficulty)

    def begin(self, task: Task) -> str:
        self.asked = ()
        return super().begin(task)

    def turn_limit(self, task: Task) -> int:
        return 2 * len(task.answer) + 4

    def grade(self, answer: str) -> float:
        return float(answer == self.task.answer)

    def expert_action(self) -> str:
        missing = [place for place in range(len(self.task.answer)) if place not in self.asked]
        return self.format.call("digit", {"place": missing[0]}) if missing else self.format.final(self.task.answer)


TASK = Task("vault/by-hand", "The code has 2 digits. What is it?", "42", 1)


def vault(**options: Any) -> Vault:
    env = Vault(**options)
    env.reset(seed=0, options={"task": TASK})
    return env


def call(name: str, arguments: str) -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


def test_schema_from_signature() -> None:
    assert double.spec == {
        "name": "double",
        "description": "Double a number, once or several times.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "times": {"type": "integer", "default": 1}},
            "required": ["number"],
        },
    }
    assert (double.method, Vault.toolset[0].method) == (False, True)
    assert list(Vault.toolset[0].spec["parameters"]["properties"]) == ["place"]
    assert copy.deepcopy(double) is double


def test_tool_is_called_with_checked_arguments() -> None:
    assert double({"number": 3}) == ("6", True)
    assert double({"number": 3, "times": 2}) == ("12", True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Error: double: number: Field required."),
        ({"number": "x"}, "Error: double: number: Input should be a valid integer, unable to parse string as an integer."),
        ({"number": None}, "Error: double: number: Input should be a valid integer."),
        ({"number": 1, "colour": 2}, "Error: double: colour: Extra inputs are not permitted."),
        (
            {"number": 1, "\ud800": 2},
            "Error: double: arguments: Input should be a valid string, unable to parse raw data as a unicode string.",
        ),
        ({"number": 1, "k" * 90_000: 2}, f"Error: double: {'k' * 50}: Extra inputs are not permitted."),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], text: str) -> None:
    assert double(arguments) == (text, False)


def test_tools_need_words_and_types() -> None:
    def silent(x: int) -> str:
        return str(x)

    def untyped(x) -> str:  # type: ignore[no-untyped-def]
        """Something."""
        return str(x)

    with pytest.raises(ConfigError, match="silent: needs a docstring"):
        tool(silent)
    with pytest.raises(ConfigError, match="untyped: parameter 'x' needs a type hint"):
        tool(untyped)


def test_first_observation() -> None:
    env = Vault()
    observation, info = env.reset(seed=0, options={"task": TASK})
    assert observation.startswith("The code has 2 digits. What is it?\n\nYou can call these tools:\n")
    assert all(f'"name": "{name}"' in observation for name in ("digit", "double", "shout"))
    assert info["role"] == "user"
    assert Vault(instructions=False).reset(seed=0, options={"task": TASK})[0] == "The code has 2 digits. What is it?"
    assert [spec["name"] for spec in env.tools] == ["digit", "double", "shout"]


def test_tool_results_and_answer() -> None:
    env = vault()
    observation, reward, terminated, truncated, info = env.step(call("digit", '{"place": 0}') + call("double", '{"number": 4}'))
    assert (observation, reward, terminated, truncated) == ("4\n8", 0.0, False, False)
    assert info == {"outcome": 0.0, "reward_terms": {}, "valid_action": True, "role": "tool"}
    assert env.step("<answer>42</answer>") == (
        "Correct.",
        1.0,
        True,
        False,
        {"outcome": 1.0, "reward_terms": {"answer": 1.0}, "valid_action": True, "role": "user"},
    )
    assert env.render().endswith("> <answer>42</answer>\nCorrect.")


def test_wrong_answer_ends_the_episode() -> None:
    observation, reward, terminated, _, info = vault().step("<answer>24</answer>")
    assert (observation, reward, terminated, info["outcome"]) == ("That is not the right answer.", 0.0, True, 0.0)


@pytest.mark.parametrize(
    ("reply", "text", "role"),
    [
        ("hm", "Neither a tool call nor an <answer>...</answer> was found in the reply.", "user"),
        (call("open", "{}"), "Error: there is no tool 'open'; there are: digit, double, shout.", "tool"),
        (call("\\ud800", "{}"), r"Error: there is no tool '\ud800'; there are: digit, double, shout.", "tool"),
        (call("digit", "{}"), "Error: digit: place: Field required.", "tool"),
        (call("digit", '{"self": 1, "place": 0}'), "Error: digit: self: Extra inputs are not permitted.", "tool"),
    ],
)
def test_refusals(reply: str, text: str, role: str) -> None:
    observation, reward, terminated, _, info = vault().step(reply)
    assert (observation, reward, terminated) == (text, 0.0, False)
    assert (info["valid_action"], info["role"]) == (False, role)


def test_one_bad_call_among_good_ones() -> None:
    observation, _, _, _, info = vault().step(call("digit", '{"place": 1}') + call("nothing", "{}"))
    assert observation.startswith("2\nError: there is no tool 'nothing'")
    assert not info["valid_action"]


def test_long_results_are_cut() -> None:
    observation = vault().step(call("shout", '{"text": "ab"}'))[0]
    assert observation == "ab" * (MAX_RESULT // 2) + " [cut]"


def test_results_can_always_be_encoded() -> None:
    assert vault().step(call("shout", '{"text": "\\ud800\u00e9"}'))[0].startswith("?\u00e9?\u00e9")


def test_an_empty_result_is_told() -> None:
    assert vault().step(call("shout", '{"text": ""}'))[0] == "(no output)"


def test_a_broken_world_is_no_observation() -> None:
    with pytest.raises(EnvFailure, match="the door fell off"):
        vault().step(call("digit", '{"place": 999}'))


def test_fork_of_a_tool_environment() -> None:
    env = vault()
    env.step(call("digit", '{"place": 0}'))
    twin = env.fork()
    assert twin.step(call("digit", '{"place": 1}'))[0] == "2"
    assert (env.asked, twin.asked) == ((0,), (0, 1))
    assert env.render() != twin.render()


def test_unknown_format() -> None:
    with pytest.raises(UnknownName, match="hermes"):
        Vault(action_format="hermse")


def test_the_contract() -> None:
    report = check_turn_env(Vault, tasks=20, distinct=200)
    assert max(report.probes.values()) == 0.0


def test_tools_by_hand() -> None:
    """A tool may come from elsewhere (an MCP server): name, words and schema are given."""
    renamed = Tool("twice", "Twice the number.", double.function, double.arguments)
    assert renamed({"number": 2}) == ("4", True)
    assert (renamed.spec["name"], double.spec["name"]) == ("twice", "double")
