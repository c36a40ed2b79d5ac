"""The processes that train one supernet together, one per device, and what they exchange.

All processes run the same program with the same seeds: they draw the same sub-networks, mini-batches and augmentations,
and each takes an equal share of a mini-batch. What depends on the whole mini-batch (batch-norm statistics, gradients,
the loss, keys of a queue) is exchanged, so that N processes compute what one computes, apart from rounding.

Lightning Fabric starts the processes, gives each its device and connects them. Two parts of it are not used. Its module
wrapper (DistributedDataParallel) expects one forward per backward, but the objectives call features, teachers, gates
and classifiers separately, and a parameter that a sub-network does not use must have no gradient at all: the training
loop averages the gradients there are. Its reductions put a barrier before each call, which doubles the messages: ours
call torch.distributed on the process group that Fabric made.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed

from supertau.search_spaces.errors import SupertauError

Value = TypeVar("Value")

FIRST = "SUPERTAU_FIRST_PROCESS"
"""Environment variable that tells the other processes the id of the first one, which started them."""
WATCH_SECONDS = 0.5


class ProcessLost(SupertauError):
    """Another process of the same run ended too early."""


class Processes:
    """This process among those that train one supernet; by default it is alone, and nothing is exchanged.

    index: its number, from 0; size: how many there are; device: where it computes, None when it is alone and may
    choose. All processes must call a method together, except `share` and `require_divides`; it raises ProcessLost when
    one of them has ended.
    """

    def __init__(self, fabric: Any = None) -> None:
        self._fabric = fabric
        self.index: int = 0 if fabric is None else fabric.global_rank
        self.size: int = 1 if fabric is None else fabric.world_size
        self.device: torch.device | None = None if fabric is None else fabric.device

    def require_divides(self, batch_size: int) -> None:
        """Raise SupertauError unless a mini-batch can be divided equally."""
        if batch_size % self.size:
            raise SupertauError(
                f"a batch of {batch_size} images cannot be shared out equally among {self.size} devices: choose a "
                "batch size that is a multiple, or another number of devices."
            )

    def share(self, rows: torch.Tensor) -> torch.Tensor:
        """Return this process's part (B / size, ...) of rows that all processes have, (B, ...)."""
        return rows.chunk(self.size)[self.index] if self.size > 1 else rows

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the parts (B / size, ...) of all processes as one, (B, ...), in their order; no gradient flows."""
        if self.size == 1:
            return rows
        whole = rows.new_empty((self.size * len(rows), *rows.shape[1:]))
        with _reaching_all():
            distributed.all_gather(list(whole.chunk(self.size)), rows.detach().contiguous())
        return whole

    def sum(self, tensors: Iterable[torch.Tensor], *, scale: float = 1.0) -> None:
        """Put into each tensor, in place, scale times its sum over the processes; one message for all of them."""
        if self.size == 1:
            return
        parts = list(tensors)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in parts])
        with _reaching_all():
            distributed.all_reduce(flat)
        flat.mul_(scale)
        for tensor, values in zip(parts, flat.split([tensor.numel() for tensor in parts]), strict=True):
            tensor.detach().copy_(values.view_as(tensor))

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Put into each tensor, in place, its mean over the processes."""
        self.sum(tensors, scale=1 / self.size)

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over the processes, without gradient."""
        mean = tensor.detach()
        if self.size > 1:
            mean = mean.clone()
            self.average([mean])
        return mean

    def broadcast(self, value: Value) -> Value:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        with _reaching_all():
            first: Value = self._fabric.broadcast(value)
        return first

    def require_equal(self, tensors: Iterable[torch.Tensor]) -> None:
        """Raise SupertauError when a tensor is not the same on all processes."""
        if self.size == 1:
            return
        sums = torch.stack([tensor.detach().double().sum() for tensor in tensors]).nan_to_num()
        if not (self.gather(sums[None]) == sums).all():
            raise SupertauError(
                "the devices have different weights after the same steps: something in the training depends on the "
                "process. Train this estimator with --devices 1."
            )


ALONE = Processes()


@contextmanager
def _reaching_all() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has nothing finer for a connection that broke
        reason = str(error).partition(". ")[0]
        raise ProcessLost(
            f"another of the run's processes ended (out of memory?): {reason}. Run again to go on from the checkpoint."
        ) from error


def fabric_class() -> Any:
    """Return Lightning's class Fabric; raise SupertauError when the package is missing."""
    try:
        from lightning_fabric import Fabric  # an optional package
    except ImportError as error:
        raise SupertauError(
            "training on several devices needs Lightning Fabric: pip install 'supertau[ddp]'."
        ) from error
    return Fabric


def require_devices(device: torch.device, count: int) -> None:
    """Raise SupertauError when one supernet cannot be trained on so many devices of a kind."""
    if count == 1:
        return
    fabric_class()
    if device.index is not None:
        raise SupertauError(
            f"device '{device}' is one device, {count} were asked for: use --device {device.type}. "
            "CUDA_VISIBLE_DEVICES chooses which GPUs are seen."
        )
    if device.type == "cuda" and torch.cuda.device_count() < count:
        raise SupertauError(f"{count} devices were asked for, torch sees {torch.cuda.device_count()} GPUs.")


def launch(device: torch.device, count: int) -> Processes:
    """Start this program again until `count` processes of it run on this machine, and return this one among them.

    Every process must call it, with the same arguments. The started ones ignore Ctrl-C and SIGTERM, which are for the
    first one to handle, and end when it has ended.
    """
    require_devices(device, count)
    if count == 1:
        return ALONE
    from lightning_fabric.plugins.environments import LightningEnvironment  # an optional package

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if not is_first():
        threading.Thread(target=_end_with, args=(int(os.environ[FIRST]),), daemon=True).start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    os.environ.setdefault(FIRST, str(os.getpid()))
    # The environment is named, not guessed: under a cluster's scheduler Fabric would wait for processes of its own.
    fabric = fabric_class()(accelerator=device.type, devices=count, strategy="ddp", plugins=[LightningEnvironment()])
    fabric.launch()
    return Processes(fabric)


def is_first() -> bool:
    """Whether this process was not started by `launch`."""
    return os.environ.get(FIRST, str(os.getpid())) == str(os.getpid())


def _end_with(first: int) -> None:
    """End this process, whatever it waits for, as soon as the first process is no longer its parent."""
    while os.getppid() == first:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
