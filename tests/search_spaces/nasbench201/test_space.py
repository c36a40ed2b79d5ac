"""NAS-Bench-201 as a set of cells: text, order, isomorphism, what is alive, variation."""

import bz2
import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nasbench201.canonical import dead_rule, flat_rule, live_edges, string_rule, used_edges
from supertau.search_spaces.nasbench201.cells import CONV1, CONV3, EDGES, NONE, OPERATIONS, POOL, SKIP, official_order
from supertau.search_spaces.nasbench201.network import Cell, make_operation
from supertau.search_spaces.pickles import load_restricted
from supertau.search_spaces.space import NetworkConfig
from supertau.search_spaces.supernet import Sharing

SPACE = NASBench201()
CELLS = tuple(SPACE.enumerate())
RULES = (string_rule, dead_rule, flat_rule)
TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
OUTER = (CONV3, NONE, SKIP, POOL, CONV1, SKIP)  # what TEXT says


def p_value(counts, expected=None):
    """Return the chi-square p-value of counts against a uniform distribution (or expected ones)."""
    return stats.chisquare(counts, expected).pvalue


# --- text -----------------------------------------------------------------------------------------------------------


def test_the_space_has_every_cell_once():
    assert SPACE.size == len(CELLS) == len(set(CELLS)) == 15_625
    assert set(CELLS) == set(itertools.product(range(5), repeat=6))


def test_text_form_is_the_benchmarks():
    assert SPACE.format(OUTER) == TEXT
    assert SPACE.parse(TEXT) == OUTER


def test_every_text_reads_back():
    texts = [SPACE.format(cell) for cell in CELLS]
    assert len(set(texts)) == len(CELLS)
    assert [SPACE.parse(text) for text in texts] == list(CELLS)


def test_white_space_around_a_text_is_ignored():
    assert SPACE.parse(f"  {TEXT}\n") == OUTER


@pytest.mark.parametrize(
    ("wrong", "guess"),
    [
        ("conv_3x3", "nor_conv_3x3"),
        ("nor_conv_5x5", "nor_conv_[13]x[13]"),
        ("skip", "skip_connect"),
        ("max_pool_3x3", "avg_pool_3x3"),
    ],
)
def test_unknown_operation_is_named_with_the_nearest_one(wrong, guess):
    message = rf"unknown operation '{wrong}'.*Did you mean '{guess}'\?.*Known: {', '.join(OPERATIONS)}\."
    with pytest.raises(InvalidArchitecture, match=message):
        SPACE.parse(TEXT.replace("nor_conv_3x3", wrong))


def test_unknown_operation_without_a_near_one_lists_all_of_them():
    with pytest.raises(
        InvalidArchitecture, match=r"unknown operation 'zzz' in '[^']*'\. Known: none, skip_connect"
    ) as e:
        SPACE.parse(TEXT.replace("nor_conv_3x3", "zzz"))
    assert "Did you mean" not in str(e.value)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("skip_connect~1", "skip_connect~2"),  # wrong node: of a later node
        TEXT.replace("skip_connect~1", "skip_connect~0"),  # wrong node: twice the same
        TEXT.replace("skip_connect~2", "skip_connect~3"),  # wrong node: itself
        TEXT.replace("skip_connect~2", "skip_connect~12"),
        TEXT.replace("|none~0|skip_connect~1|", "|skip_connect~1|none~0|"),  # wrong order
        TEXT.replace("~2", ""),  # no node
        TEXT.replace("~2", "~-2"),
        TEXT.replace("~2", "~two"),
        TEXT.replace("|none~0|skip_connect~1|", "|none~0|"),  # an edge too few
        TEXT.replace("|none~0|skip_connect~1|", "|none~0|none~1|none~2|"),  # an edge too many
        TEXT.removeprefix("|nor_conv_3x3~0|+"),  # a node too few
        TEXT + "+|none~0|none~1|none~2|none~3|",  # a node too many
        TEXT.replace("+", ""),
        TEXT.removeprefix("|"),
        TEXT.removesuffix("|"),
        TEXT.replace("|", ""),
        TEXT.replace("|none~0|", "||"),
        TEXT.upper(),
        TEXT.replace("none", "no ne"),
        "",
        " ",
        "|",
        "+",
        "++",
        "|+|+|",
        "||+||+||",
        "garbage",
        "\0",
    ],
)
def test_other_bad_texts_are_shown_what_is_expected(text):
    with pytest.raises(InvalidArchitecture) as error:
        SPACE.parse(text)
    assert str(error.value) == (
        f"nasbench201: cannot read '{text}'; expected a form like "
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
    )


def test_the_expected_form_in_the_message_is_itself_readable():
    with pytest.raises(InvalidArchitecture) as error:
        SPACE.parse("garbage")
    assert SPACE.parse(str(error.value).rpartition("a form like ")[2]) in CELLS


PIECES = ["|", "+", "~", "0", "1", "2", "3", "-", " ", "\n", "\u00b2", "\u0660", "zzz", *OPERATIONS]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)))
@example(TEXT.replace("~2", "~" + "1" * 4301))  # longer than the longest number Python reads
@example(TEXT.replace("~0", "~\u0660"))  # a digit, but not one of the form's
@example(TEXT.replace("~0", "~00"))
def test_parse_reads_only_what_format_writes_but_for_blanks_and_raises_nothing_else(text):
    try:
        cell = SPACE.parse(text)
    except InvalidArchitecture:
        return
    if text.strip().isdecimal():
        assert cell == CELLS[int(text)]
    else:
        assert SPACE.format(cell) == "".join(text.split())


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)), st.sampled_from(["", *PIECES]))
def test_a_damaged_text_is_refused_or_is_another_cell(start, stop, piece):
    text = TEXT[:start] + piece + TEXT[stop:]
    try:
        cell = SPACE.parse(text)
    except InvalidArchitecture:
        return
    assert text in ("0", "1", "2", "3") or SPACE.format(cell) == "".join(text.split())


@pytest.mark.parametrize("cell", [(), (0,) * 5, (0,) * 7])
def test_encoding_of_a_wrong_length(cell):
    with pytest.raises(InvalidArchitecture, match=r"has 6 decisions, got \("):
        SPACE.format(cell)


@pytest.mark.parametrize("option", [-1, 5])
def test_encoding_out_of_range(option):
    with pytest.raises(InvalidArchitecture, match=rf"decision 2 of .* is {option}, expected 0 to 4"):
        SPACE.cost((0, 0, option, 0, 0, 0), NetworkConfig())


# --- order ----------------------------------------------------------------------------------------------------------


def test_known_entries_of_the_official_index():
    assert SPACE.format(CELLS[0]) == (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    # The best cells of CIFAR-10, CIFAR-100 and ImageNet16-120 on their validation images.
    for index, digits in ((6111, "333132"), (9930, "333133"), (10676, "322133")):
        assert "".join(map(str, CELLS[index])) == digits


def test_order_is_that_of_the_nats_bench_index(real_file):
    path = real_file("nb201/nats_fixture/NATS-tss-v1_0-3ffb9-simple/meta.pickle.pbz2")
    official = load_restricted(bz2.decompress(path.read_bytes()), name=str(path))["meta_archs"]
    assert [SPACE.format(cell) for cell in CELLS] == list(official)


def test_order_leaves_the_global_generator_alone():
    state = random.getstate()
    official_order.__wrapped__()
    assert random.getstate() == state


# --- isomorphism ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "classes"), list(zip(RULES, (6466, 5390, 4930), strict=True)))
def test_number_of_classes(rule, classes):
    assert len({rule(cell) for cell in CELLS}) == classes


@pytest.mark.parametrize(("weaker", "stronger"), list(itertools.pairwise(RULES)))
def test_a_stronger_rule_merges_whole_classes_of_a_weaker_one(weaker, stronger):
    merged = {}
    for cell in CELLS:
        assert merged.setdefault(weaker(cell), stronger(cell)) == stronger(cell)


def test_sizes_of_the_classes():
    sizes = Counter(SPACE.canonical(cell) for cell in CELLS)
    assert (min(sizes.values()), max(sizes.values())) == (1, 275)


def test_the_spaces_key_is_the_published_rule_and_its_representatives_come_first():
    unique = SPACE.unique()
    assert len(unique) == 6466
    assert len({string_rule(cell) for cell in unique}) == 6466
    position = {cell: index for index, cell in enumerate(CELLS)}
    first = {}
    for cell in CELLS:
        first.setdefault(string_rule(cell), cell)
    assert set(unique) == set(first.values())
    assert [position[cell] for cell in unique] == sorted(position[cell] for cell in unique)


class OneFunctionPerOption(Sharing):
    """Lends the same module to every edge, so that isomorphic cells have equal weights on corresponding operations."""

    def __init__(self, modules):
        super().__init__()
        self.held = nn.ModuleDict({str(option): module for option, module in modules.items()})

    def operation(self, architecture, edge):
        return self.held[str(edge.option)]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, values):
        return self.function(values)


def test_flat_rule_is_exactly_equality_of_functions_when_operations_are_arbitrary():
    """Three unrelated functions with f(0) = 0 stand in for the operations: classes and functions are then the same."""
    cell = Cell(
        OneFunctionPerOption(
            {
                CONV1: Function(lambda x: torch.tanh(1.3 * x) + 0.2 * x * x),
                CONV3: Function(lambda x: torch.sin(1.7 * x) - 0.1 * x**3),
                POOL: Function(lambda x: x * torch.exp(-0.5 * x)),
            }
        )
    )
    values = torch.linspace(-0.95, 1.05, 8, dtype=torch.float64)
    classes, functions = {}, {}
    with torch.inference_mode():
        for architecture in CELLS:
            output = tuple((np.round(cell(values, architecture).numpy(), 8) + 0.0).tolist())
            assert classes.setdefault(flat_rule(architecture), output) == output
            functions.setdefault(output, architecture)
    assert len(functions) == len(classes) == 4930


def test_cells_of_one_class_without_parameters_compute_the_same():
    """The strongest rule on real operations; the weaker ones follow, their classes being parts of its classes."""
    cell = Cell(OneFunctionPerOption({POOL: make_operation(POOL, 3, affine=False)}))
    images = torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    classes = {}
    with torch.inference_mode():
        for architecture in itertools.product((NONE, SKIP, POOL), repeat=6):
            classes.setdefault(flat_rule(architecture), []).append(cell(images, architecture))
    assert sum(len(outputs) > 1 for outputs in classes.values()) > 20
    for outputs in classes.values():
        assert torch.stack([output - outputs[0] for output in outputs]).abs().max() < 1e-12


# --- what is alive --------------------------------------------------------------------------------------------------


def paths(start, end):
    """Return every path between two nodes as a tuple of edges, by brute force."""
    if start == end:
        return [()]
    return [
        (edge, *rest) for edge, (source, target) in enumerate(EDGES) if source == start for rest in paths(target, end)
    ]


WAYS = paths(0, 3)
FROM = {node: paths(node, 3) for node in range(4)}


def open_ways(cell, ways):
    return [way for way in ways if all(cell[edge] != NONE for edge in way)]


def test_a_cell_has_four_paths():
    assert sorted(WAYS) == [(0, 2, 5), (0, 4), (1, 5), (3,)]


def test_live_and_used_edges_equal_a_path_enumeration():
    for cell in CELLS:
        live = {edge for way in open_ways(cell, WAYS) for edge in way}
        used = {edge for edge, (_, target) in enumerate(EDGES) if cell[edge] != NONE and open_ways(cell, FROM[target])}
        assert live_edges(cell) == tuple(sorted(live))
        assert used_edges(cell) == tuple(sorted(used))
        assert SPACE.is_connected(cell) == bool(open_ways(cell, WAYS))
        assert SPACE.has_live_convolution(cell) == any(cell[edge] in (CONV1, CONV3) for edge in live)


def test_number_of_disconnected_cells():
    assert sum(not SPACE.is_connected(cell) for cell in CELLS) == 341


def test_number_of_representatives_with_a_live_convolution():
    assert sum(SPACE.has_live_convolution(cell) for cell in SPACE.unique()) == 6321


@pytest.mark.parametrize("alive", [SPACE.is_connected, SPACE.has_live_convolution])
def test_life_is_a_property_of_the_class(alive):
    found = {}
    for cell in CELLS:
        assert found.setdefault(SPACE.canonical(cell), alive(cell)) == alive(cell)


# --- variation ------------------------------------------------------------------------------------------------------


def test_sample_is_uniform_over_all_encodings():
    rng = np.random.default_rng(1)
    draws = Counter(SPACE.sample(rng) for _ in range(5 * len(CELLS)))
    assert set(draws) <= set(CELLS)
    assert 1e-3 < p_value([draws[cell] for cell in CELLS]) < 1 - 1e-3


def test_variation_gives_plain_integers_and_follows_its_generator_only():
    def walk(seed):
        rng = np.random.default_rng(seed)
        one, two = SPACE.sample(rng), SPACE.sample(rng)
        return [one, two, SPACE.mutate(one, rng, 0.5), SPACE.crossover(one, two, rng)]

    held = np.random.get_state()[1].copy()  # noqa: NPY002 - nothing may touch the global generator
    assert walk(3) == walk(3) != walk(4)
    np.testing.assert_array_equal(np.random.get_state()[1], held)  # noqa: NPY002
    assert {type(option) for cell in walk(3) for option in cell} == {int}


def mutants(probability, count=20_000):
    rng = np.random.default_rng(2)
    return np.array([SPACE.mutate(OUTER, rng, probability) for _ in range(count)])


@pytest.mark.parametrize("probability", [0.1, 0.3, 1.0])
def test_mutation_changes_as_many_genes_as_expected(probability):
    """A gene is redrawn over all five options, the present one included: it changes with probability 0.8 p."""
    changed = (mutants(probability) != OUTER).sum(axis=1)
    rate = 0.8 * probability
    deviation = np.sqrt(6 * rate * (1 - rate) / len(changed))
    assert abs(changed.mean() - 6 * rate) < 4 * deviation
    binomial = stats.binom.pmf(range(7), 6, rate) * len(changed)
    common = binomial >= 5
    counts = np.append(np.bincount(changed, minlength=7)[common], (~common[changed]).sum())
    expected = np.append(binomial[common], binomial[~common].sum())
    assert p_value(counts[expected > 0], expected[expected > 0]) > 1e-3


def test_published_figures_of_mutation():
    assert (mutants(0.3) != OUTER).sum(axis=1).mean() == pytest.approx(1.44, abs=0.04)
    assert (mutants(0.1) == OUTER).all(axis=1).mean() == pytest.approx(0.61, abs=0.015)


def test_mutation_redraws_uniformly():
    drawn = mutants(1.0)
    for gene in range(6):
        assert p_value(np.bincount(drawn[:, gene], minlength=5)) > 1e-3


def test_mutation_with_probability_zero_is_the_parent():
    assert (mutants(0.0, 50) == OUTER).all()


def test_crossover_takes_each_gene_from_either_parent_independently():
    one, two = (0, 1, 2, 3, 4, 0), (1, 2, 3, 4, 0, 1)
    rng = np.random.default_rng(3)
    children = np.array([SPACE.crossover(one, two, rng) for _ in range(6400)])
    first, second = children == one, children == two
    assert (first ^ second).all()
    patterns = np.bincount(first @ (1 << np.arange(6)), minlength=64)
    assert p_value(patterns) > 1e-3


def test_crossover_of_equal_parents_is_the_parent():
    assert SPACE.crossover(OUTER, OUTER, np.random.default_rng(0)) == OUTER


def test_the_order_brings_cells_together_that_differ_only_in_what_leads_nowhere():
    orders = {cell: SPACE.order(cell) for cell in SPACE.enumerate()}
    assert len(set(orders.values())) == 12_205
    for cell, order in list(orders.items())[::97]:
        used = {edge for edge, (_, target) in enumerate(EDGES) if cell[edge] != NONE and open_ways(cell, FROM[target])}
        assert order == tuple(op if edge in used else NONE for edge, op in enumerate(cell))
