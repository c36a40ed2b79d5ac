"""What the tests of all rooms share: folders, one thread, reproducible fuzzing, a small problem, real files."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import torch

from supertau.estimators.problem import Augmentation, ImageSet, Problem
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.space import NetworkConfig

hypothesis.settings.register_profile("supertau", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("supertau")


CACHES = (
    "HYPOTHESIS_STORAGE_DIRECTORY",
    "MPLCONFIGDIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
)
SOCKET = len("/supertau-abcdefgh/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.10")
"""How much longer the path of a Ray cluster's socket is than that of the temporary folder; 104 may be too long."""


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a folder for what libraries write, and take it away in the end.

    Without it they write into the user's home and the system's temporary folder, and Ray notes the address of a test's
    cluster where commands look for the user's own. The processes of pytest-xdist and those that tests start inherit it.
    """
    if hasattr(config, "workerinput"):
        return
    usual = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="supertau-", dir=usual if len(usual) + SOCKET < 104 else "/tmp")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setenv("RAY_TMPDIR", folder)
    for variable in CACHES:
        patch.setenv(variable, str(Path(folder) / "caches"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Hold torch to one thread: with tensors this small, threads that wait for each other cost up to tenfold."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell starts what it puts into the background with Ctrl-C ignored; runs that tests start would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def problem() -> Problem:
    """A ranking problem of the smoke preset's size: 320 + 160 digits of 8x8 pixels, C=4, N=1. Not to be changed."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    images = torch.from_numpy((pixels * (255 / 16)).round()).to(torch.uint8).view(-1, 1, 8, 8)
    labels = torch.from_numpy(classes).long()
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    digits = ImageSet("digits", images, labels, 10, (0.3053,), (0.3760,), Augmentation(crop=1))
    size = NetworkConfig(channels=4, cells=1, image_size=8, classes=10, image_channels=1)
    return Problem(NASBench201(), size, digits.subset(rows[:320]), digits.subset(rows[320:480]), seed=0)


@pytest.fixture
def torch_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave average pooling to torch, whose counter of operations would take ours for the convolution that does it."""
    monkeypatch.setattr("supertau.search_spaces.layers.interleaved", lambda states: False)


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Return the path of a real file below $SUPERTAU_DATA; skip the test, with the reason, where it is missing."""

    def find(name: str) -> Path:
        root = os.environ.get("SUPERTAU_DATA")
        if not root:
            pytest.skip(f"SUPERTAU_DATA is not set, so there is no {name}")
        if not (Path(root) / name).exists():
            pytest.skip(f"the folder that SUPERTAU_DATA names holds no {name}")
        return Path(root) / name

    return find
