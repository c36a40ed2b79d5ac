"""Half precision: where it is used, what stays single, and what an overflow does."""

import numpy as np
import pytest
import torch
from monitors import Listener
from scipy.stats import spearmanr
from states import loaded, same, stored
from torch import nn

from supertau.benchmarks.runs.plan import resolve
from supertau.estimators import ESTIMATORS, Budget, Monitor
from supertau.estimators.spos import SPOS
from supertau.search_spaces.errors import SupertauError

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
METHODS = ("spos", "shifting", "pinas", "naov2", "close")


def some(problem, count=12):
    rng = np.random.default_rng(0)
    return [problem.space.sample(rng) for _ in range(count)]


def steps(estimator, count):
    """Take steps of the supernet's training from where it is."""
    estimator.supernet.train()
    estimator.loop.run(estimator, estimator.loop.step + count)


@pytest.mark.parametrize("precision", HALF)
def test_convolutions_are_done_in_it_and_everything_kept_is_single(problem, precision):
    spos = SPOS.configured("smoke", {"precision": precision})
    spos.start(problem)
    ran = []
    hooks = [
        module.register_forward_hook(lambda module, given, output: ran.append((type(module), output.dtype)))
        for module in spos.supernet.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    steps(spos, 3)
    spos.score(some(problem, 3))
    for hook in hooks:
        hook.remove()
    assert len(ran) > 40
    assert {dtype for _, dtype in ran} == {HALF[precision]}
    held = [*spos.supernet.parameters(), *(p.grad for p in spos.supernet.parameters() if p.grad is not None)]
    held += [state["momentum_buffer"] for state in spos.loop.optimiser.state.values()]
    held += [values for name, values in spos.supernet.named_buffers() if "running" in name]
    assert {tensor.dtype for tensor in held} == {torch.float32}


@pytest.mark.parametrize("precision", HALF)
def test_a_step_goes_where_one_in_single_precision_does(problem, precision):
    moves = []
    for name in ("float32", precision):
        spos = SPOS.configured("smoke", {"precision": name})
        spos.start(problem)
        before = [p.detach().clone() for p in spos.supernet.parameters()]
        steps(spos, 1)
        moved = [(p.detach() - b).flatten() for p, b in zip(spos.supernet.parameters(), before, strict=True)]
        moves.append(torch.cat(moved).double())
    one, other = moves
    assert torch.dot(one, other) / (one.norm() * other.norm()) > 0.97
    assert one.norm() / other.norm() == pytest.approx(1, abs=0.02), "the scale of the loss is taken back"


@pytest.mark.parametrize("precision", HALF)
def test_trained_weights_are_scored_alike(problem, precision):
    spos = SPOS.configured("smoke")
    spos.fit(problem, Budget(3200))
    half = SPOS.configured("smoke", {"precision": precision})
    half.start(problem)
    half.supernet.load_state_dict(spos.supernet.state_dict())
    one, other = spos.score(some(problem)), half.score(some(problem))
    for mode in ("batch", "recalibrated"):
        name = f"neg_loss@{mode}"
        assert not np.array_equal(one[name], other[name])
        np.testing.assert_allclose(one[name], other[name], rtol=0.05)
        assert spearmanr(one[name], other[name])[0] > 0.9
    alone = np.concatenate([half.score([a])["neg_loss@recalibrated"] for a in some(problem)])
    np.testing.assert_allclose(alone, other["neg_loss@recalibrated"], rtol=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_goes_on_from_a_checkpoint(problem, method):
    """In float16 the scale of the loss is part of the state, too."""
    settings = {"precision": "float16"}

    def fresh():
        return ESTIMATORS.resolve(method).configured("smoke", settings)

    held = {}
    whole = fresh()
    whole.fit(problem, Budget(640), Listener(lambda e, step, *_: held.update({step: stored(e.state_dict())})))
    again = fresh()
    again.restore(problem, loaded(held[max(held) // 2]))
    again.train(Budget(640), Monitor())
    assert same(loaded(stored(again.state_dict())), loaded(stored(whole.state_dict())))
    assert all(parameter.isfinite().all() for parameter in whole.supernet.parameters())


def test_an_overflow_moves_nothing_and_lowers_the_scale(problem):
    """Nor what another optimiser moves along with the supernet: the gate of CLOSE."""
    close = ESTIMATORS.resolve("close").configured("smoke", {"precision": "float16"})
    close.start(problem)
    assert close.loop.companions
    steps(close, 1)
    close.loop.scaler.update(2.0**60)
    before = stored([p.detach() for p in close.loop.parameters])
    steps(close, 1)
    assert same(loaded(before), [p.detach() for p in close.loop.parameters])
    assert close.loop.scaler.get_scale() == 2.0**59
    close.loop.scaler.update(2.0**8)
    steps(close, 1)
    assert not same(loaded(before), [p.detach() for p in close.loop.parameters])


def test_what_is_not_there_is_named():
    with pytest.raises(SupertauError, match=r"unknown precision 'half'\. Available: bfloat16, float16, float32"):
        resolve("spos", preset="smoke", settings={"precision": "half"})
