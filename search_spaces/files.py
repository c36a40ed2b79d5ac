"""Files that people make: where they are, and their text."""

from __future__ import annotations

import codecs
from pathlib import Path

from supertau.search_spaces.errors import DataError, reason, shortened

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
"""What files in UTF-16 and UTF-32 begin with."""


def is_file(path: Path) -> bool:
    """Return whether a path is a file; raise DataError where the system cannot even look, as for a name too long."""
    try:
        return path.is_file()
    except OSError as error:
        raise _unusable(path, error) from error


def existing(path: Path | str) -> Path:
    """Return a path with its ``~`` replaced; raise DataError unless there is a file or folder."""
    try:
        expanded = Path(path).expanduser()
        if expanded.exists():
            return expanded
    except (OSError, RuntimeError) as error:  # a name that is too long; no such home
        raise _unusable(path, error) from error
    raise DataError(f"{shortened(str(path))}: no such file or folder.")


def _unusable(path: Path | str, error: Exception) -> DataError:
    return DataError(f"'{shortened(str(path))}' cannot be a file or folder ({reason(error)}).")


class NotText(ValueError):
    """Bytes that are not text in UTF-8; the message says what they look like."""


def decode(content: bytes) -> str:
    """Return text in UTF-8, with or without a byte order mark, whatever the locale; raise NotText."""
    if content.startswith(_WIDE) or b"\0" in content[:2]:
        raise NotText("its text is in UTF-16 or UTF-32, as some Windows programs write it; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NotText(
            f"its text is not UTF-8: byte 0x{content[error.start]:02x} on line {line}; save it as UTF-8"
        ) from None
