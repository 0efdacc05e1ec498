"""The rules against a plain second implementation, the solver against a plain breadth-first search."""

from collections import deque

import numpy as np
import pytest

from turnwise.envs.puzzles.sokoban import Sokoban
from turnwise.envs.puzzles.sokoban_levels import LENGTHS, difficulty_of, random_level
from turnwise.envs.puzzles.sokoban_rules import board_of, level_id, move, read_moves, rows_of, steps_of, text_of
from turnwise.envs.puzzles.sokoban_solver import PullTable, search, solve
from turnwise.errors import ConfigError

DELTAS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


class Reference:
    """Sokoban as gym-sokoban plays it (actions 1 to 4), written a second time on sets of (row, column)."""

    def __init__(self, rows):
        where = [(r, c, s) for r, row in enumerate(rows) for c, s in enumerate(row)]
        self.shape = len(rows), len(rows[0])
        self.walls = {(r, c) for r, c, s in where if s == "#"}
        self.goals = {(r, c) for r, c, s in where if s in ".*+"}
        self.boxes = {(r, c) for r, c, s in where if s in "$*"}
        (self.man,) = [(r, c) for r, c, s in where if s in "@+"]

    def play(self, word):
        (r, c), (dr, dc) = self.man, DELTAS[word]
        to, beyond = (r + dr, c + dc), (r + 2 * dr, c + 2 * dc)
        if to in self.boxes and beyond not in self.boxes and beyond not in self.walls:
            self.boxes = self.boxes - {to} | {beyond}
            self.man = to
        elif to not in self.boxes and to not in self.walls:
            self.man = to

    @property
    def solved(self):
        return self.boxes == self.goals

    def rows(self):
        def symbol(cell):
            if cell in self.walls:
                return "#"
            kind = "box" if cell in self.boxes else "man" if cell == self.man else "floor"
            return {"box": "$*", "man": "@+", "floor": "_."}[kind][cell in self.goals]

        height, width = self.shape
        return tuple("".join(symbol((r, c)) for c in range(width)) for r in range(height))


def plain_length(rows):
    """Moves of a shortest solution by breadth-first search over the reference; None if there is none."""
    start = Reference(rows)
    queue, seen = deque([(start.man, frozenset(start.boxes), 0)]), {(start.man, frozenset(start.boxes))}
    while queue:
        man, boxes, length = queue.popleft()
        if boxes == start.goals:
            return length
        for word in DELTAS:
            game = Reference(rows)
            game.man, game.boxes = man, set(boxes)
            game.play(word)
            state = (game.man, frozenset(game.boxes))
            if state not in seen:
                seen.add(state)
                queue.append((*state, length + 1))
    return None


@pytest.mark.parametrize(("size", "boxes"), [(6, 2), (8, 4), (10, 3)])
def test_play_equals_the_reference_step_by_step(size, boxes):
    rng = np.random.default_rng(0)
    pushes = 0
    for seed in range(20):
        env = Sokoban(size=size, boxes=boxes, difficulty=5, max_turns=10**6, instructions=False)
        board, _ = env.reset(seed=seed)
        rows = tuple(board.replace(" ", "").split("\n"))
        game = Reference(rows)
        for word in rng.choice(list(DELTAS), 150):
            before = game.boxes
            game.play(word)
            pushes += game.boxes != before
            board, reward, terminated, truncated, info = env.step(str(word))
            assert tuple(board.replace(" ", "").split("\n")[:size]) == game.rows()
            assert terminated == game.solved == (reward == 1.0) == (info["outcome"] == 1.0)
            assert not truncated
            if terminated:
                break
    assert pushes > 30


def test_worked_moves():
    text = bytearray(text_of(["#######", "#@$_.*#", "#######"]), "ascii")
    man = text.index(b"@")
    expected = ["#_@$.*#", "#__@**#", "#__@**#", "#_@_**#"]
    for step, row in zip([2, 2, 2, -2], expected, strict=True):  # push, push onto the goal, blocked by two boxes, back
        man = move(text, man, step)
        assert text.decode().split("\n")[1].replace(" ", "") == row
    on_goal = bytearray(text_of(["####", "#+$#", "####"]), "ascii")
    assert move(on_goal, on_goal.index(b"+"), 2) == on_goal.index(b"+")  # a box against a wall stays


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4])
def test_lengths_are_optimal(difficulty):
    low, high = LENGTHS[difficulty]
    rng = np.random.default_rng(difficulty)
    for size, boxes in [(6, 1), (6, 2), (6, 2), (7, 2), (6, 3)]:
        _, rows, lurd, length = random_level(rng, size, boxes, LENGTHS[difficulty], None)
        assert plain_length(rows) == length == len(lurd)
        assert low <= length <= high
        game = Reference(rows)
        for letter in lurd:
            before = game.boxes
            game.play({"u": "up", "d": "down", "l": "left", "r": "right"}[letter.lower()])
            assert letter.isupper() == (game.boxes != before)
        assert game.solved


def test_the_forward_search_finds_the_same_lengths():
    rng = np.random.default_rng(1)
    for difficulty in range(1, 6):
        for size, boxes in [(6, 2), (8, 3), (8, 4)]:
            _, rows, _, length = random_level(rng, size, boxes, LENGTHS[difficulty], None)
            lurd, finished = search(board_of(rows), 100_000)
            assert finished
            assert lurd is not None and len(lurd) == length
            env = Sokoban(instructions=False, max_turns=1)
            env.reset(seed=0)
            game = Reference(rows)
            for letter in lurd:
                game.play({"u": "up", "d": "down", "l": "left", "r": "right"}[letter.lower()])
            assert game.solved


def test_unsolvable_positions_are_known():
    corner = board_of(["######", "#$_@.#", "#____#", "######"])
    assert plain_length(rows_of(corner)) is None
    assert solve(corner) is None
    assert search(corner, 10_000) == (None, True)


def test_a_truncated_table_is_right_as_far_as_it_goes():
    board = board_of(["#######", "#.__._#", "#_____#", "#_$$_@#", "#_____#", "#######"])
    whole = PullTable(board.width, board.floor, board.goals)
    part = PullTable(board.width, board.floor, board.goals, limit=200)
    assert whole.complete and not part.complete
    assert part.layers == whole.layers[: len(part.layers)]


def test_masks_and_rows_are_inverse():
    for seed in range(20):
        _, rows, _, _ = random_level(np.random.default_rng(seed), 8, 4, LENGTHS[3], None)
        assert rows_of(board_of(rows)) == rows
    assert steps_of(7) == (-7, 7, -1, 1)


def test_every_length_has_one_difficulty():
    assert [difficulty_of(n) for n in (1, 4, 7, 8, 10, 11, 13, 14, 17, 18, 500)] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert len(LENGTHS) >= 5


def images(rows):
    for grid in (rows, ["".join(column) for column in zip(*rows, strict=True)]):
        for flipped in (list(grid), list(grid)[::-1]):
            yield flipped
            yield [row[::-1] for row in flipped]


def test_twins_share_an_id_and_others_do_not():
    names = set()
    for seed in range(200):
        name, rows, _, _ = random_level(np.random.default_rng(seed), 7, 2, LENGTHS[3], None)
        assert {level_id(image) for image in images(rows)} == {name}
        thick = ["#" * (len(rows[0]) + 3), *("##" + row + "#" for row in rows)]
        assert level_id(thick) == name
        names.add(name)
    assert len(names) == 200


@pytest.mark.parametrize(
    ("reply", "moves"),
    [
        ("up", [0]),
        ("UP down\nLeft,right", [0, 1, 2, 3]),
        ("<answer>right || up||up</answer>", [3, 0, 0]),
        ("I think <answer>left</answer>, no: <answer>right</answer>", [3]),
        ("rrUl d", [3, 3, 0, 2, 1]),
        ("  up ,  ", [0]),
        ("u" * 100, [0] * 100),
    ],
)
def test_replies_that_are_moves(reply, moves):
    assert read_moves(reply) == moves


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("", "no move"),
        ("<answer></answer>", "no move"),
        ("||", "no move"),
        ("<answer>up", "not closed"),
        ("go up", "'go'"),
        ("up | down", "'|'"),
        ("up.", "'up.'"),
        ("u" * 101, "at most 100"),
        ("up " * 101, "at most 100"),
        ("\x00\x1b[2J", "'\\x00"),
        ("вверх", "'вверх'"),
        ("x" * 90_000, "is not a move"),
    ],
)
def test_replies_that_are_not(reply, word):
    said = read_moves(reply)
    assert isinstance(said, str)
    assert word in said
    assert len(said) < 250


def test_no_level_of_that_length_is_an_error_with_the_mend():
    with pytest.raises(ConfigError, match="lower difficulty"):
        random_level(np.random.default_rng(0), 6, 4, LENGTHS[1], "nowhere")  # pyright: ignore[reportArgumentType]
