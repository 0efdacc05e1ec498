"""Puzzles' answers by other people's scorers: reasoning-gym says right where we do, and wrong where we do."""

from itertools import permutations, product

import gymnasium
import reasoning_gym

from turnwise.envs.core import TurnEnv


def test_countdown() -> None:
    """All expressions of three numbers: each is right by both or wrong by both."""
    theirs = reasoning_gym.create_dataset("countdown", size=1, seed=0)
    env = gymnasium.make("turnwise/Countdown-v0", difficulty=1).unwrapped
    assert isinstance(env, TurnEnv)
    right = 0
    for seed in range(8):
        env.reset(seed=seed)
        task = env.task
        entry = {"metadata": {"numbers": task.metadata["numbers"], "target": task.metadata["target"]}}
        for (x, y, z), p, q in product(permutations(task.metadata["numbers"]), "+-*/", "+-*/"):
            for form in (f"({x} {p} {y}) {q} {z}", f"{z} {q} ({x} {p} {y})"):
                env.reset(options={"task": task})
                reward = env.step(f"<answer>{form}</answer>")[1]
                assert (reward == 1.0) == (theirs.score_answer(form, entry) == 1.0), f"{form} = {task.metadata['target']}"
                right += reward == 1.0
    assert right >= 8
