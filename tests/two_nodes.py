"""A Ray cluster of two nodes on this machine."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

__all__ = ["NODE", "two_nodes"]

NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@contextmanager
def two_nodes() -> Generator[Any]:
    """The cluster, a `ray.cluster_utils.Cluster`. Everything it started is gone afterwards, and so are its files."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra ray")
    folder = Path(tempfile.mkdtemp(prefix="tw-", dir="/tmp"))  # short: Ray's sockets lie in it
    (folder / "ray").mkdir()
    before = set(psutil.Process().children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", str(folder))
        nodes = cluster_utils.Cluster()
        try:
            nodes.add_node(**NODE, temp_dir=str(folder))
            nodes.add_node(**NODE)
            yield nodes
        finally:
            started = set(psutil.Process().children(recursive=True)) - before
            nodes.shutdown()
            _, alive = psutil.wait_procs(started, timeout=120)
            shutil.rmtree(folder, ignore_errors=True)
            assert not alive, f"still there after the cluster's end: {alive}"
