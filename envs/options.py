"""What the constructor of every environment takes. A subclass names its own options and passes these on:

    def __init__(self, *, style: str = "plain", **options: Unpack[ToolOptions]) -> None:
        super().__init__(**options)

Defaults and checks stand in TurnEnv and ToolEnv alone; a type checker knows the keys, and an unknown one is a TypeError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from turnwise.envs.core import Split
from turnwise.envs.tools import Tool, ToolSet

__all__ = ["ToolOptions", "TurnOptions"]


class TurnOptions(TypedDict, total=False):
    """What every TurnEnv takes."""

    split: Split
    """Tasks to train on or to test on."""
    difficulty: int | None
    """None: the environment's default level."""
    max_turns: int | None
    """None: as the task says."""
    render_mode: str | None


class ToolOptions(TurnOptions, total=False):
    """What every ToolEnv takes."""

    action_format: str
    """How calls and answers are written (`turnwise.envs.actions.FORMATS`)."""
    instructions: bool
    """Whether the first observation explains tools and format."""
    toolset: Sequence[Tool | ToolSet | Callable[..., Any]]
    """Tools of this instance, after those of its class: tools, annotated functions, or sets such as an MCP server."""
