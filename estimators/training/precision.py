"""Half precision where it is worth it: autocast, and a scaled loss where small gradients would become zero.

Weights, gradients, the optimiser, batch-norm statistics and losses stay in single precision; convolutions and products
are done in the precision asked for. Meant for GPUs: processors without instructions for it are slower with it.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

Precision = Literal["float32", "bfloat16", "float16"]
"""bfloat16 has the range of float32 and three digits less; float16 has two digits more than that, and a small range."""


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a supernet runs forward."""
    assert precision in get_args(Precision)
    # Not cached: a sub-network uses a weight once, and what is cached in inference mode cannot be used in training.
    return torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32", cache_enabled=False)


def loss_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return what scales the loss, and leaves out a step whose gradients overflow; without effect but in float16."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
