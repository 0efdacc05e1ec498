"""The apps, without a browser: verdicts, screens, experts from anywhere. And with one: step by step the same."""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from turnwise.envs.fork import fork
from turnwise.envs.gui.app import App, Event
from turnwise.envs.gui.apps import APPS
from turnwise.envs.gui.browser_surface import HEIGHT, WIDTH
from turnwise.envs.gui.gui import Gui
from turnwise.envs.gui.gui_env import GuiEnv, plain
from turnwise.envs.gui.gui_lite import GuiLite
from turnwise.envs.gui.mail import Mail
from turnwise.envs.gui.sheet import value_of
from turnwise.envs.gui.widgets import bar, button, card, checkbox, combobox, dialog, heading, nav, screen_of, tab, text, textbox
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, EnvFailure, UnknownName

needs_browser = pytest.mark.usefixtures("browser")


def any_action(env: GuiEnv, rng: np.random.Generator) -> str:
    """Something a person could do, wise or not: the expert's, or anything with any mark."""
    call, marks, chance = env.format.call, env.surface.screen.marks, rng.random()
    if chance < 0.25:
        return env.expert_action()
    for share, name, key, values in (
        (0.30, "scroll", "direction", ("up", "down")),
        (0.38, "press", "key", ("Enter", "Escape")),
        (0.42, "back", "", ("",)),
    ):
        if chance < share:
            return call(name, {key: values[int(rng.integers(len(values)))]} if key else {})
    mark = int(rng.integers(len(marks))) + 1
    node = marks[mark - 1]
    if node.kind == "textbox" and chance < 0.9:
        words = ("Zürich 🙂", "", "two  words", "=SUM(B2:B4)", "12", "x" * 150, '٣ e\u0301 👨‍👩‍👧 "q" \\ <b>\ud800')
        return call("type", {"mark": mark, "text": words[int(rng.integers(len(words)))]})
    if node.kind == "combobox" and chance < 0.9:
        return call("select", {"mark": mark, "option": node.options[int(rng.integers(len(node.options)))]})
    return call("click", {"mark": mark})


def walk(env: GuiEnv, seed: int, level: int, *, wild: bool) -> Iterator[str]:
    """The actions of an episode; the caller steps."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed, options={"difficulty": level})
    while env._playing:
        yield any_action(env, rng) if wild else env.expert_action()


# --- widgets and screens ----------------------------------------------------------------------------------------------


def test_a_screen_as_text() -> None:
    nodes = [
        nav(button("a", "Go")),
        heading("Form"),
        card(textbox("b", "Name", "Ada"), combobox("c", "City", "Rome", ("Rome", "Oslo"))),
        bar(checkbox("d", "Sure", on=True), tab("e", "One", on=True), button("f", "Off", off=True)),
        text("  Two   words "),
    ]
    screen = screen_of(nodes, focus="b")
    assert screen.text == (
        'navigation\n  [1] button "Go"\nheading "Form" level=2\n[2] textbox "Name" value="Ada" focused\n'
        '[3] combobox "City" value="Rome" options: "Rome" | "Oslo"\n[4] checkbox "Sure" checked\n[5] tab "One" selected\n'
        '[6] button "Off" disabled\ntext "Two words"'
    )
    assert screen.mark_of("c") == 3 and screen.mark_of("z") == 0


def test_a_dialog_takes_the_marks() -> None:
    screen = screen_of([button("a", "Go"), dialog("Sure?", button("ok", "OK"))])
    assert screen.text == 'button "Go"\ndialog "Sure?"\n  [1] button "OK"'
    assert [node.key for node in screen.marks] == ["ok"]


def test_what_is_typed_is_what_a_keyboard_can_write() -> None:
    assert plain(" a\tb\n\nc\x00 ") == "a b c"
    assert plain("Zürich\ud800 \u202e\ufeff 🙂\u2028") == "Zürich 🙂"


@pytest.mark.parametrize("name", APPS)
def test_keys_are_unique_and_screens_consistent(name: str) -> None:
    """On every screen of wild episodes; and what is drawn in part is what would be drawn anew."""
    env = GuiLite(apps=[name])
    for seed in range(6):
        for action in walk(env, seed, 1 + seed % 5, wild=True):
            env.step(action)
            surface = env.surface
            keys = [node.key for node in surface.screen.marks]
            assert len(set(keys)) == len(keys)
            assert surface.text() == screen_of(surface.app.tree(), surface.focus).text  # pyright: ignore


# --- tasks and verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", APPS)
def test_the_expert_finds_back(name: str) -> None:
    """After a few wild actions that spoil nothing for ever, it still gets there."""
    env, solved = GuiLite(apps=[name], max_turns=200), 0
    for seed in range(12):
        steps = walk(env, seed, 2, wild=True)
        for action in [next(steps, None) for _ in range(3)]:
            if action is not None and env._playing:
                env.step(action)
        outcome = 0.0
        while env._playing:
            outcome = env.step(env.expert_action())[4]["outcome"]
        solved += outcome == 1.0
    assert solved >= 6


@pytest.mark.parametrize("name", APPS)
def test_levels_take_more_actions(name: str) -> None:
    env, means = GuiLite(apps=[name]), list[float]()
    for level in env.levels:
        turns = [sum(1 for action in walk(env, seed, level, wild=False) if env.step(action)) for seed in range(12)]
        means.append(sum(turns) / len(turns))
    assert means == sorted(means) and means[-1] > 2.5 * means[0]


@pytest.mark.parametrize("name", APPS)
def test_nothing_is_solved_before_anything_is_done(name: str) -> None:
    env = GuiLite(apps=[name])
    for seed in range(10):
        env.reset(seed=seed, options={"difficulty": 1 + seed % 5})
        assert not env.surface.app.solved
        assert env.task.metadata["app"] == name and env.turn_limit(env.task) > env.task.metadata["steps"]


def test_only_the_data_count() -> None:
    """The right words on the screen are nothing; one thing too many is not what was wanted."""
    env = GuiLite(apps=["mail"])
    env.reset(seed=1, options={"difficulty": 2})
    app = Mail(env.task.metadata["data"], env.task.metadata["goal"])
    done = copy.deepcopy(app.goal)
    app.data.update(done)
    assert app.solved
    app.data["mail"] = copy.deepcopy(done["mail"])
    app.data["mail"]["m0"]["star"] ^= True
    assert not app.solved
    app.data.update(copy.deepcopy(done))
    app.data["sent"].append({"to": "x", "subject": "", "body": ""})
    assert not app.solved


def test_a_wrong_order_ends_the_episode_without_reward() -> None:
    env = GuiLite(apps=["flight"])
    env.reset(seed=3, options={"difficulty": 1})
    call, screen = env.format.call, lambda: env.surface.screen
    wrong = next(
        i for i in range(len(env.task.metadata["data"]["flights"])) if i != env.task.metadata["goal"]["booking"]["flight"]
    )
    app = env.surface.app
    app.go(f"form/{wrong}")
    env.step(call("press", {"key": "Escape"}))
    _, reward, terminated, _, info = env.step(call("click", {"mark": screen().mark_of("book/")}))
    assert (reward, terminated, info["outcome"], info["reward_terms"]) == (0.0, True, 0.0, {"solved": 0.0})


def test_sums() -> None:
    cells = {"B2": "3", "B3": "x", "B4": "4", "C2": "=SUM(B2:B4)", "C3": "=max(B2:B4)", "C4": "=SUM(C2:C4)", "D1": "=SUM(Z1:2)"}
    assert [value_of(cells, name) for name in ("B2", "C2", "C3", "C4", "D1", "D9")] == ["3", "7", "4", "0", "=SUM(Z1:2)", ""]


def test_marks_that_cannot_be_used() -> None:
    env = GuiLite(apps=["calendar"])
    env.reset(seed=0)
    call = env.format.call
    for action, words in (
        (call("click", {"mark": 0}), "there is no mark 0; there are 1 to 47."),
        (call("click", {"mark": 10**30}), "there is no mark"),
        (call("click", {"mark": 1}), "mark 1 is disabled."),
        (call("type", {"mark": 2, "text": "x"}), "mark 2 is a button, no textbox."),
        (call("back", {}), "there is no page to go back to."),
        (call("press", {"key": "F5"}), "key"),
        ("<answer>done</answer>", "There is nothing to answer"),
    ):
        before = env.surface.text()
        observation, reward, *_ = env.step(action)
        assert words in observation and reward == 0.0 and env.surface.text() == before


def test_a_field_takes_what_a_browser_counts_as_150() -> None:
    env = GuiLite(apps=["settings"])
    env.reset(seed=0)
    call, mark = env.format.call, env.surface.screen.mark_of("field/text_0")
    assert f'value="{"🙂" * 75}"' in env.step(call("type", {"mark": mark, "text": "🙂" * 75}))[0]
    assert "a field takes 150 characters, got 152" in env.step(call("type", {"mark": mark, "text": "🙂" * 76}))[0]


def test_several_calls_in_one_reply() -> None:
    env = GuiLite(apps=["mail"])
    env.reset(seed=0)
    call, compose = env.format.call, env.surface.screen.mark_of("compose/")
    observation, *_ = env.step(
        call("click", {"mark": compose}) + call("type", {"mark": 7, "text": "Ada"}) + call("type", {"mark": 8, "text": "Hi"})
    )
    assert '[7] textbox "To" value="Ada"\n[8] textbox "Subject" value="Hi" focused' in observation
    observation, *_ = env.step(call("back", {}))
    assert 'heading "Inbox"' in observation


def test_wrong_apps() -> None:
    with pytest.raises(UnknownName, match="shopp"):
        GuiLite(apps=["shopp"])
    with pytest.raises(ConfigError, match="at least one"):
        GuiLite(apps=[])


def test_an_apps_twin_is_its_own() -> None:
    env = GuiLite(apps=["mail"])
    env.reset(seed=0)
    app: App = env.surface.app
    twin = app.twin()
    twin.handle(Event("click", "compose/"))
    twin.handle(Event("input", "field/to", "x"))
    twin.data["mail"]["m0"]["star"] ^= True
    assert app.place == "folder/Inbox" and not app.fields and not app.history
    assert app.data["mail"]["m0"] == env.task.metadata["data"]["mail"]["m0"]


# --- in the browser ---------------------------------------------------------------------------------------------------


@needs_browser
@pytest.mark.parametrize("name", APPS)
def test_gui_and_gui_lite_agree(name: str) -> None:
    """Observations, rewards, ends and infos of an expert's episode and of wild ones, byte by byte."""
    lite, gui = GuiLite(apps=[name]), Gui(apps=[name])
    try:
        for seed, level, wild, most in ((1, 3, False, 99), (2, 5, True, 8), (3, 2, True, 10)):
            options: dict[str, Any] = {"difficulty": level}
            first = lite.reset(seed=seed, options=options)[0].rpartition("\n\n")[2]
            assert gui.reset(seed=seed, options=options)[0].rpartition("\n\n")[2] == first
            for turn, action in enumerate(walk(lite, seed, level, wild=wild)):
                expected = lite.step(action)
                assert gui.step(action) == expected, f"seed {seed}, turn {turn}: {action}"
                assert "offscreen" not in expected[0]
                if turn >= most:
                    break
            assert wild or expected[1] == 1.0
    finally:
        gui.close()


@needs_browser
def test_points_pictures_and_forks() -> None:
    gui = Gui(apps=["settings"], image=True, render_mode="rgb_array")
    try:
        observation, _ = gui.reset(seed=0)
        assert observation in gui.observation_space and observation["image"].shape == (HEIGHT, WIDTH, 3)
        assert len(np.unique(observation["image"])) > 20
        call = gui.format.call
        assert "click_at: x must be" in gui.step(call("click_at", {"x": -1, "y": 5}))[0]["text"]
        before = gui.step(call("click_at", {"x": 2, "y": HEIGHT - 2}))[0]
        after = gui.step(call("click_at", {"x": 145, "y": 66}))[0]  # the second tab
        assert "] tab" in before["text"] and before["text"] != after["text"]
        assert '[2] tab "Display" selected focused' in after["text"]
        assert (before["image"] != after["image"]).any()
        for _ in range(3):
            other_pixels = int((gui.render() != after["image"]).any(2).sum())
            assert other_pixels == 0, f"{other_pixels} pixels of a page that nobody touched have changed"
        twin = fork(gui)
        same, other = gui.step(call("back", {})), twin.step(call("back", {}))
        assert same[0]["text"] == other[0]["text"] and '"Profile" selected' in same[0]["text"]
        twin.step(call("type", {"mark": gui.surface.screen.mark_of("field/text_0"), "text": "only here"}))
        assert "only here" not in gui.step(call("press", {"key": "Escape"}))[0]["text"]
        twin.close()
    finally:
        gui.close()


@needs_browser
def test_episodes_in_parallel() -> None:
    """Four at once in one browser; each as if it were alone."""

    def episode(seed: int) -> tuple[float, str]:
        gui, lite = Gui(apps=["mail"]), GuiLite(apps=["mail"])
        try:
            gui.reset(seed=seed)
            text = ""
            for action in walk(lite, seed, 2, wild=False):
                expected, found = lite.step(action), gui.step(action)
                assert found == expected
                text = found[0]
            return found[1], text
        finally:
            gui.close()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(episode, range(4)))
    assert [reward for reward, _ in results] == [1.0] * 4


@needs_browser
def test_a_broken_page_is_a_failure_and_the_next_episode_works() -> None:
    gui = Gui(apps=["shop"])
    try:
        gui.reset(seed=0)
        assert gui.surface._session is not None
        gui.surface._session.close()
        with pytest.raises(EnvFailure):
            gui.step(gui.format.call("click", {"mark": 1}))
        assert "heading" in gui.reset(seed=0)[0]
    finally:
        gui.close()


@needs_browser
def test_the_contract_in_the_browser() -> None:
    """What is not the twin's: forms, replay, forks. The rest holds for GuiLite, whose tasks and verdicts these are."""
    rules = ["is_a_turn_env", "returns_right_types", "replays", "forks_continue_equally"]
    report = check_turn_env(lambda: Gui(apps=["settings"]), tasks=1, levels=[1], rules=rules)
    assert len(report.seen) == len(rules)
