"""The noise ceiling gives back its trial, and nothing without one."""

import pytest
import torch

from supertau.estimators import ESTIMATORS, Budget, ImageSet, Problem
from supertau.estimators.oracle_noise import OracleNoise, OracleProblem
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.space import NetworkConfig

GOOD, BAD, UNKNOWN = (3,) * 6, (0,) * 6, (1,) * 6
IMAGES = ImageSet("grey", torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), 10, (0.5,), (0.5,))
ARGUMENTS = (NASBench201(), NetworkConfig(8, 1, 8, 10, 1), IMAGES, IMAGES, 0)


def test_scores_are_the_trial():
    estimator = OracleNoise()
    estimator.fit(OracleProblem(*ARGUMENTS, trial={GOOD: 93.5, BAD: 10.0}), Budget(0))
    assert estimator.score([BAD, GOOD, BAD])["score"].tolist() == [10.0, 93.5, 10.0]


def test_it_says_that_it_uses_truth():
    assert ESTIMATORS.get("oracle_noise") is OracleNoise
    assert OracleNoise.uses_truth
    assert OracleNoise.role == "ceiling"
    assert not OracleNoise.trains


def test_an_ordinary_problem_is_refused():
    with pytest.raises(SupertauError, match="OracleProblem"):
        OracleNoise().fit(Problem(*ARGUMENTS), Budget(0))


def test_an_unknown_architecture_is_named():
    estimator = OracleNoise()
    estimator.fit(OracleProblem(*ARGUMENTS, trial={GOOD: 93.5}), Budget(0))
    with pytest.raises(SupertauError, match=r"1 of 2 architectures.*skip_connect~0"):
        estimator.score([GOOD, UNKNOWN])


def test_a_trial_with_a_gap_is_refused():
    with pytest.raises(SupertauError, match="not finite"):
        OracleNoise().fit(OracleProblem(*ARGUMENTS, trial={GOOD: float("nan")}), Budget(0))
