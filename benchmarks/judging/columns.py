"""What the columns of a table of scores mean: no architecture is ranked by a number that nobody meant as its score."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from supertau.benchmarks.judging.forms import Given, read_table
from supertau.benchmarks.judging.tables import (
    ARCHITECTURE,
    LONGEST,
    Table,
    is_missing,
    listed,
    normal,
    number,
    quoted,
    shown,
)
from supertau.search_spaces.errors import NAMED, DataError, InvalidArchitectures, shortened, unknown
from supertau.search_spaces.space import Architecture, SearchSpace

SCORE = "score"
NO_SCORES = frozenset(
    (
        *("id", "idx", "index", "no", "number", "row", "rank", "seed", "trial", "step", "epoch", "epochs"),
        *("arch_id", "arch_idx", "arch_index", "architecture_id", "architecture_idx", "architecture_index"),
    )
)
"""Columns of these names are scores only where the user says so."""

_NO_NAME = re.compile(r"(unnamed: ?\d+(_level_\d+)?)?", re.IGNORECASE)
_NO_VALUE = ("", "-", "nan", "none", "null", "na", "n/a", "<na>")
_LOSS = re.compile(r"loss|error|perplexity|regret|entropy|(^|_)(err|nll|ppl|mse|rmse|mae)(_|$)")
_PLACE = re.compile(r"(^|_)(rank|ranks|ranking|place|position)(_|$)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
USE_LOWER = "use --lower-is-better (in Python: lower_is_better=True)"
_ASK = "Say which is the score: --column NAME (in Python: columns=['NAME'])."


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Architectures and their scores, and what was taken from the table.

    architectures: N. scores: (N, columns) float, higher is better, named as in the table. architecture_column: '' where
    it has no name. left_out: numeric columns that were not taken. lower_is_better: whether the values are negated.
    notes: what a user should know; the first says what was taken.
    """

    architectures: list[Architecture]
    scores: pd.DataFrame
    architecture_column: str
    left_out: tuple[str, ...]
    lower_is_better: bool
    notes: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the score columns, the primary first."""
        return tuple(self.scores.columns)

    def as_dict(self) -> dict[str, Any]:
        """Return what a record keeps of where the scores come from."""
        return {
            "architectures": self.architecture_column,
            "columns": list(self.columns),
            "left_out": list(self.left_out),
            "lower_is_better": self.lower_is_better,
            "rows": len(self.architectures),
            "notes": list(self.notes),
        }


def read_scores(
    given: Given, space: SearchSpace, columns: Sequence[str] | None = None, *, lower_is_better: bool = False
) -> ScoreTable:
    """Return architectures and scores of a file, a frame, a series or a dictionary; see `forms`.

    The architectures are in a column 'architecture' (also called architectures, arch, arch_str, architecture_str,
    genotype), or in a column or index without a name. The score is the column 'score', else the only other numeric
    column. Columns without a name, booleans, columns called like an index, seed, epoch or rank, and columns that count
    the rows are no scores, unless `columns` names them (the first is the primary). Case and blanks in names do not
    matter. lower_is_better: negate the values.

    Raises DataError for what cannot be read, several columns that could be the score, unknown or repeated
    architectures, and scores that are not finite numbers; it names lines. Raises UnknownName for a column that the
    table does not have.
    """
    table = read_table(given, _is_architecture(space))
    key = _architecture_column(table, space)
    numbers = {at: _numbers(table, at) for at in range(len(table.names)) if at != key}
    asked = [columns] if isinstance(columns, str) else [str(name) for name in columns or ()]
    chosen = [_named(table, numbers, name) for name in dict.fromkeys(asked)] or [_score(table, numbers)]
    values = {table.names[at]: _finite(table, at, numbers[at]) for at in chosen}
    numeric = [at for at in numbers if _is_numeric(table.columns[at], numbers[at])]
    left_out = tuple(table.names[at] for at in numeric if at not in chosen)
    notes = _notes(table, key, chosen, left_out, values, lower_is_better)
    frame = pd.DataFrame({name: 0.0 - column if lower_is_better else column for name, column in values.items()})
    architectures = _architectures(table, table.columns[key], space)
    return ScoreTable(architectures, frame, table.names[key], left_out, lower_is_better, tuple(notes))


# --- architectures ----------------------------------------------------------------------------------------------------
def _is_architecture(space: SearchSpace) -> Callable[[object], bool]:
    """Return a function that says whether a value is an architecture in text.

    A number may be one, too, but is no sign of a column of them.
    """

    def is_architecture(value: object) -> bool:
        if not isinstance(value, str) or number(value) is not None or not 0 < len(value) <= LONGEST:
            return False
        try:
            space.read([value])
        except InvalidArchitectures:
            return False
        return True

    return is_architecture


def _architecture_column(table: Table, space: SearchSpace) -> int:
    named = [at for at, name in enumerate(table.names) if normal(name) in ARCHITECTURE]
    exact = [at for at in named if normal(table.names[at]) == ARCHITECTURE[0]]
    for candidates in (exact, named):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            names = quoted(*(table.names[at] for at in candidates))
            raise DataError(f"{table.source} has several columns of architectures: {names}. Leave one.")
    is_architecture = _is_architecture(space)
    holding = [at for at, column in enumerate(table.columns) if any(map(is_architecture, column[:NAMED]))]
    without_name = [at for at in holding if _NO_NAME.fullmatch(table.names[at])]
    if len(without_name) == 1:
        return without_name[0]
    hint = f" Column {quoted(table.names[holding[0]])} holds architectures: call it so." if len(holding) == 1 else ""
    if len(table.names) == 1 and not holding:
        hint = " Columns are separated by commas, semicolons or tabs."
    raise DataError(
        f"{table.source} has no column 'architecture'; its columns are: {listed(table.names)}.{hint} Expected e.g. "
        f"'architecture,score' with architectures like {space.format((0,) * len(space.choices))}."
    )


def _architectures(table: Table, values: list[Any], space: SearchSpace) -> list[Architecture]:
    wrong = {
        row: f"{shown(v)} is too long for an architecture."
        for row, v in enumerate(values)
        if isinstance(v, str) and len(v) > LONGEST
    }
    architectures: list[Architecture] = []
    if not wrong:
        try:
            architectures = space.read(values)
        except InvalidArchitectures as error:
            wrong = {row: error.rows[row] for row in sorted(error.rows)}
    if wrong:
        raise _error(table, "unknown to the space", [f"{table.at(row)}: {reason}" for row, reason in wrong.items()])
    first: dict[Architecture, int] = {}
    repeated = []
    for row, architecture in enumerate(architectures):
        if first.setdefault(architecture, row) != row:
            repeated.append(f"{table.at(row)} repeats {table.at(first[architecture])}: {shortened(str(values[row]))}")
    if repeated:
        raise _error(table, "there twice", repeated)
    return architectures


def _error(table: Table, problem: str, rows: list[str]) -> DataError:
    more = f"\n  and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    first = "\n  ".join(rows[:NAMED])
    return DataError(f"{table.source}: {len(rows)} of {len(table)} architectures are {problem}:\n  {first}{more}")


# --- scores -----------------------------------------------------------------------------------------------------------
def _numbers(table: Table, at: int) -> list[float | None]:
    """Return the values of a column as numbers, None for what is none."""
    values = table.columns[at]
    numbers = [number(value) for value in values]
    if (
        table.decimal_comma
        and any(map(_has_decimal_comma, values))
        and not any("." in value and plain is not None for value, plain in zip(values, numbers, strict=True))
    ):
        numbers = [
            number(value.replace(",", ".")) if _has_decimal_comma(value) else plain
            for value, plain in zip(values, numbers, strict=True)
        ]
    return numbers


def _has_decimal_comma(value: str) -> bool:
    return _DECIMAL_COMMA.fullmatch(value) is not None


def _named(table: Table, others: Sequence[int] | dict[int, Any], name: str) -> int:
    """Return the column that a user names; raise UnknownName when there is none, DataError when there are several."""
    exact = [at for at in others if table.names[at] == name]
    alike = exact or [at for at in others if normal(table.names[at]) == normal(name)]
    if not alike:
        raise unknown(f"score column in {table.source}", name, [table.names[at] for at in others])
    if len(alike) > 1:
        raise DataError(f"{table.source} has {len(alike)} columns '{name}'; rename or delete one.")
    return alike[0]


def _score(table: Table, numbers: dict[int, list[float | None]]) -> int:
    """Return the column that is the score without being named by the user."""
    called = [at for at in numbers if normal(table.names[at]) == SCORE]
    if len(called) == 1:
        return called[0]
    numeric = [at for at in numbers if _is_numeric(table.columns[at], numbers[at])]
    reasons = {at: _no_score(table.names[at], numbers[at]) for at in numeric}
    candidates = [at for at in numeric if reasons[at] is None]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = quoted(*(table.names[at] for at in candidates))
        raise DataError(f"{table.source} has several numeric columns: {names}. {_ASK}")
    if numeric:
        why = ", ".join(f"{quoted(table.names[at])} {reasons[at]}".strip() for at in numeric[:NAMED])
        raise DataError(f"{table.source} has no column that is clearly a score: {why}. {_ASK}")
    if len(numbers) == 1 and any(n is not None for n in next(iter(numbers.values()))):
        return next(iter(numbers))  # one column, most of it no numbers: an error names them
    raise DataError(f"{table.source} has no numeric score column beside 'architecture'; add one, e.g. 'score'.")


def _is_numeric(values: list[Any], numbers: list[float | None]) -> bool:
    """Return whether a column is one of numbers: most of its values are, those left out that stand for none."""
    filled = [
        n for v, n in zip(values, numbers, strict=True) if not (is_missing(v) or str(v).strip().lower() in _NO_VALUE)
    ]
    return len(filled) > 0 and sum(n is not None for n in filled) * 2 > len(filled)


def _no_score(name: str, numbers: list[float | None]) -> str | None:
    """Return why a numeric column is no score unless the user says so, None when it may be one."""
    if _NO_NAME.fullmatch(name):
        return "is no name" if name else ""
    if normal(name) in NO_SCORES:
        return "is called so"
    if any(numbers == list(range(first, first + len(numbers))) for first in (0, 1)):
        return "counts the rows"
    return None


def _finite(table: Table, at: int, numbers: list[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the scores of a column; raise DataError for values that are no finite numbers, or could be two."""
    name, given = table.names[at], table.columns[at]
    values = np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        wrong = ", ".join(f"{table.at(row)} ({shown(given[row])})" for row in bad[:NAMED])
        raise DataError(
            f"{table.source}: {len(bad)} values of column '{name}' are not finite numbers: {wrong}. "
            "Leave architectures without a score out of the table."
        )
    commas = [row for row, v in enumerate(given) if isinstance(v, str) and "," in v]
    if 0 < len(commas) < len(given) and all(_THOUSANDS.fullmatch(given[row]) for row in commas):
        raise DataError(
            f"{table.source}: the comma of {given[commas[0]]} in column '{name}', {table.at(commas[0])}, could be a "
            "decimal comma or separate thousands. Write points and no thousands."
        )
    return values


# --- notes ------------------------------------------------------------------------------------------------------------
def _notes(
    table: Table,
    key: int,
    chosen: list[int],
    left_out: tuple[str, ...],
    values: dict[str, Any],
    lower_is_better: bool,
) -> list[str]:
    """Return what a user should know of how a table was read."""
    direction = "lower" if lower_is_better else "higher"
    word = "columns" if len(chosen) > 1 else "column"
    taken = f"taken: {word} {quoted(*values)} of {len(table)} rows, {direction} is better"
    notes = [taken + (f"; left out: {quoted(*left_out)}" if left_out else "")]
    if normal(table.names[key]) != ARCHITECTURE[0]:
        notes.append(f"architectures: the column {quoted(table.names[key])}")
    if any(isinstance(v, str) and "," in v for at in chosen for v in table.columns[at]):
        notes.append("commas in numbers were read as decimal commas")
    for name, column in values.items():
        if lower_is_better:
            continue
        if _LOSS.search(normal(name)):
            notes.append(f"hint: column '{name}' looks like a loss; if lower is better, {USE_LOWER}")
        elif _PLACE.search(normal(name)) or np.array_equal(np.sort(column), np.arange(1, len(column) + 1)):
            notes.append(f"hint: column '{name}' looks like places in a ranking; if 1 is the best, {USE_LOWER}")
    return notes
