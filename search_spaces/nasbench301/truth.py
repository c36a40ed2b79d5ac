"""Ground truth of NAS-Bench-301: the table that comes with the suite, surrogate models, or a table of their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from supertau.search_spaces import table
from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.cache import cache_folder, digest
from supertau.search_spaces.errors import DataError, unknown
from supertau.search_spaces.files import existing
from supertau.search_spaces.nasbench301.package import PackageSurrogate
from supertau.search_spaces.nasbench301.surrogate import EPOCHS, SPLIT, EnsembleSurrogate, OwnSurrogate, member_files
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.truth import GroundTruth, Surrogate, require_choice

DATASETS = ("micro", "cifar10")
READERS = ("own", "package")

POOL = "nb301_5896.csv.gz"
FOLDER = "nb301"
"""Below the cache folder: where surrogate models or the table POOL are looked for."""

_POOL_COLUMN = "nb301_surrogate_acc"
_POOL_SHA256 = "a495ed35fd7c9004fbb94f33db5c972d84ee27c9e85697359c319223459ddfce"
_POOL_SOURCE = "NAS-Bench-301 surrogate values, pool of Ning et al. 2021 (review supplement of arXiv:2008.03064)"
_MODELS = ("xgb_v1.0", "xgb_v0.9")
"""Folders of the published accuracy models of boosted trees, the preferred first."""
_DOWNLOAD = (
    "the surrogate models v1.0, https://ndownloader.figshare.com/files/24992018 (file 24992018 of figshare article "
    "13061510; 1,848,669,012 bytes; sha256 e807411d6a454841965d3157a977896683b716dc48743049bd6be0ce94210824, which a "
    "third party gives, not the authors)"
)


def load(
    space: SearchSpace,
    dataset: str,
    path: Path | None = None,
    *,
    split: str | None = None,
    epochs: int | None = None,
    reader: str = "own",
    trust_pickle: bool = False,
) -> GroundTruth | Surrogate:
    """Return ground truth: of a path; without one, 'micro' as built in or 'cifar10' from the cache folder.

    path: a folder of surrogate models; a table with the columns genotype and nb301_surrogate_acc; or any table of the
    suite (.csv, .csv.gz, .parquet), which may be of another data set. split, epochs: what the accuracies have to be;
    no source has a choice. reader: for surrogate models, 'own' or 'package' (nasbench301). trust_pickle: read models
    whose pickle uses names outside the allow-list. Raises DataError saying what can be read, or what to get and where
    to put it.
    """
    dataset = space.resolve_dataset(dataset)
    if reader not in READERS:
        raise unknown("reader", reader, READERS)
    if path is None:
        if dataset not in DATASETS:
            raise unknown("data set", dataset, DATASETS)
        if dataset == "micro":
            return table.packaged(space, dataset, split=split, epochs=epochs)
        path = _available(cache_folder() / FOLDER)
    path = existing(path)
    if path.is_file() and table.is_table(path) and not _is_pool(path):
        return table.read_table(path, space, dataset, split=split, epochs=epochs)
    if path.is_dir() or table.is_table(path):
        if dataset != "cifar10":
            raise DataError(f"{path}: NAS-Bench-301's surrogates predict accuracies on cifar10, not on '{dataset}'.")
        require_choice(str(path), (split, epochs), (SPLIT, EPOCHS))
        return _surrogate(path, reader, trust_pickle) if path.is_dir() else read_pool(path, space)
    raise DataError(
        f"{path}: not a kind of ground truth that can be read. Expected a folder of NAS-Bench-301's surrogate models "
        f"or a table ({', '.join(table.SUFFIXES)})."
    )


def _available(folder: Path) -> Path:
    """Return the models or the table in a folder; raise DataError that says what to get."""
    if folder.is_dir():
        for name in _MODELS:
            for models in sorted(folder.rglob(name)):
                if member_files(models):
                    return models
        if member_files(folder):
            return folder
        if (folder / POOL).is_file():
            return folder / POOL
    raise DataError(
        f"no accuracies of NAS-Bench-301 for cifar10 in {folder}. Get {_DOWNLOAD} and unpack them there; "
        f"'supertau data fetch nasbench301' does both. The table {POOL} is read there as well. "
        "The truth 'micro' needs no download."
    )


def _surrogate(folder: Path, reader: str, trust_pickle: bool) -> EnsembleSurrogate:
    if reader == "own":
        return OwnSurrogate(folder, trust_pickle=trust_pickle)
    return PackageSurrogate(folder, trust_pickle=trust_pickle)


# --- the pool of Ning et al. ----------------------------------------------------------------------------------------


def read_pool(path: Path, space: SearchSpace) -> GroundTruth:
    """Return the surrogate's values in a CSV file with columns 'genotype' and 'nb301_surrogate_acc' (percent).

    An architecture that is there more than once becomes one row, in the place of its first. Raises DataError naming
    the line when its values differ, and on a line that cannot be read.
    """
    _, header, rows = table.read_csv(path)
    if "genotype" not in header or _POOL_COLUMN not in header:
        raise DataError(f"{path}: no columns 'genotype' and '{_POOL_COLUMN}'; it has: {', '.join(header)}.")
    numbered = list(rows)
    for line, row in numbered:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} values, expected {len(header)} ({', '.join(header)}).")
    texts = [(f"line {line}", row[header.index("genotype")]) for line, row in numbered]
    lines: dict[Architecture, int] = {}
    values: dict[Architecture, float] = {}
    for architecture, (line, row) in zip(table.read_column(path, space, texts), numbered, strict=True):
        where = f"{path}, line {line}"
        try:
            value = float(row[header.index(_POOL_COLUMN)])
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error
        if values.setdefault(architecture, value) != value:
            raise DataError(
                f"{where}: {value} for an architecture that has {values[architecture]} on line {lines[architecture]}."
            )
        lines.setdefault(architecture, line)
    sha256 = digest(path, "sha256")
    return GroundTruth(
        space=space.name,
        dataset="cifar10",
        split=SPLIT,
        epochs=EPOCHS,
        source=_POOL_SOURCE if sha256 == _POOL_SHA256 else f"NAS-Bench-301 surrogate values, {path.name}",
        sha256=sha256,
        architectures=tuple(values),
        trials=np.array(list(values.values()), dtype=np.float64).reshape(-1, 1),
        seeds=("surrogate",),
    )


def _is_pool(path: Path) -> bool:
    return not path.name.lower().endswith(".parquet") and "genotype" in table.read_csv(path)[1]
