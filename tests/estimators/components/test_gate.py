"""GATE: the encoder against one written out by hand, the straight-through pick, what is picked for scoring."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from supertau.estimators.components.gate import GATE, RandomGate, TableGate, straight_through
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench201.canonical import EDGES
from supertau.search_spaces.spaces import get_space

SPACE = NASBench201()
NONE, SKIP, CONV1, CONV3, POOL = range(5)
MIXED = (CONV3, CONV1, NONE, POOL, CONV3, SKIP)
PAPER = {
    "operation": 48,
    "node": 48,
    "hidden": 96,
    "flow": (128,) * 5,
    "mlp": (200,) * 3,
    "dropout": 0.1,
    "temperature": 5.0,
    "normalise": True,
    "pick": "argmax",
    "seed": 0,
}
SMALL = {**PAPER, "operation": 5, "node": 7, "hidden": 16, "flow": (20, 14, 18), "mlp": (19, 17)}


def gate(blocks=4, settings=SMALL, weights=0, noise=0, **changes):
    torch.manual_seed(weights)
    return GATE(SPACE, blocks, **{**settings, **changes}, generator=torch.Generator().manual_seed(noise)).eval()


def cells(count=40, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def numbers(parameter):
    return parameter.detach().double().numpy()


# --- encoder --------------------------------------------------------------------------------------------------------


def by_hand(network, cell):
    """Return node embeddings, written node by node and edge by edge."""
    encoder = network.encoder
    first, embeddings = encoder.first, numbers(encoder.operations.weight)
    start = [numbers(encoder.inputs[0])[0]] + [np.zeros(network.encoder.inputs[0].shape[1])] * 3
    nodes = [numbers(first.weight) @ state + numbers(first.bias) for state in start]
    for number, layer in enumerate(encoder.layers):
        if number:
            nodes = [np.maximum(node, 0) for node in nodes]
        sent = [node @ numbers(layer.weight) for node in nodes]
        received = [np.zeros_like(sent[0]) for _ in nodes]
        received[0] = sent[0].copy()
        for option, (source, target) in zip(cell, EDGES, strict=True):
            if option != NONE:
                attention = numbers(layer.attention.weight) @ embeddings[option] + numbers(layer.attention.bias)
                received[target] += sent[source] / (1 + np.exp(-attention))
        nodes = received
    return np.stack(nodes)


@pytest.mark.parametrize("settings", [SMALL, PAPER], ids=["small", "paper"])
def test_node_embeddings_equal_those_by_hand(settings):
    network = gate(settings=settings)
    for cell in [MIXED, (NONE,) * 6, *cells(10)]:
        found = network.encoder(SPACE.flow(cell)[0], 0).detach().numpy()
        np.testing.assert_allclose(found, by_hand(network, cell), rtol=1e-3, atol=1e-6)
        assert (found < 0).any()  # no ReLU after the last layer


@pytest.mark.parametrize("normalise", [False, True])
def test_logits_equal_those_by_hand(normalise):
    """Rows in the order of edges, to-node major; layer norm without weights; ReLU in the map, none at its end."""
    network = gate(normalise=normalise)
    maps = [network.hidden[0], network.hidden[3], network.output]
    for cell in [MIXED, (NONE,) * 6, *cells(10)]:
        nodes = by_hand(network, cell)
        if normalise:
            nodes = (nodes - nodes.mean(1, keepdims=True)) / np.sqrt(nodes.var(1, keepdims=True) + 1e-5)
        rows = []
        for source, target in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)):
            state = np.concatenate([nodes[source], nodes[target]])
            for number, layer in enumerate(maps):
                state = numbers(layer.weight) @ (np.maximum(state, 0) if number else state) + numbers(layer.bias)
            rows.append(state)
        np.testing.assert_allclose(network.logits(cell).detach().numpy(), rows, rtol=1e-3, atol=1e-5)


def test_sizes_of_the_released_configuration():
    """48 -> 96 -> 5 x 128, two nodes per edge -> 200, 200, 200 -> K; about 0.25 M parameters."""
    network = gate(settings=PAPER)
    expected = (
        (5 * 48 + 48) + (48 * 96 + 96) + (96 * 128 + 4 * 128 * 128) + 5 * (48 * 128 + 128)
        + (256 * 200 + 200) + 2 * (200 * 200 + 200) + (200 * 4 + 4)
    )  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == expected == 246_780
    weight = network.encoder.layers[0].weight.detach()
    assert weight.abs().max() <= 128**-0.5
    assert weight.std().item() == pytest.approx(128**-0.5 / 3**0.5, rel=0.02)


def embeddings(network, cell):
    return network.encoder(SPACE.flow(cell)[0], 0)


def test_isomorphic_sub_graphs_have_equal_embeddings():
    network = gate(settings=PAPER)
    one = embeddings(network, (CONV3, CONV3, NONE, CONV1, POOL, NONE))
    torch.testing.assert_close(one[1], one[2])
    two = embeddings(network, (CONV3, CONV3, NONE, CONV1, NONE, POOL))  # node 2 takes the place of node 1
    torch.testing.assert_close(one[3], two[3])
    other = embeddings(network, (CONV3, CONV1, NONE, CONV1, NONE, POOL))
    assert not torch.allclose(other[3], two[3], atol=1e-3)


def test_the_operation_of_an_edge_enters_through_its_target_node_alone():
    network = gate(settings=PAPER)
    base = (CONV3, CONV1, POOL, SKIP, CONV1, CONV3)
    changed = list(base)
    changed[2] = CONV3  # edge 1 -> 2: its target is node 2, whose edge leads to node 3
    before, after = embeddings(network, base), embeddings(network, tuple(changed))
    assert torch.equal(before[:2], after[:2])
    assert not any(torch.allclose(before[node], after[node], atol=1e-4) for node in (2, 3))
    logits, others = network.logits(base), network.logits(tuple(changed))
    same = [torch.allclose(logits[edge], others[edge], atol=1e-6) for edge in range(6)]
    assert same == [True, False, False, False, False, False]


def test_an_edge_without_an_operation_carries_no_message():
    """What is upstream of a `none` edge does not matter, and a node that nothing enters is zero."""
    network = gate(settings=PAPER)
    one, two = (embeddings(network, (CONV3, first, second, CONV1, CONV3, NONE)) for first, second in
                ((NONE, NONE), (POOL, CONV3)))  # fmt: skip
    torch.testing.assert_close(one[3], two[3])
    assert (one[2] == 0).all()
    assert (two[2] != 0).any()
    assert (embeddings(network, (NONE,) * 6)[0] != 0).all()  # the input keeps its own state


def test_dead_edges_have_logits_too():
    assert gate().logits((NONE,) * 6).shape == (6, 4)


# --- straight-through Gumbel softmax --------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_forward_is_one_hot_and_backward_is_the_softmax_over_t(temperature):
    rng = np.random.default_rng(0)
    values, noise, upstream = rng.normal(size=(3, 50, 4))
    logits = torch.tensor(values, requires_grad=True)
    gates = straight_through(logits, torch.tensor(noise), temperature)
    hard = np.eye(4)[(values + noise).argmax(1)]
    assert np.array_equal(gates.detach().numpy(), hard)  # to the bit
    gates.backward(torch.tensor(upstream))
    soft = np.exp((values + noise) / temperature)
    soft /= soft.sum(1, keepdims=True)
    for row in range(50):
        jacobian = (np.diag(soft[row]) - np.outer(soft[row], soft[row])) / temperature
        np.testing.assert_allclose(logits.grad[row].numpy(), jacobian @ upstream[row], rtol=1e-9, atol=1e-12)


def test_one_hot_is_exact_in_single_precision():
    logits = torch.randn(10_000, 4, generator=torch.Generator().manual_seed(0))
    assert set(straight_through(logits, torch.zeros_like(logits), 5.0).unique().tolist()) == {0.0, 1.0}


def test_with_one_block_the_gradient_is_there_and_exactly_zero():
    network = gate().train()
    gates = network.gates(MIXED, 1)
    assert torch.equal(gates, torch.ones(6, 1))
    (gates * torch.randn(6, 1)).sum().backward()
    assert all(p.grad is not None and (p.grad == 0).all() for p in network.parameters())


@pytest.mark.parametrize("temperature", [0.1, 5.0])
def test_picks_are_samples_of_the_softmax_of_the_logits_at_any_temperature(temperature):
    network = gate(temperature=temperature, dropout=0.0).train()
    with torch.no_grad():
        network.output.bias.copy_(torch.tensor([1.0, 0.0, -0.5, 2.0]))
        expected = network.logits(MIXED)[:, :3].softmax(1)[4]
        drawn = Counter(network.gates(MIXED, 3)[4].argmax().item() for _ in range(800))
    counts = [drawn[block] for block in range(3)]
    odds = expected.double() / expected.double().sum()
    assert stats.chisquare(counts, 800 * odds.numpy()).pvalue > 1e-3


def test_only_active_blocks_are_lent():
    network = gate()
    with torch.no_grad():
        network.output.bias[2:] += 100
    for level in (1, 2, 3):
        assert network.gates(MIXED, level).shape == (6, level)
        assert {block for picks in network.blocks(cells(), level) for block in picks} <= set(range(level))
    assert network.blocks([MIXED], 3) == [(2,) * 6]


def test_noise_and_dropout_come_from_the_gates_own_generator():
    state = torch.get_rng_state()

    def drawn(noise):
        network = gate(noise=noise).train()
        return torch.stack([network.logits(MIXED), *(network.gates(MIXED, 4) for _ in range(20))])

    one, same, other = drawn(0), drawn(0), drawn(1)
    torch.set_rng_state(state)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], gate().logits(MIXED))  # dropout in training
    state = torch.get_rng_state()
    gate_in_use = gate()
    torch.set_rng_state(state)
    gate_in_use.train().gates(MIXED, 4)
    assert torch.equal(torch.get_rng_state(), state)


# --- scoring --------------------------------------------------------------------------------------------------------


def test_argmax_takes_the_largest_logit_without_dropout_or_noise():
    network = gate().train()
    for _ in range(3):
        network.gates(MIXED, 4)  # what training draws does not matter
    state = network.generator.get_state()
    for cell, picks in zip(cells(), network.blocks(cells(), 4), strict=True):
        assert picks == tuple(network.eval().logits(cell).argmax(1).tolist())
    network.train()
    assert network.blocks(cells(), 4) == gate().blocks(cells(), 4)
    assert all(module.training for module in network.modules())
    assert torch.equal(network.generator.get_state(), state)


@pytest.mark.parametrize("make", [
    lambda seed: gate(pick="sample", seed=seed),
    lambda seed: RandomGate(SPACE, seed=seed, generator=torch.Generator()),
], ids=["sample", "random"])  # fmt: skip
def test_samples_depend_on_seed_and_architecture_alone(make):
    population = cells(60)
    whole = make(0).blocks(population, 4)
    assert make(0).blocks(population[::-1], 4)[::-1] == whole
    one_by_one = make(0)
    assert [one_by_one.blocks([cell], 4)[0] for cell in population] == whole
    other_noise = make(0).train()
    other_noise.gates(MIXED, 4)
    assert other_noise.blocks(population, 4) == whole
    assert make(1).blocks(population, 4) != whole
    # Not one draw for all: the assignment of two architectures is independent.
    assert len(set(whole)) > 50


def test_a_sample_follows_the_logits():
    network = gate(pick="sample")
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.copy_(torch.tensor([1.0, 0.0, -0.5, 2.0]))
    drawn = Counter(block for picks in network.blocks(list(SPACE.enumerate())[:300], 4) for block in picks)
    expected = network.output.bias.detach().double().softmax(0).numpy()
    assert stats.chisquare([drawn[block] for block in range(4)], 1800 * expected).pvalue > 1e-3


# --- inheritance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wit", ["add", "copy", "off"])
def test_a_blocks_logit_inherits_from_the_one_before(wit):
    network = gate()
    weight, bias = (p.detach().clone() for p in (network.output.weight, network.output.bias))
    network.inherit(2, 1, wit)
    for now, before in ((network.output.weight, weight), (network.output.bias, bias)):
        expected = {"add": before[2] + before[1], "copy": before[1], "off": before[2]}[wit]
        assert torch.equal(now[2], expected)
        assert torch.equal(now[[0, 1, 3]], before[[0, 1, 3]])


def test_replaced_output_is_new_to_optimisers_and_equal_in_value():
    network = gate()
    before, logits = list(network.parameters()), network.logits(MIXED)
    network.replace_output()
    after = list(network.parameters())
    assert torch.equal(network.logits(MIXED), logits)
    assert [a is b for a, b in zip(before, after, strict=True)] == [True] * (len(before) - 2) + [False] * 2


# --- random gate ----------------------------------------------------------------------------------------------------


def test_random_gate_is_uniform_anew_in_every_step_and_learns_nothing():
    network = RandomGate(SPACE, seed=0, generator=torch.Generator().manual_seed(0))
    drawn = [network.gates(MIXED, 3) for _ in range(500)]
    assert not list(network.parameters())
    assert not drawn[0].requires_grad
    assert all(torch.equal(gates.sum(1), torch.ones(6)) for gates in drawn)
    assert stats.chisquare(torch.stack(drawn).sum(0).sum(0).tolist()).pvalue > 1e-3
    pairs = Counter((g.argmax(1)[0].item(), g.argmax(1)[5].item()) for g in drawn)
    assert set(pairs) == set(itertools.product(range(3), repeat=2))
    scored = Counter(block for picks in network.blocks(list(SPACE.enumerate())[:500], 3) for block in picks)
    assert stats.chisquare([scored[block] for block in range(3)]).pvalue > 1e-3


# --- the table of a space without cells -----------------------------------------------------------------------------

GOLDEN = [
    (23, 9, (0, 4, 3, 5, 6, 2, 8, 8, 7, 7, 7, *[1] * 12)),
    (23, 17, (0, 4, 3, 5, 6, 2, 8, 9, 7, 10, 11, 1, 14, 15, 13, 16, 16, *[12] * 6)),
    (15, 9, (0, 3, 4, 2, 6, 5, 7, 1, 1, 1, 1, 8, 8, 8, 8)),
    (15, 13, (0, 3, 4, 2, 6, 5, 7, 1, 10, 9, 11, 8, 8, 12, 12)),
]
"""Positions of a stage, blocks, and the block of each position: of the code at epochs 1 and 1000, ResNet, ResNeXt-A."""


@pytest.mark.parametrize(("positions", "level", "expected"), GOLDEN)
def test_the_table_is_that_of_the_released_code(positions, level, expected):
    gate = TableGate(positions)
    assert gate.blocks([(0,), (1,)], level) == [expected, expected]
    hard = gate.gates((0,), level)
    assert hard.shape == (positions, level)
    assert hard.argmax(1).tolist() == list(expected)
    assert (hard.sum(1) == 1).all()
    assert not hard.requires_grad


def test_a_block_of_the_table_comes_from_the_one_whose_positions_it_takes():
    gate = TableGate(15)
    for block in range(1, 13):
        before, after = gate.table(block)[0], gate.table(block + 1)[0]
        taken = [old for old, new in zip(before, after, strict=True) if new == block]
        assert set(taken) == {gate.source(block)}
        assert [new for new in after if new != block] == [
            old for old, new in zip(before, after, strict=True) if new != block
        ]


def test_a_table_cannot_have_more_blocks_than_positions():
    assert sorted(TableGate(4).table(4)[0]) == [0, 1, 2, 3]
    with pytest.raises(SupertauError, match="5 blocks were asked for a stage of 4 positions"):
        TableGate(4).table(5)


# --- DARTS cells ----------------------------------------------------------------------------------------------------


def test_messages_are_averaged_and_nodes_start_from_a_learned_vector():
    """As `by_hand`, for a node of a DARTS cell that two edges enter."""
    space = get_space("nasbench301")
    torch.manual_seed(0)
    settings = {**SMALL, "flow": (20,), "join": "mean", "learned_nodes": True}
    network = GATE(space, 3, **settings, generator=torch.Generator()).eval()
    assert network.encoder.operations.num_embeddings == 7
    torch.nn.init.normal_(network.encoder.others[1])
    cell = space.sample(np.random.default_rng(3))
    graph = space.flow(cell)[1]
    encoder, (layer,) = network.encoder, network.encoder.layers
    starts = [*encoder.inputs[1], *[encoder.others[1]] * 4]
    sent = [encoder.first(start) @ layer.weight for start in starts]
    embedded = encoder(graph, 1)
    torch.testing.assert_close(embedded[:2], torch.stack(sent[:2]))
    for node in range(2, 6):
        messages = [
            torch.sigmoid(layer.attention(encoder.operations.weight[option])) * sent[source]
            for source, target, option in graph.edges
            if target == node
        ]
        assert len(messages) == 2
        torch.testing.assert_close(embedded[node], sum(messages) / 2)
    assert network.logits(cell).shape == (16, 3)
