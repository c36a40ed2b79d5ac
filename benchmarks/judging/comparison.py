"""Comparing two estimators: the paired difference of a metric on one pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from supertau.benchmarks.judging.judge import JUDGE_SEED, View, views
from supertau.benchmarks.metrics import metric, paired_difference
from supertau.benchmarks.metrics.interval import Difference
from supertau.benchmarks.record import Run
from supertau.search_spaces.errors import SupertauError, unknown


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs of one group that differ in seed only, and the score column that is compared."""

    name: str
    column: str
    runs: tuple[Run, ...]


def find(runs: Sequence[Run], name: str, column: str | None = None) -> Side:
    """Return the finished runs that a name stands for: an estimator, a title, a group hash, a run id or its beginning.

    Raises SupertauError when the name fits none, or fits runs of more than one configuration.
    """
    finished = [run for run in runs if run.finished]
    if not finished:
        raise SupertauError("there are no finished runs to compare; make some with `supertau run`.")
    matching = [run for run in finished if _fits(run, name)]
    if not matching:
        names = {str(r.record["config"]["estimator"]) for r in finished} | {r.record["run_id"] for r in finished}
        raise unknown("run", name, names)
    groups: dict[str, list[Run]] = {}
    for run in matching:
        groups.setdefault(run.record["group"], []).append(run)
    if len(groups) > 1:
        listed = "\n  ".join(
            f"{group}: {', '.join(r.record['run_id'] for r in held)}" for group, held in groups.items()
        )
        raise SupertauError(f"'{name}' fits runs of {len(groups)} configurations; name one by its group:\n  {listed}")
    held = sorted(matching, key=lambda r: int(r.record["config"]["seed"]))
    columns = held[0].record["columns"]
    if column is not None and column not in columns:
        raise unknown(f"score column of '{name}'", column, columns)
    return Side(name, column or columns[0], tuple(held))


def _fits(run: Run, name: str) -> bool:
    record = run.record
    exact = (record["config"]["estimator"], record["title"], record["group"], record["run_id"], record["identity"])
    return name in exact or (len(name) > 3 and record["run_id"].startswith(name))


def compare(
    a: Side, b: Side, *, key: str = "kendall_tau", truth: str | None = None, view: str = "all", resamples: int = 1000
) -> Difference:
    """Return metric(a) - metric(b) on the architectures both scored, averaged over paired seeds, with an interval.

    With unequal numbers of seeds the first ones are paired. Raises SupertauError when fewer than two architectures are
    shared, or the sides were not ranked on the same space.
    """
    spaces = {run.record["config"]["space"] for side in (a, b) for run in side.runs}
    if len(spaces) > 1:
        raise SupertauError(f"runs on different spaces cannot be compared: {', '.join(sorted(spaces))}.")
    pairs = min(len(a.runs), len(b.runs))
    dataset = truth or str(a.runs[0].record["config"]["truth"])
    shared = _shared([run for side in (a, b) for run in side.runs[:pairs]])
    found = [[_view(run, side.column, shared, dataset, view) for run in side.runs[:pairs]] for side in (a, b)]
    first, second = (np.stack([v.scores[0] for v in side]) for side in found)
    return paired_difference(
        first, second, found[0][0].truth, metric(key), rng=np.random.default_rng(JUDGE_SEED), resamples=resamples
    )


def _shared(runs: Sequence[Run]) -> list[str]:
    common = set.intersection(*(set(run.scores["architecture"]) for run in runs))
    ordered = [text for text in runs[0].scores["architecture"] if text in common]
    if len(ordered) < 2:
        raise SupertauError(f"the runs share {len(ordered)} architectures; a comparison needs at least 2.")
    return ordered


def _view(run: Run, column: str, shared: list[str], dataset: str, name: str) -> View:
    def rows(table: pd.DataFrame) -> pd.DataFrame:
        return table.set_index("architecture").loc[shared].reset_index()

    chance = (run.record["truths"].get(dataset) or {}).get("chance")
    scores, truth = rows(run.scores)[["architecture", column]], rows(run.truth)
    chosen = {v.name: v for v in views(scores, truth, dataset, chance=chance)}
    if name not in chosen:
        raise unknown("view", name, chosen)
    return chosen[name]
