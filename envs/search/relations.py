"""What can be said of the things in a generated world: their relations, and how questions and pages word each of them.

A relation is a function: a thing has one value for it, at a time. Those that vary change with the years, and an old page has the
old value.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NUMBERS", "RELATIONS", "Relation", "relations_of"]

NUMBERS = {"year": (1702, 1998), "thousands": (3_001, 98_987), "hundreds": (101, 989), "metres": (103, 987)}
"""Kinds of values that are numbers -> least and greatest."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation. {} is the subject in `asked` and the value in `which`; in `told` {s} is the subject's name, {v} the value."""

    name: str
    subject: str
    value: str
    """A kind of thing, or a kind of number."""
    asked: str
    told: tuple[str, ...]
    which: str = ""
    """What tells apart a thing by this value: "was built by {}"; empty where that is not asked."""
    varies: bool = False

    @property
    def numeric(self) -> bool:
        return self.value in NUMBERS


_ALL = (
    Relation(
        "birthplace",
        "person",
        "town",
        "the town where {} was born",
        ("{s} was born in {v}.", "{s} came from {v}, where the family kept a shop.", "{v} is the birthplace of {s}."),
    ),
    Relation(
        "teacher",
        "person",
        "person",
        "the teacher of {}",
        ("{s} learned the craft from {v}.", "{v} taught {s} for several years.", "{s} was a pupil of {v}."),
    ),
    Relation(
        "heir",
        "person",
        "person",
        "the heir of {}",
        ("{s} named {v} as sole heir.", "The heir of {s} was {v}.", "{v} inherited the whole estate of {s}, as heir."),
    ),
    Relation(
        "employer",
        "person",
        "company",
        "the company that {} worked for",
        ("{s} worked for {v}.", "{v} employed {s} for most of a long career.", "{s} stayed on the payroll of {v} until the end."),
    ),
    Relation(
        "born",
        "person",
        "year",
        "the year in which {} was born",
        ("The year of birth of {s} is {v}.", "{s} was born in the winter of {v}.", "The parish book enters the birth under {v}."),
    ),
    Relation(
        "river",
        "town",
        "river",
        "the river that flows through {}",
        ("The river {v} flows through {s}.", "{s} lies on both banks of the {v}.", "The {v} crosses {s} from end to end."),
    ),
    Relation(
        "eponym",
        "town",
        "town",
        "the town that {} is named after",
        ("{s} is named after {v}.", "{s} owes its name to {v}, where the first settlers came from.", "{v} gave its name to {s}."),
    ),
    Relation(
        "mayor",
        "town",
        "person",
        "the mayor of {}",
        ("The mayor of {s} is {v}.", "{v} holds the office of mayor in {s}.", "{s} is governed by its mayor, {v}."),
        varies=True,
    ),
    Relation(
        "population",
        "town",
        "thousands",
        "the number of inhabitants of {}",
        ("{s} has {v} inhabitants.", "The inhabitants of {s} number {v}.", "A count found {v} inhabitants in {s}."),
        varies=True,
    ),
    Relation(
        "chartered",
        "town",
        "year",
        "the year in which {} received its charter",
        ("{s} received its charter in {v}.", "The charter of {s} is dated {v}.", "In {v} a charter made {s} a town."),
    ),
    Relation(
        "founder",
        "company",
        "person",
        "the founder of {}",
        ("{s} was founded by {v}.", "The founder of {s} was {v}.", "{v} set up {s} with borrowed money."),
    ),
    Relation(
        "director",
        "company",
        "person",
        "the director of {}",
        ("The director of {s} is {v}.", "{v} runs {s} as its director.", "{s} is led by its director, {v}."),
        varies=True,
    ),
    Relation(
        "seat",
        "company",
        "town",
        "the town where {} has its head office",
        ("{s} has its head office in {v}.", "The head office of {s} stands in {v}.", "{v} is home to the head office of {s}."),
        varies=True,
    ),
    Relation(
        "established",
        "company",
        "year",
        "the year in which {} was established",
        ("{s} was established in {v}.", "{s} has traded since {v}, when it was established.", "Established: {v}."),
    ),
    Relation(
        "yard",
        "ship",
        "company",
        "the company that built {}",
        ("The ship {s} was built by {v}.", "{v} built the {s}.", "The {s} left the slip of her builders, {v}, on a calm day."),
        which="was built by {}",
    ),
    Relation(
        "captain",
        "ship",
        "person",
        "the captain of {}",
        ("The captain of the {s} is {v}.", "{v} commands the ship {s} as captain.", "The {s} sails under Captain {v}."),
        which="is commanded by {}",
        varies=True,
    ),
    Relation(
        "port",
        "ship",
        "town",
        "the home port of {}",
        ("The home port of the {s} is {v}.", "The {s} is registered in {v}, her home port.", "{v} is the home port of the {s}."),
        which="has its home port in {}",
        varies=True,
    ),
    Relation(
        "launched",
        "ship",
        "year",
        "the year in which {} was launched",
        ("The {s} was launched in {v}.", "The launch of the {s} took place in {v}.", "Launched in {v}, the {s} is well kept."),
    ),
    Relation(
        "tonnage",
        "ship",
        "thousands",
        "the tonnage of {}",
        ("The tonnage of the {s} is {v}.", "The {s} measures {v} tons.", "At a tonnage of {v}, the {s} is a familiar sight."),
    ),
    Relation(
        "architect",
        "bridge",
        "person",
        "the architect of {}",
        ("The architect of the {s} was {v}.", "{v} designed the {s}.", "The {s} was built to the plans of the architect {v}."),
        which="was designed by {}",
    ),
    Relation(
        "crosses",
        "bridge",
        "river",
        "the river that {} crosses",
        ("The {s} crosses the {v}.", "The {s} carries a road over the river {v}.", "Below the {s} runs the {v}."),
        which="crosses {}",
    ),
    Relation(
        "opened",
        "bridge",
        "year",
        "the year in which {} was opened",
        (
            "The {s} was opened in {v}.",
            "Traffic has used the {s} since it was opened in {v}.",
            "The {s} was opened with a fair in {v}.",
        ),
    ),
    Relation(
        "span",
        "bridge",
        "metres",
        "the length in metres of {}",
        ("The {s} is {v} metres long.", "The length of the {s} is {v} metres.", "From end to end the {s} measures {v} metres."),
    ),
    Relation(
        "place",
        "museum",
        "town",
        "the town where {} stands",
        ("The {s} stands in {v}.", "{v} is the home of the {s}.", "Visitors find the {s} in the old quarter of {v}."),
        which="stands in {}",
    ),
    Relation(
        "patron",
        "museum",
        "person",
        "the patron of {}",
        ("The patron of the {s} is {v}.", "{v} is patron of the {s}.", "The {s} lives on the gifts of its patron, {v}."),
        which="has {} as its patron",
    ),
    Relation(
        "curator",
        "museum",
        "person",
        "the curator of {}",
        (
            "The curator of the {s} is {v}.",
            "{v} looks after the {s} as its curator.",
            "The {s} is in the care of its curator, {v}.",
        ),
        varies=True,
    ),
    Relation(
        "holdings",
        "museum",
        "thousands",
        "the number of objects in {}",
        ("The {s} holds {v} objects.", "{v} objects are kept in the {s}.", "The inventory of the {s} lists {v} objects."),
        varies=True,
    ),
    Relation(
        "author",
        "novel",
        "person",
        "the author of {}",
        ('"{s}" is a novel by {v}.', 'The author of "{s}" is {v}.', '{v} wrote the novel "{s}" in one summer.'),
        which="was written by {}",
    ),
    Relation(
        "publisher",
        "novel",
        "company",
        "the publisher of {}",
        ('"{s}" was published by {v}.', 'The publisher of "{s}" is {v}.', '{v} brought out "{s}" as its publisher.'),
        which="was published by {}",
    ),
    Relation(
        "setting",
        "novel",
        "town",
        "the town where {} is set",
        ('"{s}" is set in {v}.', 'The story of "{s}" takes place in {v}.', '{v} is the setting of "{s}".'),
        which="is set in {}",
    ),
    Relation(
        "published",
        "novel",
        "year",
        "the year in which {} was published",
        ('"{s}" was published in {v}.', '"{s}" first came out in {v}.', 'The first edition of "{s}" is of {v}.'),
    ),
    Relation(
        "pages",
        "novel",
        "hundreds",
        "the number of pages of {}",
        ('"{s}" has {v} pages.', '"{s}" runs to {v} pages.', 'The first edition of "{s}" fills {v} pages.'),
    ),
    Relation(
        "mouth",
        "river",
        "town",
        "the town where {} reaches the sea",
        (
            "The {s} reaches the sea at {v}.",
            "{v} lies where the {s} reaches the sea.",
            "The {s} ends in the sea near the mole of {v}.",
        ),
    ),
    Relation(
        "surveyor",
        "river",
        "person",
        "the surveyor of {}",
        ("The {s} was surveyed by {v}.", "The surveyor of the {s} was {v}.", "{v} surveyed the {s} and drew its first chart."),
    ),
    Relation(
        "course",
        "river",
        "hundreds",
        "the length in kilometres of {}",
        (
            "The {s} is {v} kilometres long.",
            "The length of the {s} is {v} kilometres.",
            "For {v} kilometres the {s} winds to the sea.",
        ),
    ),
)
RELATIONS: dict[str, Relation] = {relation.name: relation for relation in _ALL}
_BY_KIND: dict[str, tuple[Relation, ...]] = {
    kind: tuple(r for r in _ALL if r.subject == kind) for kind in dict.fromkeys(r.subject for r in _ALL)
}


def relations_of(kind: str) -> tuple[Relation, ...]:
    """All relations that a thing of that kind has."""
    return _BY_KIND[kind]
