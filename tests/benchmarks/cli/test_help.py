"""What the command line says about itself, and that it says so at once."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from supertau.benchmarks.cli import search
from supertau.benchmarks.cli.app import COMMANDS, app
from supertau.benchmarks.options import ExecutionOptions, TaskOptions
from supertau.benchmarks.verbs.search import search as verb

SLOW = ("torch", "matplotlib", "numpy", "pandas", "scipy", "rich")
CALLS = [
    *([name] for name in COMMANDS),
    ["data", "list"],
    ["data", "fetch"],
    ["data", "verify"],
    ["truth", "train"],
    ["truth", "check"],
]


def process(folder: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def imported(folder: Path, *arguments: str) -> list[str]:
    """Return which of the slow packages a command imports."""
    code = f"""
import atexit, sys
from supertau.benchmarks.cli import main
atexit.register(lambda: print("imported:", *[name for name in {SLOW} if name in sys.modules]))
main()
"""
    done = process(folder, code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("imported:").split()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_the_application_itself_imports_nothing_slow(argument: str, tmp_path: Path) -> None:
    assert imported(tmp_path, argument) == []


def test_without_arguments_it_shows_its_help() -> None:
    assert "Commands:" in CliRunner().invoke(app, []).output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_does_not_import_torch(name: str, tmp_path: Path) -> None:
    assert "torch" not in imported(tmp_path, name, "--help")


def test_presets_are_listed_without_torch(tmp_path: Path) -> None:
    assert imported(tmp_path, "list", "presets", "--json") == []
    assert imported(tmp_path, "list", "presets") == ["rich"]


@pytest.mark.parametrize("name", COMMANDS)
def test_one_line_of_help_is_that_of_the_command(name: str) -> None:
    module, summary = COMMANDS[name]
    command = importlib.import_module(f"supertau.benchmarks.cli.{module}")
    text = inspect.getdoc(command.command) if hasattr(command, "command") else command.app.info.help
    assert text is not None
    assert text.splitlines()[0] == summary


def test_every_module_of_a_command_is_listed() -> None:
    folder = Path(inspect.getfile(importlib.import_module("supertau.benchmarks.cli.app"))).parent
    modules = {path.stem for path in folder.glob("*.py") if "\napp = application(" in path.read_text()}
    assert modules == {module for module, _ in COMMANDS.values()}


@pytest.mark.parametrize("arguments", [[], ["data"], ["truth"]])
def test_no_line_of_the_lists_of_commands_is_cut(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = CliRunner().invoke(app, [*arguments, "--help"]).stdout
    assert "Commands:" in text
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
def test_help_says_how_to_call_and_ends_with_examples(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, [*arguments, "--help"], prog_name="supertau")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: supertau {' '.join(arguments)} ")
    options, _, examples = done.stdout.partition("Example")
    assert "--help" in options
    assert f"supertau {' '.join(arguments)}" in examples


def test_help_of_run_shows_every_option_with_its_help_in_its_group() -> None:
    text = " ".join(CliRunner().invoke(app, ["run", "--help"]).stdout.split())
    task, execution = text.index("What is ranked, by what"), text.index("Where and how runs are carried out")
    for declaration, begin, end in ((TaskOptions, task, execution), (ExecutionOptions, execution, len(text))):
        for name, hint in get_type_hints(declaration, include_extras=True).items():
            (about,) = hint.__metadata__
            place = text.find(f"--{name.replace('_', '-')} ", begin, end)
            assert place >= 0, name
            assert about.text in text[place:end], name
            if about.least is not None:
                assert f"[x>={about.least}]" in text[place:end], name


def test_defaults_of_search_are_those_of_the_interface() -> None:
    ours, theirs = (inspect.signature(function).parameters for function in (search.command, verb))
    shared = ours.keys() & theirs.keys() - {"run", "results"}
    assert shared == {"population", "generations", "mutation", "max_params", "max_macs", "seed", "device", "estimator"}
    assert {name: ours[name].default for name in shared} == {name: theirs[name].default for name in shared}


def test_version(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.stdout.startswith("supertau ")


def test_unknown_command_names_the_nearest(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["raport"])
    assert done.exit_code == 2
    assert "report" in done.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("supertau re", {"report"}),
        ("supertau run --image", {"--images", "--image-size"}),
        ("supertau data f", {"fetch"}),
    ],
)
def test_shell_completion(words: str, expected: set[str], tmp_path: Path) -> None:
    done = process(
        tmp_path,
        "from supertau.benchmarks.cli import main; main()",
        _SUPERTAU_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert set(done.stdout.split()) == expected, done.stderr


def test_a_users_file_does_not_take_the_place_of_the_standard_librarys(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('not the standard library')")
    (tmp_path / "own_module.py").write_text("")
    console_script = "import sys; sys.path.remove(''); from supertau.benchmarks.cli import main; main()"
    done = process(tmp_path, console_script, "list", "presets")
    assert done.returncode == 0, done.stderr
    # It is looked through all the same: the module is there, the class is not.
    done = process(tmp_path, console_script, "check", "own_module:Mine")
    assert "unknown estimator in own_module 'Mine'" in done.stderr
    assert done.returncode == 2


def test_the_application_has_every_command_by_name() -> None:
    assert list(get_command(app).commands) == list(COMMANDS)  # type: ignore[attr-defined]
