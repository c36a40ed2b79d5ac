"""A run on disk: one folder with its record and its tables. This file alone knows the names of the files.

record.json        see `benchmarks.record`; it has the sha256 of each table
scores.parquet     architecture, and one column per score
truth.parquet      architecture, class (key of isomorphism), connected, one column '<truth key>:<seed>' per training of
                   the ground truth, and 'part:<name>' for parts of the pool that an estimator marks; rows as in scores
truth-*.parquet    the columns of a further ground truth that judged the scores later; rows as in scores
curve.parquet      passes, architecture, score columns; where training was watched

A table whose checksum is not the record's was changed after the run, and is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd

from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.record import Judgement, Record, Role, Status, TruthInfo, pool_digest
from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, unknown

RECORD, SCORES, TRUTH, CURVE = "record.json", "scores.parquet", "truth.parquet", "curve.parquet"
LATER_TRUTH = "truth-"
RUNS = "runs"
"""The folder below a results folder that holds the folders of the runs."""
SHOWN = ("view", "column", "key", "value", "low", "high", "chance", "ceiling", "n", "undefined")


class Run:
    """One run: its record, and its tables, which are read when asked for."""

    def __init__(
        self, folder: Path, record: Record, truth: pd.DataFrame | None = None, asked: TruthInfo | None = None
    ) -> None:
        """truth: the truth table, where it is not the one on disk (scores judged anew in memory).

        asked: the ground truth that the caller asked for, of those that judged the scores.
        """
        self.folder, self.record, self.asked = folder, record, asked
        if truth is not None:
            self.truth = truth

    def __repr__(self) -> str:
        return f"Run({self.record.run_id!r}, {self.record.status.value})"

    @property
    def finished(self) -> bool:
        """Whether all scores are there."""
        return self.record.is_finished

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per architecture: its text form, and one column per score, higher is better."""
        return self._read(SCORES)

    @cached_property
    def truth(self) -> pd.DataFrame:
        """Ground truth of the pool, percent, one column per training seed; see the top of this file."""
        later = [name for name in self.record.files if name.startswith(LATER_TRUTH)]
        return pd.concat([self._read(name) for name in (TRUTH, *later)], axis=1)

    @cached_property
    def curve(self) -> pd.DataFrame | None:
        """Scores of a part of the pool along training, None where training was not watched."""
        return self._read(CURVE) if CURVE in self.record.files or (self.folder / CURVE).exists() else None

    @property
    def metrics(self) -> pd.DataFrame:
        """Every metric: truth, view, column, key, value, low, high (95 %), chance, ceiling, n, undefined."""
        rows = [{"truth": j.truth.dataset, **asdict(m)} for j in self.record.judgements for m in j.metrics]
        return pd.DataFrame(rows, columns=["truth", *SHOWN])

    def _read(self, name: str) -> pd.DataFrame:
        if not self.finished:
            raise DataError(f"run '{self.record.run_id}' is {self.record.status.value} and has no {name} yet.")
        path = self.folder / name
        expected = self.record.files.get(name)
        if expected is not None and path.is_file() and digest(path, "sha256") != expected:
            raise DataError(
                f"'{path}' was changed after the run: its checksum is not the one in the record. Run the same command "
                "again to score anew; finished training is kept."
            )
        return read_table(path)

    def check(self) -> None:
        """Read all tables; raise DataError naming the first that is missing, damaged or was changed."""
        self.scores, self.truth, self.curve  # noqa: B018 - reading them is the check

    def judgement(self, truth: str | None = None) -> Judgement:
        """Return how the scores were judged: by a data set, or by the truth that was asked for (else the first).

        Raises UnknownName for a data set that did not judge them, DataError for a run that is not finished.
        """
        if not self.record.judgements:
            raise DataError(f"run '{self.record.run_id}' is {self.record.status.value} and was not judged.")
        if truth is None and self.asked is not None:
            judgement = self.record.judgement(self.asked)
            assert judgement is not None
            return judgement
        for judgement in self.record.judgements:
            if truth in (None, judgement.truth.dataset, judgement.truth.key):
                return judgement
        raise unknown("ground truth of this run", str(truth), [j.truth.dataset for j in self.record.judgements])

    def trials(self, truth: TruthInfo) -> pd.DataFrame:
        """Return the accuracies of a truth on the pool, percent: rows as in scores, one column per training seed."""
        columns = [c for c in self.truth.columns if str(c).startswith(f"{truth.key}:")]
        if not columns:
            raise DataError(f"'{self.folder / TRUTH}' has no column of the ground truth '{truth.key}'.")
        return self.truth[columns]

    def _repr_html_(self) -> str:
        return Runs([self])._repr_html_()


class Runs(Sequence[Run]):
    """Several runs; in a notebook they show as a table."""

    def __init__(self, runs: Iterable[Run], damaged: Iterable[str] = ()) -> None:
        """damaged: why records that should be among them are not."""
        self._runs, self.damaged = tuple(runs), tuple(damaged)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, place: int) -> Run: ...

    @overload
    def __getitem__(self, place: slice) -> Runs: ...

    def __getitem__(self, place: int | slice) -> Run | Runs:
        return Runs(self._runs[place]) if isinstance(place, slice) else self._runs[place]

    @property
    def scores(self) -> pd.DataFrame:
        """The scores of all finished runs: run_id, estimator, seed, architecture, score columns."""
        return self._joined([(run, run.scores) for run in self if run.finished])

    @property
    def metrics(self) -> pd.DataFrame:
        """The metrics of all runs: run_id, estimator, seed, and the columns of `Run.metrics`."""
        return self._joined([(run, run.metrics) for run in self])

    @staticmethod
    def _joined(tables: Sequence[tuple[Run, pd.DataFrame]]) -> pd.DataFrame:
        named = [
            table.assign(run_id=run.record.run_id, estimator=run.record.title, seed=run.record.seed)
            for run, table in tables
            if len(table)
        ]
        if not named:
            return pd.DataFrame()
        joined = pd.concat(named, ignore_index=True)
        first = ["run_id", "estimator", "seed"]
        return joined[[*first, *(c for c in joined.columns if c not in first)]]

    def summary(self, key: str = "kendall_tau", view: str = "all") -> pd.DataFrame:
        """Return one line per run: estimator, seed, status, truth, and a metric of the primary score with interval."""
        lines = []
        for run in self:
            record = run.record
            line: dict[str, object] = {"estimator": record.title, "seed": record.seed, "status": record.status.value}
            for judgement in [run.judgement()] if record.judgements else []:
                row = judgement.find(view, record.primary, key)
                if row is not None:
                    line |= {
                        "truth": judgement.truth.dataset, "score": record.primary, key: row.value, "low": row.low,
                        "high": row.high, "ceiling": row.ceiling, "n": row.n,
                    }  # fmt: skip
            if record.failure is not None:
                line["message"] = record.failure.message
            lines.append(line)
        return pd.DataFrame(lines)

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no runs</p>"
        table: str = self.summary().to_html(index=False, escape=True, na_rep="", float_format="{:.3f}".format)
        places = sorted({str(run.folder.parent) for run in self})
        return f"{table}<p>{len(self)} runs in {escape(', '.join(places))}</p>"


def read_table(path: Path) -> pd.DataFrame:
    """Return a Parquet table; raise DataError naming the file when it cannot be read."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"'{path}' cannot be read as Parquet ({error}). Run the same command again to score anew; finished "
            "training is kept."
        ) from error


def write_table(path: Path, table: pd.DataFrame) -> dict[str, str]:
    """Write a Parquet table, the same bytes for the same table; return its sha256 by the name of the file."""
    write_atomically(path, lambda part: table.to_parquet(part, index=False, compression="zstd"))
    return {path.name: digest(path, "sha256")}


def add_judgement(run: Run, judged: Run) -> Run:
    """Write the last judgement of `judged`, which is `run` judged by one more truth, and return it as it is on disk.

    The new columns go to a file of their own, so that a kill between two writes leaves the record as it was.
    """
    new = judged.record.judgements[-1].truth.key
    name = f"{LATER_TRUTH}{new.rpartition('@')[2]}.parquet"
    added = judged.truth[[c for c in judged.truth.columns if str(c).startswith(f"{new}:")]]
    files = {**judged.record.files, **write_table(run.folder / name, added)}
    record = replace(judged.record, files=files)
    write_record(run.folder, record)
    return Run(run.folder, record)


def write_record(folder: Path, record: Record) -> None:
    """Write the record of a run's folder."""
    write_atomically(folder / RECORD, record.to_json())


def read_run(folder: Path) -> Run | None:
    """Return the run in a folder, upgraded to the present schema; None when there is no record."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read ({error}). Run the same command again to make it anew.") from error
    run = Run(folder, Record.from_json(text, str(path)))
    pool = run.record.pool
    if pool is not None and not pool.digest and run.finished:  # schema 1 knew pools by their names only
        digest = pool_digest(run.scores["architecture"])
        run.record = replace(run.record, pool=replace(pool, digest=digest))
    return run


class DamagedRecord(UserWarning):
    """A record that cannot be read, and why; the others are read."""


def load_runs(results: Path | str = "results/local") -> Runs:
    """Return every run below a results folder, finished, failed or unfinished, ordered by the names of their folders.

    A record that cannot be read is left out with a warning (DamagedRecord), and its message is in `Runs.damaged`.

    Example:
        >>> import supertau
        >>> run = supertau.run("params", preset="smoke", results=folder)
        >>> [r.record.title for r in supertau.load_runs(folder)]
        ['Parameters']
    """
    if Path(results).exists() and not Path(results).is_dir():
        raise DataError(f"'{results}' is no folder; expected the folder of the results (--results).")
    runs: list[Run] = []
    damaged: list[str] = []
    for path in sorted((Path(results) / RUNS).glob(f"*/{RECORD}")):
        try:
            run = read_run(path.parent)
        except DataError as error:
            damaged.append(str(error))
            warnings.warn(str(error), DamagedRecord, stacklevel=2)
        else:
            runs += [run] if run is not None else []
    return Runs(runs, damaged)


def latest(runs: Iterable[Run]) -> list[Run]:
    """Return finished runs, of repeated ones the last; seeds in order.

    A run is repeated by one of equal seed and configuration; scores made elsewhere by other ones for the same pool
    under the same name and seed, which replace them.
    """
    by_run: dict[tuple[object, ...], Run] = {}
    for run in sorted(runs, key=lambda r: (r.record.finished or "", r.record.run_id)):
        r = run.record
        if r.status is Status.FINISHED:
            same = (r.group, r.pool and r.pool.digest) if r.role is Role.EXTERNAL else (r.identity,)
            by_run[(*same, r.seed, r.title)] = run
    return sorted(by_run.values(), key=lambda r: (r.record.seed, r.record.run_id))


def plain(value: object) -> object:
    """Return numbers and arrays of numpy as Python's, for a record; lists and dictionaries are looked through."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
