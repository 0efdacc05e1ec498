"""turnwise/GuiLite-v0: everyday tasks in small web apps, as text and without a browser.

Eight apps: a calendar, a file manager, flights with a booking form of up to 100 elements, a help desk with tabs, a mail client,
settings with dialogs, a spreadsheet, a shop with a cart. One sees the goal and the screen as an accessibility tree in which what
can be used has a mark, and clicks, types, selects, scrolls, goes back. With the level grow the number of things to be done, the
lists (which are longer than the screen then), and what only looks like what is meant.

A task is judged by the app's data: solved when they are what the goal wants and nothing else was changed. What cannot be taken
back (an order, a booking) ends the episode either way. These are the state machines of Gui without its browser: the same tasks,
tools and texts, step by step. Train here, look there.

Most steps lay out a screen of some 2,500 characters anew: 20,000 (spreadsheet, calendar) to 40,000 (mail) steps a CPU second,
some thousand times as many as in the browser, but fewer than those of a game.
"""

from __future__ import annotations

from typing_extensions import override

from turnwise.envs.gui.gui_env import GuiEnv
from turnwise.envs.gui.surface import LiteSurface

__all__ = ["GuiLite"]


class GuiLite(GuiEnv):
    """Reward 1 when the app's data are as the task wants them, else 0.

    apps: which apps tasks are for (all by default).
    """

    @override
    def make_surface(self) -> LiteSurface:
        return LiteSurface()
