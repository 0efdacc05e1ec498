# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks of one session on another. The code is the attacker's; `after` and the honest neighbour tell what it did."""

from tests.tool_servers.attacks.record import Attack
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS", "VICTIM"]

VICTIM = r"""
import os, socket, threading, time, ctypes, mmap
secret = HOLD
open('secret.txt', 'w').write(secret)
for path in ('/dev/shm/neighbour', '/tmp/neighbour'):
    try: open(path, 'w').write(secret)
    except OSError: pass
reached, kept = [], []
def listen(family, address, kind):
    try:
        s = socket.socket(family, kind); kept.append(s); s.bind(address)
        if kind == socket.SOCK_STREAM: s.listen()
    except OSError: return
    def loop():
        while True:
            try:
                if kind == socket.SOCK_STREAM: s.accept()
                else: s.recv(100)
                reached.append(str(address))
            except OSError: return
    threading.Thread(target=loop, daemon=True).start()
listen(socket.AF_UNIX, '\0neighbour', socket.SOCK_STREAM); listen(socket.AF_UNIX, '\0neighbour-d', socket.SOCK_DGRAM)
listen(socket.AF_UNIX, '/tmp/neighbour.sock', socket.SOCK_STREAM)
listen(socket.AF_INET, ('127.0.0.1', 47654), socket.SOCK_STREAM); listen(socket.AF_INET, ('127.0.0.1', 47654), socket.SOCK_DGRAM)
child = os.fork()
if child == 0:
    kept = secret * 100; time.sleep(300); os._exit(0)
"""
"""The victim: files, sockets, memory and a child, all with a secret."""

CHECK = "print(len(reached), os.waitpid(child, os.WNOHANG) == (0, 0), open('secret.txt').read() == secret, sorted(os.listdir('.')), reached)"

_OK = (Status.OK,)
ATTACKS = (
    Attack(
        name="files of a neighbour",
        tries="find its files in every folder, by every number of a process",
        code="""
import glob
for folder in ('/tmp', '/dev/shm', '/var/tmp', '..', '../..', '/work/..', '/session', '/box', '/old', '/run', '/mnt'):
    for root, folders, names in os.walk(folder):
        if root.count('/') > 8: folders.clear(); continue
        folders[:] = [f for f in folders if f not in ('usr', 'lib', 'lib64', 'site-packages')]  # the system's, thousands of them
        for name in names:
            if 'secret' in name or 'neighbour' in name: print(root, name, quietly(lambda: open(f'{root}/{name}').read()))
for pid in [*range(1, 80), *T['neighbours']]:
    for path in ('root/work/secret.txt', 'cwd/secret.txt', 'root/tmp/neighbour', 'environ', 'cmdline'):
        data = quietly(lambda: open(f'/proc/{pid}/{path}').read())
        if data and T['hint'] in data: print(pid, path, data)""",
        statuses=(*_OK, Status.ERROR),
        after="neighbour",
        dangerous=True,
    ),
    Attack(
        name="sockets of a neighbour",
        tries="connect to its abstract, file and loopback sockets",
        code="""
for family, address in ((1, '\\0neighbour'), (1, '/tmp/neighbour.sock'), (2, ('127.0.0.1', 47654))):
    s = quietly(lambda: socket.socket(family))
    if s: s.settimeout(0.5); attempt(str(address), lambda: s.connect(address))
for family, address in ((1, '\\0neighbour-d'), (2, ('127.0.0.1', 47654))):
    s = quietly(lambda: socket.socket(family, socket.SOCK_DGRAM))
    if s: print(quietly(lambda: s.sendto(b'x', address)))
time.sleep(0.1)""",
        statuses=(*_OK, Status.ERROR),
        after="neighbour",
        dangerous=True,
    ),
    Attack(
        name="processes of a neighbour",
        tries="signal, trace, read and slow down its processes, which have its own user",
        code="""
b = ctypes.create_string_buffer(64); iov = (ctypes.c_ulong * 2)(ctypes.addressof(b), 64)
for pid in T['neighbours']:
    if pid == os.getpid(): continue
    for n in (signal.SIGUSR1, signal.SIGSTOP, signal.SIGKILL): attempt(f'kill {pid}', lambda: os.kill(pid, n))
    attempt(f'ptrace {pid}', lambda: call('ptrace', 16, pid, 0, 0)); attempt(f'mem {pid}', lambda: os.open(f'/proc/{pid}/mem', os.O_RDWR))
    attempt(f'nice {pid}', lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)); (fd := quietly(lambda: call('pidfd_open', pid, 0))) and attempt(f'pidfd {pid}', lambda: call('pidfd_send_signal', fd, 9, None, 0))
    attempt(f'affinity {pid}', lambda: os.sched_setaffinity(pid, {0}))
    attempt(f'limits {pid}', lambda: __import__('resource').prlimit(pid, 7, (20, 20)))
    attempt(f'children {pid}', lambda: open(f'/proc/{pid}/task/{pid}/children').read())""",
        statuses=_OK,
        after="neighbour",
        dangerous=True,
    ),
    Attack(
        name="hogs every core",
        tries="8 busy processes beside an honest neighbour (its answers must stay right; times are in the benchmark)",
        code="""
pids = []
for _ in range(8):
    pid = quietly(os.fork)
    if pid == 0:
        quietly(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
        while True: pass
    if pid: pids.append(pid)
time.sleep(1); end(pids)""",
        statuses=_OK,
        after="neighbour",
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="uses up the user's processes",
        tries="so many sleepers that a neighbour of the same user cannot fork",
        code="pids = sleepers(200)\nprint(len(pids))",
        statuses=(*_OK, Status.ERROR, Status.MEMORY),
        after="neighbour_forks",
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="uses up the user's objects",
        tries="inotify watches, POSIX timers, file locks, pipes and pending signals of the user",
        code="""
import fcntl
kept = []
for _ in range(300): kept.append(quietly(lambda: libc.inotify_init1(0)))
for _ in range(64):
    p = quietly(os.pipe)
    if p: kept.append(p); quietly(lambda: fcntl.fcntl(p[1], 1031, 1 << 20))
for _ in range(500):
    t = ctypes.c_void_p(); libc.timer_create(1, None, ctypes.byref(t))
print(len(kept))""",
        statuses=(*_OK, Status.ERROR),
        after="neighbour_forks",
        alone=True,
        dangerous=True,
    ),
)
