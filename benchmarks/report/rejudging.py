"""Ranking stored scores against a ground truth that did not judge them; nothing is trained, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence

from supertau.benchmarks.judging.judge import judged_by
from supertau.benchmarks.record import Role
from supertau.benchmarks.results import Run
from supertau.search_spaces.errors import DataError, unknown
from supertau.search_spaces.spaces import SPACES, get_space


def built_in(run: Run) -> tuple[str, ...]:
    """Return the data sets whose ground truth a run's space has without a download."""
    return get_space(run.record.space).truths if run.record.space in SPACES else ()


def rejudged(runs: Sequence[Run], dataset: str) -> tuple[list[Run], list[tuple[Run, str]]]:
    """Return the finished runs, judged by a data set where its ground truth is built in, and those it cannot judge.

    The second list says why, for each run whose pool the ground truth does not cover. A noise ceiling ranks by one
    training seed of its own truth, so no other judges it. Raises UnknownName when no run was judged by the data set and
    no space of the runs has it.
    """
    known = {j.truth.dataset for run in runs for j in run.record.judgements}
    known |= {config.truth for run in runs if (config := run.record.config) is not None}
    known |= {name for run in runs for name in built_in(run)}
    if dataset not in known:
        raise unknown("ground truth", dataset, known)
    judged: list[Run] = []
    impossible: list[tuple[Run, str]] = []
    for run in runs:
        if not run.finished:
            continue
        has = any(j.truth.dataset == dataset for j in run.record.judgements)
        if has or run.record.role is Role.CEILING or dataset not in built_in(run):
            judged.append(run)
            continue
        space = get_space(run.record.space)
        try:
            truth = space.truth(dataset).table([space.parse(text) for text in run.scores["architecture"]])
            judged.append(judged_by(run, truth, space))
        except DataError as error:
            impossible.append((run, f"not judged by {dataset}: {error}"))
    return judged, impossible
