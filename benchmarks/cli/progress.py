"""Progress of runs on standard error: bars in a terminal, lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from supertau.benchmarks.cli.output import is_terminal, print_note
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event, Listener

UNITS = {Phase.TRAIN: "step", Phase.SCORE: "architecture"}
"""What runs count in each phase."""
EVERY_SECONDS = 30.0
"""How long a run goes on without a line."""
LEAST_SECONDS = 5.0
"""How long a run must have gone on before a phase of it gets a line, and what lies at least between two lines within a
phase: many short runs must not flood a log."""


@contextmanager
def progress(total: int, *, quiet: bool, units: Mapping[Phase, str] = UNITS) -> Iterator[Listener]:
    """Give a listener that shows events on standard error.

    total: number of runs. quiet: show nothing. units: what each phase counts.
    """
    if quiet:
        yield lambda event: None
    elif not is_terminal(sys.stderr):
        yield Log(units=units)
    else:
        # rich is slow to import, and bars are drawn in terminals only.
        from supertau.benchmarks.cli.bars import bars

        with bars(total) as listener:
            yield listener


@dataclass
class _Place:
    """How far a run is. began, first: time and `done` when its phase began. pending: the phase has no line yet."""

    run_began: float
    phase: Phase
    began: float
    first: int
    done: int
    line_at: float = float("-inf")
    pending: bool = True


class Log:
    """A listener for logs, which threads may share.

    A line says that a run, or a phase of it, began, and how it ended. In between there is one at each tenth of a phase,
    and when 30 seconds have passed since the run's last line. write: takes a whole line. clock: seconds.
    """

    def __init__(
        self,
        write: Callable[[str], None] = print_note,
        clock: Callable[[], float] = time.monotonic,
        units: Mapping[Phase, str] = UNITS,
    ) -> None:
        self._write, self._clock = write, clock
        self._units = units
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            now = self._clock()
            if event.phase.is_end:
                self._places.pop(event.run_id, None)
                self._write(ending(event))
                return
            place = self._places.get(event.run_id)
            if place is None or event.phase in (Phase.START, Phase.RESUME):
                place = self._places[event.run_id] = _Place(now, event.phase, now, event.done, event.done)
            elif event.phase is not place.phase or event.done < place.done:  # a new phase, or one that began anew
                place.phase, place.began, place.first, place.pending = event.phase, now, event.done, True
                place.done = event.done
            if self._is_due(event, place, now):
                place.line_at, place.pending = now, False
                self._write(self._line(event, place, now))
            place.done = event.done

    def _is_due(self, event: Event, place: _Place, now: float) -> bool:
        if place.line_at == float("-inf"):
            return True
        if place.pending:
            return now - place.run_began >= LEAST_SECONDS
        waited = now - place.line_at
        reached = event.total > 0 and event.done * 10 // event.total > place.done * 10 // event.total
        return waited >= EVERY_SECONDS or (reached and waited >= LEAST_SECONDS)

    def _line(self, event: Event, place: _Place, now: float) -> str:
        parts = [event.text] if event.text else []
        if event.total:
            unit = self._units.get(event.phase, "")
            parts.insert(0, f"{unit} {event.done} of {event.total} ({100 * event.done // event.total} %)".strip())
            gained, spent = event.done - place.first, now - place.began
            if gained > 0 and spent > 0 and event.done < event.total:
                parts.append(f"about {duration(spent * (event.total - event.done) / gained)} left")
        return f"{event.run_id}: {event.phase}{' - ' if parts else ''}{', '.join(parts)}"


def ending(event: Event) -> str:
    """Return the line that says how a run ended."""
    return f"{event.run_id}: {event.phase}{f' - {event.text}' if event.text else ''}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: 40 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
