"""supertau new-estimator: a plugin project, ready to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from supertau.benchmarks.cli.options import Json, Quiet, application
from supertau.benchmarks.cli.output import print_json, say
from supertau.benchmarks.plugin_template.project import FILES, names, new_estimator

EXAMPLES = """Examples:

supertau new-estimator my-method

supertau new-estimator my-method --to projects/my-method"""

app = application()


@app.command("new-estimator", epilog=EXAMPLES)
def command(
    name: Annotated[str, typer.Argument(help="Of the project and the estimator, e.g. my-method.")],
    to: Annotated[Path | None, typer.Option(help="Folder to write to, new or empty [default: ./NAME].")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a plugin project whose estimator already works.

    It passes `supertau check` and runs as it is; a comment in it marks where your idea goes.
    """
    words = names(name)
    folder = new_estimator(name, to or Path(words["project"]))
    if as_json:
        print_json({"folder": str(folder), "estimator": words["module"], "class": words["cls"]})
    elif not quiet:
        say(
            f"Wrote {len(FILES)} files to {folder}. Next:\n"
            f"  cd {folder}\n"
            "  pip install -e .\n"
            f"  supertau check {words['module']}\n"
            f"  supertau run --estimator {words['module']} --preset smoke\n"
            f"The method is in {words['module']}/estimator.py; YOUR IDEA marks where yours goes."
        )
