"""The judge of submissions: what is right passes, whatever cheats passes nothing and harms nothing."""

import json

import pytest

from turnwise.envs.code.guest import encode
from turnwise.envs.code.judge import Judge
from turnwise.envs.code.plain import is_shallow, same, same_output, show
from turnwise.envs.code.problem import Case, Problem

JUDGE = Judge(profile="python", needs="namespaces", wall_s=60.0, test_s=0.5)
STRICT = Judge(profile="python", needs="namespaces", wall_s=3.0, test_s=0.5)
"""For what will not end."""
RIGHT = "def f(xs):\n    return [sum(xs) * 7 + 1, sorted(xs)]\n"


def case(xs: list[int], label: str = "hidden") -> Case:
    return Case([xs], encode([sum(xs) * 7 + 1, sorted(xs)]), label)


PROBLEM = Problem(
    "calls",
    "f",
    (case([2, 1], "example"), case([5, 3, 4], "example")),
    tuple(case(xs, label) for xs, label in (([9, 8], "two"), ([31, 7, 19], "three"), ([40, -77], "negative"), ([], "empty"))),
)
ASSERTS = Problem(
    "checks",
    "f",
    setup="import math",
    check="def check(candidate):\n    assert candidate([2, 1]) == [22, [1, 2]]\n    for n in (3, 4):\n"
    "        assert candidate(list(range(n))) == [sum(range(n)) * 7 + 1, list(range(n))]\n"
    "    assert math.isclose(candidate([9, 8])[0], 120.0)\n",
    entry=True,
    names=("f",),
    calls=(["f", [[2, 1]], {"dict": []}],),
)

CHEATS = {
    "leaves when it is defined": "import os\nos._exit(0)\ndef f(xs): pass",
    "leaves when it is called": "import os\ndef f(xs): os._exit(0)",
    "raises SystemExit": "import sys\ndef f(xs): sys.exit(0)",
    "raises KeyboardInterrupt": "def f(xs): raise KeyboardInterrupt",
    "prints what is expected": "def f(xs): print([sum(xs) * 7 + 1, sorted(xs)]); print('OK 4 passed')",
    "writes the report and leaves": "import os, json\nopen('answer.json', 'w').write(json.dumps({'results': [{'v': 1}] * 4, "
    "'verdicts': [True] * 9, 'solved': True}))\nos._exit(0)\ndef f(xs): pass",
    "patches json": 'import json\njson.dump = lambda report, file: file.write(\'{"results": [{"v": true, "passed": true}, '
    '{"v": true}, {"v": true}, {"v": true}], "verdicts": [true, true, true, true]}\')\ndef f(xs): return 1',
    "patches builtins": "import builtins\nbuiltins.isinstance = lambda a, b: True\nbuiltins.bool = lambda *a: True\n"
    "builtins.all = lambda x: True\nbuiltins.sorted = lambda *a, **k: []\ndef f(xs): return True",
    "patches the runner": "import sys\nmain = sys.modules['__main__']\nfor name in list(vars(main)):\n"
    "    if callable(getattr(main, name)):\n        setattr(main, name, lambda *a, **k: True)\ndef f(xs): return 1",
    "is equal to everything": "class Same:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
    "    def __hash__(self): return 0\ndef f(xs): return Same()",
    "is a list that is equal to everything": "class Same(list):\n    def __eq__(self, other): return True\n"
    "    def __len__(self): return 2\n    def __iter__(self): return iter([Same(), Same()])\ndef f(xs): return Same()",
    "pretends to be a list": "class Same:\n    __class__ = list\n    def __eq__(self, other): return True\n"
    "def f(xs): return Same()",
    "looks into the caller's frames": "import sys\ndef f(xs):\n    frame = sys._getframe()\n    while frame:\n"
    "        for name, value in frame.f_locals.items():\n            if 'expect' in name or 'right' in name: return value\n"
    "        frame = frame.f_back",
    "looks for the answers in memory": "import gc\ndef f(xs):\n    for found in gc.get_objects():\n"
    "        if isinstance(found, list) and len(found) == 2 and isinstance(found[1], list) and found[1] == sorted(xs)"
    " and found[0] == sum(xs) * 7 + 1: return found\n    return None",
    "looks for the answers in files": "import glob\ndef f(xs):\n    return [open(p, errors='replace').read()[:50] "
    "for p in glob.glob('/work/*') + glob.glob('/tmp/*')]",
    "does not end": "def f(xs):\n    while True: pass",
    "does not end and hears no alarm": "import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\n"
    "signal.setitimer = lambda *a: (0, 0)\ndef f(xs):\n    while True:\n        try:\n            while True: pass\n"
    "        except BaseException: pass",
    "sleeps": "import time\ndef f(xs): time.sleep(1000)",
    "takes all memory": "def f(xs): return 'x' * 10**10",
    "takes all memory slowly": "def f(xs):\n    kept = []\n    while True: kept.append(bytearray(10**7))",
    "prints without end": "def f(xs):\n    while True: print('x' * 100000)",
    "forks without end": "import os\ndef f(xs):\n    while True: os.fork()",
    "forks and lets the child answer": "import os\ndef f(xs):\n    if os.fork(): os._exit(0)\n    return [1, 2]",
    "starts threads without end": "import threading, time\ndef f(xs):\n    while True: threading.Thread(target=time.sleep, "
    "args=(99,)).start()",
    "recurses without end": "import sys\nsys.setrecursionlimit(10**9)\ndef f(xs): return f(xs)",
    "returns what nests without end": "def f(xs):\n    xs.append(xs)\n    return xs",
    "returns what is too long": "def f(xs): return list(range(3 * 10**6))",
    "makes the report a folder": "import os\nos.mkdir('answer.json')\ndef f(xs): return 1",
    "makes the report a pipe": "import os\nos.mkfifo('answer.json')\ndef f(xs): return 1",
    "makes the report a link": "import os\nos.symlink('/etc/passwd', 'answer.json')\ndef f(xs): return 1",
    "writes a deep report": "import json\njson.dump = lambda r, file: file.write('[' * 9000 + ']' * 9000)\ndef f(xs): return 1",
    "writes a wide number": "import json\njson.dump = lambda r, file: file.write('{\"results\": [' + '9' * 9999 + ']}')\n"
    "def f(xs): return 1",
    "writes no number": 'import json\njson.dump = lambda r, file: file.write(\'{"results": [{"v": NaN}, {"v": 1e999}]}\')\n'
    "def f(xs): return 1",
    "fills the disk": "def f(xs):\n    with open('big', 'wb') as file:\n        while True: file.write(b'x' * 10**6)",
    "has a destructor that writes the report": "import json\nclass Last:\n    def __del__(self):\n"
    "        open('answer.json', 'w').write(json.dumps({'results': [{'v': True}] * 4, 'verdicts': [True] * 9}))\n"
    "last = Last()\ndef f(xs): return last",
    "writes the report at exit": "import atexit, json\natexit.register(lambda: open('answer.json', 'w').write(json.dumps("
    "{'results': [{'v': True}] * 4, 'verdicts': [True] * 9})))\ndef f(xs): return None",
    "traces the runner": "import sys\ndef tracer(frame, event, arg):\n    frame.f_locals['verdicts'] = [True] * 9\n"
    "    return tracer\nsys.settrace(tracer)\ndef f(xs): return None",
    "profiles the runner": "import sys\nsys.setprofile(lambda frame, event, arg: frame.f_locals.update(v=True))\n"
    "def f(xs): return None",
    "rewrites the caller's locals": "import sys, ctypes\ndef f(xs):\n    frame = sys._getframe(1)\n    while frame:\n"
    "        frame.f_locals.update(claim={'v': [22, [1, 2]]}, report={'verdicts': [True] * 9})\n"
    "        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))\n        frame = frame.f_back",
    "replaces the runner's code": "import sys\nfor function in list(vars(sys.modules['__main__']).values()):\n"
    "    if hasattr(function, '__code__'): function.__code__ = (lambda *a, **k: True).__code__\ndef f(xs): return True",
    "replaces every function it can find": "import gc, types\nfor found in gc.get_objects():\n"
    "    if isinstance(found, types.FunctionType) and found.__name__ in ('same', '_call', '_timed', 'encode'):\n"
    "        found.__code__ = (lambda *a, **k: {'v': True}).__code__\ndef f(xs): return True",
    "has a metaclass that is everything": "class Meta(type):\n    def __instancecheck__(cls, other): return True\n"
    "    def __eq__(cls, other): return True\n    def __hash__(cls): return 0\nclass Any(metaclass=Meta): pass\n"
    "def f(xs): return Any",
    "is a number that is equal to everything": "class One(int):\n    def __eq__(self, other): return True\n"
    "    def __hash__(self): return 0\ndef f(xs): return [One(), One()]",
    "is a text that is equal to everything": "class Text(str):\n    def __eq__(self, other): return True\n"
    "    def __hash__(self): return 0\ndef f(xs): return Text('x')",
    "is a float that is not a number": "def f(xs): return [float('nan'), float('nan')]",
    "yields without end": "def f(xs):\n    while True: yield xs",
    "is a list that yields without end": "import itertools\nclass Long(list):\n    def __iter__(self): return itertools.count()\n"
    "def f(xs): return Long([1])",
    "is a mapping that yields without end": "class Wide(dict):\n    def items(self):\n        while True: yield 1, 1\n"
    "def f(xs): return Wide(a=1)",
    "pickles itself into a call": "import os\nclass Bomb:\n    def __reduce__(self): return os._exit, (0,)\n"
    "def f(xs): return Bomb()",
    "answers in another thread": "import threading\ndef f(xs):\n    def write():\n        while True:\n"
    "            open('answer.json', 'w').write('{\"results\": [{\"v\": true}, {\"v\": true}]}')\n"
    "    threading.Thread(target=write, daemon=True).start()\n    return None",
    "leaves a child that writes the report": "import os, time\ndef f(xs):\n    if os.fork() == 0:\n        for _ in range(200):\n"
    '            open(\'answer.json\', \'w\').write(\'{"results": [{"v": true}, {"v": true}], "verdicts": [true]}\')\n'
    "            time.sleep(0.01)\n        os._exit(0)\n    return None",
    "looks for the answers in other processes": "import glob\ndef f(xs):\n    found = ''\n"
    "    for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):\n"
    "        try: found += open(path, errors='replace').read()\n        except OSError: pass\n    return found",
    "reads its own memory": "def f(xs):\n    for line in open('/proc/self/maps'):\n        if 'heap' in line:\n"
    "            low, high = (int(end, 16) for end in line.split()[0].split('-'))\n            "
    "memory = open('/proc/self/mem', 'rb')\n"
    "            memory.seek(low)\n            return memory.read(min(high - low, 10**6)).find(b'expected')",
    "opens every descriptor": "import os\ndef f(xs):\n    for number in range(3, 64):\n        try: os.write(number, "
    'b\'{"results": [{"v": true}], "verdicts": [true]}\')\n        except OSError: pass\n    return None',
    "closes every descriptor": "import os\nos.closerange(0, 256)\ndef f(xs): return None",
    "stops its parent": "import os, signal\ndef f(xs): os.kill(os.getppid(), signal.SIGSTOP)",
    "kills all it can": "import os, signal\ndef f(xs): os.kill(-1, signal.SIGKILL)",
    "imports the judge": "def f(xs):\n    from turnwise.envs.code import judge\n    return judge",
    "swaps modules": "import sys, types\nfake = types.ModuleType('json')\nfake.dump = lambda report, file: file.write("
    '\'{"results": [{"v": true}], "verdicts": [true]}\')\nsys.modules[\'json\'] = fake\ndef f(xs): return None',
    "raises what says that it passed": "class Passed(Exception):\n    def __str__(self): return 'passed'\n"
    "def f(xs): raise Passed('solved', [22, [1, 2]])",
    "raises an error whose text does not end": "class Loud(Exception):\n    def __str__(self):\n        while True: pass\n"
    "def f(xs): raise Loud",
    "is a generator of the answers": "def f(xs): return (x for x in [sum(xs) * 7 + 1, sorted(xs)])",
    "returns the answer as text": "def f(xs): return str([sum(xs) * 7 + 1, sorted(xs)])",
    "is a wrong program": "def f(xs) return 1",
    "is no program": "\x00\ud800 f",
    "defines something else": "f = 3",
}


@pytest.mark.parametrize("name", CHEATS)
def test_cheats_pass_nothing(name: str) -> None:
    verdict = STRICT.attempt(PROBLEM, CHEATS[name])
    assert not verdict.solved and verdict.share == 0.0
    assert not any(tried.passed for tried in verdict.examples)


@pytest.mark.parametrize("name", sorted(CHEATS)[::3])
def test_cheats_pass_no_asserts(name: str) -> None:
    verdict = STRICT.attempt(ASSERTS, CHEATS[name])
    assert not verdict.solved and verdict.share == 0.0


def test_right_code_passes() -> None:
    verdict = JUDGE.attempt(PROBLEM, RIGHT)
    assert verdict.solved and verdict.share == 1.0 and len(verdict.examples) == 2
    assert not verdict.stopped and verdict.broken is None


def test_right_code_passes_asserts_that_call_in_a_loop() -> None:
    verdict = JUDGE.attempt(ASSERTS, RIGHT)
    assert verdict.solved and len(verdict.tests) == 4
    half = JUDGE.attempt(ASSERTS, "def f(xs):\n    if len(xs) > 2: raise ValueError\n    return [sum(xs) * 7 + 1, sorted(xs)]")
    assert [tried.passed for tried in half.tests] == [True, False, False, True] and not half.solved


def test_state_between_calls_is_ones_own_affair() -> None:
    """A default argument that all calls share is found, and a cache of right results does no harm."""
    shared = "def f(xs, kept=[]):\n    kept.extend(xs)\n    return [sum(kept) * 7 + 1, sorted(kept)]"
    assert JUDGE.attempt(PROBLEM, shared).share == 0.0
    cached = "import functools\n@functools.cache\ndef g(xs): return [sum(xs) * 7 + 1, sorted(xs)]\ndef f(xs): return g(tuple(xs))"
    assert JUDGE.attempt(PROBLEM, cached).solved


def test_results_tell_what_happened() -> None:
    verdict = JUDGE.attempt(PROBLEM, "def f(xs):\n    print('hm')\n    return [1 / (len(xs) - 2), sorted(xs)]\n")
    first, second = verdict.examples
    assert (first.result.error, first.result.line) == ("ZeroDivisionError", 3)
    assert second.result.value == [1, [3, 4, 5]] and verdict.printed == "hm\nhm\n"
    broken = JUDGE.attempt(PROBLEM, "def f(xs):\n    return (\n").broken
    assert broken is not None and broken.error == "SyntaxError" and broken.line == 2


def test_programs_read_and_print() -> None:
    problem = Problem("programs", "", (Case("1 2\n", "3\n"),), (Case("10 20\n", "30"), Case("1 1\n", "2 \n\n")))
    for code in (
        "a, b = map(int, input().split())\nprint(a + b)",
        "import sys\ndef main():\n    print(sum(map(int, sys.stdin.read().split())))\nif __name__ == '__main__':\n    main()",
        "import sys\nsys.stdout.buffer.write(str(sum(map(int, open(0).read().split()))).encode())\nexit()",
    ):
        assert JUDGE.attempt(problem, code).solved, code
    assert not JUDGE.attempt(problem, "print(3)").solved
    assert not JUDGE.attempt(problem, "import sys\nprint(sum(map(int, input().split())))\nsys.exit(1)").solved


@pytest.mark.parametrize(
    ("got", "expected", "equal"),
    [
        ([1, "a", None], [1, "a", None], True),
        (True, 1, True),
        (2.0, 2, True),
        (0.5, 0.5, True),
        (2**70, 2**70, True),
        (float(2**70), 2**70, True),
        ((1, 2), [1, 2], False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ({1: 2}, {True: 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({1, 2, 3}, {3, 2, 1}, True),
        ({1, 2}, {1, 3}, False),
        ("1", 1, False),
        (None, 0, False),
        (False, 0, True),
        ([], (), False),
        (b"ab", b"ab", True),
        (1 + 2j, 1 + 2j, True),
        (float("inf"), float("inf"), True),
    ],
)
def test_plain_data_is_compared_as_python_does(got: object, expected: object, equal: bool) -> None:
    encoded = (json.loads(json.dumps(encode(value))) for value in (got, expected))
    assert same(*encoded) is equal


@pytest.mark.parametrize(
    "forged", [{"int": 5}, {"int": "zz"}, {"dict": 3}, {"dict": [[1]]}, {"set": [{}]}, {"tuple": None}, {}, {"a": 1, "b": 2}]
)
def test_forged_values_are_no_values(forged: object) -> None:
    for expected in (1, "a", [1], {"a": 1}, {1}, (1,), None, object()):
        assert not same(forged, encode(expected))
    assert isinstance(show(forged), str)


def test_what_nests_too_deeply_is_not_looked_into() -> None:
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    assert not is_shallow(deep) and is_shallow(encode([[[{"a": (1, {2})}]]]))


def test_outputs_are_compared_by_line_and_word() -> None:
    assert same_output("1 2\n3\n", "1  2 \n3")
    assert same_output("1.50\n", "1.5")
    assert not same_output("1 2 3", "1 2\n3")
    assert not same_output("Yes", "YES")
    assert not same_output("1.5x", "1.5")


def test_values_are_shown_as_python_writes_them() -> None:
    for value in ([1, (2,), {"a": {3}}], "text", -(2**80), {}, set[int](), (), {1: None}):
        assert show(encode(value)) == repr(value)
    assert len(show(encode(list(range(1000))), 50)) < 120
