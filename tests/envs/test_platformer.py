"""turnwise/Platformer-v0: the physics against a slow one written apart, the courses, the expert, the rewards, the views."""

import re

import numpy as np
import pytest

from turnwise.envs.draws import Draws
from turnwise.envs.platformer.commands import command_text, read_commands
from turnwise.envs.platformer.course import HEIGHT, Course
from turnwise.envs.platformer.frames import FRAME, SCALE
from turnwise.envs.platformer.generator import LEVELS, SECTIONS, random_course
from turnwise.envs.platformer.physics import FELL, FLAG, HIT, PLAYING, SPIKED, Body, run, spawned, stands
from turnwise.envs.platformer.planner import Command, Planner
from turnwise.envs.platformer.platformer import Platformer
from turnwise.envs.platformer.view import COLUMNS, View
from turnwise.errors import ConfigError
from turnwise.types import Task


def course(*rows: str, enemies: tuple = ()) -> Course:
    """Rows from the top, without the sky and the walls at both ends."""
    full = ["." * len(rows[0])] * (HEIGHT - len(rows)) + list(rows)
    return Course.made([f"#{row}#" for row in full], enemies)


def random_courses(count: int, level: int = 3) -> list[Course]:
    made = [random_course(Draws(np.random.default_rng(seed)), level) for seed in range(count)]
    return [Course.made(task["rows"], task["enemies"]) for task in made]


# --- physics ----------------------------------------------------------------------------------------------------------


class Slow:
    """The rules of `physics`, one unit at a time on sets of cells."""

    def __init__(self, course: Course) -> None:
        signs = {(c, r): sign for r, row in enumerate(reversed(course.rows)) for c, sign in enumerate(row)}
        self.ground = {cell for cell, sign in signs.items() if sign == "#"} | {(c, HEIGHT) for c in range(course.width)}
        self.platforms = {cell for cell, sign in signs.items() if sign == "="}
        self.spikes = {cell for cell, sign in signs.items() if sign == "^"}
        self.coins = {cell: course.coins[cell[1] * course.width + cell[0]] for cell, sign in signs.items() if sign == "o"}
        self.course = course

    def blocked(self, x: int, y: int) -> bool:
        return any((a // 10, b // 10) in self.ground for a in range(x, x + 6) for b in range(y, y + 8))

    def held(self, x: int, y: int) -> bool:
        under = {(a // 10, y // 10 - 1) for a in range(x, x + 6)}
        return y % 10 == 0 and bool(under & (self.ground | self.platforms))

    def tick(self, body: Body, way: int, jump: bool, press: bool) -> Body:
        x, y, vx, vy, tick, gone, coins, _ = body
        tick += 1
        if press and jump and vy == 0 and self.held(x, y):
            vy = 8
        vx += int(np.sign(4 * way - vx))
        for _ in range(abs(vx)):
            if self.blocked(x + int(np.sign(vx)), y):
                vx = 0
                break
            x += int(np.sign(vx))
        before = y
        if not (vy == 0 and self.held(x, y)):
            landed = False
            for _ in range(abs(vy)):
                if vy > 0 and self.blocked(x, y + 1):
                    vy = 0
                    break
                if vy < 0 and self.held(x, y):
                    landed = True
                    break
                y += int(np.sign(vy))
            vy = 0 if landed else max(vy - (2 if vy > 0 and not jump else 1), -8)
            if y < 0:
                return Body(x, y, vx, vy, tick, gone, coins, FELL)
        cell = ((x + 3) // 10, (y + 4) // 10)
        if cell in self.spikes:
            return Body(x, y, vx, vy, tick, gone, coins, SPIKED)
        coins |= 1 << self.coins[cell] if cell in self.coins else 0
        if cell[0] >= self.course.flag:
            return Body(x, y, vx, vy, tick, gone, coins, FLAG)
        for enemy in self.course.patrols:
            way_long = list(range(enemy.span)) + list(range(enemy.span, 0, -1))
            along = way_long[(enemy.phase + tick * enemy.speed) % len(way_long)]
            ex, ey = (enemy.x, enemy.y + along) if enemy.flies else (enemy.x + along, enemy.y)
            touching = set(range(x, x + 6)) & set(range(ex + 1, ex + 9)) and set(range(y, y + 8)) & set(range(ey, ey + 8))
            if touching and not gone >> enemy.bit & 1:
                if not (enemy.stomped and y < before and before >= ey + 6):
                    return Body(x, y, vx, vy, tick, gone, coins, HIT)
                return Body(x, y, vx, 6, tick, gone | 1 << enemy.bit, coins, PLAYING)
        return Body(x, y, vx, vy, tick, gone, coins, PLAYING)


def test_the_physics_are_those_of_a_slow_one() -> None:
    """Tick by tick over wild play on random courses; and several ticks at once are several ticks."""
    rng, seen, ticks = np.random.default_rng(0), set[int](), 0
    for made in random_courses(12):
        slow = Slow(made)
        for _ in range(25):
            column = int(rng.integers(2, made.width - 8))
            if not made.ground[column] or slow.blocked(column * 10 + 2, made.ground[column] * 10):
                continue
            body = spawned(made, column, int(rng.integers(200)))
            for _ in range(8):
                way, jump, count = int(rng.choice([1, 1, 1, 0, -1])), bool(rng.random() < 0.6), int(rng.integers(1, 21))
                at_once, start = run(made, body, way, jump, count), body
                for number in range(count):
                    expected = slow.tick(body, way, jump, number == 0)
                    body = run(made, body, way, jump, 1, press=number == 0)
                    assert body == expected, (start, way, jump, number)
                    ticks += 1
                    if body.status:
                        break
                assert body == at_once
                if body.status:
                    break
            seen |= {body.status} | ({9} if body.gone else set())
    assert seen >= {PLAYING, FELL, SPIKED, HIT, FLAG, 9} - {FLAG} and ticks > 5_000


def test_a_jump_by_hand() -> None:
    flat = course("." * 40 + "F", "#" * 41)
    start = spawned(flat, 2)
    rises = [run(flat, start, 0, True, ticks).y - 10 for ticks in range(1, 18)]
    assert rises == [8, 15, 21, 26, 30, 33, 35, 36, 36, 35, 33, 30, 26, 21, 15, 8, 0]
    assert max(run(flat, run(flat, start, 0, True, 1), 0, False, ticks).y - 10 for ticks in range(9)) == 24  # let go at once
    fast = run(flat, start, 1, False, 10)
    assert (fast.vx, fast.x - start.x) == (4, 1 + 2 + 3 + 4 * 7)
    assert run(flat, fast, 1, True, 17).x - fast.x == 68
    assert run(flat, run(flat, fast, 1, True, 3), 1, True, 14) == run(flat, fast, 1, True, 17)  # no second jump in the air


def test_walls_platforms_spikes_enemies_and_the_flag() -> None:
    wall = course("......#....F", "############")
    assert run(wall, spawned(wall, 3), 1, False, 20)[:3] == (64, 10, 0)
    thin = course("..=.....", ".......F", "########")
    assert run(thin, spawned(thin, 3), 0, True, 20).y == 30  # up through it, and down onto it
    spikes = course("...^...F", "########")
    assert run(spikes, spawned(spikes, 2), 1, False, 20).status == SPIKED
    enemies = (("walker", 60, 10, 10, 0),)
    beat = course("...........F", "############", enemies=enemies)
    assert run(beat, spawned(beat, 3), 1, False, 20).status == HIT
    above = Body(62, 30, 0, -4, 0, 0, 0, PLAYING)
    down = run(beat, above, 0, False, 3)
    assert (down.gone, down.vy, down.status) == (1, 6, PLAYING)
    hedgehog = course("...........F", "############", enemies=(("hedgehog", 60, 10, 10, 0),))
    assert run(hedgehog, above, 0, False, 3).status == HIT
    assert run(wall, spawned(wall, 9), 1, False, 20).status == FLAG


# --- courses and the expert -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_levels_take_more_decisions(level: int) -> None:
    env, low, high = Platformer(difficulty=level), (8, 13, 25, 45, 100)[level - 1], (16, 35, 60, 100, 190)[level - 1]
    for seed in range(6):
        env.reset(seed=seed)
        reward = 0.0
        while env._playing:
            reward = env.step(env.expert_action())[1]
        assert reward == 1.0 and low <= env.turn <= high and env._left == 3


def test_every_kind_of_section_occurs() -> None:
    """By what only it has: all signs, all enemies; and one tower a course at least."""
    made = [random_course(Draws(np.random.default_rng(seed)), 5) for seed in range(3)]
    assert len(SECTIONS) == 11
    for task in made:
        assert set("".join(task["rows"])) == set(".#=^oCF")
        assert {enemy[0] for enemy in task["enemies"]} == {"walker", "hedgehog", "bat"}
        assert "==" in task["rows"][HEIGHT - 8]  # the higher platform of a tower


def test_going_right_for_ever_never_arrives() -> None:
    """However one jumps meanwhile: a tower asks for turning back."""
    env = Platformer(difficulty=1, lives=9, max_turns=60)
    for seed in range(8):
        for ticks in (3, 8, 14, 20):
            env.reset(seed=seed)
            while env._playing:
                _, reward, *_ = env.step(f"right jump {ticks}, right {ticks}")
                assert reward == 0.0


def test_the_expert_goes_on_from_wherever_wild_play_leaves_it() -> None:
    rng, env = np.random.default_rng(1), Platformer(difficulty=3, lives=9, max_turns=400)
    wins = 0
    for seed in range(8):
        env.reset(seed=seed)
        for _ in range(15):
            if env._playing:
                env.step(f"{rng.choice(['right', 'right jump', 'left jump', 'left'])} {rng.integers(1, 21)}")
        while env._playing:
            assert env.expert_action() == env.expert_action()
            wins += int(env.step(env.expert_action())[1])
    assert wins == 8


def test_the_expert_collects_all_coins_where_they_count() -> None:
    env = Platformer(difficulty=3, coin_reward=0.3, progress_reward=0.5)
    for seed in range(6):
        env.reset(seed=seed)
        sums, coins = dict[str, float](), len(env._view.course.coins)
        while env._playing:
            _, reward, _, _, info = env.step(env.expert_action())
            assert reward == pytest.approx(sum(info["reward_terms"].values()))
            for name, value in info["reward_terms"].items():
                sums[name] = sums.get(name, 0.0) + value
        assert sums == pytest.approx({"progress": 0.5, "solved": 1.0} | ({"coins": 0.3} if coins else {}))


def test_the_planner_waits_where_there_is_no_way() -> None:
    closed = course("..........#...", "..........#...", "..........#...", "..........#..F", "#" * 14)
    body = spawned(closed, 4)
    assert run(closed, body, *Planner(closed, coins=False).next(body)).status == PLAYING


# --- episodes ---------------------------------------------------------------------------------------------------------

SMALL = {
    "rows": ["#............#"] * 9 + ["#.....C...F..#", "###..#########", "###..#########"],
    "enemies": [],
}


def small(**options: object) -> Platformer:
    env = Platformer(**options)  # type: ignore[arg-type]
    env.reset(options={"task": Task("platformer/test", "Go.", "", 1, SMALL)})
    return env


def test_deaths_and_checkpoints() -> None:
    env = small(lives=2, progress_reward=0.4)
    text, reward, terminated, _, info = env.step("right 20")
    assert text.endswith("You fell into a pit. You go on from column 2; lives left: 1.") and not terminated
    assert reward == pytest.approx(0.4 * 2 / 8) and info["reward_terms"] == {"progress": reward}
    text, reward, *_ = env.step("right jump 14")
    assert env._body.column >= 6 and env._checkpoint == 6 and reward == pytest.approx(0.4 * (env._farthest - 4) / 8)
    text, reward, terminated, _, info = env.step("left 20, left 20")
    assert (reward, terminated, info["outcome"]) == (0.0, True, 0.0) and "That was the last life." in text


def test_several_commands_and_what_is_wrong_with_them() -> None:
    env = small()
    before, first = env._body, env.render()
    for reply, words in (
        ("", "1 to 4 commands, got 0"),
        ("right 5, right 5, right 5, right 5, right 5", "1 to 4 commands, got 5"),
        ("right 21", "'right 21' is not a command"),
        ("right 0", "is not a command"),
        ("dance", "'dance' is not a command"),
        ("5", "holds no button"),
        ("<answer>right 5", "not closed"),
    ):
        text, reward, _, _, info = env.step(reply)
        assert words in text and reward == 0.0 and not info["valid_action"] and env._body == before
    assert env.render() == first
    env.step("Right 2; then JUMP right for 3 ticks\nwait")
    assert env._body.tick == 2 + 3 + 10
    assert read_commands("<answer>jump + left 7, r4, l j 3</answer>", 4) == [
        Command(-1, True, 7),
        Command(1, False, 4),
        Command(-1, True, 3),
    ]
    for command in (Command(1, True, 3), Command(0, False, 4), Command(0, True, 20), Command(-1, False, 1)):
        assert read_commands(command_text(command), 1) == [command]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lives": 0},
        {"commands_per_turn": 99},
        {"progress_reward": 1.5},
        {"coin_reward": -0.1},
        {"coin_reward": 0.6, "progress_reward": 0.6},
        {"text_view": False},
    ],
)
def test_wrong_settings_are_named(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Platformer(**wrong)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"rows": ["###"] * 12, "enemies": []},
        {**SMALL, "rows": SMALL["rows"][1:]},
        {**SMALL, "rows": [row.replace("F", "x") for row in SMALL["rows"]]},
        {**SMALL, "rows": [row.replace("F", ".") for row in SMALL["rows"]]},
        {**SMALL, "enemies": [["ghost", 1, 1, 1, 0]]},
        {**SMALL, "enemies": [["walker", 1, 1, 0, 0]]},
        {**SMALL, "enemies": [["bat", 10**6, 1, 5, 0]]},
    ],
)
def test_foreign_tasks_are_refused(metadata: dict) -> None:
    with pytest.raises(ConfigError, match="Platformer: task 'platformer/x'"):
        Platformer().reset(options={"task": Task("platformer/x", "p", "", 1, metadata)})


# --- views ------------------------------------------------------------------------------------------------------------


def test_the_first_view_by_hand() -> None:
    env = small(instructions=False)
    lines = env.render().split("\n")  # type: ignore[union-attr]
    assert lines[0] == "   0    5    10   15   20" and lines[-5] == " 2 #.@...C...F..#" + " " * 8
    assert lines[-4].startswith(" 1 ###..#########")
    assert lines[-2:] == [
        "You: x 2.5, feet at height 2.0, standing, speed 0.0 along, 0.0 up. Tick 0. Flag at column 10.",
        "Ahead, 0.2 away: pit, columns 3 to 4, its far side at height 2; checkpoint, column 6; flag, column 10.",
    ]


def _pixels(picture: np.ndarray, column: int, row: int) -> set[tuple[int, int, int]]:
    """The colours of a cell of the window."""
    side, top = 10 * SCALE, (HEIGHT - 1 - row) * 10 * SCALE
    return {tuple(int(v) for v in p) for p in picture[top : top + side, column * side : (column + 1) * side].reshape(-1, 3)}


def test_the_picture_shows_what_the_text_says() -> None:
    """Every sign of the map by colours that only its drawing has, and the player's exact place by the pixels of the trousers."""
    marks = {"#": (158, 108, 66), "=": (196, 144, 84), "^": (176, 184, 196), "o": (214, 150, 34), "C": (70, 190, 220)}
    marks |= {"F": (214, 54, 48), "w": (150, 78, 160), "h": (108, 84, 70), "v": (70, 62, 104)}
    seen, env = set[str](), Platformer(difficulty=4, image=True, coin_reward=0.1, lives=1)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        while env._playing:
            observation, *_ = env.step(env.expert_action())
            if env._playing and env.turn % 6:
                continue
            text, picture = observation["text"], observation["image"]
            assert observation in env.observation_space and picture.shape == FRAME
            rows = [line[3 : 3 + COLUMNS] for line in text.split("\n")[1 : HEIGHT + 1]][::-1]
            for row, line in enumerate(rows[:-1]):  # hearts are drawn on the top row
                for column, sign in enumerate(line):
                    if sign in marks:
                        assert marks[sign] in _pixels(picture, column, row), (sign, column, row)
                        seen.add(sign)
            blue = np.argwhere((picture == (44, 84, 188)).all(2))
            place = re.search(r"You: x ([\d.]+), feet at height ([\d.]+)", text)
            assert place
            first = int(text.split("\n")[0].split()[0]) - (len(text) - len(text.lstrip()) - 3 if text[3] == " " else 0)
            assert blue[:, 1].min() / SCALE == pytest.approx(10 * float(place[1]) - 3 - 10 * first)
            assert (FRAME[0] - 1 - blue[:, 0].max()) / SCALE == pytest.approx(10 * float(place[2]) + 1, abs=0.6)
    assert seen == set(marks)


def test_views_change_nothing_and_forks_share_the_course() -> None:
    env = Platformer(difficulty=2, render_mode="rgb_array")
    env.reset(seed=4)
    picture = env.render()
    assert picture.shape == FRAME and (env.render() == picture).all()  # type: ignore[union-attr]
    twin = env.fork()
    assert twin._view is env._view and twin._body is not None
    twin.step("right 5")
    assert env._body.tick == 0 and twin._body.tick == 5


def test_a_picture_alone() -> None:
    env = Platformer(image=True, text_view=False, instructions=False)
    observation, _ = env.reset(seed=0)
    assert observation["text"].startswith("The flag is at column") and env.step("right 5")[0]["text"] == "Lives: 3."


def test_standing_and_windows_at_both_ends() -> None:
    made = random_courses(1)[0]
    view = View(made)
    assert view.window(spawned(made, 2)).first == 0
    assert view.window(spawned(made, made.flag)).first == made.width - COLUMNS
    assert stands(made, spawned(made, 2)) and not stands(made, spawned(made, 2)._replace(y=55))
