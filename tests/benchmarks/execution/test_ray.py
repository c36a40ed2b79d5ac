"""Runs on a Ray cluster: three daemons on this machine stand for the command's node and two that carry out runs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from supertau.benchmarks.cli.app import app
from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution import ray_cluster as ray_executor
from supertau.benchmarks.execution import ray_node
from supertau.benchmarks.execution.ray_cluster import run_all_on_ray
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event
from supertau.benchmarks.runs.plan import identify, resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Existing, Settings
from supertau.search_spaces.errors import SupertauError

PLUGIN = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supertau.estimators.estimator import Estimator, Monitor
from supertau.estimators.spos import SPOS


class Gate(Monitor):
    def __init__(self, monitor):
        self.monitor = monitor

    def after_step(self, estimator, step, *rest):
        with open(f"steps-{estimator.problem.seed}", "a") as log:
            print(step, file=log)
        self.monitor.after_step(estimator, step, *rest)
        while step == 10 and not Path("open").exists():
            time.sleep(0.02)
            self.monitor.after_step(estimator, step, *rest)


class Gated(SPOS):
    '''Notes each step, and does not go on after the tenth of twenty until there is a file 'open'.'''

    def train(self, budget, monitor):
        super().train(budget, Gate(monitor))


@dataclass(frozen=True)
class Nothing:
    pass


class Meeting(Estimator):
    '''Waits for another run that is carried out at the same time.'''
    Config, trains = Nothing, False

    def score(self, architectures):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        Path(f"met-{self.problem.seed}").touch()
        began = time.monotonic()
        while len(list(Path().glob("met-*"))) < 2:
            assert time.monotonic() - began < 60, "nobody came"
            time.sleep(0.02)
        return {"score": np.array([float(sum(a)) for a in architectures])}


class Crashing(Meeting):
    def score(self, architectures):
        raise ZeroDivisionError("the method's own bug")


class Dying(Meeting):
    def score(self, architectures):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs, which the command connects to; its files lie in $RAY_TMPDIR (see tests/conftest.py)."""
    utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed: pip install 'supertau[ray]'")
    # The loss of a node is noticed within a second instead of half a minute, and nothing is reported to Ray's makers.
    impatient = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200, "health_check_failure_threshold": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = utils.Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0, "include_dashboard": False, "object_store_memory": 80_000_000,
                "_system_config": impatient,
            },
        )  # fmt: skip
        yield started
        started.shutdown()


@pytest.fixture
def nodes(cluster: Any) -> list[Any]:
    """Two nodes of the cluster, with one CPU each."""
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    return list(cluster.worker_nodes)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is started in, with the plugin."""
    (tmp_path / "ray_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ray_plugin", raising=False)
    return tmp_path


def config(name: str, seed: int = 0) -> RunConfig:
    return resolve(f"ray_plugin:{name}", seed=seed, preset="smoke", curve_points=0)


def settings(folder: Path, **others: Any) -> Settings:
    return Settings(folder, threads=1, checkpoint_seconds=0.0, **others)


def undisturbed(folder: Path, seed: int = 0) -> bytes:
    """Return the scores of a run on this machine; the gate is open meanwhile, and stays so."""
    (folder / "open").touch()
    alone = run(config("Gated", seed), settings(folder / "local")).folder
    return (alone / "scores.parquet").read_bytes()


def steps(folder: Path, seed: int = 0) -> list[int]:
    return [int(line) for line in (folder / f"steps-{seed}").read_text().split()]


def command(cluster: Any, seeds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-c", "from supertau.benchmarks.cli import main; main()",
            "run", "--estimator", "ray_plugin:Gated",
            "--seeds", str(seeds), "--preset", "smoke", "--curve-points", "0", "--json",
            "--executor", "ray", "--ray-address", cluster.address,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str], told: str, times: int) -> None:
    """Read standard error until as many lines hold a text."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        times -= told in line
        if not times:
            return
    raise AssertionError("".join(lines))


def test_a_run_whose_node_is_lost_goes_on_on_another(cluster: Any, nodes: list[Any], folder: Path) -> None:
    old = folder / "results/runs" / identify(config("Gated")).run_id / "shards"
    old.mkdir(parents=True)  # --restart throws it away, but once only
    events: list[Event] = []

    def lose_node(event: Event) -> None:
        events.append(event)
        tenth = [e for e in events if e.phase == "train" and e.done == 10]
        if len(tenth) == 2 and event is tenth[1]:  # told before it is saved: the second time it has been
            (lost,) = (node for node in nodes if node.node_id[:8] in events[0].text)
            cluster.remove_node(lost, allow_graceful=False)
        if event.phase == "load" and events[-2].phase == "resume":  # not before: the lost process may live a moment
            (folder / "open").touch()

    (outcome,) = run_all_on_ray(
        [config("Gated")], settings(Path("results"), existing=Existing.RESTART), lose_node, address=cluster.address
    )
    assert (outcome.phase, outcome.message) == (Phase.FINISHED, "")
    phases = [event.phase for event in events]
    assert phases[0] == "start"
    again = phases.index("resume")
    assert events[again].text != events[0].text, "another node"
    assert min(event.done for event in events[again:] if event.phase == "train") > 10
    assert steps(folder) == list(range(1, 21)), "no step was taken twice"
    assert phases[-1] == "finished"
    assert not old.exists()
    assert outcome.run.record.cost.train_images == 640
    assert outcome.run.record.environment.threads == 1
    assert (outcome.run.folder / "scores.parquet").read_bytes() == undisturbed(folder)


def test_runs_go_side_by_side_and_end_as_locally(cluster: Any, nodes: list[Any], folder: Path) -> None:
    events: list[Event] = []
    configs = [config("Meeting", 0), config("Meeting", 1), config("Crashing"), config("Dying")]
    outcomes = run_all_on_ray(configs, settings(folder / "results"), events.append, address=cluster.address)
    assert [o.config for o in outcomes] == configs
    assert [o.phase for o in outcomes] == [Phase.FINISHED, Phase.FINISHED, Phase.FAILED, Phase.ERROR]
    places = {event.run_id: event.text for event in events if event.phase == "start"}
    run_ids = [identify(c).run_id for c in configs]
    assert len({places[run_id] for run_id in run_ids[:2]}) == 2, "runs met, so each was on a node of its own"
    assert not any(event.phase == "resume" for event in events), "a failure of the method is no reason to begin again"
    assert outcomes[2].run.record.failure.type == "ZeroDivisionError"
    assert "own bug" in outcomes[2].message
    assert "killed by signal 9" in outcomes[3].message
    ends = [Phase.FINISHED, Phase.FINISHED, Phase.FAILED, Phase.ERROR]
    assert {e.run_id: e.phase for e in events} == dict(zip(run_ids, ends, strict=True))


def test_ctrl_c_saves_and_the_same_command_goes_on(cluster: Any, nodes: list[Any], folder: Path) -> None:
    with command(cluster, seeds=3) as process:
        wait_for(process, ": train", 2)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "3 of 3 runs interrupted; the same command again goes on" in errors
    told = json.loads(printed)
    assert [o["status"] for o in told] == ["interrupted"] * 3
    assert sorted(o["message"] for o in told) == ["", "", "not begun"]
    (folder / "open").touch()
    configs = [config("Gated", seed) for seed in range(3)]
    (late,) = (c.seed for c, o in zip(configs, told, strict=True) if o["message"])
    assert not (folder / "results/local/runs" / identify(configs[late]).run_id).exists()
    some = [configs[late - 1], configs[late]]
    outcomes = run_all_on_ray(some, Settings(Path("results/local")), lambda _: None, address=cluster.address)
    assert [o.phase for o in outcomes] == [Phase.FINISHED] * 2
    for one in some:
        assert steps(folder, one.seed) == list(range(1, 21)), "no step was taken twice"


def test_a_run_whose_command_was_killed_can_be_resumed(cluster: Any, nodes: list[Any], folder: Path) -> None:
    with command(cluster, seeds=1) as process:
        wait_for(process, ": train", 1)
        process.kill()
    left = folder / "results/local/runs" / identify(config("Gated")).run_id
    with FileLock(left / ".lock", timeout=60):  # the run has ended, too
        assert json.loads((left / "record.json").read_text())["status"] == "running"
    assert not list(left.glob(".*.part"))


def test_a_run_that_waits_for_an_answer_keeps_its_cpus(cluster: Any, nodes: list[Any], folder: Path) -> None:
    import ray

    class Slow:
        def answer(self) -> None:
            while not (folder / "open").exists():
                time.sleep(0.02)

    def ask(slow: Any) -> None:
        (folder / "asked").touch()
        ray_node._answer(slow.answer.remote())

    def answered() -> bool:
        return (folder / "open").exists()

    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(nodes[0].node_id, soft=False)
        asking = ray.remote(scheduling_strategy=here)(ask).remote(ray.remote(num_cpus=0)(Slow).remote())
        while not (folder / "asked").exists():
            time.sleep(0.02)
        next_one = ray.remote(scheduling_strategy=here)(answered).remote()
        ray.wait([next_one], timeout=4)  # time to begin too early
        (folder / "open").touch()
        assert ray.get(next_one)
        ray.get(asking)
    finally:
        ray.shutdown()


def test_a_node_that_does_not_see_the_results_is_named(cluster: Any, nodes: list[Any], folder: Path) -> None:
    where = Path("/proc/self/cwd/results")  # the folder of the command here, that of Ray's daemons there
    with pytest.raises(SupertauError, match=r"\(node [0-9a-f]{8}\) cannot see the results folder '.*all nodes share"):
        run_all_on_ray([config("Gated")], settings(where), lambda _: None, address=cluster.address)
    assert not list((folder / "results").iterdir())


def test_more_than_any_node_has_is_said_at_once(cluster: Any, nodes: list[Any], folder: Path) -> None:
    with pytest.raises(SupertauError, match=r"no node .* has the 1 CPUs .* and 1 GPUs .* has 1 CPUs and 0 GPUs"):
        run_all_on_ray([config("Gated")], settings(folder), lambda _: None, address=cluster.address, gpus=1)


def test_loss_of_the_last_node_is_said(
    cluster: Any, nodes: list[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "PATIENCE_SECONDS", 1.0)

    def lose_all(event: Event) -> None:
        if event.phase == "start":
            for node in nodes:
                cluster.remove_node(node, allow_graceful=False)

    with pytest.raises(SupertauError, match=r"no node .* has the 1 CPUs .*the same command again goes on"):
        run_all_on_ray([config("Gated")], settings(folder), lose_all, address=cluster.address)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:{closed}", "no Ray cluster at '127.0.0.1:.*refused.*ray start --head"),
        ("nonsense", "no Ray cluster at 'nonsense'"),
        ("ray://127.0.0.1:10001", "Run supertau on a node of the cluster"),
    ],
)
def test_an_address_that_cannot_be_reached(address: str, message: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'supertau[ray]'")
    address = address.format(closed=closed_port())  # not in the test's name, which is the same in every process
    with pytest.raises(SupertauError, match=message):
        run_all_on_ray([resolve("params", preset="smoke")], settings(tmp_path), lambda _: None, address=address)


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SupertauError, match=r"pip install 'supertau\[ray\]'"):
        run_all_on_ray([resolve("params", preset="smoke")], settings(tmp_path), lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "1"], "add --executor ray"),
        (["--ray-address", "auto"], "add --executor ray"),
        (["--executor", "ray", "--workers", "2"], "--workers is for --executor local"),
        (["--executor", "ray", "--device", "cuda"], "needs --gpus"),
        (["--executor", "ray", "--gpus", "1.5"], "expected a whole number"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", "--estimator", "params", "--preset", "smoke", *arguments])
    assert isinstance(done.exception, SupertauError)
    assert message in str(done.exception)
