"""Which runs may be compared: runs of one task, and inside a task the runs that differ by nothing but their seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from supertau.search_spaces.spaces import SPACES

if TYPE_CHECKING:
    from supertau.benchmarks.record import Run

DATA = ("image_size", "train", "validation", "validation_split")


def text_of(value: object) -> str:
    """Return a configuration value as text: strings as they are, everything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


@dataclass(frozen=True)
class Task:
    """What was ranked against what. None: the run does not depend on it (a score file has no images)."""

    space: str
    truth: str
    pool: str | None
    images: str | None
    data: tuple[str | None, ...]
    preset: str | None

    def accepts(self, other: Task) -> bool:
        """Return whether a run of `other` may stand in this task's table: equal wherever both say something."""
        mine, theirs = (astuple(t) for t in (self, other))
        flat = [(a, b) for a, b in zip(mine, theirs, strict=True) if not isinstance(a, tuple)]
        flat += list(zip(self.data, other.data, strict=True))
        return all(a == b or a is None or b is None for a, b in flat)

    @property
    def vague(self) -> int:
        """How many things the task leaves open."""
        return sum(v is None for v in (self.pool, self.images, self.preset, *self.data))

    @property
    def title(self) -> str:
        """A heading: space, truth, images, preset."""
        name = (SPACES.get(self.space).title if self.space in SPACES else "") or self.space
        parts = [f"{name}, ranked against {self.truth}"]
        if self.images is not None:
            parts.append(f"trained on {self.images}")
        if self.preset is not None:
            parts.append(f"preset {self.preset}")
        return ", ".join(parts)


def task_of(record: Mapping[str, Any], truth: str) -> Task:
    """Return the task of a record for one of its truths."""
    config = record["config"]

    def text(key: str) -> str | None:
        return None if config.get(key) is None else text_of(config[key])

    return Task(
        text("space") or "unknown space",
        truth,
        text("pool"),
        text("images"),
        tuple(text(k) for k in DATA),
        text("preset"),
    )


def truths_of(record: Mapping[str, Any], only: str | None = None) -> list[str]:
    """Return the truths a record was judged by, in its order, or just one; a failed run belongs to any."""
    judged = list(dict.fromkeys(str(m["truth"]) for m in record.get("metrics") or []))
    if not judged:
        return [only or str(record["config"].get("truth") or "unknown truth")]
    return [t for t in judged if only in (None, t)]


def collect(runs: Sequence[Run], truth: str | None = None) -> dict[Task, list[Run]]:
    """Return runs by task, in a stable order; a run that leaves parts of its task open joins every task it fits."""
    pairs = [(task_of(r.record, t), r) for r in runs for t in truths_of(r.record, truth)]
    tasks: dict[Task, list[Run]] = {}
    for task, _ in sorted(pairs, key=lambda p: p[0].vague):
        if not any(held.accepts(task) for held in tasks if held.vague < task.vague):
            tasks.setdefault(task, [])
    for task, run in pairs:
        homes = [task] if task in tasks else [t for t in tasks if t.vague < task.vague and t.accepts(task)]
        for home in homes:
            tasks[home].append(run)
    return dict(sorted(tasks.items(), key=lambda item: str(item[0])))


def groups(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return finished runs by group (equal but for the seed), seeds in order, the latest of repeated runs only."""
    latest: dict[str, Run] = {}
    for run in sorted(runs, key=lambda r: (str(r.record.get("finished")), r.record["run_id"])):
        latest[str(run.record.get("identity") or run.record["run_id"])] = run
    found: dict[str, list[Run]] = {}
    for run in sorted(latest.values(), key=lambda r: (seed_of(r.record), r.record["run_id"])):
        found.setdefault(str(run.record.get("group") or run.record["run_id"]), []).append(run)
    return found


def seed_of(record: Mapping[str, Any]) -> int:
    """Return the seed of a run, 0 for one that has none."""
    return int(record["config"].get("seed") or 0)


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each configuration, the entries in which it differs from the others: `channels=16, passes=2000`."""
    flat = [dict(_flatten(c)) for c in configs]
    keys = [k for k in dict.fromkeys(k for f in flat for k in f) if k not in ("seed",)]
    varying = [k for k in keys if len({f.get(k) for f in flat}) > 1]
    return [", ".join(f"{k.rsplit('.', 1)[-1]}={f[k]}" for k in varying if k in f) for f in flat]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", text_of(value)
