"""Collections in a generated world: all the ships of a yard, all the novels of an author; and what may be asked of one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COLLECTIONS", "Collection"]


@dataclass(frozen=True, slots=True)
class Collection:
    """All the things that have one value for a relation, which the page of that value lists."""

    relation: str
    asked: str
    """{} is the owner."""
    told: str
    """{s} is the owner, {v} the list."""
    most: str
    """Superlatives of `measure`: which has "the greatest tonnage"."""
    least: str
    total: str
    """The sum of `measure`: "the combined tonnage of"."""
    measure: str
    when: str
    """A relation whose value is a year, with its participle: "launched"."""


COLLECTIONS: tuple[Collection, ...] = (
    Collection(
        "yard",
        "the ships built by {}",
        "{s} built these ships: {v}.",
        "has the greatest tonnage",
        "has the smallest tonnage",
        "the sum of the tonnages of",
        "tonnage",
        "launched",
    ),
    Collection(
        "architect",
        "the bridges designed by {}",
        "{s} designed these bridges: {v}.",
        "is the longest",
        "is the shortest",
        "the sum of the lengths in metres of",
        "span",
        "opened",
    ),
    Collection(
        "author",
        "the novels written by {}",
        "{s} wrote these novels: {v}.",
        "has the most pages",
        "has the fewest pages",
        "the sum of the numbers of pages of",
        "pages",
        "published",
    ),
    Collection(
        "publisher",
        "the novels published by {}",
        "{s} published these novels: {v}.",
        "has the most pages",
        "has the fewest pages",
        "the sum of the numbers of pages of",
        "pages",
        "published",
    ),
    Collection(
        "crosses",
        "the bridges over {}",
        "These bridges cross the {s}: {v}.",
        "is the longest",
        "is the shortest",
        "the sum of the lengths in metres of",
        "span",
        "opened",
    ),
)
