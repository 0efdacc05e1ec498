# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks on the accounts and on those who keep them: what is not counted, not seen, or costs the watcher more than the watched."""

from dataclasses import replace

from tests.tool_servers.attacks.record import ANY, BOUNDS, ENDED, Attack
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS"]

_WALL = (Status.TIMEOUT, Status.MEMORY, Status.ERROR, Status.DIED)
ATTACKS = (
    Attack(
        name="burners that nobody waits for",
        tries="CPU of short-lived children whose parent ignores their end, so that no parent's account has it",
        code="""
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(10):
    pid = quietly(os.fork)
    if pid == 0:
        t = time.process_time()
        while time.process_time() < t + 0.02: pass
        os._exit(0)
    if pid: quietly(lambda: os.waitpid(pid, 0))
print('done')""",
        statuses=(Status.OK, Status.TIMEOUT),
        after="costs",
        dangerous=True,
        alone=True,
    ),
    Attack(
        name="burners with an odd name",
        tries="a process name that looks like the end of its line in /proc, to hide what it uses",
        code="""
libc.prctl(15, b') Z 0 0 0 (', 0, 0, 0)
t = time.process_time()
while time.process_time() < t + 0.2: pass""",
        statuses=(Status.OK, Status.TIMEOUT),
        after="costs",
        dangerous=True,
        alone=True,
    ),
    Attack(
        name="siblings of its own",
        tries="150 children that are children of its parent (CLONE_PARENT)",
        code="""
made = 0
for _ in range(150):
    pid = quietly(lambda: call('clone', 0x8000 | 17, 0, 0, 0, 0))
    if pid == 0: time.sleep(20); os._exit(0)
    if not pid: break
    made += 1
print(made)
if made > T['limits']['processes'] + 4: print('REACHED', made, 'processes')""",
        statuses=ANY,
        dangerous=True,
        alone=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="claims without end",
        tries="flood its supervisor with small claims, each of which costs more to read than to write",
        code="""
import json, struct
text = json.dumps({'call': 'x'}).encode(); flood = (struct.pack('!II', len(text), 0) + text) * 3000
for fd in range(3, 64):
    s = quietly(lambda: socket.socket(fileno=os.dup(fd)))
    if s is None: continue
    until = time.monotonic() + 3
    while time.monotonic() < until: s.sendall(flood)
    print('REACHED: taken for 3 s')""",
        statuses=(*ENDED, Status.OK),
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="urgent bytes",
        tries="out-of-band bytes, shutdown and options on the channel to its supervisor",
        code="""
for fd in range(3, 10):
    s = quietly(lambda: socket.socket(fileno=os.dup(fd)))
    if s is None: continue
    for _ in range(50): quietly(lambda: s.send(b'!', socket.MSG_OOB))
    for option in range(1, 90): quietly(lambda: s.setsockopt(socket.SOL_SOCKET, option, 1))
    quietly(lambda: s.shutdown(socket.SHUT_RD)); quietly(lambda: s.shutdown(socket.SHUT_WR))""",
        statuses=ANY,
        wall_s=1.5,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="pipes changed under the reader",
        tries="shrink, grow and make asynchronous the pipes that its output is read from",
        code="""
import fcntl
for fd in (1, 2, 4, 5):
    for size in (1, 1 << 20, 1 << 31): quietly(lambda: fcntl.fcntl(fd, 1031, size))
    quietly(lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | 0o40000 | 0o20000))
for _ in range(3000): quietly(lambda: os.write(1, b'x'))""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="alarms between calls",
        tries="a timer whose handler raises in the worker's own loop, while it waits for the next call",
        code="""
def ring(*_): raise KeyboardInterrupt('ring')
signal.signal(signal.SIGALRM, ring); signal.signal(signal.SIGPROF, ring)
signal.setitimer(signal.ITIMER_PROF, 0.05, 0.001); signal.setitimer(signal.ITIMER_REAL, 0.05, 0.001)""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="traces the worker",
        tries="sys.settrace, setprofile and an audit hook that raise in the worker's loop and rewrite what it says",
        code="""
import sys
def hook(*_): raise SystemExit('traced')
def trace(frame, *_):
    frame.f_locals.update(value='FORGED', ok=True, claim={'ok': True}); return trace
f = sys._getframe()
while f: f.f_trace = trace; f = f.f_back
sys.settrace(trace); sys.setprofile(hook); threading.settrace(trace); sys.addaudithook(hook)""",
        statuses=ANY,
        wall_s=1.5,
        alone=True,
        dangerous=True,
        after="not_forged",
    ),
    Attack(
        name="the collector's view",
        tries="find the worker, its channel and its frames through gc, and replace them",
        code="""
import gc
for o in gc.get_objects():
    name = type(o).__name__
    if name in ('_Resident', 'Worker', 'Frames'):
        for k in dir(o):
            if not k.startswith('__'): quietly(lambda: setattr(o, k, lambda *a, **k: {'ok': True, 'value': 'FORGED'}))
    if isinstance(o, socket.socket): quietly(lambda: o.sendall(b'\\0' * 64))""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="not_forged",
    ),
    Attack(
        name="an answer that is no text",
        tries="lone surrogates, NUL, direction marks and 10^6 combining characters as value, output and exception",
        code="""
odd = chr(0xD800) + chr(0) + chr(0x202E) + chr(0x1B) + '[2J' + 'e' + chr(0x301) * 100_000
print(repr(odd)[:200]); quietly(lambda: print(odd)); sys.stderr.write('x' + chr(0xDFFF) + chr(0))
class Odd(Exception):
    def __str__(self): return odd
T = Odd
try: raise Odd
except Odd as error: last = error
raise last""",
        statuses=(Status.ERROR,),
        after="ends_or_goes_on",
    ),
    Attack(
        name="a value that lies about itself",
        tries="results whose repr, class, hash and length raise, hang or grow without end",
        code="""
class Lie:
    __class__ = property(lambda self: 1 / 0)
    def __repr__(self): return Lie2()
    def __hash__(self): raise MemoryError
    def __getattribute__(self, name): raise SystemExit
class Lie2(str):
    def __len__(self): return 1 << 62
    def encode(self, *a): return b'x' * (1 << 40)
    def __str__(self): raise KeyboardInterrupt
Lie()""",
        statuses=ANY,
        after="ends_or_goes_on",
    ),
    Attack(
        name="a number without end",
        tries="an integer of a hundred million digits as the value, and one C call that makes it text",
        code="import sys\nquietly(lambda: sys.set_int_max_str_digits(0))\n7 ** 40_000_000",
        statuses=ANY,
        wall_s=2,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="nesting without end",
        tries="a list of a million lists in each other, and classes that derive from each other 100,000 times",
        code="x = []\nfor _ in range(1_000_000): x = [x]\nx",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="forks that fail",
        tries="fork in vain as fast as can be: what each try leaves in the kernel uses up the session's memory, and kills process 1",
        code="""
pids = sleepers(40)
until = time.monotonic() + 1.5
while time.monotonic() < until: quietly(os.fork) == 0 and os._exit(0)
end(pids)""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="many small and one large",
        tries="so many small processes that the kernel, out of memory, ends process 1 instead of one of them",
        code="""
for _ in range(14):
    if (quietly(os.fork) or 1) != 1: continue
    x = bytearray(14 << 20)
    for i in range(0, len(x), 4096): x[i] = 1
time.sleep(2)""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="forks while it is measured",
        tries="fork without end with large maps: whoever looks at its memory waits for the lock that a fork holds",
        code="""
import mmap
m = mmap.mmap(-1, 60 << 20)
for i in range(0, len(m), 4096): m[i] = 1
while True: quietly(os.fork)""",
        statuses=_WALL,
        wall_s=1.5,
        alone=True,
        dangerous=True,
        after="in_time",
    ),
    Attack(
        name="dies slowly",
        tries="a large address space in many processes that all have to be taken down at the end of the time",
        code="""
import mmap
for _ in range(12):
    if quietly(os.fork) == 0: break
maps = [mmap.mmap(-1, 1 << 20) for _ in range(1500)]
for m in maps: m[0] = 1
while True: pass""",
        statuses=_WALL,
        wall_s=2,
        alone=True,
        dangerous=True,
        after="in_time",
    ),
    Attack(
        name="threads that come and go",
        tries="thousands of threads that end at once, and a main thread that ends before the others",
        code="""
until = time.monotonic() + 1
while time.monotonic() < until: quietly(lambda: threading.Thread(target=int).start())
threading.Thread(target=time.sleep, args=(3,)).start()
libc.syscall(60 if X86 else 93, 0)""",
        statuses=ANY,
        wall_s=1.5,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="removed but open",
        tries="files that are removed while they are open: no folder shows them, the disk has them",
        code="""
held, size = [], 0
for n in range(40):
    f = quietly(lambda: open(f'gone{n}', 'wb'))
    if f is None: break
    quietly(lambda: os.unlink(f'gone{n}'))
    try: f.write(bytes(2 << 20)); f.flush(); size += 2
    except OSError: break
    held.append(f); time.sleep(0.02)
print(size)
if size > 3 * T['limits']['disk_mb']: print('REACHED', size, 'MB')""",
        statuses=ANY,
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="holes and promises",
        tries="a sparse terabyte, fallocate, copy_file_range and mapped writes beyond the disk's limit",
        code="""
import mmap
f = open('sparse', 'w+b')
quietly(lambda: os.truncate('sparse', 1 << 40)); quietly(lambda: os.posix_fallocate(f.fileno(), 0, 200 << 20))
quietly(lambda: os.truncate('sparse', T['limits']['disk_mb'] << 20))
if os.stat('sparse').st_blocks * 512 > T['limits']['disk_mb'] << 21: print('REACHED', os.stat('sparse').st_blocks)
names = []
for n in range(6):
    with open(f'map{n}', 'w+b') as g:
        quietly(lambda: os.truncate(g.fileno(), 8 << 20))
        m = quietly(lambda: mmap.mmap(g.fileno(), 8 << 20))
        if m:
            for i in range(0, len(m), 4096): m[i] = 1
print('REACHED: 48 MB in mapped files')""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="hard links",
        tries="3,000 names for one file where 512 are allowed",
        code="""
open('one', 'w').close()
n = 0
for n in range(3000):
    try: os.link('one', f'l{n}')
    except OSError: break
print(n)
time.sleep(0.3)
if n > 2 * T['limits']['inodes']: print('REACHED', n, 'names')""",
        statuses=ANY,
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="attributes",
        tries="40 MB of extended attributes on files, which no size of a file shows",
        code="""
size = 0
for n in range(40):
    open(f'x{n}', 'w').close()
    for k in range(20):
        try: os.setxattr(f'x{n}', f'user.a{k}', bytes(60_000)); size += 60_000
        except OSError: break
print(size)
if size > 40 << 20: print('REACHED', size)""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
    ),
    Attack(
        name="names that do not exist",
        tries="look for a hundred thousand files that are not there: the kernel remembers that, in whose memory?",
        code="""
until = time.monotonic() + 2
n = 0
while time.monotonic() < until: n += 1; os.path.exists(f'/tmp/{n}' + 'x' * 200)""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="ends_or_goes_on",
        limits=replace(BOUNDS, memory_mb=64),
    ),
    Attack(
        name="watches the system's files",
        tries="inotify on folders that all sessions and the host share: who opens what, and when",
        code="""
fd = quietly(lambda: call(294 if X86 else 26, 0o4000))
if fd:
    for path in ('/usr/bin', '/usr/lib', '/lib', '/lib/x86_64-linux-gnu', '/usr/lib/python3.11', '/etc'):
        attempt(f'watch {path}', lambda: call(254 if X86 else 27, fd, path.encode(), 0x21))""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="huge pages",
        tries="memory of the machine's reserve of huge pages, which no session's limit counts",
        code="""
libc.mmap.restype = ctypes.c_void_p
p = libc.mmap(None, ctypes.c_size_t(4 << 20), 3, 0x40022, -1, 0)
if p not in (None, ctypes.c_void_p(-1).value): print('REACHED', hex(p))
attempt('memfd', lambda: call('memfd_create', b'x', 4))""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="poisoned pages",
        tries="tell the kernel that memory is broken, merge it with that of others, and ask where it lies",
        code="""
import mmap
m = mmap.mmap(-1, 4096); m[0] = 1
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
for what, advice in (('poison', 100), ('offline', 101)):
    if libc.madvise(ctypes.c_void_p(address), 4096, advice) == 0: print('REACHED', what)
data = quietly(lambda: open('/proc/self/pagemap', 'rb').read(1 << 16)) or b''
if any(int.from_bytes(data[i : i + 8], 'little') & ((1 << 55) - 1) for i in range(0, len(data), 8)): print('REACHED frames of memory')
for name in ('/proc/kpagecount', '/proc/kallsyms', '/sys/kernel/notes', '/proc/iomem', '/proc/timer_list', '/proc/sched_debug'):
    text = quietly(lambda: open(name, 'rb').read(400)) or b''
    if name == '/proc/kpagecount' and text: print('REACHED', name)
    if name == '/proc/kallsyms' and text and not text.startswith(b'0' * 16): print('REACHED', name)""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="a program as itself",
        tries="replace the worker by another program (execve) that keeps its channel and goes on speaking",
        code="""
import json, struct
text = json.dumps({'hello': True}).encode() ; ready = json.dumps({'ready': True}).encode()
for fd in range(0, 16): quietly(lambda: os.set_inheritable(fd, True))
code = f"import os,time\\nfor fd in range(3, 16):\\n  try: os.write(fd, {struct.pack('!II', len(text), 0) + text + struct.pack('!II', len(ready), 0) + ready!r})\\n  except OSError: pass\\ntime.sleep(60)"
python = next(p for p in (sys.executable, '/usr/bin/python3', '/usr/local/bin/python3', os.path.realpath(sys.executable)) if os.path.exists(p))
os.execv(python, [python, '-I', '-S', '-c', code])""",
        statuses=ANY,
        wall_s=2,
        alone=True,
        dangerous=True,
        after="not_forged",
    ),
    Attack(
        name="ends while it is forked",
        tries="close, replace and tie together descriptors and modules that a fork of the session needs",
        code="""
import sys
for name in list(sys.modules):
    if name.partition('.')[0] in ('socket', 'json', 'struct', 'random', 'os'): sys.modules[name] = None
os.getcwd = os.fork = os.open = lambda *a: 1 / 0""",
        statuses=ANY,
        alone=True,
        dangerous=True,
        after="forks_or_refuses",
    ),
)
