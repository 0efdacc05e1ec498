"""HumanEval, MBPP and LiveCodeBench as they are published, and what is wrong in them named by line."""

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from turnwise.envs.code.code_write import CodeWrite
from turnwise.envs.code.datasets import load_problems
from turnwise.envs.code.problem import Problem
from turnwise.envs.core import split_of
from turnwise.errors import ConfigError, Unsupported

HUMAN_EVAL: list[dict[str, Any]] = [
    {
        "task_id": "Test/0",
        "prompt": "from typing import List\n\n\ndef near(numbers: List[float], limit: float) -> bool:\n"
        '    """ Whether two numbers are closer than limit.\n    >>> near([1.0, 2.0], 0.5)\n    False\n    """\n',
        "entry_point": "near",
        "canonical_solution": "    s = sorted(numbers)\n    return any(b - a < limit for a, b in zip(s, s[1:]))\n",
        "test": "\n\nMETADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    assert candidate([1.0, 2.0], 0.5) == False\n"
        "    assert candidate([1.0, 2.8, 3.0], 0.3) == True\n    assert not candidate([1.0], 9.0)\n",
    },
    {
        "task_id": "Test/1",
        "prompt": "import math\n\n\ndef poly(xs: list, x: float):\n    return sum([c * math.pow(x, i) for i, c in "
        "enumerate(xs)])\n\n\n"
        'def find_zero(xs: list):\n    """ xs are coefficients; find x with poly(x) = 0. """\n',
        "entry_point": "find_zero",
        "canonical_solution": "    low, high = -99.0, 99.0\n    while high - low > 1e-10:\n        mid = (low + high) / 2\n"
        "        if poly(xs, mid) * poly(xs, low) > 0:\n            low = mid\n        else:\n            high = mid\n    "
        "return low\n",
        "test": "def check(candidate):\n    import math\n    import random\n    rng = random.Random(42)\n    for _ in range(5):\n"
        "        coefficients = [rng.randint(-10, 10), rng.randint(1, 10)]\n        solution = candidate(list(coefficients))\n"
        "        assert math.fabs(poly(coefficients, solution)) < 1e-4\n",
    },
]
MBPP: list[dict[str, Any]] = [
    {
        "task_id": 601,
        "text": "Write a function to find the shared elements of two lists.",
        "code": "def shared(a, b):\r\n\treturn tuple(sorted(set(a) & set(b)))",
        "test_list": ["assert shared((3, 4, 5),(5, 4, 9)) == (4, 5)", "assert set(shared((1, 2),(5, 2))) == set((2,))"],
        "test_setup_code": "",
        "challenge_test_list": ["assert shared((), ()) == ()"],
    },
    {
        "source_file": "x",
        "task_id": 602,
        "prompt": "Write a function to find the area of a circle.",
        "code": "import math\ndef area(r):\n    return math.pi * r * r",
        "test_imports": ["import math"],
        "test_list": [
            "assert math.isclose(area(2), 12.566, rel_tol=0.001)",
            "assert math.isclose(area(1), 3.1415, rel_tol=0.001)",
        ],
    },
]
PAIRS = {
    "task_id": 603,
    "text": "Write a function to find the longest chain.",
    "code": "class Pair(object):\n    def __init__(self, a, b):\n        self.a = a\ndef chain(pairs):\n    return len(pairs)",
    "test_list": ["assert chain([Pair(5, 24), Pair(15, 25)]) == 2"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


def packed(tests: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


LIVE: list[dict[str, Any]] = [
    {
        "question_title": "Sum",
        "question_content": "Read n and then n numbers; print their sum.",
        "question_id": "1_A",
        "difficulty": "easy",
        "starter_code": "",
        "public_test_cases": json.dumps([{"input": "2\n1 2\n", "output": "3\n", "testtype": "stdin"}]),
        "private_test_cases": packed([{"input": f"1\n{n}", "output": str(n), "testtype": "stdin"} for n in range(9)]),
        "metadata": "{}",
    },
    {
        "question_title": "Two",
        "question_content": "Return the two smallest numbers plus k.",
        "question_id": "2",
        "difficulty": "hard",
        "starter_code": "class Solution:\n    def two(self, nums: List[int], k: int) -> List[int]:\n        ",
        "public_test_cases": json.dumps([{"input": "[3, 1, 2]\n1", "output": "[2, 3]", "testtype": "functional"}]),
        "private_test_cases": json.dumps([{"input": "[5, 4]\n0", "output": "[4, 5]", "testtype": "functional"}]),
        "metadata": '{"func_name": "two"}',
    },
]
RIGHT = {
    "1_A": "import sys\ndata = sys.stdin.read().split()\nprint(sum(map(int, data[1:])))",
    "2": "class Solution:\n    def two(self, nums, k):\n        a, b = sorted(nums)[:2]\n        return a + k, b + k",
}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(json.dumps(row) for row in rows) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def outcomes(env: CodeWrite, path: Path, codes: list[str]) -> list[float]:
    found = list[float]()
    for task, code in zip(load_problems(path), codes, strict=True):
        env.reset(seed=0, options={"task": task})
        found.append(env.step(f"```python\n{code}\n```")[4]["outcome"])
    return found


@pytest.mark.parametrize(("name", "rows"), [("HumanEval.jsonl", HUMAN_EVAL), ("mbpp.jsonl", MBPP), ("sanitized-mbpp.json", MBPP)])
def test_published_solutions_solve(tmp_path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    path = written(tmp_path / name, rows)
    env = CodeWrite(data=str(path), data_split="test", split="test")
    for seed in range(4):
        env.reset(seed=seed)
        assert env.step(env.expert_action())[4]["outcome"] == 1.0
    codes = [str(row["code"]) if "code" in row else row["prompt"] + row["canonical_solution"] for row in rows]
    assert outcomes(env, path, codes) == [1.0, 1.0]
    wrong = [f"def {Problem.of_json(task.metadata['problem']).name}(*a):\n    return 0\n" for task in load_problems(path)]
    assert outcomes(env, path, wrong) == [0.0, 0.0]


def test_what_a_human_eval_prompt_gives_need_not_be_repeated(tmp_path: Path) -> None:
    path = written(tmp_path / "HumanEval.jsonl", HUMAN_EVAL)
    bare = [
        "def near(numbers: List[float], limit):\n    s = sorted(numbers)\n    return any(b - a < limit for a, b in zip(s, "
        "s[1:]))",
        "def find_zero(xs):\n    return -xs[0] / xs[1] + 0 * poly(xs, 0)",
    ]
    assert outcomes(CodeWrite(), path, bare) == [1.0, 1.0]


def test_asserts_cannot_be_read_or_spoofed(tmp_path: Path) -> None:
    path = written(tmp_path / "mbpp.jsonl", MBPP[:1])
    same = "class Same(tuple):\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\n"
    env = CodeWrite()
    for code in (
        f"{same}def shared(a, b): return Same()",
        "import builtins\nbuiltins.set = lambda x: 1\ndef shared(a, b): return 1",
        "import sys\ndef shared(a, b):\n    names = sys.modules['__main__'].__dict__\n    return names.get('known') or "
        "names.get('test')",
        "def shared(a, b):\n    raise SystemExit(0)",
    ):
        assert outcomes(env, path, [code]) == [0.0]


IN_PLACE = {
    "task_id": "Test/7",
    "prompt": 'def tidy(rows, names):\n    """ Sort rows, and take what is no word out of names. """\n',
    "entry_point": "tidy",
    "canonical_solution": "    rows.sort()\n    for name in list(names):\n        if not name.isalpha():\n"
    "            del names[name]\n",
    "test": "def check(candidate):\n    xs, names = [3, 1, 2], {'a': 1, '?': 2}\n    assert candidate(xs, names) is None\n"
    "    assert xs == [1, 2, 3] and names == {'a': 1}\n    ys = [5, 4]\n    candidate(ys, names={})\n    assert ys[0] == 4\n"
    "    zs = [2, 1]\n    assert zs == [2, 1]\n    candidate(zs, {})\n    assert zs[:1] == [1]\n",
}


def test_asserts_may_look_at_what_was_changed_in_place(tmp_path: Path) -> None:
    path = written(tmp_path / "HumanEval.jsonl", [IN_PLACE])
    right = IN_PLACE["prompt"] + IN_PLACE["canonical_solution"]
    env = CodeWrite()
    assert outcomes(env, path, [right]) == [1.0]
    for wrong in (
        "def tidy(rows, names): pass",
        "def tidy(rows, names): rows = sorted(rows); names = {}",
        "def tidy(rows, names): rows.clear(); names.clear()",
        "def tidy(rows, names): rows.sort(); names['loop'] = names",
        "def tidy(rows, names): rows.sort(); rows.append(lambda: 1)",
    ):
        assert outcomes(env, path, [wrong]) == [0.0]


def test_what_was_changed_in_place_cannot_make_a_wrong_answer_right(tmp_path: Path) -> None:
    """In these asserts the same variable is on both sides; a plain harness pays whoever empties it."""
    for test in (
        "assert candidate(xs) == sorted(xs)",
        "ys = candidate(xs)\n    assert ys == sorted(xs)",
        "assert not candidate(xs) != xs",
    ):
        row = {
            "task_id": "Test/8",
            "prompt": "def ordered(xs):\n",
            "entry_point": "ordered",
            "canonical_solution": "    return xs\n",
            "test": f"def check(candidate):\n    xs = [1, 2, 3]\n    {test}\n    assert len(xs) == 3\n",
        }
        path = written(tmp_path / "HumanEval.jsonl", [row])
        cheat = "def ordered(xs):\n    xs.clear()\n    return []"
        assert outcomes(
            CodeWrite(),
            path,
            [
                "def ordered(xs): return xs",
            ],
        ) == [1.0]
        assert outcomes(CodeWrite(), path, [cheat]) == [0.0]


def test_live_code_bench(tmp_path: Path) -> None:
    path = written(tmp_path / "test.jsonl", LIVE)
    tasks = load_problems(path)
    assert [task.difficulty for task in tasks] == [1, 5] and {split_of(task.id) for task in tasks} == {"test"}
    assert outcomes(CodeWrite(), path, list(RIGHT.values())) == [1.0, 1.0]
    assert outcomes(CodeWrite(), path, ["print(3)", "class Solution:\n    def two(self, nums, k): return [2, 3]"]) == [0.0, 0.0]
    env = CodeWrite(data=str(path), split="test")
    env.reset(seed=0)
    with pytest.raises(Unsupported, match="without a solution"):
        env.expert_action()
    observation = env.step("```python\nclass Solution:\n    def two(self, n, k): print(1)\nprint(0)\n```")[0]
    assert "expected" in observation


def test_a_data_set_as_an_environment(tmp_path: Path) -> None:
    path = written(tmp_path / "mbpp.jsonl", MBPP)
    env = CodeWrite(data=str(path), data_split="train", attempts=2)
    text, _ = env.reset(seed=1)
    assert "For example:\nassert " in text and "challenge" not in text and "()) == ()" not in text
    with pytest.raises(ConfigError, match="no test question among its 2"):
        env.reset(options={"split": "test"})


def test_what_needs_more_than_plain_data_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "mbpp.jsonl", [*MBPP, PAIRS])
    with pytest.warns(UserWarning, match=r"mbpp.jsonl: 1 problems left out, the first is .*mbpp.jsonl:3: its asserts use 'Pair'"):
        assert len(load_problems(path)) == 2
    only = written(tmp_path / "only.jsonl", [PAIRS])
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ConfigError, match="expected programming problems"):
        load_problems(only)


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("pickle ran",))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "?"}, "expected the keys of HumanEval"),
        ({**HUMAN_EVAL[0], "test": ""}, "test: expected text, got ''"),
        ({**HUMAN_EVAL[0], "test": "assert 1"}, "expected a function check"),
        ({**HUMAN_EVAL[0], "test": "def check(:"}, "test: expected Python code"),
        ({**HUMAN_EVAL[0], "entry_point": "far"}, "beginning of `def far`"),
        ({**MBPP[0], "test_list": []} | {"challenge_test_list": []}, "test_list: expected at least one assert"),
        ({**MBPP[0], "test_list": "assert 1"}, "test_list: expected a list"),
        ({**MBPP[0], "test_list": ["assert f(1) == 2"], "challenge_test_list": []}, "calls of a function that `code` defines"),
        ({**MBPP[0], "text": 3}, "text or prompt: expected text, got 3"),
        ({**LIVE[0], "difficulty": "odd"}, "expected difficulty easy"),
        ({**LIVE[0], "private_test_cases": "?"}, "private_test_cases: expected JSON, or base64"),
        ({**LIVE[0], "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()}, "print is no text"),
        ({**LIVE[0], "public_test_cases": '[{"input": 1}]'}, "public_test_cases: expected tests with the texts"),
        ({**LIVE[1], "metadata": "{}"}, "metadata: expected func_name"),
        ({**LIVE[1], "private_test_cases": '[{"input": "[1", "output": "1", "testtype": "functional"}]'}, "input: expected JSON"),
    ],
)
def test_wrong_records_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "some.jsonl", [MBPP[1], row])
    with pytest.raises(ConfigError, match=message) as raised:
        load_problems(path)
    assert str(raised.value).startswith(f"{path}:2: ")
