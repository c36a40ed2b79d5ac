"""Fast layers compute what torch's modules compute: outputs, gradients, running statistics."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from supertau.search_spaces import layers
from supertau.search_spaces.layers import AvgPool3x3, BatchNorm2d, Conv3x3, DilatedConv2d, PointwiseConv2d

SHAPES = [(6, 8, 6, 6), (4, 5, 3, 7), (3, 24, 4, 4), (2, 1, 4, 4), (8, 300, 2, 2)]


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let states of any size and number of channels take the fast way."""
    monkeypatch.setattr(layers, "LARGE", 0)
    monkeypatch.setattr(layers, "VECTOR", 10**6)


def states_of(*shape: int, dtype: torch.dtype = torch.float64, mean: float = 0.0) -> torch.Tensor:
    values = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) + mean
    return values.contiguous(memory_format=torch.channels_last).requires_grad_()


def gradients(output: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    weights = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad((output * weights).sum(), inputs))


def same(ours: nn.Module, reference: nn.Module, states: torch.Tensor) -> None:
    """Compare outputs and gradients of two modules, the second given the first one's parameters."""
    reference.load_state_dict(ours.state_dict())
    results = [module(states) for module in (ours, reference)]
    torch.testing.assert_close(*results)
    for one, other in zip(
        *(gradients(r, states, *m.parameters()) for r, m in zip(results, (ours, reference), strict=True)), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name the fast ways as they are taken, so that no test compares torch with itself."""
    calls: list[str] = []

    def counted(name: str, plain: Callable[..., object]) -> Callable[..., object]:
        return lambda *arguments: calls.append(name) or plain(*arguments)

    for name in ("_Standardise", "_FourPixels", "_Dilated", "_AveragePool"):
        function = getattr(layers, name)
        monkeypatch.setattr(function, "apply", counted(name, function.apply))
    return calls


@pytest.mark.parametrize(("shape", "affine"), list(itertools.product(SHAPES, (False, True))))
def test_batch_norm(shape, affine, taken) -> None:
    ours, reference = (m(shape[1], affine=affine).double() for m in (BatchNorm2d, nn.BatchNorm2d))
    if affine:
        nn.init.normal_(ours.weight)
        nn.init.normal_(ours.bias)
    for repeat in range(3):
        same(ours, reference, states_of(*shape, mean=repeat))
        for name, held in ours.named_buffers():
            torch.testing.assert_close(held, dict(reference.named_buffers())[name])
        assert len(taken) == repeat + 1
    states = states_of(*shape)
    torch.testing.assert_close(ours.eval()(states), reference.eval()(states))


def test_batch_norm_of_a_mean_far_from_zero() -> None:
    states = states_of(64, 8, 8, 8, dtype=torch.float32, mean=1000.0)
    exact = nn.functional.batch_norm(states.double(), None, None, training=True)
    torch.testing.assert_close(BatchNorm2d(8, affine=False)(states).double(), exact, atol=2e-3, rtol=0)


def test_batch_norm_with_a_plain_average_of_statistics(taken) -> None:
    ours, reference = (m(8, momentum=None) for m in (BatchNorm2d, nn.BatchNorm2d))
    for mean in (0.0, 1.0, 5.0):
        states = states_of(4, 8, 4, 4, dtype=torch.float32, mean=mean)
        ours(states), reference(states)
    torch.testing.assert_close(ours.running_mean, reference.running_mean)
    torch.testing.assert_close(ours.running_var, reference.running_var)
    assert len(taken) == 3


def test_batch_norm_on_its_leading_channels(taken) -> None:
    ours, reference = BatchNorm2d(8), nn.BatchNorm2d(5)
    states = states_of(4, 5, 4, 4, dtype=torch.float32)
    torch.testing.assert_close(ours(states), reference(states))
    torch.testing.assert_close(ours.running_var[:5], reference.running_var)
    assert ours.running_var[5:].tolist() == [1.0] * 3
    assert taken


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_torch_does_well_is_left_to_it(layout, taken, monkeypatch) -> None:
    states = torch.randn(8, 16, 4, 4).contiguous(memory_format=layout)
    monkeypatch.setattr(layers, "VECTOR", 16)
    assert torch.equal(BatchNorm2d(16)(states), nn.BatchNorm2d(16)(states))
    assert not taken
    nchw = torch.randn(8, 5, 4, 4)
    assert torch.equal(BatchNorm2d(5)(nchw), nn.BatchNorm2d(5)(nchw))
    assert not taken


def test_all_of_it_can_be_left_to_torch(taken) -> None:
    states = states_of(4, 6, 6, 6, dtype=torch.float32)
    pairs = [
        (BatchNorm2d(6), nn.BatchNorm2d(6)),
        (PointwiseConv2d(6, 7, 2), nn.Conv2d(6, 7, 1, 2, bias=False)),
        (AvgPool3x3(), nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        (DilatedConv2d(6, 3, 2), nn.Conv2d(6, 6, 3, 2, 2, 2, groups=6, bias=False)),
        (DilatedConv2d(6, 5), nn.Conv2d(6, 6, 5, 1, 4, 2, groups=6, bias=False)),
    ]
    for ours, reference in pairs:
        reference.load_state_dict(ours.state_dict())
        with layers.torchs_own():
            assert torch.equal(ours(states), reference(states))
    assert not taken
    BatchNorm2d(6)(states)
    assert taken


def test_second_derivatives_are_refused_rather_than_wrong() -> None:
    states = states_of(4, 8, 4, 4)
    output = BatchNorm2d(8, affine=False).double()(states)
    (first,) = torch.autograd.grad(output.square().sum(), states, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize(("shape", "stride"), list(itertools.product(SHAPES, (1, 2))))
def test_pointwise_convolution(shape, stride) -> None:
    ours = PointwiseConv2d(shape[1], 7, stride).double()
    same(ours, nn.Conv2d(shape[1], 7, 1, stride, bias=False).double(), states_of(*shape))
    nchw = states_of(*shape).contiguous()
    torch.testing.assert_close(ours(nchw), ours(states_of(*shape)))
    assert ours(states_of(*shape)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_convolution(side, stride, taken) -> None:
    ours, reference = (m.double() for m in (Conv3x3(5, 7, stride), nn.Conv2d(5, 7, 3, stride, 1, bias=False)))
    ours = ours.to(memory_format=torch.channels_last)
    same(ours, reference, states_of(4, 5, side, side))
    assert taken == (["_FourPixels"] if (side, stride) == (2, 1) else [])
    assert ours(states_of(4, 5, 2, 2)).is_contiguous(memory_format=torch.channels_last)
    ours(states_of(4, 5, 2, 2)).sum().backward()
    assert ours.weight.grad.stride() == ours.weight.stride()  # else each step copies it


@pytest.mark.parametrize(("shape", "stride"), list(itertools.product(SHAPES, (1, 2))))
def test_average_pool(shape, stride, taken) -> None:
    reference = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    same(AvgPool3x3(stride), reference, states_of(*shape, dtype=torch.float32))
    assert taken == ["_AveragePool"] * (stride == 1)


def test_small_averages_are_left_to_torch_but_in_scoring(taken, monkeypatch) -> None:
    """Where sub-networks are stacked, their number must not decide how one of them is computed."""
    states = states_of(4, 8, 4, 4, dtype=torch.float32)
    monkeypatch.setattr(layers, "LARGE", states.numel())
    pool = AvgPool3x3()
    plain = pool(states)
    with torch.no_grad():
        pool(states)
    assert not taken
    assert pool(states_of(4, 8, 4, 4)).dtype == torch.float64
    assert not taken
    with torch.inference_mode():
        torch.testing.assert_close(pool(states), plain)
    assert taken == ["_AveragePool"]


@pytest.mark.parametrize(("shape", "stride", "kernel"), list(itertools.product(SHAPES, (1, 2), (3, 5))))
def test_dilated_convolution(shape, stride, kernel, taken, monkeypatch) -> None:
    monkeypatch.setattr(layers, "VECTOR", 1)
    channels, height, width = shape[1:]
    reference = nn.Conv2d(
        channels, channels, kernel, stride, padding=kernel - 1, dilation=2, groups=channels, bias=False
    )
    same(DilatedConv2d(channels, kernel, stride), reference, states_of(*shape, dtype=torch.float32))
    assert taken == ["_Dilated"] * (stride == 1 and height % 2 == width % 2 == 0)


@pytest.mark.parametrize(("side", "kernel", "fast"), [(8, 3, False), (8, 5, True), (4, 3, True), (16, 5, False)])
def test_few_channels_are_left_to_torch_unless_the_kernel_is_wider_than_the_image(side, kernel, fast, taken) -> None:
    DilatedConv2d(8, kernel)(states_of(2, 8, side, side, dtype=torch.float32))
    assert bool(taken) == fast
    taken.clear()
    with torch.autocast("cpu", torch.bfloat16):
        DilatedConv2d(8, kernel)(states_of(2, 8, side, side, dtype=torch.float32))
    assert not taken
