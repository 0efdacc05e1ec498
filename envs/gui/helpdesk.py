"""A help desk: tickets and customers in tabs; tickets are filed and answered with what stands in another tab."""

from __future__ import annotations

import copy
from typing import Any

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import Made, chosen
from turnwise.envs.gui.widgets import Node, bar, button, card, combobox, grid, heading, link, remembered, tab, text, textbox
from turnwise.envs.gui.words import CITIES, FIRST, LAST

__all__ = ["HelpDesk"]

STATUS = ("New", "Open", "Waiting", "Solved")
PRIORITY = ("Low", "Normal", "High", "Urgent")
AGENTS = ("Nobody", "Amir", "Bea", "Chen", "Dora")
ASKED = {"Order": "order number", "City": "city", "Plan": "plan", "Account": "account number"}
PLANS = ("Basic", "Plus", "Family", "Business")
TROUBLES = (
    "cannot log in",
    "paid twice",
    "lost a parcel",
    "wants a refund",
    "needs an invoice",
    "changed address",
    "broke a screen",
)
COSTS = {"status": 3, "priority": 3, "agent": 3, "file": 4, "answer": 5}
"""What can be asked for, and about how many actions it takes."""
_CHOICES = {"choose_status": STATUS, "choose_priority": PRIORITY, "choose_agent": AGENTS}
_MOST_TABS = 7


class HelpDesk(App):
    """`data`: {"tickets": {number: {"customer", "subject", "status", "priority", "agent", "answer"}}, "customers": {name: {}}}.

    The facts about a customer are those of ASKED.
    """

    name, title, home = "helpdesk", "Help desk", "list/"

    def __init__(self, data: Any, goal: Any) -> None:
        self.tabs: tuple[str, ...] = ("list/",)
        """Places that are open, in the order of their tabs."""
        super().__init__(data, goal)

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """Tickets, customers, and what is to be done."""
        people = [f"{draws.pick(FIRST)} {last}" for last in draws.shuffled(LAST)[: 3 + 2 * level]]
        customers = {
            who: {
                "Order": str(10_000 + draws.below(90_000)),
                "City": draws.pick(CITIES),
                "Plan": draws.pick(PLANS),
                "Account": f"A-{100 + draws.below(900)}",
            }
            for who in people
        }
        heads = draws.shuffled([(who, trouble) for who in people for trouble in TROUBLES])[: 4 + 4 * level]
        tickets: dict[str, Any] = {}
        for number, (who, trouble) in enumerate(heads, 101 + draws.below(800)):
            ticket = {"customer": who, "subject": trouble, "status": draws.pick(STATUS[:3]), "priority": draws.pick(PRIORITY)}
            tickets[str(number)] = {**ticket, "agent": draws.pick(AGENTS), "answer": ""}
        goal, said = copy.deepcopy(tickets), list[str]()
        numbers = iter(draws.shuffled(list(tickets)))
        kinds, steps = chosen(draws, COSTS, level, at_most=len(tickets))
        for kind in kinds:
            said.append(_change(draws, kind, goal[next(numbers)], customers))
        return Made(said, {"tickets": tickets, "customers": customers}, {"tickets": goal}, steps)

    @override
    def nodes(self) -> list[Node]:
        inside = {"list": self._list, "ticket": self._ticket, "customer": self._customer}[self.kind]()
        return [_tabs(self.tabs, self.place), *inside]

    def _list(self) -> list[Node]:
        tickets = self.data["tickets"]
        rows = [
            _row(number, t["customer"], t["subject"], t["status"], t["agent"])
            for number, t in ((number, tickets[number]) for number in self.shown(list(tickets)))
        ]
        return [heading("All tickets"), card(*rows), *self.position()]

    def _ticket(self) -> list[Node]:
        ticket, fields = self.data["tickets"][self.argument], self.fields
        return [
            heading(f"#{self.argument} {_subject(ticket)}"),
            bar(text("Customer"), link(f"customer/{ticket['customer']}", ticket["customer"])),
            _form(tuple([fields[field] for field in _CHOICES]), fields["answer"]),
            bar(button("save/", "Save")),
        ]

    def _customer(self) -> list[Node]:
        facts = self.data["customers"][self.argument]
        return [heading(self.argument), card(*(text(f"{name}: {value}") for name, value in facts.items()))]

    @override
    def arrived(self) -> None:
        self.fields = {}
        if self.place not in self.tabs:
            kept = self.tabs if len(self.tabs) < _MOST_TABS else (self.home, *self.tabs[2:])  # the oldest goes
            self.tabs = (*kept, self.place)
        if self.kind == "ticket":
            ticket = self.data["tickets"][self.argument]
            self.fields = {field: ticket[field.removeprefix("choose_")] for field in (*_CHOICES, "answer")}

    def on_tab(self, place: str) -> None:
        self.go(place)

    def on_ticket(self, number: str) -> None:
        self.go(f"ticket/{number}")

    def on_customer(self, name: str) -> None:
        self.go(f"customer/{name}")

    def on_close(self, _: str) -> None:
        self.tabs = tuple(place for place in self.tabs if place != self.place)
        self.go(self.tabs[-1])

    def on_save(self, _: str) -> None:
        self.data["tickets"][self.argument] |= {field.removeprefix("choose_"): value for field, value in self.fields.items()}
        self.note = "Saved."

    @override
    def wanted(self) -> Step | None:
        tickets, goal = self.data["tickets"], self.goal["tickets"]
        number = next((number for number in tickets if tickets[number] != goal[number]), None)
        if number is None:
            return None
        want, place = goal[number], f"ticket/{number}"
        facts = f"customer/{want['customer']}"
        if want["answer"] != tickets[number]["answer"] and facts not in self.tabs:  # look it up before writing it
            return ("click", facts, "") if self.place == place else self._at(number)
        if self.place != place:
            return ("click", f"tab/{place}", "") if place in self.tabs else self._at(number)
        values = {field: want[field.removeprefix("choose_")] for field in self.fields}
        return self.filled(**values) or ("click", "save/", "")

    def _at(self, number: str) -> Step:
        """The ticket's row of the list."""
        if self.place != self.home:
            return ("click", f"tab/{self.home}", "")
        return self.scrolled_to(list(self.data["tickets"]).index(number)) or ("click", f"ticket/{number}", "")


def _name(place: str) -> str:
    kind, _, argument = place.partition("/")
    return "Tickets" if kind == "list" else f"#{argument}" if kind == "ticket" else argument


@remembered
def _tabs(places: tuple[str, ...], here: str) -> Node:
    tabs = [tab(f"tab/{place}", _name(place), on=place == here) for place in places]
    return bar(*tabs, *([button("close/", "Close tab")] if here != HelpDesk.home else []))


@remembered
def _form(choices: tuple[str, ...], answer: str) -> Node:
    boxes = [
        combobox(f"field/{field}", field.removeprefix("choose_").capitalize(), choice, options)
        for (field, options), choice in zip(_CHOICES.items(), choices, strict=True)
    ]
    return card(grid(3, boxes), textbox("field/answer", "Answer", answer))


@remembered
def _row(number: str, customer: str, subject: str, status: str, agent: str) -> Node:
    """A ticket in the list."""
    return bar(link(f"ticket/{number}", f"#{number} {customer} {subject}"), text(f"{status}, {agent}"))


def _subject(ticket: dict[str, str]) -> str:
    return f"{ticket['customer']} {ticket['subject']}"


def _change(draws: Draws, kind: str, ticket: dict[str, str], customers: dict[str, dict[str, str]]) -> str:
    """Change the goal, and say so."""
    which = f'the ticket "{_subject(ticket)}"'
    if kind == "answer":
        fact = draws.pick(tuple(ASKED))
        ticket["answer"] = customers[ticket["customer"]][fact]
        return f"answer {which} with the customer's {ASKED[fact]} and nothing else"
    options = {"status": STATUS, "priority": PRIORITY, "agent": AGENTS}
    names = ("priority", "agent") if kind == "file" else (kind,)
    for name in names:
        ticket[name] = draws.pick([option for option in options[name] if option != ticket[name]])
    return f"set {' and '.join(f'the {name} to {ticket[name]}' for name in names)} of {which}"
