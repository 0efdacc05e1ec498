"""ScreenEnv: tool environments in which one acts on a screen and looks at it again. Nothing is answered in the end."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any, ClassVar, cast

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.actions import Parsed
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.text_space import TextSpace
from turnwise.envs.tool_env import ToolEnv
from turnwise.types import Task

__all__ = ["PictureEnv", "ScreenEnv", "pixels"]

EXAMPLE = 30
"""The mark of the example in the rules. Few screens have as many: who only repeats the rules clicks nothing."""


class ScreenEnv(ToolEnv):
    """The answer to a reply is what went wrong with its calls and the screen after the last of them.

    An author gives `toolset` (one of the tools is `click`, with a `mark`), `open`, `look` and `end`, and what every ToolEnv needs
    but `grade`. A tool returns "" when it did what was asked, else what is wrong.
    """

    takes_answer = False
    shown: ClassVar[str]
    """What the answer to a reply is, as the rules say it."""
    ending: ClassVar[str]
    """What ends the episode, as the rules say it."""

    @abstractmethod
    def open(self, task: Task) -> None:
        """Put the screen at the start of the task."""

    @abstractmethod
    def look(self) -> str:
        """The screen as it stands now."""

    @abstractmethod
    def end(self) -> Transition | None:
        """What the episode came to, without a text; None while it goes on."""

    @override
    def rules(self) -> str:
        specs = self.format.describe(self.tools).partition("\nCall one")[0]
        example = self.format.call("click", {"mark": EXAMPLE})
        return (
            f"{specs}\nFor example {example}. Each reply calls one or several of the tools; the answer is {self.shown}. "
            f"There is nothing to say at the end: {self.ending}."
        )

    @override
    def begin(self, task: Task) -> str:
        self.open(task)
        head, screen = super().begin(task), self.look()
        self._transcript.append(screen)
        return f"{head}\n\n{screen}"

    @override
    def grade(self, answer: str) -> float:
        return 0.0

    @override
    def _answer(self, answer: str) -> Transition:
        return self.refuse(f"There is nothing to answer; {self.ending}.")

    @override
    def _use_tools(self, parsed: Parsed) -> Transition:
        if parsed.error:
            return self.refuse(parsed.error)
        said, valid = list[str](), True
        for i, call in enumerate(parsed.calls):
            if i and self.end():  # by the call before this one
                break
            problem, right = self._use(call)
            valid = valid and right
            if problem:
                said.append(problem)
        text = "\n".join((*said, self.look())) if said else self.look()
        end = self.end()
        if end is None:
            return Transition(text, role="tool", valid=valid)
        return end._replace(observation=text, role="tool", valid=valid)


class PictureEnv(ScreenEnv):
    """A screen in a browser, which can be seen as a picture: rendered, and with `image` as a part of each observation."""

    metadata: dict[str, Any] = {**TurnEnv.metadata, "render_modes": ["ansi", "rgb_array"], "inline": False}  # noqa: RUF012
    image = False
    """Whether observations are {"text": str, "image": uint8[H, W, 3]}."""

    @abstractmethod
    def picture(self) -> NDArray[np.uint8]:
        """The screen as uint8 [H, W, 3]."""

    def with_pictures(self, height: int, width: int) -> None:
        """From now on observations hold a picture of that size."""
        picture = spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.image, self.observation_space = True, cast(Space[str], spaces.Dict({"text": TextSpace(), "image": picture}))

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return self._seen(observation), info

    @override
    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: str) -> Any:
        return {"text": observation, "image": self.picture()} if self.image else observation

    @override
    def render(self) -> Any:
        """The conversation so far, or a picture of the page as uint8 [H, W, 3]."""
        return self.picture() if self.render_mode == "rgb_array" else super().render()


def pixels(png: bytes) -> NDArray[np.uint8]:
    """A picture file as uint8 [H, W, 3]."""
    from PIL import Image  # noqa: PLC0415  (an extra)

    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))
