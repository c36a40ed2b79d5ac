"""What may stand in one table: two truths of one name never do, one pool under two names does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from supertau.benchmarks.judging.comparison import compare, find
from supertau.benchmarks.record import Role, Status
from supertau.benchmarks.report import Table, leaderboard, report
from supertau.benchmarks.results import load_runs
from supertau.search_spaces.errors import SupertauError

if TYPE_CHECKING:
    from tests.benchmarks.report.conftest import Results


def tables_of(results: Results) -> list[Table]:
    return leaderboard(load_runs(results.folder))


def competitors(table: Table) -> list[str]:
    return [row.label for row in table.rows if row.run_ids]


def tau_of(table: Table, label: str) -> float:
    tau = next(row for row in table.rows if row.label == label).tau("all")
    assert tau is not None
    return tau


def test_the_same_scores_judged_by_two_truths_of_one_name_are_in_two_tables(empty_results: Results) -> None:
    r, scores = empty_results, empty_results.scores(0.4, 0)
    mine = r.other(source="my own training", sha256="cd" * 32)
    r.add("Mine", "Mine", scores, role=Role.EXTERNAL)
    r.add("Mine", "Mine", scores, role=Role.EXTERNAL, by=[mine])
    tables = tables_of(r)
    assert [competitors(t) for t in tables] == [["Mine"], ["Mine"]]
    taus = {t.task.truth.source: tau_of(t, "Mine") for t in tables if t.task.truth}
    expected = [float(kendalltau(scores, truth.mean).statistic) for truth in (r.default, mine)]
    assert list(taus.values()) == pytest.approx(expected)
    assert all(t.repeated == 0 for t in tables)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"split": "x-test"}, "split x-test"),
        ({"epochs": 12}, "epochs 12"),
        ({"source": "another maker"}, "truth by another maker"),
        ({"sha256": "cd" * 32}, "truth file cdcdcdcd"),
    ],
)
def test_no_caption_speaks_for_a_method_that_another_truth_judged(
    empty_results: Results, tmp_path: Path, what: dict[str, object], words: str
) -> None:
    r = empty_results
    r.add("close", "Validated", r.scores(0.4, 0))
    r.add("spos", "Tested", r.scores(0.5, 0), by=[r.other(**what)])
    tables = tables_of(r)
    assert sorted(competitors(t) for t in tables) == [["Tested"], ["Validated"]]
    tested = next(t for t in tables if competitors(t) == ["Tested"])
    assert tested.title.endswith(words)
    assert tested.task.truth is not None
    assert tested.task.truth.caption in tested.caption
    assert len({t.title for t in tables}) == 2
    assert len({t.name for t in tables}) == 2


def test_a_run_stands_in_the_table_of_each_truth_that_judged_it(empty_results: Results, tmp_path: Path) -> None:
    r, scores = empty_results, empty_results.scores(0.4, 0)
    test = r.other(split="x-test")
    r.add("close", "CLOSENet", scores, by=[r.default, test], curve=True)
    made = report(r.folder, tmp_path / "out")
    assert len(made.tables) == 2
    for table in made.tables:
        assert table.task.truth is not None
        accuracy = test.mean if table.task.truth.split == "x-test" else r.truth
        assert tau_of(table, "CLOSENet") == pytest.approx(kendalltau(scores, accuracy).statistic)
        assert table.doubts == ()
    images = [path for path in made.files if path.suffix == ".png"]
    assert len(images) == len(set(images)) == 2 * 5


def test_two_titles_with_equal_scores_are_two_rows(empty_results: Results) -> None:
    r, scores = empty_results, empty_results.scores(0.4, 0)
    for title in ("One method", "Another method"):
        r.add(title, title, scores, role=Role.EXTERNAL)
    (table,) = tables_of(r)
    assert sorted(competitors(table)) == ["Another method", "One method"]
    assert table.repeated == 0


def test_titles_that_make_one_file_name_have_figures_of_their_own(empty_results: Results, tmp_path: Path) -> None:
    r = empty_results
    for title in ("My method", "my-method"):
        r.add(title, title, r.scores(0.4, len(title)), role=Role.EXTERNAL)
    images = [path for path in report(r.folder, tmp_path / "out").files if path.suffix == ".png"]
    assert len(images) == len(set(images)) == 2 + 2 * 2


def test_one_pool_from_two_files_is_one_table(empty_results: Results) -> None:
    r = empty_results
    for name in ("mine.txt@1a2b", "yours.txt@3c4d"):
        r.add(name, name, r.scores(0.4, len(name)), role=Role.EXTERNAL, pool=name)
    (table,) = tables_of(r)
    assert len(competitors(table)) == 2
    assert "pool 'mine.txt@1a2b' (also called 'yours.txt@3c4d')" in table.caption


def test_two_pools_of_one_name_are_two_tables(empty_results: Results) -> None:
    r = empty_results
    r.add("close", "Large", r.scores(0.4, 0))
    r.add("spos", "Small", r.scores(0.4, 0), count=100)
    tables = tables_of(r)
    assert sorted(competitors(t) for t in tables) == [["Large"], ["Small"]]
    digests = {t.task.pool.digest for t in tables if t.task.pool}
    assert {t.title.rpartition("pool ")[2] for t in tables} == digests


def test_a_noise_ceiling_joins_the_table_whose_pool_holds_its_own(empty_results: Results) -> None:
    r = empty_results
    ceiling = r.trials[:, 0]
    r.add("close", "CLOSENet", r.scores(0.4, 0))
    r.add("oracle", "One seed", ceiling, role=Role.CEILING, left_out="777", count=100, pool="all with 3 trials")
    (table,) = tables_of(r)
    assert competitors(table) == ["One seed", "CLOSENet"]
    assert "judged on 100 architectures" in table.rows[0].notes
    assert table.n == r.n
    r.add("spos", "Small", r.scores(0.4, 0), count=50)
    assert sorted(competitors(t) for t in tables_of(r)) == [["One seed", "CLOSENet"], ["Small"]]


def test_a_run_without_a_result_joins_the_tables_of_its_pool_and_truth_only(empty_results: Results) -> None:
    r = empty_results
    r.add("close", "CLOSENet", r.scores(0.4, 0))
    r.add("close", "CLOSENet", r.scores(0.4, 0), by=[r.other(split="x-test")], seed=1)
    r.fail("spos", "Same")
    r.fail("spos", "Pool", pool="unique")
    r.fail("spos", "Truth", truth="cifar100")
    r.fail("spos", "Images", images="cifar16")
    r.fail("spos", "Preset", status=Status.RUNNING, preset="standard")
    tables = tables_of(r)
    joined = [[f.label for f in t.failures] for t in tables if t.rows]
    assert joined == [["Same"], ["Same"]]
    assert sorted(f.label for t in tables if not t.rows for f in t.failures) == ["Images", "Pool", "Preset", "Truth"]
    assert len({t.title for t in tables}) == len({t.name for t in tables}) == len(tables) == 6


def test_files_say_which_truth_and_pool(empty_results: Results, tmp_path: Path) -> None:
    r = empty_results
    r.add("close", "CLOSENet", r.scores(0.4, 0))
    r.add("spos", "SPOS", r.scores(0.4, 0), by=[r.other(split="x-test")])
    report(r.folder, tmp_path / "out", figures=False)
    for name in ("leaderboard.csv", "runs.csv"):
        lines = pd.read_csv(tmp_path / "out" / name)
        assert dict(zip(lines["title"], lines["truth_split"], strict=True)).items() >= {
            "CLOSENet": "x-valid", "SPOS": "x-test",
        }.items()  # fmt: skip
        assert len(set(lines["pool_digest"])) == 1
        assert set(lines["truth_sha256"]) == {"ab" * 32}
    page = (tmp_path / "out" / "leaderboard.html").read_text()
    assert "split x-valid; epochs 200" in page
    assert "split x-test; epochs 200" in page


def test_report_and_compare_say_the_same_of_two_records(empty_results: Results) -> None:
    r = empty_results
    test = r.other(split="x-test")
    for estimator, noise in (("close", 0.4), ("spos", 2.0)):
        r.add(estimator, estimator, r.scores(noise, 0), by=[r.default, test])
    runs = load_runs(r.folder)
    first, second = find(runs, "close"), find(runs, "spos")
    for table in leaderboard(runs):
        assert table.task.truth is not None
        said = compare(first, second, truth=table.task.truth.key, resamples=10)
        assert said.truth.identity == table.task.truth.identity
        assert said.difference.difference == pytest.approx(tau_of(table, "close") - tau_of(table, "spos"))
        assert np.sign(said.difference.difference) == (1 if table.task.truth.split == "x-valid" else -1)


def test_report_and_compare_both_refuse_to_set_two_truths_side_by_side(empty_results: Results) -> None:
    r = empty_results
    r.add("close", "close", r.scores(0.4, 0))
    r.add("spos", "spos", r.scores(0.4, 0), by=[r.other(split="x-test")])
    runs = load_runs(r.folder)
    assert len(leaderboard(runs)) == 2
    with pytest.raises(SupertauError, match="not judged by one ground truth"):
        compare(find(runs, "close"), find(runs, "spos"), truth="cifar10")
