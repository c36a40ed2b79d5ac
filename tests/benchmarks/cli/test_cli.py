"""The command line as a user meets it: a process, its streams and exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from supertau.benchmarks.cli.app import app
from supertau.benchmarks.cli.run import parse_settings
from supertau.benchmarks.results import Run, load_runs
from supertau.benchmarks.verbs.run import plan
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.spaces import get_space

SMALL = ["--preset", "smoke", "--pool", "all:250", "--threads", "1"]


def supertau(*arguments: str, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from supertau.benchmarks.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def within(folder: Path, *arguments: str, status: int = 0) -> str:
    """Return what a command prints, or its errors, carried out in this very process: that saves loading torch again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.stderr if status else done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two seeds of spos, and the references, have been run."""
    where = tmp_path_factory.mktemp("cli")
    done = supertau(
        "run", "--estimator", "spos", "params", "random=2", "--seeds", "2", *SMALL,
        "--set", "bn=batch,recalibrated", "--set", "scoring_images=32", folder=where,
    )  # fmt: skip
    assert done.stdout == "", "progress and remarks belong on standard error"
    assert "spos-nasbench201-digits-s1" in done.stderr
    assert "Next: supertau report" in done.stderr
    return where


def named(folder: Path, estimator: str) -> list[Run]:
    return [run for run in load_runs(folder / "results/local") if run.record.estimator == estimator]


def test_a_deterministic_baseline_runs_once(folder: Path) -> None:
    names = sorted(p.parent.name.rpartition("-")[0] for p in (folder / "results/local/runs").glob("*/record.json"))
    ending = "nasbench201-digits"
    assert names == [f"params-{ending}-s0", *(f"{e}-{ending}-s{s}" for e in ("random", "spos") for s in (0, 1))]


def test_same_command_finds_finished_runs(folder: Path) -> None:
    done = supertau("run", "--estimator", "params", *SMALL, "--json", "--quiet", folder=folder)
    assert done.stderr == ""
    (row,) = json.loads(done.stdout)
    (run,) = named(folder, "params")
    assert row["status"] == "finished"
    assert row["run_id"] == run.record.run_id
    assert Path(folder / row["folder"]) == run.folder
    assert {m["view"] for m in row["metrics"]} == {"all", "unique", "connected"}
    assert {m["truth"] for m in row["metrics"]} == {j.truth.dataset for j in run.record.judgements}


def test_report_writes_tables_and_figures(folder: Path) -> None:
    printed = within(folder, "report")
    where = folder / "results/local/report"
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.tex", "leaderboard.html"):
        assert (where / name).stat().st_size > 500, name
    assert list((where / "figures").glob("*.png"))
    assert len(list((where / "figures").glob("*.png"))) == len(list((where / "figures").glob("*.pdf")))
    assert "SPOS" in printed
    assert "nan" not in re.findall(r"[a-z]+", (where / "leaderboard.md").read_text().lower())


def test_compare_says_what_it_compared(folder: Path) -> None:
    comparison = json.loads(within(folder, "compare", "params", "random", "--json"))
    assert comparison["distinguishable"]
    assert comparison["verdict"] == "A is better"
    assert "95 % interval" in within(folder, "compare", "params", "random", "--metric", "p_at_top_10pct")
    with pytest.raises(SupertauError, match="Did you mean 'kendall_tau'"):
        within(folder, "compare", "params", "random", "--metric", "kendal_tau")


def test_search_uses_a_trained_supernet_and_looks_truth_up_afterwards(folder: Path) -> None:
    arguments = ["search", "spos", "--population", "6", "--generations", "2", "--json"]
    result = json.loads(within(folder, *arguments))
    assert result["evaluations"] == 18
    space = get_space("nasbench201")
    truth = space.truth("cifar10")
    accuracy = truth.mean[truth.rows([space.parse(result["best"])])[0]]
    assert result["truth"]["accuracy"] == pytest.approx(accuracy)
    assert result["truth"]["rank"] == (truth.mean > accuracy).sum() + 1
    assert json.loads(within(folder, *arguments)) == result


def test_scores_from_elsewhere_join_the_results(folder: Path, tmp_path: Path) -> None:
    space = get_space("nasbench201")
    rows = [(space.format(a), sum(a)) for a in list(space.enumerate())[:250]]
    pd.DataFrame(rows, columns=["architecture", "score"]).to_csv(tmp_path / "mine.csv", index=False)
    assert "Kendall's tau" in within(tmp_path, "score", "mine.csv", "--name", "Mine")
    assert "mine" in within(tmp_path, "report", "--no-figures").lower()
    with pytest.raises(SupertauError, match=r"^'none.csv' does not exist"):
        within(tmp_path, "score", "none.csv")


def test_list_shows_everything_and_as_json(folder: Path) -> None:
    text = within(folder, "list")
    for word in ("nasbench201", "cifar10: 15,625 architectures", "digits", "spos", "kendall_tau", "quick", "naswot"):
        assert word in text, word
    rows = json.loads(within(folder, "list", "--json"))
    assert {e["name"] for e in rows["estimators"]} >= {"spos", "params", "synflow", "oracle_noise"}
    with pytest.raises(SupertauError, match="Did you mean 'estimators'"):
        within(folder, "list", "estimator")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--estimator", "spos=none"], "expected NAME=SEEDS"),
        (["run", "--estimator", "spoos"], "Did you mean 'spos'"),
        (["run", "--estimator", "spos", "--space", "nasbench20"], "Did you mean 'nasbench201'"),
        (["run", "--estimator", "spos", "--preset", "quik"], "Did you mean 'quick'"),
        (["run", "--estimator", "spos", "--images", "cifar"], "Did you mean 'cifar"),
        (["run", "--estimator", "spos", "--set", "batchsize=1"], "Did you mean 'batch_size'"),
        (["run", "--estimator", "spos", "--set", "batch_size"], "expected name=value"),
        (["run", "--estimator", "spos", "--device", "tpu"], "unknown device 'tpu'"),
        (["report"], "supertau run"),
        (["check", "spoos"], "Did you mean 'spos'"),
        (["data", "fetch", "cifar"], "Did you mean 'cifar"),
    ],
)
def test_errors_say_what_to_do(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, SupertauError)
    assert message in str(done.exception)
    assert done.stdout == ""


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = supertau("run", "--estimator", "spoos", folder=tmp_path, status=2)
    assert done.stderr.startswith("error: unknown estimator 'spoos'. Did you mean 'spos'")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_list_of_one_needs_no_brackets() -> None:
    def settings(*pairs: str) -> list[dict[str, object]]:
        configs = plan(["spos", "close"], settings=parse_settings(pairs), preset="smoke")
        return [config.estimator_config for config in configs]

    spos, close = settings("bn=batch", "learning_rate=0.1", "gate_mlp=100")
    assert (spos["bn"], spos["learning_rate"]) == (["batch"], 0.1)
    assert (close["bn"], close["learning_rate"], close["gate_mlp"]) == (["batch"], 0.1, [100])
    assert [c["bn"] for c in settings("bn=batch,recalibrated")] == [["batch", "recalibrated"]] * 2


def test_options_that_are_not_given_have_the_preset_s_values(folder: Path) -> None:
    spos = named(folder, "spos")[0].record.config
    assert spos is not None
    (expected,) = plan(
        ["spos"], preset="smoke", pool="all:250", settings={"bn": ["batch", "recalibrated"], "scoring_images": 32}
    )
    assert spos == expected


def test_a_failed_run_says_why_also_when_quiet(tmp_path: Path) -> None:
    (tmp_path / "broken_method.py").write_text(
        "from supertau.estimators.baselines import Random\n"
        "class Broken(Random):\n"
        "    def score(self, architectures):\n"
        "        raise RuntimeError('no idea')\n"
    )
    done = supertau("run", "--estimator", "broken_method:Broken", *SMALL, "--quiet", folder=tmp_path, status=1)
    assert done.stdout == ""
    assert re.fullmatch(r"error: Broken-nasbench201-digits-s0-\w+: .*no idea.*\n", done.stderr), done.stderr


def test_unknown_truth_and_pool_are_said_by_the_run(tmp_path: Path) -> None:
    arguments = ["run", "--estimator", "params", "--preset", "smoke", "--threads", "1"]
    assert "Did you mean 'cifar10'" in within(tmp_path, *arguments, "--truth", "cifar-11", status=2)
    assert "unknown pool 'every'" in within(tmp_path, *arguments, "--pool", "every", status=2)


def test_images_that_are_missing_say_where_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERTAU_DATA", str(tmp_path / "empty"))
    errors = within(tmp_path, "run", "--estimator", "spos", "--images", "cifar10", *SMALL, status=2)
    assert "supertau data fetch cifar10" in errors
    assert str(tmp_path / "empty") in errors
