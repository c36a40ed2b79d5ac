"""Who ranks: one file per method, reading like its paper. An estimator never sees the ground truth."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supertau.estimators.estimator import Budget, Diverged, Estimator, Monitor
    from supertau.estimators.problem import Augmentation, ImageSet, Problem
    from supertau.estimators.registry import ESTIMATORS, register

__all__ = [
    "ESTIMATORS",
    "Augmentation",
    "Budget",
    "Diverged",
    "Estimator",
    "ImageSet",
    "Monitor",
    "Problem",
    "register",
]

_MODULES = {
    "estimator": ("Budget", "Diverged", "Estimator", "Monitor"),
    "problem": ("Augmentation", "ImageSet", "Problem"),
    "registry": ("ESTIMATORS", "register"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: most need torch, which takes seconds to import."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
