"""Names of the people, places and things of a generated world: composed of parts, so that there are many, and that a similar one
differs in one part ("Mira Tanhofer", "Mira Tanberg"). All are written in ASCII."""

from __future__ import annotations

from turnwise.envs.draws import Draws

__all__ = ["KINDS", "Parts", "draw_parts", "similar_parts", "spelled"]

Parts = tuple[int, ...]
"""Which of the words of each slot a name is made of."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST = _words(
    """
    Adela Agnes Albin Alma Anton Arvid Astrid Aurel Basil Beata Boris Brita Casper Celia Cyril Dagny Darius Delia Edda Edgar
    Edith Elin Elmar Emil Erna Esther Fabian Felix Fenja Flora Frida Georg Gerda Greta Gustav Hanna Hedda Helga Henrik Hilda
    Hugo Ida Ingrid Irma Isak Ivo Jakob Jana Joris Judith Kaspar Katja Klara Konrad Lena Levin Linus Lotte Ludwig Magda
    Malte Marit Martha Matti Milan Mira Moritz Nadia Nils Nora Oda Olga Oskar Otto Paula Petra Quirin Ragna Rasmus Rosa
    Rufus Runa Samuel Selma Sigrid Silas Sofia Stella Sven Tabea Thea Tilda Tomas Ulla Ursin Valentin Vera Viktor Wanda
    Willem Xenia Yara Zeno
    """
)
_FAMILY = _words(
    """
    Ack Alt Ber Blom Bor Brand Dal Dorn Eck Eich Fal Fink Gar Gol Grun Haber Hag Hart Holl Ilm Jor Kal Kess Kron Lan Lind
    Lor Mar Merk Moll Nie Nord Oster Pahl Pfal Quer Rab Rein Ros Sand Sill Stein Sund Tan Thal Uhl Vall Vogel Wall Weg
    Winter Zell Zim
    """
)
_FAMILY_END = _words(
    """
    auer bach bauer baum beck berg brecht burger dahl dorf egger feld fors gaard gard heim hofer holm horst hus kamp lander
    lund mann meier mark nagel oft quist reuter rup schmidt son stad strom thorpe vall wald
    """
)
_PLACE = _words(
    """
    Alder Amber Ash Barrow Birch Black Bram Bright Brook Cold Crow Dun East Elder Elm Fair Fallow Fern Flint Frost Glen Gold
    Grave Green Hart Haw Hazel Heath High Hollow Ivy Kings Lark Linden Long Maple Marsh Mill Moss North Oak Otter Pine Plum
    Quarry Raven Red Rook Rowan Sedge Silver South Stan Swan Thistle Thorn Wake West Whit Wolf Wool Yarrow
    """
)
_MIDDLE = (
    *("", "a", "ad", "am", "an", "ar", "ba", "by", "da", "el", "els", "em", "en", "ens", "er", "ers", "es", "ew", "in", "ing"),
    *("ings", "is", "ka", "la", "lo", "ma", "na", "ner", "o", "or", "os", "ow", "ra", "ro", "ta", "ter", "ver", "wa", "wen", "y"),
)
_TOWN_END = _words(
    """
    beck borough bridge bury by cliff combe cote croft dale den field ford gate ham haven hithe holt hurst ley market mere
    minster moor mouth ness port stead stoke thorpe ton wick wood worth
    """
)
_RIVER_END = _words("ach beck bourne brook burn dell fleet lode rill run strand wash water wend winter")
_TRADE = _words(
    """
    Bakers Bindery Boatbuilders Brewery Chandlers Chemists Cooperage Couriers Distillers Drapers Dyeworks Exporters Ferries
    Foundry Furriers Glassworks Hosiery Importers Insurance Ironworks Joinery Mills Mining Navigation Opticians Outfitters
    Packers Pianos Potteries Press Printers Quarries Ropeworks Saddlery Salvage Shipping Shipyard Smelters Spinners
    Stationers Tanners Timber Towage Traders Weavers
    """
)
_ADJECTIVE = _words(
    """
    Amber Ardent Bold Brave Bright Calm Constant Crimson Dancing Daring Eager Fair Faithful Gallant Gentle Gilded Golden
    Grey Happy Hidden Iron Jolly Last Lone Lucky Merry Misty Morning Noble Northern Old Pale Patient Proud Quick Quiet Royal
    Scarlet Silent Silver Solemn Southern Steady Swift Vigilant Wandering White
    """
)
_BEAST = _words(
    """
    Albatross Badger Bittern Bream Buzzard Comet Cormorant Crane Curlew Dolphin Dragon Eagle Egret Falcon Fulmar Gannet
    Goshawk Gull Heron Ibis Kestrel Kite Lantern Lapwing Lark Lion Marten Merlin Osprey Otter Pearl Pelican Petrel Plover
    Puffin Raven Sandpiper Seal Siren Skua Sparrow Stork Swallow Swan Tern Thistle Unicorn Walrus Wren
    """
)
_WAY = _words(
    """
    Alley Avenue Close Court Crescent Cross Drive Ford Gate Green Hill Landing Lane Mead Mews Parade Park Passage Quay Reach
    Rise Road Row Steps Street Terrace Walk Way Wharf Yard
    """
)
_THING = _words(
    """
    Amulet Anchor Archive Banquet Bell Candle Carousel Clock Compass Crown Doll Ferry Fiddle Garden Glove Hourglass Journey
    Kettle Key Ladder Lantern Letter Loom Mirror Needle Oracle Orchard Parcel Portrait Promise Puppet Quarrel Ribbon Saddle
    Shadow Song Staircase Tailor Ticket Umbrella Verdict Violin Voyage Wager Weaver Window
    """
)
_OF = _words(
    """
    April Ashes August Autumn Brass Chalk Clay Cinders Copper Dawn December Dusk Ebony Ember Fog Glass Granite Hunger Ice
    Ink Ivory January Jasper July June Lead Linen March Marble May Midnight Moonlight Noon November October Paper Porcelain
    Rain Rust Salt Sand Sleet Slate Smoke Snow Sorrow Straw Thunder Velvet Winter
    """
)
_COLLECTED = _words(
    """
    Almanacs Anatomy Armour Astronomy Bells Botany Brewing Cartography Ceramics Clockwork Coins Costume Engraving Fossils
    Geology Glassware Heraldry Horology Instruments Lace Magnetism Maps Masks Medicine Minerals Mosaics Navigation Optics
    Ornithology Pewter Photography Postage Pottery Printing Puppetry Ropemaking Sculpture Seafaring Tapestry Telegraphy
    Textiles Timber Toys Typography Watches Weaving Whaling Woodcuts
    """
)
_HOUSE = _words("Academy Cabinet Collection Gallery Hall House Institute Museum Pavilion Rooms")

_SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "person": (_FIRST, _FAMILY, _FAMILY_END),
    "town": (_PLACE, _MIDDLE, _TOWN_END),
    "river": (_PLACE, _MIDDLE, _RIVER_END),
    "company": (_FAMILY, _FAMILY_END, _TRADE),
    "ship": (_ADJECTIVE, _BEAST, _PLACE),
    "bridge": (_FAMILY, _FAMILY_END, _WAY),
    "museum": (_PLACE, _MIDDLE, _HOUSE, _COLLECTED),
    "novel": (_ADJECTIVE, _THING, _OF),
}
_SPELLED = {
    "person": "{} {}{}",
    "town": "{}{}{}",
    "river": "{}{}{}",
    "company": "{}{} {}",
    "ship": "{} {} of {}",
    "bridge": "{}{} {} Bridge",
    "museum": "{}{} {} of {}",
    "novel": "The {} {} of {}",
}
KINDS = tuple(_SLOTS)


def draw_parts(kind: str, draws: Draws) -> Parts:
    """A random name of that kind."""
    return tuple(draws.below(len(words)) for words in _SLOTS[kind])


def similar_parts(kind: str, parts: Parts, draws: Draws) -> Parts:
    """A name of that kind that has all parts but one of `parts`."""
    at = draws.below(len(parts))
    return (*parts[:at], draws.below(len(_SLOTS[kind][at])), *parts[at + 1 :])


def spelled(kind: str, parts: Parts) -> str:
    """The name as text."""
    return _SPELLED[kind].format(*(words[part] for words, part in zip(_SLOTS[kind], parts, strict=True)))
