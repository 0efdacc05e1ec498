"""docs/envs: a page for every environment of ours, fresh, with measurements that hold."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from turnwise.envs.registration import BUILT_IN

SCRIPT = Path(__file__).parents[2] / "docs" / "make_envs.py"
SPEC = importlib.util.spec_from_file_location("make_envs", SCRIPT)
assert SPEC is not None and SPEC.loader is not None
pages = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = pages
SPEC.loader.exec_module(pages)

MEASURED = json.loads(pages.LEVELS.read_text(encoding="utf-8"))


def mend(env_id: str) -> str:
    return f"run python docs/make_envs.py --measure {pages.name_of(env_id)}"


@pytest.mark.parametrize("env_id", sorted(BUILT_IN))
def test_page_is_fresh(env_id: str) -> None:
    file = pages.FOLDER / f"{pages.name_of(env_id)}.md"
    assert env_id in MEASURED and file.exists(), mend(env_id)
    assert file.read_text(encoding="utf-8") == pages.page(env_id, MEASURED[env_id]), "stale: run python docs/make_envs.py"


@pytest.mark.parametrize("env_id", sorted(BUILT_IN))
def test_measurements_hold(env_id: str) -> None:
    """Two tasks a level again; they are among those that were measured."""
    assert env_id in MEASURED, mend(env_id)
    env = pages.made(env_id)
    again = pages.measure(env, 1)
    env.close()
    assert set(again) == set(MEASURED[env_id]), mend(env_id)
    for level, found in again.items():
        before = MEASURED[env_id][level]
        assert before["tasks"] >= 400
        assert before["least"] <= found["least"] <= found["most"] <= before["most"], mend(env_id)
        assert before["limit_least"] <= found["limit_least"] <= found["limit_most"] <= before["limit_most"], mend(env_id)


def test_the_index_is_fresh() -> None:
    assert (pages.FOLDER / "README.md").read_text(encoding="utf-8") == pages.index(), "stale: run python docs/make_envs.py"
    for old in pages.FOLDER.glob("*.md"):
        assert old.stem == "README" or old.stem in {pages.name_of(env_id) for env_id in BUILT_IN}, f"{old.name}: no such id"


def test_docstrings_become_markdown() -> None:
    text = "Some words.\n\n    a  b\n\n    c  d\n\nname: what it is\n    and more\nother, names: x"
    assert pages.as_markdown(text) == (
        "Some words.\n\n```text\na  b\n\nc  d\n```\n\n- `name`: what it is\n    and more\n- `other, names`: x"
    )
