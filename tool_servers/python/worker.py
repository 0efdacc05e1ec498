"""The Python tool: cells run one after the other in one namespace, as in a REPL, and the last expression is the result.

Stands alone (standard library only): it runs inside a sandbox session.
"""

import ast
import builtins
import contextlib
import linecache
import sys
import traceback
import types
from typing import Any, ClassVar

__all__ = ["CellFailed", "Worker"]

_REPR_LIMIT = 100_000


class CellFailed(Exception):
    """The cell raised; the traceback is on standard error already."""

    def __str__(self) -> str:
        return ""


class Worker:
    """A persistent REPL. Settings: none."""

    tools: ClassVar[tuple[dict[str, Any], ...]] = (
        {
            "name": "python",
            "description": "Run Python code. Variables, imports and files stay for later calls; "
            "what is printed and the value of a last expression come back.",
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string", "description": "Python source, any number of lines."}},
                "required": ["code"],
            },
        },
    )

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        if settings:
            raise ValueError(f"the python worker has no settings, got {', '.join(map(repr, settings))}")
        self._cells = 0
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main  # so that classes of the cells pickle
        self._names = main.__dict__
        _seed(seed)

    def handle(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Run one cell; repr of the value of its last expression, or None. Raises CellFailed."""
        code = arguments.get("code")
        if tool != "python" or not isinstance(code, str) or len(arguments) != 1:
            raise ValueError('the one tool is python, with the one argument {"code": string}')
        self._cells += 1
        name = f"<cell {self._cells}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            return _run(code, name, self._names)
        except BaseException as error:
            _report(error, name)
            raise CellFailed from None


def _run(code: str, name: str, names: dict[str, Any]) -> str | None:
    tree = ast.parse(code, name)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, name, "exec"), names)
        return None
    tree.body.pop()
    exec(compile(tree, name, "exec"), names)
    value = eval(compile(ast.Expression(last.value), name, "eval"), names)
    if value is None:
        return None
    names["_"] = value
    text = repr(value)
    return text if len(text) <= _REPR_LIMIT else f"{text[:_REPR_LIMIT]}... ({len(text)} characters)"


def _report(error: BaseException, name: str) -> None:
    """The traceback from the cell on; the frames that lead to it are ours and say nothing."""
    if isinstance(error, SyntaxError) and error.filename == name:
        trace = None  # the compiler's: there is no frame of the cell
    else:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != name:
            trace = trace.tb_next
    with contextlib.suppress(Exception):
        sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))


def _seed(seed: int) -> None:
    """The generators that code uses without asking, where they are loaded: this process is the session's own."""
    for module, largest in (("random", 2**64), ("numpy.random", 2**32)):
        generator: Any = sys.modules.get(module)
        if generator is not None:
            generator.seed(seed % largest)
