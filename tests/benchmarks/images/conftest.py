"""Files in the formats of the official image sets, written small."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from supertau.benchmarks.images import parquet, problem


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what a test decodes out of the user's cache folder, and what it reads out of the next test's memory."""
    folder = tmp_path_factory.mktemp("user-cache")
    monkeypatch.setattr(parquet, "user_cache_folder", lambda: folder)
    problem._read_once.cache_clear()
    return folder


def _pixels(count: int, channels: int, side: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def _python2_batch(data: np.ndarray, labels: Sequence[int], label_key: str = "labels", fortran: bool = False) -> bytes:
    """Return a batch as Python 2 pickled it (protocol 2, texts and pixels as byte strings), opcode by opcode."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    raw = data.tobytes(order="F" if fortran else "C")
    dtype = b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
    array += b"(K\x01" + b"".join(b"J" + struct.pack("<i", n) for n in data.shape) + b"\x86" + dtype
    array += (b"\x88" if fortran else b"\x89") + b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text("data") + array + text(label_key) + numbers + b"u."


def _write_idx(path: Path, values: np.ndarray) -> Path:
    content = bytes((0, 0, 8, values.ndim)) + b"".join(struct.pack(">I", n) for n in values.shape) + values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _encode(image: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, form)
    return stream.getvalue()


def _write_parquet(
    path: Path, images: np.ndarray, labels: Sequence[int], image_column: str = "img", label_column: str = "label"
) -> Path:
    encoded = [{"bytes": _encode(image), "path": None} for image in images]
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image_column: pa.array(encoded, struct_type), label_column: pa.array(list(labels), pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    return _pixels


@pytest.fixture
def python2_batch() -> Callable[..., bytes]:
    return _python2_batch


@pytest.fixture
def write_idx() -> Callable[..., Path]:
    return _write_idx


@pytest.fixture
def encode() -> Callable[..., bytes]:
    return _encode


@pytest.fixture
def write_parquet() -> Callable[..., Path]:
    return _write_parquet


@pytest.fixture
def md5() -> Callable[[bytes], str]:
    return _md5
