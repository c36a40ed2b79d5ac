"""SPOS: what it draws, what one step trains, its loss, its budget, its seed, and that it learns."""

import copy
import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from monitors import Listener
from scipy import stats
from states import loaded, stored

from supertau.estimators import ESTIMATORS, Budget, Monitor
from supertau.estimators.estimator import NotFitted
from supertau.estimators.spos import SPOS
from supertau.estimators.training.augmentation import normalise
from supertau.estimators.training.sampling import PathSampler
from supertau.search_spaces.errors import SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201

SPACE = NASBench201()
NONE, SKIP, CONV1, CONV3, POOL = range(5)
FULL = (CONV3,) * 6
CELLS = [FULL, (CONV1, SKIP, CONV3, POOL, CONV3, CONV1), (SKIP, POOL, NONE, NONE, SKIP, POOL), (NONE,) * 6]


def smoke(**overrides):
    return SPOS.configured("smoke", overrides)


def fitted(problem, passes=640, monitor=None, **overrides):
    estimator = smoke(**overrides)
    estimator.fit(problem, Budget(passes), monitor)
    return estimator


def seeded(problem, seed):
    return dataclasses.replace(problem, seed=seed)


# --- what is drawn --------------------------------------------------------------------------------------------------


def members(sampling):
    """Return a sampling set by its definition."""
    cells = SPACE.unique() if sampling.startswith("unique") else list(SPACE.enumerate())
    return [cell for cell in cells if "live" not in sampling or SPACE.has_live_convolution(cell)]


@pytest.mark.parametrize(
    ("sampling", "size"), [("space", 15_625), ("live", 13_642), ("unique", 6466), ("unique-live", 6321)]
)
def test_paths_are_uniform_over_the_sampling_set(sampling, size):
    population = members(sampling)
    assert len(population) == size
    sampler = PathSampler(SPACE, sampling, np.random.default_rng(0))
    drawn = Counter(sampler() for _ in range(5 * size))
    assert set(drawn) <= set(population)
    assert 1e-3 < stats.chisquare([drawn[cell] for cell in population]).pvalue < 1 - 1e-3


def test_unknown_sampling_is_named_with_the_nearest_one(problem):
    with pytest.raises(UnknownName, match=r"unknown sampling 'unique_live'. Did you mean 'unique-live'\?"):
        PathSampler(SPACE, "unique_live", np.random.default_rng(0))
    with pytest.raises(UnknownName, match="unknown sampling 'everything'"):
        smoke(sampling="everything").start(problem)


def recorded(estimator):
    """Have the estimator note every path it draws."""
    drawn, draw = [], estimator.sampler
    estimator.sampler = lambda: drawn.append(draw()) or drawn[-1]
    return drawn


@pytest.mark.parametrize("sampling", ["space", "live", "unique", "unique-live"])
def test_training_draws_from_the_configured_set_once_per_step(problem, sampling):
    estimator = smoke(sampling=sampling)
    estimator.start(problem)
    drawn = recorded(estimator)
    estimator.train(Budget(1280), Monitor())
    assert len(drawn) == 40
    assert set(drawn) <= set(members(sampling))
    assert len(set(drawn)) > 30


# --- one step -------------------------------------------------------------------------------------------------------


def test_a_step_trains_exactly_the_drawn_path(problem):
    estimator = smoke(batch_size=8)
    estimator.start(problem)
    drawn = recorded(estimator)
    names = {parameter: name for name, parameter in estimator.supernet.named_parameters()}
    held = {}

    def look(_estimator, step, *_):
        assert len(drawn) == step
        path = {names[parameter] for parameter in estimator.supernet.path_parameters(drawn[-1])}
        trained = {name for parameter, name in names.items() if parameter.grad is not None}
        # What comes before the last cell has no influence, and no gradient, when that cell is disconnected.
        assert trained == path if SPACE.is_connected(drawn[-1]) else trained < path
        moved = {name for p, name in names.items() if not torch.equal(p, held.get(name, first[name]))}
        assert moved <= trained
        assert "classifier.weight" in moved
        held.update({name: parameter.detach().clone() for parameter, name in names.items()})

    first = {name: parameter.detach().clone() for parameter, name in names.items()}
    estimator.train(Budget(8 * 60), Listener(look))
    assert sum(not SPACE.is_connected(cell) for cell in drawn) >= 1


def test_batch_statistics_are_used_in_training_and_affine_is_off_in_cells_only(problem):
    estimator = fitted(problem)
    assert estimator.supernet.training
    affine = {name for name, m in estimator.supernet.named_modules() if getattr(m, "affine", False)}
    assert affine == {
        "stem.1",
        "layers.1.first.2",
        "layers.1.second.2",
        "layers.3.first.2",
        "layers.3.second.2",
        "head.0",
    }
    with_affine = fitted(problem, affine=True)
    assert all(getattr(m, "affine", True) for m in with_affine.supernet.modules())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_cross_entropy_of_the_path_with_the_configured_smoothing(problem, smoothing):
    estimator = smoke(label_smoothing=smoothing, augment=False)
    estimator.start(problem)
    estimator.sampler = lambda: FULL
    images, labels = problem.train.images[:32], problem.train.labels[:32]
    plain = copy.deepcopy(estimator.supernet)
    loss = estimator.objective(images, labels)
    with torch.no_grad():
        logits = plain(normalise(images, problem.train.mean, problem.train.std), FULL).double()
    log_odds = logits - logits.logsumexp(1, keepdim=True)
    target = torch.full((32, 10), smoothing / 10, dtype=torch.float64)
    target[range(32), labels] += 1 - smoothing
    assert loss.item() == pytest.approx(-(target * log_odds).sum(1).mean().item(), rel=1e-5)


def test_augmentation_can_be_switched_off(problem):
    seen = []
    for on in (False, True):
        estimator = smoke(augment=on)
        estimator.start(problem)
        estimator.supernet.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        estimator.objective(problem.train.images[:32], problem.train.labels[:32])
    plain = normalise(problem.train.images[:32], problem.train.mean, problem.train.std)
    assert torch.equal(seen[0], plain)
    assert not torch.equal(seen[1], plain)


# --- budget and cost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passes", "batch", "steps"), [(640, 32, 20), (100, 32, 3), (31, 32, 0), (96, 32, 3), (7, 1, 7)]
)
def test_steps_are_as_many_batches_as_fit_into_the_budget(problem, passes, batch, steps):
    reported = []
    estimator = fitted(problem, passes, Listener(lambda _e, step, *_: reported.append(step)), batch_size=batch)
    assert reported == list(range(1, steps + 1))
    assert estimator.cost()["train_images"] == steps * batch <= passes
    assert estimator.diagnostics() == {"steps": steps, "updates_per_architecture": steps / 15_625}


def test_cost_counts_scored_images_and_parameters(problem):
    estimator = fitted(problem)
    held = sum(parameter.numel() for parameter in estimator.supernet.parameters())
    assert estimator.cost() == {"train_images": 640, "score_images": 0, "supernet_parameters": held}
    estimator.score(CELLS)
    assert estimator.cost()["score_images"] == len(CELLS) * (3 * 64 + 64)  # three modes; one calibrates on 64 images


def test_learning_rate_falls_over_the_whole_budget(problem):
    rates = []
    monitor = Monitor()
    monitor.after_step = lambda _estimator, _step, _total, _loss, rate: rates.append(rate)
    fitted(problem, 640, monitor)
    assert rates[0] == 0.025
    assert rates[10] == pytest.approx(0.013)
    assert rates[-1] < 0.0012


# --- seed -----------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_network(problem):
    state = torch.get_rng_state()
    one = fitted(problem, 160)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone, and does not matter
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        two = fitted(problem, 160)
    other = fitted(seeded(problem, 1), 160)
    assert stored(one.state_dict()) == stored(two.state_dict())
    scores, same, different = (estimator.score(CELLS) for estimator in (one, two, other))
    for name in one.score_columns():
        np.testing.assert_array_equal(scores[name], same[name])
    assert not np.array_equal(scores["neg_loss@batch"], different["neg_loss@batch"])


def test_the_seed_reaches_weights_paths_order_and_augmentation(problem):
    def first(seed):
        estimator = smoke()
        estimator.start(seeded(problem, seed))
        return (
            stored(estimator.supernet.state_dict()),
            [estimator.sampler() for _ in range(5)],
            estimator.loop.batches.next().tolist(),
            torch.rand(4, generator=estimator.augmentation).tolist(),
        )

    for one, same, other in zip(first(0), first(0), first(1), strict=True):
        assert one == same != other


def test_fit_starts_anew(problem):
    estimator = fitted(problem, 160)
    first = stored(estimator.state_dict())
    estimator.fit(problem, Budget(160))
    assert stored(estimator.state_dict()) == first


# --- resuming -------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_from_any_step_and_scoring_in_between_changes_nothing(problem):
    total, saved = 4 * 32, []
    whole = fitted(problem, total)

    def save(estimator, _step, *_):
        saved.append(stored(estimator.state_dict()))
        estimator.score(CELLS[:2])

    fitted(problem, total, Listener(save))
    expected = whole.score(CELLS)
    for held in saved:
        estimator = smoke()
        estimator.restore(problem, loaded(held))
        estimator.train(Budget(total), Monitor())
        assert estimator.loop.step == 4
        for name, value in whole.supernet.state_dict().items():
            assert torch.equal(value, estimator.supernet.state_dict()[name]), name
        for name, values in estimator.score(CELLS).items():
            np.testing.assert_array_equal(values, expected[name])


def test_restored_scores_are_those_of_the_saved_state(problem):
    estimator = fitted(problem, 320)
    state = loaded(stored(estimator.state_dict()))
    other = smoke()
    other.restore(problem, state)
    for name, values in estimator.score(CELLS).items():
        np.testing.assert_array_equal(other.score(CELLS)[name], values)


# --- settings -------------------------------------------------------------------------------------------------------


def test_registered_with_its_columns():
    assert ESTIMATORS.get("spos") is SPOS
    assert smoke().score_columns() == tuple(
        f"{kind}@{mode}" for mode in ("batch", "recalibrated", "inherited") for kind in ("accuracy", "neg_loss")
    )
    assert smoke(bn=("recalibrated",)).score_columns() == ("accuracy@recalibrated", "neg_loss@recalibrated")


def test_unknown_setting_is_named_with_the_nearest_one():
    with pytest.raises(UnknownName, match=r"unknown setting of SPOS 'learning_rat'. Did you mean 'learning_rate'\?"):
        smoke(learning_rat=0.1)


def test_asked_before_fit():
    with pytest.raises(NotFitted, match=r"SPOS was asked before fit\(\) or restore\(\)"):
        smoke().score(CELLS)


def test_a_batch_larger_than_the_training_set(problem):
    with pytest.raises(SupertauError, match="a batch of 321 does not fit into 320 training images"):
        smoke(batch_size=321).start(problem)


# --- learning -------------------------------------------------------------------------------------------------------


def test_it_learns(problem):
    """Live cells, which guess at first, read digits after 20 passes over 320 of them."""
    cells = [cell for cell in list(SPACE.enumerate())[::1000] if SPACE.has_live_convolution(cell)]
    settings = {"scoring_images": 160, "calibration_images": 320, "scoring_batch": 160, "learning_rate": 0.1}
    untrained = fitted(problem, 0, **settings).score(cells)
    trained = fitted(problem, 20 * 320, **settings).score(cells)
    for mode in ("batch", "recalibrated"):
        assert untrained[f"accuracy@{mode}"].mean() < 15
        assert trained[f"accuracy@{mode}"].mean() > 22
        assert trained[f"neg_loss@{mode}"].mean() > untrained[f"neg_loss@{mode}"].mean() + 0.3
    assert trained["accuracy@inherited"].mean() < trained["accuracy@recalibrated"].mean() - 5
