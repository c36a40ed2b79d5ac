"""How runs ended, seen from the command that started them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.process import ERROR, INTERRUPTED, Ended
from supertau.benchmarks.record import Phase, Status
from supertau.benchmarks.results import Run, read_run
from supertau.benchmarks.runs.events import Event, Listener
from supertau.benchmarks.runs.runner import run_folder
from supertau.benchmarks.runs.settings import Settings

LAST_LINES = 5
"""Lines of standard error that are shown of a process that died."""


@dataclass(frozen=True)
class Outcome:
    """How one run ended: its run (None where none was made), how, and a message where it did not finish.

    phase: FINISHED, FAILED, ERROR or INTERRUPTED.
    """

    config: RunConfig
    run: Run | None
    phase: Phase
    message: str = ""


def job_of(config: RunConfig, settings: Settings) -> dict[str, Any]:
    """Return what a run's process reads, JSON-ready: see `worker`."""
    return {"config": config.as_dict(), "settings": settings.to_plain(), "folder": os.getcwd()}


def outcome_of(
    config: RunConfig, settings: Settings, ended: Ended, listener: Listener, *, stopping: bool, several: bool = False
) -> Outcome:
    """Return how a run ended, from how its process did and the record it left; report a process that died.

    stopping: whether the user had asked to stop. several: whether it was trained by several processes.
    """
    folder = run_folder(config, settings)
    run = read_run(folder)
    if ended.status == 0 and run is not None:
        asked = next((j.truth for j in run.record.judgements if j.asked == config.truth_choice), None)
        run = Run(folder, run.record, asked=asked)
        failure = run.record.failure
        phase = Phase.FAILED if run.record.status is Status.FAILED else Phase.FINISHED
        return Outcome(config, run, phase, failure.message if failure else "")
    if ended.status == INTERRUPTED or stopping:
        return Outcome(config, run, Phase.INTERRUPTED)
    tail = "\n".join(ended.printed.strip().splitlines()[-LAST_LINES:])
    if ended.status == ERROR and ended.last.phase is Phase.ERROR:
        # Why one of several processes was lost, only that process can have printed.
        return Outcome(config, run, Phase.ERROR, f"{ended.last.text}\n{tail}".strip() if several else ended.last.text)
    killed = ended.status < 0
    reason = f"killed by signal {-ended.status} (out of memory?)" if killed else f"ended with status {ended.status}"
    message = f"the process {reason} in phase '{ended.last.phase.value}'; run again to go on. {tail}".strip()
    listener(Event(folder.name, Phase.ERROR, text=message))
    return Outcome(config, run, Phase.ERROR, message)
