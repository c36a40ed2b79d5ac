"""A run's process as the one that starts it sees it. Nothing here loads torch: on a cluster, one goes with each run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event, Listener

WORKER = "supertau.benchmarks.execution.worker"
ERROR, INTERRUPTED = 2, 130
"""Exit status of a run that met an error outside the method, and of one that was asked to stop."""
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""Tells glibc's allocator, where it is the one, not to give freed memory back to the system between two operations:
writing to memory that is new takes up to ten times as long."""

LIBRARY_FIRST = {"PYTHONSAFEPATH": "1"}
"""Tells a new Python not to put the working folder first on its path: a user's random.py there would take the place of
the library's."""


@contextmanager
def library_first() -> Iterator[None]:
    """Let processes that are started inside the block, by whatever means, look into Python's own library first."""
    before = {name: os.environ.get(name) for name in LIBRARY_FIRST}
    os.environ.update(LIBRARY_FIRST)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class Ended:
    """How a run's process ended: exit status (negative: the signal), last event, what it printed on standard error."""

    status: int
    last: Event
    printed: str = ""


def start(job: dict[str, Any], devices: tuple[str, int] | None = None) -> subprocess.Popen[str]:
    """Start a run's process (`worker`) with a job, and return the process, to be handed to `follow`.

    job: see `worker`; its `folder` is where the command was started, it counts for relative paths. devices: kind and
    number, when one supernet is trained on several.
    """
    threads = str(job["settings"]["threads"])
    environment = {
        **KEEP_MEMORY,
        **os.environ,  # threads must be known before torch loads
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
        **LIBRARY_FIRST,
    }
    arguments = [devices[0], str(devices[1])] if devices else []
    process = subprocess.Popen(
        [sys.executable, "-m", WORKER, *arguments], cwd=job["folder"], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    return process


def follow(process: subprocess.Popen[str], run_id: str, listener: Listener) -> Ended:
    """Pass on the events of a run until its process ends."""
    assert process.stdout
    assert process.stderr
    last = Event(run_id, Phase.START)
    with ThreadPoolExecutor(1) as reader:  # standard error must be drained meanwhile, or the process may block on it
        errors = reader.submit(process.stderr.read)
        for line in process.stdout:
            try:
                last = Event.from_plain(json.loads(line))
            except (ValueError, TypeError, KeyError):
                continue  # something else printed to standard output, a plugin perhaps
            listener(last)
        return Ended(process.wait(), last, errors.result())
