"""Comparing two estimators: the paired difference of a metric on the architectures that both scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from supertau.benchmarks.judging.judge import JUDGE_SEED
from supertau.benchmarks.judging.views import View, views
from supertau.benchmarks.metrics import metric, paired_difference
from supertau.benchmarks.metrics.interval import Difference
from supertau.benchmarks.record import TruthInfo
from supertau.benchmarks.results import Run, latest
from supertau.search_spaces.errors import SupertauError, unknown


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs of one group that differ in seed only, and the score column that is compared."""

    name: str
    column: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Comparison:
    """Metric of A minus metric of B, on one view of the architectures that both scored, against one ground truth."""

    a: Side
    b: Side
    view: str
    truth: TruthInfo
    difference: Difference

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        sides = {"a": self.a.name, "column_a": self.a.column, "b": self.b.name, "column_b": self.b.column}
        return {**sides, "view": self.view, "truth": asdict(self.truth), **self.difference.as_dict()}

    def __str__(self) -> str:
        d, sides = self.difference, f"{self.a.name} ({self.a.column}) minus {self.b.name} ({self.b.column})"
        judged = f"view {self.view}, {self.truth.caption}"
        if d.difference is None or d.low is None or d.high is None:
            return f"{d.key} of {sides}, {judged}: {d.verdict}"
        return (
            f"{d.key} of {sides}, {judged}: {d.difference:+.4f}, 95 % interval [{d.low:+.4f}, {d.high:+.4f}], "
            f"{d.n} architectures, {d.seeds} paired seeds: {d.verdict}"
        )


def find(runs: Sequence[Run], name: str, column: str | None = None) -> Side:
    """Return the finished runs that a name stands for: an estimator, a title, a group hash, a run id or its beginning.

    Raises SupertauError when the name fits none, or fits runs of more than one configuration.
    """
    finished = [run for run in runs if run.finished]
    if not finished:
        raise SupertauError("there are no finished runs to compare; make some with `supertau run`.")
    matching = [run for run in finished if _fits(run, name)]
    if not matching:
        raise unknown("run", name, {r.record.estimator for r in finished} | {r.record.run_id for r in finished})
    return side_of(matching, name, column)


def side_of(runs: Iterable[Run], name: str, column: str | None = None) -> Side:
    """Return a side of a comparison; raise SupertauError for runs of more than one configuration."""
    ordered = latest(runs)
    groups: dict[str, list[Run]] = {}
    for run in ordered:
        groups.setdefault(run.record.group, []).append(run)
    if len(groups) > 1:
        listed = "\n  ".join(
            f"{group}: {', '.join(run.record.run_id for run in members)}" for group, members in groups.items()
        )
        raise SupertauError(f"'{name}' fits runs of {len(groups)} configurations; name one by its group:\n  {listed}")
    record = ordered[0].record
    if column is not None and column not in record.columns:
        raise unknown(f"score column of '{name}'", column, record.columns)
    return Side(name, column or record.primary, tuple(ordered))


def _fits(run: Run, name: str) -> bool:
    r = run.record
    return name in (r.estimator, r.title, r.group, r.run_id, r.identity) or (
        len(name) > 3 and r.run_id.startswith(name)
    )


def compare(
    a: Side, b: Side, *, key: str = "kendall_tau", truth: str | None = None, view: str = "all", resamples: int = 1000
) -> Comparison:
    """Return metric(a) - metric(b) on the architectures both scored, averaged over paired seeds, with an interval.

    Both sides are judged by one ground truth: the first that judged all of their runs, or the one of a data set.
    With unequal numbers of seeds the first ones are paired. Raises SupertauError when no truth judged both, when fewer
    than two architectures are shared, or when the sides were not ranked on the same space.
    """
    spaces = {run.record.space for side in (a, b) for run in side.runs}
    if len(spaces) > 1:
        raise SupertauError(f"runs on different spaces cannot be compared: {', '.join(sorted(spaces))}.")
    pairs = min(len(a.runs), len(b.runs))
    info = _common_truth([run for side in (a, b) for run in side.runs[:pairs]], truth)
    shared = _shared([run for side in (a, b) for run in side.runs[:pairs]])
    left_out = _left_out([run for side in (a, b) for run in side.runs[:pairs]], info)
    chosen = [[_view(run, side.column, shared, info, view, left_out) for run in side.runs[:pairs]] for side in (a, b)]
    first, second = (np.stack([v.scores[0] for v in side]) for side in chosen)
    difference = paired_difference(
        first, second, chosen[0][0].truth, metric(key), rng=np.random.default_rng(JUDGE_SEED), resamples=resamples
    )
    return Comparison(a, b, view, info, difference)


def _common_truth(runs: Sequence[Run], name: str | None) -> TruthInfo:
    """Return the ground truth that judged all runs; raise SupertauError when there is none, naming those there are."""
    for judgement in runs[0].record.judgements:
        info = judgement.truth
        if name in (None, info.dataset, info.key) and all(run.record.judgement(info) for run in runs):
            return info
    judged = dict.fromkeys(f"{j.truth.key} ({j.truth.caption})" for run in runs for j in run.record.judgements)
    if name is not None and not any(
        name in (j.truth.dataset, j.truth.key) for run in runs for j in run.record.judgements
    ):
        raise unknown("ground truth of these runs", name, {j.truth.dataset for r in runs for j in r.record.judgements})
    raise SupertauError(
        "the runs were not judged by one ground truth; run or score them again with the same --truth and --truth-path. "
        "They were judged by:\n  " + "\n  ".join(judged)
    )


def _left_out(runs: Sequence[Run], info: TruthInfo) -> str | None:
    """Return the training seed that must not judge, because one side's scores were made from it (noise ceiling)."""
    judgements = [run.record.judgement(info) for run in runs]
    seeds = sorted({j.left_out for j in judgements if j is not None and j.left_out is not None})
    if len(seeds) > 1:
        raise SupertauError(
            f"the noise ceiling was run with training seeds {', '.join(seeds)} of the ground truth: no one truth is "
            "left to compare by. Name one of its runs, e.g. by its run id."
        )
    return seeds[0] if seeds else None


def _shared(runs: Sequence[Run]) -> list[str]:
    common = set.intersection(*(set(run.scores["architecture"]) for run in runs))
    ordered = [text for text in runs[0].scores["architecture"] if text in common]
    if len(ordered) < 2:
        raise SupertauError(f"the runs share {len(ordered)} architectures; a comparison needs at least 2.")
    return ordered


def _view(run: Run, column: str, shared: list[str], info: TruthInfo, name: str, left_out: str | None) -> View:
    def rows(table: pd.DataFrame) -> pd.DataFrame:
        return table.set_index("architecture").loc[shared].reset_index()

    own = run.record.judgement(info)
    assert own is not None
    scores = rows(run.scores)[["architecture", column]]
    # A record of an earlier version names the columns of the same truth otherwise.
    chosen = {v.name: v for v in views(scores, rows(run.truth), own.truth, left_out)}
    if name not in chosen:
        raise unknown("view", name, chosen)
    return chosen[name]
