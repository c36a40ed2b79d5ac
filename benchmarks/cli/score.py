"""supertau score: judge scores made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from supertau.benchmarks.cli.options import RESULTS, Json, Quiet, Results, application
from supertau.benchmarks.cli.output import print_note, say, table
from supertau.benchmarks.judging.judge import headline
from supertau.benchmarks.record import MetricRow
from supertau.benchmarks.verbs.score import score

EXAMPLES = """Examples:

supertau score my_scores.csv

supertau score seed1.parquet --name "My method" --seed 1 --column accuracy --truth cifar100

The table names architectures (column 'architecture') and has one score column, or one called 'score'; else name it with
--column. CSV, Parquet and JSON are read by content."""

app = application()


@app.command("score", epilog=EXAMPLES)
def command(
    file: Annotated[Path, typer.Argument(help="Table (CSV, Parquet or JSON): architecture, score, ...")],
    name: Annotated[str | None, typer.Option(help="Name on the leaderboard [default: the file's].")] = None,
    space: Annotated[str, typer.Option(help="Search space.")] = "nasbench201",
    truth: Annotated[str | None, typer.Option(help="Data set of the ground truth.")] = None,
    truth_path: Annotated[Path | None, typer.Option(help="File or folder to read the ground truth from.")] = None,
    truth_split: Annotated[
        str | None, typer.Option(help="Images that true accuracies were measured on, where there are several.")
    ] = None,
    truth_epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of the true trainings, where there are several.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Score column; may be repeated, the first is the primary.")
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="The scores are losses, errors or ranks.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of this run of the method.")] = 0,
    source: Annotated[str, typer.Option(help="Where the scores come from, for the record.")] = "",
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Read a --truth-path that could run code.")
    ] = False,
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge scores that were made elsewhere, without training.

    They get all metrics, a record, and a place on the leaderboard.
    """
    run = score(
        file, results=results, name=name, space=space, truth=truth, truth_path=truth_path, truth_split=truth_split,
        truth_epochs=truth_epochs, columns=column, lower_is_better=lower_is_better, source=source, seed=seed,
        trust_pickle=trust_pickle,
    )  # fmt: skip
    taken, *hints = run.record.diagnostics["table"]["notes"]
    for hint in hints:
        print_note(hint)
    if as_json:
        say(run.record.to_json(), end="")
        return
    say(taken)
    judgement = run.judgement()
    if not quiet:
        rows = [
            [m.column, m.view, m.key, _number(m.value, m.undefined), _interval(m), _number(m.ceiling)]
            for m in judgement.metrics
        ]
        table(run.record.title, ["column", "view", "metric", "value", "95 % interval", "ceiling"], rows)
    say(f"{judgement.truth.caption}\n{headline(run.record, judgement)}\nrecord: {run.folder}")


def _number(value: float | None, instead: str | None = None) -> str:
    return f"{value:.4f}" if value is not None else instead or "-"


def _interval(row: MetricRow) -> str:
    return f"[{row.low:.4f}, {row.high:.4f}]" if row.low is not None and row.high is not None else "-"
