"""Runs on spaces too large to be listed: the pool is what has ground truth, or what a surrogate is asked about."""

import numpy as np
import pandas as pd
import pytest

from supertau.benchmarks.runs.plan import identify, resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nds.space import NDSResNet
from supertau.search_spaces.pool import select
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.truth import GroundTruth, Surrogate


def test_parameters_rank_the_published_pool_of_resnexta(real_file, tmp_path):
    """.668 is the figure of Ning et al. (arXiv:2008.03064) on these 5,000 networks."""
    path = real_file("nds/resnexta_5k.csv.gz")
    config = resolve("params", space="nds-resnexta", truth="cifar10", preset="smoke", pool="all")
    record = run(config, Settings(tmp_path)).record
    assert record.pool.size == 5000
    (judgement,) = record.judgements
    assert judgement.truth.chance == 10.0
    assert judgement.find("all", "score", "kendall_tau").value == pytest.approx(0.668, abs=5e-4)
    failed = int((pd.read_csv(path)["test_acc"] < 15).sum())
    assert failed > 0
    assert {m.n for m in judgement.metrics if m.view == "trained"} == {5000 - failed}


class Linear(Surrogate):
    def table(self, architectures):
        accuracy = np.array([[50 + sum(a)] for a in architectures], dtype=np.float64)
        return GroundTruth("nds-resnet", "cifar10", "val", 1, "a model", None, tuple(architectures), accuracy, ("0",))


@pytest.fixture
def surrogate(monkeypatch):
    monkeypatch.setattr(NDSResNet, "truth", lambda self, dataset, path=None, *, trust_pickle=False: Linear())
    monkeypatch.setattr(NDSResNet, "truths", ())


def test_a_surrogate_judges_any_pool(surrogate, tmp_path):
    config = resolve("params", space="nds-resnet", preset="smoke", pool="random:50")
    assert config.truth == "cifar10"
    done = run(config, Settings(tmp_path))
    space = get_space("nds-resnet")
    pool = select(space, "random:50").architectures
    assert list(done.truth["architecture"]) == [space.format(a) for a in pool]
    assert done.trials(done.judgement().truth).iloc[:, 0].tolist() == [50 + sum(a) for a in pool]
    assert done.record.pool.name == "random:50"


def test_a_surrogate_has_no_pool_of_its_own(surrogate, tmp_path):
    config = resolve("params", space="nds-resnet", preset="smoke", pool="all:20")
    with pytest.raises(SupertauError, match="too many to list; name a file of architectures, or a sample of them"):
        run(config, Settings(tmp_path))


def test_ground_truth_is_part_of_the_identity_where_the_pool_depends_on_it():
    large = [
        identify(resolve("spos", space="nds-resnet", preset="smoke", truth=truth)) for truth in ("micro", "cifar10")
    ]
    assert large[0].scores != large[1].scores
    assert large[0].training == large[1].training
    small = [identify(resolve("spos", preset="smoke", truth=truth)) for truth in ("cifar10", "cifar100")]
    assert small[0].scores == small[1].scores


def test_the_paper_preset_has_the_size_of_the_spaces_benchmark():
    sizes = {s: resolve("spos", preset="paper", space=s) for s in ("nasbench201", "nasbench301", "nds-resnet")}
    assert {s: (c.channels, c.cells) for s, c in sizes.items()} == {
        "nasbench201": (16, 5), "nasbench301": (32, 2), "nds-resnet": (16, 1)
    }  # fmt: skip
