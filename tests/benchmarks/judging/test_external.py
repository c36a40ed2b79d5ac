"""Scores made elsewhere, and comparison of records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from supertau.benchmarks.judging.comparison import compare, find
from supertau.benchmarks.judging.external import score
from supertau.benchmarks.record import load_runs
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


def value(run, key: str, view: str = "all") -> dict:
    return next(m for m in run.record["metrics"] if m["key"] == key and m["view"] == view)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scores_are_judged_like_any_run(tmp_path: Path, suffix: str) -> None:
    scores = noisy(5)
    held = score(write(tmp_path / f"mine{suffix}", score=scores), results=tmp_path, name="Mine & co")
    assert held.record["role"] == "external"
    assert held.record["title"] == "Mine & co"
    found = value(held, "kendall_tau")
    assert found["value"] == pytest.approx(kendalltau(scores, TRUTH.mean[:400])[0])
    assert found["low"] < found["value"] < found["high"] < found["ceiling"]
    assert held.record["config"]["pool"].startswith(f"mine{suffix}@")
    assert [r.record["run_id"] for r in load_runs(tmp_path)] == [held.record["run_id"]]


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
    assert score(path, results=tmp_path).record["config"]["pool"] == "unique"


def test_primary_column_is_the_first_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", accuracy=noisy(5), loss=noisy(9))
    assert score(path, results=tmp_path, columns=["loss"]).record["columns"] == ["loss"]
    with pytest.raises(UnknownName, match="Did you mean 'loss'"):
        score(path, results=tmp_path, columns=["los"])


def bad(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch,score\na,1\nb,2\n", r"no column 'architecture'; its columns are: arch, score"),
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
    clear = compare(find(runs, "good"), find(runs, "poor"))
    assert clear.seeds == 3
    assert clear.n == 400
    assert clear.difference > 0.1
    assert clear.distinguishable
    level = compare(find(runs, "good"), find(runs, "alike"))
    assert level.difference == pytest.approx(0), "the same scores, their seeds in another order"
    assert level.low < 0 < level.high
    assert level.verdict == "not distinguishable"
    swapped = compare(find(runs, "poor"), find(runs, "good"))
    assert swapped.difference == pytest.approx(-clear.difference)


def test_find_names_nearest_and_refuses_ambiguity(tmp_path: Path) -> None:
    score(write(tmp_path / "a.csv", score=noisy(2)), results=tmp_path, name="method")
    runs = load_runs(tmp_path)
    with pytest.raises(UnknownName, match="Did you mean 'method'"):
        find(runs, "metod")
    with pytest.raises(SupertauError, match="no finished runs"):
        find([], "method")
