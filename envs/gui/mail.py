"""A mail client: folders, stars, replies, forwarding, new mail."""

from __future__ import annotations

import copy
from typing import Any

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import Made, chosen
from turnwise.envs.gui.widgets import Node, bar, button, card, combobox, heading, link, nav, remembered, text, textbox
from turnwise.envs.gui.words import FIRST, LAST, PHRASES, TOPICS

__all__ = ["Mail"]

FOLDERS = ("Inbox", "Archive", "Work", "Family", "Trash")
COSTS = {"star": 1, "archive": 2, "delete": 3, "move": 3, "reply": 4, "forward": 4, "write": 5}
"""What can be asked for, and about how many actions it takes."""
_SIDE = nav(*(link(f"folder/{folder}", folder) for folder in FOLDERS), button("compose/", "Compose"))


class Mail(App):
    """`data`: {"mail": {id: {"from", "subject", "body", "folder", "star"}}, "sent": [{"to", "subject", "body"}]}."""

    name, title, home = "mail", "Mail", "folder/Inbox"

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """A mailbox and what is to be done in it."""
        people = [f"{draws.pick(FIRST)} {last}" for last in draws.shuffled(LAST)]
        heads = draws.shuffled([(who, topic) for who in people[:8] for topic in TOPICS])[: 4 + 4 * level]
        mail: dict[str, Any] = {}
        for number, (who, topic) in enumerate(heads):
            folder = "Inbox" if number < len(heads) * 2 // 3 else draws.pick(FOLDERS[1:4])
            star = draws.below(4) == 0
            mail[f"m{number}"] = {"from": who, "subject": topic, "body": draws.pick(PHRASES), "folder": folder, "star": star}
        data: dict[str, Any] = {"mail": mail, "sent": []}
        goal, said = copy.deepcopy(data), list[str]()
        inbox = iter(draws.shuffled([m for m in goal["mail"].values() if m["folder"] == "Inbox"]))
        kinds, steps = chosen(draws, COSTS, level, at_most=sum(m["folder"] == "Inbox" for m in mail.values()))
        for kind in kinds:
            said.append(_change(draws, kind, goal, people, next(inbox)))
        return Made(said, data, goal, steps)

    @override
    def nodes(self) -> list[Node]:
        match self.kind:
            case "folder":
                return [_SIDE, heading(self.argument), *self._list()]
            case "message":
                return [_SIDE, *self._message()]
            case _:
                return [_SIDE, *self._form()]

    def _list(self) -> list[Node]:
        ids = self._within(self.argument)
        if not ids:
            return [text("No messages.")]
        mail = self.data["mail"]
        rows = [_row(id_, mail[id_]["from"], mail[id_]["subject"], mail[id_]["star"]) for id_ in self.shown(ids)]
        return [card(*rows), *self.position()]

    def _message(self) -> list[Node]:
        message = self.data["mail"][self.argument]
        others = tuple(folder for folder in FOLDERS if folder != message["folder"])
        star = button(f"star/{self.argument}", "Unstar" if message["star"] else "Star")
        return [
            heading(message["subject"]),
            text(f"From {message['from']}, in {message['folder']}"),
            card(text(message["body"])),
            bar(button("reply/", "Reply"), button("forward/", "Forward"), star),
            bar(button("archive/", "Archive"), button("delete/", "Delete")),
            bar(
                combobox("field/choose_folder", "Folder", self.fields.get("choose_folder", others[0]), others),
                button("move/", "Move"),
            ),
        ]

    def _form(self) -> list[Node]:
        boxes = [textbox(f"field/{name.lower()}", name, self.fields[name.lower()]) for name in ("To", "Subject", "Body")]
        return [heading("New message"), card(*boxes), bar(button("send/", "Send"), button("discard/", "Discard"))]

    def _within(self, folder: str) -> list[str]:
        return [id_ for id_, message in self.data["mail"].items() if message["folder"] == folder]

    @override
    def arrived(self) -> None:
        self.fields = {}
        if self.kind in ("compose", "reply", "forward"):
            message = self.data["mail"].get(self.argument, {})
            self.fields = {"to": "", "subject": "", "body": ""}
            if self.kind == "reply":
                self.fields |= {"to": message["from"], "subject": f"Re: {message['subject']}"}
            elif self.kind == "forward":
                self.fields |= {"subject": f"Fwd: {message['subject']}", "body": message["body"]}

    def on_folder(self, name: str) -> None:
        self.go(f"folder/{name}")

    def on_open(self, id_: str) -> None:
        self.go(f"message/{id_}")

    def on_star(self, id_: str) -> None:
        self.data["mail"][id_]["star"] ^= True

    def on_compose(self, _: str) -> None:
        self.go("compose/")

    def on_reply(self, _: str) -> None:
        self.go(f"reply/{self.argument}")

    def on_forward(self, _: str) -> None:
        self.go(f"forward/{self.argument}")

    def on_archive(self, _: str) -> None:
        self._moved(self.argument, "Archive")

    def on_delete(self, _: str) -> None:
        self.ask("Delete", "Move this message to Trash?", f"trash/{self.argument}")

    def on_trash(self, id_: str) -> None:
        self._moved(id_, "Trash")

    def on_move(self, _: str) -> None:
        folder = self.data["mail"][self.argument]["folder"]
        first = next(other for other in FOLDERS if other != folder)
        self._moved(self.argument, self.fields.get("choose_folder", first))

    def on_send(self, _: str) -> None:
        form = dict(self.fields)
        if not form["to"]:
            self.note = "To is empty."
            return
        self.data["sent"].append(form)
        self.go(self.home)
        self.note = "Your message was sent."

    def on_discard(self, _: str) -> None:
        self.go(self.home)

    def _moved(self, id_: str, folder: str) -> None:
        message = self.data["mail"][id_]
        before, message["folder"] = message["folder"], folder
        self.go(f"folder/{before}")
        self.note = f"Moved to {folder}."

    @property
    @override
    def solved(self) -> bool:
        """In whatever order mail was sent."""
        sent, goal = self.data["sent"], self.goal["sent"]
        return self.data["mail"] == self.goal["mail"] and len(sent) == len(goal) and all(form in sent for form in goal)

    @override
    def agrees(self, key: str) -> bool:
        verb, _, id_ = key.partition("/")
        return verb == "trash" and self.goal["mail"][id_]["folder"] == "Trash" != self.data["mail"][id_]["folder"]

    @override
    def wanted(self) -> Step | None:
        for id_, now in self.data["mail"].items():
            want = self.goal["mail"][id_]
            if now["star"] != want["star"]:
                key = f"star/{id_}"
                return ("click", key, "") if self.place == f"message/{id_}" else self._at(id_, key)
            if now["folder"] != want["folder"]:
                return self._filed(id_, want["folder"]) if self.place == f"message/{id_}" else self._at(id_, f"open/{id_}")
        missing = next((form for form in self.goal["sent"] if form not in self.data["sent"]), None)
        return self._written(missing) if missing else None

    def _at(self, id_: str, key: str) -> Step:
        """The key in the row of a message."""
        folder = self.data["mail"][id_]["folder"]
        if self.place != f"folder/{folder}":
            return ("click", f"folder/{folder}", "")
        return self.scrolled_to(self._within(folder).index(id_)) or ("click", key, "")

    def _filed(self, id_: str, folder: str) -> Step:
        if folder in ("Archive", "Trash"):
            return ("click", "archive/" if folder == "Archive" else "delete/", "")
        first = next(other for other in FOLDERS if other != self.data["mail"][id_]["folder"])
        if self.fields.get("choose_folder", first) != folder:
            return ("select", "field/choose_folder", folder)
        return ("click", "move/", "")

    def _written(self, form: dict[str, str]) -> Step:
        """By a reply or by forwarding where that is what it is."""
        word, _, subject = form["subject"].partition(": ")
        kind = {"Re": "reply", "Fwd": "forward"}.get(word)
        for id_, m in self.data["mail"].items() if kind else ():
            if m["subject"] == subject and (m["from"] == form["to"] if kind == "reply" else m["body"] == form["body"]):
                if self.place == f"{kind}/{id_}":
                    break
                return ("click", f"{kind}/", "") if self.place == f"message/{id_}" else self._at(id_, f"open/{id_}")
        else:
            if self.kind != "compose":
                return ("click", "compose/", "")
        return self.filled(**form) or ("click", "send/", "")


@remembered
def _row(id_: str, sender: str, subject: str, star: bool) -> Node:
    """A message in a list."""
    return bar(button(f"star/{id_}", "Unstar" if star else "Star"), link(f"open/{id_}", f"{sender}: {subject}"))


def _change(draws: Draws, kind: str, goal: dict[str, Any], people: list[str], message: dict[str, Any]) -> str:
    """Change the goal, and say so."""
    which = f'the message "{message["subject"]}" from {message["from"]}'
    if kind == "star":
        message["star"] = not message["star"]
        return f"{'star' if message['star'] else 'unstar'} {which}"
    if kind in ("archive", "delete", "move"):
        message["folder"] = {"archive": "Archive", "delete": "Trash"}.get(kind) or draws.pick(("Work", "Family"))
        return f"move {which} to {message['folder']}" if kind == "move" else f"{kind} {which}"
    phrase, who = draws.pick(PHRASES), draws.pick(people)
    if kind == "reply":
        goal["sent"].append({"to": message["from"], "subject": f"Re: {message['subject']}", "body": phrase})
        return f'reply "{phrase}" to {which}'
    if kind == "forward":
        goal["sent"].append({"to": who, "subject": f"Fwd: {message['subject']}", "body": message["body"]})
        return f"forward {which} to {who}"
    topic = draws.pick(TOPICS)
    goal["sent"].append({"to": who, "subject": topic, "body": phrase})
    return f'send a new message to {who} with the subject "{topic}" and the body "{phrase}"'
