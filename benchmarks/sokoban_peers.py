"""The measured part of the Sokoban benchmark; runs in the interpreter that has the engine. Started by sokoban.py.

python benchmarks/sokoban_peers.py ENGINE MEASURE SEED      ->  one JSON line {"count": ..., "cpu_s": ...}
ENGINE   turnwise, gym-sokoban (0.0.6), gem (gem-llm)
MEASURE  steps, or levels-SIZE-BOXES (turnwise: also levels-SIZE-BOXES-again, the same seeds twice), or rules (gym-sokoban)
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")
MOVES = ("up", "down", "left", "right")
STEPS = {"turnwise": 200_000, "gym-sokoban": 300, "gem": 10_000}
LEVELS = {("turnwise", 6): 1000, ("turnwise", 7): 1000, ("turnwise", 8): 200, ("gym-sokoban", 6): 30, ("gem", 6): 30}
LEVELS_AT_LEAST = 2


def turnwise_steps(seed: int) -> tuple[int, float]:
    """`Sokoban.step` with one move, observations built; resets are counted as time but not as steps."""
    from turnwise.envs.puzzles.sokoban import Sokoban  # noqa: PLC0415

    env = Sokoban(size=6, boxes=2)
    env.reset(seed=seed)
    task = {"task": env.task}
    count, play = STEPS["turnwise"], [MOVES[(seed + i * i + i // 7) % 4] for i in range(1000)]
    start = time.process_time()
    for i in range(count):
        _, _, terminated, truncated, _ = env.step(play[i % 1000])
        if terminated or truncated:
            env.reset(options=task)
    return count, time.process_time() - start


def turnwise_levels(size: int, boxes: int, seed: int, again: bool) -> tuple[int, float]:
    """`Sokoban.reset` with a new seed each time, difficulty 1 to 5 in turn, in a process that made no level before."""
    from turnwise.envs.puzzles.sokoban import Sokoban  # noqa: PLC0415

    env, count = Sokoban(size=size, boxes=boxes), LEVELS["turnwise", size]
    elapsed = 0.0
    for _ in range(1 + again):
        start = time.process_time()
        for i in range(count):
            env.reset(seed=seed * 1_000_000 + i, options={"difficulty": i % 5 + 1})
        elapsed = time.process_time() - start
    return count, elapsed


def gym_steps(seed: int) -> tuple[int, float]:
    from gym_sokoban.envs.sokoban_env import SokobanEnv  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    env = SokobanEnv(dim_room=(6, 6), num_boxes=2, max_steps=10**9)
    start = time.process_time()
    for i in range(STEPS["gym-sokoban"]):
        env.step(1 + (seed + i * i + i // 7) % 4)
    return STEPS["gym-sokoban"], time.process_time() - start


def gym_levels(size: int, boxes: int, seed: int) -> tuple[int, float]:
    import numpy as np  # noqa: PLC0415
    from gym_sokoban.envs.room_utils import generate_room  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    np.random.seed(seed)
    return _timed("gym-sokoban", size, lambda _: generate_room((size, size), num_steps=int(3.4 * size), num_boxes=boxes))


def gem_steps(seed: int) -> tuple[int, float]:
    from gem.envs.game_env.sokoban import SokobanEnv  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    env = SokobanEnv(dim_room=(6, 6), num_boxes=2, max_turns=10**9)
    env.reset(seed)
    start = time.process_time()
    for i in range(STEPS["gem"]):
        env.step(f"\\boxed{{{MOVES[(seed + i * i + i // 7) % 4]}}}")
    return STEPS["gem"], time.process_time() - start


def gem_levels(size: int, boxes: int, seed: int) -> tuple[int, float]:
    from gem.envs.game_env.sokoban import SokobanEnv  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    env = SokobanEnv(dim_room=(size, size), num_boxes=boxes, max_turns=50)
    return _timed("gem", size, lambda i: env.reset(seed * 1000 + i))


def _timed(engine, size, make, most_s: float = 20.0) -> tuple[int, float]:
    """Levels made and their CPU time; failures of the generator count as time and not as levels; stops after most_s."""
    made, start = 0, time.process_time()
    for i in range(LEVELS.get((engine, size), LEVELS_AT_LEAST)):
        try:
            make(i)
            made += 1
        except (RuntimeError, RuntimeWarning):
            continue
        if time.process_time() - start > most_s:
            break
    return made, time.process_time() - start


def gym_rules(_: int) -> tuple[int, float]:
    """Plays levels and moves from standard input; prints each position for sokoban.py to compare."""
    import numpy as np  # noqa: PLC0415
    from gym_sokoban.envs.sokoban_env import SokobanEnv  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    fixed_and_state = {"#": (0, 0), "_": (1, 1), ".": (2, 2), "$": (1, 4), "*": (2, 3), "@": (1, 5), "+": (2, 5)}
    symbol = {pair: s for s, pair in fixed_and_state.items()}
    for line in sys.stdin:
        rows, moves = json.loads(line)
        cells = np.array([[fixed_and_state[c] for c in row] for row in rows])
        env = SokobanEnv(dim_room=cells.shape[:2], num_boxes=int((cells[..., 0] == 2).sum()), max_steps=10**9, reset=False)
        env.render = lambda *_args, **_kwargs: None
        env.room_fixed, env.room_state = cells[..., 0].copy(), cells[..., 1].copy()
        env.player_position = np.argwhere(env.room_state == 5)[0]
        env.num_env_steps = env.reward_last = 0
        seen = []
        for letter in moves:
            _, _, done, _ = env.step(1 + "udlr".index(letter))
            board = [
                "".join(map(symbol.__getitem__, zip(f, s, strict=True)))
                for f, s in zip(env.room_fixed.tolist(), env.room_state.tolist(), strict=True)
            ]
            seen.append([board, bool(done)])
            if done:
                break
        print(json.dumps(seen))
    return 0, 0.0


def main(engine: str, measure: str, seed: int) -> None:
    kind, *numbers = measure.split("-")
    if kind == "rules":
        gym_rules(seed)
        return
    if kind == "steps":
        count, cpu = {"turnwise": turnwise_steps, "gym-sokoban": gym_steps, "gem": gem_steps}[engine](seed)
    elif engine == "turnwise":
        count, cpu = turnwise_levels(int(numbers[0]), int(numbers[1]), seed, again=len(numbers) == 3)
    else:
        count, cpu = {"gym-sokoban": gym_levels, "gem": gem_levels}[engine](int(numbers[0]), int(numbers[1]), seed)
    print(json.dumps({"count": count, "cpu_s": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
