"""One run from configuration to record: resume, identity, failure, sharing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from scipy.stats import kendalltau

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.local import run_all
from supertau.benchmarks.judging.judge import judge
from supertau.benchmarks.metrics import noise_ceiling
from supertau.benchmarks.record import Phase, Status
from supertau.benchmarks.results import read_run
from supertau.benchmarks.runs.events import Event, Interrupted, StopFlag
from supertau.benchmarks.runs.plan import identify, resolve
from supertau.benchmarks.runs.runner import RunBusy, run
from supertau.benchmarks.runs.settings import Existing, Settings
from supertau.benchmarks.runs.shards import score_in_shards
from supertau.benchmarks.task import Task
from supertau.estimators.baselines import Params
from supertau.estimators.estimator import Estimator
from supertau.estimators.problem import Problem
from supertau.estimators.registry import ESTIMATORS
from supertau.estimators.training.scoring import PathScorer
from supertau.search_spaces.errors import DataError, SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.spaces import get_space

POOL = "all:300"
"""More than one shard of 256."""
WORKER = [sys.executable, "-m", "supertau.benchmarks.execution.worker"]


def spos(**overrides: object) -> RunConfig:
    settings = {"bn": ["batch"], "scoring_images": 16, "scoring_batch": 16, **overrides.pop("settings", {})}
    return resolve("spos", preset="smoke", settings=settings, **{"pool": POOL, "curve_pool": 4, **overrides})


def settings(folder: Path, **others: object) -> Settings:
    return Settings(folder, threads=1, **others)


def quiet(event: Event) -> None:
    pass


def job(config: RunConfig, folder: Path, **others: object) -> str:
    """What a run's process reads."""
    return json.dumps(
        {"config": config.as_dict(), "settings": settings(folder, **others).to_plain(), "folder": os.getcwd()}
    )


def folder_of(config: RunConfig, results: Path) -> Path:
    return results / "runs" / identify(config).run_id


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(spos(), settings(tmp_path_factory.mktemp("whole"))).folder


def same_bytes(one: Path, two: Path) -> None:
    for name in ("scores.parquet", "curve.parquet", "truth.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.mark.parametrize(("phase", "done"), [("train", 1), ("score", 256)])
def test_interrupted_run_goes_on_to_the_same_bytes(uninterrupted: Path, tmp_path: Path, phase: str, done: int) -> None:
    def interrupt(event: Event) -> None:
        if event.phase == phase and event.done >= done:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run(spos(), settings(tmp_path), interrupt)
    folder = folder_of(spos(), tmp_path)
    assert json.loads((folder / "record.json").read_text())["status"] == "running"
    seen: list[Event] = []
    resumed = run(spos(), settings(tmp_path), seen.append)
    assert resumed.finished
    if phase == "score":
        assert not any(e.phase == "train" for e in seen), "training had finished and must not run again"
    same_bytes(uninterrupted, resumed.folder)


@pytest.mark.parametrize(("phase", "done"), [("train", 7), ("score", 256), ("judge", 0)])
def test_killed_run_goes_on_to_the_same_bytes(uninterrupted: Path, tmp_path: Path, phase: str, done: int) -> None:
    with subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(job(spos(), tmp_path, checkpoint_seconds=0.0))
        process.stdin.close()
        for line in process.stdout:
            event = json.loads(line)
            if event["phase"] == phase and event["done"] >= done:
                process.kill()
                break
        assert process.wait() == -signal.SIGKILL
    resumed = run(spos(), settings(tmp_path))
    assert resumed.finished
    same_bytes(uninterrupted, resumed.folder)
    assert not list(resumed.folder.glob("*.part")), "half-written files must not stay"


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """A kill may come in the middle of any write: half a checkpoint, half a shard."""
    small = spos(pool="all:20", curve_points=0, passes=32)
    folder = folder_of(small, tmp_path)
    left = [folder / ".checkpoint.pt.4711.part", folder / "shards" / ".0000000.npz.4711.part"]
    for part in left:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    assert run(small, settings(tmp_path)).finished
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_whose_command_was_killed_can_be_resumed(uninterrupted: Path, tmp_path: Path) -> None:
    """Nobody reads its progress any more: that is no failure of the method."""
    with subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(job(spos(), tmp_path))
        process.stdin.close()
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 130
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/record.json")]
    assert all(record["status"] == "running" for record in records)
    resumed = run(spos(), settings(tmp_path))
    assert resumed.finished
    same_bytes(uninterrupted, resumed.folder)


def test_watching_the_curve_leaves_no_trace(uninterrupted: Path, tmp_path: Path) -> None:
    unwatched = run(spos(curve_points=0), settings(tmp_path))
    assert unwatched.curve is None
    assert (unwatched.folder / "scores.parquet").read_bytes() == (uninterrupted / "scores.parquet").read_bytes()


def test_curve_ends_at_the_budget_with_the_final_scores(uninterrupted: Path) -> None:
    whole = read_run(uninterrupted)
    curve = whole.curve
    assert sorted(curve["passes"].unique()) == [320, 640]
    last = curve[curve["passes"] == 640].set_index("architecture")["accuracy@batch"]
    final = whole.scores.set_index("architecture")["accuracy@batch"]
    assert (final.loc[last.index] == last).all()


def test_finished_run_is_reused_and_not_repeated(uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "runs" / uninterrupted.name)
    before = (tmp_path / "runs" / uninterrupted.name / "record.json").read_bytes()
    seen: list[Event] = []
    assert run(spos(), settings(tmp_path), seen.append).finished
    assert [e.phase for e in seen] == [Phase.REUSED]
    assert (tmp_path / "runs" / uninterrupted.name / "record.json").read_bytes() == before


def test_restart_throws_the_old_run_away(tmp_path: Path) -> None:
    config = resolve("random", preset="smoke", pool="all:50")
    folder = run(config, settings(tmp_path)).folder
    (folder / "scores.parquet").write_bytes(b"old")
    run(config, settings(tmp_path, existing=Existing.RESTART))
    assert (folder / "scores.parquet").read_bytes() != b"old"


def test_second_process_on_a_run_says_so_and_stops(tmp_path: Path) -> None:
    config = resolve("random", preset="smoke")
    folder = folder_of(config, tmp_path)
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(RunBusy, match="another process is working on"):
        run(config, settings(tmp_path))


def test_divergence_is_a_record_and_others_go_on(tmp_path: Path) -> None:
    bad = spos(settings={"learning_rate": 1e12, "clip": 0.0})
    good = resolve("random", preset="smoke", pool="all:50")
    outcomes = run_all([bad, good], settings(tmp_path), quiet, workers=1)
    assert [o.phase for o in outcomes] == [Phase.FAILED, Phase.FINISHED]
    failure = outcomes[0].run.record.failure
    assert failure.type == "Diverged"
    assert failure.step >= 1
    assert failure.learning_rate > 1e11
    assert "learning rate" in outcomes[0].message
    again: list[Event] = []
    assert run(bad, settings(tmp_path), again.append).record.status is Status.FAILED
    assert "--restart" in again[-1].text


@dataclass(frozen=True)
class NoConfig:
    pass


class Broken(Estimator):
    Config = NoConfig
    trains = False

    def score(self, architectures):
        return {"score": np.full(len(architectures), np.nan)}


class Crashing(Broken):
    def score(self, architectures):
        raise ZeroDivisionError("the method's own bug")


@pytest.fixture
def registered() -> Iterator[None]:
    ESTIMATORS.register("broken")(Broken)
    ESTIMATORS.register("crashing")(Crashing)
    yield
    for name in ("broken", "crashing"):
        del ESTIMATORS._entries[name]


def test_exception_in_an_estimator_is_a_record(registered: None, tmp_path: Path) -> None:
    record = run(resolve("crashing", preset="smoke"), settings(tmp_path)).record
    assert record.status is Status.FAILED
    assert record.failure.type == "ZeroDivisionError"
    assert "own bug" in record.failure.traceback


def test_nan_scores_name_architectures(registered: None, tmp_path: Path) -> None:
    with pytest.raises(SupertauError, match=r"not finite for 40 architectures: \['\|"):
        run(resolve("broken", preset="smoke"), settings(tmp_path))


DYING = """
import os
from dataclasses import dataclass, replace
from supertau.estimators import Estimator
@dataclass(frozen=True)
class C:
    pass
class Dying(Estimator):
    Config = C
    trains = False
    def score(self, architectures):
        os.kill(os.getpid(), 9)
"""


def test_killed_worker_takes_no_other_run_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dying_plugin.py").write_text(DYING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    configs = [resolve("dying_plugin:Dying", preset="smoke"), resolve("random", preset="smoke", pool="all:50")]
    outcomes = run_all(configs, settings(tmp_path / "results"), quiet, workers=2)
    assert [o.phase for o in outcomes] == [Phase.ERROR, Phase.FINISHED]
    assert "killed by signal 9" in outcomes[0].message
    assert "'load'" in outcomes[0].message or "'start'" in outcomes[0].message


def test_no_room_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(SupertauError, match=r"0 MB free, this run needs about 20 MB"):
        run(spos(), settings(tmp_path))


def test_no_permission_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SupertauError, match=r"cannot write to .*--results"):
        run(spos(), settings(tmp_path / "file"))


def test_shards_of_another_cut_are_scored_again(tmp_path: Path, problem: Problem) -> None:
    """What is on disk counts for the architectures it was made of, not for its place in the order."""
    estimator = Params()
    estimator.start(problem)
    pool = [problem.space.sample(np.random.default_rng(seed)) for seed in range(8)]
    stop = StopFlag()
    score_in_shards(estimator, pool[:4], tmp_path, "run", quiet, stop)
    columns, _ = score_in_shards(estimator, pool[4:], tmp_path, "run", quiet, stop)
    assert columns["score"].tolist() == estimator.score(pool[4:])["score"].tolist()


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    folder = folder_of(spos(), tmp_path)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(DataError, match=r"checkpoint\.pt' cannot be read .*--restart"):
        run(spos(), settings(tmp_path))


def test_another_truth_judges_stored_scores_again(uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "runs" / uninterrupted.name)
    seen: list[Event] = []
    again = run(spos(truth="cifar100"), settings(tmp_path), seen.append)
    assert [e.phase for e in seen] == [Phase.REUSED]
    assert again.folder.name == uninterrupted.name
    first, second = again.record.judgements
    assert (first.truth.dataset, second.truth.dataset) == ("cifar10", "cifar100")
    assert (first,) == read_run(uninterrupted).record.judgements, "the earlier judgement stays"
    assert second == judge(again.scores, again.truth, second.truth, asked=second.asked)
    assert again.judgement() == second, "the one that was asked for"
    assert read_run(again.folder).record == again.record
    run(spos(truth="cifar100"), settings(tmp_path), seen.append)
    assert read_run(again.folder).record == again.record, "and it is not judged twice"


def test_two_truths_of_one_name_are_two_judgements(tmp_path: Path) -> None:
    """A file may call its data set as a built-in truth is called, and may change between two commands."""
    config = {"preset": "smoke", "pool": "all:40"}
    built_in = run(resolve("params", **config), settings(tmp_path))
    table = tmp_path / "mine.csv"

    def judged_by_table(accuracy: float) -> list[str]:
        rows = [f"{text},{accuracy + i / 10}" for i, text in enumerate(built_in.scores["architecture"])]
        table.write_text("architecture,accuracy\n" + "\n".join(rows) + "\n")
        os.utime(table, (2**32, 2**32))  # later than the record
        asked = resolve("params", truth="cifar10", truth_path=str(table), **config)
        return [j.truth.key for j in run(asked, settings(tmp_path)).record.judgements]

    assert len(judged_by_table(50.0)) == 2
    keys = judged_by_table(60.0)
    assert len(set(keys)) == 3
    assert all(key.startswith("cifar10@") for key in keys)
    columns = read_run(built_in.folder).truth.columns
    assert all(any(c.startswith(f"{key}:") for c in columns) for key in keys)


def test_parts_of_an_estimator_are_judged_on_their_own_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Params, "parts", lambda self, architectures: {"deep": [a.count(3) > 1 for a in architectures]})
    held = run(resolve("params", preset="smoke", pool="all:60"), settings(tmp_path))
    (judgement,) = held.record.judgements
    deep = [NASBench201().parse(text).count(3) > 1 for text in held.scores["architecture"]]
    assert list(held.truth["part:deep"]) == deep
    taus = {m.view: m.value for m in judgement.metrics if m.key == "kendall_tau"}
    truth = held.trials(judgement.truth).loc[deep].mean(axis=1)
    assert taus["deep"] == pytest.approx(kendalltau(held.scores["score"][deep], truth).statistic)
    assert taus["deep"] != taus["all"]
    again = run(resolve("params", preset="smoke", pool="all:60", truth="cifar100"), settings(tmp_path))
    assert list(again.truth["part:deep"]) == deep
    assert {m.view for m in again.record.judgements[1].metrics} == {"all", "unique", "connected", "deep"}


def test_what_a_method_scores_on_its_way_counts_as_scoring(tmp_path: Path) -> None:
    changes = {"bn": ["batch"], "scoring_images": 16, "scoring_batch": 16, "score_before": False}
    held = run(resolve("shifting", preset="smoke", pool="all:20", curve_pool=5, settings=changes), settings(tmp_path))
    assert held.record.cost.curve_images == 2 * 5 * 16
    assert held.record.cost.score_images == (20 + 2) * 16  # the pool, and two candidates


def test_runs_that_only_score_differently_share_a_training(uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "runs" / uninterrupted.name)
    seen: list[Event] = []
    other = run(spos(pool="unique:20", settings={"bn": ["inherited"]}), settings(tmp_path), seen.append)
    assert not any(e.phase == "train" for e in seen)
    assert other.record.trained_by == uninterrupted.name
    assert other.record.cost.train_images == 640
    retrained = run(spos(pool="unique:20", settings={"bn": ["inherited"]}), settings(tmp_path / "alone"))
    assert (retrained.folder / "scores.parquet").read_bytes() == (other.folder / "scores.parquet").read_bytes()


def test_noise_ceiling_is_a_row_judged_by_the_other_seeds(tmp_path: Path) -> None:
    rows = []
    for seed in range(3):
        held = run(resolve("oracle_noise", preset="smoke", pool="all:400", seed=seed), settings(tmp_path))
        (judgement,) = held.record.judgements
        assert judgement.left_out == ["777", "888", "999"][seed]
        rows.append({m.key: m.value for m in judgement.metrics if m.view == "all"})
    trials = held.trials(judgement.truth).to_numpy()
    assert not np.isnan(trials).any(), "architectures with too few seeds are left out"
    expected = noise_ceiling(trials, ["kendall_tau", "p_at_top_5pct"], rng=np.random.default_rng(0))
    for key in ("kendall_tau", "p_at_top_5pct"):
        assert [row[key] for row in rows] == pytest.approx(expected.per_trial[key])


def test_identity_counts_what_matters_and_nothing_else() -> None:
    base = identify(spos())
    assert base == identify(spos(truth="cifar100"))
    assert base == identify(replace(spos(), preset="other name"))
    for other in (spos(seed=1), spos(passes=320), spos(pool="all:299"), spos(settings={"learning_rate": 0.5})):
        assert identify(other).scores != base.scores
    assert identify(spos(seed=1)).group == base.group
    assert identify(spos(passes=320)).group != base.group
    oracle = [identify(resolve("oracle_noise", preset="smoke", truth=t)) for t in ("cifar10", "cifar100")]
    assert oracle[0].scores != oracle[1].scores


def test_a_pool_counts_by_its_content(tmp_path: Path) -> None:
    texts = [NASBench201().format(a) for a in list(NASBench201().enumerate())[:20]]
    (tmp_path / "one.txt").write_text("\n".join(texts))
    (tmp_path / "two.csv").write_text("architecture\n" + "\n".join(reversed(texts)))
    (tmp_path / "three.txt").write_text("\n".join(texts[1:]))
    one, two, three = (
        resolve("params", preset="smoke", pool=str(tmp_path / name)) for name in ("one.txt", "two.csv", "three.txt")
    )
    assert identify(one) == identify(two)
    assert identify(one).scores != identify(three).scores
    pools = [run(config, settings(tmp_path / config.pool[-5:])).record.pool for config in (one, two, three)]
    assert pools[0].digest == pools[1].digest != pools[2].digest


def test_configuration_errors_name_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'spos'"):
        resolve("sops")
    with pytest.raises(UnknownName, match="Did you mean 'standard'"):
        resolve("spos", preset="standart")
    with pytest.raises(UnknownName, match="Did you mean 'nasbench201'"):
        resolve("spos", space="nasbench-201")
    with pytest.raises(UnknownName, match="Did you mean 'learning_rate'"):
        resolve("spos", settings={"learning_rat": 1})
    with pytest.raises(SupertauError, match="learning_rate must be a finite number, got 'fast'"):
        resolve("spos", settings={"learning_rate": "fast"})
    with pytest.raises(TypeError, match="surprise"):
        resolve("spos", surprise=1)


def test_record_is_complete_and_derivable(uninterrupted: Path) -> None:
    whole = read_run(uninterrupted)
    record, (judgement,) = whole.record, whole.record.judgements
    assert record.cost.train_images == 640
    assert record.cost.score_images == 300 * 16
    assert record.cost.curve_images == 2 * 4 * 16
    assert record.cost.train_seconds > 0
    assert record.cost.peak_memory_bytes > 1e7
    assert record.environment.threads == 1
    assert record.pool.size == 300
    assert judgement.truth.sha256
    assert judgement == judge(whole.scores, whole.truth, judgement.truth, asked=judgement.asked)
    views = {m.view: m.n for m in judgement.metrics}
    assert views["all"] == 300
    assert views["unique"] == whole.truth["class"].nunique() < 300
    assert views["connected"] == whole.truth["connected"].sum() < 300


def test_memory_for_scoring_reaches_the_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It decides how many architectures are run together, not what they score, nor which run it is."""
    groups = []
    score = PathScorer.score
    monkeypatch.setattr(PathScorer, "score", lambda self, pool: groups.append(self.group) or score(self, pool))
    config = spos(settings={"scoring_images": 150, "scoring_batch": 150}, passes=64, curve_points=0)
    runs = [run(config, settings(tmp_path / str(mb), scoring_memory=mb)) for mb in (5, 500)]
    assert set(groups) == {2, 32}
    one, other = (held.folder / "scores.parquet" for held in runs)
    assert one.read_bytes() == other.read_bytes()


def test_problem_carries_no_truth_and_no_test_images() -> None:
    config = resolve("spos", preset="smoke")
    problem = Task.of(config).problem(config, torch.device("cpu"))
    assert not [name for name in vars(problem) if "truth" in name or "trial" in name]
    assert len(problem.train) == 320
    assert len(problem.validation) == 160


def test_truth_of_a_part_restricts_the_pool(tmp_path: Path) -> None:
    space = get_space("nasbench201")
    held = list(space.enumerate())[:5]
    table = tmp_path / "mine.csv"
    lines = [f"{space.format(a)},{50 + i}" for i, a in enumerate(held)]
    table.write_text("architecture,accuracy\n" + "\n".join(lines) + "\n")
    config = resolve("params", preset="smoke", pool="all", truth="my-images", truth_path=str(table))
    result = run(config, settings(tmp_path))
    assert len(result.scores) == 5
    assert result.record.pool.name == "all in truth"
    assert Task.of(config).truth.mean.tolist() == [50, 51, 52, 53, 54]
