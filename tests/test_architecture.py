"""The house keeps its plan: imports go down the floors, names and sizes stay within bounds, no global randomness."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("turnwise", "tool_servers", "envs", "agents", "trainers")
FLOORS = {"turnwise": 0, "tool_servers": 1, "envs": 2, "agents": 3, "trainers": 4, "cli": 5}
METHODS = ("advantages", "corrections", "losses", "rewards", "rollouts", "samplers", "transforms")
OPTIONAL = (
    "torch.utils.tensorboard",
    "wandb",
    "vllm",
    "ray",
    "playwright",
    "docker",
    "mcp",
    "peft",
    "matplotlib",
    "duckdb",
    "tantivy",
    "PIL",
)
"""What a function may import when it runs: heavy packages that not everybody has."""
HEAVY = ("torch", "transformers", "peft", "matplotlib")
GLOBAL_RANDOM = ("random", "secrets", "uuid")
RANDOM_KIT = ("envs/testing/generators.py", "envs/adapters/lent_random.py")
"""The files that may name the global generators: one checks that nobody touches them, one keeps other people's games off them."""
MAX_FILE, MAX_FUNCTION = 400, 60


def files() -> list[str]:
    return sorted(str(f.relative_to(ROOT)) for part in PARTS for f in (ROOT / part).rglob("*.py"))


FILES = files()


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(), file)


def floor_of_file(file: str) -> int:
    part, name = file.split("/")[0], Path(file).stem
    return FLOORS["cli"] if part == "turnwise" and name.startswith(("cli", "__main__")) else FLOORS[part]


def floor_of_module(module: str) -> int | None:
    """None for what is not ours."""
    names = module.split(".")
    if names[0] != "turnwise":
        return None
    part = names[1] if len(names) > 1 else "turnwise"
    return FLOORS["cli"] if part.startswith("cli") else FLOORS.get(part, 0)


def imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import below a node; `from a import b` is a.b as well, for b may be a module."""
    for n in ast.walk(node):
        if isinstance(n, ast.Import):
            yield from ((n.lineno, alias.name) for alias in n.names)
        elif isinstance(n, ast.ImportFrom):
            assert n.level == 0, f"line {n.lineno}: a relative import; write the whole name"
            yield n.lineno, n.module or ""
            if n.module == "turnwise":
                yield from ((n.lineno, f"turnwise.{alias.name}") for alias in n.names)


def functions(file: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree(file)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute chain; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{inside}.{node.attr}" if isinstance(node, ast.Attribute) and (inside := dotted(node.value)) else ""


def test_there_is_a_house() -> None:
    assert len(FILES) > 50 and {f.split("/")[0] for f in FILES} == set(PARTS)


@pytest.mark.parametrize("file", [f for f in FILES if f != "turnwise/__init__.py"])
def test_imports_go_down(file: str) -> None:
    here = floor_of_file(file)
    up = [(line, m) for line, m in imports(tree(file)) if (floor := floor_of_module(m)) is not None and floor > here]
    assert not up, f"{file} is on floor {here} and imports from above: {up}"


@pytest.mark.parametrize("file", FILES)
def test_no_bare_names(file: str) -> None:
    bare = [(line, m) for line, m in imports(tree(file)) if m.split(".")[0] in FLOORS and m.split(".")[0] != "turnwise"]
    assert not bare, f"{file}: write turnwise.<part>: {bare}"


@pytest.mark.parametrize("file", [f for f in FILES if floor_of_file(f) <= FLOORS["envs"] and f not in RANDOM_KIT])
def test_environments_know_no_tensors(file: str) -> None:
    heavy = [(line, m) for line, m in imports(tree(file)) if m.split(".")[0] in HEAVY]
    assert not heavy, f"{file}: {heavy} belongs to floor 3 and above"


@pytest.mark.parametrize("file", [f for f in FILES if f not in RANDOM_KIT])
def test_no_global_randomness(file: str) -> None:
    found = [(line, m) for line, m in imports(tree(file)) if m in GLOBAL_RANDOM]
    for node in ast.walk(tree(file)):
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        head, _, last = name.rpartition(".")
        if (head in ("np.random", "numpy.random") and last[:1].islower() and last != "default_rng") or name in (
            "torch.manual_seed",
            "torch.seed",
            "torch.cuda.manual_seed",
            "torch.cuda.manual_seed_all",
        ):
            found.append((node.lineno, name))
    assert not found, f"{file}: pass a generator instead of {found}"


@pytest.mark.parametrize("file", [f for f in FILES if floor_of_file(f) <= FLOORS["envs"] and not f.startswith("tool_servers")])
def test_no_clock_below_the_agents(file: str) -> None:
    """Environments replay; who calls step measures it."""
    clocks = [(line, m) for line, m in imports(tree(file)) if m in ("time", "datetime")]
    assert not clocks, f"{file}: {clocks}"


@pytest.mark.parametrize("file", FILES)
def test_sizes(file: str) -> None:
    lines = len((ROOT / file).read_text().splitlines())
    assert lines <= MAX_FILE, f"{file} has {lines} lines; split it by meaning"
    long = {f.name: n for f in functions(file) if (n := (f.end_lineno or 0) - f.lineno + 1) > MAX_FUNCTION}
    assert not long, f"{file}: longer than {MAX_FUNCTION} lines: {long}"


@pytest.mark.parametrize("file", [f for f in FILES if floor_of_file(f) < FLOORS["cli"]])
def test_imports_stand_at_the_top(file: str) -> None:
    late = [(line, m) for f in functions(file) for line, m in imports(f) if not m.startswith(OPTIONAL)]
    assert not late, f"{file}: {late}; only optional heavy packages are imported inside functions"


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith(tuple(f"trainers/{m}/" for m in METHODS))])
def test_a_method_file_exports_one_name(file: str) -> None:
    stem = Path(file).stem
    if stem.startswith("_") or stem == "protocol":
        return
    exported = [
        ast.literal_eval(n.value) for n in tree(file).body if isinstance(n, ast.Assign) and dotted(n.targets[0]) == "__all__"
    ]
    assert len(exported) == 1 and len(exported[0]) == 1, f"{file}: __all__ must hold the one method, not {exported}"


@pytest.mark.parametrize("file", FILES)
def test_no_dumping_ground_and_a_docstring(file: str) -> None:
    assert Path(file).stem not in ("utils", "util", "helpers", "common", "misc"), file
    assert ast.get_docstring(tree(file)), f"{file}: say in the first line what it is for"


@pytest.mark.parametrize("file", FILES)
def test_exports_exist(file: str) -> None:
    """Every name in __all__ is defined or imported in the file."""
    names = {n.id for n in ast.walk(tree(file)) if isinstance(n, ast.Name)}
    names |= {n.name for n in ast.walk(tree(file)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    names |= {a.asname or a.name for n in ast.walk(tree(file)) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
    for node in tree(file).body:
        if isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__":
            exported = ast.literal_eval(node.value)
            assert set(exported) <= names and len(set(exported)) == len(exported)


def test_import_turnwise_is_light() -> None:
    """No torch, no pydantic, no sympy: `import turnwise` stays under a quarter of a second."""
    code = "import sys, turnwise; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "turnwise" in loaded
    assert not loaded & {"torch", "transformers", "pydantic", "sympy", "math_verify", "httpx", "rich", "matplotlib"}
