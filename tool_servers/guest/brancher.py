"""Makes the walls of forks: for each a mount namespace in which the session's folders are empty. The fork fills them itself.

A process moves to another mount namespace only with rights over the user namespace that owns it. A session's process has none
where it is, but every right over user namespaces that its user makes below its own. So a process lives in such a one and
makes mount namespaces there, one ahead, for all forks of sessions that are in the user namespace above.
"""

import os
import socket
from typing import NoReturn

from turnwise.tool_servers.guest import kernel, namespaces
from turnwise.tool_servers.guest.channel import receive, send
from turnwise.tool_servers.guest.plan import Bounds, Plan
from turnwise.tool_servers.guest.rlimits import raise_process_limit

__all__ = ["make_walls"]


def make_walls(channel: socket.socket, plan: Plan, bounds: Bounds, proc: int, user: int | None, spaces: list[int]) -> NoReturn:
    """In a fresh process, until the other side of the channel is gone. `proc`: an open procfs of the host; `user`: whom to
    become, None for who we are; `spaces`: mount namespace of the family's init, and user namespace of those that will fork."""
    try:
        kernel.name_process("tw-brancher")
        mounts, users = spaces
        namespaces.enter(mounts)
        if user is not None:
            namespaces.become(user)
        namespaces.enter(users)
        namespaces.become_mapped(proc, kernel.CLONE_NEWNS)
        pattern, ours = namespaces.descriptors(proc, "mnt", "user")
        while True:
            kernel.unshare(kernel.CLONE_NEWNS)
            namespaces.session_folders(bounds.disk_mb, bounds.inodes, None, plan.readable)
            work = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            (made,) = namespaces.descriptors(proc, "mnt")
            order, _ = receive(channel)
            raise_process_limit(order["pids"], order["processes"])
            send(channel, {"up": True}, [work, made, ours])
            os.close(work)
            os.close(made)
            namespaces.enter(pattern)
    except EOFError:
        pass
    except OSError as error:
        send(channel, {"broken": str(error)})
    finally:
        os._exit(0)
