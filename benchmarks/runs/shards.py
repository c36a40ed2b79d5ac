"""Scoring a pool shard by shard: each is kept on disk, so that a killed sweep goes on where it was."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.arrays import read_npz, write_npz
from supertau.benchmarks.runs.events import Event, Interrupted, Listener, StopFlag
from supertau.estimators.estimator import Estimator, Floats
from supertau.search_spaces.errors import DataError, SupertauError
from supertau.search_spaces.space import Architecture

SHARD = 256
"""Architectures of a shard."""
SHARDS = "shards"
"""The folder of the shards in a run's folder."""


def score_in_shards(
    estimator: Estimator,
    architectures: Sequence[Architecture],
    folder: Path,
    run_id: str,
    listener: Listener,
    stop: StopFlag,
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Score a pool shard by shard; return the score columns, and seconds and images of scoring.

    A shard that is there already is not scored again. Shards are cut from the pool in the space's order: neighbours
    have work in common, which a scorer may do once. Raises Interrupted between two shards, or inside one where the flag
    says at once.
    """
    order = sorted(range(len(architectures)), key=lambda row: estimator.problem.space.order(architectures[row]))
    architectures = [architectures[row] for row in order]
    parts: list[dict[str, Any]] = []
    began, processes = time.monotonic(), estimator.problem.processes
    names = estimator.score_columns()
    for start in range(0, len(architectures), SHARD):
        path = folder / SHARDS / f"{start:07d}.npz"
        shard = architectures[start : start + SHARD]
        # Another version may have cut the pool otherwise, and a shard of another run may lie in its place.
        content = hashlib.sha256(repr((run_id, shard)).encode()).hexdigest()
        scored = _stored(path)
        if scored.get("content") != content:
            clock, before = time.monotonic(), estimator.cost()["score_images"]
            columns = checked(estimator, shard, estimator.score(processes.broadcast(shard)))
            images = estimator.cost()["score_images"] - before
            scored = {"seconds": time.monotonic() - clock, "images": images, "content": content, **columns}
            write_npz(path, scored)
        parts.append(scored)
        done = min(start + SHARD, len(architectures))
        speed = done / max(1e-9, time.monotonic() - began)
        listener(Event(run_id, Phase.SCORE, done, len(architectures), f"{speed:.0f} architectures/s"))
        if stop.set and done < len(architectures):
            raise Interrupted
    processes.broadcast([])
    back = np.argsort(order)
    columns = {name: np.concatenate([part[name] for part in parts])[back] for name in names}
    cost = {f"score_{key}": float(sum(float(part[key]) for part in parts)) for key in ("seconds", "images")}
    return columns, cost


def _stored(path: Path) -> dict[str, Any]:
    """Return a shard that is on disk; nothing where there is none, or a damaged one, which is then scored again."""
    try:
        return read_npz(path) if path.exists() else {}
    except DataError:
        return {}


def follow_scoring(estimator: Estimator) -> None:
    """Score along with the first process, shard by shard, until it has no more."""
    while shard := estimator.problem.processes.broadcast(list[Architecture]()):
        estimator.score(shard)


def checked(
    estimator: Estimator, architectures: Sequence[Architecture], columns: dict[str, Floats]
) -> dict[str, Floats]:
    """Return score columns after checking names, shape and finiteness; raise SupertauError that names architectures."""
    name = type(estimator).__name__
    expected = estimator.score_columns()
    if tuple(columns) != expected:
        raise SupertauError(f"{name}.score gave columns {tuple(columns)}, score_columns() says {expected}.")
    for key, values in columns.items():
        if np.shape(values) != (len(architectures),):
            raise SupertauError(
                f"{name}.score: column '{key}' has shape {np.shape(values)}, not ({len(architectures)},)."
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            texts = [estimator.problem.space.format(architectures[row]) for row in bad[:3]]
            raise SupertauError(f"{name}.score: column '{key}' is not finite for {len(bad)} architectures: {texts} ...")
    return columns
