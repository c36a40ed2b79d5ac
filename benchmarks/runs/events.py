"""What a run reports while it goes on, and how it is asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from supertau.benchmarks.record import Phase


@dataclass(frozen=True)
class Event:
    """Progress of one run: done of total, in the phase's unit (steps, architectures), and a text beside it."""

    run_id: str
    phase: Phase
    done: int = 0
    total: int = 0
    text: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Event:
        """Return what `to_plain` gave; raise ValueError, TypeError or KeyError for anything else."""
        return cls(**{**values, "phase": Phase(values["phase"])})


Listener = Callable[[Event], None]


class Interrupted(Exception):
    """The user asked to stop; what was finished is saved."""


class StopFlag:
    """Set by the first Ctrl-C or SIGTERM and looked at between steps; a second one stops at once.

    at_once: whether the first one stops at once, too. It does wherever nothing is lost by it: while images are loaded,
    architectures scored (what is scored is on disk shard by shard) and scores judged, but not between two steps of a
    training, whose state is saved first.
    """

    def __init__(self) -> None:
        self.set = False
        self.at_once = False

    def check(self) -> None:
        """Raise Interrupted when the user asked to stop."""
        if self.set:
            raise Interrupted


@contextmanager
def stop_on_signal() -> Iterator[StopFlag]:
    """Give a flag that signals set while the block runs; outside the main thread signals stay as they are."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if flag.set:
            raise KeyboardInterrupt
        flag.set = True
        if flag.at_once:
            raise Interrupted

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
