"""Batch norm, convolutions and average pooling: the mathematics of torch's modules, faster on a CPU.

The modules derive from torch's, have the same parameters and buffers, and leave to torch what they would not speed up:
other devices, other layouts of memory. Figures: docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

LINE = 256
"""Numbers in a line at most: long enough for vectors, short enough that a row of coefficients is made quickly."""
VECTOR = 16
"""Numbers in a vector of AVX-512, and of single precision in a cache line."""
LARGE = 2**16
"""Numbers from which a batch norm or an average is worth the fixed cost of several operations instead of one."""


_plain = False


@contextmanager
def torchs_own() -> Iterator[None]:
    """Let these layers compute the same bits as torch's while the block runs.

    Rounding decides where a long training ends, so tables of ground truth that were made like this stay reproducible.
    """
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def interleaved(states: torch.Tensor) -> bool:
    """Return whether states (B, C, H, W) are on the CPU, in memory as (B, H, W, C), in single or double precision.

    Inside `torchs_own` none are, nor where autocast decides in which precision operators run.
    """
    if _plain or torch.is_autocast_enabled("cpu"):
        return False
    exact = states.device.type == "cpu" and states.dtype in (torch.float32, torch.float64)
    return exact and states.is_contiguous(memory_format=torch.channels_last)


def leading(norm: nn.BatchNorm2d, channels: int) -> tuple[torch.Tensor | None, ...]:
    """Return running mean and variance, weight and bias of a norm's leading channels, which may be all of them."""
    vectors = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    if channels == norm.num_features:
        return vectors
    return tuple(None if values is None else values[:channels] for values in vectors)


def count_batch(norm: nn.BatchNorm2d) -> float:
    """Count one more batch of training, and return the weight with which its statistics enter the running ones."""
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            return 1 / float(norm.num_batches_tracked)
    return norm.momentum or 0.0


def track(
    vectors: tuple[torch.Tensor | None, ...], mean: torch.Tensor, variance: torch.Tensor, count: int, momentum: float
) -> None:
    """Let a batch's mean and biased variance (C,), over `count` numbers each, enter the running ones."""
    running_mean, running_variance, *_ = vectors
    if running_mean is not None and running_variance is not None:
        running_mean.lerp_(mean, momentum)
        running_variance.lerp_(variance * (count / (count - 1)), momentum)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that also runs on fewer channels: with the leading entries of its weights and statistics.

    torch's own is slow on a CPU for some numbers of channels: too few to fill a vector are handled one by one; where
    they are no multiple of a vector, several threads write to the same cache line.
    """

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        channels = states.shape[1]
        vectors = mean, variance, weight, bias = leading(self, channels)
        training = self.training or mean is None
        momentum = count_batch(self) if self.training else self.momentum or 0.0
        slow = channels % VECTOR and (channels < VECTOR // 2 or torch.get_num_threads() > 1)
        if not training or not slow or states.numel() < LARGE or not interleaved(states):
            return functional.batch_norm(states, mean, variance, weight, bias, training, momentum, self.eps)
        normed: torch.Tensor
        normed, now_mean, now_variance = _Standardise.apply(states, weight, bias, self.eps)
        track(vectors, now_mean, now_variance, states.numel() // channels, momentum)
        return normed


def pointwise(states: torch.Tensor, weight: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Return a 1x1 convolution of states by a weight (C', C, 1, 1), a matrix product where the layout allows it."""
    if _plain or not states.is_contiguous(memory_format=torch.channels_last):
        return functional.conv2d(states, weight, stride=stride)
    pixels = states.permute(0, 2, 3, 1)[:, ::stride, ::stride]
    return functional.linear(pixels, weight.flatten(1)).permute(0, 3, 1, 2)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution without bias."""

    def __init__(self, narrow: int, width: int, stride: int = 1) -> None:
        super().__init__(narrow, width, 1, stride=stride, bias=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return pointwise(states, self.weight, self.stride[0])


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution without bias; on images of 2x2 pixels it is one matrix product."""

    def __init__(self, narrow: int, width: int, stride: int = 1) -> None:
        super().__init__(narrow, width, 3, stride=stride, padding=1, bias=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        if self.stride != (1, 1) or states.shape[2:] != (2, 2) or not interleaved(states):
            return super().forward(states)
        output: torch.Tensor = _FourPixels.apply(states, self.weight)
        return output


class DilatedConv2d(nn.Conv2d):
    """A depthwise convolution of dilation 2 without bias, as an ordinary one over every other row and column.

    With stride 2 it reads the even rows and columns only; with stride 1 even and odd ones never meet, so that they are
    images of half the size, which backward uses. torch's backward takes up to 17 times as long.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            channels, channels, kernel, stride, padding=kernel - 1, dilation=2, groups=channels, bias=False
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        kernel = self.kernel_size[0]
        if _plain or states.device.type != "cpu" or kernel % 2 == 0:
            return super().forward(states)
        if self.stride == (2, 2):
            even = states.permute(0, 2, 3, 1)[:, ::2, ::2].permute(0, 3, 1, 2)
            return functional.conv2d(even, self.weight, padding=kernel // 2, groups=len(self.weight))
        # torch's forward is fast, and its backward too where channels are few and the image wider than the kernel.
        height, width = states.shape[2:]
        slow = len(self.weight) >= VECTOR or min(height, width) < 2 * kernel - 1
        if not slow or height % 2 or width % 2 or states.dtype != torch.float32 or not interleaved(states):
            return super().forward(states)
        output: torch.Tensor = _Dilated.apply(states, self.weight)
        return output


def _windows(kernel: torch.Tensor) -> list[torch.Tensor]:
    """Return, for each of 2x2 output pixels, the part of a kernel (C', 3, 3, C) that it uses, (C', 2, 2, C)."""
    return [kernel[:, 1 - row : 3 - row, 1 - column : 3 - column] for row in range(2) for column in range(2)]


class _FourPixels(torch.autograd.Function):
    """A 3x3 convolution of images of 2x2 pixels as a dense product: every pixel of the output depends on all four.

    An image is a row of 4 C numbers, the kernel spread out a matrix (4 C', 4 C).
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        width, narrow = weight.shape[:2]
        spread = torch.stack(_windows(weight.permute(0, 2, 3, 1))).view(4 * width, 4 * narrow)
        images = states.permute(0, 2, 3, 1).reshape(-1, 4 * narrow)
        ctx.save_for_backward(images, spread)
        return (images @ spread.T).view(-1, 2, 2, width).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images, spread = ctx.saved_tensors
        width, narrow = gradient.shape[1], images.shape[1] // 4
        given = gradient.permute(0, 2, 3, 1).reshape(-1, 4 * width)
        of_kernel = spread.new_zeros(width, 3, 3, narrow)
        parts = (given.T @ images).view(4, width, 2, 2, narrow)
        for window, part in zip(_windows(of_kernel), parts, strict=True):
            window += part
        of_states = (given @ spread).view(-1, 2, 2, narrow).permute(0, 3, 1, 2)
        return of_states, of_kernel.permute(0, 3, 1, 2)


class _Dilated(torch.autograd.Function):
    """torch's dilated depthwise convolution, with the backward of an ordinary one over images of half the size."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(states, weight)
        return functional.conv2d(states, weight, padding=weight.shape[2] - 1, dilation=2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states, weight = ctx.saved_tensors
        padding = [weight.shape[2] // 2] * 2
        of_states, of_weight, _ = torch.ops.aten.convolution_backward(
            _quartered(gradient), _quartered(states), weight, None, [1, 1], padding, [1, 1], False, [0, 0],
            len(weight), [*ctx.needs_input_grad, False],
        )  # fmt: skip
        return None if of_states is None else _rejoined(of_states, states.shape), of_weight


def _quartered(states: torch.Tensor) -> torch.Tensor:
    """Return the even and odd rows and columns of states (B, C, H, W) as images of their own, (4B, C, H/2, W/2)."""
    batch, channels, height, width = states.shape
    pixels = states.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    return pixels.permute(2, 4, 0, 1, 3, 5).reshape(-1, height // 2, width // 2, channels).permute(0, 3, 1, 2)


def _rejoined(quarters: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return the states of a shape that `_quartered` took apart."""
    batch, channels, height, width = shape
    pixels = quarters.permute(0, 2, 3, 1).reshape(2, 2, batch, height // 2, width // 2, channels)
    return pixels.permute(2, 3, 0, 4, 1, 5).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class AvgPool3x3(nn.AvgPool2d):
    """Average of the 3x3 neighbours that lie inside the image."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__(3, stride=stride, padding=1, count_include_pad=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        # Scoring stacks sub-networks: the choice must not depend on how many, or the last digits of scores would.
        large = states.numel() > LARGE or torch.is_inference_mode_enabled()
        if self.stride != 1 or not large or states.dtype != torch.float32 or not interleaved(states):
            return super().forward(states)
        pooled: torch.Tensor = _AveragePool.apply(states)
        return pooled


class _Lines(NamedTuple):
    """How interleaved states are read: as (rows, line), a line holding several whole pixels.

    average (line, line): takes the sum over all rows to the mean of each channel, repeated for every pixel of a line.
    """

    rows: int
    line: int
    average: torch.Tensor


@lru_cache(maxsize=256)
def _lines(pixels: int, channels: int, dtype: torch.dtype) -> _Lines:
    together = 1
    while pixels % (2 * together) == 0 and 2 * together * channels <= LINE:
        together *= 2
    average = torch.eye(channels, dtype=dtype).repeat(together, together) / pixels
    return _Lines(pixels // together, together * channels, average)


def _as_lines(states: torch.Tensor, lines: _Lines) -> torch.Tensor:
    return states.permute(0, 2, 3, 1).reshape(lines.rows, lines.line)


def _as_states(lines: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    batch, channels, height, width = shape
    return lines.view(batch, height, width, channels).permute(0, 3, 1, 2)


class _Standardise(torch.autograd.Function):
    """Batch norm by the states' own statistics; returns mean and biased variance (C,) of the states too."""

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        channels = states.shape[1]
        lines = _lines(states.numel() // channels, channels, states.dtype)
        rows = _as_lines(states, lines)
        mean = torch.mv(lines.average, rows.sum(0))
        # Centred before it is squared: with a mean of many standard deviations a difference of squares has no digits.
        centred = rows - mean
        standard = centred * centred
        variance = torch.mv(lines.average, standard.sum(0))
        scale = (variance + eps).rsqrt_()
        torch.mul(centred, scale, out=standard)
        output = standard
        if weight is not None and bias is not None:
            repeat = lines.line // channels
            spread = weight.repeat(repeat)
            output = torch.addcmul(bias.repeat(repeat), standard, spread)
            scale = scale * spread
        ctx.save_for_backward(standard, scale)
        ctx.lines, ctx.affine = lines, weight is not None
        mean, variance = mean[:channels], variance[:channels]
        ctx.mark_non_differentiable(mean, variance)
        return _as_states(output, states.shape), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        standard, scale = ctx.saved_tensors
        lines: _Lines = ctx.lines
        given = _as_lines(gradient, lines)
        output = given * standard
        along, mean = torch.mv(lines.average, output.sum(0)), torch.mv(lines.average, given.sum(0))
        # scale * (given - mean - standard * along)
        torch.addcmul(-scale * mean, standard, -scale * along, out=output)
        output.addcmul_(given, scale)
        states = _as_states(output, gradient.shape)
        if not ctx.affine:
            return states, None, None, None
        channels = gradient.shape[1]
        pixels = gradient.numel() // channels
        return states, along[:channels] * pixels, mean[:channels] * pixels, None


@lru_cache(maxsize=64)
def _neighbours(height: int, width: int, channels: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a kernel of ones (C, 1, 3, 3), and how many neighbours each pixel has inside the image, (1, C, H, W)."""
    ones = torch.ones(channels, 1, 3, 3, dtype=dtype)
    counts = functional.conv2d(torch.ones(1, 1, height, width, dtype=dtype), ones[:1], padding=1)
    return ones, counts.expand(1, channels, height, width).contiguous(memory_format=torch.channels_last)


class _AveragePool(torch.autograd.Function):
    """Sums of neighbours by a depthwise convolution, which torch does well; the sum is its own transpose."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor) -> torch.Tensor:
        ones, counts = _neighbours(*states.shape[2:], states.shape[1], states.dtype)
        return functional.conv2d(states, ones, padding=1, groups=len(ones)).div_(counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        ones, counts = _neighbours(*gradient.shape[2:], gradient.shape[1], gradient.dtype)
        return functional.conv2d(gradient / counts, ones, padding=1, groups=len(ones))
