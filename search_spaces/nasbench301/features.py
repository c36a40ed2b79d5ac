"""The input of NAS-Bench-301's surrogate models: an architecture as 56 numbers, without the package ConfigSpace.

The models were trained on the arrays of ConfigSpace configurations: 22 hyperparameters of the training, the same for
every query, and 34 of the architecture, each -1 where its edge does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import InvalidArchitecture
from supertau.search_spaces.nasbench301.genotype import CHOICES, INPUTS, KINDS, NODES, OPERATIONS, PAIRS, decoded
from supertau.search_spaces.truth import Floats

_DARTS = "NetworkSelectorDatasetInfo:darts:"

TRAINING: Final[dict[str, float]] = {
    "CreateImageDataLoader:batch_size": 0.5863451791322545,
    "ImageAugmentation:augment": 0.0,
    "ImageAugmentation:autoaugment": 0.0,
    "ImageAugmentation:cutout": 0.0,
    "ImageAugmentation:cutout_holes": 0.16666444442962952,
    "ImageAugmentation:cutout_length": 0.3099999239999697,
    "ImageAugmentation:fastautoaugment": 0.0,
    "LossModuleSelectorIndices:loss_module": 0.0,
    f"{_DARTS}auxiliary": 0.0,
    f"{_DARTS}drop_path_prob": 0.0,
    f"{_DARTS}init_channels": 0.003149999006299998,
    f"{_DARTS}layers": 0.000749999001499998,
    "NetworkSelectorDatasetInfo:network": 0.0,
    "OptimizerSelector:optimizer": 0.0,
    "OptimizerSelector:sgd:learning_rate": -3.6888794541139363,
    "OptimizerSelector:sgd:momentum": 0.8988764044943821,
    "OptimizerSelector:sgd:weight_decay": -8.111728083308073,
    "SimpleLearningrateSchedulerSelector:cosine_annealing:T_max": 0.009949999019899998,
    "SimpleLearningrateSchedulerSelector:cosine_annealing:eta_min": 1e-12,
    "SimpleLearningrateSchedulerSelector:lr_scheduler": 0.0,
    "SimpleTrainNode:batch_loss_computation_technique": 0.0,
    "SimpleTrainNode:mixup:alpha": 0.7051278400653053,
}
"""The training in nasbench301 0.3's `fixed_hyperparameters`, as ConfigSpace scales it: numbers to their range (rate and
weight decay to their logarithm), categories to their number. Batch 96, 32 channels, 8 cells, 100 epochs, rate 0.025."""

INACTIVE = -1.0
"""Value of an edge that does not exist."""


def edge_name(kind: str, node: int, source: int) -> str:
    """Return the name of an edge's operation; node: 0 to 3, source: its predecessor, 0 to node + 1."""
    return f"{_DARTS}edge_{kind}_{sum(range(INPUTS, INPUTS + node)) + source}"


def inputs_name(kind: str, node: int) -> str:
    """Return the name of a node's pair of predecessors; node: 1 to 3, as the first node has no choice."""
    return f"{_DARTS}inputs_node_{kind}_{node + INPUTS}"


def _names() -> tuple[str, ...]:
    edges = {
        node: [edge_name(kind, node, source) for kind in KINDS for source in range(INPUTS + node)]
        for node in range(NODES)
    }
    inputs = [inputs_name(kind, node) for kind in KINDS for node in range(1, NODES)]
    # ConfigSpace puts what always exists before what depends on another choice, each part in alphabetic order.
    dependent = [name for node in range(1, NODES) for name in edges[node]]
    return (*sorted([*TRAINING, *edges[0], *inputs]), *sorted(dependent))


NAMES = _names()
"""The 56 features in the models' order."""

_COLUMNS = {name: column for column, name in enumerate(NAMES)}
_BLANK = np.array([TRAINING.get(name, INACTIVE) for name in NAMES])


def _numbers(architecture: Architecture) -> dict[str, int]:
    """Return the active features of an architecture: numbers of operations and pairs of predecessors."""
    numbers = {}
    for kind, cell in zip(KINDS, decoded(architecture), strict=True):
        for node, entries in enumerate(cell):
            for source, option in entries:
                numbers[edge_name(kind, node, source)] = option
            if node:
                numbers[inputs_name(kind, node)] = PAIRS[node].index((entries[0][0], entries[1][0]))
    return numbers


def configuration(architecture: Architecture) -> dict[str, str]:
    """Return the architecture's part of a ConfigSpace configuration: names of operations, pairs such as '0_2'."""
    texts = {}
    for name, number in _numbers(architecture).items():
        if "inputs_node" in name:
            texts[name] = "_".join(map(str, PAIRS[int(name[-1]) - INPUTS][number]))
        else:
            texts[name] = OPERATIONS[number]
    return texts


def _check(architecture: Architecture) -> None:
    fits = len(architecture) == len(CHOICES)
    if not fits or not all(0 <= option < count for option, count in zip(architecture, CHOICES, strict=True)):
        raise InvalidArchitecture(
            f"nasbench301: an architecture has {len(CHOICES)} decisions with {CHOICES} options, got {architecture}."
        )


def features(architectures: Sequence[Architecture]) -> Floats:
    """Return the surrogate models' input, shape (N, 56), columns as in NAMES; raise InvalidArchitecture."""
    rows = np.tile(_BLANK, (len(architectures), 1))
    for row, architecture in zip(rows, architectures, strict=True):
        _check(architecture)
        for name, number in _numbers(architecture).items():
            row[_COLUMNS[name]] = number
    return rows
