"""Pi-NAS against a step written out by hand: paths, views, teacher, queue, loss; the probe; budget; resuming."""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from monitors import Listener
from states import loaded, stored
from torch import nn

from supertau.estimators import pinas
from supertau.estimators.components.info_nce import info_nce
from supertau.estimators.components.linear_probe import LinearProbe
from supertau.estimators.estimator import Budget, Diverged, Monitor
from supertau.estimators.pinas import PiNAS, PiNASConfig
from supertau.estimators.training.augmentation import Distortion, distort, normalise
from supertau.estimators.training.generators import numpy_stream, torch_stream
from supertau.estimators.training.loop import Batches
from supertau.estimators.training.scoring import PathScorer
from supertau.search_spaces.errors import SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201

SPACE = NASBench201()
NONE, SKIP, CONV1, CONV3, POOL = range(5)
CELLS = [(CONV3,) * 6, (CONV1, SKIP, CONV3, POOL, CONV3, CONV1), (SKIP, POOL, NONE, NONE, SKIP, POOL), (NONE,) * 6]
BUDGET = 256  # smoke: 11 contrastive steps of 8 images and 4 of the probe of 16


class Recording(NASBench201):
    """Notes the pairs it gives, or gives a fixed one."""

    def __init__(self, pair=None):
        self.pair, self.given = pair, []

    def disjoint_pair(self, rng):
        self.given.append(self.pair or super().disjoint_pair(rng))
        return self.given[-1]


def smoke(**overrides):
    return PiNAS.configured("smoke", overrides)


def fitted(problem, passes=BUDGET, monitor=None, **overrides):
    estimator = smoke(**overrides)
    estimator.fit(problem, Budget(passes), monitor)
    return estimator


def on(problem, space):
    return dataclasses.replace(problem, space=space)


def student_and_teacher_apart(problem, **overrides):
    """Return a started estimator whose student has moved away from its teacher, as after some training."""
    estimator = smoke(**overrides)
    estimator.start(problem)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in [*estimator.supernet.parameters(), *estimator.projector.parameters()]:
            parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
    estimator.supernet.train()
    estimator.teacher.train()
    return estimator


# --- one step, by hand ----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Step:
    """What one contrastive step makes: its loss and the mean similarity, the teacher, the queue."""

    loss: float
    similarity: float
    teacher: dict
    queue: np.ndarray


def unit(embeddings):
    return embeddings / embeddings.norm(dim=1, keepdim=True)


def path_names(supernet, architecture):
    on_path = {id(parameter) for parameter in supernet.path_parameters(architecture)}
    return {name for name, p in supernet.named_parameters() if id(p) in on_path and not name.startswith("classifier")}


@torch.no_grad()
def by_hand(estimator, images, *, cross=True, moves="path", buffers=False, enqueue="mean", enqueue_first=False):
    """Write a step out, from the specification, section 1.2; the arguments are the wrong variants its traps name."""
    c = estimator.config
    one, two = SPACE.disjoint_pair(copy.deepcopy(estimator.pairs))
    generator = torch.Generator()
    generator.set_state(estimator.augmentation.get_state())
    v1, v2, v3, v4 = estimator.views(images, generator)
    student, projector, teacher, teacher_projector = copy.deepcopy(
        (estimator.supernet, estimator.projector, estimator.teacher, estimator.teacher_projector)
    )

    def follow(architecture):
        everything = {name for name, _ in student.named_parameters()}
        moved = path_names(student, architecture) if moves == "path" else everything if moves == "all" else set()
        for name in moved:
            mean_and_new(teacher.get_parameter(name), student.get_parameter(name))
        for mean, new in zip(teacher_projector.parameters(), projector.parameters(), strict=True):
            mean_and_new(mean, new)
        if buffers:
            for mean, new in zip(teacher.buffers(), student.buffers(), strict=True):
                mean_and_new(mean, new)

    def mean_and_new(mean, new):
        mean.copy_(c.teacher_momentum * mean + (1 - c.teacher_momentum) * new)

    q_one = unit(projector(student.features(v1, one)))
    follow(one)
    k_one = unit(teacher_projector(teacher.features(v2, one)))
    q_two = unit(projector(student.features(v3, two)))
    follow(two)
    k_two = unit(teacher_projector(teacher.features(v4, two)))

    queue = estimator.queue.clone()
    rows = [(estimator.pointer + i) % len(queue) for i in range(2 * len(images))]
    new_queue = queue.clone()
    if enqueue == "both":
        new_queue[rows] = torch.cat([k_one, k_two])
    else:
        mean = (k_one + k_two) / 2
        new_queue[rows[: len(images)]] = unit(mean) if enqueue == "unit" else mean

    negatives = (new_queue if enqueue_first else queue).double().numpy()
    pairs = [(q_one, k_two), (q_two, k_one)] if cross else [(q_one, k_one), (q_two, k_two)]
    loss = similarity = 0.0
    for q, k in pairs:
        for i in range(len(images)):
            query, key = q[i].double().numpy(), k[i].double().numpy()
            logits = np.concatenate([[query @ key], negatives @ query]) / c.temperature
            loss += (np.log(np.exp(logits).sum()) - logits[0]) / len(images)
            similarity += query @ key / (2 * len(images))
    held = {**teacher.state_dict(), **{f"projector.{k}": v for k, v in teacher_projector.state_dict().items()}}
    return Step(loss, similarity, held, new_queue.numpy())


def taken(estimator, images, labels=None):
    """Return the same from the estimator itself."""
    loss = estimator.objective(images, torch.zeros(len(images), dtype=torch.int64) if labels is None else labels)
    projector = {f"projector.{k}": v for k, v in estimator.teacher_projector.state_dict().items()}
    return Step(
        loss.item(),
        estimator.diagnostics()["positive_similarity"],
        {**estimator.teacher.state_dict(), **projector},
        estimator.queue.numpy(),
    )


def alike(one, two):
    close = {name: torch.allclose(value, two.teacher[name], atol=1e-6) for name, value in one.teacher.items()}
    return (
        one.loss == pytest.approx(two.loss, abs=1e-4),
        all(close.values()),
        np.allclose(one.queue, two.queue, atol=1e-5),
    )


def test_a_step_is_the_one_written_by_hand_and_none_of_the_variants_its_traps_name(problem):
    images = problem.train.images[:8]
    estimator = student_and_teacher_apart(problem, teacher_momentum=0.7, queue=16)
    by_rule = by_hand(estimator, images)
    variants = {
        name: by_hand(estimator, images, **change)
        for name, change in {
            "same path": {"cross": False},
            "all parameters follow": {"moves": "all"},
            "no module of the supernet follows": {"moves": "none"},
            "buffers follow": {"buffers": True},
            "keys normalised again": {"enqueue": "unit"},
            "both keys enqueued": {"enqueue": "both"},
            "own keys among the negatives": {"enqueue_first": True},
        }.items()
    }
    step = taken(estimator, images)
    assert alike(step, by_rule) == (True, True, True)
    assert step.similarity == pytest.approx(by_rule.similarity, abs=1e-5)
    for name, variant in variants.items():
        assert not all(alike(step, variant)), name


def test_a_second_step_goes_on_from_the_first(problem):
    estimator = student_and_teacher_apart(problem, teacher_momentum=0.7, queue=16)
    taken(estimator, problem.train.images[:8])
    expected = by_hand(estimator, problem.train.images[8:16])
    assert alike(taken(estimator, problem.train.images[8:16]), expected) == (True, True, True)


def test_info_nce_by_value():
    draw = torch.Generator().manual_seed(0)
    queries, keys, queue = (unit(torch.randn(n, 6, generator=draw)) for n in (5, 5, 9))
    expected = 0.0
    for q, k in zip(queries.double().numpy(), keys.double().numpy(), strict=True):
        similarities = np.exp(np.array([q @ k, *(queue.double().numpy() @ q)]) / 0.2)
        expected -= np.log(similarities[0] / similarities.sum()) / 5
    assert info_nce(queries, keys, queue, 0.2).item() == pytest.approx(expected, rel=1e-5)
    attraction = -(queries * keys).sum(1).mean().item() / 0.2
    assert info_nce(queries, keys, None, 0.2).item() == pytest.approx(attraction, rel=1e-5)


# --- paths ----------------------------------------------------------------------------------------------------------


def test_every_step_trains_one_new_pair_of_connected_paths_that_differ_in_every_decision(problem):
    space = Recording()
    fitted(on(problem, space))
    assert len(space.given) == 11
    assert len(set(space.given)) == 11
    for one, two in space.given:
        assert all(a != b for a, b in zip(one, two, strict=True))
        assert SPACE.is_connected(one)
        assert SPACE.is_connected(two)


def test_only_the_two_paths_move_whatever_decay_and_momentum_would_do(problem):
    space, held = Recording(), {}
    estimator = smoke(weight_decay=0.1, learning_rate=0.1)
    estimator.start(on(problem, space))
    names = {parameter: name for name, parameter in estimator.supernet.named_parameters()}
    held.update({name: p.detach().clone() for p, name in names.items()})

    def look(_estimator, step, *_):
        if step > 11:
            return
        paths = set().union(*(path_names(estimator.supernet, path) for path in space.given[-1]))
        moved = {name for p, name in names.items() if not torch.equal(p, held[name])}
        assert moved <= paths
        assert {"stem.0.weight", "layers.1.first.1.weight"} <= moved
        held.update({name: p.detach().clone() for p, name in names.items()})

    estimator.train(Budget(BUDGET), Listener(look))


def test_a_parameter_on_the_path_whose_gradient_is_zero_stays_where_it_is(problem):
    """A convolution that leaves a node which nothing enters gets zeros in, and a gradient of exact zeros."""
    pair = ((NONE, SKIP, CONV3, CONV1, CONV3, POOL), (CONV1, POOL, CONV1, CONV3, CONV1, CONV3))
    dead = "layers.0.sharing.edges.4.3.1.weight"  # edge from node 1 to node 3 of the first cell, CONV3
    for skip, stays in ((True, True), (False, False)):
        estimator = smoke(weight_decay=0.1)
        estimator.start(on(problem, Recording(pair)))
        assert dead in path_names(estimator.supernet, pair[0])
        assert estimator.loop.optimisation.skip_zero_gradients
        estimator.loop.optimisation = dataclasses.replace(estimator.loop.optimisation, skip_zero_gradients=skip)
        before = estimator.supernet.get_parameter(dead).detach().clone()
        estimator.loop.run(estimator, 2, Monitor())
        assert torch.equal(estimator.supernet.get_parameter(dead), before) is stays


def test_classifier_takes_no_part_until_the_probe_has_chosen(problem):
    first, seen = smoke(), []
    first.start(problem)
    initial = stored(first.supernet.classifier.state_dict())

    def look(estimator, step, total, _rate):
        seen.append(stored(estimator.supernet.classifier.state_dict()) == initial)
        assert np.isfinite(estimator.score(CELLS)["accuracy@batch"]).all()

    fitted(problem, monitor=Listener(look))
    assert seen == [True] * 14 + [False]


# --- teacher --------------------------------------------------------------------------------------------------------


def test_teacher_starts_as_the_student_and_follows_twice_where_both_paths_go(problem):
    estimator = smoke(teacher_momentum=0.9)
    estimator.start(problem)
    for one, two in zip(estimator.teacher.state_dict().items(), estimator.supernet.state_dict().items(), strict=True):
        assert one[0] == two[0]
        assert torch.equal(one[1], two[1])
    space = Recording()
    estimator = student_and_teacher_apart(on(problem, space), teacher_momentum=0.9)
    before = {name: p.clone() for name, p in estimator.teacher.named_parameters()}
    projector = [p.clone() for p in estimator.teacher_projector.parameters()]
    student = {name: p.detach().clone() for name, p in estimator.supernet.named_parameters()}
    estimator.loop.run(estimator, 1, Monitor())  # before the optimiser's step: the student's weights as they were
    one, two = (path_names(estimator.supernet, path) for path in space.given[0])
    times = {name: (name in one) + (name in two) for name in before}
    assert {times["stem.0.weight"], times["head.0.bias"], times["layers.1.second.1.weight"]} == {2}
    assert times["classifier.weight"] == 0
    assert {0, 1, 2} == set(times.values())
    for name, p in estimator.teacher.named_parameters():
        kept = 0.9 ** times[name]
        if times[name] == 0:
            assert torch.equal(p, before[name])
        torch.testing.assert_close(p, kept * before[name] + (1 - kept) * student[name], rtol=0, atol=1e-6)
    fresh = student_and_teacher_apart(problem)
    for p, mean, new in zip(
        estimator.teacher_projector.parameters(), projector, fresh.projector.parameters(), strict=True
    ):
        torch.testing.assert_close(p, 0.81 * mean + 0.19 * new, rtol=0, atol=1e-6)


def test_without_momentum_the_teacher_is_the_student(problem):
    estimator = student_and_teacher_apart(problem, teacher_momentum=0.0)
    one, _ = SPACE.disjoint_pair(copy.deepcopy(estimator.pairs))
    image = estimator.views(problem.train.images[:8], torch.Generator())[0]
    assert not torch.allclose(estimator.keys(image, one), estimator.queries(image, one), atol=1e-3)
    estimator.follow(one)
    torch.testing.assert_close(estimator.keys(image, one), estimator.queries(image, one))


# --- queue ----------------------------------------------------------------------------------------------------------


def test_queue_starts_with_random_unit_vectors_and_takes_one_mean_key_per_image(problem):
    estimator = student_and_teacher_apart(problem, queue=24)
    first = estimator.queue.clone()
    torch.testing.assert_close(first.norm(dim=1), torch.ones(24))
    assert (first @ first.T - torch.eye(24)).abs().max() < 0.5
    keys, run = [], estimator.keys
    estimator.keys = lambda images, path: keys.append(run(images, path)) or keys[-1]
    pointers = []
    for start in range(0, 32, 8):
        estimator.objective(problem.train.images[start : start + 8], problem.train.labels[start : start + 8])
        pointers.append(estimator.pointer)
        if start == 8:
            expected = torch.cat([(keys[0] + keys[1]) / 2, (keys[2] + keys[3]) / 2, first[16:]])
            assert torch.equal(estimator.queue, expected)
    assert pointers == [8, 16, 0, 8]
    assert torch.equal(estimator.queue[:8], (keys[6] + keys[7]) / 2)
    norms = estimator.queue.norm(dim=1)
    assert norms.max() <= 1 + 1e-6
    assert norms.max() < 0.9999  # means of unequal keys, not normalised again


# --- views ----------------------------------------------------------------------------------------------------------


def test_four_views_are_four_draws_and_two_serve_both_paths(problem):
    images = problem.train.images[:8]
    for count in (4, 2):
        estimator = smoke(views=count)
        estimator.start(problem)
        views = estimator.views(images, torch.Generator().manual_seed(3))
        assert len(views) == 4
        assert {v.shape for v in views} == {(8, 1, 8, 8)}
        for (i, one), (j, two) in itertools.combinations(enumerate(views), 2):
            assert torch.equal(one, two) == (count == 2 and j - i == 2)
        recipe = Distortion((0.2, 1.0), False, 0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.0)
        drawn = distort(images.repeat(count, 1, 1, 1), recipe, torch.Generator().manual_seed(3))
        assert torch.equal(torch.cat(views[:count]), normalise(drawn, problem.train.mean, problem.train.std))


def test_student_sees_the_first_and_third_view_and_teacher_the_others(problem):
    estimator = student_and_teacher_apart(problem)
    views = [torch.full((8, 1, 8, 8), float(i)) for i in range(1, 5)]
    estimator.views = lambda images, generator: views
    seen = []
    for who, network in (("student", estimator.supernet), ("teacher", estimator.teacher)):
        network.stem.register_forward_pre_hook(lambda _module, inputs, who=who: seen.append((who, inputs[0].mean())))
    estimator.objective(problem.train.images[:8], problem.train.labels[:8])
    assert seen == [("student", 1), ("teacher", 2), ("student", 3), ("teacher", 4)]


def test_the_papers_distortion_has_more_hue_and_blur_and_mirrors_where_the_images_allow(problem, monkeypatch):
    used = []
    monkeypatch.setattr(pinas, "distort", lambda images, recipe, generator: used.append(recipe) or images)
    mirrored = dataclasses.replace(
        problem.train, augmentation=dataclasses.replace(problem.train.augmentation, flip=True)
    )
    for images, settings in ((problem.train, {}), (mirrored, {"distortion": "paper"}), (mirrored, {"augment": False})):
        estimator = smoke(**settings)
        estimator.start(dataclasses.replace(problem, train=images))
        views = estimator.views(images.images[:4], estimator.augmentation)
        assert len(views) == 4
    assert used == [
        Distortion((0.2, 1.0), False, 0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.0, (0.1, 2.0)),
        Distortion((0.2, 1.0), True, 0.4, 0.4, 0.4, 0.4, 0.8, 0.2, 0.5, (0.1, 2.0)),
    ]


# --- ablations ------------------------------------------------------------------------------------------------------


def test_same_path_positives_and_no_negatives(problem):
    images = problem.train.images[:8]
    estimator = student_and_teacher_apart(problem, positives="same", queue=16)
    expected = by_hand(estimator, images, cross=False)
    step = taken(estimator, images)
    assert (step.loss, step.similarity) == pytest.approx((expected.loss, expected.similarity), abs=1e-4)
    assert all(alike(step, expected))
    estimator = student_and_teacher_apart(problem, negatives=False, queue=16)
    expected = by_hand(estimator, images)
    estimator.queue = torch.full_like(estimator.queue, math.nan)  # not looked at
    assert taken(estimator, images).loss == pytest.approx(-2 * expected.similarity / 0.2, rel=1e-4)


def test_supervised_variant_adds_both_cross_entropies_to_half_the_loss(problem):
    images, labels = problem.train.images[:8], problem.train.labels[:8]
    estimator = student_and_teacher_apart(problem, supervised=True, queue=16)
    expected = by_hand(estimator, images).loss / 2
    one, two = SPACE.disjoint_pair(copy.deepcopy(estimator.pairs))
    generator = torch.Generator()
    generator.set_state(estimator.augmentation.get_state())
    views, plain = estimator.views(images, generator), copy.deepcopy(estimator.supernet)
    with torch.no_grad():
        for path, view in ((one, views[0]), (two, views[2])):
            expected -= plain(view, path).double().log_softmax(1)[range(8), labels].mean().item()
    loss = estimator.objective(images, labels)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert estimator.supernet.classifier.weight.grad.any()


# --- probe ----------------------------------------------------------------------------------------------------------


def test_probe_is_softmax_regression_on_plain_features_of_one_uniform_path_per_step(problem):
    """Each candidate against SGD written in numpy: start, momentum, no decay, its own rate, a tenth at 60% and 80%."""
    rates, total = (0.1, 1.0), 10
    estimator = smoke(probe_learning_rates=rates)
    estimator.start(problem)
    estimator.supernet.train()
    first = [head.weight.detach().clone() for head in estimator.probe.heads]
    assert all(torch.equal(weight, first[0]) for weight in first)
    assert 0.008 < first[0].std() < 0.012
    assert not any(head.bias.any() for head in estimator.probe.heads)
    features, paths, run = [], [], estimator.supernet.features

    def features_of(images, path):
        paths.append(path)
        features.append(run(images, path))
        return features[-1]

    estimator.supernet.features = features_of
    reported = []
    monitor = Monitor()
    monitor.after_step = lambda _e, _step, _total, loss, rate: reported.append((float(loss), rate))
    estimator.probe.loop.run(estimator, total, monitor)
    assert [rate for _, rate in reported] == pytest.approx([1] * 6 + [0.1] * 2 + [0.01] * 2)
    expected_paths = numpy_stream(0, "probe")
    assert paths == [SPACE.sample(expected_paths) for _ in range(total)]  # disconnected ones included
    assert max(f.norm(dim=1).std() for f in features) > 0.1  # not of unit length

    order = Batches(len(problem.train), 16, torch_stream(0, "probe"))
    labels = [problem.train.labels[order.next()].numpy() for _ in range(total)]
    for head, rate in zip(estimator.probe.heads, rates, strict=True):
        weight, bias = first[0].double().numpy(), np.zeros(10)
        speed = [np.zeros_like(weight), np.zeros_like(bias)]
        for step in range(total):
            inputs = features[step].double().numpy()
            logits = inputs @ weight.T + bias
            odds = np.exp(logits - logits.max(1, keepdims=True))
            error = odds / odds.sum(1, keepdims=True)
            error[np.arange(16), labels[step]] -= 1
            speed = [0.9 * s + g for s, g in zip(speed, (error.T @ inputs / 16, error.mean(0)), strict=True)]
            now = rate * (1 if step < 6 else 0.1 if step < 8 else 0.01)
            weight, bias = weight - now * speed[0], bias - now * speed[1]
        np.testing.assert_allclose(head.weight.detach().numpy(), weight, atol=2e-4)
        np.testing.assert_allclose(head.bias.detach().numpy(), bias, atol=2e-4)


def test_probe_rate_falls_at_60_and_80_percent():
    assert [LinearProbe.rate(step, 5) for step in range(5)] == pytest.approx([1, 1, 1, 0.1, 0.01])
    assert [LinearProbe.rate(step, 400) for step in (239, 240, 319, 320)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_probe_leaves_the_backbone_and_the_teacher_alone(problem):
    held = {}

    def look(estimator, step, total, _rate):
        parts = (estimator.supernet, estimator.projector, estimator.teacher, estimator.teacher_projector)
        parameters = [p for part in parts for name, p in part.named_parameters() if not name.startswith("classifier")]
        now = [*parameters, estimator.queue, *estimator.teacher.buffers()]
        if step == 11:
            held.update(enumerate(value.detach().clone() for value in now))
        if step > 11:
            assert estimator.supernet.training  # batch statistics
            assert all(torch.equal(value, held[i]) for i, value in enumerate(now))

    fitted(problem, monitor=Listener(look))
    assert held


def test_probe_sees_training_images_only_and_validation_decides_the_rate_only(problem):
    scrambled = dataclasses.replace(problem.validation, labels=problem.validation.labels.flip(0))
    other = dataclasses.replace(problem, validation=scrambled)
    one, two = fitted(problem, 640), fitted(other, 640)
    assert stored(one.probe.heads.state_dict()) == stored(two.probe.heads.state_dict())
    assert one.probe.accuracies != two.probe.accuracies


@pytest.mark.parametrize("bn", [("batch", "recalibrated"), ("recalibrated", "batch")])
def test_the_rate_with_the_best_mean_accuracy_is_chosen(problem, bn):
    estimator = fitted(problem, 1280, bn=bn, probe_learning_rates=(1e-6, 0.1, 1.0), probe_architectures=9)
    rng = numpy_stream(0, "subset")
    judged = [SPACE.sample(rng) for _ in range(9)]
    accuracies = []
    for head in estimator.probe.heads:
        supernet = copy.deepcopy(estimator.supernet)
        supernet.classifier.load_state_dict(head.state_dict())
        scores = PathScorer(supernet, problem, estimator.scoring()).score(judged)
        accuracies.append(float(scores[f"accuracy@{bn[0]}"].mean()))
    best = int(np.argmax(accuracies))
    assert len(set(accuracies)) == 3
    assert estimator.diagnostics()["probe_accuracies"] == dict(zip(("1e-06", "0.1", "1"), accuracies, strict=True))
    assert estimator.diagnostics()["probe_learning_rate"] == (1e-6, 0.1, 1.0)[best] != 1e-6
    chosen = estimator.probe.heads[best].state_dict()
    for name, value in estimator.supernet.classifier.state_dict().items():
        assert torch.equal(value, chosen[name])


def test_a_diverged_candidate_loses_and_does_not_touch_the_others(problem):
    alone = fitted(problem, 1280, probe_learning_rates=(0.1,))
    beside = fitted(problem, 1280, probe_learning_rates=(1e38, 0.1))
    assert not beside.probe.heads[0].weight.isfinite().all()
    assert stored(beside.probe.heads[1].state_dict()) == stored(alone.probe.heads[0].state_dict())
    figures = beside.diagnostics()
    assert figures["probe_accuracies"]["1e+38"] is None
    assert figures["probe_learning_rate"] == 0.1
    for name, values in alone.score(CELLS).items():
        np.testing.assert_array_equal(beside.score(CELLS)[name], values)


def test_when_all_candidates_diverge_training_says_so(problem):
    with pytest.raises(Diverged, match="training diverged: loss nan"):
        fitted(problem, 1280, probe_learning_rates=(1e38, 2e38))


def test_scores_are_the_students_not_the_teachers_and_know_no_projector(problem):
    estimator = fitted(problem)
    before = estimator.score(CELLS)
    for part in (estimator.teacher, estimator.projector, estimator.teacher_projector):
        for parameter in part.parameters():
            nn.init.zeros_(parameter)
    for name, values in estimator.score(CELLS).items():
        np.testing.assert_array_equal(values, before[name])


# --- budget and cost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passes", "share", "steps"),
    [(256, 1 / 15, (11, 4)), (640, 1 / 15, (28, 8)), (640, 0.5, (15, 60)), (0, 0.5, (0, 0)), (22, 1 / 15, (0, 4))],
)
def test_steps_of_both_phases(problem, passes, share, steps):
    estimator = smoke(probe_share=share)
    assert estimator.steps(passes) == steps


def test_budget_is_kept_and_what_is_left_goes_to_the_probe():
    for batch, passes in itertools.product((8, 24, 56), range(200, 3000, 7)):
        contrastive, probe = smoke(batch_size=batch, queue=4 * batch).steps(passes)
        spent = 8 * batch * contrastive + 16 * probe
        assert 3 * passes - 16 < spent <= 3 * passes
        assert 8 * batch * contrastive <= 3 * passes * 14 / 15 < 8 * batch * (contrastive + 1)


def test_a_contrastive_step_costs_eight_thirds_per_image_and_one_of_the_probe_a_third(problem):
    costs, totals = [], set()

    def look(estimator, step, total, _rate):
        costs.append(estimator.cost()["train_images"])
        totals.add(total)

    estimator = fitted(problem, monitor=Listener(look))
    assert costs == [round(64 * n / 3) for n in range(1, 12)] + [round((704 + 16 * n) / 3) for n in range(1, 5)]
    assert costs[-1] == 256
    assert totals == {15}
    figures = estimator.diagnostics()
    assert figures["passes"] == {"contrastive": 235, "probe": 21}
    assert figures["updates_per_architecture"] == 2 * 11 / 15_625
    assert 0 < figures["queue_norm"] <= 1
    assert -1 <= figures["positive_similarity"] <= 1


def test_choosing_counts_as_scoring(problem):
    estimator = fitted(problem, bn=("recalibrated", "batch"))
    choice = 4 * 3 * (64 + 64)  # rates, architectures, scoring and calibration images
    assert estimator.cost()["score_images"] == choice
    estimator.score(CELLS)
    assert estimator.cost()["score_images"] == choice + 4 * (64 + 64 + 64)


def test_too_small_a_budget_for_the_probe_is_an_error(problem):
    with pytest.raises(SupertauError, match="a budget of 256 passes leaves no step for the linear probe"):
        fitted(problem, probe_batch=320)


# --- resuming -------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_from_any_step_of_either_phase(problem):
    saved = {}
    whole = fitted(problem, monitor=Listener(lambda e, step, *_: saved.update({step: stored(e.state_dict())})))
    end = stored(whole.state_dict())
    assert sorted(saved) == list(range(1, 16))
    assert saved[15] == end  # the choice is made before anyone hears of the last step
    expected = whole.score(CELLS)
    for step in (1, 6, 11, 12, 14, 15):
        estimator, reported = smoke(), []
        estimator.restore(problem, loaded(saved[step]))
        estimator.train(Budget(BUDGET), Listener(lambda _e, step, *_, reported=reported: reported.append(step)))
        assert reported == list(range(step + 1, 16))
        ended = loaded(end)
        for held, again in zip(leaves(ended), leaves(estimator.state_dict()), strict=True):
            assert torch.equal(held, again) if isinstance(held, torch.Tensor) else held == again
        for name, values in estimator.score(CELLS).items():
            np.testing.assert_array_equal(values, expected[name])


def leaves(value):
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


# --- secondary scores -----------------------------------------------------------------------------------------------


def test_secondary_columns_come_after_those_of_scoring():
    assert smoke(bn=("batch",)).score_columns() == ("accuracy@batch", "neg_loss@batch")
    columns = smoke(bn=("batch",), secondary=("knn", "neg_contrastive")).score_columns()
    assert columns == ("accuracy@batch", "neg_loss@batch", "knn", "neg_contrastive")


def test_neg_contrastive_is_the_loss_with_fixed_partners_on_fixed_views(problem):
    estimator = fitted(problem, secondary=("neg_contrastive",), scoring_images=50)
    scored = estimator.cost()["score_images"]
    values = estimator.score(CELLS)["neg_contrastive"]
    # three modes, of which one calibrates; two networks run each architecture and its two partners
    assert estimator.cost()["score_images"] - scored == 4 * (3 * 50 + 64) + 4 * 2 * 3 * 50
    images, queue = problem.validation.images[:50], estimator.queue.double().numpy()
    for cell, value in zip(CELLS, values, strict=True):
        generator, total = torch_stream(0, "batch"), 0.0
        for part in (images[:25], images[25:]):
            v1, v2, v3, v4 = estimator.views(part, generator)
            for partner in estimator.partners(cell):
                held = copy.deepcopy(estimator)
                with torch.no_grad():
                    qs = [held.queries(v1, cell), held.queries(v3, partner)]
                    ks = [held.keys(v2, cell), held.keys(v4, partner)]
                for q, k in ((qs[0], ks[1]), (qs[1], ks[0])):
                    similarity = np.concatenate([(q * k).sum(1, keepdim=True).numpy(), q.double().numpy() @ queue.T], 1)
                    odds = np.exp(similarity / 0.2)
                    total -= np.log(odds[:, 0] / odds.sum(1)).sum() / (50 * 2)
        assert value == pytest.approx(-total, rel=1e-4)


def test_partners_differ_in_every_decision_and_depend_on_seed_and_architecture_only(problem):
    estimator, other = smoke(partners=20), smoke(partners=20)
    estimator.start(problem)
    other.start(dataclasses.replace(problem, seed=1))
    for cell in CELLS:
        partners = estimator.partners(cell)
        assert len(set(partners)) > 15
        for partner in partners:
            assert all(a != b for a, b in zip(cell, partner, strict=True))
            assert SPACE.is_connected(partner)
        assert estimator.partners(cell) == partners != other.partners(cell)
    seen = {partner[0] for _ in range(3) for partner in estimator.partners((CONV3,) * 6)}
    assert seen == {NONE, SKIP, CONV1, POOL}


def test_knn_votes_by_similarity_among_training_images(problem):
    estimator = fitted(problem, secondary=("knn",), neighbours=7, scoring_images=48, bn=("batch",))
    scored = estimator.cost()["score_images"]
    values = estimator.score(CELLS)["knn"]
    assert estimator.cost()["score_images"] - scored == 4 * 48 + 4 * (64 + 48)
    plain = copy.deepcopy(estimator.supernet).train()

    def features(images, cell):
        with torch.no_grad():
            return unit(plain.features(normalise(images, problem.train.mean, problem.train.std), cell)).numpy()

    for cell, value in zip(CELLS[:3], values, strict=False):
        bank = np.concatenate([features(problem.train.images[i : i + 32], cell) for i in (0, 32)])
        right = 0
        for start in (0, 24):
            for image, true in zip(
                features(problem.validation.images[start : start + 24], cell),
                problem.validation.labels[start : start + 24].tolist(),
                strict=True,
            ):
                similarity = bank @ image
                votes = np.zeros(10)
                for row in np.argsort(-similarity)[:7]:
                    votes[problem.train.labels[row]] += math.exp(similarity[row] / 0.07)
                right += votes.argmax() == true
        assert value == pytest.approx(100 * right / 48)


def test_secondary_scores_leave_no_trace_need_no_company_and_bear_disconnected_cells(problem):
    both = {"secondary": ("neg_contrastive", "knn"), "neighbours": 1000}  # more neighbours than images
    estimator = fitted(problem, **both)
    before = estimator.state_dict()
    before = stored({k: v for k, v in before.items() if k != "scorer"})
    whole, figures = estimator.score(CELLS), estimator.diagnostics()
    after = estimator.state_dict()
    assert stored({k: v for k, v in after.items() if k != "scorer"}) == before
    assert estimator.diagnostics() == figures
    for row, cell in enumerate(CELLS):
        for name, values in estimator.score([cell]).items():
            assert values[0] == whole[name][row]
    assert all(np.isfinite(values).all() for values in whole.values())


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queue": 60}, "queue must be a multiple of the batch size 8.*, got 60"),
        ({"queue": 0}, "queue must be at least 1, got 0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"teacher_momentum": 1.1}, "teacher_momentum must be from 0 to 1, got 1.1"),
        ({"views": 3}, "unknown views '3'. Available: 2, 4"),
        ({"crop": 0.0}, "crop must be above 0 and at most 1, got 0.0"),
        ({"jitter": -0.1}, "jitter must be at least 0, got -0.1"),
        ({"probe_share": 1.0}, "probe_share must be above 0 and below 1, got 1.0"),
        ({"probe_learning_rates": ()}, "probe_learning_rates must be one or more numbers"),
        ({"probe_learning_rates": (1.0, 1.0)}, "probe_learning_rates must be distinct"),
        ({"probe_learning_rates": (math.inf,)}, "probe_learning_rates must be a finite number, got inf"),
        ({"probe_architectures": 0}, "probe_architectures must be at least 1, got 0"),
        ({"secondary": ("knn", "knn")}, "secondary must be distinct"),
    ],
)
def test_bad_settings_are_named_with_what_was_expected(settings, message):
    with pytest.raises(SupertauError, match=message):
        smoke(**settings)


def test_unknown_kinds_are_named_with_the_nearest_one():
    with pytest.raises(UnknownName, match="Did you mean 'cross'"):
        smoke(positives="crossed")
    with pytest.raises(UnknownName, match="Did you mean 'paper'"):
        smoke(distortion="papers")
    with pytest.raises(UnknownName, match="Did you mean 'neg_contrastive'"):
        smoke(secondary=("contrastive",))


def test_a_queue_longer_than_the_training_images_is_refused(problem):
    smoke(queue=320).start(problem)
    with pytest.raises(SupertauError, match="a queue of 328 keys holds some of the 320 training images twice"):
        smoke(queue=328).start(problem)


def test_defaults_are_those_of_the_specification():
    c = PiNASConfig()
    assert (c.queue, c.teacher_momentum, c.temperature, c.embedding) == (4096, 0.999, 0.2, 128)
    assert (c.batch_size, c.learning_rate, c.final_learning_rate, c.momentum) == (256, 0.03, 0.0, 0.9)
    assert (c.weight_decay, c.clip, c.nesterov) == (5e-4, 0.0, False)
    assert (c.probe_batch, c.probe_learning_rates, c.probe_architectures) == (256, (0.1, 1, 10, 30), 50)
    assert not set(PiNAS.scoring_settings) & {"bn", "scoring_batch", "scoring_images", "calibration_images"}


# --- learning -------------------------------------------------------------------------------------------------------


def test_it_learns(problem):
    """Without distortion an image is soon found again across paths: the loss leaves that of chance, 2 ln 65."""
    losses = []

    def look(estimator, step, total, _rate):
        if estimator.probe.loop.step == 0:
            losses.append(estimator.diagnostics()["contrastive_loss"])

    settings = {"augment": False, "learning_rate": 0.06, "batch_size": 16, "teacher_momentum": 0.99}
    estimator = fitted(problem, 6000, Listener(look), **settings)
    assert np.mean(losses[-20:]) < 2 * math.log(65) - 1
    assert estimator.diagnostics()["positive_similarity"] > 0.5
