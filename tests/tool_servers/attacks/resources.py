# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks on what everybody shares: processes, memory, disk, time."""

from tests.tool_servers.attacks.record import ANY, BOUNDS, ENDED, Attack
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS"]

OK, TIMEOUT, MEMORY = Status.OK, Status.TIMEOUT, Status.MEMORY
ATTACKS = (
    Attack(
        name="many processes",
        tries="hold 150 children at one time",
        code="""
pids = sleepers(150)
if len(pids) > T['limits']['processes'] + 4: print('REACHED', len(pids), 'children')
time.sleep(0.3); end(pids)""",
        statuses=(OK, Status.ERROR, MEMORY),
        alone=True,
    ),
    Attack(
        name="fork bomb",
        tries="fork in every child without end",
        code="while True:\n    try: os.fork()\n    except OSError: pass",
        statuses=(*ENDED,),
        alone=True,
        dangerous=True,
        wall_s=1.5,
    ),
    Attack(
        name="threads",
        tries="hold 150 threads at one time",
        code="""
done = threading.Event()
started = 0
try:
    for _ in range(150): threading.Thread(target=done.wait, args=(20,), daemon=True).start(); started += 1
except RuntimeError: pass
if started > T['limits']['processes'] + 4: print('REACHED', started, 'threads')
time.sleep(0.3); done.set()""",
        statuses=(OK, Status.ERROR, MEMORY),
        alone=True,
    ),
    Attack(
        name="threads in children",
        tries="hold 8 children of 20 threads each",
        code="""
r, w = os.pipe()
pids = []
for _ in range(8):
    try: pid = os.fork()
    except OSError: break
    if pid == 0:
        for _ in range(20):
            try: threading.Thread(target=time.sleep, args=(20,)).start(); os.write(w, b'.')
            except RuntimeError: break
        time.sleep(20); os._exit(0)
    pids.append(pid)
time.sleep(1); os.set_blocking(r, False)
n = len(quietly(lambda: os.read(r, 9999)) or b'') + len(pids)
if n > T['limits']['processes'] + 4: print('REACHED', n, 'threads')
end(pids)""",
        statuses=(OK, Status.ERROR, MEMORY),
        alone=True,
    ),
    Attack(
        name="memory, one process",
        tries="hold 400 MB where 128 are allowed",
        code="""
held = [bytearray(b'x' * (20 << 20)) for _ in range(20)]
time.sleep(1); print('REACHED', sum(map(len, held)) >> 20, 'MB for a second')""",
        statuses=(MEMORY, Status.ERROR, Status.DIED),
        alone=True,
    ),
    Attack(
        name="memory, many processes",
        tries="hold 8 times 60 MB where 128 are allowed",
        code="""
pids = []
for _ in range(8):
    try: pid = os.fork()
    except OSError: break
    if pid == 0:
        held = bytearray(b'x' * (60 << 20)); time.sleep(20); os._exit(0)
    pids.append(pid)
time.sleep(1.5); n = alive(pids)
if n * 60 > 256: print('REACHED', n * 60, 'MB in children')
end(pids)""",
        statuses=(OK, MEMORY, Status.DIED, Status.ERROR),
        alone=True,
    ),
    Attack(
        name="memory, shared",
        tries="hold 400 MB in shared anonymous maps, memfd, /dev/shm and pipes",
        code="""
import fcntl, mmap
held, total = [], 0
for _ in range(8):
    m = quietly(lambda: mmap.mmap(-1, 50 << 20))
    if m is None: break
    for i in range(0, 50 << 20, 4096): m[i] = 1
    held.append(m); total += 50
for name in range(8):
    fd = quietly(lambda: os.memfd_create('x'))
    if fd is not None and quietly(lambda: os.write(fd, bytes(40 << 20))): total += 40; held.append(fd)
for _ in range(100):
    pair = quietly(os.pipe)
    if not pair: break
    quietly(lambda: fcntl.fcntl(pair[1], 1031, 1 << 20)); os.set_blocking(pair[1], False)
    total += (quietly(lambda: os.write(pair[1], bytes(1 << 20))) or 0) / 2**20
time.sleep(1)
if total > 256: print('REACHED', total, 'MB')""",
        statuses=(OK, MEMORY, Status.DIED, Status.ERROR),
        alone=True,
        wall_s=5,
    ),
    Attack(
        name="disk",
        tries="write 128 MB where 16 are allowed, in every folder that lets it",
        code="""
total, block, made = 0, bytes(1 << 20), []
for folder in ('.', '/tmp', '/dev/shm', '/var/tmp', '/run', '/home'):
    path = f"{folder}/{T['marker']}-fill"
    try:
        with open(path, 'wb', 0) as f:
            made.append(path)
            for _ in range(64): total += f.write(block)
    except OSError: pass
for path in made: os.unlink(path)
total >>= 20
if total > 1.5 * T['limits']['disk_mb']: print('REACHED', total, 'MB')""",
        statuses=(OK, MEMORY, Status.ERROR, Status.DIED),
        alone=True,
    ),
    Attack(
        name="inodes",
        tries="make 3,000 files where 512 are allowed",
        code="""
made = []
for folder in ('.', '/tmp', '/dev/shm'):
    for i in range(1000):
        path = f"{folder}/{T['marker']}-{i}"
        if quietly(lambda: os.close(os.open(path, os.O_CREAT | os.O_WRONLY))) is None and not os.path.exists(path): break
        made.append(path)
for path in made: os.unlink(path)
if len(made) > 1.25 * T['limits']['inodes']: print('REACHED', len(made), 'files')""",
        statuses=(OK, Status.ERROR),
        alone=True,
    ),
    Attack(
        name="descriptors",
        tries="open 2,000 descriptors where 64 are allowed",
        code="""
import resource
quietly(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)))
fds = []
while len(fds) < 2000 and (fd := quietly(lambda: os.open('/dev/null', os.O_RDONLY))) is not None: fds.append(fd)
if len(fds) > T['limits']['open_files']: print('REACHED', len(fds), 'descriptors')
for fd in fds: os.close(fd)""",
    ),
    Attack(
        name="raised limits",
        tries="raise its own resource limits and use them",
        code="""
import resource
for name in ('NPROC', 'AS', 'NOFILE', 'FSIZE', 'CORE', 'MEMLOCK', 'CPU', 'MSGQUEUE', 'RTPRIO', 'NICE'):
    kind = getattr(resource, f'RLIMIT_{name}')
    quietly(lambda: resource.setrlimit(kind, (resource.getrlimit(kind)[1],) * 2))
    quietly(lambda: resource.setrlimit(kind, (resource.RLIM_INFINITY,) * 2))
pids = sleepers(150)
if len(pids) > T['limits']['processes'] + 4: print('REACHED', len(pids), 'children')
time.sleep(0.3); end(pids)""",
        statuses=(OK, Status.ERROR, MEMORY),
        alone=True,
    ),
    Attack(
        name="endless loop",
        tries="run for ever",
        code="while True: pass",
        statuses=(TIMEOUT,),
        alone=True,
        wall_s=0.7,
        dangerous=True,
    ),
    Attack(
        name="loop behind every signal",
        tries="ignore or block every signal, and run for ever",
        code="""
for n in range(1, 65): quietly(lambda: signal.signal(n, signal.SIG_IGN))
quietly(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)))
while True: pass""",
        statuses=(TIMEOUT,),
        alone=True,
        wall_s=0.7,
        dangerous=True,
    ),
    Attack(
        name="one C call without end",
        tries="keep the interpreter's lock in one call",
        code="pow(7, 10 ** 9)",
        statuses=(TIMEOUT,),
        alone=True,
        wall_s=0.7,
        dangerous=True,
    ),
    Attack(
        name="stops itself",
        tries="SIGSTOP to itself",
        code="os.kill(os.getpid(), signal.SIGSTOP); time.sleep(9)",
        statuses=(TIMEOUT, Status.DIED, Status.ERROR),
        alone=True,
        wall_s=0.7,
        dangerous=True,
    ),
    Attack(
        name="stops its supervisor",
        tries="SIGSTOP to its parent, to pid 1 and to its whole group",
        code="""
for pid in (os.getppid(), 1, 0): quietly(lambda: os.kill(pid, signal.SIGSTOP))
for _ in range(9): time.sleep(1)""",
        statuses=(TIMEOUT, Status.DIED),
        alone=True,
        wall_s=0.7,
        dangerous=True,
    ),
    Attack(
        name="CPU of children",
        tries="burn CPU in 8 processes and in daemons of them beyond its budget of 2 s",
        code="""
r, w = os.pipe()
for i in range(8):
    if os.fork() == 0:
        os.setsid()
        if i % 2 and os.fork(): os._exit(0)
        while time.process_time() < 1.5: pass
        os.write(w, b'.'); os._exit(0)
for n in range(5): os.read(r, 1)
print('REACHED 7.5 s of CPU')""",
        statuses=(TIMEOUT,),
        alone=True,
        wall_s=30,
        limits=Limits(wall_s=30, cpu_s=2, memory_mb=128, processes=16),
        dangerous=True,
    ),
    Attack(
        name="stack overflow",
        tries="recurse until the C stack is gone",
        code="sys.setrecursionlimit(10**9)\ndef f(x): return repr([x]) and f([x])\nclass A:\n    def __repr__(s): return repr(s)\nrepr(A())",
        statuses=(Status.DIED, Status.ERROR, MEMORY, TIMEOUT),
        alone=True,
    ),
    Attack(
        name="broken memory",
        tries="write to address 0, free the interpreter's objects",
        code="ctypes.memset(0, 1, 1)",
        statuses=(Status.DIED,),
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="huge value",
        tries="a last expression of 20 MB",
        code="'x' * 20_000_000",
        statuses=(OK, Status.ERROR, MEMORY, Status.OUTPUT),
    ),
    Attack(
        name="exits in every way",
        tries="SystemExit, os.abort in a child, quit(), a raised BaseException",
        code="child(os.abort)\nclass E(BaseException): pass\ntry: sys.exit(0)\nexcept SystemExit: pass\nraise E",
        statuses=(Status.ERROR, Status.DIED),
        alone=True,
    ),
    Attack(
        name="dies",
        tries="os._exit(0) in the middle of a call",
        code="print('before', flush=True)\nos._exit(0)",
        statuses=(Status.DIED,),
        alone=True,
    ),
    Attack(
        name="at exit",
        tries="hang in atexit, __del__ and a non-daemon thread when the session is closed",
        code="""
import atexit
atexit.register(lambda: time.sleep(60))
class Hang:
    def __del__(self): time.sleep(60)
kept = Hang(); threading.Thread(target=time.sleep, args=(60,)).start()
for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)""",
        statuses=(OK,),
        alone=True,
        dangerous=True,
    ),
)
assert BOUNDS.processes == 16 and len(ANY) == 6
