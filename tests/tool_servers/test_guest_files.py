"""A session's files are copied for a fork, and what is left of them is removed, whatever they are."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from turnwise.tool_servers.guest import files


def nested(folder: str, name: str, depth: int) -> None:
    """Folders in folders, deeper than a path can say."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        there = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = there
    os.close(os.open("end", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


@contextmanager
def opened(folder: str | Path) -> Generator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def cloned(source: str | Path, target: str | Path) -> None:
    with opened(source) as a, opened(target) as b:
        files.clone(a, b)


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, source / "a" / "b", source / "a" / "c", target / "a"):
        folder.mkdir(parents=True, exist_ok=True)
    (source / "a" / "text").write_text("1")
    os.link(source / "a" / "text", source / "second")
    with (source / "a" / "b" / "hole").open("wb") as file:
        file.seek(10_000_000)
        file.write(b"end")
    os.symlink("../second", source / "a" / "link")
    os.mkfifo(source / "a" / "pipe")
    os.chmod(source / "a" / "text", 0o604)
    for folder, mode in (("c", 0o400), ("b", 0o500)):
        os.utime(source / "a" / folder, (5, 6))
        os.chmod(source / "a" / folder, mode)
    cloned(source, target)
    assert (target / "second").samefile(target / "a" / "text") and (target / "second").read_text() == "1"
    assert os.readlink(target / "a" / "link") == "../second" and stat.S_ISFIFO((target / "a" / "pipe").stat().st_mode)
    assert (target / "a" / "b" / "hole").stat().st_size == 10_000_003
    assert (target / "a" / "b" / "hole").stat().st_blocks < 100
    modes = [stat.S_IMODE((target / "a" / name).stat().st_mode) for name in ("text", "b", "c")]
    assert modes == [0o604, 0o500, 0o400]
    assert (target / "a" / "c").stat().st_mtime == 6


@contextmanager
def deepest(folder: str, name: str) -> Generator[tuple[int, int]]:
    """The folder without another one of that name in it, open, and how deep it lies."""
    here, depth = os.open(folder, os.O_RDONLY | os.O_DIRECTORY), 0
    while name in os.listdir(here):
        there = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here, depth = there, depth + 1
    try:
        yield here, depth
    finally:
        os.close(here)


def test_a_tree_deeper_than_recursion_reaches_is_copied() -> None:
    source, target = (files.temporary(f"turnwise-test-{os.getpid()}-{name}-") for name in ("d", "e"))
    nested(source, "d" * 20, 1500)
    cloned(source, target)
    with deepest(target, "d" * 20) as (folder, depth):
        assert depth == 1500 and os.listdir(folder) == ["end"]
    files.remove_temporary(f"turnwise-test-{os.getpid()}-", 60)
    assert not os.path.lexists(source) and not os.path.lexists(target)


def test_a_file_with_two_names_deeper_than_paths_reach_is_refused() -> None:
    source, target = (files.temporary(f"turnwise-test-{os.getpid()}-{name}-") for name in ("f", "g"))
    nested(source, "d" * 20, 300)
    with deepest(source, "d" * 20) as (folder, _):
        os.link("end", "again", src_dir_fd=folder, dst_dir_fd=folder)
    with pytest.raises(files.BadPath, match="lies too deep"):
        cloned(source, target)
    files.remove_temporary(f"turnwise-test-{os.getpid()}-", 60)


def test_folders_deeper_than_descriptors_and_paths_reach_are_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("ours")
    folder = files.temporary(f"turnwise-test-{os.getpid()}-")
    nested(folder, "d" * 20, 300)
    os.mkdir(f"{folder}/locked", 0o000)
    os.mkfifo(f"{folder}/pipe")
    os.symlink(tmp_path, f"{folder}/away")
    os.symlink("nowhere", f"{folder}/dangling")
    files.remove_temporary(Path(folder).name, 60)
    assert not os.path.lexists(folder)
    assert kept.read_text() == "ours"


def test_others_folders_stay() -> None:
    ours, theirs = (files.temporary(f"turnwise-test-{os.getpid()}-{name}-") for name in ("a", "b"))
    files.remove_temporary(f"turnwise-test-{os.getpid()}-a-")
    assert not os.path.lexists(ours) and os.path.isdir(theirs)
    files.remove_temporary(f"turnwise-test-{os.getpid()}-b-")
    assert not os.path.lexists(theirs)


def test_no_patience_leaves_what_is_left() -> None:
    folder = files.temporary(f"turnwise-test-{os.getpid()}-c-")
    nested(folder, "d", 3)
    files.remove_temporary(Path(folder).name, -1)
    assert os.path.isdir(folder)
    files.remove_temporary(Path(folder).name)
    assert not os.path.lexists(folder)
