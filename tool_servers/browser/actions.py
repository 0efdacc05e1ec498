"""The tools of a browser session: their JSON-schema specs, and the check of what a model gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["HARNESS", "TOOLS", "WrongAction", "allowed_address", "checked"]

SCHEMES = ("http", "https")


class WrongAction(Exception):
    """What the model asked for cannot be done; the text is for the model."""


def _tool(name: str, description: str, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"name": name, "description": description, "parameters": parameters}


def _kind(kind: str, description: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "description": description, **more}


_MARK = _kind("integer", "Number in brackets of the element in the last observation.", minimum=1)
_X = _kind("number", "Pixels from the left of the viewport.", minimum=0)
_Y = _kind("number", "Pixels from the top of the viewport.", minimum=0)
_POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}

TOOLS: Final[tuple[dict[str, Any], ...]] = (
    _tool("goto", "Open an address.", ("url",), url=_kind("string", "http, https or about:blank.", maxLength=4096)),
    _tool(
        "click",
        "Click an element by its mark, or a point by x and y.",
        mark=_MARK,
        x=_X,
        y=_Y,
        button=_kind("string", "Which button.", enum=["left", "middle", "right"]),
        count=_kind("integer", "2 is a double click.", minimum=1, maximum=3),
    ),
    _tool("hover", "Move the pointer over an element, or to a point, without clicking.", mark=_MARK, x=_X, y=_Y),
    _tool(
        "drag",
        "Press on an element or point, move to another, let go.",
        mark=_MARK,
        x=_X,
        y=_Y,
        to_mark=_MARK,
        to_x=_X,
        to_y=_Y,
        through=_kind("array", "Points [x, y] to pass on the way.", items=_POINT, maxItems=200),
    ),
    _tool(
        "type",
        "Type text. With a mark: into that field, its text replaced unless append is true; without: where the focus is.",
        ("text",),
        text=_kind("string", "The text.", maxLength=20_000),
        mark=_MARK,
        append=_kind("boolean", "Keep what the field holds."),
        submit=_kind("boolean", "Press Enter afterwards."),
    ),
    _tool(
        "key",
        "Press a key or a chord.",
        ("keys",),
        keys=_kind("string", "Enter, Escape, ArrowDown, Control+A, ...", maxLength=64),
    ),
    _tool(
        "scroll",
        "Scroll the page, or the part of it under the mark.",
        ("direction",),
        direction=_kind("string", "Where to.", enum=["up", "down", "left", "right"]),
        pixels=_kind("number", "How far; most of the viewport if left out.", minimum=1, maximum=100_000),
        mark=_MARK,
    ),
    _tool(
        "select",
        "Choose in a select box by the options' texts.",
        ("mark", "options"),
        mark=_MARK,
        options=_kind("array", "Texts of the options to choose.", items={"type": "string"}, maxItems=100),
    ),
    _tool("back", "Go back in this tab's history."),
    _tool("forward", "Go forward in this tab's history."),
    _tool(
        "tab",
        "Open, show or close a tab.",
        ("action",),
        action=_kind("string", "What to do.", enum=["new", "switch", "close"]),
        number=_kind("integer", "Which tab, for switch and close; this one if left out.", minimum=1),
        url=_kind("string", "What to open in a new tab.", maxLength=4096),
    ),
    _tool(
        "dialog",
        "How the page's next confirm and prompt dialogs are answered (accepted unless this says otherwise).",
        ("accept",),
        accept=_kind("boolean", "OK or Cancel."),
        text=_kind("string", "What to answer a prompt.", maxLength=2000),
    ),
    _tool("observe", "Look at the page again."),
    _tool("screenshot", "A picture of the viewport.", marks=_kind("boolean", "Draw the marks into it.")),
    _tool("wait", "Let the page go on for a while.", ("seconds",), seconds=_kind("number", "How long.", minimum=0, maximum=5)),
)
"""What a model may use."""

HARNESS: Final[tuple[dict[str, Any], ...]] = (
    _tool(
        "restart",
        "A new episode in the same session; tells in value which rung did it: page, address or context.",
        argument=_kind("object", "Given to the page's restart function."),
        start=_kind("string", "Where to begin, if not where the session began."),
        seed=_kind("integer", "Seeds the pages' random numbers anew (address and context rungs)."),
    ),
    _tool(
        "evaluate",
        "The value of a JavaScript expression, as the page sees it.",
        ("expression",),
        expression=_kind("string", "It."),
    ),
)
"""What an environment may use, and a model must not be offered: they reach past the page's surface."""

_SPECS = {spec["name"]: spec["parameters"] for spec in (*TOOLS, *HARNESS)}
_POINTED = {"click": ("",), "hover": ("",), "drag": ("", "to_")}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def checked(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments if they fit the tool's spec; WrongAction says what does not."""
    if tool not in _SPECS:
        raise WrongAction(f"There is no tool {tool!r}; there are {', '.join(spec['name'] for spec in TOOLS)}.")
    spec = _SPECS[tool]
    for name in spec["required"]:
        if arguments.get(name) is None:
            raise WrongAction(f"{tool}: {name} is missing.")
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        if name not in spec["properties"]:
            raise WrongAction(f"{tool}: there is no {name}; there are {', '.join(spec['properties']) or 'no arguments'}.")
        _check(f"{tool}: {name}", spec["properties"][name], value)
    for prefix in _POINTED.get(tool, ()):
        mark, x, y = (f"{prefix}{part}" in given for part in ("mark", "x", "y"))
        if (mark, x, y) not in ((True, False, False), (False, True, True)):
            raise WrongAction(f"{tool}: give either {prefix}mark, or both {prefix}x and {prefix}y.")
    return given


def allowed_address(url: str) -> str:
    """The address, if a model may name it at all; WrongAction otherwise. Whether it is on the site is not decided here."""
    text = url.strip()
    if text == "about:blank":
        return text
    if any(ord(c) < 33 or ord(c) == 127 for c in text):
        raise WrongAction("goto: an address has no spaces or control characters.")
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError as error:
        raise WrongAction(f"goto: that is no address ({error}).") from None
    if parts.scheme not in SCHEMES or not host:
        raise WrongAction(f"goto: an address must begin with http:// or https://, got {text[:80]!r}.")
    if parts.username is not None:
        raise WrongAction("goto: an address must not hold a user name.")
    return text


def _check(where: str, spec: Mapping[str, Any], value: Any) -> None:
    kind: str = spec["type"]
    wrong = not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")
    if wrong or value != value:
        raise WrongAction(f"{where} must be of type {kind}, got {value!r:.80}.")
    if "enum" in spec and value not in spec["enum"]:
        raise WrongAction(f"{where} must be one of {', '.join(spec['enum'])}, got {value!r:.80}.")
    if kind in ("integer", "number"):
        low, high = spec.get("minimum", value), spec.get("maximum", value)
        if not low <= value <= high:
            raise WrongAction(
                f"{where} must be at least {low}{f' and at most {high}' if 'maximum' in spec else ''}, got {value!r:.80}."
            )
    if isinstance(value, str | list):
        size, most = len(value), spec.get("maxLength", spec.get("maxItems"))
        if most is not None and size > most:
            raise WrongAction(f"{where} may have a length of {most}, got {size}.")
        if size < spec.get("minItems", 0):
            raise WrongAction(f"{where} must have a length of {spec['minItems']}, got {size}.")
    if isinstance(value, list):
        for item in value:
            _check(f"{where}, each item", spec["items"], item)
