"""What listens to the training of a run: progress, checkpoints, and scores of a few architectures on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.arrays import read_npz, write_npz
from supertau.benchmarks.runs.events import Event, Listener, StopFlag
from supertau.estimators.estimator import Estimator, Monitor
from supertau.estimators.problem import Problem
from supertau.estimators.training.checkpoint import CHECKPOINT, read_checkpoint, sealed
from supertau.search_spaces.errors import DataError
from supertau.search_spaces.space import Architecture

REPORT_SECONDS = 0.2
"""Least time between two events of a training."""


class TrainingMonitor(Monitor):
    """Reports progress, saves checkpoints by the clock, and scores a few architectures along the way (the curve)."""

    def __init__(
        self,
        folder: Path,
        run_id: str,
        training: str,
        listener: Listener,
        stop: StopFlag,
        *,
        curve_points: int,
        curve: Sequence[Architecture],
        checkpoint_seconds: float,
    ) -> None:
        self.folder, self.run_id, self.training = folder, run_id, training
        self.listener, self.stop = listener, stop
        self.curve_points, self.curve = curve_points, curve
        self.checkpoint_seconds = checkpoint_seconds
        self.seconds = 0.0
        self._began = self._saved = time.monotonic()
        self._reported = -math.inf  # the first step is always reported: it shows where training starts or resumes
        self._first_images, self._start = 0.0, 0.0
        self._curve_images = 0
        self._curve_seconds = 0.0

    @property
    def checkpoint(self) -> Path:
        """The file that training resumes from."""
        return self.folder / CHECKPOINT

    def restore(self, estimator: Estimator, problem: Problem) -> bool:
        """Start the estimator, from the checkpoint if there is one; return whether its training is finished already."""
        saved = resume(estimator, problem, self.checkpoint, self.training)
        if saved is not None:
            self.seconds, self._curve_seconds = saved["seconds"], saved["curve_seconds"]
            self._curve_images = saved["curve_images"]
        return saved is not None and bool(saved["finished"])

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
        content = sealed(state, self.training)
        write_atomically(self.checkpoint, lambda part: torch.save(content, part))

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
            speed = f", {(images - self._first_images) / (now - self._start):,.0f} images/s" if self._start else ""
            if not self._start:  # the first step warms up and is left out of the speed
                self._first_images, self._start = images, now
            text = f"epoch {epochs:.1f}{speed}, loss {float(loss):.3f}, lr {learning_rate:.4f}"
            self.listener(Event(self.run_id, Phase.TRAIN, step, total, text))
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
        write_npz(path, {"run": self.run_id, "passes": np.array(int(before["train_images"])), **columns})

    def curve_table(self, texts: Sequence[str]) -> pd.DataFrame | None:
        """Return the curve in long form: passes, architecture, score columns; None when nothing was watched."""
        parts = []
        for path in sorted((self.folder / "curve").glob("*.npz")):
            try:
                columns = read_npz(path)
                if str(columns.pop("run", "")) != self.run_id:
                    raise DataError(f"'{path}' is of another run.")
            except DataError as error:  # the weights of that moment are gone, so the point cannot be made again
                self.listener(Event(self.run_id, Phase.LOAD, text=f"{error} The curve has a point less."))
                continue
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


class FollowingMonitor(Monitor):
    """For processes that follow the first one: they save and report nothing, and score the curve along with it."""

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


def resume(estimator: Estimator, problem: Problem, checkpoint: Path, training: str) -> dict[str, Any] | None:
    """Start an estimator, from a checkpoint if there is one; return the content of the checkpoint, None without one.

    training: the training that the checkpoint must be from.

    Only the first process looks whether there is one: by the time another looks, the first may have written a new one.
    """
    if not problem.processes.broadcast(checkpoint.exists()):
        estimator.start(problem)
        return None
    saved = read_checkpoint(checkpoint, problem.device, training)
    try:
        estimator.restore(problem, saved["estimator"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise DataError(
            f"checkpoint '{checkpoint}' cannot be read ({error}). Remove it to train from the start."
        ) from error
    saved["finished"] = problem.processes.broadcast(saved["finished"])
    return saved
