"""A calendar: weeks of days and hours; events are made, moved, renamed and deleted."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import Made, chosen
from turnwise.envs.gui.widgets import Node, bar, button, card, combobox, grid, heading, text, textbox
from turnwise.envs.gui.words import FIRST, TOPICS

__all__ = ["Calendar"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
HOURS = tuple(f"{hour:02d}:00" for hour in range(9, 18))
LENGTHS = ("30 minutes", "1 hour", "90 minutes", "2 hours")
WEEKS = 4
WEEK_NAMES = tuple(str(week + 1) for week in range(WEEKS))
COSTS = {"rename": 3, "delete": 3, "make": 3, "move": 4, "plan": 5}
"""What can be asked for, and about how many actions it takes in the week that is shown."""
_FIELDS = ("title", "choose_week", "choose_day", "choose_hour", "choose_length", "guest")


class Calendar(App):
    """`data`: {"events": [{"title", "week", "day", "hour", "length", "guest"}]}, in any order; two never begin at once."""

    name, title, home = "calendar", "Calendar", "week/1"

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """A calendar and what is to be done in it."""
        weeks = min(WEEKS, max(1, level - 1))
        titles = draws.shuffled([f"{topic} with {who}" for topic in TOPICS for who in FIRST])
        slots = draws.shuffled([(str(week + 1), day, hour) for week in range(weeks) for day in DAYS for hour in HOURS])
        events = [_event(titles.pop(), *slots.pop(), draws.pick(LENGTHS), "") for _ in range(4 + 4 * level)]
        goal, said = copy.deepcopy(events), list[str]()
        untouched = iter(draws.shuffled(range(len(events))))
        kinds, steps = chosen(draws, COSTS, level, at_most=6)
        gone = list[int]()
        for kind in kinds:
            at = next(untouched)
            free = next((slot for slot in slots if kind != "move" or slot[0] == goal[at]["week"]), slots[0])
            slots.remove(free)
            said.append(_change(draws, kind, goal, at, titles.pop(), free))
            if kind == "delete":
                gone.append(at)
        goal = [event for at, event in enumerate(goal) if at not in gone]
        return Made(said, {"events": events}, {"events": goal}, steps + (weeks > 1) * len(kinds))

    @override
    def nodes(self) -> list[Node]:
        return self._week() if self.kind == "week" else self._form()

    def _week(self) -> list[Node]:
        week = int(self.argument)
        turn = (
            button(f"week/{week - 1}", "Week before", off=week == 1),
            button(f"week/{week + 1}", "Week after", off=week == WEEKS),
        )
        events = enumerate(self.data["events"])
        shown = tuple(
            (event["day"], event["hour"], number, event["title"]) for number, event in events if event["week"] == self.argument
        )
        return [bar(heading(f"Week {week}"), *turn), _grid(shown)]

    def _form(self) -> list[Node]:
        fields = self.fields
        boxes = (
            textbox("field/title", "Title", fields["title"]),
            textbox("field/guest", "Guest", fields["guest"]),
            combobox("field/choose_week", "Week", fields["choose_week"], WEEK_NAMES),
            combobox("field/choose_day", "Day", fields["choose_day"], DAYS),
            combobox("field/choose_hour", "Start", fields["choose_hour"], HOURS),
            combobox("field/choose_length", "Length", fields["choose_length"], LENGTHS),
        )
        known = self.kind == "event"
        buttons = [button("save/", "Save"), button("leave/", "Cancel"), *([button("delete/", "Delete")] if known else [])]
        return [heading("Event" if known else "New event"), card(grid(2, boxes)), bar(*buttons)]

    @override
    def arrived(self) -> None:
        self.fields = {}
        if self.kind == "event":
            event = self.data["events"][int(self.argument)]
            self.fields = {field: event[field.removeprefix("choose_")] for field in _FIELDS}
        elif self.kind == "slot":
            week, day, hour = self.argument.split("/")
            values = ("", week, day, hour, LENGTHS[1], "")
            self.fields = dict(zip(_FIELDS, values, strict=True))

    def on_week(self, week: str) -> None:
        self.go(f"week/{week}")

    def on_event(self, number: str) -> None:
        self.go(f"event/{number}")

    def on_slot(self, when: str) -> None:
        self.go(f"slot/{self.argument}/{when}")

    def on_leave(self, _: str) -> None:
        self.go(f"week/{self._from()}")

    def on_save(self, _: str) -> None:
        made = {field.removeprefix("choose_"): value for field, value in self.fields.items()}
        events, number = self.data["events"], int(self.argument) if self.kind == "event" else -1
        if not made["title"]:
            self.note = "The title is empty."
        elif any(_when(other) == _when(made) for at, other in enumerate(events) if at != number):
            self.note = "There is an event at that time already."
        else:
            week = self._from()
            if number < 0:
                events.append(made)
            else:
                events[number] = made
            self.go(f"week/{week}")
            self._changed_to("Saved.")

    def on_delete(self, _: str) -> None:
        self.ask("Delete event", f'Delete "{self.data["events"][int(self.argument)]["title"]}"?', f"drop/{self.argument}")

    def on_drop(self, number: str) -> None:
        week = self._from()
        del self.data["events"][int(number)]
        self.go(f"week/{week}")
        self._changed_to("Deleted.")

    def _changed_to(self, note: str) -> None:
        """The numbers of events are others now, so that pages from before cannot be gone back to."""
        self.history, self.note = [], note

    def _from(self) -> str:
        """The week that the form belongs to."""
        return self.argument.split("/")[0] if self.kind == "slot" else self.data["events"][int(self.argument)]["week"]

    @property
    @override
    def solved(self) -> bool:
        """In whatever order they were made."""
        events, goal = self.data["events"], self.goal["events"]
        return len(events) == len(goal) and all(event in events for event in goal)

    @override
    def agrees(self, key: str) -> bool:
        number = key.removeprefix("drop/")
        return number.isdigit() and int(number) in self._stray() and not self._changed()

    def _stray(self) -> list[int]:
        """Events that are not as they should be."""
        return [number for number, event in enumerate(self.data["events"]) if event not in self.goal["events"]]

    def _missing(self) -> list[dict[str, Any]]:
        return [event for event in self.goal["events"] if event not in self.data["events"]]

    def _changed(self) -> tuple[int, dict[str, Any]] | None:
        """An event that is to be changed, and how: one that shares its title or its time with what is missing."""
        for number in self._stray():
            event = self.data["events"][number]
            for want in self._missing():
                if want["title"] == event["title"] or _when(want) == _when(event):
                    return number, want
        return None

    @override
    def wanted(self) -> Step | None:
        stray, missing, changed = self._stray(), self._missing(), self._changed()
        if changed:
            return self._open(changed[0]) or self._saved(changed[1])
        if stray:
            return self._open(stray[0]) or ("click", "delete/", "")
        if not missing:
            return None
        want = missing[0]
        if self.place == f"slot/{want['week']}/{want['day']}/{want['hour']}":
            return self._saved(want)
        return self._turn(want["week"]) or ("click", f"slot/{want['day']}/{want['hour']}", "")

    def _saved(self, want: dict[str, Any]) -> Step:
        return self.filled(**{field: want[field.removeprefix("choose_")] for field in _FIELDS}) or ("click", "save/", "")

    def _open(self, number: int) -> Step | None:
        if self.place == f"event/{number}":
            return None
        return self._turn(self.data["events"][number]["week"]) or ("click", f"event/{number}", "")

    def _turn(self, week: str) -> Step | None:
        if self.kind != "week":
            return ("click", "leave/", "")
        here, there = int(self.argument), int(week)
        return None if here == there else ("click", f"week/{here + 1 if here < there else here - 1}", "")


@lru_cache(512)
def _grid(events: tuple[tuple[str, str, int, str], ...]) -> Node:
    """A week: (day, hour, number, title) of its events."""
    at = {(day, hour): (number, title) for day, hour, number, title in events}
    cells = [text("Time"), *(text(day) for day in DAYS)]
    for hour in HOURS:
        cells.append(text(hour))
        for day in DAYS:
            number, title = at.get((day, hour), (-1, ""))
            if number < 0:
                cells.append(button(f"slot/{day}/{hour}", f"{day} {hour}: free", face="+"))
            else:
                cells.append(button(f"event/{number}", f"{day} {hour}: {title}", face=title))
    return grid(6, cells, cells=True)


def _event(title: str, week: str, day: str, hour: str, length: str, guest: str) -> dict[str, Any]:
    return {"title": title, "week": week, "day": day, "hour": hour, "length": length, "guest": guest}


def _when(event: dict[str, Any]) -> tuple[str, str, str]:
    return event["week"], event["day"], event["hour"]


def _said(when: tuple[str, str, str]) -> str:
    return f"{when[1]} at {when[2]} in week {when[0]}"


def _change(draws: Draws, kind: str, goal: list[dict[str, Any]], at: int, title: str, slot: tuple[str, str, str]) -> str:
    """Change the goal (what is deleted goes later), and say so."""
    event = goal[at]
    which = f'"{event["title"]}"'
    if kind == "rename":
        event["title"] = title
        return f'rename the event {which} to "{title}"'
    if kind == "delete":
        return f"delete the event {which}"
    if kind == "move":
        event["week"], event["day"], event["hour"] = slot
        return f"move {which} to {_said(slot)}"
    made = _event(title, *slot, LENGTHS[1] if kind == "make" else draws.pick(LENGTHS[2:]), "")
    if kind == "plan":
        made["guest"] = draws.pick(FIRST)
    goal.append(made)
    length, guest = f", {made['length']} long", f", guest {made['guest']}" if made["guest"] else ""
    return f'make an event "{title}" on {_said(slot)}{length}{guest}'
