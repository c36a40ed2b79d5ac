"""Small files of arrays that a run writes on its way: shards of scores, points of the curve."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from supertau.benchmarks.files import write_atomically
from supertau.search_spaces.errors import DataError


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name."""

    def put(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, **arrays)

    write_atomically(path, put)


def read_npz(path: Path) -> dict[str, Any]:
    """Return arrays by name; raise DataError when the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"'{path}' is damaged ({error}).") from error
