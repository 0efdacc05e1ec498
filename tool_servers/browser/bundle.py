"""A site as a value: address -> content, named by its digest. Pages come from here and from nowhere else."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from turnwise.errors import ConfigError

__all__ = ["Bundle", "Resource"]

_TEXT = ("text/", "application/javascript", "application/json", "image/svg+xml")


@dataclass(frozen=True, slots=True)
class Resource:
    """What one address answers."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200


@dataclass(frozen=True)
class Bundle:
    """The pages of one site, or of several."""

    resources: Mapping[str, Resource]
    """Absolute http or https address, without fragment -> what it answers."""

    def __post_init__(self) -> None:
        for url in self.resources:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
                raise ConfigError(f"Bundle: an address must be http(s)://host/path without a fragment, got {url!r}.")

    @classmethod
    def folder(cls, path: str | Path, origin: str = "http://app.test") -> Bundle:
        """Every file below the folder, at the same path below the origin. `index.html` answers for its folder."""
        root = Path(path)
        if not root.is_dir():
            raise ConfigError(f"Bundle: {root} must be a folder with the site's files.")
        files = {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}
        return cls({f"{origin}/{name}": Resource(file.read_bytes(), _type_of(name)) for name, file in files.items()})

    @classmethod
    def of(cls, given: Bundle | str | Path | Mapping[str, str | bytes | Resource]) -> Bundle:
        """A bundle from a folder, or from address -> content; the content's type is told by the address's ending, else HTML."""
        if isinstance(given, Bundle):
            return given
        if isinstance(given, str | Path):
            return cls.folder(given)
        return cls({url: _resource(url, content) for url, content in given.items()})

    @cached_property
    def digest(self) -> str:
        """SHA-256 over addresses, types, statuses and contents: equal digests, equal sites."""
        whole = hashlib.sha256()
        for url in sorted(self.resources):
            resource = self.resources[url]
            content = hashlib.sha256(resource.body).hexdigest()
            whole.update(f"{url}\0{resource.content_type}\0{resource.status}\0{content}\n".encode())
        return whole.hexdigest()

    @cached_property
    def origins(self) -> frozenset[str]:
        return frozenset(origin_of(url) for url in self.resources)

    def find(self, url: str) -> Resource | None:
        """What the address answers: the very address, else without its query, else the folder's index.html. None: not in here."""
        scheme, host, path, query, _ = urlsplit(url)
        path = path or "/"
        for candidate in (
            urlunsplit((scheme, host, path, query, "")),
            urlunsplit((scheme, host, path, "", "")),
            urlunsplit((scheme, host, f"{path.rstrip('/')}/index.html", "", "")),
        ):
            if candidate in self.resources:
                return self.resources[candidate]
        return None


def origin_of(url: str) -> str:
    """scheme://host:port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _resource(url: str, content: str | bytes | Resource) -> Resource:
    if isinstance(content, Resource):
        return content
    return Resource(content.encode() if isinstance(content, str) else content, _type_of(urlsplit(url).path))


def _type_of(name: str) -> str:
    guess = mimetypes.guess_type(name)[0] or ("text/html" if "." not in name.rpartition("/")[2] else "application/octet-stream")
    return f"{guess}; charset=utf-8" if guess.startswith(_TEXT) else guess
