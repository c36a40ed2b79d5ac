"""Ranking stored scores against a ground truth they were not judged by yet; nothing is trained, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from supertau.benchmarks.judging.judge import judge

if TYPE_CHECKING:
    from supertau.benchmarks.record import Run


def judged_by(runs: Sequence[Run], truth: str) -> list[Run]:
    """Return the runs with metrics against a ground truth, computed now where the record holds its trials.

    Runs that hold none are returned as they are. A noise ceiling ranks by a trial of its own data set and is not
    judged by another.
    """
    return [_judged(run, truth) for run in runs]


def _judged(run: Run, truth: str) -> Run:
    record = run.record
    if record["status"] != "finished" or record.get("role") == "ceiling":
        return run
    if any(m["truth"] == truth for m in record["metrics"]):
        return run
    if not any(str(c).startswith(f"{truth}:") for c in run.truth.columns):
        return run
    chance = record["truths"].get(truth, {}).get("chance")
    return replace(
        run, record={**record, "metrics": [*record["metrics"], *judge(run.scores, run.truth, truth, chance=chance)]}
    )
