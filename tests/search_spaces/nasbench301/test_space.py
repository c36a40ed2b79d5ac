"""DARTS cells as a set: isomorphism, variation, tokens, flow, and costs against the published ones."""

import csv
import gzip
import itertools
import time
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from supertau.search_spaces.errors import InvalidArchitecture, SupertauError
from supertau.search_spaces.nasbench301.genotype import CHOICES, NODES, NORMAL, REDUCE, SEP3, SKIP, decoded, encoded
from supertau.search_spaces.nasbench301.network import cell_edges
from supertau.search_spaces.nasbench301.skeleton import layers
from supertau.search_spaces.nasbench301.space import DARTS, orders, reordered
from supertau.search_spaces.space import NetworkConfig

SPACE = DARTS()
architectures = st.tuples(*(st.integers(0, count - 1) for count in CHOICES))
seeds = st.integers(0, 2**32 - 1)

CHAIN = (0, 0, 1, 2, 0, 1, 5, 0, 1, 9, 0, 1)  # every node on the two before it
FLAT = (0, 0, 0) * 4  # every node on the two inputs


def drawn(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def test_the_space():
    assert SPACE.size == ((1 * 3 * 6 * 10) * 7**8) ** 2
    assert round(np.log10(float(SPACE.size)), 1) == 18.0
    assert SPACE.benchmark.cells == 2
    assert len(layers(SPACE.benchmark)) == 8


def test_it_cannot_be_listed():
    for listing in (SPACE.enumerate, SPACE.unique):
        with pytest.raises(SupertauError, match=r"nasbench301 has 1.1e\+18 architectures, too many to list"):
            listing()


def test_methods_check_the_encoding():
    for wrong, message in (((0,) * 23, "has 24 decisions"), ((1,) + (0,) * 23, "decision 0 of .* expected 0 to 0")):
        for method in (SPACE.format, SPACE.canonical, lambda a: SPACE.cost(a, NetworkConfig())):
            with pytest.raises(InvalidArchitecture, match=message):
                method(wrong)


def test_text_form():
    for architecture in drawn(20):
        assert SPACE.format(architecture).startswith("Genotype(normal=[('")
        assert SPACE.parse(SPACE.format(architecture)) == architecture


# --- isomorphism ----------------------------------------------------------------------------------------------------


def isomorphic(one, two):
    """Search node by node for a correspondence of two cells that keeps inputs, edges and operations."""

    def extend(matched):
        if len(matched) == 2 + NODES:
            return True
        node = one[len(matched) - 2]
        wanted = {(matched[source], option) for source, option in node}
        free = (n for n in range(NODES) if n + 2 not in matched.values())
        return any(set(two[n]) == wanted and extend({**matched, len(matched): n + 2}) for n in free)

    return extend({0: 0, 1: 1})


def test_orders_of_extreme_cells():
    assert orders(decoded(CHAIN + FLAT)[0]) == ((0, 1, 2, 3),)
    assert sorted(orders(decoded(CHAIN + FLAT)[1])) == sorted(itertools.permutations(range(NODES)))


@given(architectures, seeds)
def test_nodes_in_another_order_have_the_same_key(architecture, seed):
    other = SPACE.rewritten(architecture, np.random.default_rng(seed))
    SPACE.check(other)
    assert SPACE.canonical(other) == SPACE.canonical(architecture)
    assert all(isomorphic(*pair) for pair in zip(decoded(architecture), decoded(other), strict=True))


def test_keys_are_equal_exactly_for_isomorphic_cells():
    """On all 180 cells of one operation, and on the same with a second one here and there."""
    rng = np.random.default_rng(1)
    wirings = list(itertools.product(*(range(count) for count in CHOICES[:12:3])))
    for choice in (0.0, 0.1):
        cells = [tuple(int(o) for pair in pairs for o in (pair, *(rng.random(2) < choice))) for pairs in wirings]
        keys = [SPACE.canonical(cell + FLAT) for cell in cells]
        forms = [decoded(cell + FLAT)[0] for cell in cells]
        pairs = itertools.combinations(zip(keys, forms, strict=True), 2)
        equal = [(key == other_key, isomorphic(cell, other)) for (key, cell), (other_key, other) in pairs]
        assert all(one == two for one, two in equal)
        assert sum(one for one, _ in equal) > 20


def test_sharing_a_node_is_not_doubling_it():
    """Nodes 2 and 3 are alike; reading one of them twice or both once are different cells with equal terms."""
    shared = encoded([(((0, 3), (1, 3)), ((0, 3), (1, 3)), ((0, 3), (2, 4)), ((1, 3), (2, 4)))] * 2)
    apart = encoded([(((0, 3), (1, 3)), ((0, 3), (1, 3)), ((0, 3), (2, 4)), ((1, 3), (3, 4)))] * 2)
    assert SPACE.canonical(shared) != SPACE.canonical(apart)
    mirrored = encoded([(((0, 3), (1, 3)), ((0, 3), (1, 3)), ((0, 3), (3, 4)), ((1, 3), (2, 4)))] * 2)
    assert SPACE.canonical(mirrored) == SPACE.canonical(apart)


def test_inputs_and_kinds_of_cells_are_not_interchangeable():
    cell = (0, 3, 4) * 4
    assert SPACE.canonical(cell + FLAT) != SPACE.canonical((0, 4, 3) * 4 + FLAT)
    assert SPACE.canonical(cell + FLAT) != SPACE.canonical(FLAT + cell)


def test_reordering_rewrites_predecessors():
    cell = (((0, 1), (1, 2)), ((0, 3), (1, 4)), ((2, 5), (3, 6)), ((0, 0), (2, 1)))
    assert reordered(cell, (1, 0, 3, 2)) == (
        ((0, 3), (1, 4)), ((0, 1), (1, 2)), ((0, 0), (3, 1)), ((2, 6), (3, 5)),
    )  # fmt: skip


def test_rewriting_reaches_every_order_and_only_changes_what_it_can():
    rng = np.random.default_rng(2)
    assert {SPACE.rewritten(CHAIN * 2, rng) for _ in range(20)} == {CHAIN * 2}
    distinct = (0, 0, 1, 0, 2, 3, 0, 4, 5, 0, 6, 0)
    assert len({SPACE.rewritten(distinct + CHAIN, rng) for _ in range(300)}) == 24
    changed = [SPACE.rewritten(a, rng) != a for a in drawn(200)]
    assert 0.5 < np.mean(changed) < 1


def test_every_architecture_is_connected_and_few_lack_convolutions():
    assert all(SPACE.is_connected(a) for a in drawn(10))
    for architecture in drawn(300):
        options = [o for cell in decoded(architecture) for node in cell for _, o in node]
        assert SPACE.has_live_convolution(architecture) == any(option > SKIP for option in options)
    assert not SPACE.has_live_convolution((0, SKIP, 1) * 8)
    assert SPACE.has_live_convolution((0, SKIP, 1) * 7 + (0, SKIP, SEP3))


# --- variation ------------------------------------------------------------------------------------------------------


def edges(architecture):
    """Return the operation of each edge of a cell, an edge being (kind, node, predecessor)."""
    return {
        (kind, node, source): option
        for kind, cell in enumerate(decoded(architecture))
        for node, entries in enumerate(cell)
        for source, option in entries
    }


def test_disjoint_pairs_share_no_operation_of_an_edge():
    rng = np.random.default_rng(3)
    shared = others = 0
    for _ in range(500):
        one, two = SPACE.disjoint_pair(rng)
        SPACE.check(two)
        held, partner = edges(one), edges(two)
        shared += len(held.keys() & partner.keys())
        others += len(partner.keys() - held.keys())
        assert not held.items() & partner.items()
    assert shared > 500
    assert others > 500


def test_partners_are_uniform_otherwise():
    rng = np.random.default_rng(4)
    architecture = SPACE.sample(rng)
    partners = [SPACE.disjoint_partner(architecture, rng) for _ in range(6000)]
    for decision in (3, 6, 9, 21):
        counts = Counter(partner[decision] for partner in partners)
        assert stats.chisquare([counts[pair] for pair in range(CHOICES[decision])]).pvalue > 1e-4
    held = edges(architecture)
    for edge, free in (((NORMAL, 0, 0), 6), ((REDUCE, 0, 1), 6)):
        counts = Counter(edges(partner)[edge] for partner in partners)
        assert held[edge] not in counts
        assert stats.chisquare([counts[o] for o in range(7) if o != held[edge]]).pvalue > 1e-4
        assert len(counts) == free


def test_samples_are_uniform_and_variation_stays_in_the_space():
    rng = np.random.default_rng(5)
    sample = [SPACE.sample(rng) for _ in range(4000)]
    for decision in (1, 3, 6, 9, 23):
        counts = Counter(a[decision] for a in sample)
        assert stats.chisquare([counts[o] for o in range(CHOICES[decision])]).pvalue > 1e-4
    for one, two in zip(sample[:100], sample[100:200], strict=True):
        SPACE.check(SPACE.mutate(one, rng, 0.3))
        child = SPACE.crossover(one, two, rng)
        assert all(c in options for c, *options in zip(child, one, two, strict=True))


# --- tokens and flow ------------------------------------------------------------------------------------------------


@given(architectures)
def test_tokens_read_back_and_are_allowed(architecture):
    tokens = SPACE.tokens(architecture)
    assert len(tokens) == 32
    assert SPACE.from_tokens(tokens) == architecture
    assert all(token in SPACE.allowed_tokens(tokens[:at]) for at, token in enumerate(tokens))
    swapped = [t for at in range(0, 32, 4) for t in (*tokens[at + 2 : at + 4], *tokens[at : at + 2])]
    assert SPACE.from_tokens(swapped) == architecture


@settings(max_examples=50)
@given(seeds)
def test_any_walk_through_allowed_tokens_is_an_architecture(seed):
    rng = np.random.default_rng(seed)
    tokens = []
    for at in range(32):
        allowed = SPACE.allowed_tokens(tokens)
        kinds = range(5, 12) if at % 2 else range(2 + at // 4 % 4)
        assert set(allowed) == set(kinds) - ({tokens[-2]} if at % 4 == 2 else set())
        tokens.append(int(rng.choice(allowed)))
    SPACE.check(SPACE.from_tokens(tokens))
    assert max(tokens) < SPACE.vocabulary == 12


def test_flow_lists_edges_as_the_cells_number_them():
    for architecture in drawn(20):
        graphs = SPACE.flow(architecture)
        assert [(g.nodes, g.inputs, len(g.edges)) for g in graphs] == [(6, (0, 1), 8)] * 2
        listed = [edge for graph in graphs for edge in graph.edges]
        of_cells = [
            (edge.number, source, node + 2, edge.option)
            for nodes in cell_edges(architecture)
            for node, entering in enumerate(nodes)
            for edge, source in entering
        ]
        assert of_cells == [(number, *edge) for number, edge in enumerate(listed)]
        assert all(option < SPACE.operations for *_, option in listed)
        targets = [(target, source) for source, target, _ in graphs[0].edges]
        assert targets == sorted(targets)


# --- published costs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(real_file):
    """Return architectures, accuracies, FLOPs and parameters of the 5,896 rows of Ning et al. (2021)."""
    with gzip.open(real_file("nb301/nb301_5896.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    return (
        [SPACE.parse(row["genotype"]) for row in rows],
        *(np.array([float(row[name]) for row in rows]) for name in list(rows[0])[1:]),
    )


@cache
def overlooked(config):
    """Return the MACs that the published count leaves out: of all networks, and of each skip with stride 2.

    It counts a convolution by its input's pixels over the squared stride, and the second convolution of a factorized
    reduction sees a row and a column less.
    """

    def missed(narrow, width, side):
        return narrow * width // 2 * (side**2 - (side - 1) ** 2) // 4

    fixed = sum(missed(layer.before, layer.width, 2 * layer.side) for layer in layers(config) if layer.halved)
    return fixed, sum(missed(layer.width, layer.width, layer.side) for layer in layers(config) if layer.kind == REDUCE)


def test_costs_are_the_published_ones(published):
    """In every row: parameters at 36 channels, FLOPs at 16."""
    listed, _, flops, parameters = published
    start = time.perf_counter()
    at36 = [SPACE.cost(a, NetworkConfig(channels=36, cells=2)).parameters for a in listed]
    assert time.perf_counter() - start < 3
    assert at36 == parameters.tolist()
    small = NetworkConfig(channels=16, cells=2)
    fixed, per_skip = overlooked(small)
    skips = [sum(o == SKIP and s < 2 for node in decoded(a)[REDUCE] for s, o in node) for a in listed]
    assert [SPACE.cost(a, small).macs - fixed - per_skip * n for a, n in zip(listed, skips, strict=True)] == list(flops)
    assert (fixed, per_skip) == (47_872, 23_936)


def test_tau_of_costs_is_the_published_one(published):
    listed, accuracies, _, parameters = published
    first = {architecture: row for row, architecture in reversed(list(enumerate(listed)))}
    unique = sorted(first.values())
    assert len(unique) == 5468
    macs = np.array([SPACE.cost(a, NetworkConfig(channels=16, cells=2)).macs for a in listed])
    for cost, raw, once in ((parameters, 0.515, 0.508), (macs, 0.487, 0.480)):
        assert round(stats.kendalltau(cost, accuracies).statistic, 3) == raw
        assert round(stats.kendalltau(cost[unique], accuracies[unique]).statistic, 3) == once


def test_the_real_pool_by_isomorphism(published):
    listed = published[0]
    classes = {}
    for architecture in listed:
        classes.setdefault(SPACE.canonical(architecture), set()).add(architecture)
    for key, members in classes.items():
        assert len({SPACE.cost(a, SPACE.benchmark) for a in members}) == 1, key
    assert len(classes) <= 5468
