"""Judging scores made elsewhere: a table of architectures and scores becomes a record like any other."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from supertau.benchmarks.config import TruthChoice
from supertau.benchmarks.files import require_writable
from supertau.benchmarks.judging.columns import USE_LOWER, ScoreTable, read_scores
from supertau.benchmarks.judging.forms import Given
from supertau.benchmarks.judging.judge import judged_by
from supertau.benchmarks.record import LaterSchema, Record, Role, Status, pool_digest
from supertau.benchmarks.results import RUNS, SCORES, TRUTH, Run, add_judgement, read_run, write_record, write_table
from supertau.benchmarks.task import Task
from supertau.search_spaces.errors import DataError
from supertau.search_spaces.pool import KINDS, Pool, select
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.spaces import get_space


def keep_scores(
    scores: Given,
    *,
    results: Path,
    name: str | None = None,
    space: str = "nasbench201",
    truth: str | None = None,
    truth_path: Path | str | None = None,
    truth_split: str | None = None,
    truth_epochs: int | None = None,
    columns: Sequence[str] | None = None,
    lower_is_better: bool = False,
    source: str = "",
    seed: int = 0,
    trust_pickle: bool = False,
) -> Run:
    """Judge a table of scores by ground truth and keep it as a record with role EXTERNAL; nothing is trained.

    scores: a file, a frame, or scores by architecture, and columns, lower_is_better: which of them count, and how; see
    `read_scores`. name: how the leaderboard calls it, by default the file's name. Several seeds of one method share a
    name. The pool is what the table holds: 'all' or 'unique' when it is just that, else named after the file. The same
    scores under the same name are one record: another ground truth adds a judgement to it.

    The record's diagnostics say under 'table' what was taken from the table (`ScoreTable.as_dict`); its 'notes' are for
    the user: the first says which column was ranked by, the others are hints.
    """
    where = get_space(space)
    origin = Path(scores).name if isinstance(scores, str | Path) else "scores"
    read = read_scores(scores, where, columns, lower_is_better=lower_is_better)
    architectures, values = read.architectures, read.scores
    pool = Pool(_pool_name(where, architectures, origin), tuple(architectures))
    dataset = where.resolve_dataset(truth) if truth else (*where.truths, *where.files)[0]
    asked = TruthChoice(dataset, None if truth_path is None else str(truth_path), truth_split, truth_epochs)
    task = Task(where, asked, pool, trust_pickle=trust_pickle)
    task.require_all(f"'{origin}'")
    title = name or Path(origin.removesuffix(".gz")).stem
    texts = [where.format(a) for a in architectures]
    # The same scores in another order of rows are the same record.
    order = np.argsort(np.array(texts))
    table = pd.DataFrame({"architecture": texts, **values}).iloc[order].reset_index(drop=True)
    direction = "\nlower is better" if lower_is_better else ""
    content = _hash(f"{title}{direction}\n{table.to_csv(index=False)}")
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", title).strip("-")[:60] or "scores"
    folder = results / RUNS / f"{slug}-{space}-external-s{seed}-{content}"
    require_writable(folder, 1_000_000)
    with FileLock(folder / ".lock"):
        earlier = _earlier(folder)
        if earlier is not None:
            judged = judged_by(earlier, task.truth, where, asked)
            run = earlier if judged is earlier else add_judgement(earlier, judged)
        else:
            truth_rows = task.table(tuple(architectures[row] for row in order))
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            record = Record(
                run_id=folder.name,
                identity=content,
                # Seeds of one method rank by one column, in one direction.
                group=_hash(f"external {title} {space} {read.columns[0]}{direction}"),
                status=Status.FINISHED,
                role=Role.EXTERNAL,
                estimator=title,
                title=title,
                source=source or f"scores from {origin}",
                space=space,
                seed=seed,
                columns=tuple(values.columns),
                started=now,
                finished=now,
                pool=task.pool_info(),
                judgements=(task.judge(table, truth_rows),),
            )
            files = write_table(folder / SCORES, table) | write_table(folder / TRUTH, truth_rows)
            run = Run(folder, replace(record, files=files))
            write_record(folder, run.record)
        diagnostics = {**run.record.diagnostics, "table": _described(read, run.record)}
        if diagnostics != run.record.diagnostics:
            run = Run(folder, replace(run.record, diagnostics=diagnostics))
            write_record(folder, run.record)
    return Run(folder, run.record, asked=task.truth_info)


def _earlier(folder: Path) -> Run | None:
    """Return the record of the same scores, None where there is none or it is damaged: the scores are at hand again."""
    try:
        earlier = read_run(folder)
        if earlier is None or not earlier.finished:
            return None
        earlier.check()
    except LaterSchema:
        raise
    except DataError:
        return None
    return earlier


def _described(read: ScoreTable, record: Record) -> dict[str, Any]:
    """Return what was taken from a table, with a hint where its scores rank the wrong way round."""
    described = read.as_dict()
    if any(USE_LOWER in note for note in read.notes):
        return described
    for judgement in record.judgements:
        tau = judgement.find("all", record.primary, "kendall_tau")
        if tau is None or tau.value is None or tau.high is None or tau.high >= 0:
            continue
        advice = "is lower really better?" if read.lower_is_better else f"if lower is better, {USE_LOWER}"
        described["notes"].append(
            f"hint: '{record.primary}' seems to rank the wrong way round, Kendall's tau against the ground truth "
            f"'{judgement.truth.dataset}' is {tau.value:.3f} [{tau.low:.3f}, {tau.high:.3f}]: {advice}"
        )
    return described


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _pool_name(space: SearchSpace, architectures: list[Architecture], origin: str) -> str:
    """Return the name of the pool a table covers."""
    members = set(architectures)
    for kind in KINDS if space.is_listable else ():  # a space too large to list has no such pools
        if members == set(select(space, kind).architectures):
            return kind
    return f"{origin}@{pool_digest(map(space.format, members))[:8]}"
