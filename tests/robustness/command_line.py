"""The command line as a process has it, carried out in this one: loading torch takes seconds, most commands do not."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from supertau.benchmarks.cli import main


@dataclass(frozen=True)
class Answer:
    """How a command ended. traceback: of an exception that a process would have died of, else None."""

    status: int
    output: str
    errors: str
    traceback: str | None
    seconds: float

    def problems(self) -> list[str]:
        """Return what is wrong with any answer, whatever was asked."""
        if self.traceback is not None:
            return [f"traceback: {self.traceback.strip().splitlines()[-1]}"]
        if self.status not in (0, 1, 2):
            return [f"exit status {self.status}"]
        if self.status and not (self.errors.strip() or self.output.strip()):
            return [f"exit status {self.status} without a word"]
        if "Traceback (most recent call last)" in self.errors + self.output:
            return [f"a traceback is printed: {self.errors.strip().splitlines()[-1]}"]
        if blamed := re.search(r"failed - \w+(Error|Exception): .*", self.errors):
            return [f"the method is blamed: {blamed[0]}"]
        return []


def supertau(*arguments: str, folder: Path) -> Answer:
    """Carry out a command in a folder; it leaves nothing changed in this process."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    status, trace, before, handler = 0, None, os.getcwd(), signal.getsignal(signal.SIGTERM)
    began = time.monotonic()
    os.chdir(folder)
    try:
        with (
            patch.object(sys, "argv", ["supertau", *arguments]),
            patch.object(sys, "stdout", out),
            patch.object(sys, "stderr", errors),
            patch.object(sys, "path", list(sys.path)),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("default")
            for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", kind)  # as Python does, but not pytest
            main()
    except SystemExit as end:
        status = _status(end.code)
    except Exception:  # whatever it is, a process would die of it with a traceback
        status, trace = 1, traceback.format_exc()
    finally:
        os.chdir(before)
        signal.signal(signal.SIGTERM, handler)
    seconds = time.monotonic() - began
    return Answer(status, _text(out), _text(errors), trace, seconds)


def _status(code: object) -> int:
    """Return the exit status that Python makes of the code of a SystemExit."""
    return 0 if code is None else code if isinstance(code, int) else 1


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    content: bytes = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return content.decode(errors="backslashreplace")


def quote(arguments: Sequence[str]) -> str:
    """Return arguments for a message, each as Python writes it, long ones cut."""
    return " ".join(repr(a) if len(a) < 60 else f"{a[:20]!r}... ({len(a)} characters)" for a in arguments)
