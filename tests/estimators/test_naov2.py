"""NAO-V2: the size law, what a stage starts from and draws, the loop of pools, its scores, budget, seed, resuming."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from monitors import Listener
from scipy import stats
from states import loaded, same, stored

from supertau.estimators import Budget, Monitor
from supertau.estimators.components import encoder_predictor_decoder as epd
from supertau.estimators.components.size_sampling import SpaceSampler, proportional, stand_alone_size
from supertau.estimators.estimator import NotFitted
from supertau.estimators.naov2 import NAOV2, NAOV2Config
from supertau.estimators.training.generators import numpy_stream, stage_seed
from supertau.estimators.training.scoring import PathScorer
from supertau.search_spaces.errors import SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.pool import draw
from supertau.search_spaces.space import NetworkConfig

SPACE = NASBench201()
NONE, SKIP, CONV1, CONV3, POOL = range(5)
ALL = list(SPACE.enumerate())
LIGHT = {"initial_pool": 6, "new_architectures": 3, "keep_top": 2, "epd_epochs": 1, "scoring_images": 32}
CELLS = [(CONV3,) * 6, (CONV1, SKIP, CONV3, POOL, CONV3, CONV1), (SKIP, POOL, NONE, NONE, SKIP, POOL), (NONE,) * 6]


class Watched(NAOV2):
    """Notes the state in which each stage takes its first step, and every architecture drawn, by stage."""

    def start(self, problem):
        self.begun, self.drawn = [], []
        super().start(problem)

    def draw(self):
        if len(self.begun) == self.stage:
            self.begun.append(
                {
                    "weights": copy.deepcopy(self.supernet.state_dict()),
                    "momentum": copy.deepcopy(self.loop.optimiser.state_dict()["state"]),
                    "pool": list(self.pool),
                    "probabilities": self.probabilities.copy(),
                    "augmentation": self.augmentation.initial_seed(),
                }
            )
            self.drawn.append([])
        drawn = super().draw()
        self.drawn[-1].append(drawn)
        return drawn


def smoke(cls=NAOV2, **overrides):
    return cls.configured("smoke", overrides)


def fitted(problem, passes=640, monitor=None, cls=NAOV2, **overrides):
    estimator = smoke(cls, **overrides)
    estimator.fit(problem, Budget(passes), monitor)
    return estimator


def seeded(problem, seed):
    return dataclasses.replace(problem, seed=seed)


def keys(architectures):
    return {SPACE.canonical(a) for a in architectures}


def at_ends(estimator_class, problem, passes=640, **overrides):
    """Return a fitted estimator, its weights after each step, and the learning rates."""
    weights, rates = [], []

    def look(estimator, _step, _total, rate):
        weights.append(copy.deepcopy(estimator.supernet.state_dict()))
        rates.append(rate)

    return fitted(problem, passes, Listener(look), estimator_class, **overrides), weights, rates


@pytest.fixture(scope="module")
def watched(problem):
    """What `at_ends` gives for the smoke preset: 4 stages of 5 steps. To be looked at and scored only."""
    return at_ends(Watched, problem)


# --- size -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def coloured(problem):
    """The problem with the network that CIFAR-10 would have: three channels in, ten classes out."""
    return dataclasses.replace(problem, network=NetworkConfig(channels=4, cells=1, image_size=8))


def test_size_law_of_nasbench201(coloured):
    size = stand_alone_size(coloured, "benchmark")
    assert size((NONE,) * 6) == 73_306
    assert size((CONV3,) * 6) == 1_531_546
    assert all(size(a) == 73_306 + 243_040 * a.count(CONV3) + 28_000 * a.count(CONV1) for a in ALL)
    sizes = np.array([size(a) for a in ALL])
    p = proportional(sizes)
    assert p.sum() == pytest.approx(1)
    assert round(sizes.mean()) == 398_554
    assert p.max() * len(ALL) == pytest.approx(3.84, abs=0.005)
    assert p.min() * len(ALL) == pytest.approx(0.18, abs=0.005)
    assert 1 / (p**2).sum() / len(ALL) == pytest.approx(0.746, abs=0.0005)
    assert (p * sizes).sum() / sizes.mean() == pytest.approx(1.34, abs=0.005)
    for edge in range(6):
        shares = [p[[a[edge] == option for a in ALL]].sum() for option in range(5)]
        np.testing.assert_allclose(shares, [0.173, 0.173, 0.187, 0.295, 0.173], atol=0.0005)


def test_size_is_of_the_stand_alone_network_not_of_the_supernet(problem):
    """At benchmark width with the problem's images and classes, or at the supernet's width."""
    held = {"benchmark": NetworkConfig(classes=10, image_channels=1), "supernet": problem.network}
    for name, config in held.items():
        size = stand_alone_size(problem, name)
        for cell in CELLS[:2]:
            assert size(cell) == sum(p.numel() for p in SPACE.network(cell, config).parameters())
    supernet = sum(p.numel() for p in SPACE.supernet(problem.network, affine=True).parameters())
    assert size((CONV3,) * 6) < supernet
    assert smoke().config.size_network == "benchmark"


def test_a_pool_is_drawn_from_in_proportion_to_size(problem):
    estimator = smoke()
    estimator.start(problem)
    expected = proportional([SPACE.cost(a, NetworkConfig(image_channels=1)).parameters for a in estimator.pool])
    np.testing.assert_allclose(estimator.probabilities, expected, rtol=1e-12)
    assert expected.max() / expected.min() > 3
    draws = [estimator.draw() for _ in range(8000)]
    counts = np.array([draws.count(a) for a in estimator.pool])
    assert stats.chisquare(counts, 8000 * expected).pvalue > 1e-3
    assert stats.chisquare(counts).pvalue < 1e-9
    uniform = smoke(sampling="uniform")
    uniform.start(problem)
    draws = [uniform.draw() for _ in range(8000)]
    assert stats.chisquare([draws.count(a) for a in uniform.pool]).pvalue > 1e-3


def test_probabilities_are_normalised_within_each_pool(watched):
    estimator = watched[0]
    sizes = [
        [SPACE.cost(a, NetworkConfig(image_channels=1)).parameters for a in held["pool"]] for held in estimator.begun
    ]
    assert [len(s) for s in sizes] == [16, 8, 8, 8]
    for held, of_pool in zip(estimator.begun, sizes, strict=True):
        np.testing.assert_allclose(held["probabilities"], np.array(of_pool) / sum(of_pool), rtol=1e-12)
    assert len({held["probabilities"].tobytes() for held in estimator.begun}) == 4


# --- the whole space ------------------------------------------------------------------------------------------------


def op_shares(draws):
    return [np.mean([a.count(option) / 6 for a in draws]) for option in range(5)]


def test_balanced_draws_from_the_whole_space_in_proportion_to_size(problem):
    estimator = smoke(mode="balanced")
    estimator.start(problem)
    assert estimator.whole_space.largest == max(estimator.size(a) for a in ALL)
    assert estimator.whole_space.exact
    draws = [estimator.draw() for _ in range(6000)]
    np.testing.assert_allclose(op_shares(draws), [0.173, 0.173, 0.187, 0.295, 0.173], atol=0.008)
    sizes = [estimator.size(a) for a in draws]
    assert np.mean(sizes) / estimator.whole_space.mean == pytest.approx(1.34, abs=0.02)
    assert len(keys(draws)) > 2000  # not from a pool
    counts, weights = np.zeros(5), np.zeros(5)  # by number of 3x3 convolutions, four and more together
    for a in draws:
        counts[min(4, a.count(CONV3))] += 1
    for a in ALL:
        weights[min(4, a.count(CONV3))] += estimator.size(a)
    assert stats.chisquare(counts, weights * len(draws) / weights.sum()).pvalue > 1e-3


class Unlisted(NASBench201):
    """A space that does not list its members."""

    is_listable = False


class Endless(NASBench201):
    size = 10**18


@pytest.mark.parametrize("space", [Unlisted(), Endless()])
def test_without_listing_the_largest_comes_from_draws_and_is_raised_when_exceeded(coloured, space, monkeypatch):
    size = stand_alone_size(dataclasses.replace(coloured, space=space), "benchmark")
    monkeypatch.setattr("supertau.estimators.components.size_sampling.PROBES", 40)
    sampler = SpaceSampler(space, size, "size", seed=0)
    first, rng = sampler.largest, numpy_stream(0, "probe")
    assert first == max(size(space.sample(rng)) for _ in range(40)) < 1_531_546
    assert not sampler.exact
    rng = np.random.default_rng(0)
    for _ in range(2000):
        sampler(rng)
    assert sampler.largest > first
    sampler.largest = 1_531_546
    np.testing.assert_allclose(
        op_shares([sampler(rng) for _ in range(6000)]), [0.173, 0.173, 0.187, 0.295, 0.173], atol=0.008
    )


def test_a_raised_bound_is_part_of_the_state(problem, monkeypatch):
    monkeypatch.setattr("supertau.estimators.components.size_sampling.PROBES", 3)
    unlisted = dataclasses.replace(problem, space=Unlisted())
    estimator, other = smoke(mode="balanced"), smoke(mode="balanced")
    estimator.start(unlisted)
    estimator.whole_space.largest += 1000
    other.restore(unlisted, loaded(stored(estimator.state_dict())))
    assert other.diagnostics()["largest_size"] == {"parameters": estimator.whole_space.largest, "exact": False}


def test_a_share_of_the_last_stage_may_come_from_the_whole_space(problem, watched):
    estimator = fitted(problem, 1280, cls=Watched, final_mix=0.5, batch_size=8, **LIGHT)
    outside = [
        np.mean([a not in held["pool"] for a in drawn])
        for held, drawn in zip(estimator.begun, estimator.drawn, strict=True)
    ]
    assert outside[:3] == [0, 0, 0]
    assert outside[3] == pytest.approx(0.5, abs=0.25)
    plain = watched[0]
    assert all(set(drawn) <= set(held["pool"]) for held, drawn in zip(plain.begun, plain.drawn, strict=True))


# --- stages ---------------------------------------------------------------------------------------------------------


def initial(problem, stage):
    seed = stage_seed(problem.seed, stage)
    estimator = smoke()
    estimator.start(seeded(problem, seed))
    return estimator.supernet.state_dict()


def test_each_stage_starts_with_fresh_weights_sgd_and_seed(problem, watched):
    estimator, _, rates = watched
    assert len(estimator.begun) == 4
    for stage, held in enumerate(estimator.begun):
        assert same(held["weights"], initial(problem, stage))
        assert held["momentum"] == {}
    assert not same(estimator.begun[0]["weights"], estimator.begun[1]["weights"])
    assert len({held["augmentation"] for held in estimator.begun}) == 4
    # The learning rate starts again at its first value: 20 steps are four times five.
    cosine = [0.001 + 0.024 * (1 + np.cos(np.pi * step / 5)) / 2 for step in range(5)]
    np.testing.assert_allclose(rates, cosine * 4, rtol=1e-9)


def test_inherited_weights_go_on_with_their_momentum(problem):
    estimator, weights, rates = at_ends(Watched, problem, independent=False)
    for stage in (1, 2, 3):
        assert same(estimator.begun[stage]["weights"], weights[5 * stage - 1])
        assert len(estimator.begun[stage]["momentum"]) > 10
    assert rates[0] == rates[5] == rates[10] == rates[15] == 0.025
    assert estimator.config.measures.sampling == "size"


def test_nao_v1_is_uniform_inherits_and_has_one_cosine(problem):
    estimator, weights, rates = at_ends(Watched, problem, mode="nao_v1")
    for stage in (1, 2, 3):
        assert same(estimator.begun[stage]["weights"], weights[5 * stage - 1])
        assert len(estimator.begun[stage]["momentum"]) > 10
    for held in estimator.begun:
        assert len(held["pool"]) == 16  # the worst five are replaced
        np.testing.assert_array_equal(held["probabilities"], np.full(16, 1 / 16))
    cosine = [0.001 + 0.024 * (1 + np.cos(np.pi * step / 20)) / 2 for step in range(20)]
    np.testing.assert_allclose(rates, cosine, rtol=1e-9)


def test_switches_stand_over_the_mode(problem):
    measures = NAOV2Config(mode="nao_v1", sampling="size", renewal="top").measures
    assert dataclasses.astuple(measures) == ("size", False, "single", "top")
    assert dataclasses.astuple(NAOV2Config().measures) == ("size", True, "restart", "top")
    independent = NAOV2Config(independent=False).measures
    assert dataclasses.astuple(independent) == ("size", False, "restart", "top")
    _, _, rates = at_ends(NAOV2, problem, 256, schedule="single", **LIGHT)
    assert rates == sorted(rates, reverse=True)


def test_stage_seeds(problem):
    """The first stage is the run's own; no stage of one run is a stage of another."""
    assert [stage_seed(seed, 0) for seed in range(5)] == [0, 1, 2, 3, 4]
    assert len({stage_seed(seed, stage) for seed in range(50) for stage in range(6)}) == 300


def test_defaults_are_four_stages_of_the_published_pools():
    c = NAOV2Config()
    assert (c.stages, c.rounds, c.initial_pool, c.new_architectures, c.keep_top) == (4, 3, 1000, 300, 100)
    assert (c.seed_architectures, c.largest_step, c.targets, c.epd_fresh, c.final_mix) == (100, 50, "rank", True, 0)
    assert NAOV2Config(mode="balanced").stages == 1


# --- the loop of pools ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "nao_v1"])
def test_pools_hold_no_isomorphic_pair_and_new_ones_are_unseen(problem, watched, mode):
    estimator = watched[0] if mode == "full" else fitted(problem, cls=Watched, mode=mode)
    seen = set()
    for stage, held in enumerate(estimator.begun):
        pool = held["pool"]
        assert len(keys(pool)) == len(pool) == (16 if stage == 0 or mode == "nao_v1" else 8)
        new = keys(pool) - seen
        assert len(new) == (5 if stage else 16)
        assert keys(pool[: len(new)]) == new
        seen |= new
    assert len(estimator.evaluated) == len(keys(estimator.evaluated)) == 16 + 3 * 5
    assert [e["evaluated"] for e in estimator.evaluations] == [16, 21, 26, 31]


def test_random_pools_leave_isomorphic_draws_out():
    plain, rng = [], numpy_stream(0, "search")
    for _ in range(400):
        plain.append(SPACE.sample(rng))
    assert 300 <= len(keys(plain)) < 330
    pool = draw(SPACE, numpy_stream(0, "search"), 300)
    first = {}
    for a in plain:
        first.setdefault(SPACE.canonical(a), a)
    assert pool == tuple(first.values())[:300]
    seen = keys(pool[:100])
    assert draw(SPACE, numpy_stream(0, "search"), 200, seen) == pool[100:]


class Recording(PathScorer):
    """Notes which architectures are scored under which weights."""

    calls: list = []  # noqa: RUF012 - filled and emptied by one test

    def score(self, architectures):
        columns = super().score(architectures)
        weights = copy.deepcopy(self.supernet.state_dict())
        self.calls.append((list(architectures), weights, columns, self.batches[0].shape[0] * len(self.batches)))
        return columns


@pytest.mark.parametrize("independent", [True, False])
def test_all_evaluated_are_scored_again_by_the_newest_supernet_on_the_same_images(problem, monkeypatch, independent):
    monkeypatch.setattr("supertau.estimators.naov2.PathScorer", Recording)
    monkeypatch.setattr(Recording, "calls", [])
    fits, fit = [], epd.fit

    def noted(model, space, architectures, targets, **others):
        fits.append((list(architectures), targets, copy.deepcopy(model.state_dict())))
        return fit(model, space, architectures, targets, **others)

    monkeypatch.setattr(epd, "fit", noted)
    estimator, weights, _ = at_ends(Watched, problem, independent=independent, evaluation_images=96)
    assert len(Recording.calls) == len(fits) == 4
    known = []
    for stage, (architectures, under, columns, images) in enumerate(Recording.calls):
        known += [a for a in estimator.begun[stage]["pool"] if a not in known]
        assert architectures == known
        assert same(under, weights[5 * stage + 4])
        assert images == 96
        trained_on, targets, _ = fits[stage]
        assert trained_on == known
        # The targets are ranks of the accuracies just measured, the best the highest.
        np.testing.assert_array_equal(targets, epd.rank_targets(columns["accuracy@batch"]))
        assert list(columns) == ["accuracy@batch", "neg_loss@batch"]
    np.testing.assert_array_equal(estimator.accuracies, columns["accuracy@batch"])
    spent = 96 * (16 + 21 + 26 + 31)
    assert estimator.cost()["score_images"] == estimator.diagnostics()["images_evaluated"] == spent
    estimator.score(CELLS[:1])
    assert estimator.cost()["score_images"] == spent + 2 * 64  # two supernets


@pytest.mark.parametrize("fresh", [True, False])
def test_the_predictor_is_new_each_round_or_stays(problem, monkeypatch, fresh):
    before, after, fit = [], [], epd.fit

    def noted(model, *arguments, **others):
        before.append(copy.deepcopy(model.state_dict()))
        figures = fit(model, *arguments, **others)
        after.append(copy.deepcopy(model.state_dict()))
        return figures

    monkeypatch.setattr(epd, "fit", noted)
    fitted(problem, 128, **LIGHT, epd_fresh=fresh)
    assert len(before) == 4
    for earlier, later in zip(after, before[1:], strict=False):
        assert same(earlier, later) != fresh
    assert not same(before[0], before[1])


def test_scaled_targets_leave_disconnected_architectures_out(problem, monkeypatch):
    fits = []
    monkeypatch.setattr(epd, "fit", lambda _m, _s, known, targets, **_: fits.append((known, targets)) or {})
    cut_off = [a for a in ALL if not SPACE.is_connected(a)][:2]
    for targets in ("minmax", "rank"):
        estimator = smoke(targets=targets, rounds=0)
        estimator.start(problem)
        estimator.pool = estimator.pool[:6] + cut_off[:1]
        estimator.evaluator.score = lambda known: {
            "accuracy@batch": np.array([50.0, 90, 80, 70, 91, 92, 10])[: len(known)]
        }
        estimator._evaluate()
    assert all(SPACE.is_connected(a) for a in estimator.pool[:6])
    (scaled_known, scaled), (ranked_known, ranked) = fits
    assert scaled_known == estimator.pool[:6]
    np.testing.assert_allclose(scaled, [0, 40 / 42, 30 / 42, 20 / 42, 41 / 42, 1])
    assert ranked_known == estimator.pool
    np.testing.assert_allclose(ranked * 6, [1, 4, 3, 2, 5, 6, 0])


def after_first_stage(problem, **overrides):
    """Return an estimator after a first stage in which the first of the pool was best, the second next, and so on."""
    estimator = smoke(**overrides)
    estimator.start(problem)
    estimator.evaluator.score = lambda known: {"accuracy@batch": 90.0 - np.arange(len(known))}
    estimator._evaluate()
    return estimator


def test_seeds_and_kept_ones_are_the_best_of_all_evaluated(problem, monkeypatch):
    asked, answer = [], [(CONV3, CONV3, CONV3, NONE, CONV1, option) for option in range(5)]

    def generate(model, space, seeds, **others):
        asked.append((list(seeds), others))
        return answer, 7

    monkeypatch.setattr(epd, "generate", generate)
    estimator = after_first_stage(problem)
    assert not keys(answer) & keys(estimator.pool)
    assert estimator._next_pool() == [*answer, *estimator.evaluated[:3]]
    assert asked == [
        (estimator.evaluated[:4], {"seen": keys(estimator.evaluated) | keys(answer), "wanted": 5, "largest_step": 5})
    ]
    assert estimator.evaluations[-1]["eta"] == 7
    assert after_first_stage(problem, keep_top=0)._next_pool() == answer
    # NAO-V1 keeps what is best of the present pool, not of all evaluated, and as many as there were.
    parent = after_first_stage(problem, renewal="worst")
    parent.pool = parent.pool[4:]
    assert parent._next_pool() == [*answer, *parent.evaluated[4:11]]


@pytest.mark.parametrize("found", [0, 2])
def test_a_shortfall_is_filled_with_random_unseen_ones_and_reported(problem, monkeypatch, found):
    answer = [(CONV3, CONV3, CONV3, NONE, CONV1, option) for option in range(5)]
    monkeypatch.setattr(epd, "generate", lambda *_, **__: (answer[:found], 5))
    estimator = after_first_stage(problem)
    pool = estimator._next_pool()
    assert len(keys(pool)) == 8
    assert pool[:found] == answer[:found]
    assert pool[5:] == estimator.evaluated[:3]
    random = pool[found:5]
    assert not keys(random) & keys(estimator.evaluated)
    expected = draw(SPACE, numpy_stream(stage_seed(0, 1), "search"), 5 - found, keys(estimator.evaluated))
    assert random == list(expected)
    held = estimator.evaluations[-1]
    assert (held["generated"], held["topped_up"], held["eta"]) == (found, 5 - found, 5)


def test_equally_accurate_ones_are_taken_in_the_order_of_their_evaluation(problem):
    estimator = after_first_stage(problem)
    estimator.accuracies = np.repeat([10.0, 50.0], 8)
    assert estimator._next_pool()[5:] == estimator.evaluated[8:11]


# --- scores ---------------------------------------------------------------------------------------------------------


COLUMNS = ("supernet_final", "supernet_final_neg_loss", "supernet_stage0", "supernet_stage0_neg_loss", "predictor")


def test_columns_by_mode():
    assert smoke().score_columns() == smoke(mode="nao_v1").score_columns() == COLUMNS
    assert smoke(mode="balanced").score_columns() == smoke(rounds=0).score_columns() == (*COLUMNS[:2], COLUMNS[4])


@pytest.mark.parametrize("overrides", [{}, {"independent": False}, {"mode": "nao_v1"}, {"mode": "balanced"}])
def test_columns_are_of_the_last_and_the_first_supernet_and_of_the_last_predictor(problem, watched, overrides):
    estimator, weights, _ = at_ends(NAOV2, problem, **overrides) if overrides else watched
    columns = estimator.score(CELLS)
    assert tuple(columns) == estimator.score_columns()
    ends = {"supernet_final": weights[19], "supernet_stage0": weights[4]}
    if estimator.config.stages == 1:
        del ends["supernet_stage0"]
    for name, held in ends.items():
        supernet = SPACE.supernet(problem.network)
        supernet.load_state_dict(held)
        expected = PathScorer(supernet, problem, estimator.scoring()).score(CELLS)
        np.testing.assert_array_equal(columns[name], expected["accuracy@batch"])
        np.testing.assert_array_equal(columns[f"{name}_neg_loss"], expected["neg_loss@batch"])
    np.testing.assert_array_equal(columns["predictor"], epd.predict(estimator.epd, SPACE, CELLS))
    assert len(set(columns["predictor"])) == 4


def test_only_the_first_batch_norm_mode_scores(problem):
    estimator = fitted(problem, 128, **LIGHT, bn=("recalibrated", "batch"))
    columns = estimator.score(CELLS)
    scoring = dataclasses.replace(smoke(**LIGHT).scoring(), bn=("recalibrated",))
    expected = PathScorer(estimator.supernet, problem, scoring).score(CELLS)
    np.testing.assert_array_equal(columns["supernet_final"], expected["accuracy@recalibrated"])


def test_scores_along_the_way(problem):
    seen = {}

    def look(estimator, step, _total, _rate):
        seen[step] = (estimator.score(CELLS), copy.deepcopy(estimator.epd))

    fitted(problem, 640, Listener(look))
    for step, (columns, predictor) in seen.items():
        assert tuple(columns) == COLUMNS
        if step <= 5:  # the first stage: one supernet, and nothing to predict from
            np.testing.assert_array_equal(columns["supernet_stage0_neg_loss"], columns["supernet_final_neg_loss"])
            np.testing.assert_array_equal(columns["predictor"], [0.5] * 4)
        else:
            for name in COLUMNS[2:4]:
                np.testing.assert_array_equal(columns[name], seen[5][0][name])
            assert not np.array_equal(columns["supernet_stage0_neg_loss"], columns["supernet_final_neg_loss"])
            np.testing.assert_array_equal(columns["predictor"], epd.predict(predictor, SPACE, CELLS))
    assert not np.array_equal(seen[6][0]["predictor"], seen[11][0]["predictor"])


def test_asked_before_fit():
    with pytest.raises(NotFitted, match=r"NAOV2 was asked before fit\(\) or restore\(\)"):
        smoke().score(CELLS)


# --- budget and figures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passes", "mode", "stages"),
    [
        (640, "full", [5, 5, 5, 5]),
        (353, "full", [2, 3, 3, 3]),
        (64, "full", [0, 1, 0, 1]),
        (0, "full", [0, 0, 0, 0]),
        (353, "nao_v1", [2, 3, 3, 3]),
        (353, "balanced", [11]),
    ],
)
def test_the_budget_is_split_evenly_over_the_stages(problem, passes, mode, stages):
    reported = []
    estimator = fitted(problem, passes, Listener(lambda _e, *rest: reported.append(rest[:2])), mode=mode)
    steps = sum(stages)
    assert reported == [(step, steps) for step in range(1, steps + 1)]
    assert [s["steps"] for s in estimator.diagnostics()["stages"]] == stages
    assert estimator.cost()["train_images"] == 32 * steps <= passes
    assert estimator.cost()["supernet_parameters"] == sum(p.numel() for p in estimator.supernet.parameters())


def test_updates_per_architecture_are_counted_per_stage(watched):
    estimator = watched[0]
    figures = estimator.diagnostics()
    assert [(s["pool"], s["updates_per_architecture"]) for s in figures["stages"]] == [
        (16, 5 / 16), (8, 5 / 8), (8, 5 / 8), (8, 5 / 8)
    ]  # fmt: skip
    assert figures["too_few_updates"] is True
    for held, drawn, stage in zip(estimator.begun, estimator.drawn, figures["stages"], strict=True):
        ratio = np.mean([estimator.size(a) for a in drawn]) / np.mean([estimator.size(a) for a in held["pool"]])
        assert stage["drawn_size_ratio"] == pytest.approx(ratio)
    assert len(figures["evaluations"]) == 4
    for held in figures["evaluations"]:
        assert {"pairwise_accuracy", "tau_b", "hamming", "held_out", "tau_size_accuracy"} <= set(held)
    assert all(e["generated"] + e["topped_up"] == 5 for e in figures["evaluations"][:3])
    assert "generated" not in figures["evaluations"][3]
    sizes = [estimator.size(a) for a in estimator.evaluated]
    assert figures["evaluations"][3]["tau_size_accuracy"] == epd.tau_b(np.array(sizes, float), estimator.accuracies)


def test_the_warning_is_about_fewer_than_35_updates(problem):
    estimator = smoke(initial_pool=2)
    estimator.start(problem)
    for steps, few in ((69, True), (70, False)):
        estimator.loop.step = steps
        figures = estimator.diagnostics()
        assert figures["stages"][0]["updates_per_architecture"] == steps / 2
        assert figures["too_few_updates"] is few


def test_balanced_counts_updates_over_the_whole_space(problem):
    estimator = fitted(problem, cls=Watched, mode="balanced")
    (stage,) = estimator.diagnostics()["stages"]
    mean = np.mean([estimator.size(a) for a in ALL])
    ratio = np.mean([estimator.size(a) for a in estimator.drawn[0]]) / mean
    assert stage == {
        "steps": 20, "pool": 15_625, "updates_per_architecture": 20 / 15_625, "drawn_size_ratio": pytest.approx(ratio)
    }  # fmt: skip


# --- seed and resuming ----------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_pools(problem):
    state = torch.get_rng_state()
    one = fitted(problem, 128, **LIGHT)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        two = fitted(problem, 128, **LIGHT)
    other = fitted(seeded(problem, 1), 128, **LIGHT)
    assert stored(one.state_dict()) == stored(two.state_dict())
    assert not set(one.evaluated[:6]) & set(other.evaluated[:6])
    assert keys(one.evaluated[6:]) != keys(other.evaluated[6:])


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"mode": "nao_v1", "epd_fresh": False},
        {"mode": "balanced"},
        {"final_mix": 0.5, "evaluation_images": 96, "independent": False},
    ],
    ids=["full", "nao_v1", "balanced", "mixed"],
)
def test_a_run_goes_on_from_any_step_also_across_stages(problem, overrides):
    saved = [stored(started(problem, **LIGHT, **overrides).state_dict())]
    whole = fitted(problem, 256, Listener(lambda e, *_: saved.append(stored(e.state_dict()))), **LIGHT, **overrides)
    expected, final = whole.score(CELLS), loaded(stored(whole.state_dict()))
    assert len(saved) == 9
    for step in (2, 3) if overrides else (0, 1, 2, 3, 4, 8):
        estimator, reported = smoke(**LIGHT, **overrides), []
        estimator.restore(problem, loaded(saved[step]))
        estimator.train(Budget(256), Listener(lambda _e, step, *_, reported=reported: reported.append(step)))
        assert reported == list(range(step + 1, 9))
        again = loaded(stored(estimator.state_dict()))
        again["scorer"] = final["scorer"]  # to which the scores expected above have added
        assert same(again, final), f"after an interruption at step {step}"
        for name, values in estimator.score(CELLS).items():
            np.testing.assert_array_equal(values, expected[name])


def started(problem, **overrides):
    estimator = smoke(**overrides)
    estimator.start(problem)
    return estimator


def test_a_kill_between_two_stages_is_repeated_from_the_last_step(problem, monkeypatch):
    saved, generate = [], epd.generate
    whole = fitted(problem, 256, **LIGHT)

    def killed(*arguments, **others):
        raise KeyboardInterrupt

    monkeypatch.setattr(epd, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(problem, 256, Listener(lambda e, *_: saved.append(stored(e.state_dict()))), **LIGHT)
    assert len(saved) == 2
    monkeypatch.setattr(epd, "generate", generate)
    estimator = smoke(**LIGHT)
    estimator.restore(problem, loaded(saved[-1]))
    estimator.train(Budget(256), Monitor())
    assert same(estimator.state_dict(), whole.state_dict())


def test_a_finished_run_does_nothing_when_run_again(problem):
    estimator = fitted(problem, 256, **LIGHT)
    before, reported = stored(estimator.state_dict()), []
    restored = smoke(**LIGHT)
    restored.restore(problem, loaded(before))
    for held in (estimator, restored):
        held.train(Budget(256), Listener(lambda *_: reported.append(1)))
        assert same(loaded(stored(held.state_dict())), loaded(before))
    assert reported == []


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mode": "ful"}, r"unknown mode 'ful'. Did you mean 'full'\?"),
        ({"sampling": "sizes"}, r"unknown sampling 'sizes'. Did you mean 'size'\?"),
        ({"targets": "acc"}, "unknown targets 'acc'.* Available: minmax, rank"),
        ({"renewal": "bottom"}, "unknown renewal 'bottom'"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ({"size_network": "flops"}, "unknown size_network 'flops'"),
        ({"initial_pool": 1}, "initial_pool must be at least 2, got 1"),
        ({"new_architectures": 0}, "new_architectures must be at least 1, got 0"),
        ({"rounds": -1}, "rounds must be at least 0, got -1"),
        ({"final_mix": 1.5}, "final_mix must be from 0 to 1, got 1.5"),
        ({"mode": "nao_v1", "new_architectures": 17}, "17 new architectures cannot replace the worst of a pool of 16"),
        ({"mode": "balanced", "sampling": "uniform"}, "mode 'balanced' has one stage over the whole space"),
        ({"mode": "balanced", "independent": False}, "mode 'balanced' has one stage over the whole space"),
        ({"mode": "balanced", "final_mix": 0.5}, "mode 'balanced' has one stage over the whole space"),
    ],
)
def test_bad_settings_are_named(overrides, message):
    with pytest.raises((SupertauError, UnknownName), match=message):
        smoke(**overrides)


def test_what_does_not_fit_the_problem_is_an_error_at_the_start(problem):
    with pytest.raises(SupertauError, match=r"gave 6466 of 7000 new architectures wanted"):
        smoke(initial_pool=7000).start(dataclasses.replace(problem, space=Cycling()))
    with pytest.raises(SupertauError, match="scoring images: 161 asked for, 160 available"):
        smoke(evaluation_images=161).start(problem)


class Cycling(NASBench201):
    """Samples the cells one after the other, so that each is met."""

    def __init__(self):
        self.cells = itertools.cycle(ALL)

    def sample(self, rng):
        return next(self.cells)
