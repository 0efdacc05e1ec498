"""Environments that need a browser are left out where there is none."""

from importlib.util import find_spec

import pytest

from turnwise.errors import TurnwiseError
from turnwise.tool_servers.browser.find import find_chromium

NEED_A_BROWSER = ("turnwise/Gui-v0", "turnwise/MiniWoB-v0")


def missing_browser() -> str:
    """What this machine lacks for them, "" for nothing."""
    try:
        pytest.importorskip("playwright")
        pytest.importorskip("PIL")
        find_chromium()
    except (TurnwiseError, pytest.skip.Exception) as error:
        return str(error)
    return ""


@pytest.fixture
def browser() -> None:
    """Skips the test where there is none."""
    if lacks := missing_browser():
        pytest.skip(lacks)


@pytest.fixture(autouse=True)
def _has_what_the_id_needs(request: pytest.FixtureRequest) -> None:
    callspec = getattr(request.node, "callspec", None)
    env_id = None if callspec is None else callspec.params.get("env_id")
    if env_id in NEED_A_BROWSER and (lacks := missing_browser()):
        pytest.skip(lacks)
    if env_id == "turnwise/MiniWoB-v0" and find_spec("miniwob") is None:
        pytest.skip("the package miniwob is not installed")
