"""NAS-Bench-201 networks: parity with the published costs, and a supernet's path against the stand-alone network."""

import itertools
from collections import Counter

import pytest
import torch
from networks import noise, seeded_supernet
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench201.canonical import used_edges
from supertau.search_spaces.nasbench201.cells import CONV1, CONV3, EDGES, NONE, POOL, SKIP
from supertau.search_spaces.nasbench201.network import Cell, NASBench201Network, NASBench201Supernet, Reduction
from supertau.search_spaces.space import NetworkConfig
from supertau.search_spaces.supernet import Edge, ShareByPosition, Slot, leaves

SPACE = NASBench201()
CELLS = tuple(SPACE.enumerate())
TINY = NetworkConfig(channels=4, cells=1, image_size=8, classes=10, image_channels=1)
TINY_TWO = NetworkConfig(channels=3, cells=2, image_size=9, classes=7, image_channels=3)

NOTHING = (NONE,) * 6
BY_NAME = {
    "nothing": NOTHING,
    "all conv3": (CONV3,) * 6,
    "all conv1": (CONV1,) * 6,
    "all skip": (SKIP,) * 6,
    "all pool": (POOL,) * 6,
    "one conv": (NONE, NONE, NONE, CONV3, NONE, NONE),
    "dead end": (CONV3, SKIP, NONE, SKIP, NONE, NONE),  # node 1 and 2 lead nowhere
    "dead start": (NONE, SKIP, CONV1, NONE, CONV3, CONV1),  # node 1 is zero, and convolutions start there
    "dead start pooled": (NONE, POOL, POOL, NONE, SKIP, CONV1),
    "dead middle": (NONE, NONE, CONV3, CONV1, NONE, CONV3),  # node 2 is computed from zeros
    "disconnected": (NONE, NONE, NONE, NONE, CONV3, CONV1),  # convolutions of zeros
    "disconnected, deep": (NONE, NONE, CONV1, NONE, POOL, CONV3),
    "disconnected, no way out": (CONV3, CONV1, SKIP, NONE, NONE, NONE),
}
SAMPLE = [*BY_NAME.values(), *CELLS[::781]]
DISCONNECTED = [cell for cell in CELLS if not SPACE.is_connected(cell)]


extract = NASBench201Network.extract


def supernet(config=TINY, affine=False, seed=0):
    return seeded_supernet(SPACE, config, affine, seed)


# --- published costs ------------------------------------------------------------------------------------------------


def test_parameters_of_all_cells_follow_the_published_formula():
    for cell in CELLS:
        counted = 73_306 + 243_040 * cell.count(CONV3) + 28_000 * cell.count(CONV1)
        assert SPACE.cost(cell, NetworkConfig()).parameters == counted


def test_macs_of_the_smallest_and_the_largest_cell():
    macs = {cell: SPACE.cost(cell, NetworkConfig()).macs for cell in CELLS}
    assert round(min(macs.values()) / 1e6, 2) == 7.78
    assert round(max(macs.values()) / 1e6, 2) == 220.12
    assert macs[NOTHING] == min(macs.values())
    assert macs[BY_NAME["all conv3"]] == max(macs.values())


IMAGENET16 = {"classes": 120, "image_size": 16}


@pytest.mark.parametrize(
    ("index", "size", "parameters", "flops"),
    [  # what the benchmark's own records say, in millions (NATS-tss-v1_0-3ffb9)
        (0, {}, 0.129306, 15.64737),
        (11, {}, 0.802426, 113.95137),
        (284, {}, 0.101306, 11.71521),
        (0, {"classes": 100}, 0.135156, 15.65322),
        (11, {"classes": 100}, 0.808276, 113.95722),
        (284, {"classes": 100}, 0.107156, 11.72106),
        (0, IMAGENET16, 0.136456, 3.91948),
        (11, IMAGENET16, 0.809576, 28.49548),
        (284, IMAGENET16, 0.108456, 2.93644),
    ],
)
def test_costs_are_those_of_the_official_records(index, size, parameters, flops):
    """The benchmark counts, beside multiply-accumulates, the additions of the classifier's bias."""
    config = NetworkConfig(**size)
    cost = SPACE.cost(CELLS[index], config)
    assert cost.parameters == round(parameters * 1e6)
    assert cost.macs + config.classes == round(flops * 1e6)


CONFIGS = [
    NetworkConfig(),
    TINY,
    TINY_TWO,
    NetworkConfig(channels=8, cells=3, image_size=16, classes=100, image_channels=1),
    NetworkConfig(channels=1, cells=1, image_size=5, classes=2, image_channels=2),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"C{c.channels}N{c.cells}S{c.image_size}")
def test_modules_hold_the_parameters_that_cost_says(config):
    for cell in [*BY_NAME.values(), *CELLS[::1301]]:
        network = SPACE.network(cell, config)
        assert sum(p.numel() for p in network.parameters()) == SPACE.cost(cell, config).parameters


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"C{c.channels}N{c.cells}S{c.image_size}")
def test_macs_are_those_that_torch_counts(config, torch_pools):
    """Torch counts two operations per multiply-accumulate of convolutions and classifier, and no pooling.

    Compared where every operation of the cell leads to the output: cost counts the others too, and they do not run.
    """
    cells = [cell for cell in SAMPLE if len(used_edges(cell)) == 6 - cell.count(NONE)]
    assert len(cells) > 12
    for cell in cells[:3] if config == NetworkConfig() else cells[::3]:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            SPACE.network(cell, config).eval()(noise(config, count=1))
        assert counter.get_total_flops() == 2 * SPACE.cost(cell, config).macs


def test_operations_that_lead_nowhere_are_counted_but_not_run(torch_pools):
    cell = BY_NAME["dead end"]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        SPACE.network(cell, TINY).eval()(noise(TINY, count=1))
    without = SPACE.cost((NONE, *cell[1:]), TINY).macs
    assert counter.get_total_flops() == 2 * without < 2 * SPACE.cost(cell, TINY).macs


def test_a_supernet_holds_every_option_once():
    for config, affine in ((TINY, False), (TINY, True), (TINY_TWO, True)):
        held = sum(p.numel() for p in SPACE.supernet(config, affine=affine).parameters())
        empty = SPACE.cost(NOTHING, config).parameters
        per_edge = SPACE.cost((CONV3, CONV1, *NOTHING[2:]), config).parameters - empty
        if not affine:
            per_edge -= 2 * 2 * config.cells * 7 * config.channels  # weight and bias of two batch norms, 1+2+4 widths
        assert held == empty + 6 * per_edge


@pytest.mark.parametrize("name", ["channels", "cells", "image_size", "classes", "image_channels"])
def test_a_network_without_size_is_refused(name):
    with pytest.raises(SupertauError, match=f"network {name} must be at least 1, got 0"):
        NetworkConfig(**{name: 0})


@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 8, 15])
def test_any_image_size_runs(side):
    config = NetworkConfig(channels=2, cells=1, image_size=side, classes=3, image_channels=1)
    for cell in (BY_NAME["all conv3"], BY_NAME["all pool"], NOTHING):
        for training in (False, True):
            logits = SPACE.network(cell, config).train(training)(noise(config))
            assert logits.shape == (6, 3)
            assert torch.isfinite(logits).all()


# --- structure ------------------------------------------------------------------------------------------------------


def test_skeleton_is_the_published_one():
    body = SPACE.supernet(NetworkConfig(cells=2, image_size=32))
    assert [type(layer) for layer in body.layers] == [Cell, Cell, Reduction, Cell, Cell, Reduction, Cell, Cell]
    shapes = []
    for layer in body.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    body(noise(body.config, count=1).expand(2, -1, -1, -1), BY_NAME["all conv3"])
    sides = {16: (16, 32, 32), 32: (32, 16, 16), 64: (64, 8, 8)}
    assert shapes == [sides[width] for width in (16, 16, 32, 32, 32, 64, 64, 64)]


def test_head_and_stem_by_hand():
    """With a cell of skips the network is stem, doublings, two reductions and head; computed here from functions."""
    made = supernet(TINY).double().eval()
    images = noise(TINY).double()

    def norm(state, module):
        return functional.batch_norm(state, module.running_mean, module.running_var, module.weight, module.bias)

    state = norm(functional.conv2d(images, made.stem[0].weight, padding=1), made.stem[1])
    for layer in made.layers:
        if isinstance(layer, Cell):
            state = 4 * state  # a skip from the input, and one from each of two nodes that hold 1 and 2 inputs
        else:
            first = norm(functional.conv2d(state.relu(), layer.first[1].weight, stride=2, padding=1), layer.first[2])
            second = norm(functional.conv2d(first.relu(), layer.second[1].weight, padding=1), layer.second[2])
            state = second + functional.conv2d(functional.avg_pool2d(state, 2), layer.shortcut[1].weight)
    features = norm(state, made.head[0]).relu().mean((2, 3))
    expected = features @ made.classifier.weight.T + made.classifier.bias
    torch.testing.assert_close(made(images, BY_NAME["all skip"]), expected, rtol=0, atol=1e-10)


def test_pooling_does_not_count_the_padding():
    images = torch.ones(1, 4, 5, 5)
    pooled = Cell(ShareByPosition([Slot((POOL,))] * 6, lambda *_: nn.AvgPool2d(3, 1, 1, count_include_pad=False)))
    torch.testing.assert_close(pooled(images, (NONE, NONE, NONE, POOL, NONE, NONE)), images)
    made = next(m for m in SPACE.supernet(TINY).modules() if isinstance(m, nn.AvgPool2d))
    torch.testing.assert_close(made(images), images)


class NaiveCell(nn.Module):
    """Computes every edge of a cell in the order of the text form, dead ones too, `none` as an explicit zero."""

    def __init__(self, sharing):
        super().__init__()
        self.sharing = sharing

    def forward(self, images, architecture):
        nodes = [images]
        for node in range(1, 4):
            state = torch.zeros_like(images)
            for edge, (source, target) in enumerate(EDGES):
                if target == node:
                    dead = architecture[edge] == NONE
                    operation = (
                        None if dead else self.sharing.operation(architecture, Edge(edge, edge, architecture[edge]))
                    )
                    state = state + (0 * nodes[source] if operation is None else operation(nodes[source]))
            nodes.append(state)
        return nodes[3]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_skipping_what_leads_nowhere_does_not_change_the_output(affine, training):
    body = supernet(TINY, affine).train(training)
    cell = body.layers[0]
    naive = NaiveCell(cell.sharing)
    images = torch.randn(4, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for architecture in [*SAMPLE, *DISCONNECTED[::11]]:
            torch.testing.assert_close(
                cell(images, architecture), naive(images, architecture), rtol=1e-6, atol=1e-6, msg=str(architecture)
            )


def test_a_convolution_of_zeros_is_not_zero():
    """Why a zero node is computed from instead of left out: batch norm has a bias, or inherited statistics."""
    cell = supernet(TINY).eval().layers[0]
    output = cell(torch.randn(1, 4, 6, 6), BY_NAME["disconnected"])
    assert output.abs().max() > 0.1


# --- a path of the supernet against the stand-alone network ---------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, TINY_TWO], ids=["grey", "colour"])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_path_gives_exactly_the_logits_of_the_standalone_network_with_its_weights(config, affine, training):
    body = supernet(config, affine).train(training)
    images = noise(config)
    seen = set()
    with torch.no_grad():
        for architecture in SAMPLE:
            network = extract(body, architecture, affine=affine).train(training)
            logits = body(images, architecture)
            assert torch.equal(logits, network(images)), architecture
            seen.add(tuple(logits.flatten().tolist()))
    assert len(seen) > 20  # the cells do differ


def test_extract_copies():
    body = supernet(TINY).eval()
    network = extract(body, BY_NAME["all conv3"]).eval()
    before = network(noise(TINY))
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.zero_()
    assert torch.equal(network(noise(TINY)), before)


def test_extracted_network_holds_nothing_but_its_path():
    body = supernet(TINY, affine=True)
    for architecture in (BY_NAME["all conv3"], BY_NAME["dead start"], *CELLS[::2003]):
        network = extract(body, architecture, affine=True)
        assert sum(p.numel() for p in network.parameters()) == SPACE.cost(architecture, TINY).parameters


def test_extract_with_the_wrong_affine_is_refused():
    with pytest.raises(KeyError, match=r"edges\.0\.3\.2\.weight"):
        extract(supernet(TINY, affine=False), BY_NAME["all conv3"], affine=True)


def test_network_of_an_invalid_cell_is_refused():
    with pytest.raises(SupertauError, match="expected 0 to 4"):
        SPACE.network((5, 0, 0, 0, 0, 0), TINY)


# --- what a path runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, TINY_TWO], ids=["one cell", "two cells"])
def test_path_modules_are_those_that_run(config):
    body = supernet(config, affine=True)
    names = {module: name for name, module in body.named_modules()}
    ran = Counter()
    for leaf in leaves(body):
        leaf.register_forward_hook(lambda module, _inputs, _output: ran.update([names[module]]))
    with torch.no_grad():
        for architecture in SAMPLE:
            ran.clear()
            body(noise(config, count=2), architecture)
            assert ran == Counter(names[module] for module in body.path_modules(architecture)), architecture
            assert set(ran.values()) == {1}


@pytest.mark.parametrize("affine", [False, True])
def test_path_parameters_and_no_others_get_gradients(affine):
    body = supernet(TINY_TWO, affine)
    names = {parameter: name for name, parameter in body.named_parameters()}
    for architecture in [cell for cell in SAMPLE if SPACE.is_connected(cell)]:
        body.zero_grad(set_to_none=True)
        body(noise(TINY_TWO), architecture).square().sum().backward()
        path = [names[parameter] for parameter in body.path_parameters(architecture)]
        assert len(path) == len(set(path))
        assert {name for parameter, name in names.items() if parameter.grad is not None} == set(path), architecture


def test_a_disconnected_path_trains_only_what_follows_its_last_cell():
    body = supernet(TINY, affine=True)
    names = {parameter: name for name, parameter in body.named_parameters()}
    for architecture, last in (
        (NOTHING, set()),
        (BY_NAME["disconnected, no way out"], set()),
        (BY_NAME["disconnected"], {"4.3", "5.2"}),
    ):
        body.zero_grad(set_to_none=True)
        body(noise(TINY), architecture).square().sum().backward()
        moved = {name for parameter, name in names.items() if parameter.grad is not None}
        cell = {n for n in names.values() if any(n.startswith(f"layers.4.sharing.edges.{o}.") for o in last)}
        assert moved == cell | {n for n in names.values() if n.startswith(("head.", "classifier."))}
        assert moved <= {names[parameter] for parameter in body.path_parameters(architecture)}


# --- disconnected cells ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_output_of_a_disconnected_cell_does_not_depend_on_the_image(affine, training):
    body = supernet(TINY, affine).train(training)
    assert len(DISCONNECTED) == 341
    with torch.no_grad():
        for architecture in [NOTHING, *DISCONNECTED[::7]]:
            one, two = body(noise(TINY, 1), architecture), body(100 * noise(TINY, 2), architecture)
            torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
            torch.testing.assert_close(one, one[:1].expand_as(one), rtol=0, atol=1e-6)


def test_output_of_a_connected_cell_depends_on_the_image():
    body = supernet(TINY).double().eval()
    with torch.no_grad():
        for architecture in [cell for cell in SAMPLE if SPACE.is_connected(cell)]:
            logits = body(noise(TINY).double(), architecture)
            assert (logits - logits[:1]).abs().max() > 1e-6, architecture


def test_the_empty_cell_is_a_classifier_without_an_image():
    """Zeros enter the head: logits follow from its statistics and the classifier alone."""
    body = supernet(TINY).eval()
    norm = body.head[0]
    constant = (norm.bias - norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()).relu()
    expected = body.classifier(constant)
    torch.testing.assert_close(body(noise(TINY), NOTHING), expected.expand(6, -1))


# --- sharing --------------------------------------------------------------------------------------------------------


def test_every_edge_of_every_cell_owns_its_weights():
    body = supernet(TINY_TWO)
    cells = [layer for layer in body.layers if isinstance(layer, Cell)]
    full = [(option,) * 6 for option in (CONV1, CONV3)]
    held = [
        cell.sharing.operation(whole, Edge(edge, edge, whole[edge]))
        for cell in cells
        for edge in range(6)
        for whole in full
    ]
    assert len({id(module) for module in held}) == 6 * 6 * 2


def test_another_sharing_scheme_fits_the_same_network():
    """Two edges that lend the same module: the network code does not change, only who owns the weights."""

    class ShareByOption(ShareByPosition):
        def __init__(self, slots, make):
            super().__init__(slots[:1], make)

        def operation(self, architecture, edge):
            return self.edges[0][str(edge.option)]

    body = NASBench201Supernet(TINY, sharing=ShareByOption)
    kept = SPACE.supernet(TINY)
    empty = SPACE.cost(NOTHING, TINY).parameters
    cell_weights, shared = (sum(p.numel() for p in net.parameters()) - empty for net in (kept, body))
    assert cell_weights == 6 * shared
    assert body(noise(TINY), BY_NAME["all conv3"]).shape == (6, 10)
    once = list(body.path_modules(BY_NAME["all conv3"]))
    assert len(once) == len(set(once))


# --- several cells at once ------------------------------------------------------------------------------------------


def test_many_cells_at_once_give_the_logits_of_each_alone():
    body = supernet(TINY_TWO, affine=True).eval()
    architectures = [*SAMPLE, *DISCONNECTED, NOTHING, SAMPLE[0]]
    images = noise(TINY_TWO)
    with torch.no_grad():
        together = body.forward_many(images, architectures)
        for logits, architecture in zip(together, architectures, strict=True):
            torch.testing.assert_close(logits, body(images, architecture), rtol=1e-5, atol=1e-5)


def test_what_cells_have_in_common_is_computed_once():
    """All 125 cells with the same first three operations: the first cell runs each distinct operation once."""
    body = supernet(TINY)
    rows = []
    for layer in body.layers[0].sharing.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0]) // 6))
    cells = [(CONV3, CONV3, CONV3, *rest) for rest in itertools.product((SKIP, CONV1, CONV3), repeat=3)]
    with torch.no_grad():
        body.forward_many(noise(TINY), cells)
    # Node 1: one; node 2: two; node 3: two convolutions on each of three edges.
    assert rows == [1] * 9
