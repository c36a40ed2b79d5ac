"""What accidents leave: damaged and edited files are refused and made again, and no finished training is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from supertau.benchmarks.judging.comparison import compare, find
from supertau.benchmarks.record import Phase, Status
from supertau.benchmarks.results import DamagedRecord, load_runs, read_run
from supertau.benchmarks.runs import runner
from supertau.benchmarks.runs.events import Event, Interrupted
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings
from supertau.estimators.baselines import Params
from supertau.estimators.spos import SPOS
from supertau.search_spaces.errors import DataError, SupertauError

SCORING = {"bn": ["batch"], "scoring_images": 16, "scoring_batch": 16}
CONFIG = resolve("spos", preset="smoke", settings=SCORING, pool="all:300", curve_pool=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(CONFIG, Settings(tmp_path_factory.mktemp("whole"), threads=1)).folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "runs" / whole.name)


def raise_a_score(folder: Path) -> None:
    table = pd.read_parquet(folder / "scores.parquet")
    table.loc[0, "accuracy@batch"] = 99.0
    table.to_parquet(folder / "scores.parquet", index=False)


def raise_an_accuracy(folder: Path) -> None:
    table = pd.read_parquet(folder / "truth.parquet")
    table.iloc[0, -1] = 99.0
    table.to_parquet(folder / "truth.parquet", index=False)


def swap_columns(folder: Path) -> None:
    table = pd.read_parquet(folder / "scores.parquet")
    table.columns = ["architecture", *reversed(table.columns[1:])]
    table.to_parquet(folder / "scores.parquet", index=False)


def edit_an_interval(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    record["judgements"][0]["metrics"][0]["low"] = -1.0
    (folder / "record.json").write_text(json.dumps(record))


def cut(name: str) -> Callable[[Path], None]:
    def half(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    half.__name__ = f"cut_{name}"
    return half


def remove(name: str) -> Callable[[Path], None]:
    def gone(folder: Path) -> None:
        (folder / name).unlink()

    gone.__name__ = f"remove_{name}"
    return gone


def read_and_check(folder: Path) -> None:
    read_run(folder).check()


DAMAGE = (
    raise_a_score, raise_an_accuracy, swap_columns, edit_an_interval, cut("scores.parquet"), cut("truth.parquet"),
    cut("record.json"), remove("scores.parquet"), remove("truth.parquet"),
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damaged_results_are_refused_and_the_same_command_makes_them_again(
    whole: Path, copy: Path, damage: Callable[[Path], None]
) -> None:
    results = copy.parents[1]
    damage(copy)
    with pytest.raises(DataError):
        read_and_check(copy)
    seen: list[Event] = []
    again = run(CONFIG, Settings(results, threads=1), seen.append)
    assert Phase.TRAIN not in {e.phase for e in seen}, "finished training is never thrown away"
    for name in ("scores.parquet", "truth.parquet"):
        assert (copy / name).read_bytes() == (whole / name).read_bytes(), name
    assert again.record.judgements == read_run(whole).record.judgements
    again.check()


def test_comparison_refuses_an_edited_table(copy: Path) -> None:
    results = copy.parents[1]
    run(resolve("params", preset="smoke", pool="all:300"), Settings(results, threads=1))
    raise_a_score(copy)
    with pytest.raises(DataError, match=r"scores\.parquet' was changed after the run"):
        compare(find(load_runs(results), "spos"), find(load_runs(results), "params"))


def test_an_edited_table_is_not_judged_by_another_truth(whole: Path, copy: Path) -> None:
    raise_a_score(copy)
    other = resolve("spos", preset="smoke", settings=SCORING, pool="all:300", curve_pool=4, truth="cifar100")
    judged = run(other, Settings(copy.parents[1], threads=1))
    assert judged.judgement().truth.dataset == "cifar100"
    assert judged.scores.equals(read_run(whole).scores)


def test_one_damaged_record_costs_no_other(copy: Path) -> None:
    results = copy.parents[1]
    run(resolve("params", preset="smoke", pool="all:300"), Settings(results, threads=1))
    edit_an_interval(copy)
    with pytest.warns(DamagedRecord, match="was changed after it was written"):
        runs = load_runs(results)
    assert [r.record.estimator for r in runs] == ["params"]
    assert len(runs.damaged) == 1
    assert str(copy / "record.json") in runs.damaged[0]


def test_a_damaged_shard_is_scored_again(whole: Path, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if event.phase is Phase.SCORE:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run(CONFIG, Settings(tmp_path, threads=1), interrupt)
    (shard,) = tmp_path.glob("runs/*/shards/*.npz")
    for content in (b"", b"PK\x03\x04 cut", shard.read_bytes()[:200]):
        shard.write_bytes(content)
    (point, *_) = sorted(tmp_path.glob("runs/*/curve/*.npz"))
    point.write_bytes(b"PK\x03\x04")
    seen: list[Event] = []
    resumed = run(CONFIG, Settings(tmp_path, threads=1), seen.append)
    assert resumed.scores.equals(read_run(whole).scores)
    assert sorted(resumed.curve["passes"].unique()) == [640]
    assert any("The curve has a point less" in e.text for e in seen)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")],
    ids=["disk", "memory", "torch"],
)
def test_an_accident_of_the_machine_is_no_failure_of_the_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    config = resolve("params", preset="smoke", pool="all:20")

    def fail(self: Params, architectures: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Params, "score", fail)
        with pytest.raises(SupertauError, match="The same command again goes on"):
            run(config, Settings(tmp_path))
    (stored,) = load_runs(tmp_path)
    assert stored.record.status is Status.RUNNING
    assert run(config, Settings(tmp_path)).finished


def test_a_full_disk_while_a_checkpoint_is_written_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: object, path: Path) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 704 vs 598\nmore")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(SupertauError, match=r"cannot write '.*checkpoint\.pt': \[enforce fail"):
            run(CONFIG, Settings(tmp_path, threads=1, checkpoint_seconds=0.0))
    (stored,) = load_runs(tmp_path)
    assert stored.record.status is Status.RUNNING
    assert run(CONFIG, Settings(tmp_path, threads=1)).finished


def test_a_budget_below_one_step_is_said_and_not_listed_as_trained(tmp_path: Path) -> None:
    with pytest.raises(SupertauError, match="trained on no image: the budget of 10 images"):
        run(resolve("spos", preset="smoke", passes=10, curve_points=0), Settings(tmp_path))
    assert not any(r.finished for r in load_runs(tmp_path))


@pytest.mark.parametrize("stage", ["images", "score", "judge"])
def test_ctrl_c_stops_at_once_where_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Not at the end of the stage: after the signal none of its work goes on."""
    after: list[str] = []

    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        after.append(stage)
        raise AssertionError("went on after the signal")

    target = {"images": (runner.Task, "problem"), "score": (SPOS, "score"), "judge": (runner.Task, "judge")}[stage]
    config = resolve("spos", preset="smoke", settings=SCORING, pool="all:20", curve_points=0)
    with monkeypatch.context() as patch:
        patch.setattr(*target, interrupted)
        with pytest.raises(Interrupted):
            run(config, Settings(tmp_path, threads=1))
    assert not after
    assert run(config, Settings(tmp_path, threads=1)).finished


def test_ctrl_c_in_training_saves_first(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if event.phase is Phase.TRAIN and event.done >= 3:
            os.kill(os.getpid(), signal.SIGINT)

    config = resolve("spos", preset="smoke", settings=SCORING, pool="all:20", curve_points=0)
    with pytest.raises(Interrupted):
        run(config, Settings(tmp_path, threads=1), interrupt)
    (checkpoint,) = tmp_path.glob("runs/*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["estimator"]["loop"]["step"] >= 3
    assert np.isfinite(run(config, Settings(tmp_path, threads=1)).scores["accuracy@batch"]).all()


def test_a_batch_that_cannot_be_normalised_is_said(tmp_path: Path) -> None:
    config = resolve(
        "spos", preset="smoke", settings={**SCORING, "batch_size": 1}, image_size=4, pool="all:20", curve_points=0
    )
    with pytest.raises(SupertauError, match=r"batch of 1 image\(s\) of 4x4 pixels cannot be normalised"):
        run(config, Settings(tmp_path, threads=1))
    assert load_runs(tmp_path)[0].record.status is Status.RUNNING


def test_a_pool_of_one_network_is_judged_where_it_can_be(tmp_path: Path) -> None:
    """Three cells whose function is one: no view of classes, and no failure after training."""
    cells = [
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|none~2|",
    ]
    pool = tmp_path / "pool.txt"
    pool.write_text("\n".join(cells))
    one = run(resolve("params", preset="smoke", pool=str(pool)), Settings(tmp_path))
    (judgement,) = one.record.judgements
    assert {m.view for m in judgement.metrics} == {"all"}
    assert judgement.find("all", "score", "kendall_tau").undefined == "undefined: constant score"


def test_a_count_that_is_not_reached_is_not_claimed(tmp_path: Path) -> None:
    one = run(resolve("params", preset="smoke", pool="connected:99999"), Settings(tmp_path))
    assert (one.record.pool.name, one.record.pool.size) == ("connected", 15284)
