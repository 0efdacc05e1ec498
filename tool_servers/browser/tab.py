"""One tab: reads it, points into it, and knows when it has come to rest. Frames of other origins included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.browser.actions import WrongAction
from turnwise.tool_servers.browser.driver import DriverError
from turnwise.tool_servers.browser.observer_script import OBSERVER
from turnwise.tool_servers.browser.view import Mark, View

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

__all__ = ["Point", "Tab"]

_WORLD = "turnwise"
_SETTLE_MS = 250
"""For what an action began inside a page: frames, timers up to 50 ms, requests."""
_LOAD_S = 5.0
"""For navigations; then the page is shown as it is."""
_ASKED_S = 1.0
"""Until a navigation that was asked for and never began is forgotten."""
_BUTTONS = {"left": 1, "right": 2, "middle": 4}
_NO_VALUE = ("reference chain is too long", "couldn't be returned by value")
_GONE = ("Cannot find context", "context was destroyed", "navigated or closed", "Cannot find default", "Promise was collected")


class _Gone(Exception):
    """The document that was asked is no longer there."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a mark can be clicked, in pixels of the viewport."""

    x: float
    y: float
    disabled: bool


class Tab:
    """A page and our own line to it (CDP). Its script lives in a world apart, one per document."""

    def __init__(self, page: Page, line: CDPSession, opening: Callable[[], None]) -> None:
        self.page, self._line = page, line
        self.view: View | None = None
        self.leaving = False
        """Whether the house itself takes it elsewhere, so that nobody needs to hear of it."""
        self._main = ""
        self._worlds: dict[str, int] = {}
        self._loading: dict[str, float | None] = {}
        """Frame -> when its navigation was asked for, None once it has begun."""
        self._epoch = 0
        self._changed = asyncio.Event()
        self._homes: dict[int, tuple[str, int]] = {}
        """Mark in a frame of another origin -> (frame, the frame's index in the main document)."""
        self._listen(opening)

    @classmethod
    async def attach(cls, page: Page, opening: Callable[[], None]) -> Tab:
        """`opening` is called when this tab is about to open another."""
        line = await page.context.new_cdp_session(page)
        tab = cls(page, line, opening)
        script = {"source": OBSERVER, "worldName": _WORLD, "runImmediately": True}
        _, _, _, frames = await asyncio.gather(
            line.send("Page.enable"),
            line.send("Runtime.enable"),
            line.send("Page.addScriptToEvaluateOnNewDocument", script),
            line.send("Page.getFrameTree"),
        )
        tab._main = frames["frameTree"]["frame"]["id"]
        return tab

    @property
    def marks(self) -> dict[int, Mark]:
        return {mark.mark: mark for mark in self.view.marks} if self.view else {}

    async def look(self, *, only: bool, boxes: bool) -> tuple[View, bool]:
        """The page once it rests, and whether it did. `only`: what the viewport shows; `boxes`: with positions in the text."""
        end = _now() + _LOAD_S
        while True:
            rested = await self._quiet(end)
            epoch = self._epoch
            try:
                view = await self._read(only=only, boxes=boxes)
            except _Gone:
                if _now() > end + _LOAD_S:
                    raise SandboxFailure("browser", "the page could not be read: it keeps being replaced") from None
                await asyncio.sleep(0)
                continue
            if not rested or (not self._loading and epoch == self._epoch) or _now() > end:
                self.view = view
                return view, rested and not self._loading

    async def point(self, mark: int) -> Point:
        """Scroll the element into view and say where it can be clicked; WrongAction if it cannot."""
        self._known(mark)
        frame, origin = await self._home(mark)
        try:
            found = await self._ask(frame, "locate", mark)
        except _Gone:
            found = {"problem": "is no longer on the page"}
        _raise_problem(mark, found)
        return Point(float(found["x"]) + origin[0], float(found["y"]) + origin[1], bool(found["disabled"]))

    async def ask(self, mark: int, function: str, argument: Any) -> Any:
        """Call one of the observer's functions about a mark where that mark lives."""
        self._known(mark)
        frame, _ = await self._home(mark)
        try:
            answer = await self._ask(frame, function, argument)
        except _Gone:
            raise WrongAction(f"Mark {mark} is no longer on the page: look again.") from None
        if isinstance(answer, dict):
            _raise_problem(mark, answer)
        return answer

    async def call(self, function: str, argument: Any = None) -> Any:
        """Call one of the observer's functions in the main document."""
        try:
            return await self._ask(self._main, function, argument)
        except _Gone as error:
            raise SandboxFailure("browser", f"the page went away: {error}") from error

    async def click(self, x: float, y: float, *, button: str = "left", count: int = 1) -> None:
        """Press and release there. No move before it, which would wait for a frame; the page sees the pointer come."""
        for number in range(1, count + 1):
            common = {"x": x, "y": y, "button": button, "clickCount": number}
            await asyncio.gather(
                self._send("Input.dispatchMouseEvent", type="mousePressed", buttons=_BUTTONS[button], **common),
                self._send("Input.dispatchMouseEvent", type="mouseReleased", **common),
            )

    async def evaluate(self, expression: str) -> Any:
        """In the page's own world; a page's exception is a WrongAction."""
        answer = await self._send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise WrongAction(_exception(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def goto(self, url: str) -> None:
        """Begin to open an address; `look` waits for it."""
        self._begin(self._main)
        answer = await self._send("Page.navigate", url=url)
        if answer.get("errorText") or "loaderId" not in answer:  # refused, or only the fragment changed
            self._end(self._main)

    async def travel(self, by: int) -> bool:
        """Back or forward in history; False where it ends. What a session begins with is no page to go back to."""
        history = await self._send("Page.getNavigationHistory")
        index = history["currentIndex"] + by
        entries = history["entries"]
        if not 0 <= index < len(entries) or (index == 0 and entries[0]["url"] == "about:blank"):
            return False
        self._loading[self._main] = _now()
        self._epoch += 1
        await self._send("Page.navigateToHistoryEntry", entryId=entries[index]["id"])
        return True

    async def restart(self, function: str, argument: Any) -> bool:
        """Call the page's function by which it begins a new episode; False if it has none, or it threw or said false."""
        call = f"typeof {function} === 'function' ? {function}({json.dumps(argument)}) : false"
        guarded = f"(async () => {{ try {{ return await ({call}) !== false; }} catch {{ return false; }} }})()"
        return bool(await self.evaluate(guarded))

    async def scrolled(self) -> None:
        """Wait until a turn of the wheel has moved the page."""
        await self.call("scrolled")

    async def forget_history(self) -> None:
        """The address shown is the first there is."""
        await self._send("Page.resetNavigationHistory")

    async def picture(self, kind: str, quality: int) -> str:
        """Base64 of the viewport."""
        options: dict[str, Any] = {"format": kind, "optimizeForSpeed": True}
        if kind == "jpeg":
            options["quality"] = quality
        return (await self._send("Page.captureScreenshot", **options))["data"]

    async def forget(self, origins: frozenset[str]) -> None:
        """Drop everything that these origins keep."""
        await asyncio.gather(
            *(self._send("Storage.clearDataForOrigin", origin=origin, storageTypes="all") for origin in sorted(origins))
        )

    async def interrupt(self) -> None:
        """Stop the script that runs, however long it would."""
        await self._send("Runtime.terminateExecution")

    async def _read(self, *, only: bool, boxes: bool) -> View:
        size = self.page.viewport_size or {"width": 1280, "height": 720}
        viewport = {"w": size["width"], "h": size["height"]}
        common = {"only": only, "boxes": boxes, "viewport": viewport}
        self._homes = {}
        view = View.of(await self._ask(self._main, "observe", {"first": 1, "x": 0, "y": 0, "settle": _SETTLE_MS, **common}))
        if not view.gaps:
            return view
        first, contents = len(view.marks) + 1, list[View | None]()
        for gap in view.gaps:
            frame = await self._frame_of(gap.index)
            content = None
            if frame in self._worlds:
                where = {"first": first, "x": gap.x, "y": gap.y, "settle": _SETTLE_MS, **common}
                content = View.of(await self._ask(frame, "observe", where))
                self._homes |= {mark.mark: (frame, gap.index) for mark in content.marks}
                first += len(content.marks)
            contents.append(content)
        return view.filled(contents)

    async def _frame_of(self, index: int) -> str:
        """The id of the frame in the main document's list of frames that it cannot read."""
        answer = await self._send("Runtime.evaluate", expression=f"turnwise.foreign({index})", contextId=self._world(self._main))
        node = await self._send("DOM.describeNode", objectId=answer["result"]["objectId"])
        return str(node["node"].get("frameId", ""))

    async def _home(self, mark: int) -> tuple[str, tuple[float, float]]:
        """The frame whose script knows the mark, and where that frame's content begins."""
        if mark not in self._homes:
            return self._main, (0.0, 0.0)
        frame, index = self._homes[mark]
        offset = await self.call("offset", index)
        return frame, (offset["x"], offset["y"])

    async def _ask(self, frame: str, function: str, argument: Any) -> Any:
        expression = f"turnwise.{function}({json.dumps(argument)})"
        answer = await self._send(
            "Runtime.evaluate", expression=expression, contextId=self._world(frame), awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise SandboxFailure("observer", _exception(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def _world(self, frame: str) -> int:
        if frame not in self._worlds:
            raise _Gone(frame)
        return self._worlds[frame]

    async def _send(self, method: str, **arguments: Any) -> Any:
        try:
            return await self._line.send(method, arguments)
        except DriverError as error:
            if any(text in error.message for text in _GONE):
                raise _Gone(error.message) from error
            if any(text in error.message for text in _NO_VALUE):
                raise WrongAction("The value cannot be told as JSON.") from error
            raise SandboxFailure("browser", f"{method}: {error.message}") from error

    async def _quiet(self, end: float) -> bool:
        """Wait until nothing loads and the document has its script; False if that did not come in time."""
        while True:
            now = _now()
            for frame, asked in list(self._loading.items()):
                if asked is not None and now - asked > _ASKED_S:
                    del self._loading[frame]
            if not self._loading and self._main in self._worlds:
                return True
            if now > end:
                return False
            self._changed.clear()
            waiting = [asked + _ASKED_S + 0.01 for asked in self._loading.values() if asked is not None]
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, min([end + 0.01, *waiting]) - now))
            except TimeoutError:
                continue

    def _known(self, mark: int) -> None:
        if mark not in self.marks:
            count = len(self.marks)
            raise WrongAction(f"There is no mark {mark}; the last observation has {f'1 to {count}' if count else 'none'}.")

    def _begin(self, frame: str, asked: float | None = None) -> None:
        self._loading[frame] = asked
        self._epoch += 1
        self._changed.set()

    def _end(self, frame: str) -> None:
        self._loading.pop(frame, None)
        self._changed.set()

    def _listen(self, opening: Callable[[], None]) -> None:
        def ended(event: dict[str, Any]) -> None:
            self._end(event["frameId"])

        def began(event: dict[str, Any]) -> None:
            self._begin(event["frameId"])

        def cleared(_: object) -> None:
            self._worlds.clear()

        def opens(_: object) -> None:
            opening()

        def asked(event: dict[str, Any]) -> None:
            if event.get("disposition", "currentTab") == "currentTab" and event.get("delay", 0) <= 1:
                self._loading.setdefault(event["frameId"], _now())
                self._epoch += 1

        def made(event: dict[str, Any]) -> None:
            context = event["context"]
            if context["name"] == _WORLD:
                self._worlds[context["auxData"]["frameId"]] = context["id"]
                self._changed.set()

        def lost(event: dict[str, Any]) -> None:
            self._worlds = {frame: world for frame, world in self._worlds.items() if world != event["executionContextId"]}

        on = self._line.on
        on("Runtime.executionContextCreated", made)
        on("Runtime.executionContextDestroyed", lost)
        on("Runtime.executionContextsCleared", cleared)
        on("Page.frameRequestedNavigation", asked)
        on("Page.frameScheduledNavigation", asked)
        on("Page.frameClearedScheduledNavigation", ended)
        on("Page.frameStartedLoading", began)
        on("Page.frameStoppedLoading", ended)
        on("Page.frameDetached", ended)
        on("Page.windowOpen", opens)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _raise_problem(mark: int, answer: dict[str, Any]) -> None:
    if "problem" in answer:
        raise WrongAction(f"Mark {mark} {answer['problem']}.")


def _exception(details: dict[str, Any]) -> str:
    thrown = details.get("exception", {})
    return str(thrown.get("description") or thrown.get("value") or details.get("text", "exception"))[:2000]
