"""Downloads into the cache folder: checked, unpacked, and with instructions where there is no network."""

from __future__ import annotations

import logging
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pooch

from supertau.benchmarks.data.catalogue import DataItem, RemoteFile
from supertau.search_spaces.cache import VARIABLE, is_writable
from supertau.search_spaces.errors import DataError

_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30
_PERMANENT = range(400, 500)


def instructions(file: RemoteFile, folder: Path) -> str:
    """Return how to get a file by hand: address, size, checksum and target folder."""
    size = f"{file.size:,} bytes" if file.size is not None else "size not published"
    if file.checksum is None:
        checksum = "no published checksum"
    else:
        checksum = f"{file.checksum.replace(':', ' ', 1)} according to {file.claimed_by}"
    target = folder / file.path
    return f"{target.name} from {file.address} ({size}; {checksum}) into {target.parent}"


def by_hand(item: DataItem, folder: Path, reason: str) -> DataError:
    """Build the error for files the user has to get: reason is a sentence without its full stop."""
    files = "".join(f"\n  {instructions(file, folder)}" for file in item.files)
    note = f"\n{item.note}" if item.note else ""
    return DataError(
        f"{reason}. To get it by hand:{files}{note}\nThe environment variable {VARIABLE} moves the folder {folder}."
    )


def download(item: DataItem, folder: Path, *, progress: bool = False, anew: bool = False) -> list[Path]:
    """Download the files of an item to where they belong below a folder, check and unpack them; return their paths.

    A file that is there, with the right checksum if it has one, is not downloaded again, unless `anew`. progress: show
    a bar on standard error.
    Raises DataError, with address, size and target folder, when there is no direct link, no network or no right to
    write, when the checksum is wrong, and when an archive is damaged.
    """
    if item.manual:
        raise by_hand(item, folder, f"'{item.key}' has no direct link")
    if not is_writable(folder):
        raise by_hand(item, folder, f"cannot download '{item.key}': {folder} is read-only")
    paths = []
    for file in item.files:
        path = folder / file.path
        try:
            if anew:
                path.unlink(missing_ok=True)
            _retrieve(item, file, folder, progress)
            if file.unpack:
                _unpack(path, file)
        except OSError as error:
            raise by_hand(item, folder, f"cannot write {path}: {error.strerror or error}") from error
        paths.append(path)
    return paths


def _retrieve(item: DataItem, file: RemoteFile, folder: Path, progress: bool) -> None:
    import requests  # slow to import, as pooch knows: it imports it only to download, too

    path = folder / file.path
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _quiet_pooch(), _bar(path.name, progress) as bar:
                downloader = pooch.HTTPDownloader(progressbar=bar, timeout=_TIMEOUT_SECONDS)
                pooch.retrieve(file.address, file.checksum, path.name, str(path.parent), downloader=downloader)
            return
        except requests.RequestException as error:
            response = error.response
            hopeless = response is not None and response.status_code in _PERMANENT
            if hopeless or attempt == _ATTEMPTS:
                reason = f"cannot download {file.address}: {_short(error)}"
                raise by_hand(item, folder, reason) from error
            time.sleep(attempt)
        except ValueError as error:  # pooch's word for a wrong checksum; it has deleted the file
            raise DataError(
                f"{file.address} did not give the file that was expected, and it was not kept: {error} Expected: "
                f"{instructions(file, folder)}."
            ) from error


def _short(error: Exception) -> str:
    """Return the innermost reason of a connection error, without the nesting of the libraries that pass it on."""
    while isinstance(cause := error.__cause__ or error.__context__, Exception):
        error = cause
    return f"{type(error).__name__}: {error}"


def _unpack(path: Path, file: RemoteFile) -> None:
    """Unpack an archive beside itself; its member names are not trusted."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if not file.flatten:
                        archive.extract(member, path.parent)  # drops absolute paths and '..' by itself
                    elif not member.is_dir():
                        _write(archive, member, path.parent / PurePosixPath(member.filename).name)
        else:
            with tarfile.open(path) as tar:
                tar.extractall(path.parent, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        path.unlink()  # or the next attempt would find it and fail again
        raise DataError(
            f"{path} could not be unpacked and was deleted ({type(error).__name__}: {error}). Fetch it again: "
            f"{instructions(file, path.parents[1])}."
        ) from error


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with archive.open(member) as source, tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        shutil.copyfileobj(source, file)
    Path(file.name).replace(target)


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Hold back pooch's own log lines, which advise about its Python interface."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Bar:
    """What pooch expects of a progress bar, drawn by rich."""

    def __init__(self, progress: Any, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    @property
    def total(self) -> float | None:
        total: float | None = self._progress.tasks[0].total
        return total

    @total.setter
    def total(self, amount: int) -> None:
        self._progress.update(self._task, total=amount or None)

    def update(self, amount: int) -> None:
        self._progress.update(self._task, advance=amount)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.refresh()


@contextmanager
def _bar(name: str, wanted: bool) -> Iterator[_Bar | bool]:
    if not wanted:
        yield False
        return
    # rich is slow to import, and only a terminal shows a bar.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield _Bar(progress, name)
