"""The leaderboard as data: grouping, intervals, references, verdicts, order."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from supertau.benchmarks.record import MetricRow, Role
from supertau.benchmarks.report import Row, Table, leaderboard
from supertau.benchmarks.report.cells import cell_text, summarise
from supertau.benchmarks.report.checks import disagreements
from supertau.benchmarks.report.numbers import duration, memory, number, quantity
from supertau.benchmarks.report.table import TAU
from supertau.benchmarks.results import load_runs
from supertau.search_spaces.errors import UnknownName

if TYPE_CHECKING:
    from tests.benchmarks.report.conftest import Results


def only_table(results: Results, **options: Any) -> Table:
    tables = leaderboard(load_runs(results.folder), **options)
    assert len(tables) == 1
    return tables[0]


def entry(value: float | None, key: str = TAU, **more: Any) -> MetricRow:
    common = {"low": None, "high": None, "chance": None, "ceiling": None, "n": 9}
    return MetricRow("all", "score", key, value, **{**common, **more})


def row_of(table: Table, label: str) -> Row:
    return next(r for r in table.rows if r.label == label)


def test_three_seeds_give_the_mean_and_student_interval_of_scipys_taus(results: Results) -> None:
    row = row_of(only_table(results), "SPOS")
    taus = [results.tau[i] for i in row.run_ids]
    cell = row.cells["all", TAU]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(taus), scale=np.std(taus, ddof=1) / np.sqrt(3))
    assert row.seeds == (0, 1, 2)
    assert cell.interval == "runs"
    assert (cell.value, cell.sd, cell.low, cell.high) == pytest.approx((np.mean(taus), np.std(taus, ddof=1), low, high))


def test_beside_tau_stand_the_shown_metrics_each_once(results: Results) -> None:
    shown = [("all", "p_at_top_5pct"), ("unique", "hits_at_10:best10")]
    assert only_table(results).shown == shown
    assert only_table(results, view="connected").shown == shown[1:]


def test_a_single_run_keeps_its_pool_interval(results: Results) -> None:
    cell = row_of(only_table(results), "parameters").cells["all", TAU]
    assert cell.interval == "pool"
    assert cell.sd is None
    assert (cell.low, cell.high) == pytest.approx((cell.value - 0.05, cell.value + 0.04))


def test_two_runs_have_a_deviation_but_no_interval_over_runs() -> None:
    cell = summarise([entry(v, low=v - 0.1, high=v + 0.1) for v in (0.2, 0.4)])
    assert cell.interval == "pool"
    assert (cell.value, cell.sd, cell.low, cell.high) == pytest.approx((0.3, 0.02**0.5, 0.2, 0.4))


def test_copies_of_a_deterministic_run_are_no_interval_of_width_zero() -> None:
    cell = summarise([entry(0.5, low=0.4, high=0.6)] * 3)
    assert (cell.interval, cell.low, cell.high) == ("pool", pytest.approx(0.4), pytest.approx(0.6))


def test_undefined_says_why_and_counts_no_run_twice() -> None:
    none = summarise([entry(None, undefined="undefined: constant score")])
    assert cell_text(none) == "undefined: constant score"
    assert cell_text(None) == "undefined: not in the record"
    nan = summarise([entry(float("nan")), entry(0.25)])
    assert (nan.value, len(nan.values), nan.runs) == (0.25, 1, 2)
    assert nan.undefined == "no value in the record"


def test_rows_fall_by_tau_with_the_undefined_last_and_references_among_them(results: Results) -> None:
    table = only_table(results)
    labels = [r.label for r in table.rows]
    taus = [r.tau("all") for r in table.rows]
    assert labels[0] == "Noise ceiling"
    assert labels[-1] == "Constant"
    assert taus[-1] is None
    assert taus[:-1] == sorted(taus[:-1], reverse=True)
    assert {r.label for r in table.rows if r.reference} == {
        "Noise ceiling", "parameters", "random scores", "Random order",
    }  # fmt: skip
    assert table.ceiling == pytest.approx(0.9)


def test_verdict_is_against_the_best_free_baseline(results: Results) -> None:
    table = only_table(results)
    assert table.floor is not None
    assert table.floor.label == "parameters"
    assert any(table.floor is r for r in table.rows)
    assert row_of(table, "CLOSENet").verdict is True
    spos = row_of(table, "SPOS")
    assert spos.verdict is False
    assert "not above the free baseline parameters" in spos.notes
    assert row_of(table, "parameters").verdict is None
    assert row_of(table, "Constant").verdict is None


def test_runs_without_result_are_listed_with_their_message(results: Results) -> None:
    failed, running = sorted(only_table(results).failures, key=lambda f: f.status)
    assert failed.message == "Diverged: loss nan <i>at</i> step 41 (step 41, learning rate 0.1)"
    assert (failed.label, failed.seed) == ("CLOSENet", 3)
    assert "running" in running.message


def test_primary_column_by_default_every_column_on_request(results: Results) -> None:
    assert {r.column for r in only_table(results).rows if r.run_ids} == {"accuracy@batch"}
    rows = [r for r in only_table(results, columns="all").rows if r.label == "SPOS"]
    assert {(r.column, r.primary) for r in rows} == {("accuracy@batch", True), ("neg_loss@batch", False)}
    assert [r.label for r in only_table(results, columns=["neg_loss@batch"]).rows if r.run_ids] == ["SPOS"]


def test_unknown_names_raise_with_what_there_is(results: Results) -> None:
    runs = load_runs(results.folder)
    with pytest.raises(UnknownName, match=r"unknown ground truth 'cifar11'. Did you mean 'cifar10'"):
        leaderboard(runs, truth="cifar11")
    with pytest.raises(UnknownName, match="unknown view 'uniqe'"):
        leaderboard(runs, view="uniqe")
    with pytest.raises(UnknownName, match="unknown score column 'loss'"):
        leaderboard(runs, columns="loss")


def test_tasks_are_kept_apart_and_a_score_file_joins_every_task_it_fits(results: Results) -> None:
    results.add("spos", "SPOS", results.scores(1.0, 0), images="cifar16", preset="standard")
    results.add("Mine", "Mine", results.scores(0.7, 0), role=Role.EXTERNAL)
    tables = leaderboard(load_runs(results.folder))
    assert [t.task.images and t.task.images.name for t in tables] == ["cifar16", "digits"]
    assert all(any(r.label == "Mine" for r in t.rows) for t in tables)
    assert [len(r.seeds) for t in tables for r in t.rows if r.label == "SPOS"] == [1, 3]


def test_groups_of_one_title_are_told_apart_by_what_differs(results: Results) -> None:
    results.add("spos", "SPOS", results.scores(1.0, 0), passes=2000, estimator_config={"rate": 0.2})
    labels = [r.label for r in only_table(results).rows]
    assert "SPOS (passes=1000, rate=0.1)" in labels
    assert "SPOS (passes=2000, rate=0.2)" in labels


def test_repeated_runs_of_one_configuration_count_once(results: Results) -> None:
    source = results.folder / "runs" / results.id_of("close-s0")
    shutil.copytree(source, source.with_name("close-again"))
    results.change("close-again", run_id="close-again", finished="2026-01-01T00:00:00+00:00")
    table = only_table(results)
    assert row_of(table, "CLOSENet").seeds == (0, 1, 2)
    assert "close-again" in row_of(table, "CLOSENet").run_ids
    assert "1 earlier run(s)" in table.caption


def test_caption_names_truth_split_seeds_n_pool_and_view(results: Results) -> None:
    caption = only_table(results, view="unique").caption
    for part in ("x-valid", "epochs 200", "777, 888, 999", "120 architectures", "pool 'all'", "isomorphism", "C = 8"):
        assert part in caption


def test_a_record_that_disagrees_with_its_scores_is_reported(results: Results) -> None:
    assert disagreements(only_table(results)) == []
    results.set_tau(results.id_of("params"), 0.999)
    (sentence,) = disagreements(only_table(results))
    assert "the record says τ 0.999" in sentence


def test_numbers_for_reading() -> None:
    assert [number(v, 2) for v in (None, -0.001, -0.5, 0.125)] == ["–", "0.00", "−0.50", "0.12"]  # noqa: RUF001
    assert [quantity(v) for v in (None, 950, 1234, 6_250_000)] == ["–", "950", "1.23k", "6.25M"]  # noqa: RUF001
    assert [duration(v) for v in (0.0, 1e-5, 8.1, 45, 200, 7200)] == [
        "0 s",
        "< 0.1 s",
        "8.1 s",
        "45 s",
        "3.3 min",
        "2.0 h",
    ]
    assert [memory(v) for v in (100, 3 * 2**20)] == ["100 B", "3 MiB"]


def test_a_noise_ceiling_that_was_run_is_the_ceiling_row(results: Results) -> None:
    scores = results.trials[:, 0]
    run_id = results.add("oracle_noise", "One training seed", scores, role=Role.CEILING, left_out="777")
    others = np.nanmean(results.trials[:, 1:], axis=1)
    tau = float(stats.kendalltau(scores, others).statistic)
    results.set_tau(run_id, tau)
    table = only_table(results)
    assert table.ceiling == pytest.approx(tau)
    assert [r.label for r in table.rows if r.role is Role.CEILING] == ["One training seed"]
    assert disagreements(table) == []


def test_interval_over_runs_stays_inside_what_is_possible() -> None:
    cell = summarise([entry(v, "local_tau_at_10:best10") for v in (-0.6, 0.9, 0.8)])
    assert cell.interval == "runs"
    assert (cell.low, cell.high) == (-1.0, 1.0)
    hits = summarise([entry(v, "hits_at_10:best10") for v in (9.0, 10.0, 9.9)])
    assert hits.high == 10.0
    assert 0 < hits.low < 9.63
