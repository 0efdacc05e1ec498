"""One isolated browser context: its tabs, its dialogs, its site, and what a person could do in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.browser.actions import WrongAction, allowed_address
from turnwise.tool_servers.browser.bundle import Bundle, origin_of
from turnwise.tool_servers.browser.driver import DriverError
from turnwise.tool_servers.browser.main_script import main_script
from turnwise.tool_servers.browser.settings import Settings
from turnwise.tool_servers.browser.tab import Point, Tab
from turnwise.tool_servers.browser.view import View, page_text

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Dialog, Download, FileChooser, Page, Route

    from turnwise.tool_servers.browser.chromium import Chromium

__all__ = ["Window"]

BLANK = "/.turnwise-blank"
"""An empty page at every origin of the site, where a reset looks whether anything was left behind."""
_OPEN_S = 3.0
"""For a new tab that a page said it opens."""
_MOST_TABS = 16
_MOST_NOTES = 20
_TOP = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


class Window:
    """Mutable; one per session and fresh context. Its methods raise WrongAction for what the model cannot do."""

    def __init__(self, chromium: Chromium, context: BrowserContext, bundle: Bundle, settings: Settings) -> None:
        self.chromium, self.bundle, self.settings = chromium, bundle, settings
        self.tabs: list[Tab] = []
        self.active = 0
        self.notes: list[str] = []
        self._context = context
        self._accept, self._answer = True, ""
        self._expected = 0
        """Tabs that pages said they open and that have not come yet."""
        self._changed = asyncio.Event()
        self._attaching: set[asyncio.Task[None]] = set()
        self._closed = False

    @classmethod
    async def open(cls, chromium: Chromium, bundle: Bundle, settings: Settings, seed: int) -> Window:
        """A fresh context with one tab at the start address."""
        context = await chromium.context(
            viewport={"width": settings.width, "height": settings.height},
            locale=settings.locale,
            timezone_id=settings.timezone,
            reduced_motion="reduce",
            service_workers="block",
            accept_downloads=False,
            offline=False,
        )
        window = cls(chromium, context, bundle, settings)
        try:
            await asyncio.gather(
                context.route("**/*", window._serve),
                context.add_init_script(main_script(seed=seed, now_ms=settings.now_ms)),
            )
            context.on("page", window._came)
            await window._blank_tab()
            await window.goto(settings.start)
            await window.tab.look(only=True, boxes=False)
        except BaseException:
            await window.close()
            raise
        return window

    @property
    def tab(self) -> Tab:
        return self.tabs[self.active]

    async def close(self) -> None:
        """Close the context; it may be gone already."""
        if self._closed:
            return
        self._closed = True
        self.chromium.living -= 1
        try:
            await self._context.close()
        except DriverError:
            return  # the browser is gone, and the context with it

    # What a person can do.

    async def goto(self, url: str) -> None:
        await self.tab.goto(self._reachable(url))

    async def click(self, target: int | tuple[float, float], button: str, count: int) -> None:
        x, y = await self._where(target)
        await self.tab.click(x, y, button=button, count=count)

    async def type(self, text: str, mark: int | None, *, append: bool, submit: bool) -> None:
        if mark is not None:
            await self._focus(mark, append=append)
            filled = await self.tab.ask(mark, "fill", {"mark": mark, "text": text})
            if filled:
                if filled["kept"] != text:
                    self.note(f"the field holds {filled['kept']!r} now: it takes values such as 2026-01-31, 09:30, 50 or #ff0000")
                text = ""
            elif not text and not append:
                await self.tab.page.keyboard.press("Delete")
        await self._write(text)
        if submit:
            await self.tab.page.keyboard.press("Enter")

    async def key(self, keys: str) -> None:
        try:
            await self.tab.page.keyboard.press(keys)
        except DriverError as error:
            if "Unknown key" not in error.message:
                raise
            raise WrongAction(f"There is no key {keys!r}; there are Enter, Escape, Tab, ArrowDown, a, Control+A, ...") from None

    async def hover(self, target: int | tuple[float, float]) -> None:
        await self.tab.page.mouse.move(*await self._where(target))

    async def drag(
        self, start: int | tuple[float, float], end: int | tuple[float, float], through: Sequence[tuple[float, float]] = ()
    ) -> None:
        mouse, passed = self.tab.page.mouse, [await self._where(point) for point in through]
        await mouse.move(*await self._where(start))
        await mouse.down()
        try:
            for x, y in passed:
                await mouse.move(x, y)
            await mouse.move(*await self._where(end), steps=1 if passed else 4)
        finally:
            await mouse.up()

    async def scroll(self, direction: str, pixels: float | None, mark: int | None) -> None:
        across, down = _TOP[direction]
        size = self.settings.width if across else self.settings.height
        far = pixels or round(size * 0.8)
        x, y = _xy(await self.tab.point(mark)) if mark is not None else (self.settings.width / 2, self.settings.height / 2)
        await self.tab.page.mouse.move(x, y)
        await self.tab.page.mouse.wheel(across * far, down * far)
        await self.tab.scrolled()

    async def select(self, mark: int, options: list[str]) -> None:
        await self.tab.ask(mark, "choose", {"mark": mark, "options": options})

    async def travel(self, by: int) -> None:
        if not await self.tab.travel(by):
            raise WrongAction("There is no page to go back to." if by < 0 else "There is no page to go forward to.")

    async def manage_tab(self, action: str, number: int | None, url: str | None) -> None:
        if action == "new":
            if len(self.tabs) >= _MOST_TABS:
                raise WrongAction(f"There are {_MOST_TABS} tabs already: close one.")
            if url is not None:
                self._reachable(url)
            await self._blank_tab()
            if url is not None:
                await self.goto(url)
            return
        index = self.active if number is None else number - 1
        if not 0 <= index < len(self.tabs):
            raise WrongAction(f"There is no tab {number}; there are 1 to {len(self.tabs)}.")
        if action == "switch":
            self.active = index
            await self.tab.page.bring_to_front()
        else:
            await self.tabs[index].page.close(run_before_unload=False)
            await self._until(lambda: not any(tab.page.is_closed() for tab in self.tabs))
            if not self.tabs:
                await self._blank_tab()

    def answer_dialogs(self, accept: bool, text: str) -> None:
        self._accept, self._answer = accept, text

    # What is seen.

    async def look(self) -> tuple[View, str]:
        """The active tab at rest, and its text. Notes are told once."""
        await self._until(lambda: not self._expected and not self._attaching)
        if not self.tabs:
            await self._blank_tab()
        view, rested = await self.tab.look(only=self.settings.viewport_only, boxes=self.settings.boxes)
        if self._expected or self._attaching:
            await self._until(lambda: not self._expected and not self._attaching)
            view, rested = await self.tab.look(only=self.settings.viewport_only, boxes=self.settings.boxes)
        if not rested:
            self.note("the page is still loading")
        titles = [f"{tab.view.title or '(no title)'} <{tab.page.url}>" if tab.view else f"<{tab.page.url}>" for tab in self.tabs]
        notes, self.notes = self.notes, []
        return view, page_text(view, tabs=titles, active=self.active + 1, notes=notes)

    async def picture(self, *, marks: bool) -> dict[str, str]:
        """{"type", "base64"} of the active tab's viewport."""
        kind = self.settings.picture or "png"
        if marks and self.tab.view:
            shown = [{"mark": m.mark, "x": m.x, "y": m.y, "w": m.w, "h": m.h} for m in self.tab.view.marks]
            await self.tab.call("draw", shown)
        await self.tab.call("finish")
        try:
            data = await self.tab.picture(kind, self.settings.quality)
        finally:
            if marks and self.tab.view:
                await self.tab.call("erase")
        return {"type": f"image/{kind}", "base64": data}

    def note(self, text: str) -> None:
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)

    # A new episode.

    async def restart_in_page(self, argument: Any) -> bool:
        """The page's own restart; False without one, or with something stored afterwards, or with more than one tab open."""
        if not self.settings.restart or len(self.tabs) != 1 or self.notes:
            return False
        self.answer_dialogs(True, "")
        if not await self.tab.restart(self.settings.restart, argument):
            return False
        return not await self.tab.call("stored")

    async def restart_at(self, start: str) -> bool:
        """One tab at the start, everything stored dropped; False if something stayed."""
        while len(self.tabs) > 1:
            await self.manage_tab("close", len(self.tabs), None)
        self.active = 0
        self.answer_dialogs(True, "")
        self.tab.leaving = True
        try:
            for origin in sorted(self.bundle.origins):
                await self.tab.goto(origin + BLANK)
                await self.tab.look(only=True, boxes=False)
                await self.tab.call("forget")
            await self.tab.forget(self.bundle.origins)
            await self._context.clear_cookies()
            for origin in sorted(self.bundle.origins):
                if len(self.bundle.origins) > 1:
                    await self.tab.goto(origin + BLANK)
                    await self.tab.look(only=True, boxes=False)
                if await self.tab.call("stored"):
                    return False
        finally:
            self.tab.leaving = False
        await self.goto(start)
        await self.tab.look(only=True, boxes=False)
        await self.tab.forget_history()
        self.notes.clear()
        return True

    # How it works.

    def _reachable(self, url: str) -> str:
        address = allowed_address(url)
        if address != "about:blank" and self.bundle.find(address) is None:
            raise WrongAction(f"{address} cannot be reached: there is no network, only {', '.join(sorted(self.bundle.origins))}.")
        return address

    async def _where(self, target: int | tuple[float, float]) -> tuple[float, float]:
        x, y = target if isinstance(target, tuple) else _xy(await self.tab.point(target))
        if not (0 <= x < self.settings.width and 0 <= y < self.settings.height):
            raise WrongAction(f"The point {x:g},{y:g} is outside the viewport of {self.settings.width}x{self.settings.height}.")
        return x, y

    async def _focus(self, mark: int, *, append: bool) -> None:
        point = await self.tab.point(mark)
        if point.disabled:
            raise WrongAction(f"Mark {mark} is disabled.")
        await self.tab.click(point.x, point.y)
        if append:
            await self.tab.page.keyboard.press("End")
        else:
            await self.tab.ask(mark, "select_all", mark)

    async def _write(self, text: str) -> None:
        if len(text) > 256:
            await self.tab.page.keyboard.insert_text(text)  # one event, where keys would take seconds
        elif text:
            await self.tab.page.keyboard.type(text)

    async def _blank_tab(self) -> None:
        before = len(self.tabs)
        await self._context.new_page()
        await self._until(lambda: len(self.tabs) > before)
        if len(self.tabs) == before:
            raise SandboxFailure("browser", "a new tab did not open")

    async def _until(self, done: Callable[[], bool]) -> None:
        end = asyncio.get_running_loop().time() + _OPEN_S
        while not done():
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                self._expected = 0
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    def _came(self, page: Page) -> None:
        crowded = len(self.tabs) + len(self._attaching) >= _MOST_TABS
        task = asyncio.ensure_future(self._refuse(page) if crowded else self._take(page))
        self._attaching.add(task)
        task.add_done_callback(self._taken)

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._attaching.discard(task)
        self._changed.set()
        if not task.cancelled():
            task.exception()  # a tab that closed while it was attached is no tab

    async def _refuse(self, page: Page) -> None:
        self.note(f"a tab was refused: there are {_MOST_TABS}")
        self._expected = max(0, self._expected - 1)
        await page.close()

    async def _take(self, page: Page) -> None:
        popup = self._expected > 0
        page.on("dialog", self._dialog)
        page.on("download", self._download)
        page.on("filechooser", self._chooser)
        page.on("close", self._left)
        self.tabs.append(await Tab.attach(page, self._opening))
        self.active = len(self.tabs) - 1
        if popup:
            self.note(f"a new tab opened ({len(self.tabs)}) and is shown")
        self._expected = max(0, self._expected - 1)
        self._changed.set()

    def _opening(self) -> None:
        self._expected += 1

    def _left(self, page: Page) -> None:
        shown = self.tabs[self.active] if self.tabs else None
        self.tabs = [tab for tab in self.tabs if tab.page is not page]
        self.active = self.tabs.index(shown) if shown in self.tabs else max(0, len(self.tabs) - 1)
        self._changed.set()

    async def _dialog(self, dialog: Dialog) -> None:
        accept = self._accept or dialog.type in ("alert", "beforeunload")
        text = self._answer or dialog.default_value
        answered = "" if dialog.type == "alert" else " It was accepted" if accept else " It was cancelled"
        if dialog.type == "prompt" and accept:
            answered += f" with {text!r}"
        if not (dialog.type == "beforeunload" and any(tab.leaving for tab in self.tabs)):
            self.note(f"dialog {dialog.type}: {dialog.message[:500]!r}.{answered + '.' if answered else ''}")
        try:
            await (dialog.accept(text) if accept and dialog.type == "prompt" else dialog.accept() if accept else dialog.dismiss())
        except DriverError:
            return  # the page went away meanwhile

    def _download(self, download: Download) -> None:
        self.note(f"the download of {download.suggested_filename!r} was refused")

    def _chooser(self, _: FileChooser) -> None:
        self.note("files cannot be uploaded here")

    async def _serve(self, route: Route) -> None:
        url = route.request.url
        parts = urlsplit(url)
        try:
            if parts.path == BLANK and origin_of(url) in self.bundle.origins:
                await route.fulfill(status=200, content_type="text/html", body="")
            elif (found := self.bundle.find(url)) is not None:
                headers = {"content-type": found.content_type, "cache-control": "no-store"}
                await route.fulfill(status=found.status, headers=headers, body=found.body)
            elif origin_of(url) in self.bundle.origins:
                await route.fulfill(status=404, content_type="text/html", body="<title>Not found</title><h1>Not found</h1>")
            else:
                if route.request.is_navigation_request():
                    self.note(f"refused: {urlunsplit(parts)[:200]} cannot be reached, there is no network")
                await route.abort("aborted")
        except DriverError:
            return  # the page went away meanwhile


def _xy(point: Point) -> tuple[float, float]:
    return point.x, point.y
