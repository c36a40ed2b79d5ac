"""Trainings that must end alike in one process and in two. As a script, ``two_processes.py FOLDER`` runs them in two.

Each process writes <case>-<index>.pt into the folder: scores, the state at the end and the one in the middle.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from supertau.estimators import one_shot, pinas
from supertau.estimators.estimator import Budget, Monitor
from supertau.estimators.problem import Augmentation, ImageSet, Problem
from supertau.estimators.registry import ESTIMATORS
from supertau.estimators.training import augmentation as augment
from supertau.estimators.training import loop as training
from supertau.estimators.training import scoring
from supertau.estimators.training.processes import ALONE, launch
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.nds.space import NDSResNet
from supertau.search_spaces.space import NetworkConfig


class Shallow(NDSResNet):
    """NDS-ResNet with grids short enough for a test: batch norms that run with part of their channels."""

    name = "shallow"
    grids = {"w": (16, 32), "d": (1, 2)}  # noqa: RUF012


BN = {"bn": ["recalibrated", "batch"]}
PASSES = 192
"""12 steps of SPOS."""
CASES = {
    "spos": ("spos", {}, PASSES),
    "sliced": ("spos", {"affine": True}, PASSES),
    "code": ("shifting", {}, PASSES),
    "paper": ("shifting", {"mode": "paper", "steps_per_candidate": 3}, PASSES),
    "pinas": ("pinas", {"supervised": True, "probe_share": 0.1}, 3 * PASSES),
    "naov2": ("naov2", {"rounds": 1, "bn": ["batch"]}, PASSES),
    "close": ("close", {"dropout": 0.3, "activations": [0.0, 0.2, 0.5]}, 2 * PASSES),
    "reference": ("close", {"mode": "reference", "dropout": 0.3, "plateau_patience": 0}, 2 * PASSES),
}


def images(rows, seed):
    """Return images whose brightness tells the class, under noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 10
    pixels = 20 * labels[:, None, None, None] + torch.randint(56, (rows, 1, 8, 8), generator=generator)
    return ImageSet("stripes", pixels.to(torch.uint8), labels, 10, (0.4,), (0.25,), Augmentation(crop=1, flip=True))


def problem(case, processes=ALONE):
    space = Shallow() if case == "sliced" else NASBench201()
    size = NetworkConfig(channels=4, cells=1, image_size=8, classes=10, image_channels=1)
    return Problem(space, size, images(96, 0), images(64, 1), 3, processes=processes)


def make(case):
    name, changes, _ = CASES[case]
    values = {"batch_size": 16, "learning_rate": 0.1, **BN, **changes}
    if name == "pinas":
        values["learning_rate"] = 0.03
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return ESTIMATORS.get(name).configured("smoke", lists)


@contextlib.contextmanager
def default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def double_precision():
    """Let networks compute in double precision: in single precision some trainings amplify rounding too much."""

    def normalise(*arguments):
        return augment.normalise(*arguments).double()

    def distort(*arguments):  # the views are made in single precision
        with default(torch.float32):
            return augment.distort(*arguments)

    with default(torch.float64), pytest.MonkeyPatch.context() as patch:
        for module in (one_shot, pinas, scoring):
            patch.setattr(module, "normalise", normalise)
        patch.setattr(pinas, "distort", distort)
        yield


class Halfway(Monitor):
    """Keeps the state in the middle of training."""

    def __init__(self, path):
        self.path = path

    def after_step(self, estimator, step, total, loss, learning_rate):
        if step == total // 2:
            torch.save(estimator.state_dict(), self.path)


def train(case, folder, processes=ALONE, start=None):
    """Train a case, from a state if there is one, and return scores and states."""
    estimator, given = make(case), problem(case, processes)
    budget, halfway = Budget(CASES[case][2]), folder / f"half-{case}-{processes.index}-{processes.size}.pt"
    if start is None:
        estimator.fit(given, budget, Halfway(halfway))
    else:
        estimator.restore(given, start)
        estimator.train(budget, Monitor())
    state = estimator.state_dict()
    rng = np.random.default_rng(0)
    pool = [given.space.sample(rng) for _ in range(70)]  # more than two groups of a scorer
    scores = {name: torch.from_numpy(values) for name, values in estimator.score(pool).items()}
    end = {"state": state, "scores": scores, "cost": estimator.cost()}
    return end if start is not None else {**end, "half": torch.load(halfway, weights_only=True)}


def main():
    folder, processes = Path(sys.argv[1]), launch(torch.device("cpu"), 2)
    torch.set_num_threads(1)

    def keep(name, value):
        torch.save(value, folder / f"{name}-{processes.index}.pt")

    for case in CASES:
        keep(case, train(case, folder, processes))
    (own := folder / str(processes.index)).mkdir()
    alone = train("spos", own)
    keep("resumed", train("spos", folder, processes, alone["half"]))
    # What must fail: each process with its own statistics, and each with its own gradients.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "whole_batches", lambda networks, processes: contextlib.nullcontext())
        keep("own_statistics", train("spos", folder, processes))
    processes.average = lambda tensors: None
    try:
        train("spos", folder, processes)
    except SupertauError as error:
        keep("own_gradients", str(error))


if __name__ == "__main__":
    with double_precision():
        main()
