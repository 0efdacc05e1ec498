"""What is left of a session's files is removed, whatever they are."""

import os
from pathlib import Path

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
