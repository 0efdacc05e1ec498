"""docs/async.md: its table is what the simulation says."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_current():
    spec = spec_from_file_location("make_async", DOCS / "make_async.py")
    assert spec and spec.loader
    made: Any = module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.page() == (DOCS / "async.md").read_text(), "run python docs/make_async.py"
