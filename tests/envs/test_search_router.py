"""Router: what models know, what is understood, what calls cost, and what the cheapest way, a sensible and a lavish one earn."""

import re
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.envs.search.experts import FIELDS, SKILLS, Model, Path, believed, card, knows, path_of, price_of_call, true_value
from turnwise.envs.search.relations import RELATIONS
from turnwise.envs.search.router import Router
from turnwise.envs.search.routing import LEVELS, make_case
from turnwise.errors import ConfigError

SURE = Model("Sure", 2.0, 100, False, dict.fromkeys(FIELDS.values(), "excellent"))
NAMES = {
    "Ada Kern": "person",
    "Greenmere": "town",
    "Silver Heron of Oak": "ship",
    "The Old Clock of Rust": "novel",
    "Foss": "river",
}


@pytest.mark.parametrize(
    ("question", "start", "relations"),
    [
        ("Who is the heir of Ada Kern?", "Ada Kern", ("heir",)),
        ("What is the year in which Ada Kern was born?", "Ada Kern", ("born",)),
        ("the mayor of the town where Ada Kern was born", "Ada Kern", ("birthplace", "mayor")),
        ("What is the name of the town where the river Foss reaches the sea?", "Foss", ("mouth",)),
        ("Who is the heir of the heir of ADA  KERN", "Ada Kern", ("heir", "heir")),
        (
            'Who is the teacher of the author of the novel "The Old Clock of Rust"?',
            "The Old Clock of Rust",
            ("author", "teacher"),
        ),
        ("the captain of the ship Silver Heron of Oak", "Silver Heron of Oak", ("captain",)),
        ("Where was Ada Kern born?", "Ada Kern", ("birthplace",)),
        ("When was Ada Kern born?", "Ada Kern", ("born",)),
        ("Tell me who taught Ada Kern", "Ada Kern", ("teacher",)),
        ("How many inhabitants does Greenmere have?", "Greenmere", ("population",)),
        ("which river flows through Greenmere", "Greenmere", ("river",)),
        ("Who commands the Silver Heron of Oak?", "Silver Heron of Oak", ("captain",)),
        ("How long is the Foss?", "Foss", ("course",)),
    ],
)
def test_questions_that_are_understood(question: str, start: str, relations: tuple[str, ...]) -> None:
    assert path_of(question, NAMES) == Path(start, relations)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "?",
        "Who is it?",
        "the mayor of Ada Kern",
        "Who is Ada Kern's favourite?",
        "Ada Kern or Greenmere: mayor?",
        "\ud800",
        "x" * 2000,
    ],
)
def test_questions_that_are_not(question: str) -> None:
    path = path_of(question, NAMES)
    assert path is None or not path.relations


def test_the_whole_of_asked_phrases_is_understood() -> None:
    """Every relation in its own words and in the words of the questions around it."""
    names: Mapping[str, str] = {kind.title(): kind for kind in FIELDS}
    for relation in RELATIONS.values():
        assert path_of(f"What is {relation.asked.format(relation.subject.title())}?", names) == Path(
            relation.subject.title(), (relation.name,)
        )


def test_what_is_known_follows_from_seed_model_and_fact() -> None:
    known = [knows(seed, SURE, "town", "Greenmere", "mayor") for seed in range(400)]
    assert np.mean(known) == pytest.approx(SKILLS["excellent"], abs=0.03)
    weak = Model("Weak", 1.0, 10, True, {"people": "good"})
    assert np.mean([knows(seed, weak, "town", "Greenmere", "mayor") for seed in range(400)]) == pytest.approx(0.1, abs=0.05)
    assert knows(7, weak, "person", "Ada", "heir") == knows(7, weak, "person", "Ada", "heir")


def test_a_model_that_does_not_know_says_so_or_makes_something_up() -> None:
    facts = {"Greenmere": {"mayor": "Ada Kern"}}
    silent, bold = Model("S", 1.0, 10, True, {}), Model("B", 1.0, 10, False, {})
    path = Path("Greenmere", ("mayor",))
    said = [(believed(s, facts, silent, "town", path), believed(s, facts, bold, "town", path)) for s in range(200)]
    assert {one for one, _ in said} == {None, "Ada Kern"}
    wrong = [other for _, other in said if other != "Ada Kern"]
    assert len(wrong) > 150 and None not in wrong and len(set(wrong)) > 140
    assert true_value(3, facts, "Greenmere", "mayor") == "Ada Kern"
    assert true_value(3, facts, "Nowhere", "population").isdecimal()


def test_prices_and_cards() -> None:
    assert price_of_call(SURE, 3) == pytest.approx(2.0 * (20 + 300) / 1000)
    assert card(SURE) == (
        "Sure: 2 cents per 1,000 tokens, about 100 tokens a fact; excellent at everything; never says that it does not know"
    )
    clerk = Model("Clerk", 0.5, 40, True, {"towns": "excellent", "ships": "good", "people": "excellent"})
    assert card(clerk) == (
        "Clerk: 0.5 cents per 1,000 tokens, about 40 tokens a fact; excellent at towns, people; good at ships; "
        "weak at everything else; says so when it does not know"
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), level=st.sampled_from(sorted(LEVELS)))
def test_the_cheapest_way_is_right_and_nothing_sufficient_is_cheaper(seed: int, level: int) -> None:
    case = make_case(seed, level)
    cost, calls = case.way
    assert 0 < cost <= case.dearest
    assert len(case.models) == LEVELS[level].models == len({model.name for model in case.models})
    for model in case.models:
        if case.reply(model) == case.answer:
            assert cost <= price_of_call(model, case.size) + 1e-12
    # Fact by fact, each from the cheapest that knows it, is a way too.
    single = 0.0
    for chain in case.chains:
        for thing, relation in zip(case.things_along(chain), chain.relations, strict=False):
            single += min(price_of_call(m, 1) for m in case.models if knows(case.seed, m, case.kinds[thing], thing, relation))
    assert cost <= single + 1e-9
    assert len(calls) <= case.size
    assert case.answer.casefold() not in case.question.casefold()


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_is_told_what_it_answers(level: int) -> None:
    """Each reply on the cheapest way is right; the last, or one that named it, is the answer; all of it earns exactly 1."""
    env = Router(difficulty=level)
    for seed in range(25):
        env.reset(seed=seed)
        replies: list[str] = []
        while True:
            observation, reward, terminated, _, info = env.step(env.expert_action())
            if terminated:
                break
            assert info["valid_action"] and "I do not" not in observation
            replies.append(observation)
        assert any(env.task.answer in reply for reply in replies)
        assert reward == 1.0 and info["reward_terms"] == {"answer": 1.0, "cost": 0.0}
        assert env.spent == pytest.approx(env.case.way[0])


def test_cost_counts_only_beyond_the_cheapest_and_never_more_than_its_share() -> None:
    env = Router(difficulty=1, cost=0.4, max_turns=200)
    env.reset(seed=0)
    cheapest, dearest = env.case.way[0], env.case.dearest
    dear = max(env.case.models, key=lambda model: price_of_call(model, 1))
    env.step(env.format.call("ask", {"model": dear.name, "question": env.case.question}))
    once = env.fork()
    _, reward, _, _, info = once.step(once.format.final(env.task.answer))
    assert reward == pytest.approx(1 - 0.4 * min(1.0, max(0.0, (once.spent - cheapest) / (dearest - cheapest))))
    assert info["outcome"] == 1.0
    for _ in range(30):
        env.step(env.format.call("ask", {"model": dear.name, "question": env.case.question}))
    lavish = env.fork()
    assert lavish.step(lavish.format.final(env.task.answer))[1] == pytest.approx(0.6)
    assert env.step(env.format.final("nobody"))[1] == 0.0


def test_asking_again_gives_the_same_reply_and_costs_again() -> None:
    env = Router(difficulty=2)
    env.reset(seed=4)
    model = env.case.models[0]
    call = env.format.call("ask", {"model": f" {model.name.upper()} ", "question": env.case.question})
    first, second = env.step(call)[0], env.step(call)[0]
    assert first.split(" [")[0] == second.split(" [")[0]
    assert env.spent == pytest.approx(2 * float(re.findall(r"\[([\d.]+) cents", first)[0]), abs=2e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "Nobody", "question": "Who?"}, "There is no model 'Nobody'; there are: "),
        ({"model": "\ud800", "question": "Who?"}, r"There is no model '\ud800'"),
        ({"question": "Who?"}, "Error: ask: model: Field required."),
    ],
)
def test_what_cannot_be_asked_costs_nothing(arguments: dict[str, str], words: str) -> None:
    env = Router()
    env.reset(seed=0)
    assert env.step(env.format.call("ask", arguments))[0].startswith(words)
    assert env.spent == 0.0


def by_the_cards(env: Router) -> float:
    """The reward of one who asks, fact by fact, the cheapest of the models that the cards call best."""
    case, order = env.case, list(SKILLS)
    heard: list[str] = []
    for chain in case.chains:
        thing, kind = chain.start, case.kinds[chain.start]
        for relation in chain.relations:
            field = FIELDS[kind]
            best = min(case.models, key=lambda m: (order.index(m.skills.get(field, "weak")), price_of_call(m, 1)))
            question = f"What is {RELATIONS[relation].asked.format(thing)}?"
            observation = env.step(env.format.call("ask", {"model": best.name, "question": question}))[0]
            thing, kind = observation.partition(": ")[2].partition(". [")[0], RELATIONS[relation].value
            heard.append(thing)
    if len(case.chains) == 1:
        return env.step(env.format.final(heard[-1]))[1]
    half = len(heard) // 2
    ends = [
        (int(value) if value.isdecimal() else 0, name)
        for value, name in ((heard[half - 1], heard[half - 2]), (heard[-1], heard[-2]))
    ]
    return env.step(env.format.final(sorted(ends)[case.greater][1]))[1]


@pytest.mark.parametrize(("level", "least"), [(1, 0.8), (3, 0.7), (6, 0.5)])
def test_reading_the_cards_pays(level: int, least: float) -> None:
    env = Router(difficulty=level, max_turns=30)
    earned: list[float] = []
    for seed in range(60):
        env.reset(seed=seed)
        earned.append(by_the_cards(env))
    assert least < np.mean(earned) < 1.0


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="so that a right answer beats a wrong one; got 1"):
        Router(cost=1.0)
