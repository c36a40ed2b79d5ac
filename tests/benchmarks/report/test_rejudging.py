"""`report --truth`: stored scores against a ground truth that did not judge them, and records of the first schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from supertau.benchmarks.record import Role
from supertau.benchmarks.report import leaderboard, report
from supertau.benchmarks.report.checks import disagreements
from supertau.benchmarks.report.table import TAU
from supertau.benchmarks.results import load_runs
from supertau.search_spaces.errors import UnknownName
from supertau.search_spaces.spaces import get_space

if TYPE_CHECKING:
    from tests.benchmarks.report.conftest import Results

FIRST = Path(__file__).parents[2] / "data" / "records-v1"
"""Three runs as the first schema wrote them: SPOS, a free baseline, and a noise ceiling on half of the pool."""


def accuracies(dataset: str, texts: list[str]) -> np.ndarray:
    space = get_space("nasbench201")
    truth = space.truth(dataset).table([space.parse(text) for text in texts])
    return np.asarray(truth.mean[truth.rows([space.parse(text) for text in texts])])


def test_another_truth_is_judged_on_demand_from_stored_scores(empty_results: Results) -> None:
    r, score = empty_results, empty_results.scores(0.4, 0)
    r.add("close", "CLOSENet", score)
    r.add("oracle", "One seed", r.trials[:, 0], role=Role.CEILING, left_out="777")
    r.fail("spos", "SPOS")
    (table,) = leaderboard(load_runs(r.folder), truth="cifar100")
    assert table.task.truth is not None
    assert table.task.truth.dataset == "cifar100"
    assert [row.label for row in table.rows if row.run_ids] == ["CLOSENet"]
    cell = next(row for row in table.rows if row.run_ids).cells["all", TAU]
    expected = kendalltau(score, accuracies("cifar100", r.architectures)).statistic
    assert cell.value == pytest.approx(expected)
    assert cell.interval == "pool"
    assert len(table.failures) == 1
    assert disagreements(table) == []


def test_runs_that_were_judged_by_the_data_set_are_not_judged_again(empty_results: Results) -> None:
    r = empty_results
    r.add("close", "CLOSENet", r.scores(0.4, 0), by=[r.other(split="x-test")])
    (table,) = leaderboard(load_runs(r.folder), truth="cifar10")
    assert table.task.truth is not None
    assert table.task.truth.split == "x-test"


def test_a_truth_that_no_run_and_no_space_has_is_unknown(results: Results) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'imagenet16-120'"):
        leaderboard(load_runs(results.folder), truth="imagenet16")


def test_records_of_the_first_schema_are_one_table_with_their_ceiling(tmp_path: Path) -> None:
    made = report(FIRST, tmp_path / "out")
    (table,) = made.tables
    tau = {row.label: row.tau("all") for row in table.rows}
    assert list(tau) == ["One training seed (noise ceiling)", "Parameters", "Random order", "SPOS"]
    assert [tau["Parameters"], tau["SPOS"]] == pytest.approx([0.608698, -0.150543], abs=1e-6)
    assert table.ceiling == pytest.approx(0.978947, abs=1e-6)
    assert table.doubts == ()
    assert (table.n, table.pools) == (40, ("all:40",))
    assert table.task.pool is not None
    assert table.task.pool.digest
    assert "judged on 20 architectures" in table.rows[0].notes
    assert len([p for p in made.files if p.suffix == ".png"]) == 3 + 2 * 2
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "Ground truth: data set cifar10, split x-valid, epochs 200" in text


def test_records_of_the_first_schema_are_judged_by_another_truth(tmp_path: Path) -> None:
    made = report(FIRST, tmp_path / "out", truth="cifar100", figures=False)
    (table,) = made.tables
    runs = {run.record.title: run for run in load_runs(FIRST)}
    scores = runs["Parameters"].scores
    expected = kendalltau(scores["score"], accuracies("cifar100", list(scores["architecture"]))).statistic
    lines = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    line = lines[(lines["title"] == "Parameters") & (lines["metric"] == TAU) & (lines["view"] == "all")]
    assert line["value"].item() == pytest.approx(expected)
    assert set(lines["truth"]) == {"cifar100"}
    assert "One training seed (noise ceiling)" not in set(lines["title"])
    assert disagreements(table) == []
