"""A run's process as the one that starts it sees it. Nothing here loads torch: on a cluster, one goes with each run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from supertau.benchmarks.runs.events import Event, Listener

ERROR, INTERRUPTED = 2, 130
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""Tells glibc's allocator, where it is the one, not to give freed memory back to the system between two operations:
writing to memory that is new takes up to ten times as long."""


@dataclass(frozen=True)
class Ended:
    """How a run's process ended: exit status (negative: the signal), last event, what it printed on standard error."""

    status: int
    last: Event
    printed: str = ""


def start(job: dict[str, Any], where: str, *processes: str) -> subprocess.Popen[str]:
    """Start `supertau.benchmarks.execution.worker` with a job, and return the process, to be handed to `follow`.

    processes: kind and number of devices, when there are several.
    where: the folder that the command was started in. It counts for relative paths and 'module:Class' estimators.
    """
    threads = str(job["settings"]["threads"])
    environment = {
        **KEEP_MEMORY,
        **os.environ,  # threads must be known before torch loads
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
        "PYTHONPATH": os.pathsep.join([where, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "supertau.benchmarks.execution.worker", *processes], cwd=where, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    return process


def follow(process: subprocess.Popen[str], run_id: str, listener: Listener) -> Ended:
    """Pass on what a run tells until its process ends."""
    assert process.stdout
    assert process.stderr
    last = Event(run_id, "start")
    with ThreadPoolExecutor(1) as reader:  # standard error must be drained meanwhile, or the process may block on it
        errors = reader.submit(process.stderr.read)
        for line in process.stdout:
            try:
                last = Event(**json.loads(line))
            except (ValueError, TypeError):
                continue  # something else printed to standard output, a plugin perhaps
            listener(last)
        return Ended(process.wait(), last, errors.result())
