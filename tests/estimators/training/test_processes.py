"""One supernet on two processes: the same training as in one process, with each exchange shown to be needed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from states import same
from torch import nn

from supertau.estimators.training.batch_norm import WholeBatch, ruled
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.processes import ALONE, Processes, require_devices
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.glow import SeededDropout
from supertau.search_spaces.layers import BatchNorm2d

FABRIC = importlib.util.find_spec("lightning_fabric") is not None
needs_fabric = pytest.mark.skipif(not FABRIC, reason="lightning-fabric is not installed (extra 'ddp')")
TOLERANCE = 1e-9
"""In double precision; what was seen is below 1e-11."""


def distance(one, other) -> float:
    """Return the largest difference of numbers in two states; what is not a float must be equal."""
    if isinstance(one, torch.Tensor) and one.is_floating_point():
        return (one.double() - other.double()).abs().max().item() if one.numel() else 0.0
    if isinstance(one, torch.Tensor):
        return 0.0 if torch.equal(one, other) else float("inf")
    if isinstance(one, dict):
        assert list(one) == list(other)
        return max((distance(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        return max(map(distance, one, other), default=0.0)
    if isinstance(one, float) and one != other:
        return abs(one - other)
    return 0.0 if one == other else float("inf")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which two processes have put how their trainings ended."""
    folder = tmp_path_factory.mktemp("processes")
    done = subprocess.run(
        [sys.executable, two_processes.__file__, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """Return how a training ends in one process."""
    folder, ended = tmp_path_factory.mktemp("alone"), {}

    def train(case):
        if case not in ended:
            with two_processes.double_precision():
                ended[case] = two_processes.train(case, folder)
        return ended[case]

    return train


def of_process(folder: Path, name: str, index: int):
    return torch.load(folder / f"{name}-{index}.pt", weights_only=True)


@needs_fabric
@pytest.mark.parametrize("case", two_processes.CASES)
def test_two_processes_train_and_score_as_one_process(ended, alone, case):
    """Weights, momentum, statistics, generators, queues, populations, scores, costs; also in the middle of training."""
    assert distance(alone(case), of_process(ended, case, 0)) < TOLERANCE
    assert same(of_process(ended, case, 0), of_process(ended, case, 1)), "processes must agree to the last bit"


@needs_fabric
def test_two_processes_resume_what_one_process_began(ended, alone):
    expected = {name: alone("spos")[name] for name in ("state", "scores", "cost")}
    assert distance(expected, of_process(ended, "resumed", 0)) < TOLERANCE


@needs_fabric
def test_statistics_of_each_processs_own_images_train_something_else(ended, alone):
    other = of_process(ended, "own_statistics", 0)
    assert distance(alone("spos")["state"]["supernet"], other["state"]["supernet"]) > 1e6 * TOLERANCE
    assert distance(alone("spos")["scores"], other["scores"]) > 1e6 * TOLERANCE


@needs_fabric
def test_processes_that_come_apart_are_an_error(ended):
    assert "have different weights" in of_process(ended, "own_gradients", 1)


# --- in one process -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [5, 3])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": 0.3, "eps": 0.1}])
def test_statistics_and_gradients_of_one_process_are_those_of_torch(channels, options):
    norm, other = (BatchNorm2d(5, **options).double() for _ in range(2))
    for held in (norm, other) if norm.affine else ():
        nn.init.constant_(held.weight, 1.5)
        nn.init.constant_(held.bias, 0.2)
    generator = torch.Generator().manual_seed(0)
    values, weights = (torch.randn(4, channels, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    states = [(3 + values).requires_grad_() for _ in range(2)]
    outputs = [norm(states[0])]
    with ruled(other, WholeBatch(ALONE)):
        outputs.append(other(states[1]))
    for output in outputs:
        (output * weights).sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(states[1].grad, states[0].grad)
    torch.testing.assert_close([p.grad for p in other.parameters()], [p.grad for p in norm.parameters()])
    torch.testing.assert_close(other.state_dict(), norm.state_dict())


def test_statistics_are_left_alone_in_evaluation():
    norm, states = nn.BatchNorm2d(2).eval(), torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with ruled(norm, WholeBatch(ALONE)):
        torch.testing.assert_close(norm(states), states / (1 + norm.eps) ** 0.5)
    assert same(norm.state_dict(), before)


def test_dropout_of_a_share_is_the_share_of_the_dropout():
    values = torch.arange(1.0, 25).view(8, 3)
    whole, *parts = (
        SeededDropout(0.5, torch.Generator().manual_seed(1), share)(values.chunk(share[1])[share[0]])
        for share in [(0, 1), (0, 2), (1, 2)]
    )
    assert torch.equal(torch.cat(parts), whole)
    assert 0 < (whole == 0).sum() < 24


def of_three() -> Processes:
    processes = Processes()
    processes.size = 3
    return processes


def test_a_batch_that_cannot_be_shared_out_is_refused():
    recipe = Optimisation(16, 0.1, 0.0, 0.9, nesterov=False, weight_decay=0.0, clip=0.0)
    with pytest.raises(SupertauError, match="a batch of 16 images cannot be shared out equally among 3 devices"):
        TrainingLoop([nn.Parameter(torch.zeros(1))], two_processes.problem("spos", of_three()), None, recipe)


def test_missing_devices_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    require_devices(torch.device("cpu"), 1)
    with pytest.raises(SupertauError, match=r"needs Lightning Fabric: pip install 'supertau\[ddp\]'"):
        require_devices(torch.device("cpu"), 2)
    monkeypatch.setattr("supertau.estimators.training.processes.fabric_class", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SupertauError, match="2 devices were asked for, torch sees 1 GPUs"):
        require_devices(torch.device("cuda"), 2)
    with pytest.raises(SupertauError, match="'cuda:1' is one device, 2 were asked for: use --device cuda"):
        require_devices(torch.device("cuda:1"), 2)
