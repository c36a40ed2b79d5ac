"""Files damaged in five ways: nothing may be taken for what it is not, and a remedy must work."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from .intact import Site
from .kinds import KINDS
from .reading import attempt
from .tally import Row

PART = "damage"
BLOCK = 32
"""Bytes that are overwritten at most."""

Way = Callable[[Path, Path, Random], None]


def cut(path: Path, other: Path, random: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path, other: Path, random: Random) -> None:
    path.write_bytes(b"")


def overwrite(path: Path, other: Path, random: Random) -> None:
    """Change a block of bytes anywhere, each of them."""
    content = bytearray(path.read_bytes())
    length = min(BLOCK, max(1, len(content) // 2))
    start = random.randrange(len(content) - length + 1)
    for place in range(start, start + length):
        content[place] ^= random.randint(1, 255)
    path.write_bytes(content)


def replace(path: Path, other: Path, random: Random) -> None:
    """Put another file of the kind in its place, as mv does: with the time at which that one was written."""
    shutil.copy2(other, path)


def remove(path: Path, other: Path, random: Random) -> None:
    path.unlink()


WAYS: dict[str, Way] = {"cut in half": cut, "emptied": empty, "overwritten": overwrite, "replaced": replace,
                        "removed": remove}  # fmt: skip


def campaign(
    draws: int, seed: int, folder: Path, kinds: Sequence[str] = tuple(KINDS), tries: int | None = None
) -> list[Row]:
    """Damage every kind of file in every way; what is overwritten at random, `draws` times.

    tries: do only so many of them, drawn at random.
    """
    planned = [
        (kind, way, draw) for kind in kinds for way in WAYS for draw in range(draws if way == "overwritten" else 1)
    ]
    if tries is not None:
        planned = Random(seed).sample(planned, tries)
    rows = {kind: Row(PART, kind) for kind, _, _ in planned}
    site = Site(folder)
    for number, (kind, way, draw) in enumerate(planned):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a record is damaged is said as a warning, too
            case = KINDS[kind](site, folder / f"case-{number}")
            WAYS[way](case.path, case.other, Random(f"{seed} {kind} {way} {draw}"))
            found, error, strange = attempt(case.problems)
        problems = found if found is not None else [*strange, *([error] if error else [])]
        rows[kind].count([f"{way}: {shortened(problem, case.folder)}" for problem in problems])
        shutil.rmtree(case.folder, ignore_errors=True)
    return list(rows.values())


def shortened(problem: str, folder: Path) -> str:
    """Return a problem in one line, without the folder that it was tried in."""
    text = " ".join(problem.replace(f"{folder}/", "").split())
    return text if len(text) < 300 else f"{text[:300]}..."
