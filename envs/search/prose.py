"""Sentences on the pages of a generated world that answer no question."""

__all__ = ["FLAVOUR", "LEAD"]

LEAD = {
    "person": (
        "{s} led a life between two trades.",
        "{s} is remembered in letters and ledgers.",
        "Little is left of the papers of {s}.",
    ),
    "town": ("{s} is a town of slate roofs.", "{s} is known for its markets.", "{s} has two squares and one clock."),
    "company": ("{s} is a firm of the old kind.", "{s} keeps its books open to all.", "{s} has weathered three slumps."),
    "ship": ("The {s} is a ship of oak and iron.", "The {s} is a ship for rough water.", "The {s} is a ship with a green keel."),
    "bridge": ("The {s} is a bridge of dressed stone.", "The {s} is a bridge with lamps.", "The {s} is a bridge on nine piers."),
    "museum": ("The {s} is a museum.", "The {s} opens on most days.", "The {s} began in two rented rooms."),
    "novel": ('"{s}" is a novel in three parts.', '"{s}" is a novel told in letters.', '"{s}" is a novel of manners.'),
    "river": ("The {s} is a river.", "The {s} is a quick river, cold all year.", "The {s} is a river of many weirs."),
}
"""How a page begins."""
FLAVOUR = (
    "The archive burned once and was copied out again.",
    "Travellers mention the bells, the bread and the wind.",
    "A drawing of that time hangs in the reading room.",
    "Local accounts differ in the details and agree on the rest.",
    "The winters there were long, and the letters longer.",
    "An anniversary was kept with lanterns and a short speech.",
    "Two volumes of correspondence are still unread.",
    "What the guidebooks add to this is mostly invention.",
    "The oldest photograph shows scaffolding and a dog.",
    "A plaque was put up, taken down and put up again.",
    "Several songs are about it, none of them accurate.",
    "Repairs were paid for by a lottery.",
)
"""Sentences that say nothing."""
