"""Every one-shot estimator on the families of spaces beside NAS-Bench-201: it trains, resumes, and scores."""

import numpy as np
import pytest

from supertau.benchmarks.conformance.case import Case, Recorder, different, through_disk
from supertau.estimators.estimator import Budget
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.nds.space import NDSResNeXtA
from supertau.search_spaces.spaces import get_space

METHODS = ("spos", "shifting", "pinas", "naov2", "close")


class Shallow(NDSResNeXtA):
    """ResNeXt-A with grids short enough for a test; no estimator knows its name."""

    name = "shallow"
    grids = {**NDSResNeXtA.grids, "w": (16, 32), "d": (1, 2, 5)}  # noqa: RUF012


@pytest.mark.parametrize("space", [get_space("nasbench301"), Shallow()], ids=lambda space: space.name)
@pytest.mark.parametrize("name", METHODS)
def test_a_run_resumed_in_the_middle_ends_with_the_same_scores(name, space):
    case = Case(ESTIMATORS.resolve(name), space)
    budget, held = Budget(160), {}

    def keep(estimator, step, total):
        if step == total // 2:
            held.update(through_disk(estimator.state_dict()))

    whole = case.make()
    whole.fit(case.problem(), budget, Recorder(then=keep))
    scores = whole.score(case.few)
    assert all(np.isfinite(values).all() and values.shape == (3,) for values in scores.values())
    again = case.make()
    again.restore(case.problem(), held)
    again.train(budget, Recorder())
    assert not different({k: v[:1] for k, v in scores.items()}, again.score(case.few[:1]))


SPACES = ("nasbench201", "nasbench301", "nds-resnet", "nds-resnexta")


def test_published_settings_follow_the_space_and_the_preset():
    close, spos = ESTIMATORS.resolve("close"), ESTIMATORS.resolve("spos")
    held = {space: close.configured("quick", space=space).config for space in SPACES}
    assert [len(held[space].starts) for space in SPACES] == [4, 5, 17, 13]
    assert [held[space].gate_join for space in SPACES] == ["sum", "mean", "sum", "sum"]
    assert close.configured("quick", {"gate_join": "sum"}, space="nasbench301").config.gate_join == "sum"
    assert (held["nds-resnet"].clip, held["nds-resnet"].weight_decay) == (5.0, 5e-4)
    published = close.configured("paper", space="nds-resnet").config
    assert (published.clip, published.weight_decay, published.batch_size) == (0.0, 5e-5, 128)
    assert [spos.configured("paper", space=space).config.batch_size for space in SPACES] == [64, 256, 128, 64]
