"""supertau search: evolutionary search with the estimator of a finished run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress

from supertau.benchmarks.cli.output import RESULTS, Json, Quiet, Results, err, out, print_json
from supertau.benchmarks.judging.comparison import find
from supertau.benchmarks.record import load_runs
from supertau.benchmarks.runs.search import evolve
from supertau.estimators.components.evolution import Evolution, EvolutionConfig

EXAMPLES = """Examples:

supertau search spos

supertau search spos-nasbench201-digits-s1 --generations 10 --max-params 1000000

1,050 evaluations by default: 50 random architectures and 20 generations of 50."""


def command(
    run: Annotated[str, typer.Argument(help="Estimator, title, group or run id of a finished run.")],
    population: Annotated[int, typer.Option(min=2)] = EvolutionConfig.population,
    generations: Annotated[int, typer.Option(min=0)] = EvolutionConfig.generations,
    mutation: Annotated[
        float, typer.Option(min=0, max=1, help="Probability of redrawing each decision; SPOS's code has 0.1.")
    ] = EvolutionConfig.mutation_probability,
    max_params: Annotated[int | None, typer.Option(help="Most parameters of the stand-alone network.")] = None,
    max_macs: Annotated[int | None, typer.Option(help="Most multiply-accumulates of it.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find a good architecture by its score, then look up how good it truly is."""
    held = find(load_runs(results), run).runs[0]
    config = EvolutionConfig(
        population=population, generations=generations, mutation_probability=mutation,
        mutants=population // 2, crossovers=population // 2, parents=min(EvolutionConfig.parents, population),
        max_parameters=max_params, max_macs=max_macs,
    )  # fmt: skip
    with Progress(console=err, disable=quiet or not err.is_terminal) as bars:
        task = bars.add_task(f"search with {held.record['run_id']}", total=generations + 1)

        def advance(evolution: Evolution) -> None:
            bars.advance(task)

        found = evolve(held, config, seed=seed, device=device, on_generation=advance)
    if as_json:
        print_json(found)
        return
    lines = [f"best by {found['score_column']} {found['score']:.4f}: {found['best']}"]
    if "truth" in found:
        t = found["truth"]
        lines.append(
            f"true accuracy on {t['dataset']} {t['accuracy']:.2f} %, rank {t['rank']} of {t['of']}, "
            f"{t['regret']:.2f} points below the best"
        )
    lines.append(f"{found['evaluations']} evaluations, {found['mutation_rule']}; kept in {found['file']}")
    for line in lines:
        out.print(line, markup=False)
