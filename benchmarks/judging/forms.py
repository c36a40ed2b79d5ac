"""Tables of scores in the forms that people have: CSV, JSON, Parquet, frames, dictionaries. All become one `Table`.

The content decides the form, never the name of the file, and text is UTF-8 whatever the locale. What the columns mean
is decided elsewhere (`columns`).

CSV       see `delimited`
JSON      {architecture: score}; a list of objects, or an object on each line; {architecture: {column: value}};
          {column: [values]}; {column: {row: value}}; a list of [architecture, score], with or without a header
Parquet   columns, and what pandas stored as the index
gzip      of any of them
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from supertau.benchmarks.judging.delimited import lines_of, read_delimited
from supertau.benchmarks.judging.tables import LONGEST, Table, listed, names_architectures, shown, unreadable
from supertau.search_spaces.errors import NAMED, DataError, reason, shortened
from supertau.search_spaces.files import NotText, decode, is_file

Given: TypeAlias = Path | str | pd.DataFrame | pd.Series | Mapping[Any, float]
"""What `read_table` reads."""

_OTHER_FORMS = {
    b"PK\x03\x04": "an Excel or ZIP file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy file",
    b"ARROW1": "a Feather file",
    b"SQLite": "an SQLite file",
    b"\x80": "a pickle",
}
# Text that is meant to be JSON, whereas a list of Python's has no double quotes.
_JSON = re.compile(r'\s*(\{|\[\s*[\[{"])')


def read_table(given: Given, is_architecture: Callable[[object], bool]) -> Table:
    """Return the table in a file, a frame, a series or a dictionary {architecture: score}.

    is_architecture: whether a value is the text of an architecture; it tells the forms of JSON apart. Raises DataError
    for what is no table, for rows that do not have the header's number of values, and for fewer than two rows.
    """
    if isinstance(given, str | Path):
        table = _file(Path(given), is_architecture)
    elif isinstance(given, pd.Series):
        table = _frame(given.to_frame("score" if given.name is None else str(given.name)))
    elif isinstance(given, pd.DataFrame):
        table = _frame(given)
    else:
        table = _mapping("'scores'", given)
    if len(table) < 2:
        raise DataError(f"{table.source} has {len(table)} rows; a ranking needs at least 2.")
    return table


# --- files ------------------------------------------------------------------------------------------------------------
def _file(path: Path, is_architecture: Callable[[object], bool]) -> Table:
    source = f"'{shortened(str(path))}'"
    if not is_file(path):
        raise DataError(f"{source} does not exist; expected a table with columns architecture, score.")
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(source, reason(error)) from error
    if content.startswith(b"PAR1"):
        return _parquet(source, content)
    text = _text(source, content)
    first = text.lstrip()[:1]
    if not first:
        raise unreadable(source, "it is empty")
    if first in "{[":
        try:
            return _json(source, _loaded(source, text), is_architecture)
        except (ValueError, RecursionError) as error:
            table = _json_lines(source, text)
            if table is not None:
                return table
            if _JSON.match(text):
                why = "it is nested too deeply" if isinstance(error, RecursionError) else error
                raise DataError(f"{source} cannot be read as JSON: {why}.") from error
    return read_delimited(source, text, is_architecture)


def _text(source: str, content: bytes) -> str:
    for beginning, kind in _OTHER_FORMS.items():
        if content.startswith(beginning):
            raise unreadable(source, f"it is {kind}")
    try:
        text = decode(content)
    except NotText as error:
        raise unreadable(source, str(error)) from error
    if "\0" in text:
        raise unreadable(source, "it is not text")
    return text


def _parquet(source: str, content: bytes) -> Table:
    # Slow to import, and most tables are text.
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(pa.BufferReader(content)) as file:
            table = file.read()
        columns = [column.to_pylist() for column in table.columns]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable(source, f"it is damaged Parquet ({error})") from error
    names = ["" if re.fullmatch(r"__index_level_\d+__", name) else name for name in table.column_names]
    return Table(source, names, columns, range(1, table.num_rows + 1))


# --- frames and dictionaries ------------------------------------------------------------------------------------------
def _frame(frame: pd.DataFrame) -> Table:
    """Return a frame with its index as further columns, unless it only counts the rows and has no name."""
    names, columns = [], []
    for level in range(frame.index.nlevels):
        index = frame.index.get_level_values(level)
        if index.name is not None or not pd.api.types.is_integer_dtype(index.dtype):
            names.append("" if index.name is None else str(index.name))
            columns.append(index.tolist())
    for at, name in enumerate(frame.columns):
        if str(name) not in names[: frame.index.nlevels]:  # set_index(drop=False) leaves a column twice
            names.append(str(name))
            columns.append(frame.iloc[:, at].tolist())
    return Table("'scores'", names, columns, range(1, len(frame) + 1))


def _mapping(source: str, given: Mapping[Any, Any]) -> Table:
    return Table(source, ["architecture", "score"], [list(given), list(given.values())], range(1, len(given) + 1))


# --- JSON -------------------------------------------------------------------------------------------------------------
def _loaded(source: str, text: str) -> Any:
    """Return the value of a text in JSON; raise DataError where an object names something twice, ValueError else."""

    def of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known = dict(pairs)  # of equal keys this keeps the last
        if len(known) < len(pairs):
            first: dict[str, int] = {}
            at, key = next((at, key) for at, (key, _) in enumerate(pairs, 1) if first.setdefault(key, at) != at)
            raise DataError(f"{source}: entry {at} of an object repeats entry {first[key]}: {shown(key)}.")
        return known

    # Python refuses to convert a number of very many digits; it stays text, and is refused as a score.
    return json.loads(text, object_pairs_hook=of_pairs, parse_int=lambda d: int(d) if len(d) <= LONGEST // 10 else d)


def _json_lines(source: str, text: str) -> Table | None:
    """Return the table of a text with one object on each line, None when the text is not that."""
    lines = [(n, line) for n, line in enumerate(lines_of(text), start=1) if line.strip()]
    try:
        objects = [_loaded(source, line) for _, line in lines]
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(each, dict) for each in objects):
        return None
    return _records(source, objects, [n for n, _ in lines], "line")


def _json(source: str, value: Any, is_architecture: Callable[[object], bool]) -> Table:
    if isinstance(value, dict) and value:
        values = list(value.values())
        if names_architectures(value):
            return _by_column(source, value)
        if all(isinstance(inner, dict) and inner for inner in values):
            if names_architectures(values[0]):  # {row: {column: value}}
                return _records(source, values, range(1, len(values) + 1))
            if any(map(is_architecture, list(values[0])[:NAMED])):  # {column: {architecture: score}}
                return _by_column(source, {"architecture": {key: key for key in values[0]}, **value})
            rows = [{"architecture": key, **inner} for key, inner in value.items()]
            return _records(source, rows, range(1, len(rows) + 1))
        return _mapping(source, value)
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return _records(source, value, range(1, len(value) + 1))
    if isinstance(value, list) and value and all(isinstance(each, list) for each in value):
        header = value[0] if names_architectures(value[0]) else None
        rows = value[1:] if header else value
        names = [str(name) for name in header or ("architecture", "score")]
        wrong = next((at for at, row in enumerate(rows, start=1) if len(row) != len(names)), None)
        if wrong is not None:
            raise DataError(f"{source}: row {wrong} has {len(rows[wrong - 1])} values, expected {listed(names)}.")
        return Table(source, names, [list(column) for column in zip(*rows, strict=True)], range(1, len(rows) + 1))
    raise unreadable(source, "its JSON is neither {architecture: score} nor a list of objects with 'architecture'")


def _by_column(source: str, columns: dict[str, Any]) -> Table:
    """Return the table of {column: [values]} or {column: {row: value}}; rows are matched by their keys."""
    kinds = {type(values) for values in columns.values()}
    first = next(iter(columns.values()))
    if kinds == {dict}:
        wrong = next((name for name, values in columns.items() if values.keys() != first.keys()), None)
        read = [[values.get(key) for key in first] for values in columns.values()]
    elif kinds == {list}:
        wrong = next((name for name, values in columns.items() if len(values) != len(first)), None)
        read = list(columns.values())
    elif kinds & {list, dict}:
        raise unreadable(source, "some columns of its JSON are lists or objects, others are not")
    else:  # a single object
        return _records(source, [columns], [1])
    if wrong is not None:
        raise DataError(f"{source}: column {shown(wrong)} does not have the {len(first)} rows of the first.")
    return Table(source, list(columns), read, range(1, len(first) + 1))


def _records(source: str, rows: Sequence[dict[str, Any]], numbers: Sequence[int], unit: str = "row") -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Table(source, names, [[row.get(name) for row in rows] for name in names], numbers, unit)
