"""What all tests share: nothing that a test says may depend on how busy the machine is, or on what was drawn today."""

import os

from hypothesis import HealthCheck, settings

# Ray remembers for all of a process whether its clusters ask for tokens: `ray.init` says yes, its cluster for tests says no. It
# is to end no worker because the machine is short of memory, which may be others' doing, nor to give up who starts slowly.
os.environ |= {
    "RAY_AUTH_MODE": "disabled",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_register_timeout_seconds": "600",
}

# How long an example takes says something about the machine, not about the code. Examples follow from the test alone, so whoever
# runs it again sees the same; TURNWISE_FULL=1 draws new ones.
settings.register_profile(
    "house",
    deadline=None,
    derandomize=os.environ.get("TURNWISE_FULL") != "1",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")
