"""Rows of a table: runs that differ by nothing but their seed, and what each row is called."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from supertau.benchmarks.report.judged import Judged
from supertau.benchmarks.results import latest

Group = list[Judged]


def groups(members: Iterable[Judged]) -> list[Group]:
    """Return the runs of each row, seeds in order; of repeated runs the latest only.

    Runs of one title and one configuration are a row: methods with equal scores and different titles are two.
    """
    by_run = {one.record.run_id: one for one in members}
    rows: dict[tuple[str, str], Group] = {}
    for run in latest(one.run for one in by_run.values()):
        rows.setdefault((run.record.group, run.record.title), []).append(by_run[run.record.run_id])
    return list(rows.values())


def labels(rows: Sequence[Group]) -> list[str]:
    """Return a label per row: the title, and what sets rows of one title apart."""
    names = [row[0].record.title for row in rows]
    for title in [t for t, count in Counter(names).items() if count > 1]:
        same = [place for place, text in enumerate(names) if text == title]
        records = [rows[place][0].record for place in same]
        texts = differences([r.config.as_dict() if r.config else {} for r in records])
        for place, record, text in zip(same, records, texts, strict=True):
            clear = text and texts.count(text) == 1
            names[place] = f"{title} ({text if clear else record.group[:8]})"
    return names


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each configuration, the entries in which it differs from the others: `channels=16, passes=2000`."""
    flat = [dict(_flatten(c)) for c in configs]
    keys = [k for k in dict.fromkeys(k for f in flat for k in f) if k != "seed"]
    varying = [k for k in keys if len({f.get(k) for f in flat}) > 1]
    return [", ".join(f"{k.rsplit('.', 1)[-1]}={f[k]}" for k in varying if k in f) for f in flat]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, sort_keys=True)
