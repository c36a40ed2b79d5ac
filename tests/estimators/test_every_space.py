"""Every one-shot estimator on the families of spaces beside NAS-Bench-201: it trains, resumes, and scores."""

import numpy as np
import pytest

from benchmarks.conformance.case import Case, Recorder, different, through_disk
from estimators.registry import ESTIMATORS
from search_spaces.spaces import get_space

SPACES = ("nasbench301", "nds-resnet", "nds-resnexta")
METHODS = ("spos", "shifting", "pinas", "naov2", "close")


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", METHODS)
def test_a_run_taken_up_in_the_middle_ends_with_the_same_scores(name, space):
    case = Case(ESTIMATORS.resolve(name), get_space(space))
    held = {}

    def keep(estimator, step, total):
        if step == total // 2:
            held.update(through_disk(estimator.state_dict()))

    whole = case.fit(monitor=Recorder(then=keep))
    scores = whole.score(case.few)
    assert all(np.isfinite(values).all() and values.shape == (3,) for values in scores.values())
    again = case.make()
    again.restore(case.problem(), held)
    again.train(case.budget, Recorder())
    assert not different(scores, again.score(case.few))
    assert not different({k: v[:1] for k, v in scores.items()}, again.score(case.few[:1]))


def test_published_settings_follow_the_space_and_the_preset():
    close = ESTIMATORS.resolve("close")
    blocks = {name: len(close.configured("smoke", space=name).config.starts) for name in ("nasbench201", *SPACES)}
    assert blocks == {"nasbench201": 4, "nasbench301": 5, "nds-resnet": 17, "nds-resnexta": 13}
    recipes = {
        (name, preset): close.configured(preset, space=name).config for name in SPACES for preset in ("paper", "quick")
    }
    assert (recipes["nds-resnet", "paper"].clip, recipes["nds-resnet", "paper"].weight_decay) == (0.0, 5e-5)
    assert (recipes["nds-resnet", "quick"].clip, recipes["nds-resnet", "quick"].weight_decay) == (5.0, 5e-4)
    assert recipes["nasbench301", "quick"].gate_join == "mean"
    assert close.configured("quick", {"gate_join": "sum"}, space="nasbench301").config.gate_join == "sum"
    assert ESTIMATORS.resolve("spos").configured("paper", space="nds-resnexta").config.batch_size == 64
