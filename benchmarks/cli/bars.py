"""Progress bars in a terminal: one for all runs, and one for each that goes on, with speed and time left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from supertau.benchmarks.cli.progress import ending
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event, Listener


@contextmanager
def bars(total: int, console: Console | None = None) -> Iterator[Listener]:
    """Give a listener that draws events; total: number of runs. console: where, standard error when None."""
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"), TimeElapsedColumn(), TextColumn("left"), Remaining(),
    )  # fmt: skip
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    with Progress(*columns, console=console) as drawn:
        overall = drawn.add_task("runs", total=total, text="")
        tasks: dict[tuple[str, Phase], TaskID] = {}
        lock = threading.Lock()

        def remove(run_id: str) -> None:
            for key in [k for k in tasks if k[0] == run_id]:
                drawn.remove_task(tasks.pop(key))

        def show(event: Event) -> None:
            with lock:
                key = (event.run_id, event.phase)
                if event.phase.is_end:
                    remove(event.run_id)
                    drawn.console.print(ending(event), markup=False)
                    drawn.advance(overall)
                    return
                if key not in tasks:
                    remove(event.run_id)
                    tasks[key] = drawn.add_task(f"{event.run_id} {event.phase}", total=event.total or None, text="")
                drawn.update(tasks[key], completed=event.done, total=event.total or None, text=event.text)

        yield show
