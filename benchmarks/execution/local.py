"""Carries out many runs on this machine, some side by side, each in its own process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.process import ERROR, INTERRUPTED, Ended, follow, start
from supertau.benchmarks.record import Run, read_run
from supertau.benchmarks.runs.events import Event, Listener
from supertau.benchmarks.runs.runner import Settings, pick_device
from supertau.estimators.registry import ESTIMATORS
from supertau.estimators.training.processes import require_devices
from supertau.search_spaces.errors import SupertauError

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
    processes = (settings.device, str(devices)) if shared else ()
    ended = follow(start(job_of(config, settings), os.getcwd(), *processes), config.run_id, listener)
    return outcome_of(config, settings, ended, listener, stopping=bool(stopping), shared=shared)


def job_of(config: RunConfig, settings: Settings) -> dict[str, Any]:
    """Return what `supertau.benchmarks.execution.worker` reads, JSON-ready."""
    held = {**asdict(settings), "results": str(settings.results), "existing": settings.existing.value}
    return {"config": config.as_dict(), "settings": held}


def outcome_of(
    config: RunConfig, settings: Settings, ended: Ended, listener: Listener, *, stopping: bool, shared: bool = False
) -> Outcome:
    """Return how a run ended, from how its process did and the record it left; tell of a process that died.

    stopping: whether the user had asked to stop. shared: whether it had several processes.
    """
    held = read_run(settings.results / "runs" / config.run_id)
    if ended.status == 0 and held is not None:
        error = held.record["error"]
        return Outcome(config, held, str(held.record["status"]), error["message"] if error else "")
    if ended.status == INTERRUPTED or stopping:
        return Outcome(config, held, "interrupted")
    tail = "\n".join(ended.printed.strip().splitlines()[-LAST_LINES:])
    if ended.status == ERROR and ended.last.phase == "error":  # why a rank was lost, only that rank can have said
        return Outcome(config, held, "error", f"{ended.last.text}\n{tail}".strip() if shared else ended.last.text)
    killed = ended.status < 0
    reason = f"killed by signal {-ended.status} (out of memory?)" if killed else f"ended with status {ended.status}"
    message = f"the process {reason} in phase '{ended.last.phase}'; run again to go on. {tail}".strip()
    listener(Event(config.run_id, "error", text=message))
    return Outcome(config, held, "error", message)
