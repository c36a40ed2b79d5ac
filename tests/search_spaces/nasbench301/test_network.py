"""Networks of DARTS cells: costs, a supernet's path against the stand-alone network, several at once, CLOSENet."""

import dataclasses
from collections import Counter
from functools import partial

import networks
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from supertau.estimators.training.scoring import BN_MODES, PathScorer, Scoring
from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.glow import CLOSENet, Gate, GlowBlocks
from supertau.search_spaces.nasbench301.genotype import AVG_POOL, DIL5, MAX_POOL, NORMAL, REDUCE, SEP3, SEP5, SKIP
from supertau.search_spaces.nasbench301.network import (
    Cell,
    DARTSNetwork,
    DARTSSupernet,
    FactorizedReduce,
    cell_edges,
    make_operation,
    used_slots,
)
from supertau.search_spaces.nasbench301.space import DARTS
from supertau.search_spaces.space import NetworkConfig
from supertau.search_spaces.supernet import Edge, ShareByPosition, leaves

SPACE = DARTS()
TINY = NetworkConfig(channels=2, cells=1, image_size=8, classes=10, image_channels=1)
ODD = NetworkConfig(channels=2, cells=1, image_size=7, classes=5, image_channels=3)


def drawn(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def every(option):
    """Return the architecture with one operation everywhere and each node on the two before it."""
    return (0, option, option, 2, option, option, 5, option, option, 9, option, option) * 2


SAMPLE = [*(every(option) for option in range(7)), *drawn(8)]


extract, noise = DARTSNetwork.extract, partial(networks.noise, count=4)


def supernet(config=TINY, affine=False, seed=0):
    return networks.seeded_supernet(SPACE, config, affine, seed)


# --- costs and sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, ODD, NetworkConfig(channels=4, cells=1, image_size=1)], ids=["8", "7", "1"])
def test_cost_is_what_modules_hold_and_torch_counts(config, torch_pools):
    """Torch counts two operations per multiply-accumulate, and no pooling."""
    for architecture in SAMPLE[3::4]:
        network = SPACE.network(architecture, config).eval()
        cost = SPACE.cost(architecture, config)
        assert sum(p.numel() for p in network.parameters()) == cost.parameters
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network(noise(config, count=1))
        assert counter.get_total_flops() == 2 * cost.macs


@pytest.mark.parametrize("side", [1, 2, 3, 5])
def test_any_image_size_runs(side):
    config = dataclasses.replace(TINY, image_size=side)
    body = supernet(config)
    for training in (False, True):
        body.train(training)
        for architecture in SAMPLE[:7:2]:
            logits = body(noise(config), architecture)
            assert logits.shape == (4, 10)
            assert torch.isfinite(logits).all()


@pytest.mark.parametrize("cells", [1, 2])
def test_skeleton_is_the_published_one(cells):
    """Reductions at L // 3 and 2 L // 3; widths and sides of what cells hand on."""
    config = NetworkConfig(channels=2, cells=cells, image_size=9)
    body = supernet(config)
    count = 3 * cells + 2
    assert [cell.kind for cell in body.cells] == [
        REDUCE if at in (count // 3, 2 * count // 3) else NORMAL for at in range(count)
    ]
    shapes = []
    for cell in body.cells:
        cell.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    body(noise(config), every(SEP3))
    n = cells
    assert shapes == [(8, 9, 9)] * n + [(16, 5, 5)] * (n + 1) + [(32, 3, 3)] * (n + 1)
    assert [isinstance(cell.project[0], FactorizedReduce) for cell in body.cells] == [
        at > 0 and body.cells[at - 1].kind == REDUCE for at in range(count)
    ]


# --- operations by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [4, 5])
def test_factorized_reduction_by_hand(side):
    """Even pixels to the first half of the channels, odd ones to the second, zero beyond the edge."""
    torch.manual_seed(0)
    module = FactorizedReduce(3, 4).double().eval()
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    odd = torch.zeros(2, 3, side + side % 2, side + side % 2, dtype=torch.float64)
    odd[:, :, :side, :side] = images.relu()
    even = torch.einsum("oc,bcij->boij", module.even.weight[:, :, 0, 0], images.relu()[:, :, ::2, ::2])
    shifted = torch.einsum("oc,bcij->boij", module.odd.weight[:, :, 0, 0], odd[:, :, 1::2, 1::2])
    expected = torch.cat([even, shifted], 1) / (1 + module.norm.eps) ** 0.5
    torch.testing.assert_close(module(images), expected)


def convolutions(module):
    return [
        (m.kernel_size[0], m.stride[0], m.dilation[0], m.groups) for m in module.modules() if isinstance(m, nn.Conv2d)
    ]


def test_convolutions_of_operations():
    assert convolutions(make_operation(SEP5, 6, 2, affine=True)) == [
        (5, 2, 1, 6),
        (1, 1, 1, 1),
        (5, 1, 1, 6),
        (1, 1, 1, 1),
    ]
    assert convolutions(make_operation(DIL5, 6, 2, affine=True)) == [(5, 2, 2, 6), (1, 1, 1, 1)]
    kinds = [type(m).__name__ for m in make_operation(SEP3, 6, 1, affine=True)]
    assert kinds == ["ReLU", "Conv2d", "PointwiseConv2d", "BatchNorm2d"] * 2
    assert isinstance(make_operation(SKIP, 6, 1, affine=True), nn.Identity)
    ones = torch.ones(1, 2, 5, 5)
    for stride in (1, 2):  # padding does not count
        assert torch.equal(make_operation(AVG_POOL, 2, stride, affine=True)(ones), ones[:, :, ::stride, ::stride])
        assert torch.equal(make_operation(MAX_POOL, 2, stride, affine=True)(-ones), -ones[:, :, ::stride, ::stride])


def test_a_normal_cell_by_hand():
    """Nodes of skips and poolings, from functions: 2 = s0 + s1, 3 = s0 + max(2), 4 = avg(s1) + 2, 5 = 3 + 4."""
    architecture = (0, 2, 2, 1, 2, 0, 3, 1, 2, 9, 2, 2, *every(SKIP)[12:])
    cell = supernet(dataclasses.replace(ODD, cells=2)).eval().cells[1]
    before, last = (torch.randn(2, channels, 5, 5) for channels in (6, 8))
    one, two = (project(state) for project, state in zip(cell.project, (before, last), strict=True))
    nodes = [one + two]
    nodes.append(one + functional.max_pool2d(nodes[0], 3, 1, 1))
    nodes.append(functional.avg_pool2d(two, 3, 1, 1, count_include_pad=False) + nodes[0])
    nodes.append(nodes[1] + nodes[2])
    torch.testing.assert_close(cell(before, last, architecture), torch.cat(nodes, 1))


# --- a path of the supernet against the stand-alone network ---------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("affine", [False, True])
def test_a_path_gives_exactly_the_logits_of_the_standalone_network_with_its_weights(config, affine):
    body = supernet(config, affine)
    seen = set()
    with torch.no_grad():
        for architecture in SAMPLE[3::4]:
            network = extract(body, architecture, affine=affine)
            if affine:
                held = sum(p.numel() for p in network.parameters())
                assert held == SPACE.cost(architecture, config).parameters
            for training in (False, True):
                body.train(training)
                logits = body(noise(config), architecture)
                assert torch.equal(logits, network.train(training)(noise(config))), architecture
                seen.add(tuple(logits.flatten().tolist()))
    assert len(seen) == 2 * len(SAMPLE[3::4])


def test_network_of_an_invalid_encoding_is_refused():
    with pytest.raises(InvalidArchitecture, match="expected 0 to 6"):
        SPACE.network((0, 7, *SAMPLE[0][2:]), TINY)


def test_path_modules_are_those_that_run_and_their_parameters_alone_get_gradients():
    body = supernet(ODD, affine=True)
    names = {module: name for name, module in body.named_modules()}
    ran = Counter()
    for leaf in leaves(body):
        leaf.register_forward_hook(lambda module, _inputs, _output: ran.update([names[module]]))
    for architecture in SAMPLE[1::4]:
        ran.clear()
        body.zero_grad(set_to_none=True)
        body(noise(ODD), architecture).square().sum().backward()
        assert ran == Counter(names[module] for module in body.path_modules(architecture))
        assert set(ran.values()) == {1}
        path = body.path_parameters(architecture)
        assert {id(p) for p in body.parameters() if p.grad is not None} == {id(p) for p in path}
        assert len({id(p) for p in path}) == len(path)


def test_disjoint_pairs_share_no_module_of_an_operation():
    body = supernet(TINY)
    rng = np.random.default_rng(0)
    for _ in range(5):
        held = [
            {
                cell.sharing.operation(architecture, edge)
                for cell in body.cells
                for entering in cell_edges(architecture)[cell.kind]
                for edge, _ in entering
            }
            for architecture in SPACE.disjoint_pair(rng)
        ]
        assert [len(modules) for modules in held] == [5 * 8] * 2
        assert not held[0] & held[1]


def test_slots_of_one_architecture():
    for architecture in drawn(10):
        for kind, slots in enumerate(used_slots(architecture)):
            assert [slot.form for slot in slots] == ([1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0] if kind else [0] * 14)
            assert sum(len(slot.options) for slot in slots) == 8


# --- several at once ------------------------------------------------------------------------------------------------


def relatives():
    rng = np.random.default_rng(1)
    return [a for first in SAMPLE[2::3] for a in (first, SPACE.mutate(first, rng, 0.1), first)]


@pytest.mark.parametrize("config", [TINY, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("count", [16, 9])
def test_many_at_once_give_the_logits_of_each_alone(config, count):
    """Exactly, where the images fill whole blocks of torch's matrix products; else its rounding depends on company."""
    body = supernet(config, affine=True).eval()
    images = noise(config, count=count).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        together = body.forward_many(images, relatives())
        for logits, architecture in zip(together, relatives(), strict=True):
            alone = body(images, architecture)
            torch.testing.assert_close(logits, alone, rtol=1e-5, atol=1e-6)
            assert torch.equal(logits, alone) or count % 16, architecture


def test_scores_do_not_depend_on_company(problem):
    of_space = dataclasses.replace(problem, space=SPACE, network=TINY)
    scoring = Scoring(bn=BN_MODES, batch_size=40, images=80, calibration_images=60, calibration_batch=30)
    scorer = PathScorer(supernet(TINY), of_space, scoring)
    listed = relatives()[4:13]
    together = scorer.score(listed)
    alone = [scorer.score([architecture]) for architecture in listed[::4]]
    assert set(together) == set(scoring.columns())
    for name, values in together.items():
        assert values[::4].tolist() == [float(score[name][0]) for score in alone], name
    assert len(set(together["neg_loss@batch"].tolist())) > 4
    assert together["neg_loss@batch"].tolist() != together["neg_loss@recalibrated"].tolist()


def test_what_architectures_have_in_common_is_computed_once():
    """Normal cells that differ in the last node: the first layer runs the others once, by rows of convolutions."""
    body = supernet(TINY)
    rows = Counter()
    for name, module in body.cells[0].named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, inputs, _o, name=name: rows.update({name: len(inputs[0]) // 4}))
    first = every(SEP3)
    with torch.no_grad():
        body.forward_many(noise(TINY), [(*first[:10], low, high, *first[12:]) for low in (3, 5) for high in (3, 4)])
    # 2 projections; sep_conv_3x3 on each of 8 edges, dil_conv_3x3 and sep_conv_5x5 on the last node's.
    assert sum(rows.values()) == 2 + 8 * 4 + 2 + 4
    assert set(rows.values()) == {1}


# --- sharing --------------------------------------------------------------------------------------------------------


def test_every_slot_of_every_cell_owns_its_operations():
    body = supernet(TINY)
    held = [m for cell in body.cells for slot in cell.sharing.edges for m in slot.values()]
    assert len(set(held)) == len(held) == 5 * 14 * 7
    assert all(isinstance(cell, Cell) and isinstance(cell.sharing, ShareByPosition) for cell in body.cells)


def test_a_scheme_may_lend_one_module_to_several_edges():
    class ByOption(ShareByPosition):
        def __init__(self, slots, make):
            super().__init__(slots, make)
            self.forms = [slot.form for slot in slots]

        def operation(self, architecture, edge):
            slot = self.forms.index(self.forms[edge.slot])
            return self.edges[slot][str(edge.option)]

    body = DARTSSupernet(TINY, sharing=ByOption).eval()
    once = list(body.path_modules(every(SEP3)))
    assert len(once) == len(set(once))
    with torch.inference_mode():
        assert torch.equal(body.forward_many(noise(TINY), [every(SEP3)])[0], body(noise(TINY), every(SEP3)))


class Table(Gate):
    """Lends by a list of picks, with a gradient for every block of every edge."""

    def __init__(self, picks):
        super().__init__()
        self.picks = picks
        self.weight = nn.Parameter(torch.zeros(len(picks), 3))

    def gates(self, architecture, level):
        hard = functional.one_hot(torch.tensor(self.picks), 3)[:, :level]
        return hard + (self.weight - self.weight.detach())[:, :level]

    def blocks(self, architectures, level):
        return [tuple(self.picks) for _ in architectures]


def test_closenet_has_two_lists_in_reduction_cells_that_share_the_gates_index():
    picks = (0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 1, 1, 0, 2, 1, 0)
    torch.manual_seed(0)
    net = CLOSENet(SPACE, TINY, Table(picks), blocks=3, level=3).eval()
    glow = [module for module in net.modules() if isinstance(module, GlowBlocks)]
    assert len(glow) == 5
    plain = {"3", "4", "5", "6"}  # skips and poolings of stride 1 have no parameters
    strided = {"2_1", "3_1", "4_1", "5_1", "6_1"}
    for cell, blocks in zip(net.net.cells, glow, strict=True):
        assert [set(block) for block in blocks.blocks] == [plain | strided if cell.kind == REDUCE else plain] * 3
        assert set(blocks.weightless) == ({"0", "1", "2", "0_1", "1_1"} if cell.kind == REDUCE else {"0", "1", "2"})
    for architecture in (every(SEP3), SAMPLE[-1]):
        with torch.inference_mode():
            many = net.forward_many(noise(TINY), [architecture, every(SKIP)])
            assert torch.equal(many[0], net(noise(TINY), architecture))
    reduction = glow[1]
    for edge, source in (e for entering in cell_edges(every(SEP3))[REDUCE] for e in entering):
        form = "3_1" if source < 2 else "3"
        assert reduction.operation(every(SEP3), edge) is reduction.blocks[picks[edge.number]][form]
    assert Edge(8, 0, SEP3) == cell_edges(every(SEP3))[REDUCE][0][0][0]


def test_a_training_step_of_closenet_computes_the_picked_blocks_and_teaches_the_gate():
    torch.manual_seed(0)
    net = CLOSENet(SPACE, TINY, Table((0, 1) * 8), blocks=3, level=2).train()
    scored = CLOSENet(SPACE, TINY, Table((0, 1) * 8), blocks=3, level=2).train()
    scored.load_state_dict(net.state_dict())
    scored._assign([every(SEP3)])
    logits = net(noise(TINY), every(SEP3))
    assert torch.equal(logits, scored.net(noise(TINY), every(SEP3)))
    logits.square().sum().backward()
    gradient = net.gate.weight.grad
    assert (gradient[:, :2].abs() > 0).all()
    assert (gradient[:, 2] == 0).all()
