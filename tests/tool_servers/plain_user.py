"""`python plain_user.py PROGRAM ARGUMENT...`: run as root, it becomes an ordinary user and then that program."""

import os
import sys
from pathlib import Path

from turnwise.tool_servers.guest.namespaces import reveal

USER = 54321
ROOT = Path(__file__).resolve().parents[2]


def main(program: list[str]) -> None:
    # Python and this repository may lie where only root may look.
    reveal([sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix, str(ROOT)])
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    os.environ["HOME"] = "/"
    os.chdir("/")
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
