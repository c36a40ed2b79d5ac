"""Official files of NAS-Bench-201 (``.pth``) and NATS-Bench (topology folder or file), through their own packages.

Both packages would read files with unrestricted pickle. Here the restricted reader unpickles every byte, and the
packages get the resulting dictionaries, which both accept by design; nothing in them is patched.
"""

from __future__ import annotations

import bz2
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, InvalidArchitecture, UnknownName, reason, unknown
from supertau.search_spaces.pickles import load_pth, load_restricted
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.truth import GroundTruth

META = "meta.pickle.pbz2"

_log = logging.getLogger(__name__)

_TRAINED_ON = {
    "cifar10": {"x-valid": "cifar10-valid", "ori-test": "cifar10"},
    "cifar100": {"x-valid": "cifar100", "ori-test": "cifar100", "x-test": "cifar100"},
    "imagenet16-120": dict.fromkeys(("x-valid", "ori-test", "x-test"), "ImageNet16-120"),
}
"""Data set and split to the files' own name of what the network was trained on.

The x-valid accuracy on CIFAR-10 exists for networks trained on half of the training images ('cifar10-valid'); the
ori-test accuracy is that of networks trained on all of them.
"""

_SPLITS = {"valid": "x-valid", "val": "x-valid", "validation": "x-valid"}
"""Further names of splits. 'test' is not among them: see `resolve_split`."""

_LONGEST_RECORD = 1 << 28  # bytes after decompression; a real record has a third of a million, the index 1.4 million


@dataclass(frozen=True)
class Choice:
    """Which accuracies of an official file: data set, split and training length (12 or 200 epochs).

    Raises UnknownName when the benchmark has no such combination.
    """

    dataset: str
    split: str = "x-valid"
    epochs: int = 200

    def __post_init__(self) -> None:
        if self.dataset not in _TRAINED_ON:
            raise unknown("data set", self.dataset, _TRAINED_ON)
        if self.split not in _TRAINED_ON[self.dataset]:
            raise unknown(f"split of {self.dataset}", self.split, _TRAINED_ON[self.dataset])
        if self.epochs not in (12, 200):
            raise UnknownName(f"NAS-Bench-201 has networks trained for 12 or 200 epochs, not {self.epochs}.")

    @property
    def trained_on(self) -> str:
        """The name of the data set inside the files."""
        return _TRAINED_ON[self.dataset][self.split]


def resolve_split(dataset: str, split: str | None) -> str | None:
    """Return the benchmark's name of a split; raise UnknownName for 'test' where there are two test splits."""
    if split == "test" and dataset in _TRAINED_ON:
        if dataset != "cifar10":
            raise UnknownName(
                f"split 'test' of {dataset} may be 'ori-test', all of the official test or validation images, or "
                "'x-test', half of them, which nas_201_api calls test accuracy: say which."
            )
        return "ori-test"
    return None if split is None else _SPLITS.get(split, split)


class _Shared(dict[str, Any]):
    """A dictionary that is its own deep copy: the API copies what it is given, gigabytes that it never changes."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def read_pth(path: Path, space: SearchSpace, choice: Choice, *, trust_pickle: bool = False) -> GroundTruth:
    """Return the accuracies in a ``NAS-Bench-201-v1_*.pth`` file, one column per training seed in it.

    Read through nas_201_api (package nas-bench-201 2.1), always for the training length asked for: the package's own
    default is 12 epochs. Needs memory of about five times the file's size; a table written once from the result
    (``write_table``) is read in a second. Raises DataError on a damaged file, or one with no such accuracies.
    """
    from nas_201_api import NASBench201API  # imports torch

    expected = "a NAS-Bench-201 file, a dictionary with meta_archs, arch2infos and evaluated_indexes"
    sha256 = digest(path, "sha256")
    content = load_pth(path, expected=expected, trust_pickle=trust_pickle)
    try:
        api = NASBench201API(_Shared(content), verbose=False)
        # query_meta_info_by_index would copy each record; it returns this one.
        infos_of = ((int(i), api.meta_archs[i], infos[str(choice.epochs)]) for i, infos in api.arch2infos_dict.items())
        records = ((text, _trials(f"{path}, architecture {i}", i, text, info, choice)) for i, text, info in infos_of)
        return _collect(path, path.name, space, choice, records, len(api.meta_archs), sha256)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not laid out as expected ({type(error).__name__}: {error}); {expected}.") from error


def is_nats(path: Path) -> bool:
    """Return whether a path looks like a NATS-Bench folder or single file."""
    return (path / META).is_file() if path.is_dir() else path.name.endswith(".pickle.pbz2")


def read_nats(path: Path, space: SearchSpace, choice: Choice, *, trust_pickle: bool = False) -> GroundTruth:
    """Return the accuracies of a ``NATS-tss-*-simple`` folder, or of the single file, one column per training seed.

    The result has the architectures that are in the folder, which may be some only; its sha256 is over the names and
    contents of the files read, that is of the index and of all records. The records are interpreted by
    nats_bench.ArchResults, one at a time: the API object itself would keep every record it has read, tens of gigabytes.
    Raises DataError when nats_bench is missing, on a damaged file, or when there are no such accuracies.
    """
    try:
        from nats_bench import ArchResults  # optional
    except ImportError as error:
        raise DataError(f"{path}: reading NATS-Bench files needs nats-bench: pip install nats-bench") from error

    digest = hashlib.sha256()
    index, records = _nats_records(path, digest, trust_pickle)

    def trials() -> Iterator[tuple[str, dict[str, float]]]:
        for where, number, record in records:
            info = ArchResults.create_from_state_dict(record[str(choice.epochs)])
            yield index[number], _trials(where, number, index[number], info, choice)

    name = Path(os.path.abspath(path)).name  # there is one even where the folder is given as "."
    try:
        return _collect(path, name, space, choice, trials(), len(index), digest)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not laid out as expected ({type(error).__name__}: {error}); expected NATS-Bench topology records."
        ) from error


def _nats_records(path: Path, digest: Any, trust_pickle: bool) -> tuple[list[str], Iterator[tuple[str, int, Any]]]:
    """Return the index of text forms and an iterator of records: where each is, its number, itself.

    digest: a sha256 that grows as files are read: by the bytes of a single file; of a folder by the name and the sha256
    of each file, the index first, then the records by number.
    """
    expected = "a NATS-Bench pickle compressed by bzip2"

    def read(file: Path, limit: int) -> Any:
        try:
            packed = file.read_bytes()
            digest.update(file.name.encode() + hashlib.sha256(packed).digest() if path.is_dir() else packed)
            unpacker = bz2.BZ2Decompressor()
            content = unpacker.decompress(packed, limit)
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be read ({reason(error)}); expected {expected}.") from error
        if not unpacker.eof:
            why = "truncated" if unpacker.needs_input else f"larger than the expected {limit:,} bytes"
            raise DataError(f"{file}: {why}; expected {expected}. Fetch it again.")
        return load_restricted(content, name=str(file), expected=expected, trust_pickle=trust_pickle)

    whole = read(path / META if path.is_dir() else path, _LONGEST_RECORD if path.is_dir() else -1)
    if not isinstance(whole, dict) or not isinstance(whole.get("meta_archs"), list):
        raise DataError(f"{path}: its index has no list 'meta_archs'; expected {expected}.")
    if path.is_file():
        records = sorted((whole.get("arch2infos") or {}).items())
        return whole["meta_archs"], ((f"{path}, architecture {n}", n, record) for n, record in records)
    files: dict[int, Path] = {}
    for file in sorted(path.iterdir()):
        match = re.fullmatch(r"(\d+)\.pickle\.pbz2", file.name)
        if match and files.setdefault(int(match[1]), file) != file:
            raise DataError(f"{file}: architecture {int(match[1])} is in {files[int(match[1])].name} already.")
    return whole["meta_archs"], ((str(files[n]), n, read(files[n], _LONGEST_RECORD)) for n in sorted(files))


def _trials(where: str, number: int, text: str, info: Any, choice: Choice) -> dict[str, float]:
    """Return seed to last-epoch accuracy of one architecture; empty when it was not trained on the data set.

    number, text: what the record is by its place, which the record itself has to say, too.
    """
    if info.arch_index != number or info.arch_str != text:
        raise DataError(
            f"{where}: expected the record of architecture {number}, {text}; it says that it is that of architecture "
            f"{info.arch_index}, {info.arch_str}. Was a file renamed, copied or swapped? Fetch it again."
        )
    if choice.trained_on not in info.get_dataset_names():
        return {}
    accuracies = {}
    for seed in info.get_dataset_seeds(choice.trained_on):
        trial = info.query(choice.trained_on, seed)
        if trial.get_total_epoch() != choice.epochs:
            raise DataError(f"{where}: a trial of {trial.get_total_epoch()} epochs among those of {choice.epochs}.")
        try:
            accuracies[str(seed)] = float(trial.get_eval(choice.split)["accuracy"])
        except KeyError as error:
            raise DataError(f"{where}, {choice.trained_on}, seed {seed}: no result for {error}.") from error
    return accuracies


def _collect(
    path: Path,
    name: str,
    space: SearchSpace,
    choice: Choice,
    records: Iterable[tuple[str, Mapping[str, float]]],
    total: int,
    digest: Any,
) -> GroundTruth:
    """Return the table of all records.

    name: of the file or folder. digest: a hexadecimal text, or a hash that is complete after the last record.
    """
    rows: dict[Architecture, Mapping[str, float]] = {}
    empty = 0
    for read, (text, trials) in enumerate(records, start=1):
        try:
            architecture = space.parse(text)
        except InvalidArchitecture as error:
            raise DataError(f"{path}: {error}") from error
        if architecture in rows:
            raise DataError(f"{path}: holds the architecture {text} twice.")
        if trials:
            rows[architecture] = trials
        empty += not trials
        if read % 1000 == 0:
            _log.info("%s: %s of %s architectures read", name, f"{read:,}", f"{total:,}")
    if not rows:
        raise DataError(
            f"{path}: none of its {empty:,} architectures has a result on {choice.split} after {choice.epochs} epochs "
            f"of training on {choice.trained_on}."
        )
    seeds = sorted({seed for trials in rows.values() for seed in trials}, key=lambda seed: (len(seed), seed))
    matrix = np.array([[trials.get(seed, np.nan) for seed in seeds] for trials in rows.values()])
    if len(rows) < total:
        _log.warning("%s: accuracies of %s of %s architectures", name, f"{len(rows):,}", f"{total:,}")
    part = "" if len(rows) == total else f" ({len(rows):,} of {total:,} architectures)"
    return GroundTruth(
        space=space.name,
        dataset=choice.dataset,
        split=choice.split,
        epochs=choice.epochs,
        source=f"{name}{part}",
        sha256=digest if isinstance(digest, str) else digest.hexdigest(),
        architectures=tuple(rows),
        trials=matrix,
        seeds=tuple(seeds),
    )
