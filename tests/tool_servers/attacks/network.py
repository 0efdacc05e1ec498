# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks on whoever listens: the listeners are real, opened by the judge, and count."""

from tests.tool_servers.attacks.record import Attack
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS"]

_OK = (Status.OK,)
ATTACKS = (
    Attack(
        name="TCP to the host",
        tries="connect to a listener on loopback, LAN and bridge addresses",
        code="""
for host in T['hosts']:
    s = quietly(lambda: socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET))
    if s: s.settimeout(0.5); attempt('tcp ' + host, lambda: s.connect((host, T['tcp']))); s.close()""",
        statuses=(Status.OK, Status.ERROR),
        wall_s=6,
    ),
    Attack(
        name="TCP, fast open and non-blocking",
        tries="the same without connect(): sendto with MSG_FASTOPEN, MPTCP, non-blocking",
        code="""
for host in T['hosts'][:2]:
    for proto in (0, 262):
        s = quietly(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto))
        if s is None: continue
        s.settimeout(0.5); attempt(f'fastopen {host} {proto}', lambda: s.sendto(b'x', 0x20000000, (host, T['tcp']))); s.close()
        s = quietly(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto)) or s
        quietly(lambda: s.setblocking(False)); quietly(lambda: s.connect_ex((host, T['tcp']))); time.sleep(0.1); s.close()""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="UDP to the host",
        tries="send datagrams to a listener on loopback, LAN and bridge addresses, broadcast and multicast",
        code="""
for host in (*T['hosts'], '255.255.255.255', '224.0.0.1'):
    s = quietly(lambda: socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM))
    if s is None: continue
    quietly(lambda: s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1))
    for _ in range(2): print(host, quietly(lambda: s.sendto(b'x', (host, T['udp']))))
time.sleep(0.1)""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="listening on the host",
        tries="open a port that others reach",
        code="""
s = quietly(lambda: socket.socket(socket.AF_INET))
if s is not None:
    quietly(lambda: s.bind(('0.0.0.0', T['free']))); quietly(lambda: s.listen()); kept_listener = s""",
        statuses=(Status.OK, Status.ERROR),
        after="no_listener",
    ),
    Attack(
        name="abstract unix socket",
        tries="connect and send to an abstract unix socket of the host",
        code="""
attempt('stream', lambda: socket.socket(socket.AF_UNIX).connect('\\0' + T['abstract']))
attempt('datagram', lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '\\0' + T['abstract'] + '-d'))
pair = quietly(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))  # needs no socket()
if pair: attempt('pair', lambda: pair[0].sendto(b'x', '\\0' + T['abstract'] + '-d')); attempt('reconnect', lambda: pair[0].connect('\\0' + T['abstract'] + '-d'))""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="unix socket in a folder",
        tries="connect to a unix socket in a folder that everybody may enter",
        code="""
for path in (T['socket'], '/proc/1/root' + T['socket'], f"/proc/{T['server']}/root" + T['socket']):
    attempt(path, lambda: socket.socket(socket.AF_UNIX).connect(path))""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="docker.sock and friends",
        tries="connect to the sockets of Docker, containerd, systemd and D-Bus",
        code="""
for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/podman/podman.sock',
             '/run/systemd/private', '/run/dbus/system_bus_socket', '/run/user/0/bus', '/tmp/.X11-unix/X0'):
    attempt(path, lambda: socket.socket(socket.AF_UNIX).connect(path))""",
        statuses=(Status.OK, Status.ERROR),
    ),
    Attack(
        name="vsock",
        tries="a socket to the hypervisor",
        code="""
for cid in (2, 1, 0):
    s = attempt('AF_VSOCK', lambda: socket.socket(40, socket.SOCK_STREAM))
    if s is None: break
    s.settimeout(0.3); attempt(f'cid {cid}', lambda: s.connect((cid, 1024)))""",
        statuses=_OK,
        kernel=True,
    ),
    Attack(
        name="netlink",
        tries="AF_NETLINK sockets of every protocol",
        code="for n in range(23): attempt(f'netlink {n}', lambda: socket.socket(16, socket.SOCK_RAW, n))",
        statuses=_OK,
        kernel=True,
    ),
    Attack(
        name="packets",
        tries="AF_PACKET and raw IP sockets",
        code="""
for kind in (1, 2, 3, 10): attempt(f'packet {kind}', lambda: socket.socket(17, kind, socket.htons(3)))
for family in (2, 10):
    for proto in (1, 6, 17, 58, 255): attempt(f'raw {family} {proto}', lambda: socket.socket(family, socket.SOCK_RAW, proto))""",
        statuses=_OK,
        kernel=True,
    ),
    Attack(
        name="kernel crypto",
        tries="AF_ALG sockets (CVE-2026-31431)",
        code="""
s = attempt('AF_ALG', lambda: socket.socket(38, 5))
if s: attempt('bind', lambda: s.bind(('hash', 'sha256')))""",
        statuses=_OK,
        kernel=True,
    ),
    Attack(
        name="every other socket family",
        tries="sockets and pairs of families that nobody needs: Bluetooth, CAN, RDS, TIPC, XDP, SMC, QIPCRTR, ...",
        code="""
for family in range(64):
    if family in (1, 2, 10, 16, 17, 38, 40): continue
    for kind in range(1, 7):
        s = quietly(lambda: socket.socket(family, kind, 0))
        if s: print('REACHED family', family, kind)
        if quietly(lambda: socket.socketpair(family, kind)): print('REACHED pair', family, kind)""",
        statuses=_OK,
        kernel=True,
    ),
)
