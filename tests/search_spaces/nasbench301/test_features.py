"""The surrogate's input: a published genotype by hand, the order of nasbench301, and ConfigSpace itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.nasbench301.features import INACTIVE, NAMES, TRAINING, configuration, features
from supertau.search_spaces.nasbench301.space import DARTS

SPACE = DARTS()
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
"""The second-order cells of Liu et al. 2019."""
ACTIVE = {
    "edge_normal": {0: 3, 1: 3, 2: 3, 3: 3, 5: 2, 6: 3, 9: 2, 11: 5},
    "inputs_node_normal": {3: 0, 4: 0, 5: 1},
    "edge_reduce": {0: 0, 1: 0, 3: 0, 4: 2, 5: 0, 7: 2, 10: 0, 11: 2},
    "inputs_node_reduce": {3: 2, 4: 1, 5: 4},
}
PREFIX = "NetworkSelectorDatasetInfo:darts:"


def by_name(text: str) -> dict[str, float]:
    return dict(zip(NAMES, features([SPACE.parse(text)])[0].tolist(), strict=True))


def test_a_published_genotype() -> None:
    found = by_name(DARTS_V2)
    active = {f"{PREFIX}{kind}_{number}": v for kind, values in ACTIVE.items() for number, v in values.items()}
    assert len(active) == 22
    for name, value in found.items():
        if name not in TRAINING:
            assert value == active.get(name, -1.0), name


def test_as_names_for_configspace() -> None:
    found = configuration(SPACE.parse(DARTS_V2))
    assert len(found) == 22
    assert found[f"{PREFIX}edge_normal_11"] == "dil_conv_3x3"
    assert found[f"{PREFIX}edge_reduce_5"] == "max_pool_3x3"
    assert found[f"{PREFIX}inputs_node_normal_5"] == "0_2"
    assert found[f"{PREFIX}inputs_node_reduce_3"] == "1_2"


def test_shape_and_constants() -> None:
    rng = np.random.default_rng(0)
    rows = features([SPACE.sample(rng) for _ in range(50)])
    assert rows.shape == (50, 56)
    assert rows.dtype == np.float64
    assert len(set(NAMES)) == 56
    assert len(TRAINING) == 22
    constant = [NAMES.index(name) for name in TRAINING]
    np.testing.assert_array_equal(rows[:, constant], np.tile(list(TRAINING.values()), (50, 1)))
    assert ((rows == INACTIVE).sum(axis=1) == 12).all()  # 28 edges, of which 16 are taken
    assert features([]).shape == (0, 56)


def test_different_architectures_differ() -> None:
    rng = np.random.default_rng(1)
    found = {SPACE.sample(rng) for _ in range(300)}
    assert len(np.unique(features(sorted(found)), axis=0)) == len(found)


@pytest.mark.parametrize("architecture", [(0,) * 23, (0,) * 25, (*(0,) * 23, 7), (1, *(0,) * 23), (*(0,) * 23, -1)])
def test_not_an_architecture(architecture: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArchitecture, match="24 decisions"):
        features([architecture])


def test_order_and_values_of_the_package(real_file: Callable[[str], Path]) -> None:
    names, values = json.loads(real_file("nb301/nb301_vector_order_example.json").read_text())
    assert list(NAMES) == names
    assert list(by_name(DARTS_V2).values()) == values


def test_equal_to_configspace() -> None:
    from supertau.search_spaces.nasbench301 import package

    lacking = package.missing("xgb")
    if lacking:
        pytest.skip(f"the package nasbench301 needs {', '.join(lacking)}")
    api = package._package("xgb").api
    with package._readable_space():
        loader = api.utils.ConfigLoader(str(Path(api.__file__).with_name("configspace.json")))
    rng = np.random.default_rng(2)
    for architecture in [SPACE.sample(rng) for _ in range(20)]:
        chosen = api.representations.convert_genotype_to_config(package._genotype(architecture))
        assert configuration(architecture) == chosen
        instance = loader.query_config_dict({**api.fixed_hyperparameters, **chosen})
        assert tuple(loader.config_space.get_hyperparameter_names()) == NAMES
        expected = np.nan_to_num(instance.get_array(), nan=-1)
        np.testing.assert_allclose(features([architecture])[0], expected, rtol=1e-14)
