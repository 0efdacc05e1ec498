# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks on the kernel's doors, by raw system calls. Where a call would harm the machine, arguments are such that it cannot."""

from tests.tool_servers.attacks.record import ANY, Attack

__all__ = ["ATTACKS"]

_CALLS = {
    "io_uring": ("a ring of its own", "attempt('io_uring_setup', lambda: call('io_uring_setup', 8, bytes(120)))"),
    "linux aio": (
        "the old asynchronous I/O",
        "attempt('io_setup', lambda: call('io_setup', 8, ctypes.byref(ctypes.c_ulong())))",
    ),
    "userfaultfd": (
        "page faults of the kernel in its hands",
        "attempt('userfaultfd', lambda: call('userfaultfd', 0)); attempt('user mode', lambda: call('userfaultfd', 1))",
    ),
    "keys": (
        "the kernel's key rings",
        """
attempt('keyctl', lambda: call('keyctl', 0, -3, 1))
attempt('add_key', lambda: call('add_key', b'user', b'x', b'y', 1, -3))
attempt('request_key', lambda: call('request_key', b'user', b'x', None, -3))""",
    ),
    "bpf": (
        "programs and maps in the kernel",
        """
attempt('bpf map', lambda: call('bpf', 0, (ctypes.c_uint * 32)(2, 4, 4, 1), 72))
attempt('bpf program', lambda: call('bpf', 5, (ctypes.c_uint * 32)(1, 1), 72))""",
    ),
    "perf": (
        "performance counters",
        "attempt('perf', lambda: call('perf_event_open', (ctypes.c_uint * 32)(1, 120), 0, -1, -1, 0))",
    ),
    "namespaces by unshare": (
        "new namespaces of every kind, in which it would have all rights",
        """
for name, flag in (('user', 0x10000000), ('mount', 0x20000), ('net', 0x40000000), ('pid', 0x20000000), ('uts', 0x4000000),
                   ('ipc', 0x8000000), ('cgroup', 0x2000000), ('time', 0x80), ('user+net', 0x50000000)):
    def f():
        call('unshare', flag)
    if child(f) == 0: print('REACHED unshare', name)""",
    ),
    "namespaces by clone": (
        "the same by clone and clone3",
        """
def clone(flags):
    pid = call('clone', flags | 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0); return pid
for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
    attempt(f'clone {flag:x}', lambda: clone(flag))
def clone3(flags):
    pid = call('clone3', (ctypes.c_ulong * 11)(flags, 0, 0, 0, 17), 88)
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0); return pid
for flag in (0x10000000, 0x20000, 0x50000000): attempt(f'clone3 {flag:x}', lambda: clone3(flag))""",
    ),
    "namespaces by setns": (
        "enter the namespaces of others",
        """
import glob
for path in glob.glob('/proc/[0-9]*/ns/*') + [f"/proc/{T['server']}/ns/mnt", '/proc/1/ns/mnt']:
    fd = quietly(lambda: os.open(path, os.O_RDONLY))
    if fd is not None:
        mine = quietly(lambda: os.readlink('/proc/self/ns/' + path.split('/')[-1])) == quietly(lambda: os.readlink(path))
        if not mine: attempt('setns ' + path, lambda: call('setns', fd, 0))
        elif child(lambda: call('setns', fd, 0)) == 0: print('own', path)
        os.close(fd)
for pid in range(1, 40):
    fd = quietly(lambda: call('pidfd_open', pid, 0))
    if fd is not None:
        for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
            if child(lambda: call('setns', fd, flag)) == 0: print('REACHED setns by pidfd', pid, hex(flag))
        os.close(fd)""",
    ),
    "mounts": (
        "mount, unmount and the new mount calls",
        """
os.makedirs('m', exist_ok=True)
attempt('tmpfs', lambda: call('mount', b'x', b'm', b'tmpfs', 0, None)); attempt('proc', lambda: call('mount', b'x', b'm', b'proc', 0, None))
attempt('bind', lambda: call('mount', b'/', b'm', None, 4096, None)); attempt('cgroup', lambda: call('mount', b'x', b'm', b'cgroup2', 0, None))
attempt('remount', lambda: call('mount', b'x', b'/', None, 32, None)); attempt('umount', lambda: call('umount2', b'/tmp', 2))
attempt('pivot_root', lambda: call('pivot_root', b'.', b'm')); attempt('fsopen', lambda: call('fsopen', b'tmpfs', 0))
attempt('open_tree', lambda: call('open_tree', -100, b'/', 1)); attempt('mount_setattr', lambda: call('mount_setattr', -100, b'/', 0, bytes(32), 32))""",
    ),
    "chroot": (
        "chroot, and out of it by an open folder",
        """
os.makedirs('jail', exist_ok=True); root = os.open('.', os.O_RDONLY)
def out():
    call('chroot', b'jail'); os.fchdir(root)
    for _ in range(40): os.chdir('..')
    call('chroot', b'.')
if child(out) == 0: print('REACHED chroot')""",
    ),
    "files by handle": (
        "open files by their handles, past every mount (the Shocker attack)",
        """
class H(ctypes.Structure): _fields_ = [('n', ctypes.c_uint), ('type', ctypes.c_int), ('b', ctypes.c_ubyte * 128)]
h, m = H(128), ctypes.c_int()
attempt('name_to_handle_at', lambda: call('name_to_handle_at', -100, b'/', ctypes.byref(h), ctypes.byref(m), 0))
h = H(8, 1); h.b[0] = 2
attempt('open_by_handle_at', lambda: call('open_by_handle_at', os.open('/', os.O_RDONLY), ctypes.byref(h), 0))""",
    ),
    "modules and kexec": (
        "load code into the kernel, start another one",
        """
for name, *a in (('init_module', bytes(8), 8, b''), ('finit_module', -1, b'', 0), ('delete_module', b'no-such-module', 0), ('kexec_load', 0, 0, None, 1 << 40)):
    try: call(name, *a); print('REACHED', name)
    except OSError as e:
        if e.errno not in (1, 38): print('REACHED', name, e)""",
    ),
    "reboot, swap, accounting": (
        "power, swap, accounting, the kernel's log, quotas",
        """
for name, *a in (('reboot', 1, 2, 3), ('swapon', b'/no', 0), ('acct', b'/no/such'), ('quotactl', 0x800002, b'/dev/vda', 0, None), ('vhangup',)):
    if name == 'vhangup' and os.getuid() == 0 and T['plain']: continue
    try: call(name, *a); print('REACHED', name)
    except OSError as e:
        if e.errno not in (1, 38, 13): print('REACHED', name, e)
attempt('syslog', lambda: call('syslog', 3, ctypes.create_string_buffer(100), 100))""",
    ),
    "clocks": (
        "set the machine's clocks (to the time it is)",
        """
now = (ctypes.c_long * 2)(int(time.time()), int(time.time() % 1 * 1e6))
attempt('settimeofday', lambda: call('settimeofday', now, None)); attempt('clock_settime', lambda: time.clock_settime(0, time.time()))
attempt('adjtimex', lambda: call('adjtimex', (ctypes.c_long * 40)(0x4000)))""",
    ),
    "names": (
        "change the machine's host and domain name (to what it is)",
        """
name = socket.gethostname().encode()
attempt('sethostname', lambda: call('sethostname', name, len(name))); attempt('setdomainname', lambda: call('setdomainname', b'(none)', 6))""",
    ),
    "personality": (
        "another personality: no randomised addresses, readable is executable",
        """
for p in (0x0040000, 0x0400000, 8): attempt(f'personality {p:x}', lambda: call('personality', p))
quietly(lambda: call('personality', 0))""",
    ),
    "memfd and execve": (
        "run a program from memory, that no file system holds",
        """
fd = attempt('memfd_create', lambda: call('memfd_create', b'x', 0))
if fd is not None:
    os.write(fd, b'#!/bin/sh\\necho REACHED a program from memory\\n')
    child(lambda: os.execve(f'/proc/self/fd/{fd}', ['x'], {}))
attempt('memfd_secret', lambda: call('memfd_secret', 0))""",
    ),
    "ports": (
        "the machine's I/O ports",
        "attempt('iopl', lambda: call('iopl', 3)); attempt('ioperm', lambda: call('ioperm', 0x80, 1, 1))",
    ),
    "local descriptor table": (
        "segments of its own",
        "attempt('modify_ldt', lambda: call('modify_ldt', 1, (ctypes.c_uint * 4)(0, 0, 0xFFFFF, 0x51), 16))",
    ),
    "fanotify": (
        "watch all files of the machine",
        "attempt('fanotify', lambda: call('fanotify_init', 0, 0)); attempt('unprivileged', lambda: call('fanotify_init', 0x200, 0))",
    ),
    "page moves": (
        "vmsplice, move_pages, process_madvise, kcmp",
        """
attempt('move_pages', lambda: call('move_pages', 0, 0, None, None, None, 0)); attempt('kcmp', lambda: call('kcmp', os.getpid(), os.getpid(), 0, 0, 0))
r, w = os.pipe(); b = ctypes.create_string_buffer(10); iov = (ctypes.c_ulong * 2)(ctypes.addressof(b), 10)
attempt('vmsplice', lambda: call('vmsplice', w, iov, 1, 0))""",
    ),
    "rights": (
        "become root, get capabilities back, drop no_new_privs",
        """
for name, f in (('setuid', lambda: os.setuid(0)), ('setgid', lambda: os.setgid(0)), ('setresuid', lambda: os.setresuid(0, 0, 0)),
                ('setgroups', lambda: os.setgroups([0])), ('seteuid', lambda: os.seteuid(0))):
    if child(f) == 0: print('REACHED', name)
for version in (0x20080522,):
    head, caps = (ctypes.c_uint * 2)(version, 0), (ctypes.c_uint * 6)(*[0xFFFFFFFF, 0xFFFFFFFF, 0] * 2)
    if child(lambda: call('capset', head, caps)) == 0: print('REACHED capset')
for cap in range(41):
    if child(lambda: libc.prctl(47, 2, cap, 0, 0) and 1 / 0) == 0: print('REACHED ambient', cap)
if libc.prctl(39, 0, 0, 0, 0) != 1: print('REACHED no_new_privs is not set')
text = quietly(lambda: open('/proc/self/status').read()) or ''
for line in text.splitlines():
    if line.startswith(('CapEff', 'CapPrm', 'CapBnd', 'CapInh', 'CapAmb')) and int(line.split()[1], 16): print('REACHED', line)
    if line.startswith('Seccomp:') and line.split()[1] != '2': print('REACHED no filter', line)""",
    ),
    "setuid programs": (
        "run programs that make their caller root",
        """
import glob
found = [p for d in ('/bin', '/usr/bin', '/usr/sbin', '/usr/lib/openssh', '/usr/lib/dbus-1.0') for p in glob.glob(d + '/*')
         if (quietly(lambda: os.stat(p).st_mode) or 0) & 0o4000]
print(found)
for command in (['su', '-c', 'id'], ['mount', '-t', 'tmpfs', 'x', '/tmp'], ['unshare', '-r', 'id', '-u'], ['sudo', '-n', 'id'], ['bwrap', '--dev-bind', '/', '/', 'id'],
                ['newgrp', 'root']):
    done = quietly(lambda: subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=2))
    if done and done.returncode == 0 and not T['plain']: print('REACHED', command, done.stdout)
open('s', 'wb').write(open('/bin/true', 'rb').read()) if os.path.exists('/bin/true') else None
if os.path.exists('s'):
    quietly(lambda: os.chmod('s', 0o4755)); quietly(lambda: os.chown('s', 0, 0))
    if (m := os.stat('s')).st_uid == 0 and m.st_mode & 0o4000: print('REACHED a setuid file of root')
    os.unlink('s')""",
    ),
    "loader tricks": (
        "LD_PRELOAD and LD_AUDIT into programs, the loader as a program",
        """
import glob
env = {'LD_PRELOAD': './evil.so', 'LD_AUDIT': './evil.so', 'LD_LIBRARY_PATH': '.', 'GCONV_PATH': '.', 'PYTHONPATH': '.'}
for loader in glob.glob('/lib64/ld-linux*') + glob.glob('/lib/ld-linux*'):
    done = quietly(lambda: subprocess.run([loader, sys.executable, '-I', '-S', '-c',
        'import os, ctypes; print(os.getuid(), ctypes.CDLL(None).prctl(39,0,0,0,0), open("/proc/self/status").read().count("Seccomp:\\t2"))'],
        capture_output=True, env=env, timeout=3))
    if done and done.returncode == 0 and (done.stdout.split()[:1] == [b'0'] or done.stdout.split()[1:] != [b'1', b'1']): print('REACHED', done.stdout)""",
    ),
    "raises its priority": (
        "nice -20, real-time scheduling, deadlines, I/O priority",
        """
attempt('nice', lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
for policy in (os.SCHED_FIFO, os.SCHED_RR): attempt(f'scheduler {policy}', lambda: os.sched_setscheduler(0, policy, os.sched_param(1)))
attempt('I/O', lambda: call(251 if X86 else 30, 1, 0, 1 << 13))""",
    ),
    "the machine's disks": (
        "have all that the machine holds written to its disks, and what it has cached of files that all read forgotten",
        """
library = next(line.split()[-1] for line in open('/proc/self/maps') if 'libc.so' in line) if os.path.exists('/proc/self/maps') else os.__file__
fd = os.open(library, os.O_RDONLY)
attempt('sync', lambda: call('sync')); attempt('syncfs', lambda: call('syncfs', fd))
attempt('forget', lambda: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)); os.close(fd)""",
    ),
    "locked memory": (
        "lock memory that cannot be swapped",
        "import mmap\nm = mmap.mmap(-1, 32 << 20)\nattempt('mlockall', lambda: libc.mlockall(3) and 1 / 0)\nattempt('mlock', lambda: libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(m))), 32 << 20) and 1 / 0)",
    ),
    "terminal injection": (
        "push keys into a terminal (TIOCSTI, TIOCLINUX), take a controlling one",
        """
import fcntl
for fd in range(64):
    for request in (0x5412, 0x541C, 0x540E):
        try: fcntl.ioctl(fd, request, b'x'); print('REACHED', fd, hex(request))
        except OSError: pass
pair = quietly(os.openpty)
if pair:
    if child(lambda: (os.setsid(), fcntl.ioctl(pair[1], 0x540E, 0), fcntl.ioctl(pair[1], 0x5412, b'x'))) == 0: print('REACHED a terminal of its own')""",
    ),
}

_HARMFUL = ("clocks", "names", "mounts", "setuid programs")
"""What a process with rights over the machine would really do to it."""
_32_BIT = """
import mmap
code = bytes.fromhex('53 57 56 89f8 89f3 89d1 31d2 cd80 5e 5f 5b c3'.replace(' ', ''))
m = mmap.mmap(-1, 4096, prot=7); m.write(code)
f = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
"""
ATTACKS = (
    *(
        Attack(name=name, tries=tries, code=code, kernel=True, wall_s=6, dangerous=name in _HARMFUL)
        for name, (tries, code) in _CALLS.items()
    ),
    Attack(
        name="32-bit calls",
        tries="the 32-bit call table by int 0x80, from memory made executable: unshare(CLONE_NEWUSER)",
        code=f"{_32_BIT}\nif X86:\n    r = f(310, 0x10000000, 0)\n    print('REACHED' if r == 0 else 'refused', 'int 0x80', r)\n    r = f(20, 0, 0)\n    print('REACHED' if r > 0 else 'refused', 'int 0x80 getpid', r)",
        statuses=ANY,
        alone=True,
        kernel=True,
    ),
    Attack(
        name="x32 calls",
        tries="the x32 call table: unshare with another number",
        code="if X86: attempt('x32 unshare', lambda: call(0x40000000 | 272, 0x10000000)); attempt('x32 getpid', lambda: call(0x40000000 | 39))",
        statuses=ANY,
        alone=True,
        kernel=True,
    ),
    Attack(
        name="unknown calls",
        tries="calls newer than the filter, and numbers outside every table",
        code="""
for number in (463, 464, 465, 466, 467, 468, 469, 470, 500, 1000, 2**31 - 1, -1, 2**32 + 272):
    attempt(f'call {number}', lambda: call(number, 0x10000000, 0, 0, 0, 0))""",
        statuses=ANY,
        alone=True,
        kernel=True,
    ),
    Attack(
        name="core dumps",
        tries="crash with an unlimited core, to leave a file on the host or feed its core_pattern",
        code="""
import resource
quietly(lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)); libc.prctl(4, 1, 0, 0, 0)
status = child(os.abort)
if os.WCOREDUMP(status): print('REACHED a core was dumped')
import glob
if glob.glob('core*'): print('REACHED', glob.glob('core*'))
for f in glob.glob('core*'): os.unlink(f)""",
        kernel=True,
    ),
)
