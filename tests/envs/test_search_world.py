"""Worlds of Search and MaskedSearch: a reader who knows only the pages finds every answer, and only that one."""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.envs.search.names import KINDS
from turnwise.envs.search.passages import LEVELS as PASSAGES
from turnwise.envs.search.passages import make_passage, passage_world
from turnwise.envs.search.plots import LEVELS, Story, make_story, story_world
from turnwise.envs.search.relations import RELATIONS, relations_of
from turnwise.envs.search.rosters import COLLECTIONS
from turnwise.envs.search.world import EDITION_YEARS, World

SUBJECT = "@"
"""Stands for the name of a page's thing in its text."""
TELLING = {
    relation.name: [
        re.compile(
            r"(?:^|(?<=[.] ))"
            + re.escape(words).replace(r"\{s\}", SUBJECT).replace(r"\{v\}", r"(\d+)" if relation.numeric else r"([A-Z][^.\"\n]*)")
        )
        for words in relation.told
    ]
    for relation in RELATIONS.values()
}
Facts = Mapping[str, Mapping[str, str]]


class Page(NamedTuple):
    name: str
    kind: str
    source: str
    year: int
    facts: Mapping[str, str]
    listed: Sequence[str]


def read(world: World) -> list[Page]:
    """What the texts of the pages say."""
    pages: list[Page] = []
    for document in world.pages:
        found = re.fullmatch(r"(.+) \((\w+)\)", document.title)
        assert found
        name, kind = found.groups()
        head, text, *listed = document.text.split("\n")
        body = text.replace(name, SUBJECT)
        edition = re.fullmatch(r"(.+), revised in (\d{4})\.", head)
        assert edition
        facts: dict[str, str] = {}
        for relation in relations_of(kind):
            values = {hit[1] for told in TELLING[relation.name] if (hit := told.search(body))}
            assert len(values) == 1, (relation.name, document)
            facts[relation.name] = values.pop()
        names = [one.rstrip(".") for line in listed for one in line.partition(": ")[2].split("; ")]
        pages.append(Page(name, kind, edition[1], int(edition[2]), facts, names))
    return pages


def ruled(pages: Sequence[Page], question: str) -> Facts:
    """Of each thing what the right page says, by the last sentence of the question."""
    until = re.search(r"state of (\d{4})", question)
    source = re.search(r"the ([^,?]+) is right\.$", question)
    truth: dict[str, Mapping[str, str]] = {}
    for name, group in groupby(sorted(pages, key=lambda page: page.name), key=lambda page: page.name):
        found = list(group)
        if until:
            found = [page for page in found if page.year <= int(until[1])] or found
        elif source and "revised last" not in question:
            found = [page for page in found if page.source == source[1]] or found
        truth[name] = max(found, key=lambda page: page.year).facts
    return truth


def follow(start: str, relations: Sequence[str], facts: Facts) -> str:
    for relation in relations:
        start = facts[start][relation]
    return start


def answer(story: Story, facts: Facts, kinds: Mapping[str, str]) -> str:
    """The answer by what is true, for a question of the story's shape."""
    visits, words = story.visits, story.question
    if story.maker == "chain":
        return follow(visits[0].thing, [visit.relation for visit in visits], facts)
    if story.maker == "comparison":
        half = len(visits) // 2
        ends: list[tuple[int, str]] = []
        for part in (visits[:half], visits[half:]):
            name = follow(part[0].thing, [visit.relation for visit in part[:-1]], facts)
            ends.append((int(facts[name][part[-1].relation]), name))
        return (min if "earlier" in words or "shorter" in words else max)(ends)[1]
    if story.maker == "intersection":
        half = (len(visits) - 1) // 2
        owners = {
            follow(part[0].thing, [visit.relation for visit in part], facts) for part in (visits[:half], visits[half : 2 * half])
        }
        (target,) = [name for name in facts if owners <= set(facts[name].values()) and kinds[name] == kinds[visits[-1].thing]]
        return facts[target][visits[-1].relation]
    chain = visits[: [visit.relation for visit in visits].index("")]
    owner = follow(chain[0].thing, [visit.relation for visit in chain], facts)
    collection = next(one for one in COLLECTIONS if one.asked.partition("{}")[0] in words)
    members = [name for name in facts if facts[name].get(collection.relation) == owner]
    measures = {name: int(facts[name][collection.measure]) for name in members}
    before = re.search(r"before (\d+)", words)
    some = [name for name in members if not before or int(facts[name][collection.when]) < int(before[1])]
    if words.startswith("How many"):
        return str(len(some))
    if words.startswith("Which"):
        return (max if collection.most in words else min)(members, key=measures.__getitem__)
    return str(sum(measures[name] for name in some))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), level=st.sampled_from(sorted(LEVELS)))
def test_the_pages_determine_the_answer(seed: int, level: int) -> None:
    story, world = make_story(seed, LEVELS[level]), story_world(seed, LEVELS[level])
    pages = read(world)
    kinds = {page.name: page.kind for page in pages}
    facts = ruled(pages, story.question)
    assert answer(story, facts, kinds) == story.answer
    # Whatever is mentioned has a page, and lists agree with the pages of what they list.
    for page in pages:
        for relation, value in page.facts.items():
            assert value.isdecimal() if RELATIONS[relation].numeric else kinds[value] == RELATIONS[relation].value
    collected = {collection.relation for collection in COLLECTIONS}
    owners = {name: [{page.facts.get(r) for r in collected} for page in pages if page.name == name] for name in kinds}
    for page in pages:
        assert {name for name in owners if all(page.name in said for said in owners[name])} <= set(page.listed)
        assert set(page.listed) <= {name for name in owners if any(page.name in said for said in owners[name])}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), level=st.sampled_from(sorted(LEVELS)))
def test_stories(seed: int, level: int) -> None:
    story = make_story(seed, LEVELS[level])
    assert make_story(seed, LEVELS[level]).question == story.question
    assert story.answer not in re.findall(r"\d+|\w+", story.question)
    assert story.answer.casefold() not in story.question.casefold() or (story.answer.isdecimal() and len(story.answer) < 3)
    named = [name for name in story.plot.things if name in story.question]
    assert 1 <= len(named) <= 2
    versions = [len(thing.editions) for thing in story.plot.things.values() if thing.editions]
    assert set(versions) <= {LEVELS[level].versions}
    assert len(versions) <= LEVELS[level].contradictions
    assert bool(versions) == ("contradict" in story.question)


@pytest.mark.parametrize("level", LEVELS)
def test_stories_are_of_every_kind(level: int) -> None:
    stories = [make_story(seed, LEVELS[level]) for seed in range(200)]
    assert {story.maker for story in stories} == set(LEVELS[level].makers)
    if level > 2:
        assert {rule for story in stories for rule in ("revised last", "Give the state of", "the ") if rule in story.question}
        assert sum("Give the state of" in story.question for story in stories) > 10
        assert sum("the one revised last" in story.question for story in stories) > 10
    if level > 5:
        assert 3 < sum(story.question.startswith("How many") for story in stories) < 25
        assert sum(story.answer.isdecimal() for story in stories) > 100
    assert len({story.question for story in stories}) == 200


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), level=st.sampled_from(sorted(PASSAGES)))
def test_the_pages_fill_every_mask(seed: int, level: int) -> None:
    passage = make_passage(seed, PASSAGES[level])
    pages = read(passage_world(seed, PASSAGES[level]))
    assert len(passage.spans) == PASSAGES[level].masks == len(set(re.findall(r"\[\d+\]", passage.text)))
    assert not [span for span in passage.spans if re.search(rf"(?<!\w){re.escape(span)}(?!\w)", passage.text)]
    assert [int(n) for n in dict.fromkeys(re.findall(r"\[(\d+)\]", passage.text))] == list(range(1, PASSAGES[level].masks + 1))
    fills = filled(passage.text, pages)
    assert [fills[number] for number in range(1, PASSAGES[level].masks + 1)] == list(passage.spans)


SPAN = r'(?P<{}>\[\d+\]|[A-Z0-9][^"]*)'
SENTENCES = [
    (relation.name, re.compile(re.escape(words).replace(r"\{s\}", SPAN.format("s")).replace(r"\{v\}", SPAN.format("v"))))
    for relation in RELATIONS.values()
    for words in relation.told
    if "{s}" in words
]


def filled(text: str, pages: Sequence[Page]) -> Mapping[int, str]:
    """The masks of a passage, by sentences whose subject is known, and by the one thing that has all the known properties."""
    told = [parsed(sentence) for sentence in re.findall(r"[^.]+\.", text)]
    fills: dict[int, str] = {}

    def known(part: str) -> str | None:
        return fills.get(int(part[1:-1])) if re.fullmatch(r"\[\d+\]", part) else part

    for _ in range(len(told) + 1):
        for subject in dict.fromkeys(subject for _, subject, _ in told if known(subject) is None):
            properties = [(relation, known(value)) for relation, whose, value in told if whose == subject]
            wanted = {relation: value for relation, value in properties if value is not None}
            fitting = {page.name for page in pages if wanted.items() <= page.facts.items()} if len(wanted) > 1 else set[str]()
            if len(fitting) == 1:
                fills[int(subject[1:-1])] = fitting.pop()
        for relation, subject, value in told:
            if (name := known(subject)) is not None and known(value) is None:
                newest = max((page for page in pages if page.name == name), key=lambda page: page.year)
                fills[int(value[1:-1])] = newest.facts[relation]
    return fills


def parsed(sentence: str) -> tuple[str, str, str]:
    """(relation, subject, value) of a sentence of a passage; masks stay as they are."""
    for relation, words in SENTENCES:
        if hit := words.fullmatch(sentence.strip()):
            return relation, hit["s"], hit["v"]
    raise AssertionError(f"no relation is told like this: {sentence!r}")


def test_names() -> None:
    assert set(KINDS) == {relation.subject for relation in RELATIONS.values()}
    years = range(EDITION_YEARS[0], EDITION_YEARS[1] + 1)
    assert not set(years) & set(range(1702, 1999))
