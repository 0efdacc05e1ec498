"""Folders of processes that were killed are removed by the next one of their kind; those of the living stay."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from turnwise.own_folder import OwnFolder

OWNER = """
import sys
from turnwise.own_folder import OwnFolder
folder = OwnFolder("kind-", sys.argv[1])
(folder.path / "deep").mkdir()
(folder.path / "deep" / "file").write_text("x")
print(folder.path, flush=True)
sys.stdin.read()
"""


def owner(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder until its input ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(parent)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_the_dead_left_is_removed_and_what_the_living_have_stays(tmp_path: Path) -> None:
    (living, kept), (dead, left) = owner(tmp_path), owner(tmp_path)
    try:
        (tmp_path / "kind-file").write_text("no folder")
        (tmp_path / "other").mkdir()
        (tmp_path / "kind-link").symlink_to(tmp_path / "other")
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        assert left.is_dir(), "who is killed removes nothing"
        untouched = OwnFolder("kind-", tmp_path, sweep=False)
        assert left.is_dir()
        own = OwnFolder("kind-", tmp_path)
        assert not left.exists() and (kept / "deep" / "file").is_file() and untouched.path.is_dir()
        assert {p.name for p in tmp_path.iterdir()} == {
            *(kept.name, untouched.path.name, own.path.name),
            *("kind-file", "kind-link", "other"),
        }
        own.remove()
        own.remove()
        assert not own.path.exists()
    finally:
        for process in (living, dead):
            process.communicate()


def test_a_folder_of_a_process_that_ended_well_without_a_word_is_swept(tmp_path: Path) -> None:
    process, left = owner(tmp_path)
    process.communicate()
    assert left.is_dir()
    OwnFolder("kind-", tmp_path).remove()
    assert not left.exists() and list(tmp_path.iterdir()) == []
