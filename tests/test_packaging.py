"""What is installed is what is in the checkout: wheel (through the source distribution), editable, and not installed at all."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("tool_servers", "envs", "agents", "trainers")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

WALK = """
import doctest, importlib, importlib.util, pathlib, pkgutil, sys
import turnwise
home = pathlib.Path(sys.argv[1]).resolve()
count = 0
for found in pkgutil.walk_packages(turnwise.__path__, "turnwise."):
    part = found.name.split(".")[1]
    if found.name.endswith("__main__") or not (part in PARTS or (pathlib.Path(turnwise.__file__).parent / f"{part}.py").exists()):
        continue
    origin = importlib.util.find_spec(found.name).origin
    assert pathlib.Path(origin).resolve().is_relative_to(home), origin
    if "import" in sys.argv:
        assert not doctest.testmod(importlib.import_module(found.name)).failed, found.name
    count += 1
print(count)
""".replace("PARTS", repr(PARTS))
"""Finds every module below a folder and, with "import", imports it and runs its doctests; prints how many there are."""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def modules() -> int:
    """How many modules, packages included, the checkout has."""
    return sum(1 for part in (*PARTS, "turnwise") for f in (ROOT / part).rglob("*.py") if f.name != "__main__.py") - 1


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a release is built from, without leftovers of earlier builds."""
    copy = tmp_path_factory.mktemp("release") / "turnwise"
    copy.mkdir()
    for name in ("turnwise", *PARTS):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", copy / "pyproject.toml")
    (copy / "README.md").write_text("# turnwise\n")  # the text of the page is no part of what is tested here
    return copy


def empty_venv(home: Path) -> Path:
    """A virtual environment that has our dependencies, but not us: its python."""
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    site = next(home.glob("lib/python*/site-packages"))
    # A path in a .pth file: the packages there are seen, the .pth files there (our own editable install) are not obeyed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


def install(python: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "-q")
    run(*pip, "--no-deps", "--no-build-isolation", "--no-index", "--force-reinstall", *what, cwd=python.parent)


def test_packages_are_the_folders_with_an_init() -> None:
    """A forgotten name silently loses files from the wheel."""
    folders = {"turnwise"}
    for part in PARTS:
        folders |= {"turnwise." + ".".join(f.parent.relative_to(ROOT).parts) for f in (ROOT / part).rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders
    stray = [f for part in PARTS for f in (ROOT / part).rglob("*.py") if not (f.parent / "__init__.py").exists()]
    assert not stray, f"modules in folders without __init__.py: {stray}"


def test_type_checkers_see_every_module_of_floor_0() -> None:
    """`.typing/turnwise` links each file and each part, because type checkers know no package-dir."""
    links = {link.name: link.resolve() for link in (ROOT / ".typing" / "turnwise").iterdir()}
    for name in (*PARTS, *(f"turnwise/{f.name}" for f in (ROOT / "turnwise").glob("*.py"))):
        assert links.get(Path(name).name) == ROOT / name, f"ln -s ../../{name} .typing/turnwise/"
    assert all(target.exists() for target in links.values())


@pytest.mark.parametrize("part", PARTS)
def test_bare_names_are_refused(part: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {part}"], capture_output=True, text=True, cwd=ROOT)
    assert f"ImportError: import turnwise.{part}, not {part}" in done.stderr


def test_the_wheel_has_every_module(checkout: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", checkout, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    python = empty_venv(tmp_path / "venv")
    install(python, wheel)
    assert int(run(python, "-c", WALK, tmp_path / "venv", "import", cwd=tmp_path).split()[-1]) == modules()
    assert "usage" in run(tmp_path / "venv" / "bin" / "turnwise", "--help", cwd=tmp_path).lower()


def test_an_editable_install_sees_new_files(checkout: Path, tmp_path: Path) -> None:
    python = empty_venv(tmp_path / "venv")
    install(python, "-e", checkout)
    assert int(run(python, "-c", WALK, checkout, cwd=tmp_path).split()[-1]) == modules()
    (checkout / "envs" / "brand_new.py").write_text('"""New."""\n\nVALUE = 7\n')
    code = "import gymnasium, turnwise.envs.brand_new as b; print(b.VALUE, gymnasium.make('turnwise/Lookup-v0').unwrapped)"
    out = run(python, "-c", code, cwd=tmp_path)
    (checkout / "envs" / "brand_new.py").unlink()
    assert out.startswith("7 <Lookup")


def test_a_checkout_works_without_any_install(checkout: Path, tmp_path: Path) -> None:
    python = empty_venv(tmp_path / "venv")
    assert int(run(python, "-c", WALK, checkout, cwd=checkout).split()[-1]) == modules()


def test_the_version_is_said_once() -> None:
    code = "import turnwise; print(turnwise.__version__)"
    assert run(sys.executable, "-c", code, cwd=ROOT).strip() == PROJECT["project"]["version"]
