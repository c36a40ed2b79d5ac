"""Scores made elsewhere, and comparison of records."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from supertau.benchmarks.judging.comparison import compare, find, side_of
from supertau.benchmarks.judging.external import keep_scores as score
from supertau.benchmarks.record import MetricRow, Role
from supertau.benchmarks.results import load_runs, write_record
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings
from supertau.search_spaces.errors import DataError, SupertauError, UnknownName
from supertau.search_spaces.spaces import get_space

SPACE = get_space("nasbench201")
TRUTH = SPACE.truth("cifar10")
TEXTS = [SPACE.format(a) for a in TRUTH.architectures[:400]]


def write(path: Path, **columns: object) -> Path:
    table = pd.DataFrame({"architecture": TEXTS, **columns})
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


def noisy(sd: float, seed: int = 0) -> np.ndarray:
    return TRUTH.mean[:400] + np.random.default_rng(seed).normal(0, sd, 400)


def value(run, key: str, view: str = "all") -> MetricRow:
    return run.judgement().find(view, run.record.primary, key)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scores_are_judged_like_any_run(tmp_path: Path, suffix: str) -> None:
    scores = noisy(5)
    held = score(write(tmp_path / f"mine{suffix}", score=scores), results=tmp_path, name="Mine & co")
    assert held.record.role is Role.EXTERNAL
    assert held.record.title == "Mine & co"
    found = value(held, "kendall_tau")
    assert found.value == pytest.approx(kendalltau(scores, TRUTH.mean[:400])[0])
    assert found.low < found.value < found.high < found.ceiling
    assert held.record.pool.name.startswith(f"mine{suffix}@")
    assert [r.record for r in load_runs(tmp_path)] == [held.record]


def test_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", score=noisy(5))
    first = score(path, results=tmp_path)
    pd.read_csv(path).iloc[::-1].to_csv(path, index=False)
    assert score(path, results=tmp_path).folder == first.folder
    assert len(load_runs(tmp_path)) == 1


def test_whole_space_is_the_pool_all(tmp_path: Path) -> None:
    texts = [SPACE.format(a) for a in SPACE.unique()]
    path = tmp_path / "u.csv"
    pd.DataFrame({"architecture": texts, "score": np.arange(len(texts))}).to_csv(path, index=False)
    assert score(path, results=tmp_path).record.pool.name == "unique"


def test_primary_column_is_the_first_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", accuracy=noisy(5), loss=noisy(9))
    assert score(path, results=tmp_path, columns=["loss"]).record.columns == ("loss",)
    with pytest.raises(UnknownName, match="Did you mean 'loss'"):
        score(path, results=tmp_path, columns=["los"])


def test_a_loss_is_negated_and_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", loss=-noisy(5), params=noisy(50))
    wrong = score(path, results=tmp_path, columns=["loss"])
    right = score(path, results=tmp_path, columns=["loss"], lower_is_better=True)
    assert value(right, "kendall_tau").value == pytest.approx(-value(wrong, "kendall_tau").value)
    assert value(right, "kendall_tau").value > 0.3
    assert wrong.record.columns == right.record.columns == ("loss",)
    assert {run.record.identity for run in load_runs(tmp_path)} == {wrong.record.identity, right.record.identity}
    assert wrong.record.group != right.record.group, "they are no two seeds of one method"
    assert right.record.diagnostics["table"] == {
        "architectures": "architecture",
        "columns": ["loss"],
        "left_out": ["params"],
        "lower_is_better": True,
        "rows": 400,
        "notes": ["taken: column 'loss' of 400 rows, lower is better; left out: 'params'"],
    }
    assert right.scores["loss"].sum() == pytest.approx(noisy(5).sum())


def test_negated_scores_and_a_loss_are_two_records(tmp_path: Path) -> None:
    """Their scores are the same, what the record says of them is not."""
    higher = score(write(tmp_path / "mine.csv", quality=noisy(5)), results=tmp_path)
    lower = score(write(tmp_path / "mine.csv", quality=-noisy(5)), results=tmp_path, lower_is_better=True)
    assert lower.scores.equals(higher.scores)
    assert lower.folder != higher.folder


def test_other_columns_of_a_file_are_no_seeds_of_one_method(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", a=noisy(5), b=noisy(6))
    one, two = (score(path, results=tmp_path, columns=[column]).record for column in "ab")
    assert one.group != two.group


@pytest.mark.parametrize(
    ("sign", "lower", "hint"),
    [
        (-1, False, "if lower is better, use --lower-is-better (in Python: lower_is_better=True)"),
        (1, True, "is lower really better?"),
        (1, False, None),
    ],
)
def test_scores_that_rank_the_wrong_way_round_get_a_hint(
    tmp_path: Path, sign: int, lower: bool, hint: str | None
) -> None:
    path = write(tmp_path / "mine.csv", quality=sign * noisy(5))
    for _ in range(2):  # the second finds the record of the first
        notes = score(path, results=tmp_path, lower_is_better=lower).record.diagnostics["table"]["notes"]
        assert [note for note in notes if note.startswith("hint: 'quality' seems to rank the wrong way")] == notes[1:]
        assert len(notes) == (1 if hint is None else 2)
        assert hint is None or notes[1].endswith(hint)
        assert hint is None or "'cifar10' is -0." in notes[1]


def test_a_loss_that_ranks_the_wrong_way_round_gets_one_hint(tmp_path: Path) -> None:
    run = score(write(tmp_path / "mine.csv", loss=-noisy(5)), results=tmp_path)
    assert len(run.record.diagnostics["table"]["notes"]) == 2


def test_what_was_taken_is_said_of_the_table_that_is_given(tmp_path: Path) -> None:
    first = score(write(tmp_path / "mine.csv", quality=noisy(5)), results=tmp_path)
    second = score(write(tmp_path / "mine.csv", quality=noisy(5), seed=[3] * 400), results=tmp_path)
    assert second.folder == first.folder
    (stored,) = load_runs(tmp_path)
    assert stored.record == second.record
    assert stored.record.diagnostics["table"]["left_out"] == ["seed"]


def test_other_forms_are_judged_the_same(tmp_path: Path) -> None:
    """One record, whichever file the scores came in."""
    scores = noisy(5)
    path = write(tmp_path / "mine.csv", score=scores)
    plain = score(path, results=tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps(dict(zip(TEXTS, scores, strict=True))))
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    for other in ("mine.json", "mine.csv.gz"):
        assert score(tmp_path / other, results=tmp_path).folder == plain.folder


def bad(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("net,score\na,1\nb,2\n", r"no column 'architecture'; its columns are: net, score"),
        (f"architecture\n{TEXTS[0]}\n{TEXTS[1]}\n", "no numeric score column"),
        (f"architecture,score\n{TEXTS[0]},1\n{TEXTS[1]},\n", r"1 values of column 'score' are not finite.*line 3"),
        (f"architecture,score\n{TEXTS[0]},1\n{TEXTS[1]},inf\n", r"line 3 \(inf\)"),
        (f"architecture,score\n{TEXTS[0]},1\n{TEXTS[1]},good\n", r"line 3 \('good'\)"),
        (f"architecture,score\n{TEXTS[0]},1\n{TEXTS[1]},2\n{TEXTS[0]},3\n", "line 4 repeats line 2"),
        (f"architecture,score\n{TEXTS[0]},1\n", "has 1 rows"),
        ("", "cannot be read as a table"),
    ],
)
def test_bad_tables_say_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(bad(tmp_path, text), results=tmp_path)
    assert not load_runs(tmp_path)


def test_unknown_architectures_are_named_with_the_nearest(tmp_path: Path) -> None:
    wrong = TEXTS[0].replace("avg_pool_3x3", "avg_pool_3x")
    path = bad(tmp_path, f"architecture,score\n{TEXTS[1]},1\n{wrong},2\nnonsense,3\n")
    with pytest.raises(DataError) as caught:
        score(path, results=tmp_path)
    message = str(caught.value)
    assert "2 of 3 architectures are unknown to the space" in message
    assert f"line 3: nasbench201: unknown operation 'avg_pool_3x' in '{wrong}'" in message
    assert f"Nearest: {TEXTS[0]}" in message
    assert "line 4" in message


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv' does not exist"):
        score(tmp_path / "none.csv", results=tmp_path)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"cut\.parquet' cannot be read as a table"):
        score(tmp_path / "cut.parquet", results=tmp_path)


def test_comparison_is_paired_and_admits_ignorance(tmp_path: Path) -> None:
    for seed in range(3):
        score(write(tmp_path / "a.csv", score=noisy(2, seed)), results=tmp_path, name="good", seed=seed)
        score(write(tmp_path / "b.csv", score=noisy(20, seed + 9)), results=tmp_path, name="poor", seed=seed)
        score(write(tmp_path / "c.csv", score=noisy(2, (seed + 1) % 3)), results=tmp_path, name="alike", seed=seed)
    runs = load_runs(tmp_path)
    clear = compare(find(runs, "good"), find(runs, "poor")).difference
    assert clear.seeds == 3
    assert clear.n == 400
    assert clear.difference > 0.1
    assert clear.distinguishable
    level = compare(find(runs, "good"), find(runs, "alike")).difference
    assert level.difference == pytest.approx(0), "the same scores, their seeds in another order"
    assert level.low < 0 < level.high
    assert level.verdict == "not distinguishable"
    swapped = compare(find(runs, "poor"), find(runs, "good")).difference
    assert swapped.difference == pytest.approx(-clear.difference)


def test_find_names_nearest_and_refuses_ambiguity(tmp_path: Path) -> None:
    score(write(tmp_path / "a.csv", score=noisy(2)), results=tmp_path, name="method")
    runs = load_runs(tmp_path)
    with pytest.raises(UnknownName, match="Did you mean 'method'"):
        find(runs, "metod")
    with pytest.raises(SupertauError, match="no finished runs"):
        find([], "method")


def test_a_frame_and_a_dictionary_are_judged_like_a_file(tmp_path: Path) -> None:
    scores = noisy(5)
    file = score(write(tmp_path / "mine.csv", score=scores), results=tmp_path, name="mine")
    frame = pd.DataFrame({"architecture": TEXTS, "score": scores}, index=range(7, 407))
    for given in (frame, dict(zip(TEXTS, scores, strict=True))):
        assert score(given, results=tmp_path, name="mine").folder == file.folder
    with pytest.raises(DataError, match="a ranking needs at least 2"):
        score({TEXTS[0]: 1.0}, results=tmp_path)


def test_two_methods_with_equal_scores_are_two_records(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", score=noisy(5))
    one, two = (score(path, results=tmp_path, name=name) for name in ("One method", "One-method"))
    assert one.folder != two.folder
    assert one.record.identity != two.record.identity
    assert {run.record.title for run in load_runs(tmp_path)} == {"One method", "One-method"}


def test_a_second_truth_of_the_same_name_is_a_second_judgement(tmp_path: Path) -> None:
    """The first must not be overwritten, and the two are never compared."""
    table = tmp_path / "test-set.csv"
    pd.DataFrame({"architecture": TEXTS, "accuracy": noisy(3, seed=5).clip(0, 100)}).to_csv(table, index=False)
    path = write(tmp_path / "mine.csv", score=noisy(5))
    first = score(path, results=tmp_path, name="mine")
    both = score(path, results=tmp_path, name="mine", truth="cifar10", truth_path=table)
    assert both.folder == first.folder
    assert both.record.judgements[0] == first.record.judgements[0]
    assert len(both.record.judgements) == 2
    assert both.record.judgements[1].truth.dataset == "cifar10"
    score(path, results=tmp_path, name="mine", truth="cifar10", truth_path=table)
    (stored,) = load_runs(tmp_path)
    assert stored.record == both.record, "judged twice by the same truth"

    score(
        write(tmp_path / "other.csv", score=noisy(9)), results=tmp_path, name="other", truth="cifar10", truth_path=table
    )
    by_both, by_table = (find(load_runs(tmp_path), name) for name in ("mine", "other"))
    assert compare(by_both, by_table).truth == both.record.judgements[1].truth
    score(write(tmp_path / "third.csv", score=noisy(8)), results=tmp_path, name="third")
    with pytest.raises(SupertauError, match="not judged by one ground truth"):
        compare(by_table, find(load_runs(tmp_path), "third"))


def test_a_noise_ceiling_is_compared_by_the_other_seeds(tmp_path: Path) -> None:
    mine, again = (score(write(tmp_path / "mine.csv", score=noisy(5, s)), results=tmp_path, seed=s) for s in (0, 1))
    pool = tmp_path / "pool.txt"
    pool.write_text("\n".join(TEXTS))
    ceiling = [
        run(resolve("oracle_noise", preset="smoke", pool=str(pool), seed=seed), Settings(tmp_path)) for seed in (0, 1)
    ]
    assert ceiling[0].record.judgements[0].left_out == "777"
    found = compare(side_of([ceiling[0]], "ceiling"), side_of([mine], "mine")).difference
    own = ceiling[0].judgement()
    assert found.difference + kendalltau(
        mine.scores.set_index("architecture").loc[ceiling[0].scores["architecture"], "score"],
        ceiling[0].trials(own.truth).drop(columns=f"{own.truth.key}:777").mean(axis=1),
    ).statistic == pytest.approx(own.find("all", "score", "kendall_tau").value)
    with pytest.raises(SupertauError, match="seeds 777, 888"):
        compare(side_of(ceiling, "ceiling"), side_of([mine, again], "mine"))


def test_scores_made_anew_under_the_same_name_and_seed_replace_the_earlier_ones(tmp_path: Path) -> None:
    """They are not two seeds of one method, whose mean would be nobody's score."""
    first = score(write(tmp_path / "a.csv", score=noisy(20)), results=tmp_path, name="mine")
    time_passes = replace(first.record, finished="2000-01-01T00:00:00+00:00")
    write_record(first.folder, time_passes)
    second = score(write(tmp_path / "b.csv", score=noisy(2)), results=tmp_path, name="mine")
    runs = load_runs(tmp_path)
    assert len(runs) == 2
    assert [r.record for r in find(runs, "mine").runs] == [second.record]
    score(write(tmp_path / "c.csv", score=noisy(3)), results=tmp_path, name="mine", seed=1)
    assert [r.record.seed for r in find(load_runs(tmp_path), "mine").runs] == [0, 1]


def test_damaged_scores_are_judged_again_from_the_table_at_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", score=noisy(5))
    first = score(path, results=tmp_path)
    for name in ("scores.parquet", "truth.parquet", "record.json"):
        (first.folder / name).write_bytes(b"damaged")
        again = score(path, results=tmp_path)
        again.check()
        assert again.record.judgements == first.record.judgements
