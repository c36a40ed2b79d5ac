"""Runs per minute on a Ray cluster of two one-CPU nodes against one, all on this machine. For reading: no assertion.

    python tests/performance/ray_throughput.py [runs]

Each run is a smoke-sized SPOS with a longer training, so that starting Python is not all that is measured. Nodes share
this machine's processor: what is to be seen is that the cluster keeps its nodes busy, not how a real one scales.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from supertau.benchmarks.execution.ray_cluster import run_all_on_ray
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.settings import Settings

MEMORY = 80_000_000


def seconds(cluster: Cluster, runs: int) -> float:
    """Return how long that many runs take, from the command's start to its end."""
    configs = [resolve("spos", seed=seed, preset="smoke", passes=32_000, curve_points=0) for seed in range(runs)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        outcomes = run_all_on_ray(configs, Settings(Path(folder)), lambda _: None, address=cluster.address)
        took = time.monotonic() - began
    assert all(outcome.phase is Phase.FINISHED for outcome in outcomes), outcomes
    return took


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        took = []
        for nodes in (1, 2):
            cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
            took.append(seconds(cluster, runs))
            print(f"{nodes} node(s): {runs} runs in {took[-1]:.0f} s, {60 * runs / took[-1]:.1f} runs/min", flush=True)
        print(f"speed-up {took[0] / took[1]:.2f}")
        cluster.shutdown()


if __name__ == "__main__":
    main()
