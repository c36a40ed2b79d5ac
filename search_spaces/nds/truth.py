"""Ground truth of NDS: the project's own table, official files, published pools, and the choice of a reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from supertau.search_spaces import table
from supertau.search_spaces.cache import cache_folder
from supertau.search_spaces.errors import DataError, unknown
from supertau.search_spaces.files import existing
from supertau.search_spaces.nds import official
from supertau.search_spaces.nds.blocks import BlockSpace
from supertau.search_spaces.truth import GroundTruth, require_choice

MICRO = "micro"
CIFAR10 = "cifar10"
DOWNLOAD = "https://dl.fbaipublicfiles.com/nds/data.zip"
FOLDER = "nds"

_POOLS = {"ResNet": "resnet_5k.csv.gz", "ResNeXt-A": "resnexta_5k.csv.gz"}


def load(
    space: BlockSpace,
    dataset: str,
    path: Path | None = None,
    *,
    split: str | None = None,
    epochs: int | None = None,
    which: official.Which = "best",
    trust_pickle: bool = False,
) -> GroundTruth:
    """Return ground truth: of a path; without one, packaged (micro) or from the cache folder (cifar10).

    path: an official ``.json`` file, a folder with official files or a pool, a pool (``.csv``, ``.csv.gz``), or a
    table of any data set. split, epochs: what the accuracies have to be; no source has a choice. which: the epoch of
    official files whose accuracy counts. trust_pickle: has no effect, because no file of NDS is a pickle. Raises
    UnknownName for a data set that needs a path, DataError saying what is missing and how to get it.
    """
    dataset = space.resolve_dataset(dataset)
    truth = _load(space, dataset, path, split, epochs, which)
    require_choice(truth.source, (split, epochs), (truth.split, truth.epochs))
    return truth


def _load(
    space: BlockSpace, dataset: str, path: Path | None, split: str | None, epochs: int | None, which: official.Which
) -> GroundTruth:
    if path is None:
        known = (*space.truths, *space.files)
        if dataset not in known:
            raise unknown("data set", dataset, known)
        return (
            table.packaged(space, dataset, split=split, epochs=epochs)
            if dataset == MICRO
            else _of_folder(space, dataset, cache_folder() / FOLDER, which)
        )
    path = existing(path)
    is_official = path.suffix.lower() == ".json"
    if path.is_dir() or is_official or official.is_pool(path):
        if dataset != CIFAR10:
            raise unknown("data set of NDS files", dataset, (CIFAR10,))
        if path.is_dir():
            return _of_folder(space, dataset, path, which)
        if is_official:
            return official.read_official([path], space, dataset, which=which)
        _check_best(path, which)
        return official.read_pool(path, space, dataset)
    if table.is_table(path):
        truth = table.read_table(path, space, dataset, split=split, epochs=epochs)
        return replace(truth, chance=official.CHANCE) if dataset == CIFAR10 and truth.chance is None else truth
    raise DataError(
        f"{path}: not a kind of ground truth that can be read. Expected an official NDS file (.json), or a pool or "
        f"table ({', '.join(table.SUFFIXES)})."
    )


def _of_folder(space: BlockSpace, dataset: str, folder: Path, which: official.Which) -> GroundTruth:
    """Return the best ground truth in a folder.

    Three training seeds (``*_rng1.json`` to 3) come before the file with one; then the pool.
    """
    several = [f"{space.official}_rng{seed}.json" for seed in (1, 2, 3)]
    for place in (folder, folder / "nds_data"):
        for names in (several, [f"{space.official}.json"]):
            paths = [place / name for name in names]
            if all(path.is_file() for path in paths):
                return official.read_official(paths, space, dataset, which=which)
        pool = place / _POOLS.get(space.official, "")
        if pool.is_file():
            _check_best(pool, which)
            return official.read_pool(pool, space, dataset)
    micro = f" The ground truth '{MICRO}' needs no download." if MICRO in space.truths else ""
    raise DataError(
        f"no ground truth of {space.name} on {dataset} in {folder}. 'supertau data fetch nds' gets it; or download "
        f"{DOWNLOAD}, unzip it, and put nds_data/{space.official}.json into that folder, or give the path of the "
        f"file.{micro}"
    )


def _check_best(pool: Path, which: official.Which) -> None:
    if which != "best":
        raise DataError(f"{pool}: a pool holds the accuracy of the best epoch only; official files hold the last too.")
