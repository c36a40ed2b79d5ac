"""Files that are whole or absent: everything a run leaves is written beside its name and then moved there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from supertau.search_spaces.errors import SupertauError


def write_atomically(path: Path, content: str | bytes | Callable[[Path], None]) -> Path:
    """Write text, bytes, or what a function puts into a path; a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if callable(content):
            content(part)
        else:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch.save and Parquet raise RuntimeError when the disk is full
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        raise SupertauError(f"cannot write '{path}': {reason}. Make room, or choose another folder.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write a dictionary as JSON, with a checksum of it."""
    write_atomically(path, json.dumps({**value, "checksum": checksum(value)}))


def read_sealed(path: Path, **expected: object) -> dict[str, Any] | None:
    """Return what `write_sealed` wrote; None where there is nothing, or it is damaged or not the `expected` one."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("checksum") != checksum(value):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return value if all(value.get(name) == wanted for name, wanted in expected.items()) else None


def checksum(value: dict[str, Any]) -> str:
    """Return the sha256 of a JSON-ready dictionary, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def remove_parts(folder: Path) -> None:
    """Remove what writers that were killed have left, in a folder that nobody else writes to at the moment."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def require_writable(folder: Path, needed: int) -> None:
    """Raise SupertauError when a folder cannot be written or has fewer than `needed` bytes free."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise SupertauError(f"the name of the folder {str(folder)!r} is not UTF-8: choose another one.") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-"):
            pass
    except OSError as error:
        raise SupertauError(
            f"cannot write to '{folder}': {error.strerror or error}. Choose another folder with --results."
        ) from error
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SupertauError(
            f"'{folder}' has {free / 1e6:.0f} MB free, this run needs about {needed / 1e6:.0f} MB. "
            "Make room or choose another folder with --results."
        )
