"""turnwise/NP-*-v0: proposals as text, verdicts, rewards, the expert and the rules of thumb, over all ten problems."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.envs.draws import Draws
from turnwise.envs.np.job_shop import JobShop
from turnwise.envs.np.proposals import MAX_NUMBERS, read_proposal, written
from turnwise.envs.np.propose import ProposeAndImprove
from turnwise.envs.np.tsp import TSP
from turnwise.envs.registration import BUILT_IN
from turnwise.errors import ConfigError
from turnwise.types import Task

IDS = [env_id for env_id in BUILT_IN if env_id.startswith("turnwise/NP-")]
SQUARE = Task("tsp/test", "Find.", "1 3 2 4", 1, {"cities": [[0, 0], [5, 5], [0, 5], [5, 0]], "beat": 30})
"""Round the square it is 20; 1 2 3 4 crosses it twice and is 30."""


def made(env_id: str, **options: Any) -> ProposeAndImprove[Any]:
    env = gymnasium.make(env_id, **options).unwrapped
    assert isinstance(env, ProposeAndImprove)
    return env


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(0, 2**32))
def test_many_draws_at_once_are_those_of_one_after_the_other(counts: list[int], seed: int) -> None:
    many, single = Draws(np.random.default_rng(seed)), Draws(np.random.default_rng(seed))
    for count in counts:
        assert many.uniforms(count) == [single.uniform() for _ in range(count)]
    assert many.uniform() == single.uniform()


def test_there_are_ten() -> None:
    assert len(IDS) == 10


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        ("1 2 3", ((1, 2, 3),)),
        ("1, 2,3", ((1, 2, 3),)),
        ("[1, 2, 3]", ((1, 2, 3),)),
        ("1 -> 2 -> 3", ((1, 2, 3),)),
        ("1 -2 3", ((1, -2, 3),)),
        ("1 4; 2 3", ((1, 4), (2, 3))),
        ("[[1, 4], [2, 3]]", ((1, 4), (2, 3))),
        ("{1, 4}\n{2, 3};", ((1, 4), (2, 3))),
        (" 007 ", ((7,),)),
    ],
)
def test_lists_are_read_however_they_are_written(text: str, lists: tuple[tuple[int, ...], ...]) -> None:
    assert read_proposal(text) == lists
    assert read_proposal(written(lists)) == lists


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.sampled_from("0123456789-; ,[]|{}\n\r\t\x1c\u2003\u0663x.>"), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    proposal = read_proposal(text)
    words = text.replace("->", " ").translate(str.maketrans("[](){}|;,", " " * 9)).split()
    if all(re.fullmatch("-?[0-9]{1,4}", word, re.ASCII) for word in words) and words:
        assert not isinstance(proposal, str) and [x for xs in proposal for x in xs] == [int(word) for word in words]
    else:
        assert isinstance(proposal, str)


NO_PROPOSALS = (
    *(
        "",
        " ",
        ";",
        "[]",
        "one",
        "1.5",
        "1e3",
        "nan",
        "NaN 1",
        "inf",
        "-inf",
        "True",
        "true 2",
        "None",
        "null",
        "+1",
        "--1",
        "1-2",
    ),
    *(
        "0x1",
        "1_0",
        "٣",
        "１",
        "²",
        "99999",
        "9" * 5000,
        "-" * 100,
        "1" + " 1" * MAX_NUMBERS,
        "[" * 50_000,
        "\x00",
        "\ud800",
        "a: 1",
    ),
    *("__import__('os').getcwd()", "[i for i in range(9)]", "range(9)", '{"tour": [1, 2]}', "1/2", "2**3", "\\boxed{1}"),
)


@pytest.mark.parametrize("text", NO_PROPOSALS, ids=lambda text: repr(text[:20]))
def test_what_is_no_list_of_whole_numbers_is_refused(text: str) -> None:
    assert isinstance(read_proposal(text), str)
    env = TSP()
    env.reset(options={"task": SQUARE})
    observation, reward, terminated, _, info = env.step(f"<answer>{text}</answer>")
    assert (reward, terminated, info["outcome"], info["valid_action"]) == (0.0, False, 0.0, False)
    assert observation.endswith("Best so far: none. To beat: length 30.") and len(observation) < 400


def test_an_episode() -> None:
    env = TSP()
    first, _ = env.reset(options={"task": SQUARE})
    assert first.endswith("City: (x, y)\n1: (0, 0)\n2: (5, 5)\n3: (0, 5)\n4: (5, 0)\nTo beat: length 30.")
    assert env.step("<answer>1 2 3</answer>")[0] == ("Not feasible: missing: city 4.\nBest so far: none. To beat: length 30.")
    observation, reward, *_ = env.step("<answer>1 2 3 4</answer>")
    assert (observation, reward) == ("Feasible: length 30.\nBest so far: length 30. To beat: length 30.", 0.0)
    observation, reward, terminated, _, info = env.step("I go round: <answer>2 3 1 4</answer>")
    assert (observation, reward, terminated) == ("Feasible: length 20.\nSolved.", 1.0, True)
    assert info == {"outcome": 1.0, "reward_terms": {"progress": 0.5, "solved": 0.5}, "valid_action": True, "role": "user"}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("1 2 3 3", "city 3 is listed 2 times."),
        ("1 2 3 4 1", "city 1 is listed 2 times."),
        ("0 1 2 3", "there is no city 0; they are 1 to 4."),
        ("-1 2 3 4", "there is no city -1; they are 1 to 4."),
        ("1 2 3 9999", "there is no city 9999; they are 1 to 4."),
        ("1", "missing: city 2, 3, 4."),
    ],
)
def test_broken_constraints_are_told_and_earn_nothing(reply: str, says: str) -> None:
    env = TSP()
    env.reset(options={"task": SQUARE})
    observation, reward, terminated, _, info = env.step(reply)
    assert observation == f"Not feasible: {says}\nBest so far: none. To beat: length 30."
    assert (reward, terminated, info["outcome"], info["valid_action"]) == (0.0, False, 0.0, True)


def test_progress_is_paid_once_and_the_best_proposal_counts() -> None:
    """A line of five cities: 8 there and back; 12 is to be beaten, so 10 is half of the quality."""
    task = Task("tsp/line", "Find.", "1 2 3 4 5", 1, {"cities": [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]], "beat": 12})
    env = TSP()
    env.reset(options={"task": task})
    replies = ("1 4 2 5 3", "1 3 2 4 5", "1 3 2 5 4", "1 4 2 5 3", "nonsense", "1 1 1 1 1", "5 4 3 2 1")
    steps = [env.step(reply) for reply in replies]
    assert [reward for _, reward, *_ in steps] == [0, 0.25, 0, 0, 0, 0, 0.75]
    assert [info["outcome"] for *_, info in steps] == [0, 0.5, 0.5, 0.5, 0.5, 0.5, 1]


@pytest.mark.parametrize("env_id", IDS)
def test_the_expert_improves_with_every_turn_and_earns_all(env_id: str) -> None:
    env = made(env_id)
    means = []
    for level in env.levels:
        turns = []
        for seed in range(8):
            env.reset(seed=seed, options={"difficulty": level, "split": ("train", "test")[seed % 2]})
            values, total = [], 0.0
            while env._playing:
                total += env.step(env.expert_action())[1]
                values.append(env._value)
            better = [env._better(now, before) for before, now in pairwise(values)]
            assert all(better) and values[-1] == env._optimum and total == 1.0
            turns.append(env.turn)
        means.append(float(np.mean(turns)))
    assert means[0] < means[-1] and means[1] < means[3]


@pytest.mark.parametrize("env_id", IDS)
def test_the_expert_goes_on_from_anywhere_and_in_what_turns_are_left(env_id: str) -> None:
    env = made(env_id, max_turns=3)
    for seed in range(4):
        env.reset(seed=seed)
        first = env.fork()
        env.step("nonsense")
        env.step("<answer>1; 2; 3</answer>" if seed % 2 else "1")
        assert env.step(env.expert_action())[2]
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = first.step(first.expert_action())
            total, over = total + reward, terminated or truncated
        assert (total, terminated) == (1.0, True)


@pytest.mark.parametrize("env_id", IDS)
def test_a_thousand_instances_are_all_different(env_id: str) -> None:
    env, draws = made(env_id), Draws(np.random.default_rng(0))
    instances = [json.dumps(env.draw(draws, level)[0]) for level in env.levels for _ in range(200)]
    assert len(set(instances)) == 1000


TRIVIAL: dict[str, Callable[[int], list[Any]]] = {
    "one list of all": lambda n: [range(1, n + 1)],
    "all, backwards": lambda n: [range(n, 0, -1)],
    "a list for each": lambda n: [[i] for i in range(1, n + 1)],
    "the first": lambda n: [[1]],
    "all negative": lambda n: [range(-1, -n - 1, -1)],
    "every other": lambda n: [range(1, n + 1, 2)],
    "the first half": lambda n: [range(1, n // 2 + 1)],
    "two halves": lambda n: [range(1, n // 2 + 1), range(n // 2 + 1, n + 1)],
    "pairs": lambda n: [range(i, min(i + 2, n + 1)) for i in range(1, n + 1, 2)],
    "the same for every machine": lambda n: [range(1, n + 1)] * 4,
}
"""Proposals without a look at the numbers: identity, everything, one bin or colour for each, and so on."""


@pytest.mark.parametrize("env_id", IDS)
def test_trivial_proposals_earn_nothing(env_id: str) -> None:
    env, total, count = made(env_id), 0.0, 0
    for level in env.levels:
        for seed in range(6):
            env.reset(seed=seed, options={"difficulty": level, "split": "test"})
            sizes = {len(v) for v in env.task.metadata.values() if isinstance(v, list)}
            sizes |= {v for v in env.task.metadata.values() if isinstance(v, int) and v < 40}
            twins = [env.fork() for _ in TRIVIAL]
            for twin, lists in zip(twins, TRIVIAL.values(), strict=True):
                total += sum(twin.step(written(lists(n)))[1] for n in sorted(sizes) if twin._playing)
                count += 1
    assert total / count <= 0.005


@pytest.mark.parametrize("env_id", IDS)
def test_rules_of_thumb_earn_nothing_and_the_optimum_is_better(env_id: str) -> None:
    env = made(env_id)
    for level in env.levels:
        draws = Draws(np.random.default_rng(level))
        for seed in range(5):
            env.reset(seed=seed, options={"difficulty": level})
            task = env.task
            assert (max if env.most else min)(env.thumbs(env._instance)) == task.metadata["beat"] == env._beat
            assert env._quality_of(env._beat) == 0.0 and env._quality_of(env._optimum) == 1.0
            assert env._better(env._optimum, env._beat)
        metadata, solve = env.draw(draws, level)
        instance = env.read(metadata)
        assert not env.flaw(instance, solve())


@pytest.mark.parametrize("env_id", IDS)
def test_random_proposals_earn_next_to_nothing(env_id: str) -> None:
    """Every label once in random order, in as many lists as the problem has, a new proposal each turn."""
    env, total, episodes = made(env_id), 0.0, 0
    rng = np.random.default_rng(0)
    for level in env.levels:
        for seed in range(10):
            env.reset(seed=seed, options={"difficulty": level})
            labels = sorted({abs(label) for labels in env._optimal for label in labels})
            while env._playing:
                mixed = rng.permutation(max(labels)) + 1
                if isinstance(env, JobShop):
                    lists = [(rng.permutation(max(labels)) + 1).tolist() for _ in env._optimal]
                elif min(min(labels) for labels in env._optimal) < 0:
                    lists = [(mixed * rng.choice([-1, 1], len(mixed))).tolist()]
                else:
                    size = sum(map(len, env._optimal))
                    cuts = sorted(rng.integers(1, size, len(env._optimal) - 1).tolist())
                    lists = [part.tolist() for part in np.split(mixed[:size], cuts)]
                total += env.step(f"<answer>{written(lists)}</answer>")[1]
            episodes += 1
    assert total / episodes <= 0.05


@pytest.mark.parametrize("env_id", IDS)
def test_foreign_tasks_are_refused(env_id: str) -> None:
    env = made(env_id)
    env.reset(seed=0)
    task = env.task
    twin = made(env_id)
    twin.reset(options={"task": task})
    assert twin.render() == env.render()
    own = [name for name in task.metadata if name != "beat"]
    wrong: list[dict[str, Any]] = [{}, {"beat": None}, {"beat": 1.5}, {"beat": env._optimum}, {"beat": True}]
    wrong += [{"beat": env._optimum + (1 if env.most else -1)}]
    wrong += [{name: junk} for name in own for junk in (None, [], "x", -1, [None], [[0, "x"]], float("nan"), 10**12, [[[]]])]
    for change in wrong:
        metadata = {**task.metadata, **change} if change else {}
        with pytest.raises(ConfigError, match=f"{type(env).__name__}: task"):
            env.reset(options={"task": Task("x", "p", task.answer, 1, metadata)})
    for answer in ("", "x", "1.5", "9999", "1 1", f"{task.answer}; 1"):
        with pytest.raises(ConfigError, match=f"{type(env).__name__}: task"):
            env.reset(options={"task": Task("x", "p", answer, 1, task.metadata)})


@pytest.mark.parametrize("env_id", IDS)
def test_render(env_id: str) -> None:
    env = made(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert isinstance(before, np.ndarray) and before.dtype == np.uint8 and before.shape[2] == 3
    while env._playing:
        env.step(env.expert_action())
    after = env.render()
    assert after.shape != before.shape or (after != before).any()
    env = made(env_id, render_mode="ansi")
    env.reset(seed=0)
    text = env.render()
    assert (isinstance(text, str) and text in env.task.prompt + "\n" + env.board()) or text.startswith(env.show(env._instance))
    env.step(env.expert_action())
    assert str(env.render()).endswith("\n" + written(env._best))
