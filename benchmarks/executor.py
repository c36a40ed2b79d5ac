"""Carries out many runs, some side by side, each in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from benchmarks.config import RunConfig
from benchmarks.events import Event, Listener
from benchmarks.record import Run, read_run
from benchmarks.runner import Settings, pick_device
from benchmarks.worker import ERROR, INTERRUPTED
from estimators.ranks import require_devices
from estimators.registry import ESTIMATORS
from search_spaces.errors import SupertauError

LAST_LINES = 5


@dataclass(frozen=True)
class Outcome:
    """How one run ended: its record (None where none was made), and a message where it did not finish."""

    config: RunConfig
    run: Run | None
    status: str
    message: str = ""


def workers_for(runs: int, wanted: int | None) -> int:
    """Return how many runs go side by side: what was asked for, else one per core."""
    if wanted is not None and wanted < 1:
        raise SupertauError(f"--workers must be at least 1, got {wanted}.")
    return max(1, min(runs, wanted or os.cpu_count() or 1))


def run_all(
    configs: Sequence[RunConfig],
    settings: Settings,
    listener: Listener,
    *,
    workers: int | None = None,
    devices: int = 1,
) -> list[Outcome]:
    """Carry out runs and return how each ended, in the order given.

    devices: on how many each supernet is trained, one process each; estimators that train nothing take one. With
    several, runs go one by one unless workers says otherwise. Cores are shared out evenly among the processes that go
    side by side. Ctrl-C reaches the processes as well: each run saves and stops, runs not yet begun are not begun.
    """
    require_devices(pick_device(settings.device), devices)
    for config in configs if devices > 1 else ():
        cls = ESTIMATORS.resolve(config.estimator)
        if cls.trains and not cls.on_several_devices:
            raise SupertauError(f"estimator '{config.estimator}' trains on one device only: leave --devices away.")
    side_by_side = workers_for(len(configs), 1 if workers is None and devices > 1 else workers)
    if settings.threads is None:
        settings = replace(settings, threads=max(1, (os.cpu_count() or 1) // (side_by_side * devices)))
    stopping: list[bool] = []
    with ThreadPoolExecutor(side_by_side) as pool:
        futures = [pool.submit(_carry_out, config, settings, listener, stopping, devices) for config in configs]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            stopping.append(True)
            return [future.result() for future in futures]


def _carry_out(
    config: RunConfig, settings: Settings, listener: Listener, stopping: list[bool], devices: int
) -> Outcome:
    if stopping:
        return Outcome(config, None, "interrupted", "not begun")
    shared = devices > 1 and ESTIMATORS.resolve(config.estimator).trains
    job = {"config": config.as_dict(), "settings": {**asdict(settings), "existing": settings.existing.value}}
    job["settings"]["results"] = str(settings.results)
    threads = str(settings.threads)
    # Where the command was started counts for 'module:Class' estimators; threads must be known before torch loads.
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads),
    }
    environment["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker", *([settings.device, str(devices)] if shared else [])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    assert process.stderr
    with ThreadPoolExecutor(1) as reader:  # standard error must be drained meanwhile, or the process may block on it
        errors = reader.submit(process.stderr.read)
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        last = Event(config.run_id, "start")
        for line in process.stdout:
            try:
                last = Event(**json.loads(line))
            except (ValueError, TypeError):
                continue  # something else printed to standard output, a plugin perhaps
            listener(last)
        status, printed = process.wait(), errors.result()
    held = read_run(settings.results / "runs" / config.run_id)
    if status == 0 and held is not None:
        error = held.record["error"]
        return Outcome(config, held, str(held.record["status"]), error["message"] if error else "")
    if status == INTERRUPTED or stopping:
        return Outcome(config, held, "interrupted")
    tail = "\n".join(printed.strip().splitlines()[-LAST_LINES:])
    if status == ERROR and last.phase == "error":  # why a rank was lost, only that rank can have said
        return Outcome(config, held, "error", f"{last.text}\n{tail}".strip() if shared else last.text)
    reason = f"killed by signal {-status} (out of memory?)" if status < 0 else f"ended with status {status}"
    message = f"the process {reason} in phase '{last.phase}'; run again to go on. {tail}".strip()
    listener(Event(config.run_id, "error", text=message))
    return Outcome(config, held, "error", message)
