"""The one way to judge scores: of runs, of tables made elsewhere, and of records against another ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from supertau.benchmarks.config import TruthChoice
from supertau.benchmarks.judging.views import PART, View, views
from supertau.benchmarks.metrics import METRICS, MetricValue, PoolError, evaluate_many, limited_threads, noise_ceiling
from supertau.benchmarks.record import Judgement, MetricRow, Record, TruthInfo, truth_key
from supertau.benchmarks.results import Run
from supertau.search_spaces.errors import DataError
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.truth import GroundTruth

JUDGE_SEED = 0
"""Resamples and tie-breaks are the same for every run, so that estimators on one pool are compared on equal draws."""


def truth_info(truth: GroundTruth) -> TruthInfo:
    """Return what a record keeps of a ground truth beside its numbers."""
    return TruthInfo(
        dataset=truth.dataset, split=truth.split, epochs=truth.epochs, source=truth.source, sha256=truth.sha256,
        seeds=truth.seeds, architectures=len(truth.architectures), chance=truth.chance,
        key=truth_key(truth.dataset, truth.split, truth.epochs, truth.source, truth.sha256),
    )  # fmt: skip


def truth_table(
    space: SearchSpace,
    truth: GroundTruth,
    architectures: Sequence[Architecture],
    parts: Mapping[str, Sequence[bool]] | None = None,
) -> pd.DataFrame:
    """Return architecture, class, connected, one column per training seed and one per part; a row per architecture."""
    columns: dict[str, Any] = {
        "architecture": [space.format(a) for a in architectures],
        "class": [space.canonical(a) for a in architectures],
        "connected": [space.is_connected(a) for a in architectures],
    }
    for name, members in (parts or {}).items():
        columns[PART + name] = members
    return with_trials(pd.DataFrame(columns), truth, architectures)


def with_trials(table: pd.DataFrame, truth: GroundTruth, architectures: Sequence[Architecture]) -> pd.DataFrame:
    """Return a truth table with the columns of one more truth; architectures: those of its rows."""
    key = truth_info(truth).key
    trials = truth.trials[truth.rows(list(architectures))]
    return table.assign(**{f"{key}:{seed}": trials[:, i] for i, seed in enumerate(truth.seeds)})


def judge(
    scores: pd.DataFrame,
    truth: pd.DataFrame,
    info: TruthInfo,
    *,
    left_out: str | None = None,
    asked: TruthChoice | None = None,
    threads: int = 1,
) -> Judgement:
    """Return every metric of every score column on every view.

    scores: architecture, and score columns, (N, 1 + columns). truth: the truth table, rows as in scores. info: the
    truth that judges. left_out: the training seed that must not. threads: for matrix products. Raises DataError for
    tables that do not fit together.
    """
    columns = [c for c in scores.columns if c != "architecture"]
    rows: list[MetricRow] = []
    with limited_threads(threads):
        for view in views(scores, truth, info, left_out):
            ceiling = _ceiling(view)
            judged = evaluate_many(
                list(view.scores), view.truth, view=view.name, rng=np.random.default_rng(JUDGE_SEED), names=view.names
            )
            for column, values in zip(columns, judged, strict=True):
                rows += [_row(view.name, column, value, ceiling.get(value.key)) for value in values]
    return Judgement(info, tuple(rows), left_out, asked)


def _row(view: str, column: str, v: MetricValue, ceiling: float | None) -> MetricRow:
    return MetricRow(view, column, v.key, v.value, v.low, v.high, v.chance, ceiling, v.n, v.undefined)


def _ceiling(view: View) -> dict[str, float | None]:
    """Return the noise ceiling of each metric; nothing where the ground truth cannot tell.

    That is so with one training seed, and in a pool in which hardly any architecture has all seeds.
    """
    try:
        ceiling = noise_ceiling(view.trials, view=view.name, rng=np.random.default_rng(JUDGE_SEED))
    except PoolError:
        return {}
    return ceiling.values  # noqa: PD011


def judged_by(run: Run, truth: GroundTruth, space: SearchSpace, asked: TruthChoice | None = None) -> Run:
    """Return a finished run with its stored scores judged by a truth, in memory; the run itself where it was already.

    Raises DataError when the truth lacks an architecture of the run's pool.
    """
    info = truth_info(truth)
    if run.record.judgement(info) is not None:
        return run
    architectures = [space.parse(text) for text in run.scores["architecture"]]
    missing = sum(a not in truth for a in architectures)
    if missing:
        raise DataError(f"'{truth.source}' lacks {missing} of this run's architectures; choose --pool accordingly.")
    table = with_trials(run.truth, truth, architectures)
    judgement = judge(run.scores, table, info, asked=asked)
    return Run(run.folder, replace(run.record, judgements=(*run.record.judgements, judgement)), table)


def headline(record: Record, judgement: Judgement, key: str = "kendall_tau", view: str = "all") -> str:
    """Return one line about a record's primary column: value, interval, number of architectures and ceiling."""
    row = judgement.find(view, record.primary, key)
    if row is None:
        return "no metrics"
    label = METRICS[key].label
    if row.value is None:
        return f"{label} {row.undefined}"
    interval = f" [{row.low:.3f}, {row.high:.3f}]" if row.low is not None else ""
    ceiling = f", ceiling {row.ceiling:.3f}" if row.ceiling is not None else ""
    return f"{label} {row.value:.3f}{interval} by {row.column}, n {row.n}{ceiling}"
