"""The connection to Ray, and what each actor gets of what the cluster has."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from turnwise.errors import ConfigError, Unsupported
from turnwise.own_folder import OwnFolder
from turnwise.trainers.cluster.settings import Cluster

__all__ = ["Shares", "connected", "shares"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What one actor of each kind asks Ray for."""

    cpus: float
    engine_gpus: float = 0.0
    learner_gpus: float = 0.0


def shares(cluster: Cluster, resources: Mapping[str, float], gpus_wanted: int = 1) -> Shares:
    """`resources` as Ray lists them ("CPU", "GPU"); `gpus_wanted` is what one engine is made for (its tensor parallel size).

    Without GPUs nobody gets one. With enough, each learner gets one and each engine `gpus_wanted`; with fewer they share them
    evenly (vLLM then needs options = { gpu_memory_utilization = ... }). CPUs are only a means of placing: a whole one each where
    there are enough, else equal parts. Raises ConfigError if `gpus_per_engine` asks for more than there is.
    """
    engines = cluster.engines or cluster.workers
    actors = cluster.workers + cluster.engines + cluster.learners
    gpus = resources.get("GPU", 0.0)
    cpus = min(1.0, _thousandths(resources.get("CPU", 0.0) / actors))
    if cluster.gpus_per_engine >= 0:
        left = gpus - cluster.gpus_per_engine * engines
        if left < 0:
            wanted = f"{engines} engine(s) with {cluster.gpus_per_engine:g} GPU(s) each"
            raise ConfigError(f"cluster.gpus_per_engine: {wanted} were asked for, the cluster has {gpus:g}; lower it or -1.")
        learner = min(1.0, _thousandths(left / cluster.learners)) if cluster.learners else 0.0
        return Shares(cpus=cpus, engine_gpus=cluster.gpus_per_engine, learner_gpus=learner)
    if gpus >= cluster.learners + engines * gpus_wanted:
        return Shares(cpus=cpus, engine_gpus=float(gpus_wanted), learner_gpus=1.0 if cluster.learners else 0.0)
    each = min(1.0, _thousandths(gpus / (cluster.learners + engines)))
    return Shares(cpus=cpus, engine_gpus=each, learner_gpus=each if cluster.learners else 0.0)


def _thousandths(share: float) -> float:
    """Rounded down: Ray counts parts of a resource in ten thousandths, and the sum must not exceed what there is."""
    return int(share * 1000) / 1000


@contextmanager
def connected(address: str, say: Callable[[str], None]) -> Generator[None]:
    """This process as a driver of a Ray cluster (see `Cluster.address`). One that is started here ends with the block; a
    connection that was there before stays.

    Raises Unsupported if Ray is not installed, ConfigError if there is no cluster at the address.
    """
    try:
        import ray  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise Unsupported("cluster: Ray is not installed; pip install 'turnwise[ray]'.") from error
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    folder = None if address != "local" and _joined(address, say) else _started(say)
    try:
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            folder.remove()


def _joined(address: str, say: Callable[[str], None]) -> bool:
    """Whether there is a cluster, which this process has then joined."""
    import ray  # noqa: PLC0415  (optional)
    from ray.exceptions import RayError  # noqa: PLC0415  (optional)

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        if address == "auto" and "RAY_ADDRESS" not in os.environ:
            return False
        where = f"{address} (RAY_ADDRESS={os.environ['RAY_ADDRESS']})" if address == "auto" else address
        mend = "is it up, and if it asks for a token (`ray start` says so), is RAY_AUTH_MODE=token set here as well?"
        raise ConfigError(f"cluster {where}: no Ray cluster can be joined there: {error}; {mend}") from error
    nodes = [node for node in ray.nodes() if node["Alive"]]
    say(f"cluster: joined {ray.get_runtime_context().gcs_address}, {len(nodes)} node(s)")
    return True


def _started(say: Callable[[str], None]) -> OwnFolder:
    """A cluster of this machine alone; the folder of its files, which is removed with it, or by the next driver."""
    import ray  # noqa: PLC0415  (optional)

    folder = OwnFolder("tw-ray-", "/tmp")  # short: Ray's sockets lie in it, and their paths are bounded
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, _temp_dir=str(folder.path)
    )
    say("cluster: a local one, for this run")
    return folder
