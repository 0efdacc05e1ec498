"""Gymnasium environments: text in, text out. Knows no token, model or gradient."""

if not __name__.startswith("turnwise."):
    raise ImportError("import turnwise.envs, not envs")

from turnwise.envs.core import Transition, TurnEnv, split_of
from turnwise.envs.fork import fork
from turnwise.envs.text_space import TextSpace
from turnwise.types import Task

__all__ = ["Task", "TextSpace", "Transition", "TurnEnv", "fork", "split_of"]
