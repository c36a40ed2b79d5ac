"""Judging scores made elsewhere: a table of architectures and scores becomes a record like any other."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from supertau.benchmarks.files import require_writable
from supertau.benchmarks.judging.judge import judge, truth_table
from supertau.benchmarks.record import Run, read_run, write_record, write_table
from supertau.search_spaces.errors import DataError, InvalidArchitecture, SupertauError, unknown
from supertau.search_spaces.pool import KINDS, select
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.spaces import get_space

NAMED = 5
"""How many offending lines an error names."""


def read_scores(
    path: Path, space: SearchSpace, columns: Sequence[str] | None = None
) -> tuple[list[Architecture], pd.DataFrame]:
    """Return architectures and score columns (N rows, float) of a CSV or Parquet table.

    The table has a column 'architecture' in the space's text form; every other numeric column is a score, higher is
    better, unless `columns` names some (the first is the primary). Raises DataError for a file that cannot be read, a
    missing column, unknown or repeated architectures and values that are not finite numbers, naming lines.
    """
    table = _read(path)
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
    found: dict[Architecture, int] = {}
    wrong: list[str] = []
    repeated: list[str] = []
    for line, text in enumerate(texts, start=2):
        try:
            architecture = space.parse(text)
        except InvalidArchitecture as error:
            wrong.append(f"line {line}: {error}{_nearest(text, space) if len(wrong) < NAMED else ''}")
            continue
        if architecture in found:
            repeated.append(f"line {line} repeats line {found[architecture]}: {text}")
        else:
            found[architecture] = line
    for problem, lines in (("unknown to the space", wrong), ("there twice", repeated)):
        if lines:
            more = f"\n  and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
            shown = "\n  ".join(lines[:NAMED])
            raise DataError(f"'{path}': {len(lines)} of {len(texts)} architectures are {problem}:\n  {shown}{more}")
    return list(found)


def _nearest(text: str, space: SearchSpace) -> str:
    """Return a hint at the most similar architecture of an enumerable space."""
    if not space.is_listable:
        return ""
    known = [space.format(a) for a in space.enumerate()]
    matcher = difflib.SequenceMatcher(a="", b=text, autojunk=False)
    best, ratio = "", 0.0
    for candidate in known:
        matcher.set_seq1(candidate)
        if matcher.real_quick_ratio() > ratio and matcher.quick_ratio() > ratio and (new := matcher.ratio()) > ratio:
            best, ratio = candidate, new
    return f" Nearest: {best}" if ratio > 0.6 else ""


def score(
    path: Path,
    *,
    results: Path,
    name: str | None = None,
    space: str = "nasbench201",
    truth: str | None = None,
    truth_path: Path | None = None,
    columns: Sequence[str] | None = None,
    source: str = "",
    seed: int = 0,
    trust_pickle: bool = False,
) -> Run:
    """Judge a table of scores against ground truth and keep it as a record with role 'external'; nothing is trained.

    name: how the leaderboard calls it, by default the file's name. Several seeds of one method share a name. The pool
    is what the table holds: 'all' or 'unique' when it is just that, else named after the file.
    """
    where = get_space(space)
    architectures, values = read_scores(path, where, columns)
    dataset = truth or (*where.truths, *where.files)[0]
    names = [dataset] if truth_path else dict.fromkeys([dataset, *where.truths])
    truths = [where.truth(n, truth_path, trust_pickle=trust_pickle).table(architectures) for n in names]
    missing = [a for a in architectures if a not in truths[0]]
    if missing:
        raise DataError(
            f"ground truth '{truths[0].source}' lacks {len(missing)} of the {len(architectures)} architectures in "
            f"'{path}', the first is {where.format(missing[0])}."
        )
    title = name or path.stem
    texts = [where.format(a) for a in architectures]
    # The same scores in another order of rows are the same record.
    order = np.argsort(np.array(texts))
    table = pd.DataFrame({"architecture": texts, **values}).iloc[order].reset_index(drop=True)
    truths = [t for t in truths if all(a in t for a in architectures)]
    truth_rows = truth_table(where, truths, [architectures[row] for row in order])
    digest = hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:12]
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", title).strip("-") or "scores"
    folder = results / "runs" / f"{slug}-{space}-external-s{seed}-{digest}"
    require_writable(folder, 1_000_000)
    group = hashlib.sha256(f"external {title} {space}".encode()).hexdigest()[:12]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    pool = _pool_name(where, architectures, path)
    write_table(folder / "scores.parquet", table)
    write_table(folder / "truth.parquet", truth_rows)
    write_record(
        folder,
        {
            "run_id": folder.name, "identity": digest, "group": group, "status": "finished", "error": None,
            "config": {
                "estimator": title, "seed": seed, "space": space, "pool": pool, "truth": dataset,
                "truth_path": str(truth_path) if truth_path else None,
            },
            "role": "external", "title": title, "source": source or f"scores from {path.name}",
            "columns": list(values.columns), "environment": {}, "started": now, "finished": now, "cost": {},
            "truths": {t.dataset: t.describe() for t in truths},
            "judged": {"truth": dataset, "left_out_trial": None, "pool": pool, "architectures": len(architectures)},
            "metrics": judge(table, truth_rows, dataset), "diagnostics": {},
        },
    )  # fmt: skip
    held = read_run(folder)
    assert held is not None
    return held


def _pool_name(space: SearchSpace, architectures: list[Architecture], path: Path) -> str:
    """Return the name of the pool a table covers."""
    held = set(architectures)
    for kind in KINDS:
        try:
            if held == set(select(space, kind).architectures):
                return kind
        except SupertauError:  # a space too large to list has no such pools
            break
    digest = hashlib.sha256("\n".join(sorted(space.format(a) for a in held)).encode()).hexdigest()[:8]
    return f"{path.name}@{digest}"
