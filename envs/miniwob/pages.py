"""The pages of the `miniwob` package: where they are, what they are called, how long they give."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urljoin

from typing_extensions import override

from turnwise.envs.miniwob.page_script import PAGE_SCRIPT
from turnwise.errors import Unsupported
from turnwise.tool_servers.browser.bundle import Bundle, Resource

__all__ = ["address_of", "page_names", "site", "time_limit_ms"]

ORIGIN = "http://miniwob.test"
_USUAL_MS = 10_000
_LIMIT = re.compile(r"EPISODE_MAX_TIME *= *(\d+)")
_HEAD = re.compile(rb"<head[^>]*>|<html[^>]*>|<!doctype[^>]*>", re.IGNORECASE)
_LINKED = re.compile(
    rb"""<script src=["'](?P<script>[^"']+)["']></script>"""
    rb"""|<link rel=["']stylesheet["'][^>]*href=["'](?P<style>[^"']+)["'][^>]*>"""
)
_IMAGE = re.compile(rb"""(?P<before>url\(["']?|<img [^>]*src=["'])(?P<where>[^"'()<>\s]+)""")


@cache
def _root() -> Path:
    """The folder of the package's files. It is not imported: that would want Selenium."""
    with contextlib.suppress(PackageNotFoundError):
        root = Path(str(distribution("miniwob").locate_file("miniwob/html")))
        if (root / "core" / "core.js").is_file():
            return root
    raise Unsupported("MiniWoB: the pages of the package miniwob are not here; run `pip install 'turnwise[miniwob]'`.")


def _file_of(name: str) -> str:
    flight = name.startswith("flight.")
    return f"flight/{name.removeprefix('flight.')}/wrapper.html" if flight else f"miniwob/{name}.html"


@cache
def page_names() -> tuple[str, ...]:
    """All of them, sorted; those of the folder flight are called `flight.<name>`."""
    plain = [file.stem for file in (_root() / "miniwob").glob("*.html")]
    flights = [f"flight.{file.parent.name}" for file in (_root() / "flight").glob("*/wrapper.html")]
    return tuple(sorted([*plain, *flights]))


def address_of(name: str) -> str:
    return f"{ORIGIN}/{_file_of(name)}"


@cache
def time_limit_ms(name: str) -> int:
    """What the page gives for an episode."""
    found = _LIMIT.search((_root() / _file_of(name)).read_text(encoding="utf-8"))
    return int(found[1]) if found else _USUAL_MS


@cache
def site() -> Bundle:
    """All files as they are, but for the script that goes first on each page, and that what a page links stands in it."""
    return Bundle(_Pages(Bundle.folder(_root(), ORIGIN).resources))


class _Pages(Mapping[str, Resource]):
    """What a page links is put into it: a request for each costs more than all the rest of a reset, and an image that comes late
    moves what is clicked. The pages of flights stay as they are, for they link a hundred times as much as they show."""

    def __init__(self, files: Mapping[str, Resource]) -> None:
        self._files = files
        self._whole = lru_cache(64)(self._made)

    @override
    def __getitem__(self, url: str) -> Resource:
        return self._whole(url) if url.endswith(".html") else self._files[url]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    @override
    def __len__(self) -> int:
        return len(self._files)

    @override
    def __contains__(self, url: object) -> bool:
        return url in self._files

    def _made(self, url: str) -> Resource:
        page = self._files[url]
        body = page.body
        if "/flight/" not in url:
            body = self._with_images(url, _LINKED.sub(lambda link: self._inlined(url, link), body))
        head = _HEAD.search(body)
        at = head.end() if head else 0
        return Resource(body[:at] + PAGE_SCRIPT.encode() + body[at:], page.content_type)

    def _inlined(self, url: str, link: re.Match[bytes]) -> bytes:
        tag = b"script" if link["script"] else b"style"
        where = urljoin(url, link[tag.decode()].decode())
        found = self._files.get(where)
        if found is None or b"</" + tag in found.body:
            return link[0]
        body = found.body if link["script"] else self._with_images(where, found.body)
        return b"<%s>\n%s\n</%s>" % (tag, body, tag)

    def _with_images(self, url: str, body: bytes) -> bytes:
        """Images of style sheets and pages, as data."""

        def data(link: re.Match[bytes]) -> bytes:
            found = self._files.get(urljoin(url, link["where"].decode("latin-1")))
            if found is None or not found.content_type.startswith("image/"):
                return link[0]
            return b"%sdata:%s;base64,%s" % (link["before"], found.content_type.encode(), base64.b64encode(found.body))

        return _IMAGE.sub(data, body)
