"""Files that list architectures, in the shapes that people have: lines of text, CSV with a header, JSON."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from supertau.search_spaces.errors import DataError, reason, shortened
from supertau.search_spaces.files import NotText, decode
from supertau.search_spaces.table import read_parquet
from supertau.search_spaces.values import is_number

COLUMNS = ("architecture", "arch", "arch_str", "genotype")
"""Names of a column of architectures, the preferred first; capital letters and blanks around them do not count."""

_QUOTED = re.compile(r'"((?:[^"]|"")*)"\s*(?:[,;\t].*)?')


class Listed(NamedTuple):
    """One architecture of a file: what its place is called ('line', 'row', 'entry'), its number from 1, the value."""

    kind: str
    number: int
    value: object

    @property
    def place(self) -> str:
        """What a message calls the place."""
        return f"{self.kind} {self.number}"


def read_listing(path: Path) -> list[Listed]:
    """Return what a file lists, not yet read as architectures.

    JSON: a list of architectures; a list of objects, or an object, with a key of COLUMNS; or an object whose keys are
    architectures. Parquet: a table with a column of COLUMNS. Text, which may be compressed: an architecture per line,
    or a table whose header has a name of COLUMNS and whose values are separated by commas, semicolons or tabs. Further
    values, empty lines and lines that begin with '#' are left out. Raises DataError for a file that is damaged, that
    is not text in UTF-8, or that has no such column.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"PAR1"):
            return _of_parquet(path)
        text = decode(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
    except (OSError, EOFError, zlib.error, NotText) as error:
        raise DataError(f"pool file '{path}' cannot be read as text: {reason(error)}.") from error
    is_json = path.suffix.lower() == ".json"
    if is_json or text.lstrip()[:1] in ("[", "{"):
        try:
            return _of_json(json.loads(text, object_pairs_hook=_object))
        except (ValueError, RecursionError) as error:
            if is_json:  # anything else is text, such as genotypes in brackets
                raise DataError(f"pool file '{path}' cannot be read as JSON: {error}.") from error
    return _of_lines(path, text.splitlines())


def column(names: list[str]) -> int | None:
    """Return which of some names is that of a column of architectures, None when none is."""
    tidy = [name.strip().lower() for name in names]
    return next((tidy.index(name) for name in COLUMNS if name in tidy), None)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, of_key in pairs:
        if key in value:
            raise ValueError(f"the key '{shortened(key)}' is there twice")
        value[key] = of_key
    return value


def _of_json(content: Any) -> list[Listed]:
    if isinstance(content, dict):
        names = list(content)
        at = column(names)
        content = names if at is None else content[names[at]]
        if isinstance(content, dict):  # a frame as pandas writes it, values by row
            content = list(content.values())
    if not isinstance(content, list):
        raise ValueError("expected a list of architectures, or an object with one for each key")
    values = []
    for entry in content:
        at = column(list(entry)) if isinstance(entry, dict) else None
        values.append(entry if at is None else entry[list(entry)[at]])
    return [Listed("entry", number, value) for number, value in enumerate(values, start=1)]


def _of_parquet(path: Path) -> list[Listed]:
    _, header, rows = read_parquet(path)
    at = column(header)
    if at is None:
        raise DataError(f"pool file '{path}' has no column 'architecture', only {', '.join(header)}.")
    return [Listed("row", number, row[at]) for number, row in rows]


def _of_lines(path: Path, lines: list[str]) -> list[Listed]:
    wanted = [at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    if not wanted:
        return []
    for delimiter in ",;\t":
        header = next(csv.reader([lines[wanted[0]]], delimiter=delimiter, skipinitialspace=True))
        at = column(header)
        if at is not None:
            return _of_table(path, lines, wanted[0] + 1, delimiter, at)
    return [Listed("line", at + 1, _first_value(lines[at])) for at in wanted]


def _of_table(path: Path, lines: list[str], start: int, delimiter: str, at: int) -> list[Listed]:
    listed = []
    reader = csv.reader(lines[start:], delimiter=delimiter, skipinitialspace=True)
    try:
        for row in reader:
            line = start + reader.line_num
            if not "".join(row).strip() or row[0].startswith("#"):
                continue
            if len(row) <= at:
                raise DataError(f"pool file '{path}', line {line}: no value in column {at + 1}.")
            listed.append(Listed("line", line, row[at].strip()))
    except csv.Error as error:
        line = start + reader.line_num
        raise DataError(f"pool file '{path}', line {line}: cannot be read as CSV: {error}.") from error
    return listed


def _first_value(line: str) -> str:
    """Return the architecture of a line: the first value where it is quoted, or where the line has no brackets."""
    line = line.strip()
    quoted = _QUOTED.fullmatch(line)
    if quoted:
        return quoted[1].replace('""', '"').strip()
    # A genotype has commas of its own; where it is a value among others, a CSV writer quotes it.
    if re.search(r"[(\[{]", line):
        return line.rstrip(",;")
    first, *others = (value.strip() for value in re.split(r"[,;\t]", line))
    # The number of a row in front of the architecture is no architecture.
    return line if is_number(first) and not all(map(_is_score, others)) else first


def _is_score(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
