"""Images to train and score with: read once into memory as uint8 tensors, split by seed, class-balanced."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supertau.benchmarks.images.problem import load_problem_images
    from supertau.benchmarks.images.registry import IMAGES, register
    from supertau.benchmarks.images.source import ImageSource

__all__ = ["IMAGES", "ImageSource", "load_problem_images", "register"]

_MODULES = {"IMAGES": "registry", "register": "registry", "ImageSource": "source", "load_problem_images": "problem"}
"""Where each name comes from. A name is imported when it is used: images need torch, which is slow to import, but their
names do not, and every module of this package imports this file first."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
