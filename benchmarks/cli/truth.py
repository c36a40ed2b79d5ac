"""supertau truth: ground truth made by stand-alone training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from supertau.benchmarks.cli.options import RESULTS, Json, Quiet, Results, application
from supertau.benchmarks.cli.output import FAILED, INTERRUPTED, print_json, print_note, table
from supertau.benchmarks.cli.progress import progress
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Interrupted

app = application(
    help="Make and check ground truth by stand-alone training.\n\nFor a space or an image set that has none.",
    epilog="Example: supertau truth train --space nasbench301 --pool random:200",
    no_args_is_help=True,
)


@app.command(
    "train",
    epilog="Example: supertau truth train --space nasbench301 --pool random:200 --seeds 2. The same command again goes "
    "on with what is unfinished. Use the table with: supertau run --space nasbench301 --truth micro --truth-path FILE",
)
def train_command(
    space: Annotated[str, typer.Option(help="Search space.")],
    recipe: Annotated[str, typer.Option(help="How to train.")] = "micro",
    pool: Annotated[str, typer.Option(help="random:COUNT, or as for `supertau run`.")] = "random:200",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per architecture; two give a noise ceiling.")] = 2,
    images: Annotated[str | None, typer.Option(help="Image set [default: the recipe's].")] = None,
    image_size: Annotated[int | None, typer.Option(min=1)] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Width C.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Cells per stage N.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call the ground truth [default: the recipe's name, if unchanged].")
    ] = None,
    table_path: Annotated[Path | None, typer.Option("--out", help="Table to write: .parquet, .csv or .csv.gz.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trainings side by side [default: one per core].")] = None,
    results: Results = RESULTS,
    quiet: Quiet = False,
) -> None:
    """Train each architecture stand-alone and write a table; resumable."""
    # torch takes seconds to import, which the help page and shell completion do not need.
    from supertau.benchmarks.standalone.table import make_truth
    from supertau.benchmarks.standalone.training import get_recipe

    used = get_recipe(
        recipe, space, called=name, images=images, image_size=image_size, channels=channels, cells=cells, epochs=epochs
    )
    try:
        with progress(1, quiet=quiet, units={Phase.TRAIN: "training"}) as listener:
            make_truth(
                space, used, pool=pool, seeds=seeds, results=results, out=table_path, workers=workers, listener=listener
            )
    except Interrupted:
        print_note("interrupted; the same command again goes on with it.")
        raise typer.Exit(INTERRUPTED) from None


@app.command(
    "check",
    epilog="Examples: supertau truth check --space nds-resnet; "
    "supertau truth check --space nasbench301 results/local/truth/nasbench301-micro.parquet",
)
def check_command(
    space: Annotated[str, typer.Option(help="Search space.")],
    path: Annotated[
        Path | None,
        typer.Argument(help="A table made by `supertau truth train` [default: the one that comes with supertau]."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Rows to train again.")] = 3,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train some rows of a table again and compare.

    Exit status 1 when one differs by more than two seeds of the table do.
    """
    # torch takes seconds to import, which the help page and shell completion do not need.
    from supertau.benchmarks.standalone.table import check_table

    with progress(1, quiet=quiet or as_json, units={Phase.TRAIN: "training"}) as listener:
        rows = check_table(path, space, count, listener)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        table(
            "Trained again",
            ["table", "now", "architecture"],
            [[f"{r.table:.2f}", f"{r.now:.2f}", r.architecture] for r in rows],
        )
    limit = rows[0].limit
    if any(row.is_wrong for row in rows):
        print_note(
            f"differs by more than {limit:.1f} points, which rounding and chance hardly explain: the table is wrong."
        )
        raise typer.Exit(FAILED)
    if not all(row.is_equal for row in rows):
        print_note(
            "not bit-identical: another CPU or torch version rounds differently, and training amplifies that. "
            f"Differences up to {limit:.1f} points, as between two seeds of the table, are usual then."
        )
