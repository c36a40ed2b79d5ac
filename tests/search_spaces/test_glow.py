"""GLOW blocks and CLOSENet: who owns parameters, what a training step computes, inheritance, what scoring runs."""

import copy

import pytest
import torch
from torch import nn

from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.glow import Assignment, CLOSENet, Gate, GlowBlocks, Lent, SeededDropout
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench201.canonical import used_edges
from supertau.search_spaces.nasbench201.network import Cell
from supertau.search_spaces.space import NetworkConfig
from supertau.search_spaces.supernet import Edge, Slot

SPACE = NASBench201()
TINY = NetworkConfig(channels=4, cells=1, image_size=8, classes=10, image_channels=1)
NONE, SKIP, CONV1, CONV3, POOL = range(5)
MIXED = (CONV3, CONV1, CONV3, CONV3, POOL, CONV1)


class Table(Gate):
    """Lends by a list of picks, and has a gradient for every block of every edge."""

    def __init__(self, picks, blocks=4, learned=True):
        super().__init__()
        self.picks, self.asked = picks, []
        self.weight = nn.Parameter(torch.zeros(len(picks), blocks, dtype=torch.float64), requires_grad=learned)
        self.inherited = []

    def gates(self, architecture, level):
        self.asked.append(level)
        hard = nn.functional.one_hot(torch.tensor(self.picks), level)
        return hard + (self.weight[:, :level] - self.weight[:, :level].detach()).to(torch.get_default_dtype())

    def blocks(self, architectures, level):
        return [tuple(self.picks) for _ in architectures]

    def inherit(self, block, source, wit):
        self.inherited.append((block, wit))


def closenet(picks=(0, 2, 1, 3, 3, 0), level=4, seed=0, learned=True, **settings):
    torch.manual_seed(seed)
    return CLOSENet(SPACE, TINY, Table(picks, learned=learned), blocks=4, level=level, **settings)


def images(rows=6, seed=1):
    return torch.randn(rows, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def glow(net):
    return [module for module in net.modules() if isinstance(module, GlowBlocks)]


def by_position(net, picks):
    """Return the usual supernet whose edges hold copies of the parameters of the picked blocks."""
    held = net.net.state_dict()
    usual = SPACE.supernet(TINY)
    state = usual.state_dict()
    for name in state:
        if ".sharing.edges." in name:
            layer, edge, rest = name.split(".sharing.edges.")[0], *name.split(".sharing.edges.")[1].split(".", 1)
            state[name] = held[f"{layer}.sharing.blocks.{picks[int(edge)]}.{rest}"].clone()
        else:
            state[name] = held[name].clone()
    usual.load_state_dict(state)
    return usual


# --- who owns what --------------------------------------------------------------------------------------------------


def weights_of_operations(net):
    return sum(p.numel() for cell in net.modules() if isinstance(cell, Cell) for p in cell.parameters())


def test_parameters_of_blocks_at_the_published_size():
    """The usual network owns six sets of convolutions per cell, a CLOSENet as many as it has blocks."""
    size = NetworkConfig()
    convolutions = 5 * sum((9 + 1) * width**2 for width in (16, 32, 64))
    assert weights_of_operations(SPACE.supernet(size)) == 6 * convolutions == 1_612_800
    for blocks in (1, 4):
        net = CLOSENet(SPACE, size, Table((0,) * 6), blocks=blocks)
        assert weights_of_operations(net) == blocks * convolutions
        assert len(glow(net)) == 15
    assert 4 * convolutions == 1_075_200


def test_one_block_serves_all_edges_of_its_cell_and_no_other_cell():
    net = CLOSENet(SPACE, TINY, Table((0,) * 6), blocks=1)
    cells = glow(net)
    net._assign([(CONV3,) * 6])
    lent = [{cell.operation((CONV3,) * 6, Edge(edge, edge, CONV3)) for edge in range(6)} for cell in cells]
    assert [len(modules) for modules in lent] == [1, 1, 1]
    assert len(set.union(*lent)) == 3


def test_operations_without_parameters_are_held_once():
    net = closenet()
    assert all(list(cell.weightless) == [str(SKIP), str(POOL)] for cell in glow(net))
    assert all(list(block) == [str(CONV1), str(CONV3)] for cell in glow(net) for block in cell.blocks)
    assert all(len(cell.blocks) == 4 for cell in glow(net))


def test_blocks_start_from_values_of_their_own():
    first, second = (glow(closenet())[0].blocks[k][str(CONV3)][1].weight for k in (0, 1))
    assert not torch.equal(first, second)


# --- a training step ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_a_step_computes_exactly_the_picked_blocks(plain, learned):
    picks = (0, 2, 1, 3, 3, 0)
    net = closenet(picks, plain=plain, learned=learned).train()
    usual = by_position(net, picks).train()
    assert torch.equal(net(images(), MIXED), usual(images(), MIXED))
    assert net.picks == picks
    other = by_position(net, (2, 0, 1, 3, 3, 0)).train()
    assert not torch.allclose(net(images(), MIXED), other(images(), MIXED))


class Scale(nn.Module):
    """x -> weight * x, the simplest operation."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, dtype=torch.float64))

    def forward(self, state):
        return self.weight * state


@pytest.mark.parametrize("plain", [False, True])
def test_gradients_of_an_edge_by_hand(plain):
    """d/d gate_k = <gradient, block_k(x)> for active blocks; the picked block gets the whole gradient."""
    torch.manual_seed(3)
    assignment = Assignment(level=3)
    cell = GlowBlocks([Slot((0,))], lambda *_: Scale(), blocks=4, assignment=assignment, plain=plain)
    gates = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    assignment.lent = Lent([1], gates)
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(5, dtype=torch.float64)
    cell.run((0,), Edge(0, 0, 0), x).backward(gradient)
    scales = [block["0"].weight for block in cell.blocks]
    expected = torch.stack([(gradient * scale * x).sum() for scale in scales[:3]])
    torch.testing.assert_close(gates.grad[0], expected)
    torch.testing.assert_close(scales[1].grad, (gradient * x).sum()[None])
    torch.testing.assert_close(x.grad, gradient * scales[1])
    for block in (0, 2):  # as written the gradient of the others is zero, and there
        assert (scales[block].grad is None) if not plain else (scales[block].grad == 0).all()
    assert scales[3].grad is None  # not active


@pytest.mark.parametrize("cell", [MIXED, (CONV3,) * 6, (CONV1, POOL, SKIP, NONE, CONV3, CONV3)])
def test_the_cheap_step_has_the_gradients_of_the_plain_one(cell):
    """Running what is not picked without a graph changes no gradient: in double precision, through three cells."""
    gradients = []
    for plain in (False, True):
        net = closenet(plain=plain).double().train()
        loss = (net(images().double(), cell) * torch.arange(10)).square().sum()
        loss.backward()
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    cheap, plain = gradients
    assert cheap["gate.weight"].abs().max() > 0.1
    for name, gradient in plain.items():
        if cheap[name] is None and gradient is not None:
            assert gradient.abs().max() == 0, name
        elif gradient is not None:
            torch.testing.assert_close(cheap[name], gradient, rtol=1e-9, atol=1e-9)


def test_the_cheap_step_draws_no_graph_for_what_is_not_picked():
    net = closenet((0,) * 6).train()
    net(images(), MIXED).sum().backward()
    assert all(p.grad is None for cell in glow(net) for block in cell.blocks[1:] for p in block.parameters())


def test_all_active_blocks_run_and_the_others_do_not():
    """Counted by batch norms: edges 0, 2 and 3 are 3x3 convolutions, 1 and 5 are 1x1."""
    net = closenet((0,) * 6, level=3).train()
    net(images(), MIXED)
    for cell in glow(net):
        for option, edges in ((CONV3, 3), (CONV1, 2)):
            counts = [block[str(option)][2].num_batches_tracked.item() for block in cell.blocks]
            assert counts == [edges, edges, edges, 0]


def test_constant_gates_run_the_picked_blocks_alone():
    net = closenet((0, 1, 1, 0, 2, 2), learned=False).train()
    net(images(), MIXED)
    counts = [block[str(CONV3)][2].num_batches_tracked.item() for block in glow(net)[0].blocks]
    assert counts == [2, 1, 0, 0]


def test_with_one_block_the_gate_is_asked_only_in_the_plain_form():
    for plain in (False, True):
        net = closenet((0,) * 6, level=1, plain=plain).train()
        net(images(), MIXED).square().sum().backward()
        assert net.gate.asked == ([1] if plain else [])
        assert (net.picks is None) == (not plain)
        assert (net.gate.weight.grad is not None) == plain


@pytest.mark.parametrize("plain", [False, True])
def test_in_the_plain_form_the_gate_has_a_gradient_in_every_step(plain):
    """Also for a cell without weights: the released network multiplies every edge."""
    net = closenet(plain=plain).train()
    net(images(), (POOL, SKIP, NONE, NONE, POOL, SKIP)).square().sum().backward()
    gradient = net.gate.weight.grad
    assert (gradient is not None and (gradient == 0).all()) if plain else gradient is None


def test_dropout_stands_before_the_classifier_and_only_in_training():
    net = closenet(dropout=SeededDropout(0.5, torch.Generator().manual_seed(0)))
    assert torch.equal(net.eval().features(images(), MIXED), net.net.features(images(), MIXED))
    net.train()
    features, plain = net.features(images(), MIXED), by_position(net, net.gate.picks).train().features(images(), MIXED)
    assert torch.equal(features[features != 0], 2 * plain[features != 0])
    assert 0.2 < (features == 0).float().mean() < 0.8


def test_dropout_keeps_the_mean_and_draws_from_its_own_generator():
    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    dropped = SeededDropout(0.1, generator).train()(torch.ones(100_000))
    assert torch.equal(torch.get_rng_state(), state)
    assert sorted(set(dropped.tolist())) == [0.0, pytest.approx(1 / 0.9)]
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=0.005)
    again = SeededDropout(0.1, torch.Generator().manual_seed(0)).train()(torch.ones(100_000))
    assert torch.equal(again, dropped)


# --- inheritance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wit", ["add", "copy", "off"])
def test_a_new_block_inherits_from_the_one_before(wit):
    net = closenet((0,) * 6, level=2).train()
    for seed in range(3):  # statistics and counters away from their first values
        net(images(seed=seed), MIXED)
    before = [copy.deepcopy([block.state_dict() for block in cell.blocks]) for cell in glow(net)]
    net.activate(wit)
    assert net.level == 3
    assert net.gate.inherited == [(2, wit)]
    for cell, held in zip(glow(net), before, strict=True):
        for block in (0, 1, 3):
            assert all(torch.equal(v, held[block][k]) for k, v in cell.blocks[block].state_dict().items())
        for name, value in cell.blocks[2].state_dict().items():
            own, previous = held[2][name], held[1][name]
            integer = not own.is_floating_point()
            expected = {"add": own + previous, "copy": own if integer else previous, "off": own}[wit]
            assert torch.equal(value, expected), name
    state = held[1]
    assert state[f"{CONV3}.2.num_batches_tracked"] == 9  # so the counter tells the variants apart
    assert state[f"{CONV3}.2.running_mean"].abs().max() > 0


def test_level_is_between_one_and_the_number_of_blocks():
    with pytest.raises(SupertauError, match="number of active blocks, 1 to 4, got 5"):
        closenet(level=5)


# --- scoring --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [MIXED, (CONV3,) * 6, (CONV1, POOL, SKIP, NONE, CONV3, CONV3), (NONE,) * 6])
def test_scoring_runs_the_picked_blocks_and_path_modules_names_them(cell):
    net = closenet().eval()
    assert torch.equal(net(images(), cell), by_position(net, net.gate.picks).eval()(images(), cell))
    ran = []
    for module in net.modules():
        if not any(module.children()):
            module.register_forward_hook(lambda module, *_: ran.append(module))
    net(images(), cell)
    expected = list(net.path_modules(cell))
    assert len(set(expected)) == len(expected)
    assert set(ran) == set(expected)
    blocks = {block for edge, block in enumerate(net.gate.picks) if edge in used_edges(cell) and cell[edge] == CONV3}
    assert {k for k in range(4) if glow(net)[0].blocks[k][str(CONV3)][1] in expected} == blocks


def test_many_at_once_are_the_same_numbers_as_one_by_one():
    net = closenet().eval()
    cells = [MIXED, (CONV3,) * 6, (NONE,) * 6, MIXED, (CONV1, POOL, SKIP, NONE, CONV3, CONV3)]
    with torch.inference_mode():
        many = net.forward_many(images(), cells)
        for logits, cell in zip(many, cells, strict=True):
            torch.testing.assert_close(logits, net(images(), cell))


def test_the_gate_is_asked_once_per_architecture_until_something_changes():
    net, asked = closenet(level=2, picks=(0, 1, 1, 0, 1, 0)), []
    answer = net.gate.blocks
    net.gate.blocks = lambda architectures, level: (
        asked.append((tuple(architectures), level)) or answer(architectures, level)
    )
    net.eval()
    net.forward_many(images(), [MIXED, MIXED, (CONV3,) * 6])
    list(net.path_modules(MIXED))
    net(images(), (CONV3,) * 6)
    assert asked == [((MIXED, (CONV3,) * 6), 2)]
    for change in (
        lambda: net.train()(images(), MIXED),
        lambda: net.load_state_dict(net.state_dict()),
        lambda: net.activate("add"),
    ):
        change()
        asked.clear()
        net.eval()(images(), MIXED)
        assert asked == [((MIXED,), net.level)]
