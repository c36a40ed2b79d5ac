"""The resumable stages of a run: training with checkpoints and a watched curve, scoring in shards."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.runs.events import Event, Interrupted, Listener, StopFlag
from supertau.estimators.estimator import Estimator, Floats, Monitor
from supertau.estimators.problem import Problem
from supertau.estimators.training.checkpoint import CHECKPOINT, read_checkpoint
from supertau.search_spaces.errors import DataError, SupertauError
from supertau.search_spaces.space import Architecture

REPORT_SECONDS = 0.2
SHARD = 256


class Training(Monitor):
    """Listens to a training loop: progress, checkpoints by the clock, scores of a few architectures along the way."""

    def __init__(
        self,
        folder: Path,
        run_id: str,
        listener: Listener,
        stop: StopFlag,
        *,
        curve_points: int,
        curve: Sequence[Architecture],
        checkpoint_seconds: float,
    ) -> None:
        self.folder, self.run_id, self.listener, self.stop = folder, run_id, listener, stop
        self.curve_points, self.curve = curve_points, curve
        self.checkpoint_seconds = checkpoint_seconds
        self.seconds = 0.0
        self._began = self._saved = time.monotonic()
        self._reported = -math.inf  # the first step is always told: that training goes on, and from where
        self._first_step, self._start = 0, 0.0
        self._curve_images = 0
        self._curve_seconds = 0.0

    @property
    def checkpoint(self) -> Path:
        """The file that training goes on from."""
        return self.folder / CHECKPOINT

    def restore(self, estimator: Estimator, problem: Problem) -> bool:
        """Take up the checkpoint if there is one; return whether training had already come to its end."""
        held = take_up(estimator, problem, self.checkpoint)
        if held is not None:
            self.seconds, self._curve_seconds = held["seconds"], held["curve_seconds"]
            self._curve_images = held["curve_images"]
        return held is not None and bool(held["finished"])

    def save(self, estimator: Estimator, *, finished: bool) -> None:
        """Write the checkpoint; it is the old one or the new one, never half of either."""
        now = time.monotonic()
        self.seconds += now - self._began
        self._began = self._saved = now
        state = {
            "estimator": estimator.state_dict(),
            "finished": finished,
            "seconds": self.seconds,
            "curve_seconds": self._curve_seconds,
            "curve_images": self._curve_images,
        }
        write_atomically(self.checkpoint, lambda part: torch.save(state, part))

    def begin(self) -> None:
        """Start the clock."""
        self._began = self._saved = time.monotonic()

    def after_step(
        self, estimator: Estimator, step: int, total: int, loss: torch.Tensor | float, learning_rate: float
    ) -> None:
        if is_curve_step(step, total, self.curve_points):
            self._watch(estimator, step)
        now = time.monotonic()
        if now - self._reported > REPORT_SECONDS or step == total:
            self._reported = now
            images = estimator.cost()["train_images"]
            epochs = images / max(1, len(estimator.problem.train))
            speed = f", {(step - self._first_step) / (now - self._start):.0f} steps/s" if self._first_step else ""
            if not self._first_step:  # the first step warms up and is left out of the speed
                self._first_step, self._start = step, now
            text = f"epoch {epochs:.1f}{speed}, loss {float(loss):.3f}, lr {learning_rate:.4f}"
            self.listener(Event(self.run_id, "train", step, total, text))
        if self.stop.set or now - self._saved >= self.checkpoint_seconds:
            self.save(estimator, finished=False)
            self.stop.check()

    def _watch(self, estimator: Estimator, step: int) -> None:
        """Score the curve's architectures; this must leave no trace in the estimator (the conformance kit checks)."""
        began, before = time.monotonic(), estimator.cost()
        columns = estimator.score(estimator.problem.processes.broadcast(self.curve))
        self._curve_seconds += time.monotonic() - began
        self._curve_images += int(estimator.cost()["score_images"] - before["score_images"])
        path = self.folder / "curve" / f"{step:09d}.npz"
        write_npz(path, {"passes": np.array(int(before["train_images"])), **columns})

    def curve_table(self, texts: Sequence[str]) -> pd.DataFrame | None:
        """Return the curve in long form: passes, architecture, score columns; None when nothing was watched."""
        parts = []
        for path in sorted((self.folder / "curve").glob("*.npz")):
            columns = read_npz(path)
            passes = int(columns.pop("passes"))
            parts.append(pd.DataFrame({"passes": passes, "architecture": list(texts), **columns}))
        return pd.concat(parts, ignore_index=True) if parts else None

    def cost(self) -> dict[str, float]:
        """Return seconds of training, and what watching the curve took besides."""
        return {
            "train_seconds": self.seconds - self._curve_seconds,
            "curve_seconds": self._curve_seconds,
            "curve_images": self._curve_images,
        }


class Follower(Monitor):
    """Listens on processes that follow the first: they save and tell nothing, and score the curve along with it."""

    def __init__(self, curve_points: int) -> None:
        self.curve_points = curve_points

    def after_step(
        self, estimator: Estimator, step: int, total: int, loss: torch.Tensor | float, learning_rate: float
    ) -> None:
        if is_curve_step(step, total, self.curve_points):
            estimator.score(estimator.problem.processes.broadcast([]))


def is_curve_step(step: int, total: int, points: int) -> bool:
    """Return whether a curve of so many points has one after a step."""
    return points > 0 and step in {round(total * k / points) for k in range(1, points + 1)}


def take_up(estimator: Estimator, problem: Problem, checkpoint: Path) -> dict[str, Any] | None:
    """Start an estimator, from a checkpoint if there is one; return what that holds, None without one.

    The first process decides which it is: another may look too late, when there is a newer one.
    """
    if not problem.processes.broadcast(checkpoint.exists()):
        estimator.start(problem)
        return None
    held = read_checkpoint(checkpoint, problem.device)
    try:
        estimator.restore(problem, held["estimator"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise DataError(
            f"checkpoint '{checkpoint}' cannot be read ({error}). Remove it to train from the start."
        ) from error
    held["finished"] = problem.processes.broadcast(held["finished"])
    return held


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name."""

    def put(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, **arrays)

    write_atomically(path, put)


def read_npz(path: Path) -> dict[str, Any]:
    """Return arrays by name; raise DataError when the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' is damaged ({error}). Remove it and run the same command again.") from error


def score_in_shards(
    estimator: Estimator,
    architectures: Sequence[Architecture],
    folder: Path,
    run_id: str,
    listener: Listener,
    stop: StopFlag,
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Score a pool shard by shard, keeping each on disk, and return the columns and what it took.

    A shard that is there already is not scored again, so a killed sweep goes on where it was. Shards are cut from the
    pool in the space's order: neighbours have work in common, which a scorer may do once.
    """
    order = sorted(range(len(architectures)), key=lambda row: estimator.problem.space.order(architectures[row]))
    architectures = [architectures[row] for row in order]
    parts: list[dict[str, Any]] = []
    began, processes = time.monotonic(), estimator.problem.processes
    names = estimator.score_columns()
    for start in range(0, len(architectures), SHARD):
        path = folder / "shards" / f"{start:07d}.npz"
        shard = architectures[start : start + SHARD]
        content = hashlib.sha256(repr(shard).encode()).hexdigest()  # another version may have cut the pool otherwise
        held = read_npz(path) if path.exists() else {}
        if held.get("content") != content:
            clock, before = time.monotonic(), estimator.cost()["score_images"]
            columns = checked(estimator, shard, estimator.score(processes.broadcast(shard)))
            images = estimator.cost()["score_images"] - before
            held = {"seconds": time.monotonic() - clock, "images": images, "content": content, **columns}
            write_npz(path, held)
        parts.append(held)
        done = min(start + SHARD, len(architectures))
        speed = done / max(1e-9, time.monotonic() - began)
        listener(Event(run_id, "score", done, len(architectures), f"{speed:.0f} architectures/s"))
        if stop.set and done < len(architectures):
            raise Interrupted
    processes.broadcast([])
    back = np.argsort(order)
    columns = {name: np.concatenate([part[name] for part in parts])[back] for name in names}
    cost = {f"score_{key}": float(sum(float(part[key]) for part in parts)) for key in ("seconds", "images")}
    return columns, cost


def score_along(estimator: Estimator) -> None:
    """Score what the first process scores in shards, until it has no more."""
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
