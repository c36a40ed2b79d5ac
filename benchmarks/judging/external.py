"""Judging scores made elsewhere: a table of architectures and scores becomes a record like any other."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from supertau.benchmarks.files import require_writable
from supertau.benchmarks.judging.judge import judged_by
from supertau.benchmarks.record import Record, Role, Status, pool_digest
from supertau.benchmarks.results import RUNS, SCORES, TRUTH, Run, add_judgement, read_run, write_record, write_table
from supertau.benchmarks.task import Task
from supertau.search_spaces.errors import DataError, InvalidArchitecture, unknown
from supertau.search_spaces.pool import KINDS, Pool, select
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.spaces import get_space

NAMED = 5
"""How many offending lines an error names."""


def read_scores(
    given: Path | str | pd.DataFrame | Mapping[str, float], space: SearchSpace, columns: Sequence[str] | None = None
) -> tuple[list[Architecture], pd.DataFrame]:
    """Return architectures and score columns (N rows, float) of a CSV or Parquet file, a frame, or a dictionary.

    The table has a column 'architecture' in the space's text form; every other numeric column is a score, higher is
    better, unless `columns` names some (the first is the primary). Raises DataError for a file that cannot be read, a
    missing column, unknown or repeated architectures and values that are not finite numbers, naming lines.
    """
    path, table = _table(given)
    if "architecture" not in table.columns:
        raise DataError(
            f"'{path}' has no column 'architecture'; its columns are: {', '.join(map(str, table.columns))}. "
            f"Expected e.g. 'architecture,score' with architectures like {space.format((0,) * len(space.choices))}."
        )
    scores = table.drop(columns="architecture")
    for name in columns or []:
        if name not in scores.columns:
            raise unknown(f"score column in '{path.name}'", name, map(str, scores.columns))
    if columns is None:
        columns = [str(c) for c in scores.columns if pd.api.types.is_numeric_dtype(scores[c])]
        if not columns and len(scores.columns) == 1:
            columns = [str(scores.columns[0])]  # one column with a wrong cell: the message below names that cell
    if not columns:
        raise DataError(f"'{path}' has no numeric score column beside 'architecture'; add one, e.g. 'score'.")
    values = pd.DataFrame({c: pd.to_numeric(scores[c], errors="coerce").astype(float) for c in columns})
    _finite(path, scores, values)
    return _architectures(path, [str(text) for text in table["architecture"]], space), values


def _table(given: Path | str | pd.DataFrame | Mapping[str, float]) -> tuple[Path, pd.DataFrame]:
    """Return scores as a table, and what to call it in messages."""
    if isinstance(given, str | Path):
        return Path(given), _read(Path(given))
    if isinstance(given, pd.DataFrame):
        table = given
    else:
        table = pd.DataFrame({"architecture": list(given), "score": list(given.values())})
    if len(table) < 2:
        raise DataError(f"the scores have {len(table)} rows; a ranking needs at least 2.")
    return Path("scores"), table.reset_index(drop=True)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"'{path}' does not exist; expected a CSV or Parquet table with columns architecture, score.")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"'{path}' cannot be read as a table: {error}. Expected CSV or Parquet.") from error
    if len(table) < 2:
        raise DataError(f"'{path}' has {len(table)} rows; a ranking needs at least 2.")
    return table


def _finite(path: Path, given: pd.DataFrame, values: pd.DataFrame) -> None:
    for column in values:
        bad = np.flatnonzero(~np.isfinite(values[column].to_numpy()))
        if len(bad):
            shown = ", ".join(f"line {row + 2} ({_shown(given[column].iloc[row])})" for row in bad[:NAMED])
            raise DataError(
                f"'{path}': {len(bad)} values of column '{column}' are not finite numbers: {shown}. "
                "Leave architectures without a score out of the table."
            )


def _shown(cell: object) -> str:
    return repr(cell) if isinstance(cell, str) else str(cell)


def _architectures(path: Path, texts: list[str], space: SearchSpace) -> list[Architecture]:
    lines: dict[Architecture, int] = {}
    wrong: list[str] = []
    repeated: list[str] = []
    for line, text in enumerate(texts, start=2):
        try:
            architecture = space.parse(text)
        except InvalidArchitecture as error:
            wrong.append(f"line {line}: {error}{_nearest(text, space) if len(wrong) < NAMED else ''}")
            continue
        if architecture in lines:
            repeated.append(f"line {line} repeats line {lines[architecture]}: {text}")
        else:
            lines[architecture] = line
    for problem, named in (("unknown to the space", wrong), ("there twice", repeated)):
        if named:
            more = f"\n  and {len(named) - NAMED} more" if len(named) > NAMED else ""
            shown = "\n  ".join(named[:NAMED])
            raise DataError(f"'{path}': {len(named)} of {len(texts)} architectures are {problem}:\n  {shown}{more}")
    return list(lines)


def _nearest(text: str, space: SearchSpace) -> str:
    """Return a hint at the most similar architecture of an enumerable space."""
    if not space.is_listable:
        return ""
    matcher = difflib.SequenceMatcher(a="", b=text, autojunk=False)
    best, ratio = "", 0.0
    for candidate in map(space.format, space.enumerate()):
        matcher.set_seq1(candidate)
        if matcher.real_quick_ratio() > ratio and matcher.quick_ratio() > ratio and (new := matcher.ratio()) > ratio:
            best, ratio = candidate, new
    return f" Nearest: {best}" if ratio > 0.6 else ""


def keep_scores(
    scores: Path | str | pd.DataFrame | Mapping[str, float],
    *,
    results: Path,
    name: str | None = None,
    space: str = "nasbench201",
    truth: str | None = None,
    truth_path: Path | str | None = None,
    columns: Sequence[str] | None = None,
    source: str = "",
    seed: int = 0,
    trust_pickle: bool = False,
) -> Run:
    """Judge a table of scores by ground truth and keep it as a record with role EXTERNAL; nothing is trained.

    scores: a CSV or Parquet file, a frame, or scores by architecture; see `read_scores`. name: how the leaderboard
    calls it, by default the file's name. Several seeds of one method share a name. The pool is what the table holds:
    'all' or 'unique' when it is just that, else named after the file. The same scores under the same name are one
    record: another ground truth adds a judgement to it.
    """
    where = get_space(space)
    origin = Path(scores).name if isinstance(scores, str | Path) else "scores"
    architectures, values = read_scores(scores, where, columns)
    pool = Pool(_pool_name(where, architectures, origin), tuple(architectures))
    path = None if truth_path is None else str(truth_path)
    dataset = truth or (*where.truths, *where.files)[0]
    task = Task(where, dataset, pool, truth_path=path, trust_pickle=trust_pickle)
    task.require_all(f"'{origin}'")
    title = name or Path(origin).stem
    texts = [where.format(a) for a in architectures]
    # The same scores in another order of rows are the same record.
    order = np.argsort(np.array(texts))
    table = pd.DataFrame({"architecture": texts, **values}).iloc[order].reset_index(drop=True)
    content = _hash(f"{title}\n{table.to_csv(index=False)}")
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", title).strip("-")[:60] or "scores"
    folder = results / RUNS / f"{slug}-{space}-external-s{seed}-{content}"
    require_writable(folder, 1_000_000)
    with FileLock(folder / ".lock"):
        earlier = read_run(folder)
        if earlier is not None and earlier.finished:
            judged = judged_by(earlier, task.truth, where, path)
            run = earlier if judged is earlier else add_judgement(earlier, judged)
        else:
            truth_rows = task.table(tuple(architectures[row] for row in order))
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            record = Record(
                run_id=folder.name,
                identity=content,
                group=_hash(f"external {title} {space}"),
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
    return run


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _pool_name(space: SearchSpace, architectures: list[Architecture], origin: str) -> str:
    """Return the name of the pool a table covers."""
    members = set(architectures)
    for kind in KINDS if space.is_listable else ():  # a space too large to list has no such pools
        if members == set(select(space, kind).architectures):
            return kind
    return f"{origin}@{pool_digest(map(space.format, members))[:8]}"
