"""A file manager: folders; files are moved, copied, renamed and deleted; folders are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import Made, chosen
from turnwise.envs.gui.widgets import Node, bar, button, card, checkbox, combobox, heading, link, nav, remembered, text, textbox
from turnwise.envs.gui.words import CITIES, LAST, TOPICS

__all__ = ["Files"]

FOLDERS = ("Documents", "Music", "Pictures", "Projects", "Videos", "Archive", "Backup")
ENDINGS = ("txt", "pdf", "png", "csv")
COSTS = {"delete": 4, "move": 4, "copy": 4, "rename": 4, "folder": 2}
"""What can be asked for, and about how many actions it takes."""


class Files(App):
    """`data`: {"folders": [name], "files": {"<folder>/<name>": content}}; a content is a number that no two files share."""

    name, title, home = "files", "Files", "folder/Documents"

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """Folders with files, and what is to be done with them."""
        folders: list[str] = list(FOLDERS[: 2 + level])
        names = draws.shuffled([f"{topic} {city}.{ending}" for topic in TOPICS for city in CITIES[:8] for ending in ENDINGS])
        files = {f"{draws.pick(folders)}/{name}": number for number, name in enumerate(names[: 6 + 8 * level])}
        for folder in folders:  # the first ones are crowded
            files |= {f"{folder}/{names.pop()}": len(files) + at for at in range(2)}
        kinds, steps = chosen(draws, {"folder": 2, "delete": 3} if level == 1 else COSTS, level, at_most=6)
        goal: dict[str, Any] = {"folders": list(folders), "files": dict(files)}
        paths, said = iter(draws.shuffled(list(files))), list[str]()
        for kind in kinds:
            said.append(_change(draws, kind, goal, next(paths), names.pop(), folders))
        return Made(said, {"folders": folders, "files": files}, goal, steps)

    @override
    def nodes(self) -> list[Node]:
        side = _side(tuple(self.data["folders"]))
        if self.kind == "file":
            return [side, *self._file()]
        paths = self._here()
        rows = [_row(path, self.fields.get(f"tick_{path}") == "on") for path in self.shown(paths)]
        others = tuple(folder for folder in self.data["folders"] if folder != self.argument)
        target = combobox("field/choose_target", "Target", self.fields.get("choose_target", others[0]), others)
        return [
            side,
            heading(self.argument),
            card(*rows) if rows else text("This folder is empty."),
            *self.position(),
            bar(target, button("move/", "Move"), button("copy/", "Copy"), button("delete/", "Delete")),
            bar(textbox("field/folder", "New folder", self.fields.get("folder", "")), button("make/", "Make")),
        ]

    def _file(self) -> list[Node]:
        box = textbox("field/name", "Name", self.fields["name"])
        return [
            heading(_name(self.argument)),
            text(f"In {_folder(self.argument)}, number {self.data['files'][self.argument]}"),
            card(bar(box, button("rename/", "Rename")), bar(button("drop/", "Delete this file"), button("leave/", "Close"))),
        ]

    def _here(self, folder: str = "") -> Sequence[str]:
        """Paths of the files of a folder, in order."""
        return _inside(tuple(self.data["files"]), folder or self.argument)

    def _ticked(self) -> list[str]:
        """Selected files that are in sight or not."""
        return [path for path in self._here() if self.fields.get(f"tick_{path}") == "on"]

    @override
    def arrived(self) -> None:
        self.fields = {"name": _name(self.argument)} if self.kind == "file" else {}

    @override
    def entered(self, name: str) -> None:
        if name == "folder":
            self.on_make("")
        elif name == "name":
            self.on_rename("")

    def on_folder(self, name: str) -> None:
        self.go(f"folder/{name}")

    def on_file(self, path: str) -> None:
        self.go(f"file/{path}")

    def on_leave(self, _: str) -> None:
        self.go(f"folder/{_folder(self.argument)}")

    def on_move(self, _: str) -> None:
        self._put(away=True)

    def on_copy(self, _: str) -> None:
        self._put(away=False)

    def on_delete(self, _: str) -> None:
        if ticked := self._ticked():
            self.ask("Delete", f"Delete {len(ticked)} files for ever?", "erase/")
        else:
            self.note = "No file is selected."

    def on_drop(self, _: str) -> None:
        self.ask("Delete", "Delete this file for ever?", "erase/")

    def on_erase(self, _: str) -> None:
        gone = [self.argument] if self.kind == "file" else self._ticked()
        folder = _folder(gone[0])
        for path in gone:
            del self.data["files"][path]
        self._refreshed(folder, "Deleted.")

    def on_rename(self, _: str) -> None:
        path = f"{_folder(self.argument)}/{self.fields['name']}"
        if not self.fields["name"] or "/" in self.fields["name"] or path in self.data["files"]:
            self.note = "That name is taken, empty, or holds a slash."
            return
        self.data["files"][path] = self.data["files"].pop(self.argument)
        self._refreshed(_folder(path), "Renamed.")

    def on_make(self, _: str) -> None:
        name = self.fields.get("folder", "")
        if not name or "/" in name or name in self.data["folders"] or len(self.data["folders"]) > 11:
            self.note = "That name is taken, empty, or holds a slash."
            return
        self.data["folders"].append(name)
        self.fields.pop("folder")
        self.note = f"Made the folder {name}."

    def _put(self, *, away: bool) -> None:
        others = [folder for folder in self.data["folders"] if folder != self.argument]
        target, files, ticked = self.fields.get("choose_target", others[0]), self.data["files"], self._ticked()
        taken = next((path for path in ticked if f"{target}/{_name(path)}" in files), None)
        if not ticked or taken:
            self.note = f"{_name(taken)} is in {target} already." if taken else "No file is selected."
            return
        for path in ticked:
            files[f"{target}/{_name(path)}"] = files[path]
            if away:
                del files[path]
        self._refreshed(self.argument, f"{'Moved' if away else 'Copied'} to {target}.")

    def _refreshed(self, folder: str, note: str) -> None:
        """The folder with nothing selected; pages of files that are gone cannot be gone back to."""
        self.go(f"folder/{folder}")
        self.history, self.fields, self.first, self.note = [], {}, 0, note

    @override
    def agrees(self, key: str) -> bool:
        gone = [self.argument] if self.kind == "file" else self._ticked()
        return key == "erase/" and gone == self._gone()[:1]

    def _gone(self) -> list[str]:
        """Files that are to be deleted: nobody misses what they hold."""
        files, goal = self.data["files"], self.goal["files"]
        kept = {goal[path] for path in goal if path not in files}
        held = list(files.values())
        return [path for path in files if path not in goal and (files[path] not in kept or held.count(files[path]) > 1)]

    @override
    def wanted(self) -> Step | None:
        files, goal = self.data["files"], self.goal["files"]
        folder = next((name for name in self.goal["folders"] if name not in self.data["folders"]), None)
        if folder:
            return self._listed(self.argument if self.kind == "folder" else "") or self.filled(folder=folder) or _press("make/")
        for path in goal:
            if path not in files:
                source = next((old for old in files if files[old] == goal[path] and old not in goal), None)
                copied = source or next((old for old in files if files[old] == goal[path]), None)
                return self._brought(copied, path, away=source is not None) if copied else None
        gone = self._gone()
        return (self._selected(gone[0]) or _press("delete/")) if gone else None

    def _brought(self, source: str, path: str, *, away: bool) -> Step:
        """Rename, move or copy."""
        if _folder(source) == _folder(path):
            if self.place == f"file/{source}":
                return self.filled(name=_name(path)) or _press("rename/")
            return self._row(source) or _press(f"file/{source}")
        step = self._selected(source)
        if step:
            return step
        others = [folder for folder in self.data["folders"] if folder != self.argument]
        if self.fields.get("choose_target", others[0]) != _folder(path):
            return ("select", "field/choose_target", _folder(path))
        return _press("move/" if away else "copy/")

    def _selected(self, path: str) -> Step | None:
        """Select this file and no other."""
        step = self._listed(_folder(path))
        if step:
            return step
        for other in self._ticked():
            if other != path:
                return self._row(other) or _press(f"field/tick_{other}")
        return None if self._ticked() else self._row(path) or _press(f"field/tick_{path}")

    def _row(self, path: str) -> Step | None:
        return self._listed(_folder(path)) or self.scrolled_to(self._here(_folder(path)).index(path))

    def _listed(self, folder: str) -> Step | None:
        """Show that folder, or any if it is ""."""
        folder = folder or self.data["folders"][0]
        return None if self.place == f"folder/{folder}" else _press(f"folder/{folder}")


def _press(key: str) -> Step:
    return ("click", key, "")


@remembered
def _inside(files: tuple[str, ...], folder: str) -> Sequence[str]:
    start = f"{folder}/"
    return sorted([path for path in files if path.startswith(start)])


@remembered
def _side(folders: tuple[str, ...]) -> Node:
    return nav(*(link(f"folder/{folder}", folder) for folder in folders))


@remembered
def _row(path: str, ticked: bool) -> Node:
    """A file in a list."""
    return bar(checkbox(f"field/tick_{path}", "Select", on=ticked), link(f"file/{path}", _name(path)))


def _name(path: str) -> str:
    return path.partition("/")[2]


def _folder(path: str) -> str:
    return path.partition("/")[0]


def _change(draws: Draws, kind: str, goal: dict[str, Any], path: str, name: str, folders: list[str]) -> str:
    """Change the goal, and say so."""
    files: dict[str, int] = goal["files"]
    which = f'"{_name(path)}" in {_folder(path)}'
    if kind == "delete":
        del files[path]
        return f"delete {which}"
    if kind == "folder":
        new = draws.pick([f"{last} {topic}" for last in LAST for topic in TOPICS[:3]])
        while new in goal["folders"]:
            new += " 2"
        goal["folders"].append(new)
        return f'make a folder "{new}"'
    if kind == "rename":
        files[f"{_folder(path)}/{name}"] = files.pop(path)
        return f'rename {which} to "{name}"'
    target = draws.pick([folder for folder in folders if folder != _folder(path)])
    files[f"{target}/{_name(path)}"] = files[path]
    if kind == "move":
        del files[path]
    return f"{kind} {which} to {target}"
