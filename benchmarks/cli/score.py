"""supertau score: judge scores made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from supertau.benchmarks.cli.options import RESULTS, Json, Quiet, Results, application
from supertau.benchmarks.cli.output import say, table
from supertau.benchmarks.judging.judge import headline
from supertau.benchmarks.record import MetricRow
from supertau.benchmarks.verbs.score import score

EXAMPLES = """Examples:

supertau score my_scores.csv

supertau score seed1.parquet --name "My method" --seed 1 --column accuracy --truth cifar100

The table needs a column 'architecture' in the space's text form and at least one numeric column, higher is better."""

app = application()


@app.command("score", epilog=EXAMPLES)
def command(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet table: architecture, score, ...")],
    name: Annotated[str | None, typer.Option(help="Name on the leaderboard [default: the file's].")] = None,
    space: Annotated[str, typer.Option(help="Search space.")] = "nasbench201",
    truth: Annotated[str | None, typer.Option(help="Data set of the ground truth.")] = None,
    truth_path: Annotated[Path | None, typer.Option(help="File or folder to read the ground truth from.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Score column; may be repeated, the first is the primary.")
    ] = None,
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
        file, results=results, name=name, space=space, truth=truth, truth_path=truth_path, columns=column,
        source=source, seed=seed, trust_pickle=trust_pickle,
    )  # fmt: skip
    if as_json:
        say(run.record.to_json(), end="")
        return
    if not quiet:
        rows = [
            [m.column, m.view, m.key, _number(m.value, m.undefined), _interval(m), _number(m.ceiling)]
            for judgement in run.record.judgements
            for m in judgement.metrics
        ]
        table(run.record.title, ["column", "view", "metric", "value", "95 % interval", "ceiling"], rows)
    say(f"{headline(run.record, run.judgement())}\nrecord: {run.folder}")


def _number(value: float | None, instead: str | None = None) -> str:
    return f"{value:.4f}" if value is not None else instead or "-"


def _interval(row: MetricRow) -> str:
    return f"[{row.low:.4f}, {row.high:.4f}]" if row.low is not None and row.high is not None else "-"
