"""Scoring of paths: each batch-norm mode against a plain computation, and that scoring leaves no trace."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from supertau.estimators.problem import ImageSet
from supertau.estimators.training.augmentation import normalise
from supertau.estimators.training.batch_norm import Recalibrated, ruled
from supertau.estimators.training.generators import seeded_weights
from supertau.estimators.training.scoring import BN_MODES, GROUP, PathScorer, Scoring, even_batches
from supertau.search_spaces.errors import SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.space import NetworkConfig

SPACE = NASBench201()
NONE, SKIP, CONV1, CONV3, POOL = range(5)
CELLS = [
    (CONV3,) * 6,
    (CONV1, SKIP, CONV3, POOL, CONV3, CONV1),
    (NONE, CONV3, SKIP, CONV1, CONV3, SKIP),  # a convolution of zeros
    (SKIP, POOL, NONE, NONE, SKIP, POOL),  # no convolution
    (NONE, NONE, CONV3, NONE, CONV1, CONV3),  # disconnected
    (NONE,) * 6,
]
SCORING = Scoring(bn=BN_MODES, batch_size=16, images=50, calibration_images=90, calibration_batch=32)


def batch_norms(modules):
    return [module for module in modules if isinstance(module, nn.BatchNorm2d)]


@torch.enable_grad()
def make_supernet(affine=False):
    """Return a supernet with the statistics and gradients of a little training, in train mode."""
    with seeded_weights(1):
        supernet = SPACE.supernet(NetworkConfig(4, 1, 8, 10, 1), affine=affine).train()
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(2)
    for _ in range(30):
        supernet(torch.randn(8, 1, 8, 8, generator=generator), SPACE.sample(rng)).square().sum().backward()
    return supernet


@pytest.fixture(scope="module")
def trained():
    return make_supernet()


@pytest.fixture
def supernet(trained):
    return copy.deepcopy(trained)


def images_of(images, count):
    return normalise(images.images[:count], images.mean, images.std), images.labels[:count]


def judged(forward, batches):
    """Return accuracy (percent) and negative mean cross-entropy of one architecture, image by image in numpy."""
    right, losses = [], []
    for images, labels in batches:
        logits = forward(images).double().numpy()
        right.extend(logits.argmax(1) == labels.numpy())
        shifted = logits - logits.max(1, keepdims=True)
        losses.extend(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels.numpy()])
    return 100 * np.mean(right), -np.mean(losses)


def pieces(images, labels, sizes):
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


def assert_scores(scores, mode, expected):
    accuracy, neg_loss = np.array(expected).T
    np.testing.assert_allclose(scores[f"accuracy@{mode}"], accuracy, rtol=0, atol=1e-4)
    np.testing.assert_allclose(scores[f"neg_loss@{mode}"], neg_loss, rtol=1e-5, atol=1e-5)


def scoring(*modes, **changes):
    return Scoring(**{**vars(SCORING), "bn": modes or BN_MODES, **changes})


# --- the numbers ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_inherited_is_the_plain_evaluation(supernet, problem):
    scores = PathScorer(supernet, problem, SCORING).score(CELLS)
    plain = copy.deepcopy(supernet).eval()
    batch = [images_of(problem.validation, 50)]
    assert_scores(scores, "inherited", [judged(lambda x, c=cell: plain(x, c), batch) for cell in CELLS])


@torch.no_grad()
def test_batch_takes_the_statistics_of_each_validation_batch(supernet, problem):
    """50 images in batches of at most 16 are 13 + 13 + 12 + 12; every image weighs the same."""
    scores = PathScorer(supernet, problem, SCORING).score(CELLS)
    plain = copy.deepcopy(supernet).train()
    batches = pieces(*images_of(problem.validation, 50), [13, 13, 12, 12])
    assert_scores(scores, "batch", [judged(lambda x, c=cell: plain(x, c), batches) for cell in CELLS])
    mean_of_batches = [np.mean([judged(lambda x: plain(x, CELLS[0]), [b]) for b in batches], axis=0)]
    assert abs(mean_of_batches[0][1] - scores["neg_loss@batch"][0]) > 1e-5


def statistics(supernet, cell, batches):
    """Return, per batch norm of a path, the mean over batches of each batch's mean and unbiased variance."""
    norms = {n: m for n, m in supernet.named_modules() if isinstance(m, nn.BatchNorm2d)}
    found = {name: [] for name in norms}
    held = copy.deepcopy(supernet).train()
    for name, module in held.named_modules():
        if name in norms:
            module.register_forward_pre_hook(
                lambda _m, inputs, name=name: found[name].append(
                    (inputs[0].double().mean((0, 2, 3)), inputs[0].double().var((0, 2, 3), unbiased=True))
                )
            )
    for images in batches:
        held(images, cell)
    return {n: [torch.stack(v).mean(0) for v in zip(*per, strict=True)] for n, per in found.items() if per}


def with_statistics(supernet, values):
    plain = copy.deepcopy(supernet).eval()
    for name, (mean, variance) in values.items():
        plain.get_submodule(name).running_mean.copy_(mean)
        plain.get_submodule(name).running_var.copy_(variance)
    return plain


@torch.no_grad()
@pytest.mark.parametrize("affine", [False, True])
def test_recalibrated_is_the_plain_average_of_the_batches_statistics(problem, affine):
    supernet = make_supernet(affine)
    scores = PathScorer(supernet, problem, SCORING).score(CELLS)
    calibration = images_of(problem.train, 90)[0].split(30)  # 90 in batches of at most 32
    batch, expected = [images_of(problem.validation, 50)], []
    for cell in CELLS:
        plain = with_statistics(supernet, statistics(supernet, cell, calibration))
        expected.append(judged(lambda x, c=cell, p=plain: p(x, c), batch))
    assert_scores(scores, "recalibrated", expected)


@torch.no_grad()
def test_recalibration_is_cumulative_and_not_exponential(supernet, problem):
    """After a reset, an exponential average over 3 batches would keep 73% of the reset values."""
    calibration = images_of(problem.train, 90)[0].split(30)
    plain = with_statistics(supernet, statistics(supernet, CELLS[0], calibration))
    rule = Recalibrated()
    with ruled(supernet, rule):
        for images in calibration:
            rule.next_batch(30, collecting=True)
            supernet(images, CELLS[0])
        rule.next_batch(50, collecting=False)
        logits = supernet(images_of(problem.validation, 50)[0], CELLS[0])
    torch.testing.assert_close(logits, plain(images_of(problem.validation, 50)[0], CELLS[0]), rtol=1e-4, atol=1e-4)

    exponential = copy.deepcopy(supernet).train()
    for norm in batch_norms(exponential.modules()):
        norm.reset_running_stats()
    for images in calibration:
        exponential(images, CELLS[0])
    scores = PathScorer(supernet, problem, scoring("recalibrated")).score(CELLS[:1])
    _, wrong = judged(lambda x: exponential.eval()(x, CELLS[0]), [images_of(problem.validation, 50)])
    assert abs(scores["neg_loss@recalibrated"][0] - wrong) > 0.01


def test_the_modes_differ(supernet, problem):
    scores = PathScorer(supernet, problem, SCORING).score(CELLS[:3])
    for one, two in itertools.combinations(BN_MODES, 2):
        assert np.abs(scores[f"neg_loss@{one}"] - scores[f"neg_loss@{two}"]).min() > 1e-3


def test_columns_their_order_and_form(supernet, problem):
    chosen = scoring("batch", "recalibrated")
    scores = PathScorer(supernet, problem, chosen).score(CELLS)
    names = ("accuracy@batch", "neg_loss@batch", "accuracy@recalibrated", "neg_loss@recalibrated")
    assert tuple(scores) == chosen.columns() == names
    for values in scores.values():
        assert values.shape == (len(CELLS),)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
    for name in names[::2]:
        assert ((scores[name] >= 0) & (scores[name] <= 100)).all()
    assert all((scores[name] < 0).all() for name in names[1::2])


@pytest.mark.parametrize("mode", BN_MODES)
def test_more_than_a_group_scores_as_one_by_one(supernet, problem, mode):
    """Sub-networks of a group share what they have in common; every number stays the same."""
    rng = np.random.default_rng(3)
    cells = [SPACE.sample(rng) for _ in range(GROUP + 9)]
    scorer = PathScorer(supernet, problem, scoring(mode))
    together = scorer.score(cells)
    for row, cell in enumerate(cells):
        for name, value in scorer.score([cell]).items():
            assert value[0] == together[name][row]


def test_less_memory_means_smaller_groups_and_the_same_scores(supernet, problem, monkeypatch):
    sizes = []
    plain = supernet.forward_many

    def counted(images, architectures):
        sizes.append(len(architectures))
        return plain(images, architectures)

    monkeypatch.setattr(supernet, "forward_many", counted)
    cells = list(SPACE.enumerate())[::400]
    rule = scoring("batch")
    whole = PathScorer(supernet, problem, rule).score(cells)
    assert max(sizes) == GROUP
    sizes.clear()
    little = PathScorer(supernet, dataclasses.replace(problem, scoring_memory=1), rule).score(cells)
    stem = 4 * problem.network.channels * problem.network.image_size**2 * -(-50 // 4)  # bytes; four batches of 50
    assert max(sizes) == 10**6 // (16 * stem)
    assert all(np.array_equal(whole[name], little[name]) for name in whole)


def test_what_is_one_network_is_run_once(supernet, problem, monkeypatch):
    """Operations that lead nowhere don't count; a scheme that lends an architecture other modules makes another one."""
    used = (CONV3, NONE, NONE, CONV1, NONE, NONE)  # node 1 leads nowhere
    same = [used, (POOL, *used[1:]), (NONE, *used[1:])]
    other = (*used[:3], CONV3, NONE, NONE)
    run = []
    plain = supernet.forward_many

    def counted(images, architectures):
        run.extend(architectures)
        return plain(images, architectures)

    monkeypatch.setattr(supernet, "forward_many", counted)
    scorer = PathScorer(supernet, problem, scoring("batch"))
    scores = scorer.score([*same, other])["neg_loss@batch"]
    assert len(set(run)) == 2
    assert scores[0] == scores[1] == scores[2] != scores[3]
    run.clear()
    sharing = supernet.layers[0].sharing
    lent = sharing.operation

    def by_first_decision(architecture, edge):
        if edge.slot == 3 and architecture[0] == POOL:
            return sharing.edges[4][str(edge.option)]
        return lent(architecture, edge)

    monkeypatch.setattr(sharing, "operation", by_first_decision)
    scores = scorer.score(same)["neg_loss@batch"]
    assert len(set(run)) == 2
    assert scores[0] == scores[2] != scores[1]


def test_no_architectures_give_empty_columns(supernet, problem):
    assert {values.shape for values in PathScorer(supernet, problem, SCORING).score([]).values()} == {(0,)}


# --- independence ---------------------------------------------------------------------------------------------------


def test_scores_do_not_depend_on_order_company_or_what_was_scored_before(supernet, problem):
    scorer = PathScorer(supernet, problem, SCORING)
    together = scorer.score(CELLS)
    for order in ([5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3], [3]):
        again = scorer.score([CELLS[row] for row in order])
        for name, values in together.items():
            np.testing.assert_array_equal(again[name], values[order])
    repeated = scorer.score([CELLS[0], CELLS[1], CELLS[0]])
    assert all(values[0] == values[2] for values in repeated.values())


@pytest.mark.parametrize("mode", BN_MODES)
def test_a_mode_gives_the_same_alone_and_beside_the_others(supernet, problem, mode):
    everything = PathScorer(supernet, problem, SCORING).score(CELLS)
    alone = PathScorer(copy.deepcopy(supernet), problem, scoring(mode)).score(CELLS)
    for name, values in alone.items():
        np.testing.assert_array_equal(values, everything[name])


@pytest.mark.parametrize("mode", ["recalibrated", "batch"])
def test_only_inherited_depends_on_what_training_left_in_the_statistics(supernet, problem, mode):
    other = copy.deepcopy(supernet)
    for norm in batch_norms(other.modules()):
        norm.running_mean.add_(1)
        norm.running_var.mul_(3)
    one, two = (PathScorer(s, problem, scoring(mode, "inherited")).score(CELLS[:3]) for s in (supernet, other))
    np.testing.assert_array_equal(one[f"neg_loss@{mode}"], two[f"neg_loss@{mode}"])
    assert (one["neg_loss@inherited"] != two["neg_loss@inherited"]).all()


# --- no trace -------------------------------------------------------------------------------------------------------


def trace(supernet):
    """Return everything about a supernet that scoring could leave behind."""
    flags = {
        name: (module.training, getattr(module, "momentum", 0), getattr(module, "track_running_stats", 0))
        for name, module in supernet.named_modules()
    }
    tensors = {n: v.clone() for n, v in supernet.state_dict().items()}
    gradients = {
        n: (p.requires_grad, None if p.grad is None else p.grad.clone()) for n, p in supernet.named_parameters()
    }
    return flags, tensors, gradients


def assert_same_trace(one, two):
    assert one[0] == two[0]
    assert one[1].keys() == two[1].keys()
    for name, value in one[1].items():
        assert torch.equal(value, two[1][name]), name
    for name, (needed, gradient) in one[2].items():
        assert needed == two[2][name][0]
        assert (gradient is None) == (two[2][name][1] is None)
        assert gradient is None or torch.equal(gradient, two[2][name][1])


def unusual(supernet):
    """Give batch norms settings that scoring would not put back by chance."""
    norms = batch_norms(supernet.modules())
    norms[0].momentum, norms[1].momentum = 0.3, None
    norms[2].training = not norms[2].training
    norms[3].track_running_stats = False
    norms[-1].momentum, norms[-1].training = 0.7, False
    return supernet


@pytest.mark.parametrize("modes", [BN_MODES, *((mode,) for mode in BN_MODES)], ids="-".join)
@pytest.mark.parametrize("training", [False, True])
def test_scoring_leaves_every_flag_buffer_and_gradient_as_it_was(supernet, problem, modes, training):
    scorer = PathScorer(unusual(supernet.train(training)), problem, scoring(*modes))
    before = trace(supernet)
    scorer.score(CELLS)
    assert_same_trace(before, trace(supernet))


def test_an_error_while_scoring_leaves_no_trace_either(supernet, problem):
    scorer = PathScorer(unusual(supernet), problem, SCORING)
    before = trace(supernet)
    with pytest.raises(KeyError):
        scorer.score([CELLS[0], (9,) * 6])
    assert_same_trace(before, trace(supernet))


def test_training_goes_on_after_scoring_as_if_nothing_had_happened(supernet, problem):
    other = copy.deepcopy(supernet)
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    for net in (supernet, other):
        if net is other:
            PathScorer(net, problem, SCORING).score(CELLS)
        net.zero_grad(set_to_none=True)
        net(images, CELLS[0]).square().sum().backward()
    assert_same_trace(trace(supernet), trace(other))


def test_a_rule_lasts_as_long_as_its_block(supernet, problem):
    images = images_of(problem.validation, 50)[0]
    plain = supernet.eval()(images, CELLS[0])
    rule = Recalibrated()
    rule.next_batch(50, collecting=False)
    with pytest.raises(ZeroDivisionError), ruled(supernet, rule):  # nothing collected yet
        supernet(images, CELLS[0])
    assert torch.equal(supernet(images, CELLS[0]), plain)


# --- the images -----------------------------------------------------------------------------------------------------


@given(count=st.integers(1, 60), size=st.integers(1, 70))
def test_even_batches_are_in_order_and_of_nearly_equal_size(count, size):
    labels = torch.arange(60)
    images = labels.to(torch.uint8)[:, None, None, None].expand(60, 2, 3, 3)
    parts, answers = even_batches(ImageSet("rows", images, labels, 60, (0.1, 0.2), (0.5, 0.4)), count, size)
    sizes = [len(part) for part in parts]
    assert sizes == [len(answer) for answer in answers]
    assert len(sizes) == -(-count // size)
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert torch.cat(answers).tolist() == list(range(count))
    torch.testing.assert_close(torch.cat(parts), normalise(images[:count], (0.1, 0.2), (0.5, 0.4)))


def test_every_group_sees_the_same_images_unchanged(supernet, problem):
    scorer = PathScorer(supernet, problem, scoring("recalibrated", "batch"))
    seen = []
    supernet.stem.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].clone()))
    scorer.score(CELLS[:3])
    validation, training = images_of(problem.validation, 50)[0], images_of(problem.train, 90)[0]
    torch.testing.assert_close(torch.cat(seen), torch.cat([training, validation, validation]))
    assert len(seen) == 3 + 4 + 4


def test_all_validation_images_by_default(supernet, problem):
    scorer = PathScorer(supernet, problem, scoring("batch", images=None))
    assert sum(len(labels) for labels in scorer.labels) == len(problem.validation) == 160


@pytest.mark.parametrize(("modes", "per_cell"), [(("batch",), 50), (("recalibrated",), 140), (BN_MODES, 240)])
def test_images_run_are_counted(supernet, problem, modes, per_cell):
    scorer = PathScorer(supernet, problem, scoring(*modes))
    scorer.score(CELLS)
    scorer.score(CELLS[:2])
    assert scorer.images_scored == per_cell * 8


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 161}, "scoring images: 161 asked for, 160 available"),
        ({"images": 0}, "scoring images: 0 asked for, 160 available"),
        ({"images": -1}, "scoring images: -1 asked for"),
        ({"calibration_images": 321}, "calibration_images: 321 asked for, 320 available"),
        ({"calibration_images": 0}, "calibration_images: 0 asked for, 320 available"),
    ],
)
def test_images_that_do_not_exist(supernet, problem, changes, message):
    with pytest.raises(SupertauError, match=message):
        PathScorer(supernet, problem, scoring(**changes))


@pytest.mark.parametrize("name", ["batch_size", "calibration_batch"])
@pytest.mark.parametrize("size", [0, -4])
def test_batches_without_images(supernet, problem, name, size):
    with pytest.raises(SupertauError, match=name):
        PathScorer(supernet, problem, scoring(**{name: size}))


def test_calibration_images_are_not_asked_for_when_no_mode_uses_them(supernet, problem):
    scores = PathScorer(supernet, problem, scoring("batch", calibration_images=20_480)).score(CELLS[:2])
    np.testing.assert_array_equal(
        scores["neg_loss@batch"], PathScorer(supernet, problem, SCORING).score(CELLS[:2])["neg_loss@batch"]
    )


def test_unknown_mode_is_named_with_the_nearest_one():
    with pytest.raises(UnknownName, match=r"unknown bn 'recalibrate'. Did you mean 'recalibrated'\?"):
        scoring("batch", "recalibrate")


def test_no_mode_at_all():
    with pytest.raises(SupertauError, match="at least one batch-norm mode of: recalibrated, batch, inherited"):
        Scoring(bn=(), batch_size=16, images=None, calibration_images=1, calibration_batch=1)
