"""What a caller may choose for one browser session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from turnwise.errors import ConfigError, UnknownName

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`SessionSpec.settings` of a browser session."""

    bundle: str
    """Name of one of the sandbox's bundles."""
    start: str
    """Address the session begins with."""
    width: int = 1024
    height: int = 768
    locale: str = "en-US"
    timezone: str = "UTC"
    now_ms: int | None = 1_767_258_000_000
    """Where the pages' clock starts (2026-01-01 09:00 UTC), 1 ms more at each look; None: the real clock and random numbers."""
    restart: str = ""
    """Dotted name of the function by which a page starts a new episode in place; called with `restart`'s argument."""
    viewport_only: bool = False
    """Whether observations leave out what one would have to scroll to."""
    boxes: bool = False
    """Whether observations say where each mark is."""
    picture: str = ""
    """"png" or "jpeg": every observation brings a picture."""
    picture_marks: bool = False
    quality: int = 80
    """Of JPEG, 1 to 100."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """ConfigError for what is missing, unknown or of the wrong type."""
        known = {f.name for f in fields(cls)}
        for name in given:
            if name not in known:
                raise UnknownName("browser setting", name, known)
        for name in ("bundle", "start"):
            if not isinstance(given.get(name), str):
                raise ConfigError(f"browser settings: {name} must be a string, got {given.get(name)!r}.")
        made = cls(**given)
        for name in ("width", "height"):
            if not isinstance(given.get(name, 1), int) or not 50 <= getattr(made, name) <= 4096:
                raise ConfigError(f"browser settings: {name} must be 50 to 4096 pixels, got {getattr(made, name)!r}.")
        if made.picture not in ("", "png", "jpeg"):
            raise ConfigError(f"browser settings: picture must be png, jpeg or empty, got {made.picture!r}.")
        if made.restart and not all(part.isidentifier() for part in made.restart.split(".")):
            raise ConfigError(f"browser settings: restart must be a dotted name, got {made.restart!r}.")
        return made
