"""Progress bars for runs: one line each, with speed and time left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from supertau.benchmarks.cli.output import err, print_note
from supertau.benchmarks.runs.events import Event, Listener

ENDED = ("finished", "found", "failed", "error", "interrupted")


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Listener]:
    """Give a listener that draws events on standard error; without a terminal it prints one line per phase."""
    if quiet:
        yield lambda event: None
        return
    if not err.is_terminal:
        yield _lines()
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"), TimeElapsedColumn(), TextColumn("left"), Remaining(),
    )  # fmt: skip
    with Progress(*columns, console=err) as bars:
        overall = bars.add_task("runs", total=total, text="")
        tasks: dict[tuple[str, str], TaskID] = {}
        lock = threading.Lock()

        def hear(event: Event) -> None:
            with lock:
                key = (event.run_id, event.phase)
                if event.phase in ENDED:
                    for held in [k for k in tasks if k[0] == event.run_id]:
                        bars.remove_task(tasks.pop(held))
                    bars.console.print(_line(event), markup=False)
                    bars.advance(overall)
                    return
                if key not in tasks:
                    for held in [k for k in tasks if k[0] == event.run_id]:
                        bars.remove_task(tasks.pop(held))
                    tasks[key] = bars.add_task(f"{event.run_id} {event.phase}", total=event.total or None, text="")
                bars.update(tasks[key], completed=event.done, total=event.total or None, text=event.text)

        yield hear


def _line(event: Event) -> str:
    return f"{event.run_id}: {event.phase}{f' - {event.text}' if event.text else ''}"


def _lines() -> Listener:
    """Return a listener for logs: each phase once when it starts, and how it ended."""
    told: set[tuple[str, str]] = set()

    def hear(event: Event) -> None:
        if event.phase in ENDED or (event.run_id, event.phase) not in told:
            told.add((event.run_id, event.phase))
            print_note(_line(event))

    return hear
