"""supertau run: train and score estimators, several seeds, side by side, resumable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from supertau.benchmarks.cli.options import RESULTS, GroupedCommand, Json, Quiet, Results, application, takes
from supertau.benchmarks.cli.output import ERROR, FAILED, INTERRUPTED, print_error, print_json, print_note
from supertau.benchmarks.cli.progress import progress
from supertau.benchmarks.options import ExecutionOptions, TaskOptions
from supertau.benchmarks.record import Phase
from supertau.search_spaces.errors import SupertauError

if TYPE_CHECKING:
    from supertau.benchmarks.execution.outcome import Outcome

EXAMPLES = """Examples:

supertau run --estimator spos params --seeds 3 --preset quick

supertau run --images cifar10 --estimator spos --preset standard --set sampling=unique

supertau run --estimator spos naswot=1 --seeds 3

supertau run --estimator all --preset smoke

supertau run --estimator spos close --seeds 3 --preset paper --executor ray --gpus 1 --threads 4

supertau run --estimator spos --images cifar10 --preset paper --devices 4

The same command again finds finished runs and goes on with unfinished ones."""

app = application()


@app.command("run", epilog=EXAMPLES, cls=GroupedCommand)
@takes(TaskOptions, ExecutionOptions)
def command(
    estimator: Annotated[
        list[str],
        typer.Option("--estimator", "-e", help="Names, 'module:Class' or 'all'; NAME=SEEDS overrides --seeds."),
    ],
    more: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="NAME")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from --first-seed on.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="name=value, for each estimator that has it; may be repeated.")
    ] = None,
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Train and score estimators; resumable, a record per run."""
    # torch takes seconds to import, which the help page and shell completion do not need.
    from supertau.benchmarks.verbs.run import carry_out, plan

    task = {name: value for name, value in options.items() if name in TaskOptions.__annotations__}
    execution = {name: value for name, value in options.items() if name not in task}
    names = [*estimator, *(more or [])]
    configs = plan(names, seeds=seeds, first_seed=first_seed, settings=parse_settings(setting or []), **task)
    with progress(len(configs), quiet=quiet) as listener:
        outcomes = carry_out(configs, results=results, listener=listener, **execution)
    finish(outcomes, as_json=as_json, quiet=quiet)


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Return name=value pairs as a dictionary; a value is JSON where it is, 'a,b' a list, and otherwise text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SupertauError(f"--set '{pair}': expected name=value, e.g. --set learning_rate=0.05.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text.split(",") if "," in text else text
    return values


def finish(outcomes: Sequence[Outcome], *, as_json: bool, quiet: bool) -> None:
    """Print how the runs ended, and exit with the status that says so."""
    if as_json:
        print_json([_row(outcome) for outcome in outcomes])
    stopped = [o for o in outcomes if o.phase is Phase.INTERRUPTED]
    for outcome in outcomes:
        if outcome.phase in (Phase.ERROR, Phase.FAILED):
            print_error(f"{_run_id(outcome)}: {outcome.message}")
    if stopped:
        print_note(f"{len(stopped)} of {len(outcomes)} runs interrupted; the same command again goes on with them.")
        raise typer.Exit(INTERRUPTED)
    if any(o.phase is Phase.ERROR for o in outcomes):
        raise typer.Exit(ERROR)
    if any(o.phase is Phase.FAILED for o in outcomes):
        raise typer.Exit(FAILED)
    if not quiet and not as_json:
        print_note("Next: supertau report")


def _run_id(outcome: Outcome) -> str:
    # As in `command`: only what has run needs it.
    from supertau.benchmarks.runs.plan import identify

    return outcome.run.record.run_id if outcome.run else identify(outcome.config).run_id


def _row(outcome: Outcome) -> dict[str, Any]:
    record = outcome.run.record if outcome.run else None
    return {
        "run_id": _run_id(outcome),
        "status": outcome.phase,
        "message": outcome.message,
        "folder": str(outcome.run.folder) if outcome.run else None,
        "metrics": [
            {"truth": judgement.truth.dataset, **asdict(metric)}
            for judgement in (record.judgements if record else ())
            for metric in judgement.metrics
        ],
    }
