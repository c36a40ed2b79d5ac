"""Where batch norms take their statistics from, in scoring and with several processes; nothing is changed for good.

A rule replaces the forward of every batch norm of a supernet inside the context `ruled`. Its input may stack the images
of several sub-networks along the first axis; each has its own statistics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from supertau.estimators.training.processes import Processes
from supertau.search_spaces.layers import count_batch, leading, track


class Rule(ABC):
    """Normalises the input of a batch norm.

    images: how many rows of the input belong to one sub-network, set before each forward.
    """

    images: int

    @abstractmethod
    def __call__(self, norm: nn.BatchNorm2d, states: torch.Tensor) -> torch.Tensor:
        """Return the normalised states, (R * images, C, H, W)."""


class Inherited(Rule):
    """The running statistics that training left, mixed over all sub-networks."""

    def __call__(self, norm: nn.BatchNorm2d, states: torch.Tensor) -> torch.Tensor:
        mean, variance, weight, bias = leading(norm, states.shape[1])
        return functional.batch_norm(states, mean, variance, weight, bias, training=False, eps=norm.eps)


class BatchStatistics(Rule):
    """The statistics of the batch at hand, separately for each sub-network."""

    def __call__(self, norm: nn.BatchNorm2d, states: torch.Tensor) -> torch.Tensor:
        return _apart(norm, states, [(None, None)] * (len(states) // self.images), training=True)


class Recalibrated(Rule):
    """The plain average of batch statistics over calibration batches: first `collecting`, then applied.

    An exponential average over K batches would keep 0.9^K of the values it starts from. For each batch norm there is
    a list of statistics of the sub-networks of a group, in the order in which it runs on them, the same in every batch.
    """

    def __init__(self) -> None:
        self._statistics: defaultdict[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
        self._ran: Counter[nn.Module] = Counter()
        self._batches = 0
        self._collecting = True

    def next_batch(self, images: int, *, collecting: bool) -> None:
        """Announce how many images come next, and whether they calibrate or are scored."""
        self.images, self._collecting = images, collecting
        self._ran.clear()
        self._batches += collecting

    def __call__(self, norm: nn.BatchNorm2d, states: torch.Tensor) -> torch.Tensor:
        size, statistics = states.shape[1], self._statistics[norm]
        begin, end = self._ran[norm], self._ran[norm] + len(states) // self.images
        self._ran[norm] = end
        exact = torch.promote_types(states.dtype, torch.float32)
        while len(statistics) < end:
            statistics.append((states.new_zeros(size, dtype=exact), states.new_ones(size, dtype=exact)))
        # With momentum 1/k the k-th batch enters with equal weight, and the initial values with none.
        return _apart(norm, states, statistics[begin:end], training=self._collecting, momentum=1 / self._batches)


class WholeBatch(Rule):
    """Training with several processes: the statistics of the whole mini-batch, of which each has an equal share.

    torch's SyncBatchNorm computes the same, but only on GPUs, for all channels of a norm, and is no ``nn.BatchNorm2d``.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    def __call__(self, norm: nn.BatchNorm2d, states: torch.Tensor) -> torch.Tensor:
        if not norm.training:
            return type(norm).forward(norm, states)
        own = leading(norm, states.shape[1])
        normalised, mean, variance = _WholeBatchNorm.apply(states, *own[2:], norm.eps, self.processes)
        track(own, mean, variance, self.processes.size * states.numel() // states.shape[1], count_batch(norm))
        return normalised


class _WholeBatchNorm(torch.autograd.Function):
    """Normalise by mean and (biased) variance over the images of all processes; the gradient goes through both."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
        processes: Processes,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        own_variance, own_mean = torch.var_mean(states, (0, 2, 3), correction=0)
        means, variances = processes.gather(torch.stack([own_mean, own_variance])[None]).unbind(1)
        # With equal shares the variance is exactly the mean of all variances plus the variance of all means.
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        ctx.save_for_backward(states, weight, mean, (variance + eps).rsqrt())
        ctx.processes, ctx.affine = processes, bias is not None
        ctx.mark_non_differentiable(mean, variance)
        return functional.batch_norm(states, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states, weight, mean, scale = ctx.saved_tensors
        gradient = gradients[0]
        mean, scale = mean.view(-1, 1, 1), scale.view(-1, 1, 1)
        standard = (states - mean) * scale
        sums = torch.stack([gradient.sum((0, 2, 3)), (gradient * standard).sum((0, 2, 3))])
        # This process's own sums: the training loop averages these like every other parameter's gradient.
        of_bias, of_weight = sums.clone() if ctx.affine else (None, None)
        of_states = None
        if ctx.needs_input_grad[0]:
            ctx.processes.average([sums])
            even, along = (sums / (states.numel() // states.shape[1])).view(2, -1, 1, 1)
            of_states = (gradient - even - standard * along) * scale
            if weight is not None:
                of_states = of_states * weight.view(-1, 1, 1)
        return of_states, of_weight, of_bias, None, None


def _apart(
    norm: nn.BatchNorm2d,
    states: torch.Tensor,
    statistics: Sequence[tuple[torch.Tensor | None, torch.Tensor | None]],
    *,
    training: bool,
    momentum: float = 0.0,
) -> torch.Tensor:
    """Apply ``functional.batch_norm`` to each of several sub-networks, whose states are stacked.

    statistics: running mean and variance of each. Results are written in place, which saves joining them.
    """
    _, _, weight, bias = leading(norm, states.shape[1])
    dtypes = (values.dtype for values in (weight, bias, *statistics[0]) if values is not None)
    exact = next(dtypes, states.dtype)  # torch's rule for states in half precision
    output, unused = torch.empty_like(states), [states.new_empty(0, dtype=exact) for _ in range(2)]
    images = len(states) // len(statistics)
    for part, (mean, variance), target in zip(states.split(images), statistics, output.split(images), strict=True):
        torch.ops.aten.native_batch_norm.out(
            part, weight, bias, mean, variance, training, momentum, norm.eps,
            out=target, save_mean=unused[0], save_invstd=unused[1],
        )  # fmt: skip
    return output


@contextmanager
def ruled(network: nn.Module, rule: Rule) -> Iterator[None]:
    """Replace the forward of every ``nn.BatchNorm2d`` of a network by a rule."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.forward = partial(rule, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


@contextmanager
def whole_batches(networks: Iterable[nn.Module], processes: Processes) -> Iterator[None]:
    """Let the batch norms of networks, in training mode, use the images of all processes."""
    with ExitStack() as stack:
        for network in networks:
            stack.enter_context(ruled(network, WholeBatch(processes)))
        yield


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode (dropout; batch norms follow a rule), and every module back afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
