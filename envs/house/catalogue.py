"""What there is in houses: rooms and their places, kinds of things, and what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CLOSED", "DEVICES", "INSIDE", "KNIFE", "LAMPS", "ROOMS", "STATES", "THINGS", "Thing", "kind_of"]

ROOMS: Mapping[str, Mapping[str, int]] = {
    "kitchen": {"counter": 2, "cabinet": 4, "drawer": 2, "dining table": 1, "garbage can": 1, "stove": 1},
    "hallway": {"shelf": 1, "bench": 1, "chest": 1, "side table": 1},
    "living room": {"sofa": 1, "armchair": 1, "coffee table": 1, "tv stand": 1, "side table": 1, "shelf": 1, "drawer": 1},
    "bedroom": {"bed": 1, "dresser": 1, "desk": 1, "drawer": 2, "wardrobe": 1, "shelf": 1, "safe": 1},
    "bathroom": {"sink": 1, "bathtub": 1, "toilet": 1, "cabinet": 1, "shelf": 1, "garbage can": 1},
    "office": {"desk": 1, "bookcase": 1, "drawer": 2, "safe": 1, "armchair": 1, "garbage can": 1},
    "laundry room": {"washing machine": 1, "basket": 1, "shelf": 1, "cabinet": 1, "sink": 1},
    "garage": {"workbench": 1, "shelf": 1, "chest": 1, "cabinet": 1, "crate": 1},
    "pantry": {"shelf": 2, "crate": 1, "cabinet": 1},
    "guest room": {"bed": 1, "desk": 1, "wardrobe": 1, "side table": 1, "drawer": 1},
}
"""Room -> kind of place -> how many at most. A kitchen has its DEVICES besides; every house has a kitchen."""

DEVICES: Mapping[str, str] = {"clean": "sink", "hot": "microwave", "cold": "fridge"}
"""State -> kind of place where a thing gets it."""
CLOSED = frozenset(("fridge", "microwave", "cabinet", "drawer", "chest", "wardrobe", "safe", "dresser", "washing machine"))
"""Kinds of places that are closed at first."""
INSIDE = CLOSED | {"garbage can", "sink", "bathtub", "basket", "crate", "bookcase"}
"""Kinds that one puts things in, rather than on."""
LAMPS: Mapping[str, str] = {"desk": "desk lamp", "side table": "table lamp", "workbench": "work lamp"}
"""Kind of place -> the lamp that stands there."""
KNIFE = "knife"
STATES: Mapping[str, str] = {"clean": "washed", "hot": "hot", "cold": "cold", "sliced": "sliced"}
"""State -> the word for a thing in it."""


class Thing(NamedTuple):
    """A kind of thing."""

    places: tuple[str, ...]
    """Kinds of places where it may be wanted; it may lie in any place."""
    states: frozenset[str]
    """Those of STATES that it can get."""
    looked_at: bool = False
    """Whether one may be asked to look at it under a lamp."""


_FOOD = ("fridge", "counter", "dining table", "garbage can", "microwave", "cabinet", "shelf", "stove", "crate", "coffee table")
_DISH = (
    "cabinet",
    "counter",
    "shelf",
    "dining table",
    "coffee table",
    "fridge",
    "microwave",
    "sink",
    "side table",
    "stove",
    "desk",
)
_TOOL = ("drawer", "counter", "dining table", "sink", "cabinet", "side table", "stove")
_BATH = (
    "bathtub",
    "cabinet",
    "toilet",
    "shelf",
    "drawer",
    "counter",
    "garbage can",
    "washing machine",
    "basket",
    "sink",
    "dresser",
)
_DESK = (
    "desk",
    "drawer",
    "shelf",
    "sofa",
    "bed",
    "safe",
    "coffee table",
    "dresser",
    "bookcase",
    "side table",
    "armchair",
    "chest",
)
_HOME = ("sofa", "armchair", "bed", "shelf", "coffee table", "desk", "dresser", "wardrobe", "bench", "chest", "tv stand", "crate")


def _things(names: str, places: tuple[str, ...], states: str = "", *, looked_at: bool = False) -> dict[str, Thing]:
    thing = Thing(places, frozenset(states.split()), looked_at)
    return dict.fromkeys(names.split(", "), thing)


THINGS: Mapping[str, Thing] = {
    **_things("apple, loaf, lettuce, potato, tomato, carrot, onion, peach", _FOOD, "clean hot cold sliced"),
    **_things("egg, sausage, lemon", _FOOD, "clean hot cold"),
    **_things("mug, cup, plate, bowl", _DISH, "clean hot cold"),
    **_things("pan, pot, glass, kettle", _DISH, "clean cold"),
    **_things("fork, spoon, spatula, ladle, whisk", _TOOL, "clean"),
    **_things(KNIFE, _TOOL, "clean"),
    **_things("soap bar, cloth, sponge, towel", _BATH, "clean"),
    **_things("toilet roll, spray bottle, candle", _BATH),
    **_things("book, notebook, newspaper, letter, magazine, photo", _DESK, looked_at=True),
    **_things("pen, pencil, laptop, phone, credit card, keychain, watch, disc", _DESK, looked_at=True),
    **_things("remote control, pillow, vase, statue, alarm clock, teddy bear", _HOME, looked_at=True),
    **_things("basketball, tennis racket, umbrella, watering can", _HOME, looked_at=True),
}


def kind_of(name: str) -> str:
    """`apple` of "apple 2"."""
    return name.rpartition(" ")[0]
