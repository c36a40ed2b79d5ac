"""Checkpoints are sealed: what was changed, or is of another training, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supertau.estimators.training.checkpoint import read_checkpoint, sealed
from supertau.search_spaces.errors import DataError

CPU = torch.device("cpu")
STATE = {
    "weights": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "one number": torch.zeros(1).expand(1),
    "expanded": torch.ones(1, dtype=torch.float64).expand(3)[:1],
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "nothing": torch.empty(0),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "plain": [1, 2.5, "text", None, True, (3, {"a": 4, 5: "b"})],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(sealed({"estimator": STATE, "finished": False}, "this training"), tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


def test_what_is_sealed_is_read(path: Path) -> None:
    content = read_checkpoint(path.parent, CPU, "this training")
    assert content["finished"] is False
    for name, value in STATE.items():
        read = content["estimator"][name]
        assert torch.equal(read, value) if isinstance(value, torch.Tensor) else read == value


def test_another_training_is_refused(path: Path) -> None:
    read_checkpoint(path, CPU)
    with pytest.raises(DataError, match="is from another training"):
        read_checkpoint(path, CPU, "another training")


@pytest.mark.parametrize("name", [name for name, value in STATE.items() if name != "nothing"])
def test_every_change_is_noticed(path: Path, name: str) -> None:
    content = torch.load(path, weights_only=True)
    value = content["estimator"][name]
    if isinstance(value, torch.Tensor):
        changed = value.detach().clone(memory_format=torch.contiguous_format)
        changed.reshape(-1)[0] = not changed.reshape(-1)[0] if changed.dtype == torch.bool else 7
        content["estimator"][name] = changed
    else:
        value[5][1]["a"] = 5
    torch.save(content, path)
    with pytest.raises(DataError, match="is damaged: its checksum is another"):
        read_checkpoint(path, CPU)


def test_without_a_checksum_it_is_refused(path: Path) -> None:
    torch.save({"estimator": STATE, "training": "this training"}, path)
    with pytest.raises(DataError, match="is damaged"):
        read_checkpoint(path, CPU)
