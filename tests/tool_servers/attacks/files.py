# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks on files of the host: reading, writing, and what the server itself opens for `get` and `put`."""

from tests.tool_servers.attacks.record import ANY, Attack
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS"]

OK = Status.OK
ATTACKS = (
    Attack(
        name="canary files",
        tries="read secrets in the home, the temporary folder and the repository, directly and through /proc",
        code="""
for path in T['canaries']:
    for prefix in ('', '/proc/self/root', '/proc/1/root', f"/proc/{T['server']}/root", f"/proc/{os.getppid()}/root", '/work/../..',
                   '/proc/self/cwd/../../..', '/old', '/mnt', '/host'):
        data = quietly(lambda: open(prefix + path, 'rb').read(4096))
        if data: print(path, data)
for up in range(1, 12): print(quietly(lambda: os.listdir('../' * up + 'root')))""",
        statuses=(OK,),
    ),
    Attack(
        name="every byte that can be read",
        tries="read environment, arguments and memory maps of every process, logs, mounts, sockets",
        code="""
import glob
paths = glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/task/*/environ')
paths += glob.glob('/proc/[0-9]*/maps') + ['/proc/self/mountinfo', '/proc/cmdline', '/proc/config.gz', '/dev/kmsg', '/proc/kcore']
paths += glob.glob('/var/log/*') + glob.glob('/run/*') + glob.glob('/etc/*') + glob.glob('/tmp/*') + glob.glob('/var/tmp/*')
print(os.environ, sys.argv, sys.orig_argv)
for path in paths:
    data = quietly(lambda: os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 20000))
    if data and T['hint'].encode() in data: print(path, data)
    elif data: print(path, len(data))""",
        statuses=(OK,),
        wall_s=5,
    ),
    Attack(
        name="memory left behind",
        tries="search its own memory for secrets of the server it was forked from",
        code="""
hint, hits, spans = T['hint'].encode(), [], []
del T['hint']
try:
    for line in open('/proc/self/maps'):
        a, b = (int(x, 16) for x in line.split()[0].split('-'))
        if b - a < 1 << 28: spans.append((a, b))
except OSError:  # no /proc: a write to a pipe tells which pages are there, without a fault
    for o in (object(), {}, 'x' * 600, bytearray(9000), os, ctypes.create_string_buffer(1 << 20), sys._getframe()):
        at = id(o) & ~0xFFFF; spans.append((at - (16 << 20), at + (16 << 20)))
r, w = os.pipe(); os.set_blocking(w, False)
until = time.monotonic() + 4
for a, b in spans:
    tail = b''
    for page in range(a, b, 65536):
        if time.monotonic() > until: break
        n = libc.write(w, ctypes.c_void_p(page), 65536)
        if n <= 0: tail = b''; continue
        data = os.read(r, n); at = (tail + data).find(hint)
        if at >= 0 and len(hits) < 500: hits.append((tail + data)[at:at + 60])
        tail = data[-60:]
print(hits)""",
        statuses=(OK, Status.ERROR),
        wall_s=6,
    ),
    Attack(
        name="/etc/shadow",
        tries="read password hashes and keys",
        code="""
for path in ('/etc/shadow', '/etc/gshadow', '/etc/sudoers', '/root/.ssh/id_rsa', '/etc/ssh/ssh_host_rsa_key', '/root/.bash_history'):
    attempt(path, lambda: len(open(path, 'rb').read()))""",
        statuses=(OK,),
    ),
    Attack(
        name="devices",
        tries="open disks, memory and consoles of the machine, or make the device files itself",
        code="""
import glob, stat
for path in glob.glob('/dev/[svn][dv]*') + ['/dev/mem', '/dev/kmem', '/dev/port', '/dev/kvm', '/dev/fuse', '/dev/net/tun', '/dev/vsock',
             '/dev/vhost-net', '/dev/loop-control', '/dev/console', '/dev/tty0', '/dev/kmsg', '/dev/cpu/0/msr']:
    attempt(path, lambda: os.open(path, os.O_RDONLY | os.O_NONBLOCK))
for major, minor in ((254, 0), (8, 0), (1, 1), (10, 229)):
    for kind in (stat.S_IFBLK, stat.S_IFCHR):
        attempt(f'mknod {major} {minor}', lambda: os.mknod('node', kind | 0o666, os.makedev(major, minor)))
    quietly(lambda: os.unlink('node'))""",
        statuses=(OK,),
    ),
    Attack(
        name="writes outside",
        tries="make a file in every folder of the host that anybody may write to",
        code="""
own = ('/work', '/tmp', '/dev/shm', '/session', os.getcwd())
for folder in T['folders']:
    path = f"{folder}/{T['marker']}"
    quietly(lambda: open(path, 'w').write('x'))
for root, folders, names in os.walk('/'):
    if root.startswith(own) or root.startswith(('/proc', '/sys')): folders.clear(); continue
    if root.count('/') > 4: folders.clear()
    if root != '/' or True:
        path = os.path.join(root, T['marker'])
        if quietly(lambda: open(path, 'w').write('x')): print('wrote', path)""",
        statuses=(OK,),
        wall_s=6,
        dangerous=True,
    ),
    Attack(
        name="system files",
        tries="change what the next session runs: the interpreter, libraries, ld.so.preload, /etc/passwd",
        code="""
import glob
targets = [sys.executable, os.__file__, ctypes.__file__, '/etc/passwd', '/etc/hosts', '/etc/ld.so.preload', '/etc/ld.so.cache', '/bin/sh']
targets += glob.glob('/lib/x86_64-linux-gnu/libc.so*') + [p for p in sys.path if os.path.isdir(p)]
for path in targets:
    if os.path.isdir(path): attempt(path, lambda: open(path + '/sitecustomize.py', 'w'))
    else: attempt(path, lambda: os.open(path, os.O_WRONLY | (0 if os.path.exists(path) else os.O_CREAT)))
    attempt('chmod ' + path, lambda: os.chmod(path, 0o777))""",
        statuses=(OK,),
        dangerous=True,
    ),
    Attack(
        name="kernel's settings",
        tries="write core_pattern, sysrq, cgroup files, oom_score of others, hotplug",
        code="""
for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/kernel/modprobe', '/sys/kernel/uevent_helper',
             '/proc/sys/vm/overcommit_memory', f"/proc/{T['server']}/oom_score_adj", '/proc/1/oom_score_adj',
             '/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/release_agent',
             '/sys/fs/cgroup/memory/release_agent', '/proc/self/oom_score_adj' if 0 else '/proc/sys/kernel/hostname'):
    attempt(path, lambda: os.open(path, os.O_WRONLY))
for root, folders, names in os.walk('/sys/fs/cgroup'):
    for name in ('cgroup.procs', 'memory.limit_in_bytes', 'pids.max', 'memory.max', 'tasks'):
        if name in names: attempt(root + name, lambda: os.open(f'{root}/{name}', os.O_WRONLY))""",
        statuses=(OK,),
    ),
    Attack(
        name="get: links",
        tries="symbolic and hard links to secrets, fetched by the server",
        code="""
for i, path in enumerate(T['canaries']):
    quietly(lambda: os.symlink(path, f'link{i}')); quietly(lambda: os.link(path, f'hard{i}'))
    quietly(lambda: os.symlink(os.path.dirname(path), f'dir{i}'))
os.symlink('/', 'root'); os.symlink('/proc/self/environ', 'environ'); os.symlink('/etc/shadow', 'shadow'); os.symlink('loop', 'loop')
os.symlink('../' * 20, 'up')""",
        statuses=(OK,),
        alone=True,
        after="get_links",
        dangerous=True,
    ),
    Attack(
        name="get: no files",
        tries="a FIFO, a socket, a folder, a device, a sparse terabyte, a file that grows, odd names",
        code="""
os.mkfifo('fifo'); os.mkdir('folder')
quietly(lambda: socket.socket(socket.AF_UNIX).bind('socket'))
f = open('sparse', 'wb'); quietly(lambda: f.truncate(1 << 40)); quietly(lambda: f.truncate(15 << 20))
os.symlink('/dev/zero', 'zero'); os.symlink('/dev/stdin', 'stdin')
open('a' * 255, 'w').write('x'); open('new\\nline', 'w').write('x'); open(b'\\xff\\xfe', 'w').write('x')
open('locked', 'w').write('x'); os.chmod('locked', 0)""",
        statuses=(OK,),
        alone=True,
        after="get_odd",
        dangerous=True,
    ),
    Attack(
        name="put: through links",
        tries="links where the server writes: to host files, to folders of the host, to FIFOs and devices",
        code="""
for i, folder in enumerate(T['folders']):
    quietly(lambda: os.symlink(f"{folder}/{T['marker']}", f'link{i}')); quietly(lambda: os.symlink(folder, f'dir{i}'))
os.mkfifo('fifo'); os.mkdir('folder'); os.symlink('/', 'root')""",
        statuses=(OK,),
        alone=True,
        after="put_links",
        dangerous=True,
    ),
    Attack(
        name="get and put: races",
        tries="a child that swaps folders and links to the host's folders while the server reads and writes",
        code="""
secret = T['canaries'][0]
if os.fork() == 0:
    os.makedirs('a', exist_ok=True); open('a/' + os.path.basename(secret), 'w').write('own')
    open('f', 'w').write('own')
    until = time.monotonic() + 3
    while time.monotonic() < until:
        quietly(lambda: os.rename('a', 'b')); quietly(lambda: os.symlink(os.path.dirname(secret), 'a'))
        quietly(lambda: os.unlink('a')); quietly(lambda: os.rename('b', 'a'))
        quietly(lambda: os.unlink('f')); quietly(lambda: os.symlink(secret, 'f')); quietly(lambda: os.unlink('f'))
        quietly(lambda: open('f', 'w').close())
    os._exit(0)
print(1)""",
        statuses=(OK,),
        alone=True,
        after="races",
        dangerous=True,
    ),
    Attack(
        name="bad paths of the caller",
        tries="`..`, absolute paths, NUL and empty names for get and put",
        code="print(1)",
        statuses=(OK,),
        after="bad_paths",
        dangerous=True,
    ),
    Attack(
        name="work folder taken away",
        tries="remove, rename and replace the work folder and forbid everything in it, then get and put",
        code="""
import shutil
here = os.getcwd()
quietly(lambda: os.chmod(here, 0)); quietly(lambda: os.rename(here, here + '2')); quietly(lambda: shutil.rmtree(here))
quietly(lambda: os.symlink('/', here)); quietly(lambda: os.chdir('/'))""",
        statuses=ANY,
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
)
