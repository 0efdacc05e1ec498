"""Schemas of functions: all the types that JSON can give, words from docstrings in three styles, and what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired, get_type_hints

import numpy as np
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from turnwise.envs import Task
from turnwise.envs.options import ToolOptions
from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import Tool, ToolSet, tool
from turnwise.errors import ConfigError


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclasses.dataclass
class Address:
    street: str
    number: int = 1


class Guest(BaseModel):
    name: str
    title: str = "none"


class Extra(TypedDict):
    what: str
    count: NotRequired[int]


@dataclasses.dataclass
class Order:
    to: Address
    guests: list[Guest]
    extras: list[Extra]


def order(
    drink: Literal["tea", "coffee"],
    size: Size,
    where: Order,
    note: str | None = None,
    tags: list[str] | None = None,
    prices: dict[str, float] | None = None,
    times: Annotated[int, Field(ge=1, le=9)] = 1,
) -> str:
    """Order something."""
    assert isinstance(size, Size) and isinstance(where, Order) and isinstance(where.guests[0], Guest)
    return (
        f"{times} {size.value} {drink} for {where.guests[0].name}, {where.to.street} {where.to.number}, {note}, {tags}, {prices}"
    )


def test_every_kind_of_type() -> None:
    schema = tool(order).spec["parameters"]
    properties = schema["properties"]
    assert schema["required"] == ["drink", "size", "where"]
    assert properties["drink"] == {"enum": ["tea", "coffee"], "type": "string"}
    assert properties["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert properties["times"] == {"type": "integer", "minimum": 1, "maximum": 9, "default": 1}
    assert set(schema["$defs"]) == {"Size", "Order", "Address", "Guest", "Extra"}
    assert schema["$defs"]["Guest"]["properties"]["title"] == {
        "type": "string",
        "default": "none",
    }
    assert schema["$defs"]["Extra"]["required"] == ["what"]
    where = {"to": {"street": "Elm"}, "guests": [{"name": "Mo"}], "extras": [{"what": "cake"}]}
    made = tool(order)({"drink": "tea", "size": "large", "where": where, "tags": ["a"]})
    assert made == ("1 large tea for Mo, Elm 1, None, ['a'], None", True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"drink": "milk"}, "Error: order: drink: Input should be 'tea' or 'coffee'."),
        ({"size": "huge"}, "Error: order: size: Input should be 'small' or 'large'."),
        ({"times": 10}, "Error: order: times: Input should be less than or equal to 9."),
        ({"where": {"to": {}, "guests": [], "extras": []}}, "Error: order: where.to.street: Field required."),
    ],
)
def test_wrong_values_say_where(change: dict[str, Any], text: str) -> None:
    where = {"to": {"street": "Elm"}, "guests": [{"name": "Mo"}], "extras": []}
    assert tool(order)({"drink": "tea", "size": "small", "where": where} | change) == (text, False)


def google(city: str, days: int = 1) -> str:
    """Tell the weather.

    Only for cities of this world.

    Args:
        city: Its name,
            as on the map.
        days (int): How far ahead.

    Returns:
        A sentence.
    """
    return f"{city} {days}"


def numpy_style(city: str, days: int = 1) -> str:
    """Tell the weather.

    Only for cities of this world.

    Parameters
    ----------
    city : str
        Its name,
        as on the map.
    days : int, optional
        How far ahead.

    Returns
    -------
    A sentence.
    """
    return f"{city} {days}"


def sphinx(city: str, days: int = 1) -> str:
    """Tell the weather.

    Only for cities of this world.

    :param str city: Its name,
        as on the map.
    :param days: How far ahead.
    :returns: A sentence.
    """
    return f"{city} {days}"


@pytest.mark.parametrize("function", [google, numpy_style, sphinx])
def test_words_from_docstrings(function: Callable[..., str]) -> None:
    spec = tool(function).spec
    properties = spec["parameters"]["properties"]
    assert properties["city"]["description"] == "Its name, as on the map."
    assert properties["days"]["description"] == "How far ahead."
    assert spec["description"].startswith("Tell the weather.\n\nOnly for cities of this world.")
    assert "A sentence." in spec["description"] and "as on the map" not in spec["description"]


def test_words_in_the_annotation() -> None:
    def dose(amount: Annotated[int, "in drops"], of: Annotated[str, Field(description="what it is")]) -> str:
        """Take some."""
        return f"{amount} {of}"

    hints = {"amount": Annotated[int, "in drops"], "of": Annotated[str, Field(description="what it is")]}
    dose.__annotations__ = hints
    properties = tool(dose).spec["parameters"]["properties"]
    assert (properties["amount"]["description"], properties["of"]["description"]) == ("in drops", "what it is")


def test_any_name_will_do() -> None:
    def names(schema: int, copy: int, model_config: int, json: int, _hidden: int = 5) -> str:
        """Names that pydantic has other plans for."""
        return f"{schema} {copy} {model_config} {json} {_hidden}"

    made = tool(names)
    assert list(made.spec["parameters"]["properties"]) == ["schema", "copy", "model_config", "json", "_hidden"]
    assert made({"schema": 1, "copy": 2, "model_config": 3, "json": 4}) == ("1 2 3 4 5", True)
    assert made({"a_schema": 1}) == ("Error: names: schema: Field required.", False)


def variadic(*numbers: int) -> str:
    """Several."""
    return str(numbers)


def keywords(**numbers: int) -> str:
    """Several."""
    return str(numbers)


def array(values: np.random.Generator) -> str:
    """No JSON gives a generator."""
    return str(values)


def callback(call: Callable[[int], int]) -> str:
    """No JSON gives a function."""
    return str(call(1))


def unknown(value: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
    """Its type does not exist."""
    return str(value)


def drifted(value: int) -> str:
    """Something.

    Args:
        vale: The value.
    """
    return str(value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (variadic, r"variadic: parameter '\*numbers' has no name"),
        (keywords, r"keywords: parameter '\*\*numbers' has no name"),
        (array, "array: parameter 'values' .* cannot come from JSON"),
        (callback, "callback: parameter 'call' .* cannot come from JSON"),
        (unknown, "unknown: name 'Nowhere' is not defined, a type hint"),
        (drifted, "drifted: the docstring describes 'vale', which is not a parameter"),
    ],
)
def test_what_cannot_be_a_schema(function: Callable[..., str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tool(function)


def test_results_that_are_no_text() -> None:
    def said(value: Any) -> tool:  # type: ignore[valid-type]
        def answer() -> Any:
            """Says it."""
            return value

        answer.__annotations__ = {}
        return tool(answer)

    results = [
        said(value)({})[0] for value in (None, 3, 0.5, True, [1, "é"], {"a": None}, Address("Elm"), Guest(name="Mo"), Size.SMALL)
    ]
    expected = [
        "",
        "3",
        "0.5",
        "True",
        '[1,"é"]',
        '{"a":null}',
        '{"street":"Elm","number":1}',
        '{"name":"Mo","title":"none"}',
        '"small"',
    ]
    assert results == expected
    assert said(object)({})[0] == "<class 'object'>"


def test_objects_and_other_names() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def __call__(self, by: int = 1) -> int:
            """Count on."""
            self.count += by
            return self.count

    counter = tool(Counter(), name="count")
    assert [counter({})[0], counter({"by": 4})[0]] == ["1", "5"]
    assert counter.spec["description"] == "Count on."
    assert tool(Counter().__call__, name="count", description="Another word.").spec["description"] == "Another word."
    with pytest.raises(ConfigError, match=r"needs a docstring|partial"):
        tool(functools.partial(google, days=2), description="")


def test_async_functions_are_awaited_from_any_thread() -> None:
    async def slow(number: int) -> int:
        """Take a turn of the event loop."""
        await asyncio.sleep(0)
        return number + 1

    made = tool(slow)
    assert made.waits and not tool(google).waits
    assert made({"number": 1}) == ("2", True)

    async def from_a_loop() -> tuple[str, bool]:
        return await asyncio.to_thread(made, {"number": 2})

    assert asyncio.run(from_a_loop()) == ("3", True)
    results: list[str] = []
    threads = [threading.Thread(target=lambda n=n: results.append(made({"number": n})[0])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [str(n + 1) for n in range(8)]


class Quiz(ToolEnv):
    """Add up what was said."""

    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        number = int(rng.integers(10**9))
        return Task(f"quiz/{number}", f"Say {number}.", str(number), difficulty)

    def grade(self, answer: str) -> float:
        return float(answer == self.task.answer)

    def expert_action(self) -> str:
        return self.format.final(self.task.answer)


class Memory(ToolSet):
    """Keeps words, for an episode."""

    def __init__(self) -> None:
        self.words: tuple[str, ...] = ()
        self.closed = False

    @tool
    def keep(self, word: str) -> str:
        """Keep a word."""
        self.words = (*self.words, word)
        return " ".join(self.words)

    toolset = (keep,)

    def restart(self) -> None:
        self.words = ()

    def close(self) -> None:
        self.closed = True


def keep(word: str) -> str:
    return Quiz().format.call("keep", {"word": word})


def test_tools_of_an_instance() -> None:
    env = Quiz(toolset=[google, tool(order)])
    observation, _ = env.reset(seed=0)
    assert '"name": "google"' in observation and [spec["name"] for spec in env.tools] == ["google", "order"]
    assert env.step(env.format.call("google", {"city": "Rome"}))[0] == "Rome 1"
    assert [spec["name"] for spec in Quiz().tools] == []
    assert Quiz().reset(seed=0)[0].endswith("When you know the answer, reply <answer>...</answer>.")
    assert Quiz().metadata["inline"] is True


def test_a_set_has_a_state_of_its_own_everywhere() -> None:
    given = Memory()
    env, other = Quiz(toolset=[given]), Quiz(toolset=[given])
    env.reset(seed=0), other.reset(seed=0)
    assert [env.step(keep("a"))[0], env.step(keep("b"))[0], other.step(keep("z"))[0]] == ["a", "a b", "z"]
    twin = env.fork()
    assert (twin.step(keep("t"))[0], env.step(keep("c"))[0]) == ("a b t", "a b c")
    env.reset(seed=1)
    assert env.step(keep("new"))[0] == "new"
    assert given.words == () and not given.closed
    env.close(), env.close()


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two tools are called 'keep'"):
        Quiz(toolset=[Memory(), Memory()]).reset(seed=0)


def test_an_environment_whose_tools_wait_is_not_stepped_on_the_event_loop() -> None:
    async def slow() -> str:
        """Wait."""
        return ""

    assert Quiz(toolset=[slow]).metadata["inline"] is False
    assert Quiz.metadata["inline"] is True


def test_options_are_those_of_the_constructor() -> None:
    """ToolOptions is what subclasses pass on; ToolEnv is where the defaults stand."""
    parameters = {name for name in inspect.signature(ToolEnv.__init__).parameters if name != "self"}
    assert set(get_type_hints(ToolOptions)) == parameters
    with pytest.raises(TypeError, match="colour"):
        Quiz(colour="red")  # type: ignore[call-arg]


def test_a_tool_may_bring_its_own_reader() -> None:
    class Anything:
        schema: dict[str, Any] = {"type": "object", "properties": {}}  # noqa: RUF012

        def read(self, given: Any) -> Any:
            return given if len(given) < 3 else "too many."

    made = Tool("echo", "Echo.", lambda **given: sorted(given), Anything())
    assert made({"self": 1, "name": 2}) == ('["name","self"]', True)
    assert made({"a": 1, "b": 2, "c": 3}) == ("Error: echo: too many.", False)
