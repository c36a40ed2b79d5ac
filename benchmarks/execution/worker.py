"""One run in a process of its own: reads a job from standard input, tells its progress line by line as JSON.

A process per run keeps runs apart: one that is killed, or runs out of memory, takes no other with it. Called with a
kind of device and a number, it starts itself once more for each further device.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from supertau.benchmarks.config import from_dict
from supertau.benchmarks.execution.process import ERROR, INTERRUPTED
from supertau.benchmarks.runs.events import Event, Interrupted
from supertau.benchmarks.runs.runner import Existing, Settings, follow, pick_device, run
from supertau.estimators.training.processes import ALONE, launch
from supertau.search_spaces.errors import SupertauError

GRACE_SECONDS = 10
"""How long a following process outlives its own failure. The first one, most likely failing alike, writes a record in that
time; it is killed when another process ends badly."""


def tell(event: Event) -> None:
    """Write one event as a line; when nobody reads it any more, `stop_when_unheard` sees to that."""
    try:
        print(json.dumps(asdict(event)), flush=True)
    except BrokenPipeError:
        _tell_nobody()


def _tell_nobody() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what is still to be told, and the flush at exit


def stop_when_unheard() -> None:
    """Wait until nobody reads standard output any more, then ask the run to save and stop.

    What started this process is gone then, killed or with its node: the run must remain one to take up, not a failed
    one, and let go of its lock soon. The next event may be minutes away.
    """
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # that the other end was closed is reported without being asked for
    reader.poll()
    _tell_nobody()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Carry out the job and return the exit status: 0 for a record (failed ones too), 2 or 130 otherwise."""
    processes = launch(pick_device(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 1 else ALONE
    job: dict[str, Any] = processes.broadcast(json.load(sys.stdin) if processes.index == 0 else {})
    if processes.index == 0:
        threading.Thread(target=stop_when_unheard, daemon=True).start()
    config = from_dict(job["config"])
    settings = job["settings"]
    settings = Settings(
        **{**settings, "results": Path(settings["results"]), "existing": Existing(settings["existing"])}
    )
    if processes.index:
        try:
            follow(config, settings, processes)
        except Exception as error:
            if not isinstance(error, SupertauError):  # those the first process tells as well
                traceback.print_exc()
            time.sleep(GRACE_SECONDS)
            return ERROR
        return 0
    try:
        run(config, settings, tell, processes)
    except Interrupted:
        tell(Event(config.run_id, "interrupted"))
        return INTERRUPTED
    except SupertauError as error:
        tell(Event(config.run_id, "error", text=str(error)))
        return ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
