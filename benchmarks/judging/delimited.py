"""Tables in text: values separated by commas, semicolons or tabs.

The first line names the columns. Lines that begin with # are comments; the last one above the values may be the header,
as numpy.savetxt writes it. A genotype may hold commas, quoted or within its brackets. Decimal commas are read where the
separator is no comma. Lines are counted as an editor counts them, comments and blank lines included.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable

from supertau.benchmarks.judging.tables import (
    LONGEST,
    Table,
    listed,
    names_architectures,
    number,
    shown,
    unreadable,
)
from supertau.search_spaces.errors import NAMED, DataError

SEPARATORS = "\t;,"
_BRACKETS = 200
"""How many brackets a genotype has at most."""
# A quoted text, a bracket, or a separator.
_MARK = re.compile(r'"[^"]*(?:""[^"]*)*"|[()\[\]{}]|[,;\t]')


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, whatever ends them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # splitlines would end lines at form feeds, too


def read_delimited(source: str, text: str, is_architecture: Callable[[object], bool]) -> Table:
    """Return the table of a text; raise DataError for one without a header, and for rows that do not fit it."""
    lines = [(n, line) for n, line in enumerate(lines_of(text), start=1) if line.strip()]
    values = [(n, line) for n, line in lines if not line.lstrip().startswith("#")]
    for n, line in values:
        if len(line) > 10 * LONGEST:
            raise unreadable(source, f"line {n} has {len(line):,} characters")
    if not values:
        raise unreadable(source, "it holds comments only")
    above = [line.lstrip(" \t#") for n, line in lines if n < values[0][0]]
    candidates = [values[0][1], *above[-1:]]
    # The header is split where that leaves a column of architectures, else where it is split most.
    for header in candidates:
        separator = next((s for s in SEPARATORS if names_architectures(_split(header, s))), None)
        if separator is not None:
            break
    else:
        header = candidates[0]
        separator = max(SEPARATORS[::-1], key=lambda s: len(_split(header, s)))
    names = _split(header, separator)
    if any(is_architecture(name) for name in names) or all(number(name) is not None for name in names):
        raise DataError(
            f"{source} has no header: line {values[0][0]} is {shown(header)}. Put a line "
            f"'architecture{separator}score' above it."
        )
    body = values[1:] if header is values[0][1] else values
    rows, numbers = _rows(source, body, separator, names)
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]
    return Table(source, names, columns, numbers, "line", decimal_comma=separator != ",")


def _split(line: str, separator: str) -> list[str]:
    """Return the values of a line; separators within quotes and brackets are left alone."""
    parts, start, depth = [], 0, 0
    for match in _MARK.finditer(line):
        mark = match[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif mark == separator and depth <= 0:
            parts.append(line[start : match.start()])
            start = match.end()
    values = [part.strip() for part in (*parts, line[start:])]
    return [v[1:-1].replace('""', '"').strip() if len(v) > 1 and v[0] == v[-1] == '"' else v for v in values]


def _rows(
    source: str, lines: list[tuple[int, str]], separator: str, names: list[str]
) -> tuple[list[list[str]], list[int]]:
    """Return the values of each row, and its line; raise DataError for rows that do not fit the header."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    wrong: dict[int, list[str]] = {}
    reader = csv.reader((line for _, line in lines), delimiter=separator, skipinitialspace=True)
    start = 0
    try:
        for row in reader:
            at, line = lines[start]
            is_one_line, start = reader.line_num == start + 1, reader.line_num
            row = [value.strip() for value in row]
            if len(row) != len(names) and is_one_line and 0 < line.count("(") + line.count("[") <= _BRACKETS:
                row = _split(line, separator)  # a genotype whose commas are not quoted
            if not any(row):
                continue  # a spreadsheet's empty row
            if len(row) != len(names):
                if not is_one_line:
                    raise DataError(f"{source}: a quote that line {at} opens is not closed there.")
                wrong[at] = row
            rows.append(row)
            numbers.append(at)
    except csv.Error as error:
        reason = f"{error}. Is a quote not closed?"
        raise DataError(f"{source}: the row that begins in line {lines[start][0]} cannot be read: {reason}") from error
    if wrong:
        raise _misfit(source, wrong, len(rows), separator, names)
    return rows, numbers


def _misfit(source: str, wrong: dict[int, list[str]], rows: int, separator: str, names: list[str]) -> DataError:
    """Return the error for rows that have more or fewer values than the header has names."""
    width, mark = len(names), "tab" if separator == "\t" else f"'{separator}'"
    lines = ", ".join(f"line {at} has {len(row)}" for at, row in list(wrong.items())[:NAMED])
    more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    advice = ""
    if all(len(row) > width and not any(row[width:]) for row in wrong.values()):
        advice = f" They end in a {mark} that the header does not have; delete it."
    elif not names[-1]:
        advice = f" The header ends in a {mark}; delete it."
    elif separator == "," and all(len(row) > width and row[-1].isdecimal() for row in wrong.values()):
        advice = " If they hold decimal commas, write points, or separate the columns by semicolons."
    return DataError(
        f"{source}: {len(wrong)} of {rows} rows do not fit the header, which names {width} columns separated by "
        f"{mark} ({listed(names)}): {lines}{more}.{advice}"
    )
