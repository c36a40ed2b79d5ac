"""Carries out many runs on this machine, some side by side, each in its own process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.outcome import Outcome, job_of, outcome_of
from supertau.benchmarks.execution.process import follow, start
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Listener
from supertau.benchmarks.runs.plan import identify
from supertau.benchmarks.runs.runner import pick_device
from supertau.benchmarks.runs.settings import Settings
from supertau.benchmarks.runs.stop import Terminated
from supertau.estimators.registry import ESTIMATORS
from supertau.estimators.training.processes import require_devices
from supertau.search_spaces.errors import SupertauError


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

    devices: on how many each supernet is trained, one process each; estimators that do not train run in one process.
    With several devices, runs go one by one unless workers says otherwise. Cores are shared out evenly among the
    processes that run side by side. Ctrl-C reaches the processes as well: each run saves and stops, and runs that have
    not begun do not begin.
    """
    require_devices(pick_device(settings.device), devices)
    for config in configs if devices > 1 else ():
        cls = ESTIMATORS.resolve(config.estimator)
        if cls.trains and not cls.on_several_devices:
            raise SupertauError(f"estimator '{config.estimator}' trains on one device only: leave --devices away.")
    side_by_side = workers_for(len(configs), 1 if workers is None and devices > 1 else workers)
    if settings.threads is None:
        settings = replace(settings, threads=max(1, (os.cpu_count() or 1) // (side_by_side * devices)))
    state = _State()
    with ThreadPoolExecutor(side_by_side) as pool:
        futures = [pool.submit(_carry_out, config, settings, listener, state, devices) for config in configs]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt as stop:
            state.stopping = True
            if isinstance(stop, Terminated):
                for process in list(state.running):
                    process.terminate()
            return [future.result() for future in futures]


@dataclass
class _State:
    """What the runs of one call share: whether to begin no more, and the processes of those that have begun."""

    stopping: bool = False
    running: set[subprocess.Popen[str]] = field(default_factory=set)


def _carry_out(config: RunConfig, settings: Settings, listener: Listener, state: _State, devices: int) -> Outcome:
    if state.stopping:
        return Outcome(config, None, Phase.INTERRUPTED, "not begun")
    several = devices > 1 and ESTIMATORS.resolve(config.estimator).trains
    process = start(job_of(config, settings), (settings.device, devices) if several else None)
    state.running.add(process)
    ended = follow(process, identify(config).run_id, listener)
    state.running.discard(process)
    return outcome_of(config, settings, ended, listener, stopping=state.stopping, several=several)
