"""Zero-cost measures against a plain computation of each published formula on a stand-alone network."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from supertau.estimators import ESTIMATORS, Budget, ImageSet, Problem
from supertau.estimators.baselines import hashed
from supertau.estimators.estimator import NotFitted
from supertau.estimators.training.augmentation import normalise
from supertau.estimators.training.generators import seeded_weights
from supertau.estimators.zero_cost import GradNorm, JacobCov, Naswot, Snip, Synflow
from supertau.estimators.zero_cost.probe import draw
from supertau.search_spaces.errors import SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench201.network import NASBench201Network
from supertau.search_spaces.space import NetworkConfig
from supertau.search_spaces.supernet import Supernet

SPACE = NASBench201()
SIZE = NetworkConfig(channels=4, cells=1, image_size=8, classes=10, image_channels=1)
METHODS = [GradNorm, Snip, Synflow, JacobCov, Naswot]
NONE, SKIP, CONV1, CONV3, POOL = range(5)
CONVOLUTIONS = (CONV3, CONV1, CONV3, SKIP, CONV1, CONV3)
MIXED = (CONV1, POOL, NONE, NONE, SKIP, CONV3)
SKIPS = (NONE, NONE, NONE, SKIP, NONE, NONE)
NOTHING = (NONE,) * 6
DEAD_ENDS = (CONV3, CONV3, CONV3, NONE, NONE, NONE)  # convolutions, none of which reaches the output
FED_ZEROS = (NONE, NONE, NONE, NONE, NONE, CONV3)  # a convolution that the input does not reach
DISCONNECTED = [NOTHING, DEAD_ENDS, FED_ZEROS]


def images(seed=0, count=40, size=8):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 1, size, size), generator=generator, dtype=torch.uint8)
    return ImageSet("noise", pixels, torch.randint(10, (count,), generator=generator), 10, (0.5,), (0.25,))


def problem(seed=0, network=SIZE, train=None):
    return Problem(SPACE, network, train or images(), images(1), seed)


def fitted(cls, seed=0, train=None, network=SIZE, **config):
    estimator = cls(cls.Config(**{"batch": 16, **config}))
    estimator.fit(problem(seed, network, train), Budget(0))
    return estimator


def score(estimator, *cells):
    return estimator.score(cells)["score"].tolist()


def standalone(cls, cell, **config):
    """Return the network of a cell with the weights the shared supernet has, and the batch."""
    with seeded_weights(0):
        supernet = SPACE.supernet(SIZE, affine=True)
    return NASBench201Network.extract(supernet, cell, affine=True).train(), *draw(problem(), config.get("batch", 16))


# --- each formula, written plainly -------------------------------------------------------------------------------


def plain_gradients(network, batch, labels):
    nn.functional.cross_entropy(network(batch), labels).backward()
    return [(p.detach(), p.grad) for p in network.parameters() if p.grad is not None]


def plain_grad_norm(network, batch, labels, counted=lambda p: p.ndim > 1):
    return sum(g.norm().item() for p, g in plain_gradients(network, batch, labels) if counted(p))


def plain_snip(network, batch, labels, counted=lambda p: p.ndim > 1):
    return sum((p * g).abs().sum().item() for p, g in plain_gradients(network, batch, labels) if counted(p))


def plain_synflow(network, batch, labels):
    network.double().eval()  # fresh statistics are 0 and 1: with eps 0 batch norm in evaluation mode is the identity
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    for p in network.parameters():
        p.data = p.data.abs()
    network(torch.ones(1, 1, 8, 8).double()).sum().backward()
    return sum((p * p.grad).sum().item() for p in network.parameters() if p.grad is not None and p.ndim > 1)


def plain_jacob_cov(network, batch, labels):
    batch = batch.clone().requires_grad_()
    network(batch).backward(torch.ones(len(batch), 10))
    eigenvalues = np.linalg.eigvals(np.corrcoef(batch.grad.flatten(1).double().numpy())).real
    return -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in eigenvalues)


def plain_naswot(network, batch, labels):
    codes = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda m, inputs, o: codes.append((inputs[0] > 0).flatten(1).numpy()))
    with torch.no_grad():
        network(batch)
    codes = np.concatenate(codes, axis=1)
    kernel = np.zeros((len(batch), len(batch)))
    for i, j in itertools.product(range(len(batch)), repeat=2):
        kernel[i, j] = codes.shape[1] - (codes[i] != codes[j]).sum()
    return np.linalg.slogdet(kernel)[1]


PLAIN = [plain_grad_norm, plain_snip, plain_synflow, plain_jacob_cov, plain_naswot]


@pytest.mark.parametrize("cell", [CONVOLUTIONS, MIXED, SKIPS], ids=["convolutions", "mixed", "skips"])
@pytest.mark.parametrize(("cls", "plain"), list(zip(METHODS, PLAIN, strict=True)))
def test_a_path_of_the_shared_supernet_has_the_value_of_the_standalone_network(cls, plain, cell):
    expected = plain(*standalone(cls, cell))
    assert score(fitted(cls), cell) == pytest.approx([expected], rel=1e-4)


@pytest.mark.parametrize("cell", [CONVOLUTIONS, MIXED], ids=["convolutions", "mixed"])
@pytest.mark.parametrize(("cls", "plain"), list(zip(METHODS, PLAIN, strict=True)))
def test_fresh_networks_have_the_value_of_the_standalone_network(cls, plain, cell):
    with seeded_weights(hashed("weights", 0, cell)):
        network = SPACE.network(cell, SIZE)
    expected = plain(network.train(), *draw(problem(), 16))
    assert score(fitted(cls, shared_init=False), cell) == pytest.approx([expected], rel=1e-4)


@pytest.mark.parametrize(("cls", "plain"), [(GradNorm, plain_grad_norm), (Snip, plain_snip)])
def test_all_tensors_adds_biases_and_batch_norms(cls, plain):
    expected = plain(*standalone(cls, CONVOLUTIONS), counted=lambda p: True)
    (weights,), (everything,) = score(fitted(cls), CONVOLUTIONS), score(fitted(cls, tensors="all"), CONVOLUTIONS)
    assert everything == pytest.approx(expected, rel=1e-4)
    assert everything > weights


# --- synflow by hand ---------------------------------------------------------------------------------------------


class TwoLayers(Supernet):
    """A 1x1 convolution of known weights, a batch norm to be removed, a mean, a classifier of known weights."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(1, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.classifier = nn.Linear(2, 2)
        self.mix.weight.data = torch.tensor([2.0, -3.0]).view(2, 1, 1, 1)
        self.norm.weight.data.fill_(7.0)
        self.classifier.weight.data = torch.tensor([[1.0, -2.0], [-4.0, 5.0]])
        self.classifier.bias.data = torch.tensor([-100.0, 100.0])

    def features(self, batch, architecture):
        return self.norm(self.mix(batch)).mean((2, 3))

    def path_modules(self, architecture):
        yield from (self.mix, self.norm, self.classifier)


class HandMade(NASBench201):
    def supernet(self, config, *, affine=False, sharing=None):
        return TwoLayers()


def hand_made(**config):
    estimator = Synflow(Synflow.Config(**config))
    estimator.fit(Problem(HandMade(), NetworkConfig(4, 1, 8, 2, 1), images(), images(), 0), Budget(0))
    return score(estimator, NOTHING)[0]


def test_synflow_of_two_linear_layers():
    # R without bias = 2 (1 + 4) + 3 (2 + 5) = 31; each layer conserves it
    assert hand_made() == pytest.approx(2 * 31)
    assert hand_made(tensors="all") == pytest.approx(2 * 31 + 200)


def test_log_synflow_of_two_linear_layers():
    first = 2 * math.log(1 + 5) + 3 * math.log(1 + 7)
    second = (1 + 4) * math.log(1 + 2) + (2 + 5) * math.log(1 + 3)
    assert hand_made(log=True) == pytest.approx(first + second)


def test_synflow_with_batch_norm_does_not_see_the_scale_of_a_constant_map():
    # an all-ones image has no variance: batch norm gives its bias, 0, and nothing flows
    assert hand_made(bn=True) == pytest.approx(0.0, abs=1e-9)


def test_synflow_looks_at_no_image():
    values = [score(fitted(Synflow, train=images(seed)), CONVOLUTIONS, MIXED) for seed in (0, 5)]
    assert values[0] == values[1]
    assert score(fitted(Snip, train=images(5)), MIXED) != score(fitted(Snip), MIXED)


def test_synflow_with_batch_norm_works_on_1x1_maps():
    size = NetworkConfig(4, 1, 4, 10, 1)  # two reductions leave 1x1
    value = score(fitted(Synflow, network=size, bn=True), CONVOLUTIONS)[0]
    assert 0 <= value < math.inf
    assert score(fitted(Synflow, bn=True), CONVOLUTIONS) != score(fitted(Synflow), CONVOLUTIONS)


# --- architectures without a value --------------------------------------------------------------------------------


@pytest.mark.parametrize("shared_init", [True, False])
@pytest.mark.parametrize("cls", METHODS)
def test_disconnected_cells_get_the_floor_and_are_counted(cls, shared_init):
    estimator = fitted(cls, shared_init=shared_init)
    scores = score(estimator, CONVOLUTIONS, *DISCONNECTED, SKIPS)
    assert scores[1:4] == [estimator.floor()] * 3
    assert min(scores[0], scores[4]) > estimator.floor()
    assert np.isfinite(scores).all()
    figures = estimator.diagnostics()
    assert (figures["scored"], figures["undefined"], figures["floor"]) == (5, 3, estimator.floor())


def test_the_floor_of_jacob_cov_is_its_minimum():
    estimator = fitted(JacobCov)
    rng = np.random.default_rng(0)
    for rank in (1, 2, 5, 40):
        correlations = np.corrcoef(rng.normal(size=(16, rank)) @ rng.normal(size=(rank, 100)))
        spread = estimator._spread(torch.linalg.eigvalsh(torch.from_numpy(correlations)))
        assert spread >= estimator.floor() - 1e-3
    assert estimator.floor() == pytest.approx(-15 * (math.log(1e-5) + 1e5) - math.log(16) - 1 / 16, rel=1e-9)


def test_jacob_cov_cuts_the_batch_to_what_small_images_can_tell_apart():
    small = NetworkConfig(4, 1, 4, 10, 1)
    estimator = fitted(JacobCov, train=images(size=4), network=small, batch=32)
    assert estimator.diagnostics()["batch"] == 8


def test_equal_codes_are_undefined_for_naswot():
    estimator = fitted(Naswot)
    estimator.images = estimator.images[:1].expand(16, -1, -1, -1)
    assert score(estimator, CONVOLUTIONS) == [0.0]
    assert estimator.diagnostics()["undefined"] == 1


# --- seeds, order, state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared_init", [True, False])
@pytest.mark.parametrize("cls", METHODS)
def test_scores_depend_on_the_seed_and_on_nothing_else(cls, shared_init):
    cells = [CONVOLUTIONS, NOTHING, MIXED, SKIPS]
    estimator = fitted(cls, shared_init=shared_init)
    scores = score(estimator, *cells)
    assert score(estimator, *cells[::-1]) == scores[::-1]
    assert score(fitted(cls, shared_init=shared_init), MIXED) == scores[2:3]
    other = score(fitted(cls, seed=1, shared_init=shared_init), *cells)
    assert [a != b for a, b in zip(scores, other, strict=True)] == [True, False, True, True]


@pytest.mark.parametrize("cls", METHODS)
def test_measuring_leaves_the_global_generator_and_the_weights_alone(cls):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    estimator = fitted(cls)
    before = {name: value.clone() for name, value in estimator.supernet.state_dict().items()}
    score(estimator, CONVOLUTIONS, MIXED)
    after = estimator.supernet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in estimator.supernet.parameters())
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("cls", METHODS)
def test_restored_counters_and_scores(cls):
    estimator = fitted(cls)
    scores = score(estimator, MIXED, NOTHING)
    restored = cls(estimator.config)
    restored.restore(problem(), estimator.state_dict())
    assert score(restored, MIXED) == scores[:1]
    assert restored.diagnostics()["scored"] == 3
    assert restored.diagnostics()["undefined"] == 1


def test_cost_counts_images():
    estimator = fitted(Snip)
    score(estimator, MIXED, CONVOLUTIONS, SKIPS)
    assert estimator.cost() == {"train_images": 0, "score_images": 48, "supernet_parameters": 0}
    flow = fitted(Synflow)
    score(flow, MIXED)
    assert flow.cost()["score_images"] == 1


def test_kaiming_weights():
    estimator = fitted(GradNorm, init="kaiming_normal", network=NetworkConfig(32, 1, 8, 10, 1))
    weight = max(estimator.supernet.parameters(), key=lambda p: p.numel())
    assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.02)
    assert not estimator.supernet.classifier.bias.any()


# --- the batch ----------------------------------------------------------------------------------------------------


def test_the_batch_is_seeded_normalised_and_the_same_for_all_methods():
    first, second = fitted(GradNorm), fitted(Naswot)
    assert torch.equal(first.images, second.images)
    assert first.images.shape == (16, 1, 8, 8)
    everything = normalise(images().images, (0.5,), (0.25,))
    rows = [int((everything == image).all((1, 2, 3)).nonzero()) for image in first.images]
    assert len(set(rows)) == 16
    assert torch.equal(images().labels[rows], first.labels)
    assert not torch.equal(fitted(GradNorm, seed=1).images, first.images)


def test_no_image_comes_twice():
    once = images(count=5)
    rows = torch.arange(5).repeat(8)
    batch, labels = draw(problem(train=once.subset(rows)), 32)
    assert len(batch) == len(labels) == len(torch.unique(batch, dim=0)) == 5
    with pytest.raises(SupertauError, match="2 different"):
        draw(problem(train=once.subset(torch.zeros(9).long())), 8)


# --- interface ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cls"),
    [("grad_norm", GradNorm), ("snip", Snip), ("synflow", Synflow), ("jacob_cov", JacobCov), ("naswot", Naswot)],
)
def test_registered_and_configured(name, cls):
    assert ESTIMATORS.get(name) is cls
    assert not cls.trains
    assert cls.configured("quick").config.batch == 16
    assert cls().config.batch == (128 if cls is Naswot else 64)
    with pytest.raises(NotFitted):
        cls().score([MIXED])
    with pytest.raises(SupertauError, match="at least 2"):
        cls.Config(batch=1)
    with pytest.raises(UnknownName, match="kaiming_normal"):
        cls.Config(init="kaiming")


def test_an_overflow_is_an_error_and_not_a_score():
    estimator = fitted(Synflow)
    with torch.no_grad():
        for p in estimator.supernet.parameters():
            p.mul_(1e80)
    with pytest.raises(SupertauError, match=r"nor_conv_3x3~0.*overflows"):
        score(estimator, CONVOLUTIONS)
