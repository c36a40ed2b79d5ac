"""The files the suite can use: what is there, how to get the rest, and whether what is there is right."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from supertau.benchmarks.data.catalogue import DATA, DataItem
from supertau.benchmarks.data.download import by_hand, download, instructions
from supertau.benchmarks.images.registry import IMAGES
from supertau.search_spaces.cache import WrongChecksum, cache_folder, check
from supertau.search_spaces.errors import DataError, unknown

if TYPE_CHECKING:
    from supertau.benchmarks.images.source import ImageSource

__all__ = ["DATA", "DataRow", "State", "Verified", "cache_folder", "fetch", "list_data", "verify"]


class State(StrEnum):
    """The state of a file that was checked."""

    OK = "ok"
    UNCHECKED = "present, no checksum to compare with"
    MISSING = "missing"
    WRONG_CHECKSUM = "wrong checksum"
    DAMAGED = "damaged"

    @property
    def is_good(self) -> bool:
        """Whether the files can be used."""
        return self in (State.OK, State.UNCHECKED)


@dataclass(frozen=True)
class DataRow:
    """One item in the list: size in bytes, None when not published; how: address and target of every file."""

    key: str
    what: str
    present: bool
    folder: Path
    size: int | None
    licence: str
    how: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Verified:
    """The state of one file of an item, or of one split of its images."""

    key: str
    file: str
    state: State
    detail: str


def list_data(folder: Path | None = None) -> list[DataRow]:
    """Return every item that can be fetched or put by hand, and whether it is there."""
    folder = folder or cache_folder()
    return [
        DataRow(
            key=item.key,
            what=item.what,
            present=_is_present(item, folder),
            folder=(folder / item.files[0].path).parent,
            size=_total_size(item),
            licence=item.licence,
            how=tuple(instructions(file, folder) for file in item.files),
            note=item.note,
        )
        for item in DATA.values()
    ]


def fetch(key: str, folder: Path | None = None, *, progress: bool = False, force: bool = False) -> list[Path]:
    """Download an item, check and unpack it; return its files. What is there and right is not downloaded again.

    folder: None is the cache folder; progress: show a bar; force: download in any case. Raises UnknownName, and
    DataError with address, size and target folder when the file cannot be had.
    """
    item = _item(key)
    folder = folder or cache_folder()
    if not force and _is_present(item, folder) and all(row.state.is_good for row in verify([key], folder)):
        return _present_files(item, folder)
    return download(item, folder, progress=progress, anew=force)


def verify(keys: Sequence[str] | None = None, folder: Path | None = None) -> list[Verified]:
    """Check items (None: all of them): known checksums, and for images the whole content; a row per file or split.

    The detail of a row that is not good says what was expected and how to get the file again.
    """
    folder = folder or cache_folder()
    rows: list[Verified] = []
    for item in [_item(key) for key in keys] if keys is not None else DATA.values():
        rows += _verify_downloads(item, folder)
        source = _source(item)
        if source is not None:
            rows += [_verify_split(source, split, folder) for split in source.counts]
        elif not rows or rows[-1].key != item.key:
            rows.append(_verify_presence(item, folder))
    return rows


def _item(key: str) -> DataItem:
    if key not in DATA:
        if key in IMAGES.names():
            raise DataError(f"images '{key}' need no download.")
        raise unknown("data item", key, DATA)
    return DATA[key]


def _source(item: DataItem) -> ImageSource | None:
    return IMAGES.get(item.key)() if item.key in IMAGES.names() else None


def _total_size(item: DataItem) -> int | None:
    sizes = [file.size for file in item.files if file.size is not None]
    return sum(sizes) if len(sizes) == len(item.files) else None


def _present_files(item: DataItem, folder: Path) -> list[Path]:
    source = _source(item)
    if source is not None:
        return [path for split in source.counts for path in source.files(split, folder)]
    return sorted({path for pattern in item.present for path in folder.glob(pattern)})


def _is_present(item: DataItem, folder: Path) -> bool:
    source = _source(item)
    return source.missing(folder) is None if source is not None else bool(_present_files(item, folder))


def _verify_downloads(item: DataItem, folder: Path) -> list[Verified]:
    """Check the downloaded files themselves, those that are there and have a checksum."""
    rows = []
    for file in item.files:
        path = folder / file.path
        if file.checksum is None or not path.is_file():
            continue
        try:
            check(path, file.checksum, f"Delete it and get {instructions(file, folder)}.")
            rows.append(Verified(item.key, str(path), State.OK, f"checksum according to {file.claimed_by}"))
        except WrongChecksum as error:
            rows.append(Verified(item.key, str(path), State.WRONG_CHECKSUM, str(error)))
        except OSError as error:
            rows.append(Verified(item.key, str(path), State.DAMAGED, f"cannot be read: {error}"))
    return rows


def _verify_split(source: ImageSource, split: str, folder: Path) -> Verified:
    """Read a split of images whole: the reader checks what there is to check."""
    name = f"{source.name} ({split})"
    try:
        files = source.files(split, folder)
    except DataError as error:
        return Verified(source.name, name, State.MISSING, str(error))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images, _ = source.load(split, folder)
    except WrongChecksum as error:
        return Verified(source.name, name, State.WRONG_CHECKSUM, str(error))
    except (DataError, OSError) as error:
        return Verified(source.name, name, State.DAMAGED, str(error))
    if caught:
        return Verified(source.name, name, State.DAMAGED, f"{caught[0].message} {source.fetch}")
    state = State.OK if source.has_checksums(split, folder) else State.UNCHECKED
    return Verified(source.name, name, state, f"{len(images):,} images read from {files[0].parent}")


def _verify_presence(item: DataItem, folder: Path) -> Verified:
    files = _present_files(item, folder)
    if files:
        return Verified(item.key, ", ".join(map(str, files)), State.UNCHECKED, "there; its content was not looked at")
    reason = f"'{item.key}' is not there" + ("" if item.manual else f"; run 'supertau data fetch {item.key}'")
    return Verified(item.key, item.key, State.MISSING, str(by_hand(item, folder, reason)))
