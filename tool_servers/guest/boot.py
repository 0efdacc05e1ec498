"""`python -I -S boot.py`: the door to the guest, for an interpreter that knows nothing of turnwise.

The modules of this folder name each other `turnwise.tool_servers.guest.x`, as everywhere in the house. Here three empty packages
stand in for the outer ones; they are forgotten again before the model's code runs.
"""

import os
import sys
import types


def _stand_in() -> None:
    path: list[str] = []
    for name in ("turnwise", "turnwise.tool_servers", "turnwise.tool_servers.guest"):
        package = types.ModuleType(name)
        package.__path__ = path if name != "turnwise.tool_servers.guest" else [os.path.dirname(os.path.realpath(__file__))]
        sys.modules[name] = package


if __name__ == "__main__":
    _stand_in()
    from turnwise.tool_servers.guest.zygote import main

    main(sys.argv[1:])
