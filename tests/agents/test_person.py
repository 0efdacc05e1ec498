"""What a person types, as the environment's parser reads it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from turnwise.agents.person import is_open, spell, usage
from turnwise.envs import Transition, TurnEnv
from turnwise.envs.gui.gui_lite import GuiLite
from turnwise.envs.miniwob.miniwob import MiniWoB
from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.types import Task


@tool
def find(name: str) -> str:
    """Find somebody.
    By name."""
    return name


@tool
def book(town: str, nights: int, breakfast: bool = False) -> str:
    """Book a room."""
    return f"{town} {nights} {breakfast}"


@tool
def look(words: str, most: int = 5) -> str:
    """Look for words."""
    return f"{words} {most}"


@tool
def ask(whom: str, what: str) -> str:
    """Ask somebody."""
    return f"{whom} {what}"


class Desk(ToolEnv):
    toolset = (find, book, look, ask)
    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task("t", "p", "a", 1)

    def grade(self, answer: str) -> float:
        return 1.0

    def expert_action(self) -> str:
        return self.format.final("a")


class Bell(Desk):
    takes_answer = False


class Plain(TurnEnv):
    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task("t", "p", "a", 1)

    def begin(self, task: Task) -> str:
        return ""

    def play(self, action: str) -> Transition:
        return Transition(action)

    def expert_action(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ("find Mira Tan", "find", {"name": "Mira Tan"}),
        ('find name="Mira Tan"', "find", {"name": "Mira Tan"}),
        ('find "Mira Tan"', "find", {"name": "Mira Tan"}),
        ("find Tan O'Brien", "find", {"name": "Tan O'Brien"}),
        ("find 42", "find", {"name": "42"}),
        ("find a=b", "find", {"name": "a=b"}),
        ("  find   x ", "find", {"name": "x"}),
        ("find", "find", {}),
        ("book Ulm 3", "book", {"town": "Ulm", "nights": 3}),
        ("book Ulm 3 true", "book", {"town": "Ulm", "nights": 3, "breakfast": True}),
        ("book nights=2 'New Ulm' breakfast=false", "book", {"town": "New Ulm", "nights": 2, "breakfast": False}),
        ("book nights=2 breakfast=true New Ulm", "book", {"town": "New Ulm", "nights": 2, "breakfast": True}),
        ("book Ulm many", "book", {"town": "Ulm", "nights": "many"}),
        ("book a 1 true extra", "book", {"town": "a", "nights": 1, "breakfast": True, "argument_1": "extra"}),
        ("book 'Ulm", "book", {"town": "'Ulm"}),
        ("ask Vega Who is it?", "ask", {"whom": "Vega", "what": "Who is it?"}),
        ("ask Vega Tan's name", "ask", {"whom": "Vega", "what": "Tan's name"}),
        ("look Mira Tan", "look", {"words": "Mira Tan"}),
        ("look Mira Tan most=3", "look", {"words": "Mira Tan", "most": 3}),
        ('look "Mira Tan" and more', "look", {"words": "Mira Tan and more"}),
        ('look the "Mira Tan" 3', "look", {"words": "the Mira Tan 3"}),
        ('look "Mira Tan" more most=2', "look", {"words": "Mira Tan more", "most": 2}),
        ("look 'Mira Tan' 3", "look", {"words": "Mira Tan", "most": 3}),
        ("find ```\nx = 'a'\n\n  y\n```", "find", {"name": "x = 'a'\n\n  y"}),
        ("find\n```python\nx\n```", "find", {"name": "x"}),
        ("look most=3 ```\na = 1\n```", "look", {"words": "a = 1", "most": 3}),
        ("look ```\na = 1\n``` 3", "look", {"words": "a = 1", "most": 3}),
    ],
)
def test_a_line_becomes_a_call(line: str, name: str, arguments: Mapping[str, Any]) -> None:
    env = Desk()
    (call,) = env.format.parse(spell(line, env)).calls
    assert (call.name, dict(call.arguments)) == (name, arguments)


def test_answers_and_everything_else() -> None:
    env = Desk()
    assert env.format.parse(spell("= 4 = 4", env)).answer == "4 = 4"
    assert spell("<answer>x</answer>", env) == "<answer>x</answer>"
    assert spell("finder x", env) == "finder x"
    assert spell("= 42", Plain()) == "= 42" and spell("find x", Plain()) == "find x"


def test_a_block_is_read_to_its_end() -> None:
    env = Desk()
    assert is_open("= ```python") and is_open("find ```\nx = 1") and not is_open("find x") and not is_open("```\nx\n```")
    assert env.format.parse(spell("= ```\nx = 1\n```", env)).answer == "```\nx = 1\n```"


def test_usage_names_the_tools_and_their_parameters() -> None:
    text = usage(Desk())
    assert "find NAME" in text and "book TOWN NIGHTS [breakfast=...]" in text and "Book a room." in text
    assert "= TEXT" not in usage(Plain()) and ":q" in usage(Plain())


def test_no_answer_is_offered_where_none_is_taken() -> None:
    env = Bell()
    assert "= TEXT" in usage(Desk()) and "= TEXT" not in usage(env) and "find NAME" in usage(env)
    assert spell("= 42", env) == "= 42"
    assert not GuiLite.takes_answer and not MiniWoB.takes_answer
