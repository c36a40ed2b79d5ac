"""The cache folder that downloaded files lie in, and their checksums."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from supertau.search_spaces.errors import DataError

VARIABLE = "SUPERTAU_DATA"


def user_cache_folder() -> Path:
    """Return the platform's cache folder of this user (on Linux ``~/.cache/supertau``); it may not exist yet."""
    import pooch  # slow to import, and needed only where $SUPERTAU_DATA is not set

    return Path(pooch.os_cache("supertau"))


def cache_folder() -> Path:
    """Return the folder in which downloaded files are looked for: $SUPERTAU_DATA, else the platform's cache folder."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache_folder()


def is_writable(folder: Path) -> bool:
    """Return whether files may be put into a folder, or into its nearest parent that exists.

    A folder without a write permission bit is left alone even where the user could override it (root).
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK) and bool(stat.S_IMODE(folder.stat().st_mode) & 0o222)


def digest(path: Path, algorithm: str) -> str:
    """Return the hexadecimal checksum of a file; algorithm: a name hashlib knows, such as 'md5' or 'sha256'.

    Raises DataError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


class WrongChecksum(DataError):
    """A file whose content is not what its checksum says."""


def check(path: Path, checksum: str | None, again: str) -> None:
    """Raise WrongChecksum unless a file has a checksum 'algorithm:hexadecimal'; None checks nothing.

    again: a sentence for the message that says how to get the file again.
    """
    if checksum is None:
        return
    algorithm, _, expected = checksum.partition(":")
    got = digest(path, algorithm)
    if got != expected.lower():
        raise WrongChecksum(
            f"{path} has the wrong checksum: expected {algorithm} {expected}, got {got} ({path.stat().st_size:,} "
            f"bytes). {again}"
        )
