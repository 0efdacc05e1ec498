"""Simulated language models that may be asked: each knows some fields and not others, costs its price, and may be wrong.

Whether a model knows a fact, and what it says where it does not, follows from the seed, the model and the fact alone: asking
again gives the same reply, and two models are hardly ever wrong in the same way. A model understands the task's question, any
phrase that a question may be made of ("the mayor of the town where ... was born"), and one thing asked in free words ("When was
... born?").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.search.names import draw_parts, spelled
from turnwise.envs.search.relations import NUMBERS, RELATIONS, relations_of
from turnwise.seeds import child

__all__ = [
    "FIELDS",
    "OVERHEAD",
    "SKILLS",
    "Facts",
    "Model",
    "Path",
    "believed",
    "card",
    "knows",
    "path_of",
    "price_of_call",
    "true_value",
]

FIELDS = {
    "person": "people",
    "town": "towns",
    "river": "rivers",
    "company": "companies",
    "ship": "ships",
    "bridge": "bridges",
    "museum": "museums",
    "novel": "novels",
}
"""Kind of thing -> the field that facts about it belong to."""
SKILLS = {"excellent": 0.97, "good": 0.8, "fair": 0.5, "weak": 0.1}
"""How likely a model knows a fact of a field."""
_ASKING = re.compile(r"^(who is|who was|what is the name of|what is|what was|which is|tell me|give me|name) ", re.IGNORECASE)
_NAMING = re.compile(r"^(the river|the ship|the novel|the) ")
_ASKED = tuple((relation, *relation.asked.casefold().split("{}")) for relation in RELATIONS.values())
"""Relations, and the words before and after the thing when they are asked for."""
OVERHEAD = 20
"""Tokens of any reply, beside those for each fact."""

Facts = Mapping[str, Mapping[str, str]]
"""Thing -> relation -> value: what the question stands on."""


@dataclass(frozen=True, slots=True)
class Model:
    """One of the models, as its card describes it."""

    name: str
    price: float
    """Cents per 1,000 tokens of its replies."""
    tokens: int
    """Of a reply, for each fact that goes into it."""
    candid: bool
    """Whether it says so when it does not know; else it makes something up."""
    skills: Mapping[str, str]
    """Field -> one of SKILLS; "weak" where not said."""


@dataclass(frozen=True, slots=True)
class Path:
    """What is asked for: a thing, and relations to follow from it."""

    start: str
    relations: tuple[str, ...]


def card(model: Model) -> str:
    """A line about a model."""
    fields = {skill: [field for field, given in model.skills.items() if given == skill] for skill in SKILLS}
    able = [f"{skill} at {', '.join(at) if len(at) < len(FIELDS) else 'everything'}" for skill, at in fields.items() if at]
    rest = [] if len(model.skills) == len(FIELDS) else ["weak at everything else"]
    honest = "says so when it does not know" if model.candid else "never says that it does not know"
    price = f"{model.price:g} cents per 1,000 tokens, about {model.tokens} tokens a fact"
    return f"{model.name}: {'; '.join([price, *able, *rest, honest])}"


def price_of_call(model: Model, facts: int) -> float:
    """Cents for one reply that takes so many facts."""
    return model.price * (OVERHEAD + model.tokens * facts) / 1000


def knows(seed: int, model: Model, kind: str, thing: str, relation: str) -> bool:
    """Whether the model knows a fact about a thing of that kind."""
    luck = child(seed, "knows", model.name, thing, relation) / 2**63
    return luck < SKILLS[model.skills.get(FIELDS[kind], "weak")]


def true_value(seed: int, facts: Facts, thing: str, relation: str) -> str:
    """The value of a relation; also for things that only a mistake has brought up."""
    known = facts.get(thing, {}).get(relation)
    return known if known is not None else _made_up(child(seed, "truth", thing, relation), relation)


def believed(seed: int, facts: Facts, model: Model, kind: str, path: Path) -> str | None:
    """What the model gives for a path from a thing of that kind; None if it says that it does not know."""
    thing = path.start
    for relation in path.relations:
        if knows(seed, model, kind, thing, relation):
            thing = true_value(seed, facts, thing, relation)
        elif model.candid:
            return None
        else:
            thing = _made_up(child(seed, "wrong", model.name, thing, relation), relation)
        kind = RELATIONS[relation].value
    return thing


def _made_up(seed: int, relation: str) -> str:
    kind, draws = RELATIONS[relation].value, Draws(np.random.default_rng(seed))
    if kind in NUMBERS:
        low, high = NUMBERS[kind]
        return str(low + draws.below(high - low + 1))
    return spelled(kind, draw_parts(kind, draws))


def path_of(question: str, names: Mapping[str, str]) -> Path | None:
    """What a question asks for, of the things whose names (-> kinds) were heard so far; None if that is not clear."""
    text = " ".join(question.split()).strip(" ?.!\"'")
    lowered = _ASKING.sub("", text).casefold()
    return _nested(lowered, {name.casefold(): name for name in names}, names) or _loose(lowered, names)


def _nested(text: str, spelled_names: Mapping[str, str], names: Mapping[str, str]) -> Path | None:
    """The path of a phrase in the words of `Relation.asked`, from the inside out."""
    bare = _NAMING.sub("", text).strip(" \"'")
    if name := spelled_names.get(text) or spelled_names.get(bare) or spelled_names.get(f"the {bare}"):
        return Path(name, ())
    for relation, before, after in _ASKED:
        if text.startswith(before) and text.endswith(after):
            inner = _nested(text[len(before) : len(text) - len(after)], spelled_names, names)
            kind = None if inner is None else _kind_at(inner, names)
            if inner is not None and kind == relation.subject:
                return Path(inner.start, (*inner.relations, relation.name))
    return None


def _kind_at(path: Path, names: Mapping[str, str]) -> str:
    return RELATIONS[path.relations[-1]].value if path.relations else names[path.start]


def _loose(text: str, names: Mapping[str, str]) -> Path | None:
    """One relation of one thing, by the words that hint at it."""
    named = [name for name in names if re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", text)]
    if len(named) != 1:
        return None
    rest = text.replace(named[0].casefold(), " ")
    hints = {r.name: sum(hint in rest for hint in _HINTS[r.name]) for r in relations_of(names[named[0]])}
    best = max(hints.values())
    likely = [relation for relation, count in hints.items() if count == best]
    return Path(named[0], (likely[0],)) if best and len(likely) == 1 else None


_HINTS: Mapping[str, Sequence[str]] = {
    "birthplace": ("where", "birthplace", "born", "town", "place"),
    "teacher": ("teacher", "taught", "teach"),
    "heir": ("heir", "inherit"),
    "employer": ("company", "work", "employ"),
    "born": ("year", "when", "born", "birth date"),
    "river": ("river", "flow"),
    "eponym": ("named after", "eponym", "after"),
    "mayor": ("mayor",),
    "population": ("inhabitants", "population", "how many"),
    "chartered": ("charter",),
    "founder": ("founder", "who founded", "set up"),
    "director": ("director", "runs", "directs"),
    "seat": ("head office", "headquarter", "seat", "based"),
    "established": ("established", "when", "year"),
    "yard": ("built", "builder", "yard"),
    "captain": ("captain", "command"),
    "port": ("home port", "port"),
    "launched": ("launch",),
    "tonnage": ("tonnage", "tons"),
    "architect": ("architect", "design"),
    "crosses": ("river", "cross"),
    "opened": ("opened", "when", "year"),
    "span": ("length", "long", "metres"),
    "place": ("where", "town", "stand"),
    "patron": ("patron",),
    "curator": ("curator",),
    "holdings": ("objects", "how many"),
    "author": ("author", "wrote", "written"),
    "publisher": ("publisher", "who published", "published by"),
    "setting": ("set in", "setting", "where"),
    "published": ("when", "year", "published"),
    "pages": ("pages", "long"),
    "mouth": ("mouth", "sea", "town"),
    "surveyor": ("survey",),
    "course": ("length", "long", "kilometres"),
}
"""Relation -> words of a question that point to it."""
