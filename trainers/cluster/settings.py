"""How a run is spread over a Ray cluster: the [cluster] table of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from turnwise.errors import ConfigError
from turnwise.trainers.bounds import within

__all__ = ["Cluster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Ray actors for rollouts, engines and learners; without an address everything stays in one process."""

    address: str = ""
    """"" uses no Ray; "auto" is RAY_ADDRESS or a cluster that runs on this machine, else a local one is started; "local" always
    starts one; else host:port of a head node. `turnwise train RECIPE --cluster ADDRESS` sets it."""
    workers: int = 2
    """Rollout workers, each with environments and tool servers of its own."""
    engines: int = 1
    """Engines in actors of their own; 0 gives each worker one in its own process: best for small models."""
    learners: int = 0
    """Ranks of the learner (FSDP2), each an actor; 0 learns in the driver's process."""
    gpus_per_engine: float = -1.0
    """-1 shares out what the cluster has (see `cluster.resources`)."""
    restarts: int = 5
    """Times in a row that one actor is replaced without having finished anything, until the run ends."""
    tries: int = 6
    """Workers that may die over one group, until its episodes count as failed."""
    start_s: float = 600.0
    """How long an actor may take to start: a place in the cluster, its imports, its model."""
    silence_s: float = 300.0
    """A worker that says nothing for so long is taken for dead."""

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("engines", 0), ("learners", 0), ("restarts", 0), ("tries", 1), ("start_s", 1)):
            within(f"cluster.{name}", getattr(self, name), least)
        within("cluster.silence_s", self.silence_s, 10.0)  # a worker says that it lives every 5 s
        if self.gpus_per_engine != -1:
            within("cluster.gpus_per_engine", self.gpus_per_engine)
        if self.address.startswith("ray://"):
            raise ConfigError(
                f"cluster.address: got {self.address!r}, a Ray client address; run the driver on a node of the cluster and "
                'say "auto" (docs/cluster.md).'
            )

    @property
    def used(self) -> bool:
        return bool(self.address)
