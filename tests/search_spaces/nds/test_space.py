"""The spaces of NDS: text, tokens, variation, and costs against the published figures."""

import csv
import gzip
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from supertau.search_spaces.errors import InvalidArchitecture, SupertauError
from supertau.search_spaces.nds.blocks import Stage
from supertau.search_spaces.nds.official import read_pool
from supertau.search_spaces.nds.space import NDSResNet, NDSResNeXtA, NDSResNeXtB, NDSVanilla
from supertau.search_spaces.space import NetworkConfig

SPACES = [NDSResNet(), NDSResNeXtA(), NDSResNeXtB(), NDSVanilla()]
RESNET, RESNEXT_A = SPACES[:2]
POOLS = [(RESNET, "nds/resnet_5k.csv.gz"), (RESNEXT_A, "nds/resnexta_5k.csv.gz")]

each_space = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
each_pool = pytest.mark.parametrize(("space", "file"), POOLS, ids=lambda value: getattr(value, "name", None))


def flops(space, architecture):
    """Return the data set's own count: 5 more per number that leaves a batch norm, 1 per bias of the classifier."""
    width, side, normed = 16, 32, 16 * 32 * 32
    for at, stage in enumerate(space.stages(architecture, space.benchmark)):
        before, side = side, side // (2 if at else 1)
        if space.block == "bottleneck":
            normed += stage.inner * (before**2 + (stage.depth - 1) * side**2)  # the first 1x1 comes before the stride
            normed += stage.depth * (stage.inner + stage.width) * side**2
        else:
            normed += stage.depth * 2 * stage.width * side**2
        normed += stage.width * side**2 * (at > 0 or width != stage.width)
        width = stage.width
    return space.cost(architecture, space.benchmark).macs + 5 * normed + 10


@cache
def pool(space, path):
    """Return the ground truth of a pool, and the data set's count of operations of its networks."""
    truth = read_pool(path, space, "cifar10")
    return truth, [flops(space, architecture) for architecture in truth.architectures]


# --- size, text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "size", "chain"),
    list(zip(SPACES, (1_259_712, 11_390_625, 52_734_375, 1_259_712), (23, 15, 15, 23), strict=True)),
    ids=lambda value: getattr(value, "name", None),
)
def test_published_sizes(space, size, chain):
    assert (space.size, space.chain) == (size, chain)
    assert space.flow((0,) * len(space.choices)) == ()
    assert not space.is_listable
    with pytest.raises(SupertauError, match="too many to list"):
        space.enumerate()


def test_a_decision_per_stage_width_first_depth_last():
    assert RESNET.parse("d24-1-2_w16-256-24") == (0, 8, 11, 0, 1, 1)
    assert RESNEXT_A.parse("d16-1-4_w64-128-16_b0.25-0.5-1_g2-1-4") == (2, 0, 1, 4, 3, 1, 0, 0, 0, 2, 2, 2)
    assert RESNET.stages((0, 8, 11, 0, 1, 1), RESNET.benchmark) == (
        Stage(24, 16, 16, 1),
        Stage(1, 256, 256, 1),
        Stage(2, 24, 24, 1),
    )
    assert RESNEXT_A.stages(RESNEXT_A.parse("d16-1-4_w64-128-16_b0.25-0.5-1_g2-1-4"), RESNEXT_A.benchmark)[1:] == (
        Stage(1, 128, 64, 1),
        Stage(4, 16, 16, 4),
    )


@each_space
@given(data=st.data())
def test_text_and_tokens_return_the_architecture(space, data):
    architecture = tuple(data.draw(st.integers(0, count - 1)) for count in space.choices)
    text = space.format(architecture)
    assert "," not in text
    assert space.parse(text) == space.parse(f" {text}\n") == architecture
    assert space.canonical(architecture) == text
    tokens = space.tokens(architecture)
    assert space.from_tokens(tokens) == architecture
    assert all(token in space.allowed_tokens(tokens[:at]) for at, token in enumerate(tokens))


@pytest.mark.parametrize(
    "text",
    ["", "d1-1-1", "w16-16-16_d1-1-1", "d1-1-1_w16-16", "d1-1-1_w16-16-16_b1-1-1", "d1-1-1_w16-16-x",
     "d-1-1-1_w16-16-16", "d1-1-1_d1-1-1", "d1-1-1-1_w16-16-16", "d1-1-1_w16-16-16_"],
)  # fmt: skip
def test_another_form_is_refused_with_an_example(text):
    with pytest.raises(InvalidArchitecture, match=r"nds-resnet: cannot read '.*'; expected .* d1-1-1_w16-16-16$"):
        RESNET.parse(text)


@pytest.mark.parametrize(
    ("space", "text", "message"),
    [
        (RESNET, "d1-5-1_w16-16-16", r"depth 5 of stage 2 is not on the grid 1, 2, 3, 4, 6, .*'d1-5-1_w16"),
        (RESNET, "d1-1-1_w16-16-17", r"width 17 of stage 3 is not on the grid 16, 24, 32"),
        (RESNEXT_A, "d1-1-1_w24-16-16_b1-1-1_g1-1-1", r"width 24 of stage 1 is not on the grid 16, 32, 64"),
        (RESNEXT_A, "d1-1-1_w16-16-16_b1-0.3-1_g1-1-1", r"multiplier 0.3 of stage 2 .* grid 0.25, 0.5, 1\."),
        (RESNEXT_A, "d1-1-1_w16-16-16_b1-1-1_g1-1-8", r"groups 8 of stage 3 is not on the grid 1, 2, 4\."),
    ],
)
def test_a_value_off_its_grid_names_stage_value_and_grid(space, text, message):
    with pytest.raises(InvalidArchitecture, match=message):
        space.parse(text)


# --- tokens, variation ----------------------------------------------------------------------------------------------


def test_each_kind_of_decision_has_tokens_of_its_own():
    assert RESNEXT_A.vocabulary == 5 + 3 + 3 + 5
    assert [RESNEXT_A.allowed_tokens((0,) * length) for length in range(5)] == [
        (0, 1, 2, 3, 4),
        (5, 6, 7),
        (8, 9, 10),
        (11, 12, 13, 14, 15),
        (0, 1, 2, 3, 4),
    ]
    assert RESNET.vocabulary == 21
    assert RESNET.tokens((0, 0, 11, 8, 1, 2)) == (0, 12, 11, 20, 1, 14)


@each_space
def test_drawn_architectures_are_of_the_space(space):
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(300)]
    for at, count in enumerate(space.choices):
        assert {architecture[at] for architecture in drawn} == set(range(count))
    one, two = space.disjoint_pair(rng)
    assert all(a != b for a, b in zip(one, two, strict=True))
    for architecture in (space.mutate(one, rng, 0.5), space.crossover(one, two, rng), one, two):
        space.check(architecture)
        assert space.is_connected(architecture)
        assert space.has_live_convolution(architecture)
        assert space.rewritten(architecture, rng) == architecture


# --- costs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "text", "parameters", "operations"),
    [  # the first is also a row of NNI's documentation (nasbench_as_dataset), in millions
        (RESNEXT_A, "d16-1-4_w64-128-16_b0.25-0.25-0.25_g2-1-2", 83_002, 69_890_986),
        (RESNET, "d2-3-3_w32-128-160", 2_174_234, 322_469_450),  # ResNet_reruns.json, top
        (RESNET, "d24-2-24_w24-32-32", 732_810, 298_101_066),  # and mid
    ],
)
def test_costs_of_published_networks(space, text, parameters, operations):
    architecture = space.parse(text)
    assert space.cost(architecture, space.benchmark).parameters == parameters
    assert flops(space, architecture) == operations


@each_pool
def test_costs_are_the_columns_of_the_pools(space, file, real_file):
    truth, operations = pool(space, real_file(file))
    with gzip.open(real_file(file), "rt") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(set(truth.architectures)) == 5000
    assert [int(row["flops"]) for row in rows] == operations
    parameters = [space.cost(architecture, space.benchmark).parameters for architecture in truth.architectures]
    assert [int(row["params"]) for row in rows] == parameters


@pytest.mark.parametrize(("at", "by_parameters", "by_flops"), [(0, 0.600, 0.334), (1, 0.668, 0.479)])
def test_costs_rank_the_pools_as_published(at, by_parameters, by_flops, real_file):
    space, file = POOLS[at]
    truth, operations = pool(space, real_file(file))
    costs = [space.cost(architecture, space.benchmark) for architecture in truth.architectures]
    assert kendalltau([cost.parameters for cost in costs], truth.mean).statistic == pytest.approx(
        by_parameters, abs=5e-4
    )
    assert kendalltau(operations, truth.mean).statistic == pytest.approx(by_flops, abs=5e-4)
    assert kendalltau([cost.macs for cost in costs], truth.mean).statistic == pytest.approx(by_flops, abs=0.02)


@each_space
def test_scaling_is_exact_at_sixteen_channels_and_keeps_groups_whole_below(space):
    """Every width, multiplier and group: inner = width * multiplier, a multiple of the groups."""
    kinds = len(space.grids)
    for options in np.ndindex(*space.choices[:kinds]):
        values = dict(
            zip(space.grids, (grid[o] for grid, o in zip(space.grids.values(), options, strict=True)), strict=True)
        )
        width, multiplier = values["w"], values.get("b", 1)
        exact = space.stages(tuple(options) * 3, space.benchmark)[0]
        assert (exact.width, exact.inner) == (width, width * multiplier)
        for channels in (1, 3, 4, 8):
            config = NetworkConfig(channels=channels)
            scaled, largest = space.stages(tuple(options) * 3, config)[0], space.largest(config)
            assert scaled.width == max(1, round(width * channels / 16))
            assert scaled.inner % scaled.groups == 0
            assert scaled.inner >= scaled.groups == exact.groups
            assert (scaled.depth, scaled.width, scaled.inner) <= (largest.depth, largest.width, largest.inner)
            assert scaled.width <= largest.width
            assert scaled.inner <= largest.inner


def test_cells_mean_nothing():
    rng = np.random.default_rng(1)
    for space in SPACES:
        architecture = space.sample(rng)
        assert space.cost(architecture, NetworkConfig(cells=1)) == space.cost(architecture, NetworkConfig(cells=7))


@each_space
def test_every_decision_has_an_effect(space):
    """Another option of any one decision is a network of another shape: nothing is isomorphic."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        architecture = space.sample(rng)
        for at, count in enumerate(space.choices):
            others = [(*architecture[:at], option, *architecture[at + 1 :]) for option in range(count)]
            assert len({space.stages(other, space.benchmark) for other in others}) == count
            assert len({space.cost(other, space.benchmark) for other in others}) == count
