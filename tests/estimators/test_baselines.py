"""Random, parameters and MACs: pinned values, and independence of call order."""

import numpy as np
import pytest
import torch

from supertau.estimators import ESTIMATORS, Budget, ImageSet, Problem
from supertau.estimators.baselines import CostConfig, Macs, Params, Random, hashed
from supertau.estimators.estimator import NotFitted
from supertau.search_spaces.errors import UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.space import NetworkConfig

SPACE = NASBench201()
CONV3, CONV1, NOTHING = (3,) * 6, (2,) * 6, (0,) * 6


def problem(seed=0, network=None):
    images = ImageSet("grey", torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), 10, (0.5,), (0.5,))
    return Problem(SPACE, network or NetworkConfig(8, 1, 8, 10, 1), images, images, seed)


def fitted(estimator, **kwargs):
    estimator.fit(problem(**kwargs), Budget(0))
    return estimator


def test_registered_under_their_names():
    assert [ESTIMATORS.get(n) for n in ("random", "params", "macs")] == [Random, Params, Macs]


def test_parameters_of_the_benchmark_networks():
    scores = fitted(Params()).score([NOTHING, CONV1, CONV3, (3, 2, 0, 1, 4, 3)])["score"]
    assert scores.tolist() == [73_306, 73_306 + 6 * 28_000, 1_531_546, 73_306 + 2 * 243_040 + 28_000]


def test_macs_of_the_benchmark_networks():
    stem, reductions, classifier = 3 * 9 * 16 * 32**2, 2 * 3_670_016, 64 * 10
    convolutions = 3 * 5 * 6 * 9 * 16**2 * 32**2  # the three stages cost the same
    scores = fitted(Macs()).score([NOTHING, CONV3])["score"]
    assert scores[0] == stem + reductions + classifier
    assert scores[1] == stem + reductions + classifier + convolutions == 220_119_680


def test_cost_at_the_size_of_the_problem():
    size = NetworkConfig(8, 1, 8, 10, 1)
    scores = fitted(Params(CostConfig("problem")), network=size).score([CONV3])["score"]
    assert scores[0] == SPACE.cost(CONV3, size).parameters < 100_000
    with pytest.raises(UnknownName, match="benchmark, problem"):
        CostConfig("supernet")


def test_cost_does_not_depend_on_the_seed():
    assert Params.deterministic
    assert Macs.deterministic
    assert not Random.deterministic


def test_random_is_a_pinned_hash_of_seed_and_architecture():
    assert hashed("a", 1) == hashed("a", 1) != hashed("a1")
    assert 0 <= hashed("a") < 2**63
    first = fitted(Random(), seed=0).score([CONV3])["score"][0]
    assert first == pytest.approx(0.38577532088075844, abs=1e-15)
    assert fitted(Random(), seed=1).score([CONV3])["score"][0] != first
    assert fitted(Random(), seed=0).score([tuple(np.array(CONV3))])["score"][0] == first


def test_random_is_uniform_and_independent_of_order():
    cells = list(SPACE.enumerate())
    estimator = fitted(Random())
    scores = estimator.score(cells)["score"]
    assert len(set(scores)) == len(cells)
    assert abs(scores.mean() - 0.5) < 4 * (1 / 12 / len(cells)) ** 0.5
    assert np.histogram(scores, 10, (0, 1))[0] == pytest.approx(1562.5, abs=4 * 37.5)
    assert estimator.score(cells[::-1])["score"].tolist() == scores[::-1].tolist()
    assert estimator.score(cells[7:9])["score"].tolist() == scores[7:9].tolist()


@pytest.mark.parametrize("cls", [Random, Params, Macs])
def test_scoring_before_fit_says_so(cls):
    assert not cls.trains
    with pytest.raises(NotFitted):
        cls().score([CONV3])
