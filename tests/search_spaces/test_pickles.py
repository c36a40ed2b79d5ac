"""Untrusted pickles: numbers and containers are read, any other name is refused before anything runs."""

from __future__ import annotations

import collections
import gc
import hashlib
import io
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError
from supertau.search_spaces.pickles import NOTHING, load_pth, load_restricted

torch = pytest.importorskip("torch")

PLAIN = {"a": [1, 2.5, None, True], "b": ("text", b"bytes", {1, 2}), 3: {}}
NUMBERS = {
    "scalars": [np.float64(0.25), np.float32(1.5), np.int64(-3), np.bool_(True), np.float64("nan")],
    "times": collections.OrderedDict([(0, np.float64(2.0))]),
    "indexes": {1, 2, 3},
}


class Harmful:
    """Makes a directory when it is unpickled without restriction."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numbers_and_containers_are_read(protocol: int) -> None:
    read = load_restricted(pickle.dumps(NUMBERS, protocol), name="numbers.pkl")
    assert repr(read) == repr(NUMBERS)
    assert [type(value) for value in read["scalars"]] == [type(value) for value in NUMBERS["scalars"]]
    assert load_restricted(pickle.dumps(PLAIN, max(protocol, 4)), name="plain.pkl", allowed=NOTHING) == PLAIN


def test_a_stream_is_read_one_pickle_at_a_time() -> None:
    stream = io.BytesIO(pickle.dumps([1]) + pickle.dumps([2]))
    assert [load_restricted(stream, name="two.pkl") for _ in range(2)] == [[1], [2]]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        load_restricted(pickle.dumps([1]), name="one.pkl")
        assert gc.isenabled() == enabled
        with pytest.raises(DataError):
            load_restricted(b"damaged", name="damaged.pkl")
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_a_big_endian_scalar_keeps_its_value() -> None:
    constructor = np.float64(0).__reduce__()[0]

    class Foreign:
        """As written on a big-endian machine."""

        def __reduce__(self) -> tuple[Any, ...]:
            return constructor, (np.dtype(">f8"), struct.pack(">d", 1.5))

    assert load_restricted(pickle.dumps(Foreign()), name="big.pkl") == 1.5


def test_a_harmful_pickle_is_refused_and_does_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made"
    data = pickle.dumps({"x": Harmful(target)})
    with pytest.raises(DataError, match=rf"bad\.pkl: refused to load '{os.mkdir.__module__}\.mkdir'.*--trust-pickle"):
        load_restricted(data, name="bad.pkl")
    assert not target.exists()
    load_restricted(data, name="bad.pkl", trust_pickle=True)
    assert target.exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(NUMBERS)[:-20],
        b"",
        b"not a pickle at all",
        b"\x80\x04.",
        pickle.dumps(PLAIN)[:25],
        b"\x80\x04\x8d" + b"\xff" * 8,
        b"cnumpy\ndtype\n(X\x01\x00\x00\x00OtRb.",
    ],
)
def test_damaged_pickles_say_what_was_expected(data: bytes) -> None:
    with pytest.raises(DataError, match=r"half\.pkl: cannot be read .*expected a table of numbers"):
        load_restricted(data, name="half.pkl", expected="a table of numbers")


@pytest.mark.parametrize("name", ["builtins eval", "numpy load", "collections OrderedDict.fromkeys", "numpy ndarray"])
def test_names_outside_the_list_are_refused(name: str) -> None:
    module, attribute = name.split()
    with pytest.raises(DataError, match=f"refused to load '{re.escape(f'{module}.{attribute}')}'"):
        load_restricted(f"c{module}\n{attribute}\n.".encode(), name="x.pkl")


def test_object_scalars_are_not_numbers() -> None:
    """A scalar of type object would be a pointer taken from the file."""
    data = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00O8tRC\x08" + b"A" * 8 + b"tR."
    with pytest.raises(DataError, match="numpy scalar of type '=O8'"):
        load_restricted(data, name="object.pkl")


@pytest.mark.parametrize("zipped", [True, False])
def test_pth_of_numpy_scalars_needs_no_trust(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "numbers.pth"
    torch.save(NUMBERS, path, _use_new_zipfile_serialization=zipped)
    assert repr(load_pth(path)) == repr(NUMBERS)
    assert repr(load_pth(path, trust_pickle=True)) == repr(NUMBERS)


@pytest.mark.parametrize("zipped", [True, False])
def test_pth_with_tensors_is_read_by_torch_under_the_same_restriction(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "tensors.pth"
    torch.save({**NUMBERS, "weights": torch.arange(3.0)}, path, _use_new_zipfile_serialization=zipped)
    read = load_pth(path)
    assert read.pop("weights").tolist() == [0, 1, 2]
    assert repr(read) == repr(NUMBERS)


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("zipped", [True, False])
def test_harmful_pth_is_refused(tmp_path: Path, zipped: bool, tensors: bool) -> None:
    path, target = tmp_path / "bad.pth", tmp_path / "made"
    content = {"weights": torch.arange(3.0) if tensors else None, "x": Harmful(target)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=rf"bad\.pth: refused to load '{os.mkdir.__module__}\.mkdir'.*--trust-pickle"):
        load_pth(path)
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0, 3, 40, 200])
def test_truncated_pth(tmp_path: Path, zipped: bool, kept: int) -> None:
    path = tmp_path / "half.pth"
    torch.save(NUMBERS, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"half\.pth: cannot be read .*expected a file written by torch\.save"):
        load_pth(path)


def test_a_plain_pickle_is_no_pth(tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps(1) * 4)
    with pytest.raises(DataError, match="magic number"):
        load_pth(path)
    with pytest.raises(DataError, match="no such file"):
        load_pth(tmp_path / "absent.pth")


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.write_bytes(b"content")
    assert digest(path, "sha256") == hashlib.sha256(b"content").hexdigest()
    with pytest.raises(DataError, match="cannot be read"):
        digest(tmp_path / "absent", "sha256")
