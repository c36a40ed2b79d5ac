"""A table of scores as it was read, whatever its form, and its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import pandas as pd

from supertau.search_spaces.errors import DataError, shortened

ARCHITECTURE = ("architecture", "architectures", "arch", "arch_str", "architecture_str", "genotype")
"""Names of the column of architectures, whatever their case and the blanks around them."""
_SHOWN = 100
"""Characters of a value, or of a name, that an error shows."""
LONGEST = 10_000
"""Characters of the longest value; no architecture and no number needs as many."""


@dataclass(frozen=True, eq=False)
class Table:
    """The values of a table as they stand in the file, by column.

    source: what messages call the table. names: of the columns, '' for one that has none. columns: the values of each,
    text where the file is text, None for one that is missing. numbers: of the rows, counted in `unit`: lines of a text
    file, or rows from 1. decimal_comma: whether a number may be written with one.
    """

    source: str
    names: list[str]
    columns: list[list[Any]]
    numbers: Sequence[int]
    unit: str = "row"
    decimal_comma: bool = False

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, row: int) -> str:
        """Return where a row stands, such as 'line 3'."""
        return f"{self.unit} {self.numbers[row]}"


def normal(name: str) -> str:
    """Return a column's name as names are compared: 'Arch Str ' is 'arch_str'."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def number(value: object) -> float | None:
    """Return a value as a number, None when it is none; True and False are none."""
    if isinstance(value, str):
        if "_" in value or len(value) > LONGEST:
            return None
    elif isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return float("inf")


def shown(value: object) -> str:
    """Return a value as an error shows it: as it stands in the file, cut when it is long."""
    if is_missing(value):
        return "empty"
    return shortened(repr(value) if isinstance(value, str) and number(value) is None else str(value), _SHOWN)


def quoted(*names: str) -> str:
    """Return names of columns for a message, in quotes."""
    return listed([f"'{name}'" if name else "one without a name" for name in names])


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return names for a message, the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shortened(name, _SHOWN) for name in names[:most]) + more


def is_missing(value: object) -> bool:
    """Return whether there is no value; NaN is one."""
    return value is None or value is pd.NA or (isinstance(value, str) and not value.strip())


def names_architectures(names: object) -> bool:
    """Return whether one of the names of columns is that of the architectures."""
    return isinstance(names, dict | list) and any(isinstance(n, str) and normal(n) in ARCHITECTURE for n in names)


def unreadable(source: str, reason: str) -> DataError:
    """Return the error for what cannot be read at all."""
    return DataError(f"{source} cannot be read as a table: {reason}. Expected CSV, JSON or Parquet.")
