"""Settings: tabs of switches, choices and texts that are saved tab by tab; dialogs that guard against haste."""

from __future__ import annotations

import copy

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import STEPS, Made
from turnwise.envs.gui.widgets import Node, bar, button, card, checkbox, combobox, grid, heading, remembered, tab, textbox

__all__ = ["Settings"]

SECTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "Profile": {
        "Display name": (),
        "Job title": (),
        "Language": ("English", "German", "French", "Spanish", "Polish"),
        "Time zone": ("London", "Berlin", "Athens", "Tokyo", "New York"),
        "Show my age": ("on",),
        "Show my photo": ("on",),
    },
    "Display": {
        "Theme": ("Light", "Dark", "High contrast"),
        "Font size": ("Small", "Medium", "Large", "Huge"),
        "Density": ("Compact", "Normal", "Wide"),
        "Animations": ("on",),
        "Large pointer": ("on",),
        "Night colours": ("on",),
    },
    "Sound": {
        "Output": ("Speakers", "Headphones", "Monitor"),
        "Volume": ("0", "25", "50", "75", "100"),
        "Alert": ("Bell", "Chime", "Drum", "None"),
        "Mute at night": ("on",),
        "Key clicks": ("on",),
        "Mono": ("on",),
    },
    "Privacy": {
        "Who can find me": ("Everybody", "Friends", "Nobody"),
        "Keep history": ("1 day", "1 week", "1 month", "For ever"),
        "Recovery address": (),
        "Read receipts": ("on",),
        "Share statistics": ("on",),
        "Ask before sharing": ("on",),
    },
    "Network": {
        "Device name": (),
        "Proxy": (),
        "Wi-Fi band": ("Automatic", "2.4 GHz", "5 GHz", "6 GHz"),
        "Metered": ("on",),
        "Bluetooth": ("on",),
        "Flight mode": ("on",),
    },
    "Power": {
        "Screen off after": ("1 minute", "5 minutes", "15 minutes", "Never"),
        "Sleep after": ("10 minutes", "30 minutes", "1 hour", "Never"),
        "Lid closed": ("Sleep", "Lock", "Do nothing"),
        "Battery saver": ("on",),
        "Wake on LAN": ("on",),
        "Show percentage": ("on",),
    },
}
"""Section -> setting -> its options: none for a text, "on" alone for a switch."""
_BUTTONS = bar(button("save/", "Save"), button("revert/", "Revert"), button("reset/", "Reset section"))
TEXTS = ("Atlas", "Birch", "Comet", "Delta", "Ember", "Falcon", "Grove", "Harbour", "Iris", "Juniper")


class Settings(App):
    """`data`: {"saved": {section: {setting: value}}}; a switch is "on" or ""."""

    name, title, home = "settings", "Settings", "section/Profile"

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """Settings as they stand, and which are to be changed."""
        names = list(SECTIONS)[: 2 + level]
        saved = {
            section: {setting: _value(draws, options, None) for setting, options in SECTIONS[section].items()}
            for section in names
        }
        goal, said, steps = copy.deepcopy(saved), list[str](), 0
        low, high = STEPS[level]
        for section in draws.shuffled(names):
            if steps >= low:
                break
            settings = draws.shuffled(list(saved[section]))
            cost = 1 + (section != names[0])  # the tab, and to save
            room = max(1, min(high - steps - cost, 1 + draws.below(4), len(settings)))
            for setting in settings[:room]:
                options = SECTIONS[section][setting]
                goal[section][setting] = _value(draws, options, saved[section][setting])
                said.append(f"in {section} {_sentence(setting, goal[section][setting], options)}")
            steps += room + cost
        return Made(said, {"saved": saved}, {"saved": goal}, steps)

    @override
    def nodes(self) -> list[Node]:
        tabs = _tabs(tuple(self.data["saved"]), self.argument)
        return [tabs, heading(self.argument), _form(self.argument, tuple(self.fields.values())), _BUTTONS]

    @override
    def arrived(self) -> None:
        saved = self.data["saved"][self.argument]
        self.fields = {_field(index, SECTIONS[self.argument][setting]): saved[setting] for index, setting in enumerate(saved)}

    def _drafts(self) -> dict[str, str]:
        return dict(zip(SECTIONS[self.argument], self.fields.values(), strict=True))

    def on_section(self, name: str) -> None:
        if self._drafts() == self.data["saved"][self.argument]:
            self.go(f"section/{name}")
        else:
            self.ask("Unsaved changes", "Leave without saving?", f"leave/{name}")

    def on_leave(self, name: str) -> None:
        self.go(f"section/{name}")

    def on_save(self, _: str) -> None:
        self.data["saved"][self.argument] = self._drafts()
        self.note = "Saved."

    def on_revert(self, _: str) -> None:
        self.arrived()

    def on_reset(self, _: str) -> None:
        self.ask("Reset section", f"Set everything in {self.argument} back to the factory's values?", "factory/")

    def on_factory(self, _: str) -> None:
        self.data["saved"][self.argument] = {
            setting: options[0] if len(options) > 1 else "" for setting, options in SECTIONS[self.argument].items()
        }
        self.arrived()
        self.note = "The section was reset."

    @override
    def agrees(self, key: str) -> bool:
        here = self.argument
        return key.startswith("leave/") and self.data["saved"][here] == self.goal["saved"][here]

    @override
    def wanted(self) -> Step | None:
        saved, goal, here = self.data["saved"], self.goal["saved"], self.argument
        if saved[here] != goal[here]:
            values = zip(self.fields, goal[here].values(), strict=True)
            return self.filled(**dict(values)) or ("click", "save/", "")
        section = next((name for name in saved if saved[name] != goal[name]), None)
        return ("click", f"section/{section}", "") if section else None


@remembered
def _tabs(names: tuple[str, ...], here: str) -> Node:
    return bar(*(tab(f"section/{name}", name, on=name == here) for name in names))


@remembered
def _form(section: str, values: tuple[str, ...]) -> Node:
    rows = list[Node]()
    for index, ((setting, options), value) in enumerate(zip(SECTIONS[section].items(), values, strict=True)):
        key = f"field/{_field(index, options)}"
        if options == ("on",):
            rows.append(checkbox(key, setting, on=value == "on"))
        else:
            rows.append(combobox(key, setting, value, options) if options else textbox(key, setting, value))
    return card(grid(2, rows))


def _field(index: int, options: tuple[str, ...]) -> str:
    kind = "tick" if options == ("on",) else "choose" if options else "text"
    return f"{kind}_{index}"


def _value(draws: Draws, options: tuple[str, ...], old: str | None) -> str:
    """Another value than the old one."""
    if options == ("on",):
        return draws.pick(("on", "")) if old is None else "" if old else "on"
    return draws.pick([value for value in options or TEXTS if value != old])


def _sentence(setting: str, value: str, options: tuple[str, ...]) -> str:
    if options == ("on",):
        return f'switch "{setting}" {value or "off"}'
    return f'set "{setting}" to "{value}"'
