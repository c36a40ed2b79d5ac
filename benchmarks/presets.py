"""Presets: how large a run is, from seconds on a CPU to hours on a GPU. Options of a run override single values."""

from __future__ import annotations

from dataclasses import dataclass

from supertau.search_spaces.errors import unknown


@dataclass(frozen=True)
class Preset:
    """Size of a run.

    image_size: side in pixels. train, validation: images taken from the official training split (None: what the
    other leaves, or half each). channels, cells: the supernet's C and N (None: those of the benchmark). passes:
    training images run forward and backward. pool: what is ranked. curve_points, curve_pool: how often during training
    a part of the pool is scored, and how large that part is.
    """

    name: str
    description: str
    images: str
    image_size: int
    train: int | None
    validation: int | None
    channels: int | None
    cells: int | None
    passes: int
    pool: str
    curve_points: int
    curve_pool: int


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "smoke", "seconds; for tests and plugin development",
            images="digits", image_size=8, train=320, validation=160, channels=4, cells=1,
            passes=640, pool="all:40", curve_points=2, curve_pool=20,
        ),
        Preset(
            "quick", "minutes on two CPU cores, embedded images; the fresh-machine leaderboard",
            images="digits", image_size=8, train=None, validation=None, channels=8, cells=1,
            passes=128_000, pool="all:2000", curve_points=2, curve_pool=100,
        ),
        Preset(
            # Of the sizes tried the one with the best mean tau of two seeds, which differ widely: docs/performance.md.
            "standard", "CIFAR-10 on a CPU or one small GPU, about ten minutes of training on one core",
            images="cifar10", image_size=8, train=25_000, validation=25_000, channels=16, cells=1,
            passes=1_500_000, pool="all", curve_points=8, curve_pool=200,
        ),
        Preset(
            "paper", "the published size (NAS-Bench-201: C=16, N=5), 32x32, 250 epochs of 25,000 images; for a GPU",
            images="cifar10", image_size=32, train=25_000, validation=25_000, channels=None, cells=None,
            passes=6_250_000, pool="all", curve_points=10, curve_pool=400,
        ),
    )
}  # fmt: skip


def get_preset(name: str) -> Preset:
    """Return a preset; raise UnknownName with the nearest match."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
