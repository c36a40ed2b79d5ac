"""Evolutionary search with the estimator of a finished run."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from supertau.benchmarks.config import from_dict
from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.record import Run
from supertau.benchmarks.runs.runner import load_truths, make_problem, pick_device
from supertau.estimators.components.evolution import Evolution, EvolutionConfig, search
from supertau.estimators.estimator import Estimator
from supertau.estimators.training.checkpoint import read_checkpoint
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.spaces import get_space


def fitted(run: Run, device: str = "auto") -> Estimator:
    """Return the estimator of a finished run with its trained state; raise SupertauError when it has none."""
    if not run.finished:
        raise SupertauError(f"run '{run.record['run_id']}' is {run.record['status']}; finish it first.")
    if run.record["role"] in ("external", "ceiling"):
        raise SupertauError(f"'{run.record['title']}' cannot score new architectures, so it cannot guide a search.")
    config = from_dict(run.record["config"])
    place = pick_device(device)
    held = read_checkpoint(run.folder, place)
    estimator = config.build()
    estimator.restore(make_problem(config, get_space(config.space), place), held["estimator"])
    return estimator


def evolve(
    run: Run,
    config: EvolutionConfig,
    *,
    seed: int = 0,
    device: str = "auto",
    on_generation: Callable[[Evolution], None] | None = None,
) -> dict[str, Any]:
    """Search with a run's estimator, judge the winner by ground truth, keep the result in the run's folder; return it.

    The estimator's primary score guides the search; ground truth is looked up only afterwards. Interrupted, it goes on
    from the last whole generation.
    """
    estimator = fitted(run, device)
    space = estimator.problem.space
    digest = f"{seed}-{zlib.crc32(repr(config).encode()):08x}"
    state_path = run.folder / f"search-{digest}.state.json"
    state = json.loads(state_path.read_text()) if state_path.exists() else None

    def keep(evolution: Evolution) -> None:
        write_atomically(state_path, json.dumps(evolution.state_dict()))
        if on_generation is not None:
            on_generation(evolution)

    found = search(estimator, space, config, rng=np.random.default_rng(seed), state=state, on_generation=keep)
    run_config = from_dict(run.record["config"])
    # A surrogate is asked about what was visited, and the rank is then among that.
    truth = load_truths(space, run_config, trust_pickle=False)[run_config.truth].table(list(found.visited))
    result: dict[str, Any] = {
        "run_id": run.record["run_id"],
        "seed": seed,
        "score_column": estimator.score_columns()[0],
        "mutation_rule": config.mutation_rule,
        "best": space.format(found.best),
        "score": found.score,
        "evaluations": found.evaluations,
        "trajectory": list(found.trajectory),
    }
    if found.best in truth:
        accuracy = float(truth.mean[truth.rows([found.best])[0]])
        result["truth"] = {
            "dataset": truth.dataset,
            "accuracy": accuracy,
            "rank": int((truth.mean > accuracy).sum()) + 1,
            "of": len(truth.architectures),
            "best_accuracy": float(truth.mean.max()),
            "regret": float(truth.mean.max() - accuracy),
        }
    path = run.folder / f"search-{digest}.json"
    write_atomically(path, json.dumps(result, indent=1) + "\n")
    state_path.unlink(missing_ok=True)
    return {**result, "file": str(path)}
