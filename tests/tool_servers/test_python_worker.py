"""The REPL of the Python tool, by itself."""

import subprocess
import sys

import pytest

from turnwise.tool_servers.python import worker
from turnwise.tool_servers.sandbox.blocking import BlockingSandbox
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import SessionSpec

CELL = "import json, sys\nfrom turnwise.tool_servers.python.worker import Worker\nw = Worker({}, 3)\n"


def run(*cells: str) -> tuple[list[object], str, str]:
    """Values (or "failed"), out and err, in a process of its own: a worker seeds and becomes its process's main module."""
    program = CELL + f"values = []\nfor c in {cells!r}:\n    try: values.append(w.handle('python', {{'code': c}}))\n"
    program += "    except Exception as e: values.append(f'failed{e}')\nprint(json.dumps(values))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *out, values = done.stdout.splitlines()
    return eval(values, {"null": None}), "\n".join(out), done.stderr


def test_a_cell_is_like_a_prompt() -> None:
    values, out, _ = run(
        "x = 1", "x + 1", "_ * 10", "print('a'); None", "for i in range(2): i", "def f():\n    return 5\n\nf()", ""
    )
    assert values == [None, "2", "20", None, None, "5", None] and out == "a"


def test_tracebacks_begin_at_the_cell() -> None:
    values, _, err = run("def f():\n    return 1 / 0\n", "x = 2\n\nf()")
    assert values == [None, "failed"]
    assert err.splitlines()[:4] == [
        "Traceback (most recent call last):",
        '  File "<cell 2>", line 3, in <module>',
        "    f()",
        '  File "<cell 1>", line 2, in f',
    ]
    assert "worker.py" not in err and err.rstrip().endswith("ZeroDivisionError: division by zero")


def test_syntax_errors_show_the_place_and_nothing_of_ours() -> None:
    values, _, err = run("x = (1,\ny = 2", "x = 5\nx = = 3\n")
    assert values == ["failed", "failed"] and "worker.py" not in err and "Traceback" not in err
    assert 'File "<cell 2>", line 2' in err and "    x = = 3" in err


@pytest.mark.parametrize(
    "code", ["raise SystemExit(3)", "exit()", "raise KeyboardInterrupt", "class E(BaseException): pass\nraise E"]
)
def test_what_leaves_is_an_error_of_the_cell(code: str) -> None:
    values, _, _ = run(code, "1")
    assert values == ["failed", "1"]


def test_recursion_and_a_repr_that_raises() -> None:
    values, _, err = run("def f(): f()\nf()", "class A:\n    def __repr__(self): raise ValueError('no')\nA()", "1")
    assert values == ["failed", "failed", "1"] and "RecursionError" in err and "ValueError: no" in err


def test_long_values_are_cut() -> None:
    values, _, _ = run("'x' * 200_000")
    assert str(values[0]).endswith("... (200002 characters)") and len(str(values[0])) < 100_100


def test_seeds_and_pickles() -> None:
    draw = "import random; random.random()"
    assert run(draw)[0] == run(draw)[0]
    assert run("import pickle\nclass A: pass\npickle.loads(pickle.dumps(A())).__class__ is A")[0] == ["True"]


def test_wrong_arguments() -> None:
    values, _, _ = run("1")
    assert values == ["1"]
    for tool, arguments in (("sh", {"code": "1"}), ("python", {}), ("python", {"code": 1}), ("python", {"code": "1", "x": 2})):
        with pytest.raises(ValueError, match="the one tool is python"):
            worker.Worker.handle(worker.Worker.__new__(worker.Worker), tool, arguments)


def test_the_blocking_face() -> None:
    with BlockingSandbox(EmbeddedSandbox) as sandbox:
        session = sandbox.open(SessionSpec("s"))
        session.put("a", b"1")
        assert session.call("python", {"code": "x = open('a').read(); x"}).value == "'1'"
        (twin,) = session.fork(["t"])
        assert [s.call("python", {"code": "x"}).seq for s in (session, twin)] == [2, 2]
        assert twin.get("a") == b"1" and twin.id == "t"
        session.close()
