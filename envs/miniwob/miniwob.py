"""turnwise/MiniWoB-v0: the pages of MiniWoB++ in a real browser, with their own rewards.

All pages of the package `miniwob` (1.1.0: 130 small tasks, and four flight bookings on pages of airlines) in Chromium through the
browser of this process, without Selenium and without any network. Every action is the browser's own input.

One sees what is asked for and the page as a tree of what can be seen: each element with a mark, its text or what is in it, for
drawings kind, colours and place. One clicks, types, presses keys, selects, drags, hovers, scrolls and waits, on marks or points.
What a page paints on a canvas or as an image is in no text; `image=True` shows it. The marks of a task count from a number of its
own, so that what was clicked in another task is not there. A mark is clicked where it shows; one that is wholly covered is not
clicked, and what lies over it is named.

Time: the page's clock stands still while one thinks. An action moves it by `step_ms`, `wait` by what it is told; what could not
be done takes no time, and while a button is held down each move of the pointer takes 16 ms. So the time limits of the pages (7 to
60 s) are limits of the number of actions, a reward that decays in time decays with each action, and the same seed and actions
give the same bytes. Timers, animations and dates run on that clock.

Rewards are what the page's script says, from -1 to 1 and only at the end: the raw one (WOB_RAW_REWARD_GLOBAL) or, with
`decay=True`, the one that falls with time (WOB_REWARD_GLOBAL). A page whose time is over says -1; a page that was left is -1
as well. The outcome is the raw reward, and 0 where that is below.

A seed goes into the page's own Math.seedrandom. Pages that know a train and a test distribution are told the split. A fork plays
the episode's actions once more in a context of its own, and fails if that gives anything else.

A task is a page and a seed. Pages of few variants look the same under many seeds and in both splits: `grid-coordinate` has 25.

It needs `pip install 'turnwise[miniwob]'` and a Chromium (`playwright install --with-deps chromium`, or Debian's
`chromium-headless-shell`), and Arial or `fonts-liberation`, whose letters are as wide: in others, parts of pages lie elsewhere.
The pages are under the MIT licence: OpenAI 2016, Stanford 2018, Farama Foundation 2022.

The level is how long the expert's way is. Without `tasks`, episodes are of these pages, on which the expert always earns 1:

    level 1
    buy-ticket click-button click-color click-dialog-2 click-link click-shape click-tab click-tab-2-easy
    click-tab-2-medium click-widget count-shape count-sides drag-items drag-items-grid email-inbox-delete
    email-inbox-important focus-text-2 grid-coordinate identify-shape unicode-test

    level 2
    choose-list click-collapsible-2 click-collapsible-2-nodelay click-menu click-option click-pie click-tab-2
    click-tab-2-hard copy-paste copy-paste-2 drag-box drag-circle drag-single-shape draw-circle draw-line enter-date
    enter-text enter-text-2 enter-text-dynamic enter-time find-greatest find-word highlight-text highlight-text-2
    navigate-tree read-table resize-textarea scroll-text scroll-text-2 simple-algebra simple-arithmetic text-transform
    use-colorwheel use-colorwheel-2 visual-addition

    level 3
    button-delay choose-date-easy click-checkboxes click-menu-2 click-scroll-list drag-shapes drag-sort-numbers
    email-inbox-nl-turk email-inbox-noscroll email-inbox-star-reply enter-password form-sequence-2 form-sequence-3
    login-user read-table-2 sign-agreement social-media social-media-some use-autocomplete use-autocomplete-nodelay
    use-slider

    level 4
    choose-date-medium click-checkboxes-soft click-checkboxes-transfer daily-calendar email-inbox email-inbox-forward
    email-inbox-forward-nl email-inbox-forward-nl-turk email-inbox-reply form-sequence generate-number login-user-popup
    multi-layouts multi-orderings odd-or-even order-food phone-book search-engine terminal text-editor use-slider-2

    level 5
    ascending-numbers book-flight book-flight-nodelay chase-circle choose-date choose-date-nodelay
    click-checkboxes-large click-shades drag-cube drag-shapes-2 guess-number hot-cold moving-items number-checkboxes
    simon-says social-media-all stock-market use-spinner

The others are played by name. On `click-button-sequence click-collapsible click-collapsible-nodelay click-dialog click-test
click-test-2 click-test-transfer focus-text` the same one or two clicks are right in every task, whatever it asks. `flight.AA
flight.Alaska flight.Alaska-auto flight.Alaska-auto-medium` are longer and have a larger window; their expert earns 1 as well,
but on one of the 94 questions of `flight.Alaska`, which asks for March and compares with February. On `bisect-angle
circle-center find-midpoint right-angle` the best whole pixel, which the expert finds, earns a little less than 1. On
`click-pie-nodelay tic-tac-toe` some seeds cannot be won by anybody either: the item asked for is the one that is chosen already,
the opponent makes no mistake. `hover-shape` ends by its time limit alone, always with -1: it is the one page without an expert.

`benchmarks/miniwob_pages.py` goes through all 134 pages one by one: the expert on a train and a test task, an episode of its
actions and junk played again and by a fork, and a sixteenth of the kit's hostile actions, each of them on eight pages or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.core import Transition, split_of
from turnwise.envs.miniwob.experts import EXPERTS, LEVELS, expert_script
from turnwise.envs.miniwob.pages import page_names, time_limit_ms
from turnwise.envs.miniwob.session import MiniWoBPage, Start
from turnwise.envs.options import ToolOptions
from turnwise.envs.screen_env import PictureEnv, pixels
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError, UnknownName, Unsupported
from turnwise.types import Task

__all__ = ["MiniWoB"]

MAX_TYPED = 1000
MAX_WAIT_MS = 60_000
_SIZE, _FLIGHT_SIZE = (210, 160), (667, 375)
"""Height and width of what is shown in a picture."""


class MiniWoB(PictureEnv):
    """Rewards as above; without `tasks`, episodes are of the pages of the level, of those that there is an expert for.

    tasks: name or names of pages, played at whatever level.
    decay: whether the reward is the one that falls with time.
    step_ms: how far an action moves the page's clock.
    boxes: whether it is said where each mark is, and not only where that is needed.
    image: whether observations are {"text": str, "image": uint8[210, 160, 3]} with a picture (flights: [667, 375, 3]).
    """

    levels = range(1, 6)
    default_level = 1
    shown = "the page afterwards, on which [n] are the marks. Colours are #rrggbb, places x,y widthxheight in pixels"
    ending = "the page decides when it is over"

    def __init__(
        self,
        *,
        tasks: str | Sequence[str] | None = None,
        decay: bool = False,
        step_ms: int = 500,
        boxes: bool = False,
        image: bool = False,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        self.tasks = None if tasks is None else (tasks,) if isinstance(tasks, str) else tuple(tasks)
        for name in self.tasks or ():
            if name not in page_names():
                raise UnknownName("MiniWoB task", str(name), page_names())
        if self.tasks == ():
            raise ConfigError("MiniWoB: tasks must name at least one page, or be None for all that there is an expert for.")
        if not 1 <= step_ms <= MAX_WAIT_MS:
            raise ConfigError(f"MiniWoB: step_ms must be 1 to {MAX_WAIT_MS}, got {step_ms}.")
        self.decay, self.step_ms, self.boxes = decay, step_ms, boxes
        self.page = MiniWoBPage()
        if image:
            sizes = {_FLIGHT_SIZE if name.startswith("flight.") else _SIZE for name in self.tasks or ("",)}
            if len(sizes) > 1:
                raise ConfigError(
                    "MiniWoB: with image=True, flights and other pages cannot be mixed: their pictures differ in size."
                )
            self.with_pictures(*sizes.pop())

    # --- tools ----------------------------------------------------------------------------------------------------

    @tool
    def click(self, mark: int, count: Literal[1, 2, 3] = 1) -> str:
        """Click the element with this mark.

        Args:
            count: 2 is a double click, which selects a word; 3 selects a paragraph.
        """
        return self._done("click", self.page.act("click", mark, count))

    @tool
    def click_at(self, x: float, y: float) -> str:
        """Click a point of the page, in pixels from the left and from the top."""
        return self._done("click_at", self.page.act("click", (x, y), 1))

    @tool
    def type(self, text: str, mark: int | None = None) -> str:
        """Type a text.

        Args:
            mark: The field to type into, whose text is replaced. Without: at the end of what has the focus.
        """
        if len(text) > MAX_TYPED:
            return f"Error: type: at most {MAX_TYPED} characters, got {len(text)}."
        return self._done("type", self.page.act("type", _typeable(text), mark))

    @tool
    def press(self, keys: str) -> str:
        """Press a key or a chord: Enter, Escape, Tab, ArrowDown, Backspace, a, Control+a, ..."""
        return self._done("press", self.page.act("press", keys))

    @tool
    def select(self, mark: int, option: str) -> str:
        """Select an option of the combobox or listbox with this mark; in a list of several, once more takes it back."""
        return self._done("select", self.page.act("select", mark, option))

    @tool
    def drag(self, mark: int, to_mark: int) -> str:
        """Press on the element with the first mark, move to the middle of the second, let go."""
        return self._done("drag", self.page.act("drag", mark, to_mark))

    @tool
    def drag_at(self, x: float, y: float, to_x: float, to_y: float, through: list[tuple[float, float]] | None = None) -> str:
        """Press on a point of the page, move to another, let go. Selects text, moves what can be moved, draws.

        Args:
            through: Points [x, y] to pass on the way; without, straight on.
        """
        return self._done("drag_at", self.page.act("drag", (x, y), (to_x, to_y), through or ()))

    @tool
    def hover(self, mark: int) -> str:
        """Move the pointer over the element with this mark."""
        return self._done("hover", self.page.act("hover", mark))

    @tool
    def hover_at(self, x: float, y: float) -> str:
        """Move the pointer to a point of the page."""
        return self._done("hover_at", self.page.act("hover", (x, y)))

    @tool
    def scroll(self, pixels: int, mark: int | None = None) -> str:
        """Scroll the page.

        Args:
            pixels: How far down; less than 0 is up.
            mark: What to scroll in; without, the page as a whole.
        """
        return self._done("scroll", self.page.act("scroll", max(-100_000, min(pixels, 100_000)), mark))

    @tool
    def wait(self, ms: int) -> str:
        """Let the page's clock go on, in milliseconds."""
        if not 1 <= ms <= MAX_WAIT_MS:
            return f"Error: wait: ms must be 1 to {MAX_WAIT_MS}."
        return self._done("wait", self.page.act("wait", ms))

    toolset = (click, click_at, type, press, select, drag, drag_at, hover, hover_at, scroll, wait)

    def _done(self, name: str, problem: str) -> str:
        return f"Error: {name}: {problem.rstrip('.')}." if problem else ""

    # --- tasks ----------------------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        names = self.tasks or LEVELS[difficulty]
        return self._made(names[int(rng.integers(len(names)))], int(rng.integers(2**31)), difficulty)

    def _made(self, name: str, seed: int, difficulty: int) -> Task:
        return Task(
            f"miniwob/{name}/{seed:08x}", f"MiniWoB page {name}, seed {seed}", "", difficulty, {"page": name, "seed": seed}
        )

    @override
    def turn_limit(self, task: Task) -> int:
        """The page's own time is over first, but for many short waits."""
        return time_limit_ms(task.metadata["page"]) // min(self.step_ms, 100)

    @override
    def question(self, task: Task) -> str:
        return self.page.utterance

    # --- play -----------------------------------------------------------------------------------------------------

    @override
    def open(self, task: Task) -> None:
        name, seed = task.metadata["page"], task.metadata["seed"]
        self.page.start(Start(name, seed, split_of(task.id), self.step_ms, self.boxes))

    @override
    def look(self) -> str:
        self.page.read()
        verdict = self.page.verdict
        if verdict.done:
            return f"The episode is over{f': {verdict.reason}' if verdict.reason else ''}."
        return self.page.text

    @override
    def end(self) -> Transition | None:
        verdict = self.page.verdict
        if not verdict.done:
            return None
        reward = verdict.reward if self.decay else verdict.raw
        return Transition("", reward, terminated=True, outcome=min(max(verdict.raw, 0.0), 1.0), terms={"page": reward})

    @override
    def expert_action(self) -> str:
        """What the page's expert does next. Raises Unsupported for a page that has none."""
        name = self.task.metadata["page"]
        if name not in EXPERTS:
            raise Unsupported(f"MiniWoB: there is no expert for the page {name}; there is one for {', '.join(EXPERTS)}.")
        called = self.page.ask(expert_script(name))
        return self.format.call(called["tool"], called["arguments"])

    @override
    def picture(self) -> NDArray[np.uint8]:
        height, width = _FLIGHT_SIZE if self.task.metadata["page"].startswith("flight.") else _SIZE
        return pixels(self.page.picture())[:height, :width]

    @override
    def close(self) -> None:
        self.page.close()
        super().close()


def _typeable(text: str) -> str:
    """What a keyboard can write: new lines, and else no control or format characters and no lone surrogates."""
    return "".join(c if c == "\n" or c.isprintable() else " " for c in text)
