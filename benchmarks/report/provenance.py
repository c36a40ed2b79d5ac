"""Where the numbers of a page come from: ground truths with checksums, runs with hashes and versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from supertau.benchmarks.record import EnvironmentInfo, Record
from supertau.benchmarks.report.numbers import DASH
from supertau.benchmarks.report.table import Table

RUN = ("Estimator", "Seed", "Run", "Identity", "Finished", "Environment", "Source")
"""Heads of the columns of `run_line`."""


def _text(values: dict[str, object]) -> str:
    """Return `name value; name value`, missing ones left out."""
    return "; ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def truths(tables: Sequence[Table]) -> list[tuple[str, str]]:
    """Return name and description of each ground truth that judged a table."""
    lines: set[tuple[str, str]] = set()
    for task in (table.task for table in tables):
        if task.truth is not None:
            described = {"space": task.space, **asdict(task.truth), "seeds": ", ".join(task.truth.seeds)}
            del described["key"]
            lines.add((task.dataset, _text(described)))
    return sorted(lines)


def run_line(record: Record) -> list[str]:
    """Return what identifies a run and where it ran."""
    where = "" if record.environment is None else _environment(record.environment)
    texts = [record.title, str(record.seed), record.run_id, record.identity, record.finished, where, record.source]
    return [text or DASH for text in texts]


def _environment(environment: EnvironmentInfo) -> str:
    values = asdict(environment)
    packages = values.pop("packages")
    return _text(values | packages)
