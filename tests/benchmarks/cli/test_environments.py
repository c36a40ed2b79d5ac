"""Odd machines and interruptions: no traceback, the right exit status, and nothing goes on behind the user's back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supertau.benchmarks.results import load_runs

MAIN = "from supertau.benchmarks.cli import main; main()"
VERSION_1 = Path(__file__).parents[2] / "data" / "records-v1"
SMOKE = ("--preset", "smoke", "--threads", "1", "--workers", "1", "--curve-points", "0")


def supertau(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments], cwd=cwd, env={**os.environ, **variables}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return shutil.copytree(VERSION_1, tmp_path / "results")


def test_the_backend_of_a_notebook_does_no_harm(results: Path) -> None:
    """A notebook exports it to the processes that it starts, where the package need not be installed."""
    done = supertau(
        "report", "--results", str(results), cwd=results, MPLBACKEND="module://a_backend_that_is_not_there.inline"
    )
    assert done.returncode == 0, done.stderr
    assert list((results / "report" / "figures").glob("*.png"))


def test_letters_that_the_terminal_lacks_are_no_error(results: Path) -> None:
    done = supertau(
        "report", "--results", str(results), "--no-figures", cwd=results,
        LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert r"\u03c4" in done.stdout
    assert "τ" in (results / "report" / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_closed_streams_are_no_error(results: Path, closed: str) -> None:
    number = {"stdout": 1, "stderr": 2}[closed]
    script = f'exec {number}>&-; exec "$0" -c "$1" list presets'
    done = subprocess.run(["bash", "-c", script, sys.executable, MAIN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_deleted_working_folder_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = 'mkdir "$2"; cd "$2"; rmdir "$2"; exec "$0" -c "$1" list presets'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, MAIN, str(gone)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "was deleted" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    for arguments in (("report",), ("compare", "a", "b"), ("run", "-e", "params", *SMOKE)):
        done = supertau(*arguments, "--results", "results", cwd=tmp_path)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
        assert "results" in done.stderr


SLOW = """
import time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from supertau.estimators.estimator import Estimator

@dataclass(frozen=True)
class C:
    pass

class Slow(Estimator):
    Config = C
    trains = False

    def score(self, architectures):
        Path("scoring").write_text(str(__import__("os").getpid()))
        time.sleep({seconds})
        return {{"score": np.arange(len(architectures), dtype=float)}}
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_ends_at_once_with_its_processes_and_goes_on_later(
    tmp_path: Path, number: int, status: int
) -> None:
    (tmp_path / "slow_plugin.py").write_text(SLOW.format(seconds=600))
    arguments = ("run", "-e", "slow_plugin:Slow", *SMOKE, "--results", "results")
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        while not (tmp_path / "scoring").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        # Ctrl-C reaches the processes of a terminal, SIGTERM one process.
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "the same command again goes on" in errors
    assert "Traceback" not in errors
    worker = int((tmp_path / "scoring").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert not any(run.finished for run in load_runs(tmp_path / "results"))
    (tmp_path / "slow_plugin.py").write_text(SLOW.format(seconds=0))
    done = supertau(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
