"""What is ranked: architectures, their supernets and stand-alone networks, and their ground truth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supertau.search_spaces.architecture import Architecture, Cost, NetworkConfig
    from supertau.search_spaces.errors import (
        DataError,
        InvalidArchitecture,
        InvalidArchitectures,
        SupertauError,
        UnknownName,
    )
    from supertau.search_spaces.space import SearchSpace
    from supertau.search_spaces.supernet import Supernet
    from supertau.search_spaces.truth import GroundTruth

__all__ = [
    "Architecture",
    "Cost",
    "DataError",
    "GroundTruth",
    "InvalidArchitecture",
    "InvalidArchitectures",
    "NetworkConfig",
    "SearchSpace",
    "Supernet",
    "SupertauError",
    "UnknownName",
]

_MODULES = {
    "architecture": ("Architecture", "Cost", "NetworkConfig"),
    "errors": ("DataError", "InvalidArchitecture", "InvalidArchitectures", "SupertauError", "UnknownName"),
    "space": ("SearchSpace",),
    "supernet": ("Supernet",),
    "truth": ("GroundTruth",),
}
"""Where each name comes from. A name is imported when it is used, because a supernet needs torch, which is slow to
import, and every module of this package imports this file first."""


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
