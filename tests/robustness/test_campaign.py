"""Kills, damaged files and wrong command lines: a sample of each, and with `make robustness` all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from . import damage, kills, lines
from .tally import Row, shortfalls, table

SEED = 2012
KILLS, DRAWS, LINES = 100, 5, 300
PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
TEXT = f"""# What accidents do to results

`make robustness` tries what goes wrong on real machines, counts, and writes this page; `make test` tries a sample of
it. All draws are made from seed {SEED}; where in its work a killed run is also depends on the speed of the machine.

**Kills.** A run (preset `smoke`, 60 architectures) is killed by SIGKILL at a random moment between its first event and
its end, up to {kills.LONGEST_CHAIN} times, and started again until it finishes. Half the runs save a checkpoint after
each step, half none before training has finished. Right: results can be read after each kill, and the end is that of a
run which nobody disturbed: the same bytes of scores, truth and curve, the same metrics, the same counts of images, and
nothing half-written.

**Damage.** A file is cut in half, emptied, overwritten ({damage.BLOCK} bytes anywhere; {DRAWS} draws), replaced by
another of its kind, or removed. Right: what reads it (report, compare, search, the same command again) ends without a
traceback and gives no number that is not the run's; and a remedy works, which is the same command or what the error
says, without training again where that was finished. What the user made has no checksum: it is refused with its name,
or counts as what it is now.

**Command lines.** Drawn from what people and scripts get wrong. Right: exit status 0, 1 or 2, something said where it
is not 0, and no traceback.

"""


def report(rows: Sequence[Row]) -> str:
    """Return what fell short, after printing the table."""
    print(f"\n{table(rows)}\n\n{shortfalls(rows)}")
    return shortfalls(rows)


def test_some_kills(tmp_path: Path) -> None:
    assert not report(kills.campaign(3, SEED, tmp_path, methods=("spos",)))


def test_some_damage(tmp_path: Path) -> None:
    assert not report(damage.campaign(1, SEED, tmp_path, tries=10))


def test_some_command_lines(tmp_path: Path) -> None:
    assert not report(lines.campaign(40, SEED, tmp_path / "lines"))


@pytest.mark.slow
def test_campaign(tmp_path: Path) -> None:
    """All of it; the page is written whether it was right or not."""
    rows = [
        *lines.campaign(LINES, SEED, tmp_path / "lines"),
        *damage.campaign(DRAWS, SEED, tmp_path / "damage"),
        *kills.campaign(KILLS, SEED, tmp_path / "kills"),
    ]
    short = report(rows)
    found = f"\n## What fell short\n\n{short}\n" if short else ""
    PAGE.write_text(f"{TEXT}{table(rows)}\n{found}", encoding="utf-8")
    assert not short
