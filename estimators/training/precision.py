"""Half precision where it pays: autocast, and a scaled loss where small gradients would become zero.

Weights, gradients, the optimiser, batch-norm statistics and losses stay in single precision; convolutions and matrix
products run in the precision of the setting. Meant for GPUs: CPUs without instructions for it become slower.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

Precision = Literal["float32", "bfloat16", "float16"]
"""bfloat16 has the range of float32 and 16 bits less precision; float16 has 3 bits more than that and a small range."""


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a supernet runs forward."""
    assert precision in get_args(Precision)
    # No cache: a sub-network uses a weight once, and a weight cached in inference mode cannot be used in training.
    return torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32", cache_enabled=False)


def loss_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return the scaler of the loss, which skips a step whose gradients overflow; it has an effect in float16 only."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
