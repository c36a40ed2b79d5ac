"""The tables that come with the project: what they are is said in them, and they are what the recipe draws."""

import importlib.resources

import numpy as np
import pytest
from scipy import stats

from supertau.benchmarks.standalone.training import Recipe, get_recipe, images_of
from supertau.search_spaces.pool import select
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.table import table_metadata

SPACES = ("nasbench301", "nds-resnet", "nds-resnexta")


@pytest.mark.parametrize("name", SPACES)
def test_a_packaged_table_is_small_and_says_what_it_is(name):
    space = get_space(name)
    truth = space.truth("micro")
    assert space.truths == ("micro",)
    assert (truth.space, truth.dataset, truth.seeds, truth.chance) == (name, "micro", ("0", "1"), 10.0)
    assert truth.source.startswith("trained alone by supertau, micro scale: digits at 8x8, C=")
    assert not np.isnan(truth.trials).any()
    path = importlib.resources.files("supertau.search_spaces") / "tables" / f"{name}-micro.parquet"
    assert len(path.read_bytes()) < 1_000_000
    about = table_metadata(path)
    recipe = Recipe(**about["recipe"])
    assert recipe == get_recipe("micro", name)
    assert (about["failed"], about["pool"]) == (0, "random:200")
    train, _ = images_of(recipe)
    limit, size = recipe.max_macs or np.inf, train.network(recipe.channels, recipe.cells)
    drawn = select(space, "random:200", accept=lambda a: space.cost(a, size).macs <= limit).architectures
    assert truth.architectures == drawn


@pytest.mark.parametrize("name", SPACES)
def test_a_packaged_table_tells_architectures_apart(name):
    """The two trainings agree far beyond chance, whose tau has a standard deviation of .048 here."""
    trials = get_space(name).truth("micro").trials
    assert stats.kendalltau(*trials.T).statistic > 0.4
