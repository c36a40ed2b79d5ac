"""From raw scores to metrics: views of the pool, ceiling, local protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from supertau.benchmarks.metrics import METRICS, evaluate, local_protocol, merge_classes, noise_ceiling
from supertau.benchmarks.metrics.local import SIZE
from supertau.benchmarks.metrics.point import PoolError
from supertau.search_spaces.errors import DataError, unknown
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.truth import Floats, GroundTruth

VIEWS = ("all", "unique", "connected", "trained")
"""all: the pool as it is. unique: one entry per isomorphism class, scores and truth averaged over the class. connected:
architectures whose output depends on their input. trained: without those whose stand-alone training failed, where the
ground truth knows what a guess reaches and some failed. An estimator may add parts of its own (`Estimator.parts`)."""
FAILED = 1.5
"""Times the accuracy of a guess: a stand-alone training that ends below it counts as failed."""
PART = "part:"
"""Prefix of the columns of a truth table that mark an estimator's own parts of the pool."""
JUDGE_SEED = 0
"""Resamples and tie-breaks are the same for every run, so that estimators on one pool are compared on equal draws."""


def truth_table(
    space: SearchSpace, truths: Sequence[GroundTruth], architectures: Sequence[Architecture]
) -> pd.DataFrame:
    """Return architecture, class, connected and one column '<dataset>:<seed>' per trial, a row per architecture."""
    columns: dict[str, Any] = {
        "architecture": [space.format(a) for a in architectures],
        "class": [space.canonical(a) for a in architectures],
        "connected": [space.is_connected(a) for a in architectures],
    }
    for truth in truths:
        trials = truth.trials[truth.rows(list(architectures))]
        columns.update({f"{truth.dataset}:{seed}": trials[:, i] for i, seed in enumerate(truth.seeds)})
    return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class View:
    """One way to look at a pool. scores: (columns, N); trials: (N, S) percent, NaN where missing; names: N texts."""

    name: str
    scores: Floats
    trials: Floats
    names: list[str]

    @property
    def truth(self) -> Floats:
        """Mean accuracy over the trials that exist, shape (N,)."""
        return np.asarray(np.nanmean(self.trials, axis=1))


def trial_columns(table: pd.DataFrame, dataset: str) -> list[str]:
    """Return the names of a data set's trial columns; raise UnknownName when the table has none."""
    found = [c for c in table.columns if c.startswith(f"{dataset}:")]
    if not found:
        raise unknown("ground truth in this record", dataset, {c.rpartition(":")[0] for c in table.columns if ":" in c})
    return found


def views(
    scores: pd.DataFrame,
    truth: pd.DataFrame,
    dataset: str,
    left_out: str | None = None,
    chance: float | None = None,
) -> Iterator[View]:
    """Yield the views of a pool; left_out names a trial that must not judge (the noise ceiling's own).

    chance: accuracy of a guess, percent. Merging a class averages each trial over the members that have it.
    """
    if list(scores["architecture"]) != list(truth["architecture"]):
        raise DataError("scores and truth of a record list different architectures; run the same command again.")
    held = [c for c in trial_columns(truth, dataset) if c != f"{dataset}:{left_out}"]
    values = scores.drop(columns="architecture").to_numpy(dtype=np.float64).T
    trials = truth[held].to_numpy(dtype=np.float64)
    names = list(truth["architecture"])
    yield View("all", values, trials, names)
    classes = truth["class"].to_numpy()
    merged, labels = merge_classes(values, classes)
    trials_of_class = truth.groupby("class", sort=True)[held].mean().loc[labels].to_numpy(dtype=np.float64)
    yield View("unique", merged, trials_of_class, [str(label) for label in labels])
    parts = {"connected": "connected", **{c.removeprefix(PART): c for c in truth.columns if c.startswith(PART)}}
    members = {name: truth[column].to_numpy(dtype=bool) for name, column in parts.items()}
    if chance is not None:
        trained = np.nanmean(trials, axis=1) >= FAILED * chance
        if not trained.all():
            members["trained"] = trained
    for name, rows in members.items():
        if rows.sum() >= 2:
            kept = [n for n, keep in zip(names, rows, strict=True) if keep]
            yield View(name, values[:, rows], trials[rows], kept)


def judge(
    scores: pd.DataFrame,
    truth: pd.DataFrame,
    dataset: str,
    *,
    left_out: str | None = None,
    chance: float | None = None,
    resamples: int = 1000,
) -> list[dict[str, Any]]:
    """Return every metric of every score column on every view, as rows for a record.

    Each row has truth, view, column, key, value, low, high, chance, ceiling, n, undefined. The local protocol is judged
    on the view 'unique' alone, because its architectures must differ in function.
    """
    columns = [c for c in scores.columns if c != "architecture"]
    rows: list[dict[str, Any]] = []
    for view in views(scores, truth, dataset, left_out, chance):
        ceiling = _ceiling(view)
        for column, values in zip(columns, view.scores, strict=True):
            place = {"truth": dataset, "view": view.name, "column": column}
            found = evaluate(
                values, view.truth, rng=np.random.default_rng(JUDGE_SEED), resamples=resamples, names=view.names
            )
            rows += [{**place, **value.as_dict(), "ceiling": ceiling.get(value.key)} for value in found]
            if view.name == "unique" and len(view.names) >= 2 * SIZE:
                rows += [{**place, **row} for row in _local(values, view, ceiling)]
    return rows


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


def _local(values: Floats, view: View, ceiling: dict[str, float | None]) -> Iterator[dict[str, Any]]:
    found = local_protocol(values, view.truth, rng=np.random.default_rng(JUDGE_SEED), names=view.names)
    for variant, result in found.items():
        common = {"n": result.n, "undefined": result.undefined}
        hits, tau = f"hits_at_10:{variant}", f"local_tau_at_10:{variant}"
        yield {
            "key": hits, "value": result.hits_at_10, "low": result.hits_low, "high": result.hits_high,
            "chance": result.chance_hits, "ceiling": ceiling.get(hits), **common,
        }  # fmt: skip
        yield {
            "key": tau, "value": result.local_tau_at_10, "low": result.tau_low, "high": result.tau_high,
            "chance": 0.0, "ceiling": ceiling.get(tau), **common,
        }  # fmt: skip


def headline(record: dict[str, Any], key: str = "kendall_tau", view: str = "all") -> str:
    """Return one line about a record's primary column: value, interval, chance and ceiling."""
    column = record["columns"][0]
    for row in record["metrics"]:
        if (row["key"], row["view"], row["column"]) == (key, view, column):
            if row["value"] is None:
                return f"{METRICS[key].label} {row['undefined']}"
            interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] is not None else ""
            ceiling = f", ceiling {row['ceiling']:.3f}" if row["ceiling"] is not None else ""
            return f"{METRICS[key].label} {row['value']:.3f}{interval} by {column}, n {row['n']}{ceiling}"
    return "no metrics"
