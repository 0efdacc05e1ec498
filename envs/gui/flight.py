"""Flights: search, results, and a booking form that grows to a hundred elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import Made
from turnwise.envs.gui.widgets import Node, bar, button, card, checkbox, combobox, grid, heading, remembered, text, textbox
from turnwise.envs.gui.words import CITIES, FIRST, LAST

__all__ = ["Flight"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SEATS = ("Any", "Window", "Middle", "Aisle")
MEALS = ("Standard", "Vegetarian", "Vegan", "Kosher", "Halal", "None")
TITLES = ("Ms", "Mr", "Dr")
CLASSES = ("Economy", "Premium", "Business")
EXTRAS = ("Insurance", "Lounge", "Early boarding", "Fast track", "Airport transfer", "Carbon offset", "SMS updates", "Newsletter")
PLANS = {1: (1, 0, False), 2: (2, 3, False), 3: (3, 3, True), 4: (4, 7, True), 5: (6, 13, True)}
"""Level -> travellers, fields to change, whether the flight has to be searched for."""
_ROWS = {
    "title": ("choose_title", "Title", TITLES),
    "first": ("first", "First name", ()),
    "last": ("last", "Last name", ()),
    "class": ("choose_class", "Class", CLASSES),
    "seat": ("choose_seat", "Seat", SEATS),
    "meal": ("choose_meal", "Meal", MEALS),
    "passport": ("passport", "Passport number", ()),
    "card": ("card", "Bonus card", ()),
    "years": ("years", "Age", ()),
    "bag": ("tick_bag", "Extra bag", ()),
    "sport": ("tick_sport", "Sports gear", ()),
    "chair": ("tick_chair", "Wheelchair", ()),
    "infant": ("tick_infant", "With infant", ()),
    "pet": ("tick_pet", "Pet in cabin", ()),
}
"""What is asked of each traveller -> name of the field, its label, its options."""


class Flight(App):
    """`data`: {"flights": [{"from", "to", "day", "at", "price"}], "form": {field: value}, "travellers": n, "booking": None}.

    The booking is {"flight": its number, field: value, ...}. `form` is what the airline knows about the travellers already.
    """

    name, title, home = "flight", "Flights", "search/"

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """Flights, travellers, and what is to be booked for them."""
        travellers, changes, searched = PLANS[level]
        cities = draws.shuffled(CITIES)[: 3 + level]
        routes = [(a, b, day) for a in cities for b in cities if a != b for day in DAYS[: 2 + level]]
        flights = [
            {"from": a, "to": b, "day": day, "at": at, "price": 60 + draws.below(500)}
            for a, b, day in draws.shuffled(routes)[: 4 + 2 * level]
            for at in sorted({f"{6 + draws.below(16):02d}:{5 * draws.below(12):02d}" for _ in range(2 + draws.below(3))})
        ]
        form = _blank(travellers)
        for number, last in enumerate(draws.shuffled(LAST)[:travellers]):
            form |= {f"first_{number}": draws.pick(FIRST), f"last_{number}": last, f"choose_title_{number}": draws.pick(TITLES)}
        chosen = draws.below(len(flights))
        flight = flights[chosen]
        home = "search/" if searched else f"results/{flight['from']}/{flight['to']}/{flight['day']}"
        data = {"flights": flights, "form": form, "travellers": travellers, "booking": None, "home": home}
        values = dict(form)
        said = [f"book the flight from {flight['from']} to {flight['to']} on {flight['day']} at {flight['at']}"]
        for field in draws.shuffled(_changeable(travellers, form))[:changes]:
            values[field] = _other(draws, field, form[field])
            said.append(_sentence(field, values, form))
        return Made(said, data, {"booking": {"flight": chosen, **values}}, 2 + changes + (4 if searched else 0))

    @override
    def nodes(self) -> list[Node]:
        match self.kind:
            case "search":
                return self._search()
            case "results":
                return self._results()
            case "form":
                return self._form()
            case _:
                return [heading("Booked"), text("Have a good flight.")]

    def _search(self) -> list[Node]:
        boxes = (
            combobox("field/choose_from", "From", self.fields["choose_from"], CITIES),
            combobox("field/choose_to", "To", self.fields["choose_to"], CITIES),
            combobox("field/choose_day", "Day", self.fields["choose_day"], DAYS),
        )
        return [heading("Find a flight"), card(grid(3, boxes), bar(button("find/", "Search flights")))]

    def _results(self) -> list[Node]:
        start, end, day = self.argument.split("/")
        rows = [
            bar(button(f"take/{number}", "Choose"), text(f"{flight['at']}, {flight['price']} EUR"))
            for number, flight in enumerate(self.data["flights"])
            if (flight["from"], flight["to"], flight["day"]) == (start, end, day)
        ]
        head = heading(f"{start} to {end}, {day}")
        return [head, card(*rows) if rows else text("There are no such flights."), bar(button("search/", "New search"))]

    def _form(self) -> list[Node]:
        flight, travellers = self.data["flights"][int(self.argument)], self.data["travellers"]
        cards = [_card(number, tuple([self.fields[name] for name in _names(number)])) for number in range(travellers)]
        extras = [
            checkbox(f"field/tick_extra_{at}", name, on=self.fields[f"tick_extra_{at}"] == "on") for at, name in enumerate(EXTRAS)
        ]
        contact = [textbox(f"field/{name}", name.capitalize(), self.fields[name]) for name in ("email", "phone", "voucher")]
        return [
            heading(f"{flight['from']} to {flight['to']}, {flight['day']} {flight['at']}"),
            grid(min(3, travellers), cards),
            card(grid(8, extras), grid(3, contact)),
            bar(button("book/", "Book now"), button("search/", "Cancel")),
        ]

    @override
    def arrived(self) -> None:
        self.fields = {}
        if self.kind == "search":
            self.fields = {"choose_from": CITIES[0], "choose_to": CITIES[1], "choose_day": DAYS[0]}
        elif self.kind == "form":
            self.fields = dict(self.data["form"])

    def on_search(self, _: str) -> None:
        self.go("search/")

    def on_find(self, _: str) -> None:
        self.go(f"results/{self.fields['choose_from']}/{self.fields['choose_to']}/{self.fields['choose_day']}")

    def on_take(self, number: str) -> None:
        self.go(f"form/{number}")

    def on_book(self, _: str) -> None:
        self.data["booking"], self.over = {"flight": int(self.argument), **self.fields}, True
        self.go("booked/")

    @override
    def wanted(self) -> Step | None:
        booking = self.goal["booking"]
        flight = self.data["flights"][booking["flight"]]
        route = f"{flight['from']}/{flight['to']}/{flight['day']}"
        if self.over:
            return None
        if self.place == f"form/{booking['flight']}":
            values = {field: value for field, value in booking.items() if field != "flight"}
            return self.filled(**values) or ("click", "book/", "")
        if self.place == f"results/{route}":
            return ("click", f"take/{booking['flight']}", "")
        if self.kind != "search":
            return ("click", "search/", "")
        route_fields = {"choose_from": flight["from"], "choose_to": flight["to"], "choose_day": flight["day"]}
        return self.filled(**route_fields) or ("click", "find/", "")


@remembered
def _names(number: int) -> tuple[str, ...]:
    """The fields of a traveller."""
    return tuple(f"{row[0]}_{number}" for row in _ROWS.values())


@remembered
def _card(number: int, values: tuple[str, ...]) -> Node:
    """A traveller's part of the form."""
    fields = list[Node]()
    for name, (_, label, options), value in zip(_names(number), _ROWS.values(), values, strict=True):
        key = f"field/{name}"
        if name.startswith("tick_"):
            fields.append(checkbox(key, label, on=value == "on"))
        else:
            fields.append(combobox(key, label, value, options) if options else textbox(key, label, value))
    return card(heading(f"Traveller {number + 1}", 3), grid(3, fields))


def _blank(travellers: int) -> dict[str, str]:
    """Every field of the form, nothing chosen."""
    fields = {f"{row[0]}_{number}": (row[2] or ("",))[0] for number in range(travellers) for row in _ROWS.values()}
    return fields | {f"tick_extra_{at}": "" for at in range(len(EXTRAS))} | dict.fromkeys(("email", "phone", "voucher"), "")


def _changeable(travellers: int, form: dict[str, str]) -> list[str]:
    """All but the travellers' names and titles, by which they are told apart."""
    known = {f"{name}_{number}" for name in ("first", "last", "choose_title") for number in range(travellers)}
    return [field for field in form if field not in known]


def _other(draws: Draws, field: str, value: str) -> str:
    """A value that a field does not have yet."""
    if field.startswith("tick_"):
        return "on"
    made: dict[str, Callable[[], str]] = {
        "passport": lambda: f"P{10_000_000 + draws.below(90_000_000)}",
        "card": lambda: f"BC-{1000 + draws.below(9000)}",
        "years": lambda: str(18 + draws.below(70)),
        "phone": lambda: f"0{100_000 + draws.below(900_000)}",
        "email": lambda: f"{draws.pick(FIRST).lower()}@mail.test",
        "voucher": lambda: f"V{100 + draws.below(900)}",
    }
    kind = field.rpartition("_")[0] or field
    if kind in made:
        return made[kind]()
    options = next(row[2] for row in _ROWS.values() if row[0] == kind)
    return draws.pick([option for option in options if option != value])


def _sentence(field: str, values: dict[str, Any], form: dict[str, str]) -> str:
    """What is asked for, in words."""
    kind, _, number = field.rpartition("_")
    if not kind:
        return f"{field} {values[field]}"
    if kind == "tick_extra":
        return f"with {EXTRAS[int(number)].lower()}"
    label = next(row[1] for row in _ROWS.values() if row[0] == kind).lower()
    who = f"{form[f'first_{number}']} {form[f'last_{number}']}"
    return f"{label} for {who}" if kind.startswith("tick_") else f"{label} {values[field]} for {who}"
