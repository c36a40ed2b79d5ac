"""search: evolutionary search with the estimator of a finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from supertau.benchmarks.judging.comparison import find
from supertau.benchmarks.results import Run, load_runs
from supertau.benchmarks.runs.search import SearchResult, evolve
from supertau.estimators.components.evolution import Evolution, EvolutionConfig


def search(
    run: str | Run,
    *,
    population: int = EvolutionConfig.population,
    generations: int = EvolutionConfig.generations,
    mutation: float = EvolutionConfig.mutation_probability,
    max_params: int | None = None,
    max_macs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    estimator: str | None = None,
    results: Path | str = "results/local",
    on_generation: Callable[[Evolution], None] | None = None,
) -> SearchResult:
    """Find a good architecture by the scores of a finished run, then look up how good it truly is.

    Args:
        run: a run, or an estimator, title, group or run id among the finished runs of `results`; of several seeds the
            first is used.
        population, generations: sizes of the search; (generations + 1) * population architectures are scored at most.
        mutation: probability of redrawing each decision, 0 to 1; SPOS's code has 0.1.
        max_params, max_macs: limits of the stand-alone network.
        estimator: the 'module:Class' of the run, where it is one: its module is imported only when it is named here.
        on_generation: called after each generation.

    Raises:
        SupertauError: for a run that is not finished, or whose scores were made elsewhere.

    Example:
        >>> import supertau
        >>> run = supertau.run("params", preset="smoke", results=folder)
        >>> result = supertau.search(run, population=10, generations=2, max_params=500_000)
        >>> result.evaluations <= 30
        True
    """
    chosen = run if isinstance(run, Run) else find(load_runs(results), run).runs[0]
    config = EvolutionConfig(
        population=population, generations=generations, mutation_probability=mutation,
        mutants=population // 2, crossovers=population // 2, parents=min(EvolutionConfig.parents, population),
        max_parameters=max_params, max_macs=max_macs,
    )  # fmt: skip
    return evolve(chosen, config, seed=seed, device=device, estimator=estimator, on_generation=on_generation)
