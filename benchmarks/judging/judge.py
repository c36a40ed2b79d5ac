"""The one way to judge scores: of runs, of tables made elsewhere, and of records against another ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from supertau.benchmarks.judging.views import PART, View, views
from supertau.benchmarks.metrics import METRICS, evaluate, local_protocol, noise_ceiling
from supertau.benchmarks.metrics.local import SIZE
from supertau.benchmarks.metrics.point import PoolError
from supertau.benchmarks.record import Judgement, MetricRow, Record, TruthInfo, truth_key
from supertau.benchmarks.results import Run
from supertau.search_spaces.errors import DataError
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.truth import Floats, GroundTruth

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
    truth_path: str | None = None,
    resamples: int = 1000,
) -> Judgement:
    """Return every metric of every score column on every view.

    scores: architecture, and score columns, (N, 1 + columns). truth: the truth table, rows as in scores. info: the
    truth that judges. left_out: the training seed that must not. Raises DataError for tables that do not fit together.
    """
    columns = [c for c in scores.columns if c != "architecture"]
    rows: list[MetricRow] = []
    for view in views(scores, truth, info, left_out):
        ceiling = _ceiling(view)
        for column, values in zip(columns, view.scores, strict=True):
            for value in evaluate(
                values, view.truth, rng=np.random.default_rng(JUDGE_SEED), resamples=resamples, names=view.names
            ):
                rows.append(
                    MetricRow(
                        view.name,
                        column,
                        value.key,
                        value.value,
                        value.low,
                        value.high,
                        value.chance,
                        ceiling.get(value.key),
                        value.n,
                        value.undefined,
                    )
                )
            if view.name == "unique" and len(view.names) >= 2 * SIZE:
                rows += _local(values, view, column, ceiling)
    return Judgement(info, tuple(rows), left_out, truth_path)


def _ceiling(view: View) -> dict[str, float | None]:
    """Noise ceiling of each metric and, on unique classes, of the local protocol (first trial against the others)."""
    try:
        values = noise_ceiling(view.trials, rng=np.random.default_rng(JUDGE_SEED)).values  # noqa: PD011
    except PoolError:
        return {}  # one trial per architecture, or a pool in which hardly any has all: there is no ceiling to know
    complete = view.trials[~np.isnan(view.trials).any(axis=1)]
    if view.name == "unique" and len(complete) >= 2 * SIZE:
        found = local_protocol(complete[:, 0], complete[:, 1:].mean(axis=1), rng=np.random.default_rng(JUDGE_SEED))
        for variant, result in found.items():
            values[f"hits_at_10:{variant}"] = result.hits_at_10
            values[f"local_tau_at_10:{variant}"] = result.local_tau_at_10
    return values


def _local(values: Floats, view: View, column: str, ceiling: dict[str, float | None]) -> list[MetricRow]:
    rows = []
    found = local_protocol(values, view.truth, rng=np.random.default_rng(JUDGE_SEED), names=view.names)
    for variant, r in found.items():
        for key, value, low, high, chance in (
            (f"hits_at_10:{variant}", r.hits_at_10, r.hits_low, r.hits_high, r.chance_hits),
            (f"local_tau_at_10:{variant}", r.local_tau_at_10, r.tau_low, r.tau_high, 0.0),
        ):
            rows.append(MetricRow(view.name, column, key, value, low, high, chance, ceiling.get(key), r.n, r.undefined))
    return rows


def judged_by(run: Run, truth: GroundTruth, space: SearchSpace, truth_path: str | None = None) -> Run:
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
    judgement = judge(run.scores, table, info, truth_path=truth_path)
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
