"""What a campaign counts: how often something was tried, how often it went right, and what fell short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Row:
    """One line of the table. short: one text for each try that fell short, or for each group of them."""

    part: str
    kind: str
    tried: int = 0
    right: int = 0
    short: list[str] = field(default_factory=list)

    def count(self, problems: Sequence[str], times: int = 1) -> None:
        """Count tries, all of which fell short if there is any problem."""
        self.tried += times
        if problems:
            self.short.append("; ".join(problems))
        else:
            self.right += times


def table(rows: Iterable[Row]) -> str:
    """Return rows as a Markdown table with a sum for each part."""
    rows = list(rows)
    lines = ["| | what | tried | right |", "|---|---|---:|---:|"]
    for part in dict.fromkeys(row.part for row in rows):
        own = [row for row in rows if row.part == part]
        lines += [f"| {part} | {row.kind} | {row.tried} | {row.right} |" for row in own]
        lines.append(f"| **{part}** | **all** | **{sum(r.tried for r in own)}** | **{sum(r.right for r in own)}** |")
    return "\n".join(lines)


def shortfalls(rows: Iterable[Row]) -> str:
    """Return what fell short as a Markdown list, equal texts once with their number; empty when nothing did."""
    lines = []
    for row in rows:
        for text in dict.fromkeys(row.short):
            times = row.short.count(text)
            lines.append(f"- {row.part}, {row.kind}: {text}{f' ({times} times)' if times > 1 else ''}")
    return "\n".join(lines)
