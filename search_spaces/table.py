"""Ground truth as a plain table: CSV, compressed CSV or Parquet.

One row per architecture. Columns: ``architecture`` (the space's text form), and either ``accuracy`` or one column per
training seed, ``seed_<name>`` or ``accuracy_<name>``. Accuracies are percentages; an empty value is a seed that does
not exist. Other columns are ignored. The table may say itself what the numbers are: in CSV in a first line
``# supertau {...}``, in Parquet in the metadata of the schema, as `write_table` writes it.
"""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import io
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, InvalidArchitectures, reason
from supertau.search_spaces.files import NotText, decode
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.truth import GroundTruth

SUFFIXES = (".csv", ".csv.gz", ".parquet")

_MARK = "# supertau "
_KEY = b"supertau"
_UNSTATED = "not stated"


def is_table(path: Path) -> bool:
    """Return whether a file name ends as a table's does."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(
    path: Path, space: SearchSpace, dataset: str, *, split: str | None = None, epochs: int | None = None
) -> GroundTruth:
    """Return the ground truth of a table, rows in the table's order; see the module for its columns.

    dataset, split, epochs: what the accuracies are. They must agree with what the table says itself, and stand in for
    what it does not say (a split that neither states is 'not stated'). Raises DataError with the line (CSV) or row
    (Parquet) and its content: a column that is missing, an architecture that is unknown or there twice, a value that
    is not a percentage, a file that is damaged or truncated.
    """
    place = "row" if path.name.lower().endswith(".parquet") else "line"
    about, header, rows = (read_parquet if place == "row" else read_csv)(path)
    if "dataset" in about:
        about["dataset"] = space.resolve_dataset(str(about["dataset"]))
    for name, asked in (("space", space.name), ("dataset", dataset), ("split", split), ("epochs", epochs)):
        if asked is not None and about.get(name, asked) != asked:
            raise DataError(f"{path}: the table says its {name} is {about[name]!r}, not {asked!r}.")
    key, columns = _columns(path, header)
    numbered = list(rows)
    for number, row in numbered:
        if len(row) != len(header):
            raise DataError(
                f"{path}, {place} {number}: {len(row)} values, expected {len(header)} ({', '.join(header)})."
            )
    architectures = read_column(path, space, [(f"{place} {number}", row[key]) for number, row in numbered])
    lines: dict[Architecture, int] = {}
    values: list[list[float]] = []
    for architecture, (number, row) in zip(architectures, numbered, strict=True):
        where = f"{path}, {place} {number}"
        if architecture in lines:
            raise DataError(f"{where}: {row[key]} stands on {place} {lines[architecture]} already.")
        lines[architecture] = number
        values.append([_percent(row[at], f"{where}, column '{header[at]}'") for at in columns.values()])
        if all(math.isnan(value) for value in values[-1]):
            raise DataError(f"{where}: no accuracy for {row[key]}.")
    if not lines:
        raise DataError(f"{path}: the table has no rows.")
    if len(lines) != about.get("architectures", len(lines)):
        raise DataError(f"{path}: {len(lines):,} rows of {about['architectures']}; the file is truncated.")
    trials = np.array(values, dtype=np.float64)
    if np.nanmax(trials) <= 1:
        raise DataError(f"{path}: no accuracy is above 1, so they look like fractions; percentages are expected.")
    return GroundTruth(
        space=space.name,
        dataset=dataset,
        split=split or about.get("split", _UNSTATED),
        epochs=about.get("epochs") if epochs is None else epochs,
        source=str(about.get("source", path.name)),
        sha256=digest(path, "sha256"),
        architectures=tuple(lines),
        trials=trials,
        seeds=tuple(columns),
        chance=about.get("chance"),
    )


def read_column(path: Path, space: SearchSpace, values: Sequence[tuple[str, object]]) -> list[Architecture]:
    """Return the architectures of a file's values; each with what to call its place, such as 'line 7'.

    Raises DataError that names the file and the first offending places.
    """
    try:
        return space.read([value for _, value in values])
    except InvalidArchitectures as error:
        raise DataError(error.message(str(path), lambda row: values[row][0])) from error


def table_metadata(path: Path) -> dict[str, Any]:
    """Return what a table says about itself, including `more` of `write_table`."""
    return (read_parquet if path.name.lower().endswith(".parquet") else read_csv)(path)[0]


@contextmanager
def packaged_file(space: SearchSpace, dataset: str) -> Iterator[Path]:
    """Yield the path of a table that comes with the project, ``search_spaces/tables/<space>-<dataset>.parquet``."""
    file = importlib.resources.files("supertau.search_spaces") / "tables" / f"{space.name}-{dataset}.parquet"
    with importlib.resources.as_file(file) as path:
        if not path.is_file():
            raise DataError(
                f"{path}: the ground truth '{dataset}' of {space.name} comes with supertau and is missing from this "
                "installation. Install it again."
            )
        yield path


def packaged(space: SearchSpace, dataset: str, *, split: str | None = None, epochs: int | None = None) -> GroundTruth:
    """Return a table that comes with the project."""
    with packaged_file(space, dataset) as path:
        return read_table(path, space, dataset, split=split, epochs=epochs)


def write_table(truth: GroundTruth, path: Path, space: SearchSpace, more: Mapping[str, object] | None = None) -> None:
    """Write ground truth so that read_table returns the same numbers, seeds, split, epochs and source.

    path: ends in .csv, .csv.gz or .parquet; replaced at once when it exists. more: further provenance, JSON-ready.
    Same truth, same bytes.
    """
    if not is_table(path):
        raise DataError(f"{path}: a table's name ends in {', '.join(SUFFIXES)}.")
    about = {**(more or {}), **truth.describe(), "source_sha256": truth.sha256}
    for name in ("sha256", "seeds"):
        del about[name]
    header = ["architecture", *(name if name == "accuracy" else f"seed_{name}" for name in truth.seeds)]
    texts = [space.format(architecture) for architecture in truth.architectures]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.name.lower().endswith(".parquet"):
            _write_parquet(partial, about, header, texts, truth)
        else:
            content = io.StringIO()
            content.write(f"{_MARK}{json.dumps(about, sort_keys=True)}\n")
            writer = csv.writer(content, lineterminator="\n")
            writer.writerow(header)
            for text, trials in zip(texts, truth.trials.tolist(), strict=True):
                writer.writerow([text, *("" if math.isnan(value) else repr(value) for value in trials)])
            data = content.getvalue().encode()
            # a time stamp in the gzip header would make every write different
            partial.write_bytes(gzip.compress(data, mtime=0) if path.name.lower().endswith(".gz") else data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_parquet(
    path: Path, about: dict[str, object], header: list[str], texts: list[str], truth: GroundTruth
) -> None:
    import pyarrow as pa  # as in `read_parquet`
    from pyarrow import parquet

    columns = [pa.array(texts), *(pa.array(column, from_pandas=True) for column in truth.trials.T.copy())]
    table = pa.Table.from_arrays(columns, names=header)
    parquet.write_table(table.replace_schema_metadata({_KEY: json.dumps(about, sort_keys=True)}), path)


def read_csv(path: Path) -> tuple[dict[str, Any], list[str], Iterator[tuple[int, list[Any]]]]:
    """Return what a CSV file says about itself, its header, and line number and values of each row.

    The file may be compressed. Empty rows, and comments before the header, are left out. Raises DataError for a file
    that cannot be read.
    """
    try:
        content = path.read_bytes()
        text = decode(gzip.decompress(content) if path.name.lower().endswith(".gz") else content)
    except NotText as error:
        raise DataError(f"{path}: {error}.") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path, "CSV", error) from error
    about: dict[str, Any] = {}
    skipped = 0
    lines = text.splitlines()
    while skipped < len(lines) and (not lines[skipped].strip() or lines[skipped].startswith("#")):
        if lines[skipped].startswith(_MARK):
            about = _about(path, lines[skipped].removeprefix(_MARK))
        skipped += 1
    reader = csv.reader(lines[skipped:], strict=True)

    def rows() -> Iterator[tuple[int, list[Any]]]:
        try:
            for row in reader:
                if row:
                    yield reader.line_num + skipped, row
        except csv.Error as error:
            raise _unreadable(path, f"CSV (line {reader.line_num + skipped})", error) from error

    numbered = rows()
    _, header = next(numbered, (0, []))
    return about, [name.strip() for name in header], numbered


def read_parquet(path: Path) -> tuple[dict[str, Any], list[str], Iterator[tuple[int, list[Any]]]]:
    """Return the same of a Parquet file as `read_csv`, rows numbered from 1."""
    # Slow to import, and most ground truth is not Parquet. read_table of pyarrow would import pandas, too.
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, "Parquet", error) from error
    stored = (table.schema.metadata or {}).get(_KEY)
    about = _about(path, stored.decode()) if stored else {}
    columns: Iterable[list[Any]] = [column.to_pylist() for column in table.columns]
    return about, list(table.column_names), enumerate((list(row) for row in zip(*columns, strict=True)), start=1)


def _about(path: Path, text: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except ValueError as error:
        raise _unreadable(path, "a table whose description is JSON", error) from error
    if not isinstance(about, dict):
        raise DataError(f"{path}: the table's description is not a JSON object.")
    return about


def _columns(path: Path, header: list[str]) -> tuple[int, dict[str, int]]:
    """Return the position of the architectures and, by seed name, those of the accuracies."""
    present = f"The table has: {', '.join(header) or 'no columns'}."
    if len(set(header)) != len(header):
        raise DataError(f"{path}: a column name stands twice. {present}")
    if "architecture" not in header:
        raise DataError(f"{path}: no column 'architecture'. {present}")
    seeds: dict[str, int] = {}
    for at, name in enumerate(header):
        prefix, _, seed = name.partition("_")
        if prefix in ("seed", "accuracy") and seed:
            if seed in seeds:
                raise DataError(f"{path}: two columns for the seed '{seed}'. {present}")
            seeds[seed] = at
    if "accuracy" in header:
        if seeds:
            raise DataError(f"{path}: give either 'accuracy' or one column per seed, not both. {present}")
        seeds["accuracy"] = header.index("accuracy")
    if not seeds:
        raise DataError(f"{path}: no column 'accuracy', 'seed_<name>' or 'accuracy_<name>'. {present}")
    return header.index("architecture"), seeds


def _percent(value: object, where: str) -> float:
    """Return an accuracy, NaN for an empty value."""
    text = "" if value is None else str(value).strip()
    if text.lower() in ("", "nan"):
        return math.nan
    try:
        percent = float(text)
    except ValueError:
        raise DataError(f"{where}: '{text}' is not a number.") from None
    if not 0 <= percent <= 100:
        raise DataError(f"{where}: {text} is not a percentage between 0 and 100.")
    return percent


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(
        f"{path}: cannot be read as {kind} ({type(error).__name__}: {reason(error)}); is the file complete?"
    )
