"""turnwise/Game2048-v0: the rules against an independent reference, the spawns, the expert, the ends of a game."""

from collections import Counter

import numpy as np
import pytest

from turnwise.envs.puzzles.game_2048 import LEVELS, PATIENCE, Game2048, _luck
from turnwise.envs.puzzles.game_2048_rules import DIRECTIONS, Board, slid, slid_row, stuck, with_new_tile
from turnwise.envs.puzzles.game_2048_solver import way_to
from turnwise.errors import ConfigError
from turnwise.types import Task

TASK = Task("game_2048/x", "Reach 64.", "", 1, {"rows": 3, "columns": 3, "target": 64, "seed": 7, "turns": 80})
STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


def reference(board: Board, direction: str) -> Board:
    """As the original game does it: each tile, those farthest in the direction first, walks until it meets a wall or a tile; it
    merges with an equal one that did not come of a merge in this push."""
    rows, columns, (down, right) = len(board), len(board[0]), STEPS[direction]
    cells = {(r, c): tile for r, row in enumerate(board) for c, tile in enumerate(row) if tile}
    merged = set[tuple[int, int]]()
    for start in sorted(cells, key=lambda at: -(at[0] * down + at[1] * right)):
        tile, (r, c) = cells.pop(start), start
        while 0 <= r + down < rows and 0 <= c + right < columns and (r + down, c + right) not in cells:
            r, c = r + down, c + right
        ahead = (r + down, c + right)
        if cells.get(ahead) == tile and ahead not in merged:
            cells[ahead] = 2 * tile
            merged.add(ahead)
        else:
            cells[r, c] = tile
    return tuple(tuple(cells.get((r, c), 0) for c in range(columns)) for r in range(rows))


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ((2, 2, 2, 2), (4, 4, 0, 0)),
        ((2, 2, 4, 0), (4, 4, 0, 0)),
        ((4, 2, 2, 0), (4, 4, 0, 0)),
        ((2, 2, 2, 0), (4, 2, 0, 0)),
        ((2, 0, 0, 2), (4, 0, 0, 0)),
        ((4, 4, 8, 16), (8, 8, 16, 0)),
        ((2, 4, 2, 4), (2, 4, 2, 4)),
        ((0, 0, 0, 0), (0, 0, 0, 0)),
        ((0, 8, 0, 8, 8), (16, 8, 0, 0, 0)),
    ],
)
def test_rows_by_hand(row: tuple[int, ...], left: tuple[int, ...]) -> None:
    assert slid_row(row) == left


@pytest.mark.parametrize(("rows", "columns"), [(2, 4), (3, 3), (3, 4), (4, 4), (5, 5)])
def test_pushes_are_those_of_the_reference(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows * columns)
    for _ in range(400):
        cells = rng.choice([0, 0, 2, 2, 4, 8], (rows, columns)).tolist()
        board = tuple(map(tuple, cells))
        pushed = {direction: slid(board, direction) for direction in DIRECTIONS}
        assert pushed == {direction: reference(board, direction) for direction in DIRECTIONS}
        assert stuck(board) == all(after == board for after in pushed.values())
        assert {sum(map(sum, after)) for after in pushed.values()} == {sum(map(sum, board))}


def test_a_stuck_board() -> None:
    assert stuck(((2, 4, 2), (4, 2, 4), (2, 4, 2)))
    assert not stuck(((2, 4, 2), (4, 2, 4), (2, 4, 4)))
    assert not stuck(((2, 4, 2), (4, 2, 4), (2, 4, 0)))


def test_new_tiles_are_as_likely_as_they_should_be() -> None:
    """Of equally spaced luck every empty cell gets a tenth, nine of ten times a 2, exactly."""
    board = ((2, 0, 4), (0, 8, 2), (4, 2, 0))
    found = Counter(with_new_tile(board, (i + 0.5) / 3000) for i in range(3000))
    expected = Counter[Board]()
    for r, c in ((0, 1), (1, 0), (2, 2)):
        for tile, times in ((2, 900), (4, 100)):
            rows = [list(row) for row in board]
            rows[r][c] = tile
            expected[tuple(map(tuple, rows))] = times
    assert found == expected
    assert with_new_tile(((0, 2), (4, 2)), 0.0) == ((2, 2), (4, 2)) and with_new_tile(((0, 2), (4, 2)), 1 - 2**-53) == (
        (4, 2),
        (4, 2),
    )


def test_luck_is_uniform_and_the_tasks_own() -> None:
    numbers = np.array([_luck(seed, index) for seed in range(40) for index in range(300)])
    assert len(np.unique(numbers)) == len(numbers)
    assert abs(numbers.mean() - 0.5) < 0.01 and abs(numbers.std() - 12**-0.5) < 0.01


def test_an_episode_is_the_rules_and_the_luck() -> None:
    env = Game2048()
    first, _ = env.reset(options={"task": TASK})
    board: Board = with_new_tile(with_new_tile(((0,) * 3,) * 3, _luck(7, 0)), _luck(7, 1))
    assert "make a tile of 64" in first and env._board == board
    drawn, rng = 2, np.random.default_rng(0)
    for _ in range(30):
        direction = DIRECTIONS[int(rng.integers(4))]
        after = reference(board, direction)
        observation, reward, terminated, _, info = env.step(f"I push <answer>{direction.upper()}</answer>")
        if after == board:
            assert observation.endswith(f"\nNothing moves {direction}.") and info["valid_action"] and reward == 0.0
        else:
            board, drawn = with_new_tile(after, _luck(7, drawn)), drawn + 1
        assert env._board == board and terminated == stuck(board)
        if terminated:
            break
    assert (
        drawn > 15 and env.render() == env.board() and env.board().split() == [str(tile or ".") for row in board for tile in row]
    )


def test_replies_that_move_nothing() -> None:
    env = Game2048(difficulty=3)
    env.reset(seed=0)
    for _ in range(4):
        observation, _, terminated, _, info = env.step("north")
        assert observation.endswith("\nWrite one of up, down, left, right.") and not info["valid_action"] and not terminated
    assert not env.step("up down")[4]["valid_action"]
    env.step(env.expert_action())
    for _ in range(PATIENCE - 1):
        assert not env.step("")[2]
    observation, reward, terminated, truncated, info = env.step("")
    assert observation.endswith("The game is over: 10 replies in a row moved nothing.")
    assert (reward, terminated, truncated, info["outcome"]) == (0.0, True, False, 0.0)


def test_a_lost_game() -> None:
    env = Game2048()
    env.reset(options={"task": TASK})
    env._board = ((2, 4, 8), (16, 32, 2), (0, 8, 4))
    observation, reward, terminated, _, info = env.step("left")
    assert observation.endswith("No push moves anything: the game is lost.") == stuck(env._board) == terminated
    assert (reward, info["outcome"]) == (0.0, 0.0)


def test_the_push_that_makes_the_target_wins() -> None:
    env = Game2048()
    env.reset(options={"task": TASK})
    env._board = ((32, 32, 8), (16, 4, 2), (0, 8, 4))
    assert env.expert_action() in ("<answer>left</answer>", "<answer>right</answer>")
    observation, reward, terminated, _, info = env.step("right")
    assert observation.endswith("64 is reached.") and (reward, terminated, info["outcome"]) == (1.0, True, 1.0)


def test_several_moves_a_reply() -> None:
    one, many = Game2048(), Game2048(moves=4)
    for env in (one, many):
        env.reset(options={"task": TASK})
    for direction in ("left", "down", "left", "up"):
        one.step(direction)
    many.step("<answer>left, down left up</answer>")
    assert one._board == many._board and many.turn == 1
    assert not many.step("up up up up up")[4]["valid_action"]


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_needs_no_replanning_and_copes_with_it(level: int) -> None:
    env = Game2048(difficulty=level)
    env.reset(seed=1, options={"split": "test"})
    drawn = env._pushes + 2
    way = way_to(env._wanted, env._board, lambda i: _luck(env._seed, drawn + i))
    assert len(way) <= LEVELS[level][3] / 1.5
    rng, turn = np.random.default_rng(0), 0
    while env._playing:  # now and then somebody else pushes
        turn += 1
        action = DIRECTIONS[int(rng.integers(4))] if turn % 20 == 0 else env.expert_action()
        reward = env.step(action)[1]
    assert reward == 1.0


def test_the_expert_finds_the_longest_way_where_there_is_no_other() -> None:
    assert len(way_to(256, ((2, 2, 8), (16, 32, 64), (4, 8, 128)), lambda i: 0.0)) == 1
    assert way_to(256, ((2, 4, 8), (16, 32, 64), (4, 8, 128)), lambda i: 0.0) == []


@pytest.mark.parametrize("cycle", ["left down right down", "left down left down left down right", "left up right down"])
def test_nobody_wins_who_does_not_look(cycle: str) -> None:
    won, games, directions = 0.0, 0, cycle.split()
    for level in list(LEVELS)[:4]:
        env = Game2048(difficulty=level)
        for seed in range(25):
            env.reset(seed=seed, options={"split": "test"})
            games += 1
            while env._playing:
                won += env.step(directions[env.turn % len(directions)])[1]
    assert won / (games * 5 / 4) <= 0.05


def test_a_board_of_ones_own() -> None:
    env = Game2048(rows=4, columns=5, target=128)
    first, _ = env.reset(seed=0, options={"difficulty": 1})
    assert "make a tile of 128" in first and (len(env._board), len(env._board[0])) == (4, 5) and env.turn_limit(env.task) == 128
    board = {"rows": 4, "columns": 4, "target": 128}
    for wrong in (
        {"rows": None},
        {"target": None},
        {"target": 100},
        {"target": 4096},
        {"columns": 2, "target": 128},
        {"rows": 6},
    ):
        with pytest.raises(ConfigError, match="must be given together"):
            Game2048(**{**board, **wrong})
    with pytest.raises(ConfigError, match="moves must be from 1 to 100"):
        Game2048(moves=0)


@pytest.mark.parametrize(
    "wrong", [{"rows": 2}, {"target": 100}, {"target": 1024}, {"seed": -1}, {"seed": "7"}, {"turns": 0}, {"columns": []}]
)
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="Game2048: task"):
        Game2048().reset(options={"task": Task("game_2048/y", "p", "", 1, {**TASK.metadata, **wrong})})


def test_the_picture() -> None:
    env = Game2048(render_mode="rgb_array", difficulty=4)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (3 * 32, 4 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
