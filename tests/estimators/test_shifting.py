"""Supernet Shifting: what is trained when, with which weights candidates are judged, controls, transfer."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from monitors import Listener
from states import loaded, stored

from supertau.estimators import Budget, Monitor
from supertau.estimators.shifting import Shifting, ShiftingConfig
from supertau.estimators.spos import SPOS
from supertau.estimators.training.checkpoint import sealed
from supertau.estimators.training.scoring import PathScorer
from supertau.search_spaces.errors import DataError, SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201

SPACE = NASBench201()
CONV3 = 3
CELLS = [(CONV3,) * 6, (2, 1, 3, 4, 3, 2), (1, 4, 0, 0, 1, 4), (0,) * 6]
BATCH = 32
SMALL = {
    "population": 3,
    "generations": 2,
    "parents": 2,
    "mutants": 1,
    "crossovers": 1,
    "steps_per_candidate": 2,
    "bn": ("batch",),
    "shift_learning_rate": 0.05,
}
SHIFT_STEPS = 3 * 3 * 2
PASSES = (4 + SHIFT_STEPS) * BATCH


def small(**changes):
    return Shifting.configured("smoke", {**SMALL, **changes})


def fitted(problem, monitor=None, passes=PASSES, **changes):
    estimator = small(**changes)
    estimator.fit(problem, Budget(passes), monitor)
    return estimator


def weights(estimator):
    return {name: value.clone() for name, value in estimator.supernet.named_parameters()}


def same(one, two):
    return all(torch.equal(value, two[name]) for name, value in one.items())


# --- the order of events --------------------------------------------------------------------------------------------


def watched(problem, **changes):
    """Fit while noting which path each step of the second stage runs, when SGD moves, and what is judged when."""
    estimator = small(**changes)
    estimator.start(problem)
    paths, judged, updates = [], [], []
    run, judge, step = estimator._candidate, estimator.fitness.score, estimator.shift.optimiser.step

    def candidate(at):
        paths.append((at, run(at)))
        return paths[-1][1]

    def score(architectures):
        judged.append((estimator.shift.step, list(architectures), weights(estimator)))
        return judge(architectures)

    def update(*args):
        updates.append(estimator.shift.step)
        return step(*args)

    estimator._candidate, estimator.fitness.score, estimator.shift.optimiser.step = candidate, score, update
    estimator.train(Budget(PASSES), Monitor())
    return estimator, dict(paths), judged, updates


def test_code_trains_every_candidate_on_its_own_batches_and_steps_after_each(problem):
    estimator, paths, judged, updates = watched(problem)
    assert estimator.loop.step == 4
    assert estimator.shift.step == ShiftingConfig(**SMALL).shift_steps == SHIFT_STEPS
    assert updates == list(range(1, SHIFT_STEPS + 1))
    generations = [g.architectures for g in estimator.evolution.generations]
    assert [paths[step] for step in range(SHIFT_STEPS)] == [a for g in generations for a in g for _ in range(2)]
    # Each is judged once, after its own two steps and before the next one's.
    assert [(step, cells) for step, cells, _ in judged] == [
        (2 * k + 2, [a]) for k, a in enumerate(a for g in generations for a in g)
    ]
    assert estimator.evolution.finished
    assert [len(g) for g in generations] == [3, 3, 3]


def test_code_judges_a_candidate_by_the_weights_just_adapted_to_it(problem):
    estimator, _, judged, _ = watched(problem)
    held = [w for _, _, w in judged]
    assert not any(same(one, two) for one, two in itertools.pairwise(held))
    scores = [score for g in estimator.evolution.generations for score in g.scores]
    other = small()
    other.start(problem)
    for (_, cells, at), expected in zip(judged, scores, strict=True):
        other.supernet.load_state_dict({**other.supernet.state_dict(), **at})
        assert PathScorer(other.supernet, problem, other.scoring()).score(cells)["accuracy@batch"] == [expected]


def test_paper_moves_once_a_generation_and_judges_by_the_weights_before(problem):
    estimator, paths, judged, updates = watched(problem, mode="paper")
    assert updates == [6, 12, 18]
    generations = [list(g.architectures) for g in estimator.evolution.generations]
    assert [(step, cells) for step, cells, _ in judged] == [(6 * k, g) for k, g in enumerate(generations)]
    assert [paths[step] for step in range(SHIFT_STEPS)] == [a for g in generations for a in g for _ in range(2)]
    assert not same(judged[0][2], judged[1][2])
    assert estimator.diagnostics()["weight_updates_of_the_shift"] == 3


def test_paper_steps_along_the_sum_of_a_generations_gradients(problem):
    """At one learning rate the mean would move the weights sixth as far: after 3 candidates of 2 batches."""
    rate, decay = 0.05, 0.25
    estimator = small(mode="paper", generations=0, clip=0.0, weight_decay=decay)
    estimator.start(problem)
    losses, objective = [], estimator.shift.objective

    def noting(images, labels):
        loss = objective(images, labels)
        losses.append(torch.autograd.grad(loss, estimator.supernet.classifier.weight, retain_graph=True)[0])
        return loss

    estimator.shift.objective = noting
    before = []
    listener = Listener(
        lambda e, step, *_: before.append(e.supernet.classifier.weight.detach().clone()) if step == 4 else None
    )
    estimator.train(Budget((4 + 6) * BATCH), listener)
    expected = before[0] - rate * (sum(losses) + decay * before[0])
    assert len(losses) == 6
    torch.testing.assert_close(estimator.supernet.classifier.weight.detach(), expected, rtol=1e-5, atol=1e-6)


def test_learning_rate_is_constant_and_momentum_outlives_a_candidate(problem):
    rates = []
    estimator = fitted(problem, Listener(lambda _e, step, _t, rate: rates.append(rate) if step > 4 else None))
    assert rates == [0.05] * SHIFT_STEPS
    assert estimator.shift.optimisation.momentum == 0.9
    held = estimator.shift.optimiser.state
    assert torch.is_tensor(held[estimator.supernet.classifier.weight]["momentum_buffer"])
    assert not estimator.shift.optimisation.nesterov  # code: plain momentum


def test_a_cell_may_be_bred_again_and_keeps_its_last_error(problem):
    estimator = fitted(problem, generations=8, mutation_probability=0.0, passes=(4 + 9 * 6) * BATCH)
    bred = Counter(a for g in estimator.evolution.generations for a in g.architectures)
    assert max(bred.values()) > 1
    again = max(bred, key=bred.__getitem__)
    last = [dict(zip(g.architectures, g.scores, strict=True)) for g in estimator.evolution.generations]
    assert estimator.evolution.visited[again] == [g[again] for g in last if again in g][-1]
    assert estimator.updates[again] == 2 * bred[again]


def test_fitness_may_use_inherited_statistics_as_the_code_does(problem):
    estimator = small(fitness_bn="inherited")
    estimator.start(problem)
    assert estimator.fitness.scoring.bn == ("inherited",)
    assert small().scoring().bn == ("batch",)


# --- scores ---------------------------------------------------------------------------------------------------------


def test_scores_are_of_the_frozen_weights_and_not_what_the_search_stored(problem):
    estimator = fitted(problem)
    visited = list(estimator.evolution.visited)
    scores = estimator.score(visited)["accuracy@batch"]
    plain = PathScorer(estimator.supernet, problem, estimator.scoring()).score(visited)["accuracy@batch"]
    np.testing.assert_array_equal(scores, plain)
    assert (scores != [estimator.evolution.visited[a] for a in visited]).any()


def test_before_columns_are_those_of_the_first_stage(problem):
    estimator = fitted(problem)
    plain = SPOS.configured("smoke", {"bn": ("batch",)})
    plain.start(problem)
    plain.supernet.train()
    plain.loop.run(plain, 4, Monitor())  # the cosine of stage 1 is as long as stage 1
    expected, scores = plain.score(CELLS), estimator.score(CELLS)
    assert tuple(scores) == estimator.score_columns()
    for name, values in expected.items():
        np.testing.assert_array_equal(scores[f"before:{name}"], values)
        assert name == "accuracy@batch" or (scores[name] != values).any()
    assert "before:accuracy@batch" not in small(score_before=False).score_columns()


def test_parts_are_what_the_search_visited_and_the_rest(problem):
    estimator = fitted(problem)
    visited = {a for g in estimator.evolution.generations for a in g.architectures}
    pool = [*visited, *CELLS]
    parts = estimator.parts(pool)
    assert parts["visited"] == [a in visited for a in pool]
    assert [one != two for one, two in zip(parts["visited"], parts["unvisited"], strict=True)] == [True] * len(pool)


# --- controls -------------------------------------------------------------------------------------------------------


def test_without_updates_the_search_leaves_the_weights_alone(problem):
    estimator = fitted(problem, control="no-update")
    assert estimator.shift.step == 0
    assert estimator.loop.step == 4 + SHIFT_STEPS  # the whole budget is stage 1's
    scores = estimator.score(CELLS)
    np.testing.assert_array_equal(scores["accuracy@batch"], scores["before:accuracy@batch"])
    assert estimator.evolution.finished
    assert estimator.visited() == set(estimator.evolution.visited) != set()


@pytest.mark.parametrize("control", ["uniform", "frozen-set"])
def test_controls_take_as_many_steps_from_the_same_weights(problem, control):
    shifted, estimator = fitted(problem), fitted(problem, control=control)
    assert estimator.shift.step == shifted.shift.step == SHIFT_STEPS
    assert sum(estimator.updates.values()) == SHIFT_STEPS
    assert not estimator.evolution.generations  # nothing is selected
    for name in ("before:accuracy@batch", "before:neg_loss@batch"):
        np.testing.assert_array_equal(estimator.score(CELLS)[name], shifted.score(CELLS)[name])
    assert (estimator.score(CELLS)["neg_loss@batch"] != shifted.score(CELLS)["neg_loss@batch"]).any()


def test_frozen_set_is_one_random_population_and_uniform_is_not(problem):
    frozen, uniform = fitted(problem, control="frozen-set"), fitted(problem, control="uniform")
    assert sorted(frozen.updates.values()) == [6, 6, 6]
    assert set(frozen.updates) == set(frozen.evolution.ask())
    assert len(uniform.updates) > 12


# --- transfer -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(problem, tmp_path_factory):
    """A finished run of SPOS: its folder, and its weights."""
    estimator = SPOS.configured("smoke")
    estimator.fit(problem, Budget(320))
    folder = tmp_path_factory.mktemp("run")
    torch.save(sealed({"estimator": estimator.state_dict(), "finished": True}, "a training"), folder / "checkpoint.pt")
    return folder, {name: value.clone() for name, value in estimator.supernet.state_dict().items()}


def three_classes(problem):
    parts = [
        dataclasses.replace(part, labels=part.labels % 3, classes=3) for part in (problem.train, problem.validation)
    ]
    return dataclasses.replace(
        problem, network=dataclasses.replace(problem.network, classes=3), train=parts[0], validation=parts[1]
    )


def test_a_checkpoint_takes_the_place_of_stage_1(problem, trained):
    folder, held = trained
    estimator = small(checkpoint=str(folder))
    estimator.start(problem)
    assert all(torch.equal(value, held[name]) for name, value in estimator.supernet.state_dict().items())
    estimator.train(Budget(PASSES), Monitor())
    assert (estimator.loop.step, estimator.shift.step) == (0, SHIFT_STEPS)
    assert estimator.cost()["train_images"] == SHIFT_STEPS * BATCH
    assert len(estimator.diagnostics()["supernet_taken_up_sha256"]) == 64


def test_transfer_resets_the_classifier_and_nothing_else(problem, trained):
    folder, held = trained
    estimator = small(checkpoint=str(folder), reset_classifier=True)
    estimator.start(three_classes(problem))
    for name, value in estimator.supernet.state_dict().items():
        assert name.startswith("classifier.") or torch.equal(value, held[name]), name
    assert estimator.supernet.classifier.weight.shape[0] == 3
    assert estimator.supernet.classifier.weight.std().item() == pytest.approx(0.01, rel=0.5)
    assert estimator.supernet.classifier.bias.abs().max() == 0
    again = small(checkpoint=str(folder), reset_classifier=True)
    again.start(three_classes(problem))
    assert torch.equal(estimator.supernet.classifier.weight, again.supernet.classifier.weight)


def test_warm_up_trains_the_classifier_alone_before_the_first_selection(problem, trained):
    folder, held = trained
    seen = {}
    estimator = small(checkpoint=str(folder), reset_classifier=True)
    listener = Listener(lambda e, step, *_: seen.setdefault(step, weights(e)))
    estimator.fit(three_classes(problem), Budget(PASSES), listener)
    assert estimator.warmup.step == len(problem.train) // BATCH == 10  # one epoch
    for step in (1, 10):
        for name, value in seen[step].items():
            assert name.startswith("classifier.") or torch.equal(value, held[name])
    assert not torch.equal(seen[1]["classifier.weight"], seen[10]["classifier.weight"])
    assert not same({n: v for n, v in seen[11].items() if n.startswith("stem")}, held)
    assert estimator.cost()["train_images"] == SHIFT_STEPS * BATCH + round(10 * BATCH / 3)


def test_a_reset_classifier_has_its_own_learning_rate(problem, trained):
    folder, _ = trained
    rates = {}
    for reset in (True, False):
        estimator = small(checkpoint=str(folder), reset_classifier=reset)
        estimator.fit(problem, Budget(PASSES))
        rates[reset] = [group["lr"] for group in estimator.shift.optimiser.param_groups]
    assert rates == {True: [0.05, 0.5], False: [0.05, 0.05]}


def test_another_number_of_classes_without_a_reset_is_refused(problem, trained):
    with pytest.raises(DataError, match=r"classifier\.bias is \(10,\), expected \(3,\).*reset_classifier=true"):
        small(checkpoint=str(trained[0])).start(three_classes(problem))


def test_another_size_is_refused(problem, trained):
    wider = dataclasses.replace(problem, network=dataclasses.replace(problem.network, channels=6))
    with pytest.raises(DataError, match="does not fit"):
        small(checkpoint=str(trained[0]), reset_classifier=True).start(wider)


def test_a_checkpoint_that_is_not_there_or_damaged(problem, tmp_path):
    with pytest.raises(DataError, match="there is no checkpoint"):
        small(checkpoint=str(tmp_path)).start(problem)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK not a checkpoint")
    with pytest.raises(DataError, match="cannot be read"):
        small(checkpoint=str(tmp_path)).start(problem)
    torch.save({"weights": 1}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="not a checkpoint of supertau"):
        small(checkpoint=str(tmp_path)).start(problem)


# --- resuming, bad settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"mode": "paper"}, {"control": "uniform"}], ids=["code", "paper", "uniform"])
@pytest.mark.parametrize("stop", [4, 5, 9, 10, 13])
def test_a_stopped_run_ends_as_the_uninterrupted_one(problem, changes, stop):
    """At the border of the stages, inside a candidate, at a generation's end, and inside a sum of gradients."""
    kept = {}

    class Stop(Exception):
        pass

    def keep(estimator, step, *_):
        if step == stop:
            kept["state"] = stored(estimator.state_dict())
            raise Stop

    whole = fitted(problem, **changes)
    with pytest.raises(Stop):
        fitted(problem, Listener(keep), **changes)
    again = small(**changes)
    again.restore(problem, loaded(kept["state"]))
    again.train(Budget(PASSES), Monitor())
    for name, values in whole.score(CELLS).items():
        np.testing.assert_array_equal(again.score(CELLS)[name], values)
    assert again.evolution.generations == whole.evolution.generations
    assert again.updates == whole.updates


def test_a_budget_too_small_for_the_search_says_what_to_change(problem):
    with pytest.raises(SupertauError, match=r"18 steps of 32 images beside stage 1.*raise passes, or lower"):
        fitted(problem, passes=SHIFT_STEPS * BATCH)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "papers"}, "Did you mean 'paper'"),
        ({"control": "frozen"}, "Did you mean 'frozen-set'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(changes, message):
    with pytest.raises(UnknownName, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps_per_candidate": 0}, "steps_per_candidate must be at least 1"),
        ({"reset_classifier": True}, "name its run with checkpoint=FOLDER"),
        ({"mutants": 9}, "do not fit into a population"),
    ],
)
def test_settings_that_contradict_each_other(changes, message):
    with pytest.raises(SupertauError, match=message):
        small(**changes)
