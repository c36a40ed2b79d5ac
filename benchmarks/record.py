"""The record of one run: a folder with record.json, scores.parquet, truth.parquet and, where training was watched,
curve.parquet. Raw scores are kept; every number in a table is derived from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from supertau.benchmarks.files import write_atomically
from supertau.search_spaces.errors import DataError

SCHEMA_VERSION = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""For each older schema version, the function that makes it one newer."""


@dataclass(frozen=True, eq=False)
class Run:
    """One record on disk; tables are read when asked for.

    record: the JSON. scores: architecture and one column per score. truth: architecture, class (isomorphism key),
    connected, and one column '<dataset>:<seed>' per ground-truth trial, rows as in scores. curve: passes, architecture
    and score columns, or None.
    """

    folder: Path
    record: dict[str, Any]

    @cached_property
    def scores(self) -> pd.DataFrame:
        return read_table(self.folder / "scores.parquet")

    @cached_property
    def truth(self) -> pd.DataFrame:
        return read_table(self.folder / "truth.parquet")

    @cached_property
    def curve(self) -> pd.DataFrame | None:
        path = self.folder / "curve.parquet"
        return read_table(path) if path.exists() else None

    @property
    def finished(self) -> bool:
        """Whether all scores are there."""
        return bool(self.record["status"] == "finished")


def read_table(path: Path) -> pd.DataFrame:
    """Return a Parquet table; raise DataError naming the file when it cannot be read."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"'{path}' cannot be read as Parquet ({error}). Run the same command again to remake it."
        ) from error


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet table: the same table gives the same bytes."""
    write_atomically(path, lambda part: table.to_parquet(part, index=False, compression="zstd"))


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write record.json; numbers that JSON has no form for are an error here, not in the reader."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **record}, indent=1, allow_nan=False, default=_plain)
    write_atomically(folder / "record.json", text + "\n")


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a record cannot hold {type(value).__name__}: {value!r}")


def read_run(folder: Path) -> Run | None:
    """Return the run in a folder, upgraded to the present schema; None when there is no record."""
    path = folder / "record.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
        version = record["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is not a record ({error!r}). Remove its folder and run again.") from error
    while version < SCHEMA_VERSION:
        record = UPGRADES[version](record)
        version = record["schema_version"]
    if version > SCHEMA_VERSION:
        raise DataError(
            f"'{path}' has schema version {version}, this supertau reads up to {SCHEMA_VERSION}: upgrade it."
        )
    return Run(folder, record)


def load_runs(results: Path) -> list[Run]:
    """Return every run below a results folder, finished, failed or interrupted, ordered by name."""
    found = (read_run(path.parent) for path in sorted((results / "runs").glob("*/record.json")))
    return [run for run in found if run is not None]
