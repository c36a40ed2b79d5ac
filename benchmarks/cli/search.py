"""supertau search: evolutionary search with the estimator of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from supertau.benchmarks.cli.options import RESULTS, Json, Quiet, Results, application
from supertau.benchmarks.cli.output import print_json, say
from supertau.benchmarks.cli.progress import progress
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event

if TYPE_CHECKING:
    from supertau.estimators.components.evolution import Evolution

EXAMPLES = """Examples:

supertau search spos

supertau search spos-nasbench201-digits-s1 --generations 10 --max-params 1000000

1,050 evaluations by default: 50 random architectures and 20 generations of 50."""

app = application()


@app.command("search", epilog=EXAMPLES)
def command(
    run: Annotated[str, typer.Argument(help="Estimator, title, group or run id of a finished run.")],
    population: Annotated[int, typer.Option(min=2)] = 50,
    generations: Annotated[int, typer.Option(min=0)] = 20,
    mutation: Annotated[
        float, typer.Option(min=0, max=1, help="Probability of redrawing each decision; SPOS's code has 0.1.")
    ] = 0.3,
    max_params: Annotated[int | None, typer.Option(help="Most parameters of the stand-alone network.")] = None,
    max_macs: Annotated[int | None, typer.Option(help="Most multiply-accumulates of it.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    estimator: Annotated[
        str | None,
        typer.Option(help="The 'module:Class' of the run, where it is one: its code is imported only if named here."),
    ] = None,
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for a good architecture with a trained estimator.

    The estimator's score guides the search; the ground truth of the winner is looked up afterwards.
    """
    # torch takes seconds to import, which the help page and shell completion do not need.
    from supertau.benchmarks.verbs.search import search

    with progress(1, quiet=quiet, units={Phase.SCORE: "generation"}) as listener:

        def report(evolution: Evolution) -> None:
            listener(Event(f"search with {run}", Phase.SCORE, len(evolution.generations), generations + 1))

        result = search(
            run, population=population, generations=generations, mutation=mutation, max_params=max_params,
            max_macs=max_macs, seed=seed, device=device, estimator=estimator, results=results, on_generation=report,
        )  # fmt: skip
    if as_json:
        print_json(result.as_dict())
    else:
        say(result)
