"""What happens on the nodes of a Ray cluster: one run, and what it and the command know of each other.

Nothing here loads torch or ray: Ray workers start fast and stay small, and the run has a process of its own.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from supertau.benchmarks.execution.process import ERROR, INTERRUPTED, Ended, follow, start
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event

ATTEMPTS = 10
"""How often a run is begun before it is given up: enough for preemptible nodes, not for ever where a run that is too
large for the memory takes its node along each time."""
LOCK_SECONDS = 150.0
"""NFSv4 releases the locks of a lost client after its lease, 90 seconds unless configured otherwise."""


class Board:
    """What runs and command know of each other; an actor on the command's node, gone when the command is."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.attempts: Counter[str] = Counter()
        self.with_progress: set[str] = set()
        self.stop = False

    def begin(self, run_id: str) -> tuple[int, bool, bool]:
        """Count one more beginning of a run; return how many there were, whether it had progress, whether to stop."""
        self.attempts[run_id] += 1
        return self.attempts[run_id], run_id in self.with_progress, self.stop

    def post(self, event: Event) -> None:
        """Keep an event until the command takes it."""
        if event.phase is not Phase.START:  # posted before the run's process does anything
            self.with_progress.add(event.run_id)
        self.events.append(event)

    def take(self) -> list[Event]:
        """Return events in the order they were posted, each once."""
        events, self.events = self.events, []
        return events

    def ask_to_stop(self) -> set[str]:
        """Let every run save and stop, and return those that were begun."""
        self.stop = True
        return set(self.attempts)

    def stopping(self) -> bool:
        """Return whether runs shall save and stop."""
        return self.stop


@dataclass(frozen=True)
class Site:
    """What a node must have in common with the command's.

    token: a file in the results folder. where: the folder the command was started in. version: of supertau. data:
    the command's SUPERTAU_DATA, for nodes that have none of their own.
    """

    token: str
    where: str
    version: str
    data: str | None

    def complaint(self) -> str:
        """Return why the present node cannot carry out runs, '' when it can."""
        if not os.path.exists(self.token):
            return (
                f"cannot see the results folder '{os.path.dirname(self.token)}'. It must be on storage that all nodes "
                "share, under the same path; choose it with --results."
            )
        if not os.path.isdir(self.where):
            return (
                f"has no folder '{self.where}'. Start the command in a folder that all nodes share: relative paths "
                "and 'module:Class' estimators are looked up there."
            )
        if (own := version("supertau")) != self.version:
            return f"has supertau {own}, the command {self.version}. Install the same version on every node."
        return ""


def carry_out(board: Any, run_id: str, job: dict[str, Any], site: Site) -> Ended | None:
    """Carry out one run on the present node, in a process of its own; the body of a Ray task.

    board: the handle of the `Board`. job: see `worker`. Returns None when the user asked to stop before it was begun.
    """
    import ray  # optional, and loaded already where this runs

    attempt, resumed, stop = _answer(board.begin.remote(run_id))
    if stop:
        return Ended(INTERRUPTED, Event(run_id, Phase.INTERRUPTED)) if resumed else None
    here = f"{ray.util.get_node_ip_address()} (node {ray.get_runtime_context().get_node_id()[:8]})"
    complaint = site.complaint()
    if complaint or attempt > ATTEMPTS:
        text = f"{here} {complaint}" if complaint else f"lost {ATTEMPTS} nodes (out of memory?); run again to go on."
        error = Event(run_id, Phase.ERROR, text=text)
        _answer(board.post.remote(error))
        return Ended(ERROR, error)
    if resumed:  # a lost node may still seem to have the lock, and --restart must not throw its work away
        job = {**job, "settings": {**job["settings"], "existing": "reuse", "lock_seconds": LOCK_SECONDS}}
    if site.data is not None:
        os.environ.setdefault("SUPERTAU_DATA", site.data)
    posted = [board.post.remote(Event(run_id, Phase.RESUME if resumed else Phase.START, text=f"on {here}"))]

    def post(event: Event) -> None:
        posted[:] = [board.post.remote(event)]  # not waited for: it must neither hold up the run nor fail it

    process = start(job)
    ended = threading.Event()

    def stop_when_asked() -> None:
        while not ended.wait(1.0):
            try:
                asked = ray.get(board.stopping.remote())
            except ray.exceptions.RayError:
                asked = True  # the command is gone
            if asked:
                process.terminate()  # Ray's processes have SIGINT blocked, and a process they start inherits that
                return

    threading.Thread(target=stop_when_asked, daemon=True).start()
    try:
        return follow(process, run_id, post)
    finally:
        ended.set()
        with suppress(ray.exceptions.RayError):
            _answer(posted[0])  # then all before it have arrived, too


def _answer(call: Any) -> Any:
    """Wait for an actor's answer in a thread: in a task's main thread `ray.get` would lend its CPUs to another run."""
    import ray  # as above

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ray.get, call).result()
