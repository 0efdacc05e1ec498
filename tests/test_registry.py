"""Names of methods."""

from pathlib import Path

import pytest

from turnwise.errors import ConfigError, UnknownName
from turnwise.registry import names, resolve


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    home = tmp_path / "methods"
    home.mkdir()
    (home / "__init__.py").write_text("")
    (home / "good.py").write_text("__all__ = ['Good']\nclass Good: ...\nclass Helper: ...\n")
    (home / "two.py").write_text("__all__ = ['A', 'B']\nclass A: ...\nclass B: ...\n")
    (home / "protocol.py").write_text("raise RuntimeError('not a method')\n")
    (home / "_shared.py").write_text("raise RuntimeError('not a method')\n")
    (home / "broken.py").write_text("raise RuntimeError('imported too early')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "methods"


def test_names_are_files_and_import_nothing(package: str) -> None:
    assert names(package) == ["broken", "good", "two"]


def test_a_name_is_the_class_of_its_file(package: str) -> None:
    assert resolve(package, "good").__name__ == "Good"


def test_a_dotted_path_names_one_outside(package: str) -> None:
    assert resolve(package, "methods.two:B").__name__ == "B"


def test_unknown_names(package: str) -> None:
    with pytest.raises(UnknownName, match=r"no method is called 'god'\. Did you mean 'good'"):
        resolve(package, "god")


@pytest.mark.parametrize("name", ["methods.two", "protocol", "_shared", ""])
def test_what_is_no_method_is_unknown(package: str, name: str) -> None:
    with pytest.raises(UnknownName):
        resolve(package, name)


def test_a_file_with_two_exports_is_refused(package: str) -> None:
    with pytest.raises(ConfigError, match="exactly one name in __all__"):
        resolve(package, "two")


@pytest.mark.parametrize("name", ["no.such:Thing", "methods.good:Missing", "methods.good:"])
def test_dotted_paths_that_lead_nowhere(package: str, name: str) -> None:
    with pytest.raises(ConfigError, match=r"Write package\.module:ClassName"):
        resolve(package, name)


@pytest.mark.parametrize("part", ["advantages", "losses", "rewards", "rollouts", "samplers"])
def test_every_method_of_the_house_resolves(part: str) -> None:
    package = f"turnwise.trainers.{part}"
    for name in names(package):
        assert isinstance(resolve(package, name), type)
