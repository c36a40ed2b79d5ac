"""What a run tells while it goes on, and what it hears: progress out, a wish to stop in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True)
class Event:
    """Progress of one run. phase: 'train', 'score', 'judge', 'finished', ...; done of total, in the phase's unit."""

    run_id: str
    phase: str
    done: int = 0
    total: int = 0
    text: str = ""


Listener = Callable[[Event], None]


class Interrupted(Exception):
    """The user asked to stop; what was finished is saved."""


class StopFlag:
    """Set by the first Ctrl-C or SIGTERM, looked at between steps; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.set = False

    def check(self) -> None:
        """Raise Interrupted when stopping was asked for."""
        if self.set:
            raise Interrupted


@contextmanager
def stop_on_signal() -> Iterator[StopFlag]:
    """Give a flag that signals set while the block runs; outside the main thread signals stay as they are."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def heard(number: int, frame: FrameType | None) -> None:
        if flag.set:
            raise KeyboardInterrupt
        flag.set = True

    held = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
