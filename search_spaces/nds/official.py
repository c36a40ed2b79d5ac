"""Official NDS files (JSON) and the published pools drawn from them (CSV).

An official file is a list of trainings; a ``*_reruns`` file has two such lists, of one network each. Its lists of
depths, widths and so on have the stem in front, and it gives errors in percent, not accuracies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, InvalidArchitecture, reason
from supertau.search_spaces.nds.blocks import BlockSpace
from supertau.search_spaces.nds.forms import STRIDES, Wrong, field, net_values, numbers, shown
from supertau.search_spaces.table import read_csv
from supertau.search_spaces.truth import GroundTruth

Which = Literal["best", "last"]
"""The highest accuracy after any epoch, as in the NDS paper, or the accuracy after the last."""

EPOCHS = 100
CHANCE = 10.0  # percent; trainings that failed stay there
POOL_SOURCE = "NDS pool of Ning et al. 2021 (review supplement of arXiv:2008.03064)"

_COLUMNS = {"d": "depths", "w": "widths", "b": "bot_muls", "g": "num_groups"}
_CELL_SPACES = ("Amoeba", "DARTS", "ENAS", "NASNet", "PNAS")


class Settings(NamedTuple):
    """How a network was trained."""

    learning_rate: float
    weight_decay: float
    epochs: int

    def __str__(self) -> str:
        return f"learning rate {self.learning_rate:g}, weight decay {self.weight_decay:g}, {self.epochs} epochs"


class Training(NamedTuple):
    """One entry of an official file: accuracies in percent at the best epoch and after each."""

    architecture: Architecture
    best: float
    after: tuple[float, ...]
    seed: int
    settings: Settings
    parameters: int
    flops: int

    def accuracy(self, which: Which) -> float:
        """Return one of the two accuracies; raise Wrong for the last of a training that was cut short."""
        if which == "best":
            return self.best
        if len(self.after) != self.settings.epochs:
            raise Wrong(f"test_ep_top1 has {len(self.after)} of {self.settings.epochs} epochs, so the last is missing.")
        return self.after[-1]


def read_trainings(path: Path, space: BlockSpace) -> list[Training]:
    """Return the entries of an official file in its order.

    Raises DataError, naming file and entry, where the file is damaged, of another space or of ImageNet.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({type(error).__name__}: {reason(error)}); is the file complete?"
        ) from error
    groups = {"": content}
    if isinstance(content, dict) and content and all(isinstance(jobs, list) for jobs in content.values()):
        groups = {f" of '{name}'": jobs for name, jobs in content.items()}  # *_reruns: top and mid
    trainings = []
    for of_group, jobs in groups.items():
        if not isinstance(jobs, list):
            raise DataError(f"{path}: holds {shown(content)}; expected a list of trainings, as in NDS.")
        for number, job in enumerate(jobs):
            try:
                trainings.append(_training(job, space, path))
            except (Wrong, InvalidArchitecture) as error:
                raise DataError(f"{path}, entry {number}{of_group}: {error}") from error
    if not trainings:
        raise DataError(f"{path}: holds no trainings.")
    return trainings


def read_official(paths: Sequence[Path], space: BlockSpace, dataset: str, *, which: Which = "best") -> GroundTruth:
    """Return the test accuracies of official files, rows in the files' order.

    A network that is in several files, or several times in one, has as many trials: one column per file and
    occurrence, those of a file ordered by training seed. Raises DataError also where trainings differ in their
    settings, as in the sweeps of learning rates.
    """
    by_architecture: dict[Architecture, dict[tuple[int, int], Training]] = {}
    """By file and occurrence in it."""
    settings: Settings | None = None
    for file, path in enumerate(paths):
        trainings = read_trainings(path, space)
        settings = settings or trainings[0].settings
        for training in trainings:
            by_architecture.setdefault(training.architecture, {})
            if training.settings != settings:
                raise DataError(
                    f"{path}: {space.format(training.architecture)} was trained with {training.settings}, the first "
                    f"network with {settings}; a sweep of training settings is not ground truth."
                )
        for training in sorted(trainings, key=lambda training: training.seed):
            of_network = by_architecture[training.architecture]
            of_network[file, sum(of_file == file for of_file, _ in of_network)] = training
    assert settings is not None
    columns = sorted({column for of_network in by_architecture.values() for column in of_network})
    at = {column: number for number, column in enumerate(columns)}
    trials = np.full((len(by_architecture), len(columns)), np.nan)
    seeds: list[set[int]] = [set() for _ in columns]
    for row, (architecture, of_network) in enumerate(by_architecture.items()):
        for column, training in of_network.items():
            try:
                trials[row, at[column]] = training.accuracy(which)
            except Wrong as error:
                raise DataError(f"{paths[column[0]]}, {space.format(architecture)}: {error}") from error
            seeds[at[column]].add(training.seed)
    names = [str(min(of_column)) for of_column in seeds]
    if any(len(of_column) > 1 for of_column in seeds) or len(set(names)) < len(names):
        names = [f"trial-{number}" for number in range(1, len(columns) + 1)]
    digests = [digest(path, "sha256") for path in paths]
    return GroundTruth(
        space=space.name,
        dataset=dataset,
        split="test",
        epochs=settings.epochs,
        source=f"NDS {', '.join(path.name for path in paths)} (facebookresearch/nds), {which} epoch",
        sha256=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        architectures=tuple(by_architecture),
        trials=trials,
        seeds=tuple(names),
        chance=CHANCE,
    )


def _training(job: Any, space: BlockSpace, path: Path) -> Training:
    net = field(job, "net", dict)
    if "genotype" in net:
        cells = path.name.split("_")[0].removesuffix(".json")
        of_cells = cells if cells in _CELL_SPACES else "a space"
        raise Wrong(
            f"a network of cells (it has a genotype): the file is of {of_cells} among {', '.join(_CELL_SPACES)}, whose "
            f"networks are not supported as ground truth here; expected networks of {space.official}."
        )
    values = net_values(net, tuple(space.grids), space.official, space.official_block)
    errors = numbers(job, "test_ep_top1")
    if not errors:
        raise Wrong("test_ep_top1 is empty; expected the test error of every epoch.")
    optim = field(job, "optim", dict)
    return Training(
        architecture=space.encode(values),
        best=_accuracy("min_test_top1", field(job, "min_test_top1", float, int)),
        after=tuple(_accuracy("test_ep_top1", error) for error in errors),
        seed=field(job, "rng_seed", int),
        settings=Settings(
            field(optim, "base_lr", float, int), field(optim, "wd", float, int), field(optim, "max_ep", int)
        ),
        parameters=field(job, "params", int),
        flops=field(job, "flops", int),
    )


def _accuracy(name: str, error: float) -> float:
    if not 0 <= error <= 100:
        raise Wrong(f"{name} is {error}; expected an error in percent, 0 to 100.")
    return round(100 - error, 6)  # six decimals are what the files hold


# --- pools ----------------------------------------------------------------------------------------------------------


def is_pool(path: Path) -> bool:
    """Return whether a CSV file, which may be compressed, has the columns of a pool."""
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return False
    _, header, _ = read_csv(path)
    return f"{_COLUMNS['d']}.0" in header and "architecture" not in header


def read_pool(path: Path, space: BlockSpace, dataset: str) -> GroundTruth:
    """Return the accuracies of a pool, columns ``depths.0`` ... ``params``, ``flops``, ``test_acc``, rows in its order.

    Accuracies are those of the best epoch, of ResNet the mean of three training seeds. Raises DataError with the line
    and its content where a column is missing, a value is not on its grid, a network is there twice, or its number of
    parameters is not that of the space's network, which tells spaces of equal grids apart.
    """
    _, header, rows = read_csv(path)
    wanted = {letter: [f"{_COLUMNS[letter]}.{stage}" for stage in range(len(STRIDES))] for letter in space.grids}
    missing = {name for names in (*wanted.values(), ["params", "test_acc"]) for name in names} - set(header)
    if missing:
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}. The table has: {', '.join(header)}.")
    accuracies: dict[Architecture, float] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            raise DataError(f"{where}: {len(row)} values, expected {len(header)} ({', '.join(header)}).")
        fields = dict(zip(header, row, strict=True))
        try:
            values = {letter: [float(fields[name]) for name in names] for letter, names in wanted.items()}
            parameters, accuracy = int(fields["params"]), float(fields["test_acc"])
            architecture = space.encode(values)
        except (ValueError, InvalidArchitecture) as error:
            raise DataError(f"{where}: {error}") from error
        if not 0 <= accuracy <= 100:
            raise DataError(f"{where}: test_acc {accuracy} is not a percentage between 0 and 100.")
        expected = space.cost(architecture, space.benchmark).parameters
        if parameters != expected:
            raise DataError(
                f"{where}: {parameters:,} parameters, but {space.format(architecture)} of {space.name} has "
                f"{expected:,}; is it a pool of another space?"
            )
        if architecture in accuracies:
            raise DataError(f"{where}: {space.format(architecture)} stands in the pool already.")
        accuracies[architecture] = accuracy
    averaged = space.official == "ResNet"
    return GroundTruth(
        space=space.name,
        dataset=dataset,
        split="test",
        epochs=EPOCHS,
        source=f"{POOL_SOURCE}, best epoch, {'mean of three seeds' if averaged else 'one seed'}",
        sha256=digest(path, "sha256"),
        architectures=tuple(accuracies),
        trials=np.array([[accuracy] for accuracy in accuracies.values()], dtype=np.float64).reshape(-1, 1),
        seeds=("mean-of-three",) if averaged else ("accuracy",),
        chance=CHANCE,
    )
