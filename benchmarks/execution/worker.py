"""One run in a process of its own: reads a job from standard input, writes its progress as lines of JSON.

A process per run keeps runs apart: one that is killed, or runs out of memory, takes no other with it. Called with a
kind of device and a number, it starts itself once more for each further device. A job is a dictionary: `config`, as of
`RunConfig.as_dict`; `settings`, as of `Settings.to_plain`; `folder`, where the command was started.
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
from typing import Any

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.process import ERROR, INTERRUPTED
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event, Interrupted
from supertau.benchmarks.runs.plan import identify
from supertau.benchmarks.runs.runner import follow, pick_device, run
from supertau.benchmarks.runs.settings import Settings
from supertau.estimators.training.processes import ALONE, launch
from supertau.search_spaces.errors import SupertauError

GRACE_SECONDS = 10
"""How long a following process outlives its own failure. The first one, most likely failing in the same way, writes a
record in that time; it is killed when another process ends badly."""


def report(event: Event) -> None:
    """Write one event as a line; when nobody reads them any more, `stop_when_unread` ends the run."""
    try:
        print(json.dumps(event.to_plain()), flush=True)
    except BrokenPipeError:
        _write_to_nobody()


def _write_to_nobody() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what is still to come, and the flush at exit


def stop_when_unread() -> None:
    """Wait until nobody reads standard output any more, then ask the run to save and stop.

    What started this process is gone then, killed or with its node. The run must stay one that can be resumed, and give
    its lock back soon; its next event may be minutes away.
    """
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # that the other end was closed is reported without being asked for
    reader.poll()
    _write_to_nobody()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Carry out the job and return the exit status: 0 for a record (failed ones too), 2 or 130 otherwise."""
    processes = launch(pick_device(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 1 else ALONE
    job: dict[str, Any] = processes.broadcast(json.load(sys.stdin) if processes.index == 0 else {})
    if processes.index == 0:
        threading.Thread(target=stop_when_unread, daemon=True).start()
    # Last, so that no file of the user's hides a module of the library: only 'module:Class' estimators are there.
    sys.path.append(job["folder"])
    config, settings = RunConfig(**job["config"]), Settings.from_plain(job["settings"])
    if processes.index:
        try:
            follow(config, settings, processes)
        except Exception as error:
            if not isinstance(error, SupertauError):  # the first process reports those as well
                traceback.print_exc()
            time.sleep(GRACE_SECONDS)
            return ERROR
        return 0
    try:
        run(config, settings, report, processes)
    except Interrupted:
        report(Event(identify(config).run_id, Phase.INTERRUPTED))
        return INTERRUPTED
    except SupertauError as error:
        report(Event(identify(config).run_id, Phase.ERROR, text=str(error)))
        return ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
