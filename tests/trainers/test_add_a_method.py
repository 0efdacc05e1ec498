"""The worked page docs/add_a_method.md, carried out: its three files, its two commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "add_a_method.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```\w+ file=(\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert sorted(FILES) == ["median.py", "median.toml", "test_median.py"], "one source file, one test, one recipe"
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_its_test_passes_and_can_fail(folder: Path):
    done = command(folder, "-m", "pytest", "-q", "test_median.py")
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
    source = (folder / "median.py").read_text(encoding="utf-8")
    (folder / "median.py").write_text(source.replace("nanmedian(dim=1).values", "nanmean(dim=1)"), encoding="utf-8")
    assert command(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_median.py").returncode == 1


def test_its_recipe_trains(folder: Path):
    done = command(folder, "-m", "turnwise", "train", "median.toml", "--out", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    recipe = (folder / "run" / "recipe.toml").read_text(encoding="utf-8")
    assert "median:Median" in recipe and "scale = 0.5" in recipe
    wrong = command(folder, "-m", "turnwise", "train", "median.toml", "advantage.scales=1.0")
    assert wrong.returncode != 0 and "scale" in wrong.stderr + wrong.stdout
