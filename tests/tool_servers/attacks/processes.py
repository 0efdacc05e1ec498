# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks on other processes: the server, its supervisor, and two victims that the judge started and watches."""

from tests.tool_servers.attacks.record import Attack
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS"]

OK, DIED = Status.OK, Status.DIED
ATTACKS = (
    Attack(
        name="signals",
        tries="kill, stop and signal the server and two victims, by every call there is",
        code="""
for pid in (T['server'], *T['victims']):
    if pid == T['server'] and T['plain']: continue
    for n in (signal.SIGUSR1, signal.SIGSTOP, signal.SIGKILL):
        attempt(f'kill {pid} {n}', lambda: os.kill(pid, n)); attempt(f'group {pid} {n}', lambda: os.killpg(pid, n))
    fd = quietly(lambda: call('pidfd_open', pid, 0))  # to name a process is no crime yet
    if fd is not None: attempt('pidfd signal', lambda: call('pidfd_send_signal', fd, 9, None, 0)); attempt('pidfd_getfd', lambda: call('pidfd_getfd', fd, 1, 0))""",
        statuses=(OK,),
    ),
    Attack(
        name="signals by descriptors",
        tries="F_SETOWN with SIGIO, timers and message queues aimed at the victims",
        code="""
import fcntl
r, w = socket.socketpair()
for pid in (*T['victims'],):
    for target in (pid, -pid):
        quietly(lambda: fcntl.fcntl(r, 10, signal.SIGKILL)); quietly(lambda: fcntl.fcntl(r, fcntl.F_SETOWN, target))
        quietly(lambda: fcntl.fcntl(r, fcntl.F_SETFL, fcntl.fcntl(r, fcntl.F_GETFL) | os.O_ASYNC)); quietly(lambda: w.send(b'x'))
time.sleep(0.1)""",
        statuses=(OK,),
    ),
    Attack(
        name="kill everything",
        tries="kill(-1, SIGKILL): all it may signal",
        code="""
seen = any(quietly(lambda pid=pid: os.kill(pid, 0) or 1) for pid in T['victims'])
if seen: print('REACHED a victim; kill(-1) is spared, for it would take the machine')
elif T['shared'] and os.getuid() == 0: print('REACHED root among the numbers of the host; kill(-1) is spared')
else: os.kill(-1, signal.SIGKILL)""",
        statuses=(OK, DIED, Status.ERROR),
        alone=True,
        dangerous=True,
        after="goes_on",
    ),
    Attack(
        name="kills its supervisor",
        tries="SIGKILL, SIGTERM, SIGINT, SIGSEGV, SIGHUP to its parent, to pid 1 and to every number below 300",
        code="""
quietly(lambda: [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)])
me = os.getpid()
for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGSEGV, signal.SIGQUIT, signal.SIGKILL):
    for pid in (1, *(range(1, 300) if not T['shared'] else ())):
        if pid != me: quietly(lambda: os.kill(pid, n))
time.sleep(0.2); print('still here')""",
        statuses=(OK, DIED),
        alone=True,
        dangerous=True,
        after="goes_on",
    ),
    Attack(
        name="ptrace",
        tries="attach to the server, the supervisor, pid 1, the victims; be traced by a child",
        code="""
for pid in {T['server'], os.getppid() or 1, 1, *T['victims']}:
    if T['plain'] and pid not in T['victims']: continue
    for request in (16, 0x4206): attempt(f'ptrace {pid}', lambda: call('ptrace', request, pid, 0, 0))
attempt('traceme', lambda: call('ptrace', 0, 0, 0, 0)) if not T['plain'] else None""",
        statuses=(OK,),
        kernel=False,
    ),
    Attack(
        name="memory of others",
        tries="read and write the memory of the server, the supervisor and the victims",
        code="""
b = ctypes.create_string_buffer(64); iov = (ctypes.c_ulong * 2)(ctypes.addressof(b), 64)
for pid in {T['server'], os.getppid() or 1, 1, *T['victims']}:
    far = (ctypes.c_ulong * 2)(T['address'], 64)
    for name in ('process_vm_readv', 'process_vm_writev'):
        if name.endswith('writev') and T['plain']: continue
        if pid in T['victims']: attempt(f'{name} {pid}', lambda: call(name, pid, iov, 1, far, 1, 0)) 
        else: quietly(lambda: call(name, pid, iov, 1, far, 1, 0)) and print('REACHED', name, pid)
    attempt(f'mem {pid}', lambda: os.open(f'/proc/{pid}/mem', os.O_RDWR)) if pid in T['victims'] or not T['plain'] else None""",
        statuses=(OK,),
    ),
    Attack(
        name="priorities of others",
        tries="renice, rebind and limit the server and the victims",
        code="""
import resource
for pid in (T['server'], *T['victims']):
    if T['plain'] and pid == T['server']: continue
    attempt(f'nice {pid}', lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)); attempt(f'affinity {pid}', lambda: os.sched_setaffinity(pid, {0}))
    attempt(f'prlimit {pid}', lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (32, 32)))
    attempt(f'scheduler {pid}', lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
if not T['plain']: quietly(lambda: os.setpriority(os.PRIO_USER, 0, 19))""",
        statuses=(OK,),
    ),
    Attack(
        name="foreign descriptors",
        tries="open descriptors, memory files and folders of the server through /proc/PID/fd and pidfd_getfd",
        code="""
for pid in {T['server'], os.getppid() or 1, 1, *T['victims']} - {os.getpid()}:
    names = quietly(lambda: os.listdir(f'/proc/{pid}/fd'))
    if names: print('REACHED the list of', pid, names)
    for n in range(20):
        attempt(f'fd {pid} {n}', lambda: os.open(f'/proc/{pid}/fd/{n}', os.O_RDONLY | os.O_NONBLOCK)) if pid in T['victims'] or not T['plain'] else None
    attempt(f'cwd {pid}', lambda: os.listdir(f'/proc/{pid}/cwd'))""",
        statuses=(OK,),
    ),
    Attack(
        name="daemon after the call",
        tries="a twice forked, own-session process that ignores every signal and outlives the session",
        code="""
if os.fork() == 0:
    os.setsid()
    for n in range(1, 65): quietly(lambda: signal.signal(n, signal.SIG_IGN))
    libc.prctl(1, 0, 0, 0, 0); libc.prctl(36, 1, 0, 0, 0)
    if os.fork(): os._exit(0)
    libc.prctl(1, 0, 0, 0, 0); os.closerange(0, 64); time.sleep(90); os._exit(0)
time.sleep(0.2); print('gone')""",
        statuses=(OK,),
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="daemon after the time-out",
        tries="the same, and then run out of time",
        code="""
for _ in range(3):
    if os.fork() == 0:
        os.setsid(); libc.prctl(1, 0, 0, 0, 0)
        if os.fork(): os._exit(0)
        libc.prctl(1, 0, 0, 0, 0); time.sleep(90); os._exit(0)
while True: pass""",
        statuses=(Status.TIMEOUT,),
        alone=True,
        wall_s=0.7,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="fork race at the end",
        tries="fork new sessions as fast as it can while it is being killed",
        code="""
libc.prctl(1, 0, 0, 0, 0)
while True:
    pid = quietly(os.fork)
    if pid == 0: quietly(os.setsid); libc.prctl(1, 0, 0, 0, 0)
    elif pid: os._exit(0)""",
        statuses=(Status.TIMEOUT, DIED, Status.MEMORY),
        alone=True,
        wall_s=0.7,
        dangerous=True,
    ),
    Attack(
        name="System V and POSIX objects",
        tries="shared memory, semaphores and message queues that outlive it",
        code="""
attempt('shmget', lambda: call('shmget', T['key'], 4096, 0o1666)); attempt('semget', lambda: call('semget', T['key'], 1, 0o1666))
attempt('msgget', lambda: call('msgget', T['key'], 0o1666))
rt = ctypes.CDLL('librt.so.1', use_errno=True) if not hasattr(libc, 'mq_open') else libc
q = rt.mq_open(('/' + T['marker']).encode(), 0o102, 0o666, None)
print('mq', q)""",
        statuses=(OK, Status.ERROR),
        kernel=True,
    ),
    Attack(
        name="becomes a subreaper and leader",
        tries="new session, process group, subreaper, and cleared parent-death signal, then die",
        code="os.setsid() if os.getpid() != os.getsid(0) else 0\nlibc.prctl(36, 1, 0, 0, 0); libc.prctl(1, 0, 0, 0, 0); sleepers(3); os._exit(3)",
        statuses=(DIED, Status.ERROR),
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
)
