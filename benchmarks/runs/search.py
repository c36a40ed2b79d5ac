"""Evolutionary search with the estimator of a finished run."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.files import read_sealed, write_atomically, write_sealed
from supertau.benchmarks.record import Role
from supertau.benchmarks.results import Run
from supertau.benchmarks.runs.plan import build
from supertau.benchmarks.runs.runner import pick_device
from supertau.benchmarks.task import Task
from supertau.estimators.components.evolution import Evolution, EvolutionConfig, search
from supertau.estimators.estimator import Estimator
from supertau.estimators.training.checkpoint import read_checkpoint
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.truth import GroundTruth


@dataclass(frozen=True)
class TrueAccuracy:
    """How good the winner truly is: accuracy (percent), its place among `of`, and points below the best of them."""

    dataset: str
    accuracy: float
    rank: int
    of: int
    best_accuracy: float
    regret: float


@dataclass(frozen=True)
class SearchResult:
    """What a search gave. score: of the winner, in the score column that guided the search. truth: None: not known."""

    run_id: str
    seed: int
    score_column: str
    mutation_rule: str
    best: str
    score: float
    evaluations: int
    trajectory: list[float]
    truth: TrueAccuracy | None
    file: Path

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**asdict(self), "file": str(self.file)}

    def __str__(self) -> str:
        lines = [f"best by {self.score_column} {self.score:.4f}: {self.best}"]
        if self.truth is not None:
            t = self.truth
            lines.append(
                f"true accuracy on {t.dataset} {t.accuracy:.2f} %, rank {t.rank} of {t.of}, "
                f"{t.regret:.2f} points below the best"
            )
        lines.append(f"{self.evaluations} evaluations, {self.mutation_rule}; kept in {self.file}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def fitted(run: Run, task: Task, config: RunConfig, device: str = "auto") -> Estimator:
    """Return the estimator of a finished run with its trained state."""
    place = pick_device(device)
    saved = read_checkpoint(run.folder, place, run.record.training)
    estimator = build(config)
    estimator.restore(task.problem(config, place), saved["estimator"])
    return estimator


def evolve(
    run: Run,
    config: EvolutionConfig,
    *,
    seed: int = 0,
    device: str = "auto",
    estimator: str | None = None,
    on_generation: Callable[[Evolution], None] | None = None,
) -> SearchResult:
    """Search with a run's estimator, judge the winner by ground truth, write the result to the run's folder.

    The estimator's primary score guides the search; ground truth is looked up only afterwards. After an interruption
    the same call goes on from the last whole generation. estimator: a 'module:Class' that may be imported: a record may
    come from elsewhere, and its word is not enough to run code. Raises SupertauError for a run that cannot score.
    """
    record = run.record
    if not run.finished:
        raise SupertauError(f"run '{record.run_id}' is {record.status.value}; finish it first.")
    if record.config is None or record.role is Role.CEILING:
        raise SupertauError(f"'{record.title}' cannot score new architectures, so it cannot guide a search.")
    if ":" in record.estimator and record.estimator != estimator:
        raise SupertauError(
            f"the record names the estimator '{record.estimator}', whose module would be imported. If you trust it, "
            f"name it: --estimator {record.estimator}"
        )
    task = Task.of(record.config)
    guide, space = fitted(run, task, record.config, device), task.space
    name = f"{seed}-{zlib.crc32(repr(config).encode()):08x}"
    state_path = run.folder / f"search-{name}.state.json"
    whose = {"run_id": record.run_id, "search": name}
    stored = read_sealed(state_path, **whose)
    if stored is None and state_path.exists():
        warnings.warn(f"'{state_path}' is damaged or of another search; the search begins anew.", stacklevel=2)

    def keep(evolution: Evolution) -> None:
        write_sealed(state_path, {**whose, "state": evolution.state_dict()})
        if on_generation is not None:
            on_generation(evolution)

    won = search(
        guide, space, config, rng=np.random.default_rng(seed), state=stored and stored["state"], on_generation=keep
    )
    path = run.folder / f"search-{name}.json"
    result = SearchResult(
        run_id=record.run_id,
        seed=seed,
        score_column=guide.score_columns()[0],
        mutation_rule=config.mutation_rule,
        best=space.format(won.best),
        score=won.score,
        evaluations=won.evaluations,
        trajectory=list(won.trajectory),
        # A surrogate is asked about what was visited, and the rank is then among that.
        truth=_true_accuracy(won.best, task.source.table(list(won.visited))),
        file=path,
    )
    write_atomically(path, json.dumps(result.as_dict(), indent=1) + "\n")
    state_path.unlink(missing_ok=True)
    return result


def _true_accuracy(best: tuple[int, ...], truth: GroundTruth) -> TrueAccuracy | None:
    if best not in truth:
        return None
    accuracy, highest = float(truth.mean[truth.rows([best])[0]]), float(truth.mean.max())
    rank = int((truth.mean > accuracy).sum()) + 1
    return TrueAccuracy(truth.dataset, accuracy, rank, len(truth.architectures), highest, highest - accuracy)
