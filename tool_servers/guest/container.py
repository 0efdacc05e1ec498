"""`python3 -I -S container.py PLAN LEASE_S`: the first process of a container, between the engine's pipes and the guest.

    PLAN     a `Plan` as JSON; its zygote is started, and its one connection is what goes through standard input and output
    LEASE_S  seconds without a byte from the owner after which this process ends

Its end is the end of the container. It ends when standard input does, for then the owner is gone, closed us, or cannot reach us;
when its lease is over, in case the engine never learns that the owner is gone; and when the session ends. It looks at no byte.
"""

import os
import select
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import NoReturn

_CHUNK = 1 << 18
_WAITING_S = 3600.0
"""The lease of a container that stands ready and has no session yet."""
_IN, _OUT = 0, 1


def main(plan: str, lease_s: float) -> NoReturn:
    """Never returns."""
    try:
        link = _session(plan)
        threading.Thread(target=_in_to, args=(link, lease_s), daemon=True).start()
        while data := link.recv(_CHUNK):
            _write(data)
    finally:
        os._exit(0)


def _session(plan: str) -> socket.socket:
    """A zygote, ready, and the connection that it made a supervisor for. What it said first is passed on: ready, or broken."""
    control, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    boot = str(Path(__file__).with_name("boot.py"))
    os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", boot, str(theirs.fileno())], os.environ)
    theirs.close()
    text = plan.encode()
    control.sendall(struct.pack("!II", len(text), 0) + text)
    _write(control.recv(_CHUNK))
    link, theirs = socket.socketpair()
    hello = b"{}"
    socket.send_fds(control, [struct.pack("!II", len(hello), 0) + hello], [theirs.fileno()])
    theirs.close()
    control.detach()  # open for as long as we live: its end is the zygote's
    return link


def _in_to(link: socket.socket, lease_s: float) -> None:
    wait_s = _WAITING_S
    try:
        while select.select([_IN], [], [], wait_s)[0] and (data := os.read(_IN, _CHUNK)):
            link.sendall(data)
            wait_s = lease_s
    finally:
        os._exit(0)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(_OUT, data) :]


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
