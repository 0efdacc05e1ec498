"""turnwise/CausalGraph-v0: inference against twin worlds in plain Python, tasks that no easier question answers."""

from collections.abc import Mapping
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from turnwise.envs.puzzles.causal_graph import LEVELS, CausalGraph
from turnwise.envs.puzzles.causal_model import Model, ancestors, probability
from turnwise.envs.puzzles.causal_tasks import KINDS, answer_to, rows_of
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

FORK = Model(((), (0,), (0, 1)), ((1,), (0, 1), (0, 0, 0, 1)), (4, 2, 6))
"""Z = 1 xor 4/20; X = Z xor 2/20; Y = (Z and X) xor 6/20."""
TENTH = Fraction(1, 10)


def reference(model: Model, target: tuple[int, int], given: Mapping[int, int], do: Mapping[int, int], before: bool) -> Fraction:
    """By definition, one noise setting after the other, in plain Python: the factual and the other world share their noises."""

    def world(noise: tuple[int, ...], fixed: Mapping[int, int]) -> list[int]:
        found = list[int]()
        for variable, causes in enumerate(model.causes):
            place = int("".join(str(found[cause]) for cause in causes) or "0", 2)
            found.append(fixed.get(variable, model.rules[variable][place] ^ noise[variable]))
        return found

    whole = part = Fraction(0)
    for noise in product((0, 1), repeat=len(model.flips)):
        weight = Fraction(1)
        for flip, chance in zip(noise, model.flips, strict=True):
            weight *= Fraction(chance, 20) if flip else 1 - Fraction(chance, 20)
        seen = world(noise, {} if before else do)
        if all(seen[variable] == value for variable, value in given.items()):
            whole += weight
            part += weight * (world(noise, do)[target[0]] == target[1])
    return part / whole


def test_a_fork_by_hand() -> None:
    """P(Z) = 4/5; P(X=1 | Z=1) = 9/10; P(Y=1 | Z, X) = 7/10 where both are 1, else 3/10."""
    assert probability(FORK, (0, 1)) == Fraction(4, 5) and probability(FORK, (1, 1), [(0, 1)]) == 9 * TENTH
    assert probability(FORK, (1, 1)) == Fraction(4, 5) * 9 * TENTH + Fraction(1, 5) * TENTH == Fraction(37, 50)
    seen = (Fraction(4, 5) * 9 * TENTH * 7 * TENTH + Fraction(1, 5) * TENTH * 3 * TENTH) / Fraction(37, 50)
    assert probability(FORK, (2, 1), [(1, 1)]) == seen == Fraction(51, 74)
    assert probability(FORK, (2, 1), (), ((1, 1),)) == Fraction(4, 5) * 7 * TENTH + Fraction(1, 5) * 3 * TENTH == Fraction(31, 50)
    # X=0 and Y=0 were seen. Z=1 has weight 4/5 * 1/10 * 7/10, and then Y would have been 1, the noise being 0; Z=0 weighs
    # 1/5 * 9/10 * 7/10, and Y would have stayed 0.
    weights = Fraction(4, 5) * TENTH * 7 * TENTH, Fraction(1, 5) * 9 * TENTH * 7 * TENTH
    assert probability(FORK, (2, 1), [(1, 0), (2, 0)], ((1, 1),), before=True) == weights[0] / sum(weights) == Fraction(4, 13)
    with pytest.raises(ValueError, match="what is given cannot be"):
        probability(FORK, (2, 1), [(1, 0)], ((1, 1),))
    assert ancestors(FORK, [1]) == {0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_inference_is_that_of_the_reference(kind: str) -> None:
    env = CausalGraph(kind=kind)  # type: ignore[arg-type]
    for level in (1, 2, 3):
        for seed in range(12):
            env.reset(seed=seed, options={"difficulty": level})
            query = env._query
            expected = reference(env._model, query.target, dict(query.given), dict(query.do), kind == "counterfactual")
            assert str(expected) == env.task.answer and query.kind == kind
            for (variable, _), setting in rows_of(env._model, query):
                row = probability(env._model, (variable, 1), setting)
                assert row == reference(env._model, (variable, 1), dict(setting), {}, False)
                assert Fraction(env.task.answer) not in (row, 1 - row)


@pytest.mark.parametrize("level", LEVELS)
def test_the_wanted_is_no_easier_question(level: int) -> None:
    env, answers = CausalGraph(difficulty=level), list[Fraction]()
    for seed in range(40):
        env.reset(seed=seed, options={"split": "test" if seed % 2 else "train"})
        model, query, answer = env._model, env._query, Fraction(env.task.answer)
        answers.append(answer)
        assert 0 < answer < 1 and answer.denominator >= 50 and len(model.causes) == LEVELS[level][0]
        assert LEVELS[level][1] <= len(list(rows_of(model, query))) <= LEVELS[level][2]
        if query.kind == "association":
            assert len(query.given) == 3
            for left in query.given:
                assert probability(model, query.target, [pair for pair in query.given if pair != left]) != answer
        else:
            (x, value), y = query.do[0], query.target[0]
            assert x in ancestors(model, [y])
            assert answer not in (probability(model, query.target, query.do), probability(model, query.target))
            if query.kind == "intervention":
                assert probability(model, query.target, (), ((x, 1 - value),)) != answer
            else:
                assert probability(model, query.target, (), query.do) != answer and dict(query.given)[x] == 1 - value
    assert max(answers.count(answer) for answer in answers) <= 4


def test_the_experts_questions_are_enough() -> None:
    """What is asked determines every row of the model that matters, hence the answer: rebuilt from the answers alone."""
    env = CausalGraph(difficulty=2, kind="counterfactual")
    for seed in range(10):
        env.reset(seed=seed)
        while not env.expert_action().startswith("<answer>"):
            assert env.step(env.expert_action())[4]["valid_action"]
        known = dict(line.split(" = ") for line in env._asked)
        names, rules, flips = env._names, list[tuple[int, ...]](), list[int]()
        for variable, causes in enumerate(env._model.causes):
            rows = list[Fraction]()
            for setting in product((0, 1), repeat=len(causes)):
                bar = ", ".join(f"{names[cause]}={value}" for cause, value in zip(causes, setting, strict=True))
                rows.append(Fraction(known.get(f"P({names[variable]}=1{' | ' if bar else ''}{bar})", "1/20")))
            rules.append(tuple(int(row > Fraction(1, 2)) for row in rows))
            flips.append(int(min(rows[0], 1 - rows[0]) * 20))
        assert str(answer_to(Model(env._model.causes, tuple(rules), tuple(flips)), env._query)) == env.task.answer


def task_of(kind: str, given: list[list[int]], do: list[list[int]], answer: str) -> Task:
    model = {"causes": [list(c) for c in FORK.causes], "rules": [list(r) for r in FORK.rules], "flips": list(FORK.flips)}
    query = {"kind": kind, "target": [2, 1], "given": given, "do": do}
    return Task("causal_graph/x", "P?", answer, 1, {"names": ["Zed", "Xan", "Yew"], **model, **query})


def test_an_episode() -> None:
    env = CausalGraph()
    first, _ = env.reset(options={"task": task_of("intervention", [], [[1, 1]], "31/50")})
    assert first.endswith("Variables: Xan, Yew, Zed. Arrows: Xan -> Yew, Zed -> Xan, Zed -> Yew.\nWanted: P(Yew=1 | do(Xan=1)).")
    assert "No experiment on Xan can be made." in first and "You may ask 11 questions" in first
    assert env.step("First the confounder.\nP(Zed=1)")[0] == "P(Zed=1) = 4/5\n10 questions left."
    assert env.step("ask p(yew = 1 | XAN=1, zed=0).")[0] == "P(Yew=1 | Xan=1, Zed=0) = 3/10\n9 questions left."
    assert env.step("P(Yew=0 | do(Zed=1), Xan=1)")[0] == "P(Yew=0 | do(Zed=1), Xan=1) = 3/10\n8 questions left."
    for wrong, answer in (
        ("P(Yew=1 | do(Xan=1))", "No experiment on Xan can be made."),
        ("P(Yew=1 | do(Zed=1), do(Xan=1))", "No experiment on Xan can be made."),
        ("P(Bob=1)", "'Bob' is no variable; Xan, Yew, Zed are."),
        ("P(Yew=1 | Yew=0)", "A question names one variable and up to 2 others after the bar, each once."),
        ("P(Yew=1 | Zed=0, Zed=1)", "A question names one variable and up to 2 others after the bar, each once."),
        ("P(Yew=1 | Zed)", "After the bar stand conditions such as Zed=1 or do(Zed=1), with commas."),
        ("why?", "End the reply with a question such as P(Xan=1 | Zed=0) or P(Xan=1 | do(Zed=0)), or with <answer>...</answer>."),
        ("<answer>maybe</answer>", "That is no number:"),
    ):
        observation, reward, terminated, _, info = env.step(wrong)
        assert observation.startswith(answer) and (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert env.render().endswith("\nP(Zed=1) = 4/5\nP(Yew=1 | Xan=1, Zed=0) = 3/10\nP(Yew=0 | do(Zed=1), Xan=1) = 3/10")
    _, reward, terminated, _, info = env.step("By adjustment: <answer>4/5 * 7/10 + 0.2 * 3/10</answer>")
    assert (reward, terminated, info["outcome"]) == (1.0, True, 1.0)


def test_wrong_answers_end_it_and_questions_run_out() -> None:
    env, task = CausalGraph(), task_of("counterfactual", [[1, 0], [2, 0]], [[1, 1]], "4/13")
    first, _ = env.reset(options={"task": task})
    wanted = "Wanted: Xan=0, Yew=0 was seen. The probability that Yew would have been 1, had Xan been set to 1."
    assert first.endswith(wanted)
    for close in ("0.3077", "31/50", "4/13 + 1/1000000"):
        env.reset(options={"task": task})
        assert env.step(f"<answer>{close}</answer>")[1:3] == (0.0, True)
    env.reset(options={"task": task})
    for _ in range(11):
        assert env.step("P(Yew=1)")[4]["valid_action"]
    assert env.step("P(Yew=1)")[0] == "No question is left. Reply <answer>...</answer>."
    assert env.expert_action() == "<answer>4/13</answer>" and env.step("<answer>8/26</answer>")[1] == 1.0


def test_kinds() -> None:
    env, found = CausalGraph(), set[str]()
    for seed in range(30):
        env.reset(seed=seed)
        found.add(env._query.kind)
    assert found == set(KINDS)
    with pytest.raises(UnknownName, match="kind"):
        CausalGraph(kind="correlation")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ["A", "a", "B"]},
        {"names": ["A", "B"]},
        {"causes": [[], [0], [0, 2]]},
        {"rules": [[1], [0, 1], [0, 1]]},
        {"flips": [4, 2, 10]},
        {"kind": "guess"},
        {"do": []},
        {"target": [7, 1]},
        {"target": [2, 0]},
    ],
)
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    task = task_of("intervention", [], [[1, 1]], "31/50")
    with pytest.raises(ConfigError, match="CausalGraph: task"):
        CausalGraph().reset(options={"task": Task("causal_graph/y", "p", "31/50", 1, {**task.metadata, **wrong})})


def test_the_picture() -> None:
    env = CausalGraph(render_mode="rgb_array", difficulty=3)
    env.reset(seed=0)
    one = env.render()
    assert one.shape == (7 * 32, 7 * 32, 3) and one.dtype == np.uint8
    env.reset(seed=1)
    assert (env.render() != one).any()
