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

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.gui.browser_surface import HEIGHT, WIDTH, BrowserSurface
from turnwise.envs.gui.gui_env import GuiEnv, GuiOptions
from turnwise.envs.screen_env import PictureEnv, pixels
from turnwise.envs.tools import tool

__all__ = ["Gui"]


class Gui(PictureEnv, GuiEnv):
    """Reward 1 when the app's data are as the task wants them, else 0.

    apps: which apps tasks are for (all by default).
    image: whether observations are {"text": str, "image": uint8[800, 1280, 3]} with a picture of the page.
    """

    surface: BrowserSurface

    def __init__(self, *, image: bool = False, **options: Unpack[GuiOptions]) -> None:
        super().__init__(**options)
        if image:
            self.with_pictures(HEIGHT, WIDTH)

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
    def picture(self) -> NDArray[np.uint8]:
        return pixels(self.surface.picture())
