"""Names and words that the lookup worlds are made of.

Terse names are two of 18 syllables, 324 names: few enough to be tokens of their own, so that a small model copies a name in
one step, and never an English word of the instructions. Worlds, not names, are what is new in the test split. Plain names are
composed from word lists, which are long, so that no constant answer pays.
"""

from turnwise.envs.draws import Draws

__all__ = ["draw_name", "similar_name"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_SYLLABLES = tuple(c + v for c in "bfkmrv" for v in "aiu")
_FIRST = _words(
    """
    Ada Alma Anton Bela Boris Carla Cyril Dora Edda Emil Fenja Frida Gerd Greta Hanno Hedda Ida Ivo Jana Joris Kaspar
    Klara Levin Lotte Magda Mira Nils Nora Olga Otto Paula Petra Quirin Rasmus Rosa Selma Sven Tilda Tomas Ulla Ursin Vera
    Viktor Wanda Willem Xenia Yara Zeno
    """
)
_FAMILY = _words(
    """
    Adler Amsel Bahr Beck Brand Carl Dahl Dorn Eber Falk Fink Gruber Haas Hahn Ilg Jung Kern Kuhn Lang Lind Marz Mohr
    Nagel Neff Oertel Pohl Quast Rabe Reuter Sack Stahl Tan Thal Ulm Vogt Wald Weiss Zander Zorn Zuck
    """
)
_TOWN = _words(
    """
    Alder Amber Barrow Birch Black Bram Cold Crow Dun East Elm Fair Fern Gold Green Hart High Ivy Kings Long Maple Marsh
    North Oak Otter Pine Raven Silver South Stan Thorn West White Wolf Wool
    """
)
_TOWN_END = _words(
    """
    bury by cliff croft dale field ford gate ham haven hurst ley minster moor mouth port stead ton wick wood
    """
)
_RIVER_END = _words(
    """
    ach beck bourne brook burn fleet run rill water wend
    """
)
_SHIP = _words(
    """
    Amber Bold Brave Bright Calm Dancing Eager Fair Fleet Gallant Gentle Golden Grey Happy Hidden Jolly Last Lone Lucky
    Merry Misty Noble Old Pale Proud Quick Quiet Royal Silent Silver Swift Wandering
    """
)
_SHIP_NOUN = _words(
    """
    Albatross Anchor Badger Beacon Comet Crane Curlew Dolphin Dragon Eagle Falcon Gull Heron Kestrel Lantern Lark Lion
    Marten Otter Pearl Pelican Petrel Plover Raven Seal Siren Sparrow Star Stork Swallow Swan Tern Thistle Unicorn Walrus
    Wren
    """
)
_COLOUR = _words(
    """
    amber azure beige black blue bronze brown cherry coral cream crimson cyan golden green grey indigo ivory jade khaki
    lilac lime maroon mauve navy ochre olive orange pink plum purple rose ruby rust saffron scarlet silver tan teal
    turquoise violet white yellow
    """
)
_MATERIAL = _words(
    """
    alder ash balsa bamboo beech birch brass cane cedar cherrywood copper cork cypress ebony elm fir granite iron larch
    leather linden mahogany maple nickel oak osier pewter pine poplar reed rosewood spruce steel teak tin walnut willow
    yew zinc
    """
)


def draw_name(kind: str, terse: bool, draws: Draws) -> str:
    """A random name for a person, town, river or thing, or a value for one of the kinds that have no page (sea, market, ...)."""
    pick = draws.pick
    if kind in ("colour", "material"):
        words = _COLOUR if kind == "colour" else _MATERIAL
        return pick(words[::4] if terse else words)
    if terse:
        return (pick(_SYLLABLES) + pick(_SYLLABLES)).capitalize()
    if kind == "person":
        return f"{pick(_FIRST)} {pick(_FAMILY)}"
    if kind == "thing":
        return f"{pick(_SHIP)} {pick(_SHIP_NOUN)}"
    if kind == "river":
        return pick(_TOWN) + pick(_RIVER_END)
    return pick(_TOWN) + pick(_TOWN_END)


def similar_name(name: str, terse: bool, draws: Draws) -> str:
    """A name that is easily taken for `name`: the same first syllable, or the same first name."""
    if terse:
        return name[:2] + draws.pick(_SYLLABLES)
    first, _, rest = name.partition(" ")
    return f"{first} {draws.pick(_FAMILY)}" if rest else draws.pick(_TOWN) + name[-4:]
