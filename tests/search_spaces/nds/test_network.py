"""Networks of NDS: stand-alone against costs, a supernet's path against copied slices, many paths at once, CLOSE."""

import copy
from collections import Counter
from contextlib import contextmanager
from functools import cache

import networks
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from supertau.estimators.problem import Problem
from supertau.estimators.training.scoring import BN_MODES, PathScorer, Scoring
from supertau.search_spaces.glow import CLOSENet, Gate
from supertau.search_spaces.layers import BatchNorm2d
from supertau.search_spaces.nds.network import LeadingConv2d, NDSNetwork
from supertau.search_spaces.nds.space import NDSResNet, NDSResNeXtA, NDSResNeXtB, NDSVanilla
from supertau.search_spaces.space import NetworkConfig
from supertau.search_spaces.supernet import leaves

RESNET, RESNEXT_A, RESNEXT_B, VANILLA = SPACES = [NDSResNet(), NDSResNeXtA(), NDSResNeXtB(), NDSVanilla()]
TINY = NetworkConfig(channels=2, cells=1, image_size=8, classes=10, image_channels=1)
ODD = NetworkConfig(channels=3, cells=1, image_size=9, classes=7, image_channels=3)

BY_SPACE = {
    RESNET.name: ["d2-1-3_w24-32-64", "d2-1-4_w24-32-64", "d1-1-1_w256-256-256", "d3-2-1_w40-16-96",
                  "d2-1-3_w24-32-48"],
    VANILLA.name: ["d2-1-3_w24-32-64", "d2-1-4_w24-32-64", "d1-1-1_w16-256-16", "d3-2-1_w40-16-96"],
    RESNEXT_A.name: [
        "d2-1-4_w64-128-32_b0.5-1-0.25_g2-4-1",
        "d2-1-2_w64-128-32_b0.5-1-0.25_g2-4-1",
        "d1-1-1_w256-256-256_b1-1-1_g1-1-1",
        "d4-2-1_w64-32-256_b0.5-0.25-1_g2-4-4",
        "d4-2-1_w32-32-64_b0.5-0.25-1_g1-1-2",
    ],
    RESNEXT_B.name: ["d2-1-2_w64-128-64_b0.5-1-0.25_g16-4-8", "d2-2-2_w64-128-64_b0.5-1-0.25_g16-4-8"],
}  # fmt: skip

each_space = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)


def some(space):
    return [space.parse(text) for text in BY_SPACE[space.name]]


def noise(config, seed=0, count=6):
    return networks.noise(config, seed, count).contiguous(memory_format=torch.channels_last)


@cache
def supernet(space, affine=False):
    """Return the same supernet to every test; none changes its weights."""
    return networks.seeded_supernet(space, TINY, affine)


@contextmanager
def hooked(net, hook):
    """Call hook(name, inputs) for every leaf module that runs."""
    names = {module: name for name, module in net.named_modules()}
    handles = [
        leaf.register_forward_hook(lambda module, inputs, _: hook(names[module], inputs)) for leaf in leaves(net)
    ]
    yield
    for handle in handles:
        handle.remove()


# --- stand-alone networks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "config"), [*((space, TINY) for space in SPACES), (RESNEXT_A, ODD)], ids=lambda v: getattr(v, "name", "")
)
def test_parameters_and_macs_are_those_that_cost_says(space, config):
    """Torch counts two operations per multiply-accumulate of convolutions and classifier."""
    for architecture in some(space):
        network, cost = space.network(architecture, config), space.cost(architecture, config)
        assert sum(p.numel() for p in network.parameters()) == cost.parameters
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            logits = network.eval()(noise(config, count=1))
        assert counter.get_total_flops() == 2 * cost.macs
        assert logits.shape == (1, config.classes)


@pytest.mark.parametrize(
    ("space", "text"),
    [(RESNET, "d1-2-3_w16-32-24"), (RESNEXT_A, "d16-1-4_w64-128-16_b0.25-0.25-0.25_g2-1-2")],
    ids=["resnet", "resnexta"],
)
def test_the_same_at_the_published_size(space, text):
    architecture = space.parse(text)
    network, cost = space.network(architecture, space.benchmark), space.cost(architecture, space.benchmark)
    assert sum(p.numel() for p in network.parameters()) == cost.parameters
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.eval()(noise(space.benchmark, count=1))
    assert counter.get_total_flops() == 2 * cost.macs


def test_a_projection_stands_only_where_width_or_stride_changes():
    def projected(text):
        blocks = [block for stage in RESNET.network(RESNET.parse(text), RESNET.benchmark).stages for block in stage]
        return [block.shortcut is not None for block in blocks]

    assert projected("d2-2-2_w16-16-16") == [False, False, True, False, True, False]
    assert projected("d2-1-1_w24-24-24") == [True, False, True, True]


def convolved(states, part, stride=1):
    """Return a convolution with batch norm, evaluated from functions."""
    conv, norm = part.conv, part.norm
    states = functional.conv2d(states, conv.weight, None, stride, conv.weight.shape[-1] // 2, groups=conv.groups)
    return functional.batch_norm(states, norm.running_mean, norm.running_var, norm.weight, norm.bias)


@pytest.mark.parametrize("space", [RESNET, RESNEXT_A, VANILLA], ids=lambda space: space.name)
def test_a_network_by_hand(space):
    network = networks.unlike_initial(space.network(some(space)[0], TINY)).double().eval()
    images = noise(TINY).double()
    stem, norm, _ = network.stem
    states = functional.conv2d(images, stem.weight, padding=1)
    states = functional.batch_norm(states, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    for number, stage in enumerate(network.stages):
        for at, block in enumerate(stage):
            stride, body = 2 if number and not at else 1, block.body
            if space.block == "bottleneck":
                inside = convolved(states, body.first).relu()
                output = convolved(convolved(inside, body.second, stride).relu(), body.third)
            else:
                output = convolved(convolved(states, body.first, stride).relu(), body.second)
            if space.block != "plain":
                output = output + (states if block.shortcut is None else convolved(states, block.shortcut, stride))
            states = output.relu()
    expected = states.mean((2, 3)) @ network.classifier.weight.T + network.classifier.bias
    torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-10)


# --- slices ---------------------------------------------------------------------------------------------------------


def test_groups_use_the_diagonal_blocks_of_the_leading_kernel():
    """Each group is computed alone, as a dense convolution of its own channels with its own rows and columns."""
    torch.manual_seed(0)
    conv = LeadingConv2d(12, 12, 3, padding=1, bias=False).double()
    states = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    parts = [
        functional.conv2d(states[:, at : at + 2], conv.weight[at : at + 2, at : at + 2], padding=1)
        for at in range(0, 8, 2)
    ]
    torch.testing.assert_close(conv(states, 8, 4), torch.cat(parts, 1))
    dense = functional.conv2d(states, conv.weight[:5, :8], padding=1)
    torch.testing.assert_close(conv(states, 5), dense)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_norm_uses_and_updates_its_leading_entries(affine, training):
    norm, own = (networks.unlike_initial(nn.Sequential(make(6, affine=affine))).train(training)[0]
                 for make in (BatchNorm2d, nn.BatchNorm2d))  # fmt: skip
    own = nn.BatchNorm2d(4, affine=affine).train(training)
    own.load_state_dict({name: value[:4] if value.ndim else value for name, value in norm.state_dict().items()})
    before = copy.deepcopy(norm.state_dict())
    states = torch.randn(3, 4, 5, 5)
    assert torch.equal(norm(states), own(states))
    for name, value in norm.state_dict().items():
        if value.ndim:
            assert torch.equal(value[:4], own.state_dict()[name])
            assert torch.equal(value[4:], before[name][4:])
        else:
            assert value == own.state_dict()[name] == int(training)


def test_a_norm_without_statistics_uses_those_of_the_batch():
    norm = BatchNorm2d(6, track_running_stats=False).eval()
    output = norm(torch.randn(3, 4, 5, 5))
    torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-6)


def cut(value, shape, groups):
    """Return the leading part of a tensor that has a shape; of a kernel in groups, the diagonal blocks of it."""
    if groups == 1:
        return value[tuple(slice(size) for size in shape)]
    rows, columns = shape[0] // groups, shape[1]
    return torch.cat([value[k * rows :][:rows, k * columns :][:, :columns] for k in range(groups)])


def standalone(net, architecture, affine):
    """Return the stand-alone network, made anew, whose weights are slices copied from a supernet's path."""
    network = NDSNetwork(net.space, architecture, net.config)
    pairs = [(network.stem, net.stem), (network.classifier, net.classifier)]
    for blocks, shared in zip(network.stages, net.stages, strict=True):
        pairs.extend((block, shared.block(architecture, at)) for at, block in enumerate(blocks))
    for own, held in pairs:
        groups = {f"{name}.weight": m.groups for name, m in own.named_modules() if isinstance(m, nn.Conv2d)}
        source = held.state_dict()
        for name, value in own.state_dict().items():
            if name in source:
                value.copy_(cut(source[name], value.shape, groups.get(name, 1)))
        unmatched = set(source) - set(own.state_dict())
        assert not unmatched, unmatched  # such as a projection that stands in one of the two only
        assert affine or not [name for name in source if name.endswith("norm.bias")]
    return network


@each_space
@pytest.mark.parametrize(("affine", "training"), [(False, True), (True, False)])
@torch.no_grad()
def test_a_path_is_the_standalone_network_of_its_slices(space, affine, training):
    """Where width or stride changes at every stage, so that both have the same projections."""
    net = supernet(space, affine=affine).train(training)
    for architecture in some(space):
        if space.stages(architecture, TINY)[0].width != TINY.channels:
            network = standalone(net, architecture, affine).train(training)
            expected = network(noise(TINY))
            torch.testing.assert_close(net(noise(TINY), architecture), expected, rtol=1e-5, atol=1e-5)


@each_space
def test_a_stage_is_a_first_block_with_a_projection_and_a_chain_of_blocks_without(space):
    for shared in supernet(space).stages:
        assert (shared.first.shortcut is None) == (space.block == "plain")
        assert len(shared.sharing.edges) == space.chain
        assert all(block.shortcut is None for held in shared.sharing.edges for block in held.values())


def test_batch_norms_of_the_stages_are_affine_only_if_asked():
    for affine in (False, True):
        net = supernet(RESNEXT_A, affine=affine)
        norms = {name: m.affine for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
        assert {on for name, on in norms.items() if name.startswith("stages.")} == {affine}
        assert norms["stem.1"]


# --- what a path runs and trains ------------------------------------------------------------------------------------


@each_space
def test_gradients_touch_the_leading_slices_of_the_path_and_nothing_else(space):
    net = supernet(space, affine=True).train()
    names = {parameter: name for name, parameter in net.named_parameters()}
    for architecture in some(space)[:4]:
        net.zero_grad(set_to_none=True)
        net(noise(TINY), architecture).square().sum().backward()
        path = {names[parameter] for parameter in net.path_parameters(architecture)}
        assert {name for parameter, name in names.items() if parameter.grad is not None} == path
        stages = space.stages(architecture, TINY)
        for shared, stage in zip(net.stages, stages, strict=True):
            for position in range(stage.depth):
                for _name, parameter in shared.block(architecture, position).named_parameters():
                    reached = parameter.grad.flatten(1).abs().sum(1) if parameter.ndim > 1 else parameter.grad
                    assert not reached[max(stage.width, stage.inner) :].any()
                last = list(shared.block(architecture, position).body.children())[-1].conv.weight.grad
                inner = stage.inner if space.block == "bottleneck" else stage.width
                assert not last[stage.width :].any()
                assert not last[:, inner:].any()
                assert last[: stage.width, :inner].any()
        width = stages[-1].width
        assert not net.classifier.weight.grad[:, width:].any()
        assert net.classifier.weight.grad[:, :width].any()


def test_a_group_trains_its_own_block_of_the_kernel():
    net = supernet(RESNEXT_A).train()
    net.zero_grad(set_to_none=True)
    architecture = RESNEXT_A.parse("d1-1-2_w64-64-256_b1-1-0.5_g1-1-4")
    net(noise(TINY), architecture).square().sum().backward()
    kernel = net.stages[2].block(architecture, 1).body.second.conv.weight.grad.abs().sum((2, 3))
    allowed = torch.block_diag(*[torch.ones(4, 4)] * 4)  # 256 * 2 / 16 = 32 channels, half of them inside
    assert (kernel[:16, :16][allowed == 1] > 0).float().mean() > 0.8
    assert not kernel[:16, :16][allowed == 0].any()
    assert not kernel[16:].any()
    assert not kernel[:, 16:].any()


@each_space
def test_path_modules_are_those_that_run_and_depth_takes_the_leading_blocks(space):
    net, ran = supernet(space), Counter()
    names = {module: name for name, module in net.named_modules()}
    for architecture in some(space):
        ran.clear()
        with torch.no_grad(), hooked(net, lambda name, _: ran.update([name])):
            net(noise(TINY, count=2), architecture)
        assert ran == Counter(names[module] for module in net.path_modules(architecture))
        positions = [{n.split(".")[4] for n in ran if n.startswith(f"stages.{s}.sharing.edges")} for s in range(3)]
        depths = [stage.depth for stage in space.stages(architecture, TINY)]
        assert positions == [{str(at) for at in range(depth - 1)} for depth in depths]


# --- many at once ---------------------------------------------------------------------------------------------------


def group_of(space, count, seed=0):
    """Return architectures with much in common, as neighbours in a sorted list have, and one that stands twice."""
    rng = np.random.default_rng(seed)
    kinds, made = len(space.grids), some(space)
    while len(made) < count:
        made.append(space.mutate(made[rng.integers(len(made))], rng, 0.15))
    cut_down = [tuple(min(o, 3) if at % kinds == kinds - 1 else o for at, o in enumerate(a)) for a in made]
    return sorted([*cut_down, cut_down[0]])


@each_space
@torch.inference_mode()
def test_many_at_once_are_the_same_numbers_as_one_by_one(space):
    group = group_of(space, 12)
    net = supernet(space).eval()
    many = net.forward_many(noise(TINY), group)
    for logits, architecture in zip(many, group, strict=True):
        assert torch.equal(logits, net(noise(TINY), architecture)), space.format(architecture)


@pytest.mark.parametrize("space", [RESNET, RESNEXT_A], ids=lambda space: space.name)
def test_scores_of_a_group_are_those_of_each_alone_in_every_mode(space, problem):
    group = group_of(space, 6)
    task = Problem(space, TINY, problem.train, problem.validation, seed=0)
    scoring = Scoring(bn=BN_MODES, batch_size=10, images=20, calibration_images=24, calibration_batch=12)
    scorer = PathScorer(supernet(space, affine=True), task, scoring)
    together = scorer.score(group)
    for row, architecture in enumerate(group):
        alone = scorer.score([architecture])
        for column, values in together.items():
            assert values[row] == alone[column][0], (column, space.format(architecture))
    assert len(set(together["neg_loss@batch"])) > 4


@torch.inference_mode()
def test_what_networks_have_in_common_is_computed_once():
    """Four networks: two widths in the last stage, and there two depths; how often each convolution ran."""
    texts = ["d2-1-1_w24-32-48", "d2-1-3_w24-32-48", "d2-1-1_w24-32-64", "d2-1-3_w24-32-64"]
    net, ran = supernet(RESNET).eval(), Counter()
    with hooked(net, lambda name, inputs: ran.update({name: len(inputs[0])})):
        net.forward_many(noise(TINY), [RESNET.parse(text) for text in texts])
    assert {name: count / 6 for name, count in ran.items() if name.endswith("body.second.conv")} == {
        "stages.0.first.body.second.conv": 1,
        "stages.0.sharing.edges.0.0.body.second.conv": 1,
        "stages.1.first.body.second.conv": 1,
        "stages.2.first.body.second.conv": 2,
        "stages.2.sharing.edges.0.0.body.second.conv": 2,
        "stages.2.sharing.edges.1.0.body.second.conv": 2,
    }
    assert ran["stem.0"] == 6


# --- CLOSE ----------------------------------------------------------------------------------------------------------


class Table(Gate):
    """Lends by a list of picks, one per position of the chain; learned: with a gradient."""

    def __init__(self, picks, level, learned):
        super().__init__()
        self.picks = picks
        self.weight = nn.Parameter(torch.zeros(len(picks), level), requires_grad=learned)

    def gates(self, architecture, level):
        hard = functional.one_hot(torch.tensor(self.picks), level)
        return hard + (self.weight - self.weight.detach())

    def blocks(self, architectures, level):
        return [tuple(self.picks) for _ in architectures]


@pytest.mark.parametrize("space", [RESNET, RESNEXT_A], ids=lambda space: space.name)
@pytest.mark.parametrize("learned", [False, True])
def test_a_closenet_lends_by_position(space, learned):
    """The table is the same in the three stages, the parameters are each stage's own; first blocks are not lent."""
    picks = [0, 2, 1, 1, *[0] * (space.chain - 4)]
    torch.manual_seed(0)
    net = CLOSENet(space, TINY, Table(picks, 3, learned), blocks=3, level=3)
    assert all(len(shared.sharing.blocks) == 3 for shared in net.net.stages)
    usual, held = space.supernet(TINY), net.net.state_dict()
    state = usual.state_dict()
    for name in state:
        stage, lent, rest = name.partition(".sharing.edges.")
        position, _, inside = rest.partition(".")
        state[name] = held[f"{stage}.sharing.blocks.{picks[int(position)]}.{inside}" if lent else name].clone()
    usual.load_state_dict(state)
    group = [
        *some(space)[:2],
        space.parse(BY_SPACE[space.name][0].replace("d2-1-4", "d4-4-8").replace("d2-1-3", "d6-4-8")),
    ]
    for architecture in group:
        assert torch.equal(net.train()(noise(TINY), architecture), usual.train()(noise(TINY), architecture))
        scored = copy.deepcopy(net).eval()
        assert torch.equal(
            scored(noise(TINY), architecture),
            scored.forward_many(noise(TINY), group[::-1])[2 - group.index(architecture)],
        )
        lent = list(scored.path_modules(architecture))
        assert len(lent) == len(set(lent))
    net.zero_grad(set_to_none=True)
    net.train()(noise(TINY), group[2]).square().sum().backward()
    assert (net.gate.weight.grad is not None) == learned
    if learned:
        deepest = max(stage.depth for stage in space.stages(group[2], TINY)) - 1
        assert net.gate.weight.grad[:deepest].abs().sum(1).gt(0).all()
        assert not net.gate.weight.grad[deepest:].any()
