"""MiniWoB's own pages: every one starts, right and wrong answers are paid as its script says, nothing depends on the clock."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from turnwise.envs.fork import fork
from turnwise.envs.miniwob import miniwob
from turnwise.envs.miniwob.experts import EXPERTS, LEVELS
from turnwise.envs.miniwob.miniwob import MiniWoB
from turnwise.envs.miniwob.pages import page_names, time_limit_ms
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, UnknownName, Unsupported

pytestmark = pytest.mark.skipif(find_spec("miniwob") is None, reason="the package miniwob is not installed")
needs_browser = pytest.mark.usefixtures("browser")
Make = Callable[..., MiniWoB]


@pytest.fixture
def make() -> Iterator[Make]:
    made = list[MiniWoB]()

    def new(*tasks: str, **options: Any) -> MiniWoB:
        made.append(MiniWoB(tasks=tasks or None, **options))
        return made[-1]

    yield new
    for env in made:
        env.close()


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def mark(env: MiniWoB, line: str) -> int:
    """The mark of the first line with these words."""
    found = re.search(rf"\[(\d+)\] [^\n]*{re.escape(line)}", env.page.text)
    assert found, f"{line!r} is not in\n{env.page.text}"
    return int(found[1])


def solve(env: MiniWoB) -> tuple[list[str], float, dict[str, Any]]:
    """The expert's actions from here, the last reward and info."""
    actions = list[str]()
    while True:
        actions.append(env.expert_action())
        _, reward, terminated, truncated, info = env.step(actions[-1])
        if terminated or truncated:
            return actions, reward, info


# --- without a browser ------------------------------------------------------------------------------------------------


def test_the_pages_of_the_package() -> None:
    names = page_names()
    assert len(names) >= 130 and {"click-button", "chase-circle", "flight.AA"} <= set(names)
    assert time_limit_ms("click-button") == 10_000 and time_limit_ms("book-flight") == 30_000


NAMED = {
    *("flight.AA", "flight.Alaska", "flight.Alaska-auto", "flight.Alaska-auto-medium"),
    *("bisect-angle", "circle-center", "find-midpoint", "right-angle", "click-pie-nodelay", "tic-tac-toe"),
    *("click-button-sequence", "click-collapsible", "click-collapsible-nodelay", "click-dialog", "focus-text"),
    *("click-test", "click-test-2", "click-test-transfer"),
}
"""Pages with an expert that only come when they are asked for: of another size, or nobody can always earn 1 on them, or the same
clicks always do."""


def test_each_expert_has_a_level() -> None:
    assert set(EXPERTS) <= set(page_names())
    drawn = [name for level in LEVELS.values() for name in level]
    assert len(set(drawn)) == len(drawn) and set(EXPERTS) - set(drawn) == NAMED
    assert set(page_names()) - set(EXPERTS) == {"hover-shape"}


def test_the_page_names_every_task() -> None:
    said = set(re.findall(r"[a-zA-Z][\w.-]*\w", miniwob.__doc__ or ""))
    assert not [name for name in page_names() if name not in said]


def test_wrong_options() -> None:
    with pytest.raises(UnknownName, match="click-buton"):
        MiniWoB(tasks="click-buton")
    with pytest.raises(ConfigError, match="at least one"):
        MiniWoB(tasks=())
    with pytest.raises(ConfigError, match="step_ms"):
        MiniWoB(step_ms=0)
    with pytest.raises(ConfigError, match="flights"):
        MiniWoB(tasks=["click-button", "flight.AA"], image=True)


# --- all pages --------------------------------------------------------------------------------------------------------


@needs_browser
def test_every_page_starts_without_an_error(make: Make) -> None:
    env = make()
    for name in page_names():
        env.tasks = (name,)
        first, _ = env.reset(seed=7)
        verdict = env.page.verdict
        assert not verdict.errors, f"{name}: {verdict.errors[0]}"
        assert not verdict.done and env.page.utterance and env.page.text in first, name
        assert re.search(r"\[\d+\] ", env.page.text), f"{name}: nothing can be used:\n{first}"


# --- answers ----------------------------------------------------------------------------------------------------------

SPREAD = (
    *("click-menu", "click-pie", "click-shape", "count-shape", "click-tab-2-hard", "click-checkboxes-soft", "choose-date"),
    *("drag-shapes-2", "drag-sort-numbers", "highlight-text-2", "resize-textarea", "use-slider-2", "draw-line", "button-delay"),
    *("email-inbox-nl-turk", "social-media-some", "terminal", "book-flight", "guess-number", "enter-time", "form-sequence-3"),
    *("daily-calendar", "text-editor", "drag-cube", "drag-items-grid", "draw-circle", "count-sides", "hot-cold", "simon-says"),
    *("chase-circle", "moving-items", "use-colorwheel-2", "click-tab-2-medium", "flight.AA", "flight.Alaska-auto"),
)


@needs_browser
def test_right_answers_of_many_kinds(make: Make) -> None:
    env = make()
    for name in SPREAD:
        env.tasks = (name,)
        env.reset(seed=11)
        _, reward, info = solve(env)
        assert (reward, info["outcome"], info["reward_terms"]) == (1.0, 1.0, {"page": 1.0}), name


@needs_browser
def test_the_best_pixel_of_drawings(make: Make) -> None:
    """Whole pixels earn a little less than 1, most of the time; a place that was not looked for earns less."""
    env = make()
    for name in ("bisect-angle", "circle-center", "find-midpoint", "right-angle"):
        env.tasks = (name,)
        env.reset(seed=2)
        best = solve(env)[1]
        env.reset(seed=2)
        env.step(call("click_at", x=20, y=70))
        assert 0.95 < best <= 1.0 and env.step(env.expert_action())[1] < best, name


@needs_browser
def test_a_circle_at_the_edge_is_drawn(make: Make) -> None:
    """Its middle is so far to the right that a way that begins on that side begins beside the picture."""
    env = make("draw-circle")
    env.reset(seed=8164682167383697462, options={"split": "test", "difficulty": 2})
    assert int(re.search(r"#circ .* at (\d+),", env.page.text)[1]) > 126  # pyright: ignore[reportOptionalSubscript]
    assert solve(env)[1] == 1.0


@needs_browser
def test_a_button_under_another_is_clicked_where_it_shows(make: Make) -> None:
    env = make("click-button-sequence")
    env.reset(seed=1676802411362974373, options={"split": "test", "difficulty": 2})
    hit = "document.elementFromPoint({x}, {y}).id"
    at = env.page.evaluate(f"turnwise.point({mark(env, 'ONE')})")
    box = env.page.evaluate("document.querySelector('#subbtn').getBoundingClientRect().toJSON()")
    assert env.page.evaluate(hit.format(**at)) == "subbtn"
    assert env.page.evaluate(hit.format(x=box["x"] + 20, y=box["y"] + 20)) == "subbtn2"
    assert solve(env)[1] == 1.0


@needs_browser
def test_what_is_wholly_covered_is_said(make: Make) -> None:
    env = make("click-button-sequence")
    env.reset(seed=0)
    under, over = mark(env, "ONE"), mark(env, "TWO")
    place = env.page.ask(
        "(place => document.querySelector('#subbtn').style = place)(document.querySelector('#subbtn2').style.cssText)"
    )
    for name in ("click", "hover"):
        observation, reward, *_ = env.step(call(name, mark=under))
        assert f"mark {under} is covered by mark {over}" in observation and reward == 0.0
    assert place and env.page.evaluate("buttonsPushed.length") == 0
    env.step(call("drag", mark=over, to_mark=under))  # what is dragged goes to where the other is, whatever lies there
    assert env.page.evaluate("buttonsPushed.length") == 1


@needs_browser
def test_clicks_that_solved_another_task_are_none_here(make: Make) -> None:
    """Even where the page is the same in every task."""
    env = make("click-test-2")
    env.reset(seed=0)
    recited, reward, _ = solve(env)
    assert reward == 1.0
    for seed in range(1, 5):
        env.reset(seed=seed)
        observation, reward, terminated, *_ = env.step(recited[0])
        assert "is not there" in observation and reward == 0.0 and not terminated


@needs_browser
def test_what_hides_its_box_is_shown_and_clicked_by_its_label(make: Make) -> None:
    env = make("flight.Alaska")
    env.reset(seed=0)
    assert 'label "One-way"\n' in env.page.text
    env.step(call("click", mark=mark(env, 'label "One-way"')))
    assert 'label "One-way" checked' in env.page.text
    env.step(call("click", mark=mark(env, 'h2 "More search options"')))
    env.step(call("click", mark=mark(env, 'radio "First"')))
    assert 'radio "First" checked' in env.page.text


@needs_browser
@pytest.mark.parametrize(
    ("name", "right"),
    [("click-test-2", "ONE"), ("click-test-2", ""), ("click-button", "right"), ("click-button", "")],
)
def test_one_click(make: Make, name: str, right: str) -> None:
    """By hand, from the text alone."""
    env = make(name)
    env.reset(seed=3)
    asked = re.search(r'button "?(\w+)|"(.*?)"', env.page.utterance)
    assert asked
    wanted = f'button "{asked[1] or asked[2]}"'
    others = [line for line in env.page.text.split("\n") if "] button" in line and wanted not in line]
    at = mark(env, wanted) if right else int(others[0].partition("]")[0].strip(" ["))
    observation, reward, terminated, truncated, info = env.step(call("click", mark=at))
    assert (reward, terminated, truncated) == (1.0 if right else -1.0, True, False)
    assert info["outcome"] == max(reward, 0.0) and "over" in observation


@needs_browser
@pytest.mark.parametrize(("typed", "reward"), [("{}", 1.0), ("{}x", -1.0), ("", -1.0)])
def test_a_text_that_is_typed(make: Make, typed: str, reward: float) -> None:
    env = make("enter-text")
    env.reset(seed=5)
    asked = env.page.utterance.split('"')[1]
    field, button = mark(env, "textbox"), mark(env, "Submit")
    result = env.step(call("type", text=typed.format(asked), mark=field) + call("click", mark=button))
    assert (result[1], result[2], result[4]["outcome"]) == (reward, True, max(reward, 0.0))


@needs_browser
def test_a_reward_between(make: Make) -> None:
    """A page that pays in part: the middle of a line between two points, missed by a little."""
    env = make("find-midpoint")
    env.reset(seed=2)
    points = [(int(x) + 3, int(y) + 3) for x, y in re.findall(r"circle\S* fill=#000000 at (\d+),(\d+)", env.page.text)]
    (a, b), (c, d) = points[0], points[1]
    env.step(call("click_at", x=(a + c) // 2 + 8, y=(b + d) // 2))
    _, reward, terminated, _, info = env.step(call("click", mark=mark(env, "Submit")))
    assert terminated and 0.5 < reward < 0.95 and info["outcome"] == reward


@needs_browser
def test_pages_know_the_split(make: Make) -> None:
    """The tasks of one split have other words than those of the other where the page says so."""
    env = make("click-test-transfer")
    for split, word in (("train", "ONE"), ("test", "TWO")):
        env.reset(seed=1, options={"split": split})
        assert word in env.page.utterance


# --- time -------------------------------------------------------------------------------------------------------------


@needs_browser
def test_time_is_counted_in_actions(make: Make) -> None:
    env = make("login-user", decay=True)
    env.reset(seed=4)
    actions, reward, info = solve(env)
    assert reward == pytest.approx(1.0 - 0.05 * (len(actions) - 1)) and info["outcome"] == 1.0
    env.reset(seed=4)
    env.step(call("wait", ms=2000))
    assert solve(env)[1] == pytest.approx(reward - 0.2)


@needs_browser
def test_the_pages_own_time_limit(make: Make) -> None:
    env = make("click-test")
    env.reset(seed=0)
    assert env.step(call("wait", ms=9_999))[2] is False
    observation, reward, terminated, _, info = env.step(call("wait", ms=1))
    assert (reward, terminated, info["outcome"]) == (-1.0, True, 0.0) and "timed out" in observation


@needs_browser
def test_equal_seeds_and_actions_give_equal_bytes(make: Make) -> None:
    """Whatever was played before; pages that move, fade and ask for the date included."""
    env, other = make(), make()
    for name in ("moving-items", "chase-circle", "terminal", "email-inbox"):
        seen = list[Any]()
        for player in (env, other, env):
            player.tasks = (name,)
            steps = [player.reset(seed=6)[0]]
            for action in (
                call("click_at", x=60, y=100),
                call("wait", ms=700),
                call("press", keys="a"),
                call("hover_at", x=9, y=99),
            ):
                result = player.step(action)
                steps.append(result)
                if result[2]:
                    break
            seen.append(steps)
            player.tasks = ("click-pie",)
            player.reset(seed=1)
        assert seen[0] == seen[1] == seen[2], name


@needs_browser
def test_what_a_page_asks_for_is_answered_before_it_is_read(make: Make) -> None:
    """The list of airports is a request, whose answer comes when it comes: it takes no time on the page's clock."""
    env = make("flight.AA")
    env.reset(seed=1)
    env.step(call("type", text="LAX", mark=mark(env, 'textbox "From"')))
    assert "1 result is available" in env.page.text and "Los Angeles" in env.page.text


@needs_browser
def test_a_page_that_nobody_touched_is_not_loaded_again(make: Make) -> None:
    env = make("click-checkboxes")
    first = env.reset(seed=6)
    env.page.evaluate("window.old = 1")
    assert not env.step("hello")[4]["valid_action"]
    assert env.reset(seed=6) == first and env.page.evaluate("window.old") == 1
    for touch in (lambda: env.step(call("wait", ms=1)), lambda: env.step(call("click", mark=99)), env.expert_action):
        env.page.evaluate("window.old = 1")
        touch()
        assert env.reset(seed=6) == first and env.page.evaluate("window.old ?? 0") == 0
    assert solve(env)[1] == 1.0


# --- tools ------------------------------------------------------------------------------------------------------------


@needs_browser
def test_what_cannot_be_done_is_said(make: Make) -> None:
    env = make("enter-text")
    env.reset(seed=0)
    button = mark(env, "Submit")
    for action, words in (
        (call("click", mark=1), f"mark 1 is not there: there are {button - 1} to {button}."),
        (call("click", mark=10**30), "is not there"),
        (call("type", text="x", mark=button), f"mark {button} takes no text."),
        (call("type", text="x" * 2000), "at most 1000 characters"),
        (call("select", mark=button, option="x"), "is no list to select from"),
        (call("press", keys="Nothing"), "There is no key 'Nothing'"),
        (call("click_at", x=-5, y=5), "x must be"),
        (call("click_at", x=5000, y=5), "outside the viewport"),
        (call("drag", mark=button, to_mark=77), "mark 77 is not there"),
        (call("wait", ms=0), "ms must be 1 to"),
        ("<answer>done</answer>", "nothing to answer"),
    ):
        observation, reward, terminated, _, _ = env.step(action)
        assert words in observation and reward == 0.0 and not terminated, f"{action}: {observation}"
    assert solve(env)[1] == 1.0  # and none of it took time or did anything


@needs_browser
def test_lists_scrolling_and_keys(make: Make) -> None:
    env = make("click-scroll-list")
    env.reset(seed=1)
    options = re.findall(r'"(\w+)"', env.page.text.split("options:")[1].split("\n")[0])
    listbox = mark(env, "listbox")
    text = env.step(call("select", mark=listbox, option=options[0]))[0]
    assert f'value="{options[0]}"' in text
    assert 'value=""' in env.step(call("select", mark=listbox, option=options[0]))[0]
    env.tasks = ("scroll-text-2",)
    env.reset(seed=1)
    area = mark(env, "text-area")
    assert "scrolled 0 of" in env.step(call("scroll", mark=area, pixels=-9999))[0]
    env.tasks = ("enter-text",)
    env.reset(seed=1)
    field = mark(env, "textbox")
    env.step(call("type", mark=field, text="some words") + call("press", keys="Control+a") + call("press", keys="Delete"))
    assert 'value=""' in env.page.text
    assert 'value="ab"' in env.step(call("type", text="ab"))[0]


@needs_browser
def test_two_marks_are_both_in_view_when_one_is_dragged_to_the_other(make: Make) -> None:
    """Below what is shown, where looking for the second moves the first; and where what was drawn lies is said."""
    env = make("daily-calendar")
    env.reset(seed=1)
    text, *_ = env.step(call("drag", mark=mark(env, "hh-22"), to_mark=mark(env, "hh-23")))
    assert re.search(r'div "New event" at 36,\d+ 102x42', text)
    text, *_ = env.step(call("drag", mark=mark(env, "hh-0 "), to_mark=mark(env, "hh-47")))
    assert "the two marks cannot be in view at once" in text


@needs_browser
def test_pictures_say_what_they_stand_for(make: Make) -> None:
    env = make("order-food")
    env.reset(seed=3)
    assert re.search(r'"Ice cream sundae"\n.*types\n.*img "dairy"\n.*img "peanuts"\n.*img "gluten-free"\n', env.page.text)


@needs_browser
def test_the_clipboard_is_of_one_page(make: Make) -> None:
    env, other = make("copy-paste"), make("copy-paste")
    env.reset(seed=1)
    other.reset(seed=1)
    area, answer = mark(env, "#to-copy"), mark(env, "#answer-input")
    env.step(call("click", mark=area) + call("press", keys="Control+a") + call("press", keys="Control+c"))
    env.step(call("click", mark=answer))
    other.step(call("click", mark=answer) + call("press", keys="Control+v"))
    assert other.page.text.count('value=""') == 1
    env.step(call("press", keys="Control+v"))
    assert env.step(call("click", mark=mark(env, "Submit")))[1] == 1.0


@needs_browser
def test_a_page_that_is_left(make: Make) -> None:
    env = make("click-test")
    env.reset(seed=0)
    env.page.evaluate("setTimeout(() => { location.href = '/miniwob/click-button.html' }, 10), 1")
    observation, reward, terminated, _, _ = env.step(call("wait", ms=100))
    for _ in range(3):
        if not terminated:
            observation, reward, terminated, _, _ = env.step(call("hover_at", x=3, y=3))
    assert (reward, terminated) == (-1.0, True) and "the page was left" in observation
    assert env.reset(seed=0) and solve(env)[1] == 1.0


@needs_browser
def test_no_expert_is_said(make: Make) -> None:
    env = make("hover-shape")
    env.reset(seed=0)
    with pytest.raises(Unsupported, match="no expert for the page hover-shape"):
        env.expert_action()


# --- pictures, forks, many at once ------------------------------------------------------------------------------------


@needs_browser
def test_pictures(make: Make) -> None:
    env = make("count-sides", image=True, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space and observation["image"].shape == (210, 160, 3)
    assert (observation["image"][1, 1] == (255, 255, 0)).all() and len(np.unique(observation["image"])) > 10
    assert (env.render() == observation["image"]).all()
    flight, _ = make("flight.AA", image=True).reset(seed=0)
    assert flight["image"].shape == (667, 375, 3) and "Departure City" in flight["text"]


@needs_browser
def test_forks_go_their_own_way(make: Make) -> None:
    env = make("login-user")
    env.reset(seed=1)
    env.step(env.expert_action())
    twin = fork(env)
    assert isinstance(twin, MiniWoB)
    assert twin.page.text == env.page.text
    wrong = twin.step(call("click", mark=mark(twin, "Login")))
    assert wrong[1] == -1.0 and solve(env)[1] == 1.0
    twin.close()


@needs_browser
def test_episodes_in_parallel(make: Make) -> None:
    """Four at once in one browser, each as if it were alone."""
    names = ("login-user", "use-slider-2", "click-menu", "email-inbox")
    envs = [make(name) for name in names]

    def episode(env: MiniWoB) -> list[Any]:
        env.reset(seed=9)
        return [env.page.utterance, *solve(env)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(episode, envs))
    assert [reward for _, _, reward, _ in together] == [1.0] * 4
    assert together == [episode(env) for env in envs]


@needs_browser
def test_the_contract() -> None:
    """What a few episodes of one page can show: forms, replay, forks."""
    rules = ("is_a_turn_env", "returns_right_types", "reset_takes_options", "tasks_are_whole", "replays", "forks_count_turns")
    report = check_turn_env(lambda: MiniWoB(tasks="choose-list"), tasks=1, levels=[1], rules=rules)
    assert len(report.seen) == len(rules)
