"""One page of MiniWoB in the browser: started from a seed, acted upon by real input, read as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from typing_extensions import override

from turnwise.envs.browser_session import BrowserPage
from turnwise.envs.miniwob.pages import address_of, site
from turnwise.tool_servers.browser.bundle import Bundle
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["MiniWoBPage", "Point", "Start", "Verdict"]

Point = tuple[float, float]
"""x and y in pixels of the window."""
_WINDOW, _FLIGHT_WINDOW = (500, 320), (600, 800)
"""As the package's own environments have them."""
_LOADING_MS = 100
"""Of the page's clock, before the episode begins: for what waits for the document."""
_READY_TRIES = 40


@dataclass(frozen=True, slots=True)
class Start:
    """All that an episode depends on, but for what is done in it."""

    name: str
    seed: int
    mode: str
    """Which of the page's own distributions: "train" or "test". Most pages have one for both."""
    step_ms: int
    """How far an action moves the page's clock."""
    boxes: bool
    """Whether it is said where each mark is."""

    @property
    def first_mark(self) -> int:
        """Another for each task, so that marks that were right elsewhere are none here."""
        return 100 + self.seed % 900

    @property
    def window(self) -> tuple[int, int]:
        return _FLIGHT_WINDOW if self.name.startswith("flight.") else _WINDOW


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the page's script says."""

    done: bool = False
    reward: float = 0.0
    """WOB_REWARD_GLOBAL: on most pages the less the later it comes."""
    raw: float = 0.0
    """WOB_RAW_REWARD_GLOBAL."""
    reason: str = ""
    errors: tuple[str, ...] = ()
    """Exceptions that the page's scripts did not catch."""


_LEFT = Verdict(True, -1.0, -1.0, "the page was left")


class MiniWoBPage(BrowserPage):
    """Marks are those of the last `read`."""

    bundle = "miniwob"

    def __init__(self) -> None:
        self.text, self.utterance, self.verdict = "", "", Verdict()
        self._given: Start | None = None
        self._pointer: Point | None = None
        self._untouched = False
        self._log: list[tuple[str, tuple[Any, ...]]] = []

    @override
    def site(self) -> Bundle:
        return site()

    def start(self, given: Start) -> None:
        """A new episode, on a page on which nothing was done: loaded anew, but where nobody touched the one that is there."""
        if self._untouched and self._session is not None and given == self._given:
            self._log = []
            return
        self.renew()
        address = address_of(given.name)
        if self._given is None or self._given.window != given.window:
            self.close()
        if self._session is None:
            width, height = given.window
            self.settings = {"start": address, "width": width, "height": height}
        else:
            if self._pointer:  # away from where something may come to lie under it
                self.call("hover", {"x": given.window[0] - 1, "y": given.window[1] - 1})
            self.call("goto", {"url": address})
        self._given, self._pointer, self._log, self.verdict, self._untouched = given, None, [], Verdict(), False
        begin = f"turnwise.start({given.seed}, {json.dumps(given.mode)}, {given.first_mark})"
        self.evaluate(f"turnwise.pass({_LOADING_MS}).then(() => {begin})")
        for _ in range(_READY_TRIES):
            if self.evaluate("turnwise.verdict().ready"):
                break
            self.call("observe", {})  # waits for what loads
        else:
            self.broken(f"{given.name} did not become ready")
        self.utterance, self._untouched = str(self.evaluate("turnwise.task()")), True

    def ask(self, script: str) -> Any:
        """The value of a script that may leave something behind on the page."""
        self._untouched = False
        return self.evaluate(script)

    def read(self) -> None:
        """Look at the page as it stands."""
        assert self._given is not None
        self._log.append(("read", ()))
        found = self._judged(f"turnwise.read({json.dumps(self._given.boxes)})")
        self.text = (found["text"] or "(nothing)") if found else ""

    def act(self, name: str, *arguments: Any) -> str:
        """`_<name>` below, and the page's clock moves on. What is wrong with it, "" if it was done."""
        assert self._given is not None
        self._untouched = False
        self._log.append((name, arguments))
        problem: str = getattr(self, f"_{name}")(*arguments)
        if not problem:
            ms = arguments[0] if name == "wait" else self._given.step_ms
            found = self._judged(f"turnwise.pass({ms}, {json.dumps(self._pointer)})")
            if self._pointer and found and found["moved"] and not self.verdict.done:
                self.call("hover", {"x": self._pointer[0], "y": self._pointer[1]})
        return problem

    @override
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A context of its own in which everything was done once more. EnvFailure if that gave something else."""
        twin = type(self)()
        if self._session is not None and self._given is not None:
            twin.start(self._given)
            for name, arguments in self._log:
                if name == "read":
                    twin.read()
                else:
                    twin.act(name, *arguments)
            if (twin.text, twin.verdict) != (self.text, self.verdict):
                self.broken(f"{self._given.name} did not give the same when it was played again")
        return twin

    # --- what can be done: a place is a mark or a point ----------------------------------------------------------

    def _click(self, place: int | Point, count: int) -> str:
        return self._pointed("click", {"": place}, count=count)

    def _hover(self, place: int | Point) -> str:
        return self._pointed("hover", {"": place})

    def _drag(self, place: int | Point, to: int | Point, through: Sequence[Point] = ()) -> str:
        more = {"through": [list(point) for point in through]} if through else {}
        return self._pointed("drag", {"": place, "to_": to}, **more)

    def _type(self, text: str, mark: int | None) -> str:
        if mark is not None:
            answer = self.evaluate(f"turnwise.field({mark}, {json.dumps(text)})")
            if "problem" in answer:
                return f"mark {mark} {answer['problem']}"
            if answer["filled"]:
                return ""
        return self._tried("type", text=text) if text else self._tried("key", keys="Delete")

    def _press(self, keys: str) -> str:
        return self._tried("key", keys=keys)

    def _select(self, mark: int, option: str) -> str:
        return self._problem(mark, self.evaluate(f"turnwise.choose({mark}, {json.dumps(option)})"))

    def _scroll(self, pixels: int, mark: int | None) -> str:
        return self._problem(mark, self.evaluate(f"turnwise.scroll({json.dumps(mark)}, {pixels})"))

    def _wait(self, ms: int) -> str:
        return ""

    # --- how it is done ------------------------------------------------------------------------------------------

    def _pointed(self, tool: str, places: Mapping[str, int | Point], **more: Any) -> str:
        """Use the pointer at these places, by the prefix of the argument."""
        marks = {prefix: place for prefix, place in places.items() if isinstance(place, int)}
        found = self.evaluate(f"turnwise.points({json.dumps(marks)})") if marks else {}
        if "problem" in found:
            return found["problem"]
        given, x, y = dict(more), 0.0, 0.0
        for prefix, place in places.items():
            x, y = (found[prefix]["x"], found[prefix]["y"]) if isinstance(place, int) else place
            given |= {f"{prefix}x": x, f"{prefix}y": y}
        problem = self._tried(tool, **given)
        if not problem:
            self._pointer = (x, y)
        return problem

    def _tried(self, tool: str, **arguments: Any) -> str:
        result = self.tried(tool, arguments)
        return "" if result.status is Status.OK else result.err

    def _problem(self, mark: int | None, answer: Mapping[str, Any]) -> str:
        return f"mark {mark} {answer['problem']}" if "problem" in answer else ""

    def _judged(self, expression: str) -> Any:
        """The value, which holds the verdict as well; None if the page is not the one that was started."""
        found = self.evaluate(f"window.turnwise && core.ept0 !== null ? {expression} : null")
        self.verdict = _LEFT
        if found:
            judged = {name: found[name] for name in ("done", "reward", "raw", "reason")}
            self.verdict = Verdict(**judged, errors=tuple(found["errors"]))
        return found
