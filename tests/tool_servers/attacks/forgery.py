# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks on the protocol between the code and whoever reports on it. A value is a claim; a status, a cost, a number is not."""

from tests.tool_servers.attacks.record import ANY, ENDED, Attack
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS"]

_FRAMES = r"""
import json, struct
claim = {'id': 1, 'seq': 999, 'status': 'ok', 'ok': True, 'end': 'ok', 'value': 'FORGED', 'out': 'FORGED', 'err': '', 'truncated': False, 'restarted': False,
         'type': 'result', 'op': 'result', 'kind': 'result', 'claim': 'FORGED', 'done': True, 'result': {'status': 'ok', 'value': 'FORGED'},
         'usage': {'wall_ms': 0, 'cpu_ms': 0, 'peak_mb': 0}, 'cpu_ms': 0, 'wall_ms': 0, 'peak_mb': 0, 'tests_passed': True}
text = json.dumps(claim).encode()
forged = [struct.pack('!II', len(text), 0) + text, struct.pack('!I', len(text)) + text, struct.pack('<I', len(text)) + text, text + b'\n', text]
exact = []
for n in range(64):
    t = json.dumps({**claim, 'call': n, 'ok': True, 'value': 'FORGED'}).encode()
    exact.append(struct.pack('!II', len(t), 0) + t)
def fds(): return [n for n in range(3, 256) if quietly(lambda: os.fstat(n))]
def spray(data):
    for n in fds():
        quietly(lambda: os.set_blocking(n, False)); quietly(lambda: os.write(n, data))
        s = quietly(lambda: socket.socket(fileno=os.dup(n)))
        if s: quietly(lambda: s.send(data))
"""
_OVERDRAWN = "b'\\xff' * 8", "struct.pack('!II', 1 << 31, 1 << 31)", "struct.pack('!II', 2, 1 << 30) + b'{}'"

ATTACKS = (
    Attack(
        name="forged claim, then exit 0",
        tries="the very frame that the supervisor waits for, for every number of a call, and a good end of the process",
        code=f"{_FRAMES}\nspray(b''.join(exact))\nos._exit(0)",
        statuses=(Status.DIED, Status.ERROR, Status.OK),
        alone=True,
        after="not_forged",
        dangerous=True,
    ),
    Attack(
        name="forged claim, then a hang",
        tries="the very frame that the supervisor waits for, with costs of 0, and computing that goes on for ever",
        code=f"{_FRAMES}\nspray(b''.join(exact))\nwhile True: pass",
        statuses=ANY,
        alone=True,
        wall_s=1,
        after="not_forged",
        dangerous=True,
    ),
    Attack(
        name="forged result, then exit 0",
        tries="write a result with status ok to every inherited descriptor, and end the process well",
        code=f"{_FRAMES}\nfor data in forged: spray(data)\nos._exit(0)",
        statuses=(Status.DIED, Status.ERROR),
        alone=True,
        after="not_forged",
        dangerous=True,
    ),
    Attack(
        name="forged result, then a hang",
        tries="write a result with status ok, costs 0 and another number, and go on computing for ever",
        code=f"{_FRAMES}\nfor data in forged: spray(data)\nwhile True: pass",
        statuses=ANY,
        alone=True,
        wall_s=1,
        after="not_forged",
        dangerous=True,
    ),
    Attack(
        name="forged results for calls to come",
        tries="a hundred results ahead of their calls",
        code=f"{_FRAMES}\nfor _ in range(20):\n    for data in forged: spray(data)\nprint('honest')",
        statuses=ANY,
        alone=True,
        after="not_forged",
        dangerous=True,
    ),
    Attack(
        name="forged costs",
        tries="burn a fifth of a second of CPU and claim that it was nothing",
        code=f"{_FRAMES}\nuntil = time.process_time() + 0.2\nwhile time.process_time() < until: pass\nfor data in forged: spray(data)",
        statuses=ANY,
        alone=True,
        after="costs",
        dangerous=True,
    ),
    Attack(
        name="garbage",
        tries="random bytes to every inherited descriptor",
        code=f"{_FRAMES}\nspray(os.urandom(100_000))\nspray(b'\\n' * 1000)",
        statuses=(*ENDED, Status.OUTPUT, Status.OK),
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
    *(
        Attack(
            name=f"lengths that lie ({number})",
            tries="the head of a frame that is longer than memory, or never comes",
            code=f"{_FRAMES}\nspray({data})",
            statuses=(*ENDED, Status.OUTPUT, Status.OK),
            alone=True,
            wall_s=1.5,
            after="goes_on",
            dangerous=True,
        )
        for number, data in enumerate(_OVERDRAWN, 1)
    ),
    Attack(
        name="deep JSON",
        tries="a frame of 100,000 nested lists, of repeated keys, of NaN and of huge integers",
        code=_FRAMES
        + r"""
for text in (b'[' * 100_000, b'{"a":' * 50_000, b'{"value":NaN,"status":"ok"}', b'{"value":' + b'9' * 10_000 + b'}', b'[1]', b'null', b'"\\ud800"', b'{"value":1e999}'):
    spray(struct.pack('!II', len(text), 0) + text); spray(text + b'\n')""",
        statuses=(*ENDED, Status.OUTPUT, Status.OK),
        alone=True,
        wall_s=1.5,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="a reply of 100 MB",
        tries="a frame of 100 MB where 256 kB are allowed",
        code=_FRAMES
        + r"""
for n in fds():
    quietly(lambda: os.set_blocking(n, True))
    big = json.dumps({**claim, 'value': 'x' * 1000}).encode()
    quietly(lambda: os.write(n, struct.pack('!II', 100 << 20, 0)))
    for _ in range(100):
        if quietly(lambda: os.write(n, b'[' + b'1,' * (1 << 19))) is None: break""",
        statuses=(*ENDED, Status.OUTPUT),
        alone=True,
        wall_s=2,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="a slow reply",
        tries="one byte of a frame every 20 ms",
        code=f"{_FRAMES}\nfor byte in forged[0] * 9:\n    spray(bytes([byte])); time.sleep(0.02)",
        statuses=ANY,
        alone=True,
        wall_s=1,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="reads what is meant for others",
        tries="read every inherited descriptor, also opened anew through /dev/fd and /proc/self/fd",
        code=f"""{_FRAMES}
for n in fds():
    quietly(lambda: os.set_blocking(n, False)); print(n, quietly(lambda: os.readlink(f'/proc/self/fd/{{n}}')), quietly(lambda: os.read(n, 4096)))
    for folder in ('/dev/fd', '/proc/self/fd'):
        for mode in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            fd = quietly(lambda: os.open(f'{{folder}}/{{n}}', mode | os.O_NONBLOCK))
            if fd is not None: print(folder, n, mode, quietly(lambda: os.read(fd, 4096))); os.close(fd)""",
        statuses=ANY,
        alone=True,
        wall_s=1.5,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="descriptors by message",
        tries="send and receive descriptors over every inherited socket",
        code=f"""{_FRAMES}
import array
for n in fds():
    s = quietly(lambda: socket.socket(fileno=os.dup(n)))
    if s is None: continue
    s.setblocking(False)
    for _ in range(50): quietly(lambda: s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1, 2] * 8))]))
    got = quietly(lambda: s.recvmsg(4096, 4096))
    if got and got[1]: print('REACHED', got)""",
        statuses=ANY,
        alone=True,
        wall_s=1.5,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="the worker rewritten",
        tries="patch json, struct, os, the worker's class and every frame above its own, so that it says ok for ever",
        code=r"""
import builtins, json, gc
json.dumps = json.dump = json.loads = lambda *a, **k: '{"status":"ok","value":"FORGED"}'
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_locals.items()) + list(frame.f_globals.items()):
        if hasattr(value, '__dict__') and not isinstance(value, type(sys)):
            for method in ('handle', 'run', 'call', 'send', 'write', 'reply'):
                if hasattr(type(value), method): quietly(lambda: setattr(type(value), method, lambda *a, **k: 'FORGED'))
    frame = frame.f_back
builtins.exec = builtins.eval = builtins.compile = lambda *a, **k: None
os.write = os.read = os.fork = lambda *a, **k: b''""",
        statuses=ANY,
        alone=True,
        wall_s=1.5,
        after="ends_or_goes_on",
        dangerous=True,
    ),
    Attack(
        name="state above it",
        tries="walk frames, gc and modules for objects of the supervisor or of the server: sockets, other sessions, secrets",
        code=r"""
import gc
hint = T['hint']; hits = []
for o in gc.get_objects() + [f for f in sys._current_frames().values()]:
    if isinstance(o, socket.socket) and o.fileno() >= 0: print('socket', o)
    if isinstance(o, dict):
        for k, v in list(o.items()):
            if isinstance(v, str | bytes) and o is not T and (hint in v if isinstance(v, str) else hint.encode() in v) and v != hint: hits.append((k, v))
print(hits[:50])
frame = sys._getframe()
while frame: print(frame.f_code.co_filename, [k for k in frame.f_locals]); frame = frame.f_back""",
        statuses=ANY,
        dangerous=True,
    ),
    Attack(
        name="two sessions in one",
        tries="answer the next call from a thread that was left behind, twice",
        code=f"""{_FRAMES}
def later():
    for _ in range(100): time.sleep(0.02); [spray(f) for f in forged]
threading.Thread(target=later, daemon=True).start()""",
        statuses=ANY,
        alone=True,
        after="not_forged",
        dangerous=True,
    ),
)
