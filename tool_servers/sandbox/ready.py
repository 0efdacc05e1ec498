"""Sessions opened ahead: a fresh session is the last step of one that stands ready, not of one that has to be built.

A blank session has its walls and its limits, and a process that waits for seed, settings and files. Nothing of a task has ever
been in it, and it is handed out once. When a session is closed all of it ends but its supervisor, which never ran a line that is
not ours; that makes the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from typing import Any

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.sandbox.zygotes import Link, Zygote

__all__ = ["Ready"]

_START_S = 60.0
_KEPT_S = 60.0
"""So long after its last session a zygote still has blank ones."""


class Ready:
    """What one zygote has ready: as many blank sessions as were opened lately with the same bounds, at most `most` in all."""

    def __init__(self, zygote: Zygote, most: int, *, again: bool, spare: int = 0) -> None:
        """`again`: whether supervisors serve one session after another. Then one of them lives as long as the zygote, and `spare`
        more, or as many as there are blank sessions, wait for the next ones."""
        self.zygote, self._most, self._again, self._kept = zygote, most, again, max(most, spare)
        self._first: Link | None = None
        self._blanks: list[tuple[str, asyncio.Task[Link]]] = []
        """Oldest first; some are still being made."""
        self._spare: list[Link] = []
        """To supervisors without a session."""
        self._asked: Counter[str] = Counter()
        self._last: str | None = None
        self._rested = time.monotonic()
        """When the last session ended, or was not to be had."""
        self._opening = self._open = 0
        self._filling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises SandboxFailure."""
        if self._again:
            self._first = await self.zygote.connect()
            self._spare.append(self._first)
            await self._first.request("here", patience_s=_START_S)

    async def open(self, raw: bytes, fields: dict[str, Any]) -> tuple[Link, dict[str, Any]]:
        """A session from a blank one if there is one, and the supervisor's answer. Raises SandboxFailure."""
        self._opening += 1
        walls = _walls(fields["bounds"])
        self._asked[walls] += 1
        self._last = walls
        try:
            if (blank := await self._blank(walls)) is not None:
                with contextlib.suppress(SandboxFailure):  # it died while it waited: then a fresh one
                    return await _opened(blank, raw, fields)
            return await _opened(self._alive_spare() or await self.zygote.connect(), raw, fields)
        finally:
            self._opening -= 1
            self._rested = time.monotonic()
            self._fill_soon()

    def take_back(self, link: Link) -> None:
        """A link whose sessions are closed."""
        if self._first is not None and not self._first.alive:
            self._first = link
        if link.alive and (link is self._first or len(self._spare) < self._kept):
            self._spare.append(link)
            self._fill_soon()
        else:
            link.close()

    def joined(self) -> None:
        """One more session lives."""
        self._open += 1

    def left(self) -> None:
        """One less."""
        self._open -= 1
        self._rested = time.monotonic()

    def expire(self, now: float) -> None:
        """End what stands ready for nobody."""
        if not self._opening and not self._open and now > self._rested + _KEPT_S:
            kept = [link for link in self._spare if link is self._first]
            self._spare = [link for link in self._spare if link is not self._first]
            self.end()
            self._spare = kept

    def end(self) -> None:
        """All of it."""
        self._last = None
        self._asked.clear()
        for link in self._spare:
            link.close()
        for _, task in self._blanks:
            task.add_done_callback(_close)
        self._spare, self._blanks = [], []

    async def _blank(self, walls: str) -> Link | None:
        while found := next((each for each in self._blanks if each[0] == walls), None):
            self._blanks.remove(found)
            try:
                link = await asyncio.shield(found[1])
            except SandboxFailure:
                continue
            except asyncio.CancelledError:
                found[1].add_done_callback(_close)
                raise
            if link.alive:
                return link
        return None

    def _alive_spare(self) -> Link | None:
        while self._spare:
            if (link := self._spare.pop()).alive:
                return link
        return None

    def _fill_soon(self) -> None:
        if self._most and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        """One at a time, and only while nobody waits for a session."""
        while not self._opening and self.zygote.alive and (walls := self._lacking()) is not None:
            task = asyncio.create_task(self._make(walls))
            self._blanks.append((walls, task))
            await asyncio.wait([task])
            if task.exception():
                with contextlib.suppress(ValueError):
                    self._blanks.remove((walls, task))
                return

    def _lacking(self) -> str | None:
        """Walls that one more blank is wanted with; what has others makes room."""
        walls = self._last
        if walls is None or sum(each[0] == walls for each in self._blanks) >= min(self._most, self._asked[walls]):
            return None
        if len(self._blanks) >= self._most:
            other = next(each for each in self._blanks if each[0] != walls)
            self._blanks.remove(other)
            other[1].add_done_callback(_close)
        return walls

    async def _make(self, walls: str) -> Link:
        link = self._alive_spare() or await self.zygote.connect()
        try:
            await link.request("prepare", patience_s=_START_S, bounds=json.loads(walls))
        except BaseException:
            link.close()
            raise
        return link


async def _opened(link: Link, raw: bytes, fields: dict[str, Any]) -> tuple[Link, dict[str, Any]]:
    try:
        answer, _ = await link.request("open", raw, patience_s=_START_S, **fields)
    except BaseException:
        link.close()
        raise
    return link, answer


def _walls(bounds: dict[str, Any]) -> str:
    """All of a session's bounds that it is built with."""
    return json.dumps({name: value for name, value in bounds.items() if name not in ("seed", "settings")}, sort_keys=True)


def _close(made: asyncio.Task[Link]) -> None:
    if not made.cancelled() and not made.exception():
        made.result().close()
