"""What all tests share."""

import os

from hypothesis import settings

# Ray remembers for all of a process whether its clusters ask for tokens: `ray.init` says yes, its cluster for tests says no.
os.environ["RAY_AUTH_MODE"] = "disabled"

# How long an example takes says something about the machine, not about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
