"""turnwise/Gui-v0: everyday tasks in small web apps, in a real browser.

The apps, tasks, tools and observations are those of GuiLite, step by step the same; a test holds it. Here they are web pages in
Chromium, and every action is the browser's own input: a click is a press of the pointer at a pixel, a text is typed key by key.
What the pages report drives the same state machine, and what it shows is read off the page again.

The eight apps: a calendar, a file manager, flights with a booking form of up to 100 elements, a help desk with tabs, a mail
client, settings with dialogs, a spreadsheet, a shop with a cart. A task is judged by the app's data, never by what a page says.

One browser serves all environments of a process; each has an isolated context without any network. It needs
`pip install 'turnwise[browser]'` and a Chromium (`playwright install chromium`, or Debian's `chromium-headless-shell`).
"""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.core import TurnEnv
from turnwise.envs.gui.browser_surface import HEIGHT, WIDTH, BrowserSurface
from turnwise.envs.gui.gui_env import GuiEnv, GuiOptions
from turnwise.envs.text_space import TextSpace
from turnwise.envs.tools import tool

__all__ = ["Gui"]


class Gui(GuiEnv):
    """Reward 1 when the app's data are as the task wants them, else 0.

    apps: which apps tasks are for (all by default).
    image: whether observations are {"text": str, "image": uint8[800, 1280, 3]} with a picture of the page.
    """

    metadata: dict[str, Any] = {**TurnEnv.metadata, "render_modes": ["ansi", "rgb_array"], "inline": False}  # noqa: RUF012
    surface: BrowserSurface

    def __init__(self, *, image: bool = False, **options: Unpack[GuiOptions]) -> None:
        super().__init__(**options)
        self.image = image
        if image:
            picture = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            both = spaces.Dict({"text": TextSpace(), "image": picture})
            self.observation_space = cast(Space[str], both)

    @tool
    def click_at(self, x: int, y: int) -> str:
        """Click a point of the page, in pixels from the left and from the top."""
        if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
            return f"Error: click_at: x must be 0 to {WIDTH - 1} and y 0 to {HEIGHT - 1}."
        self.surface.click_at(x, y)
        return ""

    toolset = (*GuiEnv.toolset, click_at)

    @override
    def make_surface(self) -> BrowserSurface:
        return BrowserSurface()

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return self._seen(observation), info

    @override
    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: str) -> Any:
        return {"text": observation, "image": self._picture()} if self.image else observation

    def _picture(self) -> NDArray[np.uint8]:
        from PIL import Image  # noqa: PLC0415  (an extra)

        return np.array(Image.open(io.BytesIO(self.surface.picture())).convert("RGB"))

    @override
    def render(self) -> Any:
        """The conversation so far, or a picture of the page as uint8 [H, W, 3]."""
        return self._picture() if self.render_mode == "rgb_array" else super().render()
