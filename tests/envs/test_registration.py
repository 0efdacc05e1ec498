"""Ids, and plug-ins from outside."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from turnwise.envs import registration
from turnwise.envs.registration import BUILT_IN, ids, register_all
from turnwise.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("env_id", ids())
def test_make(env_id: str) -> None:
    by_id, by_module = gymnasium.make(env_id, difficulty=2), gymnasium.make(f"turnwise:{env_id}", difficulty=2)
    assert by_id.reset(seed=3) == by_module.reset(seed=3)
    again = gymnasium.make(EnvSpec.from_json(by_id.spec.to_json()))  # type: ignore[union-attr]
    assert again.reset(seed=3) == by_id.reset(seed=3)


def test_every_built_in_id_is_registered_by_a_string() -> None:
    assert set(BUILT_IN) <= set(ids())
    for env_id in ids():
        assert isinstance(gymnasium.spec(env_id).entry_point, str)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": "turnwise/Sokobna-v0"}, "Did you mean: `Sokoban`"),
        ({"id": "turnwise/Lookup-v9"}, "Lookup"),
        ({"id": "turnwize/Lookup-v0"}, "turnwise"),
        ({"id": "turnwise/Lookup-v0", "dificulty": 3}, "dificulty"),
        ({"id": "turnwise/Lookup-v0", "difficulty": 99}, "from 1 to"),
        ({"id": "turnwise/Lookup-v0", "action_format": "hermse"}, "Did you mean 'hermes'"),
    ],
)
def test_wrong_ids_and_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match=message):
        gymnasium.make(**arguments)  # type: ignore[arg-type]


def test_registering_again_changes_nothing() -> None:
    before = ids()
    register_all()
    assert ids() == before


def plugged(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    found = [EntryPoint(name, value, "turnwise.envs") for name, value in points]
    monkeypatch.setattr(registration, "entry_points", lambda group: found if group == "turnwise.envs" else [])
    monkeypatch.setattr(registration, "_registered", dict(registration._registered))


@pytest.mark.parametrize(
    "points",
    [
        [("turnwise/Lookup-v0", "evil:Lookup")],
        [("cafe/Cafe-v0", "cafe_env:Cafe"), ("cafe/Cafe-v0", "other:Cafe")],
    ],
)
def test_two_owners_of_one_id_are_an_error(monkeypatch: pytest.MonkeyPatch, points: list[tuple[str, str]]) -> None:
    plugged(monkeypatch, *points)
    with pytest.raises(ConfigError, match=r"claimed twice: by .* and by .*uninstall one"):
        register_all()


def test_one_owner_found_twice_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable install and its folder on the path show the same entry point twice."""
    plugged(monkeypatch, ("tests/Twice-v0", "nowhere:Twice"), ("tests/Twice-v0", "nowhere:Twice"))
    register_all()
    assert "tests/Twice-v0" in ids()
    assert gymnasium.registry.pop("tests/Twice-v0").entry_point == "nowhere:Twice"


def test_a_plug_in_from_outside(tmp_path: Path) -> None:
    """Install examples/cafe as a stranger would; `import turnwise` then knows it, and its contract holds."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--root-user-action=ignore"]
    install = [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path / "site")]
    copy = tmp_path / "cafe"
    copy.mkdir()
    for name in ("cafe_env.py", "pyproject.toml"):
        (copy / name).write_text((ROOT / "examples" / "cafe" / name).read_text())
    subprocess.run([*install, str(copy)], check=True)
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import gymnasium, turnwise\n"
        "from turnwise.envs.testing import check_turn_env\n"
        "assert 'cafe_env' not in sys.modules\n"
        "print(gymnasium.make('cafe/Cafe-v0').unwrapped)\n"
        "print(check_turn_env('cafe/Cafe-v0', tasks=5, distinct=100))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site"), str(ROOT)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Cafe") and "20 rules hold" in done.stdout
    assert len((ROOT / "examples" / "cafe" / "cafe_env.py").read_text().splitlines()) < 40
