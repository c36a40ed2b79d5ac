"""Runs on several devices: killed, interrupted and resumed, they end as a run on one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from supertau.benchmarks.execution import local as executor
from supertau.benchmarks.execution.local import run_all
from supertau.benchmarks.runs.events import Event
from supertau.benchmarks.runs.plan import identify, resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings
from supertau.estimators.estimator import Estimator
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.errors import SupertauError

FABRIC = importlib.util.find_spec("lightning_fabric") is not None
TROUBLED = """
import os
import signal
from pathlib import Path

from supertau.estimators.spos import SPOS

class Troubled(SPOS):
    '''On two processes, once each: before step 5 the second one is killed, before step 10 both hear Ctrl-C.'''

    def objective(self, images, labels):
        processes = self.problem.processes
        for step, number, troubled in (4, signal.SIGKILL, {1}), (9, signal.SIGINT, {0, 1}):
            mark = Path(__file__).with_name(f"{step}-{processes.index}")
            if processes.size == 2 and self.loop.step == step and processes.index in troubled and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), number)
        return super().objective(images, labels)
"""


@pytest.mark.skipif(not FABRIC, reason="lightning-fabric is not installed (extra 'ddp')")
def test_a_run_that_lost_a_process_and_was_interrupted_ends_as_on_one_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "troubled_plugin.py").write_text(TROUBLED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    scoring = {"bn": ["batch"], "scoring_images": 16, "scoring_batch": 16}
    config = resolve("troubled_plugin:Troubled", preset="smoke", settings=scoring, pool="all:300", curve_pool=40)
    run_id = identify(config).run_id
    seen: list[Event] = []

    def attempt() -> tuple[str, str, dict]:
        seen.clear()
        settings = Settings(tmp_path / "two", device="cpu", threads=1, checkpoint_seconds=0.0)
        (outcome,) = run_all([config], settings, seen.append, devices=2)
        record = json.loads((tmp_path / "two" / "runs" / run_id / "record.json").read_text())
        return outcome.phase, outcome.message, record

    status, message, record = attempt()
    assert (status, record["status"]) == ("error", "running")
    assert "un again to go on" in message
    status, _, record = attempt()
    assert (status, record["status"]) == ("interrupted", "running")
    assert min(event.done for event in seen if event.phase == "train") == 5, "from the checkpoint, not from the start"
    status, _, record = attempt()
    assert (status, record["status"]) == ("finished", "finished")
    assert min(event.done for event in seen if event.phase == "train") == 11
    assert record["environment"]["devices"] == 2

    whole = run(config, Settings(tmp_path / "one", device="cpu", threads=1))
    assert whole.record.environment.devices == 1
    names = ("train_images", "score_images", "curve_images", "supernet_parameters")
    assert [record["cost"][name] for name in names] == [getattr(whole.record.cost, name) for name in names]
    for table in ("scores", "curve"):
        one, two = (pd.read_parquet(tmp_path / n / "runs" / run_id / f"{table}.parquet") for n in ("one", "two"))
        assert (one["architecture"] == two["architecture"]).all()
        np.testing.assert_allclose(one["neg_loss@batch"], two["neg_loss@batch"], atol=1e-3)
        assert one["neg_loss@batch"].std() > 0.03, "or the tolerance would say nothing"


@dataclass(frozen=True)
class NoConfig:
    pass


class Single(Estimator):
    Config = NoConfig

    def score(self, architectures):
        raise AssertionError("nothing is to be started")


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is asked about devices, and an estimator is there that does not know of them."""
    monkeypatch.setattr(executor, "require_devices", lambda device, count: None)
    ESTIMATORS.register("single")(Single)
    yield
    del ESTIMATORS._entries["single"]


def test_an_estimator_that_does_not_say_so_trains_on_one_device_only(two_devices: None, tmp_path: Path) -> None:
    with pytest.raises(SupertauError, match="estimator 'single' trains on one device only: leave --devices away"):
        run_all([resolve("single", preset="smoke")], Settings(tmp_path), lambda event: None, devices=2)


@pytest.mark.parametrize(("name", "arguments"), [("spos", ["cpu", "2"]), ("params", [])])
def test_what_does_not_train_takes_one_process_and_cores_are_shared_out(
    two_devices: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]
) -> None:
    def start(command: list[str], env: dict[str, str], **_: object) -> None:
        raise SupertauError(f"{command[3:]} with {env['OMP_NUM_THREADS']} threads")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    configs = [resolve(name, preset="smoke", seed=seed) for seed in (0, 1)]  # one by one, of two processes each
    with pytest.raises(SupertauError, match=re.escape(f"{arguments} with 3 threads")):
        run_all(configs, Settings(tmp_path, device="cpu"), lambda event: None, devices=2)
