"""Commands and a plugin's tests in a folder of the user's whose modules have the names of ours, or of Python's own.

Folders called `benchmarks` are common: the template of asv makes one. A process that imports what lies in the folder it
was started in would run the user's module there, or end.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supertau.benchmarks.plugin_template.project import new_estimator

ROOMS = ("search_spaces", "estimators", "benchmarks")
RAISES = "raise ImportError(f'the module {__name__} of the user was imported')\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `supertau new-estimator` makes it, with packages named as ours and a module with an estimator."""
    project = new_estimator("my-method", tmp_path_factory.mktemp("foreign") / "my-method")
    for room in ROOMS:
        (project / room).mkdir()
        (project / room / "__init__.py").write_text(RAISES)
    (project / "mine.py").write_text(
        "from supertau.estimators.baselines import Params\n\n\nclass Mine(Params):\n    pass\n"
    )
    return project


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment as a user does: unlike `python -m`, it does not look for modules in cwd."""
    command = shutil.which(name, path=str(Path(sys.executable).parent))
    assert command, f"no command {name} beside {sys.executable}"
    return subprocess.run([command, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def run(*estimators: str, cwd: Path, results: Path, devices: int = 1) -> None:
    """Require that `supertau run` finishes a run of each estimator."""
    size = ("--preset", "smoke", "--curve-points", "0", "--pool", "all:100")
    where = ("--results", str(results), "--device", "cpu", "--devices", str(devices))
    done = script("supertau", "run", "--estimator", *estimators, *size, *where, "--json", "--quiet", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [outcome["status"] for outcome in json.loads(done.stdout)] == ["finished"] * len(estimators)


def test_the_folder_is_what_it_is_meant_to_be(folder: Path) -> None:
    for room in ROOMS:
        done = subprocess.run(
            [sys.executable, "-c", f"import {room}"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert f"the module {room} of the user was imported" in done.stderr


def test_runs_import_none_of_the_users_packages(folder: Path, tmp_path: Path) -> None:
    run("params", "spos", "mine:Mine", cwd=folder, results=tmp_path)


def test_a_project_from_the_template_passes_its_own_tests_there(folder: Path) -> None:
    done = script("pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.fixture(scope="module")
def shadowing(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder that has modules with names of the standard library, too."""
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("shadowing") / "my-method")
    for name in ("queue", "random", "statistics"):
        (copy / f"{name}.py").write_text(RAISES)
    return copy


def test_runs_import_the_standard_library(shadowing: Path, tmp_path: Path) -> None:
    run("params", "mine:Mine", cwd=shadowing, results=tmp_path)


@pytest.mark.skipif(not importlib.util.find_spec("lightning_fabric"), reason="needs the extra 'ddp'")
def test_a_run_on_two_devices_imports_the_standard_library(shadowing: Path, tmp_path: Path) -> None:
    run("spos", cwd=shadowing, results=tmp_path, devices=2)


def test_stand_alone_training_imports_the_standard_library(shadowing: Path, tmp_path: Path) -> None:
    size = ("--space", "nasbench201", "--pool", "random:2", "--seeds", "1", "--epochs", "1", "--workers", "1")
    table = tmp_path / "table.parquet"
    done = script(
        "supertau", "truth", "train", *size, "--out", str(table), "--results", str(tmp_path), "--quiet", cwd=shadowing
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert table.is_file()
