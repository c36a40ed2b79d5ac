"""The official Python batches of CIFAR and down-sampled ImageNet: pickled dictionaries, read without trusting them."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from supertau.search_spaces.cache import WrongChecksum
from supertau.search_spaces.errors import DataError

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
_PLAIN_DTYPE = re.compile(r"[biuf][1248]")


class _Dtype:
    """Stands in for ``numpy.dtype``, whose own state setter trusts what it is given."""

    def __init__(self, code: Any, align: bool = False, copy: bool = False) -> None:
        self.code, self.order = _text(code), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])


class _Array:
    """Stands in for ``numpy.ndarray``: keeps its state, and becomes an array of numbers when asked."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def numbers(self) -> npt.NDArray[Any]:
        _, shape, dtype, fortran, raw = self.state
        if not _PLAIN_DTYPE.fullmatch(dtype.code):
            raise ValueError(f"an array of type {dtype.code!r}")
        order = "=" if dtype.order == "|" else dtype.order
        flat = np.frombuffer(raw, dtype=f"{order}{dtype.code}")
        return flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _encode(text: str, encoding: Any) -> bytes:
    """Stand in for ``codecs.encode``, with which Python 3 writes bytes into protocol 2."""
    if _text(encoding) != "latin1":
        raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _Refused(pickle.UnpicklingError):
    """A name outside the allow-list; the message is that name."""


class _Unpickler(pickle.Unpickler):
    """The batches were written by Python 2, whose texts are bytes; hence an encoding, and names that are bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None


def read_batch(
    content: bytes, name: str, *, pixels: int, label_keys: Sequence[str], md5: str | None, again: str
) -> Batch:
    """Return rows of pixels (N, pixels) uint8 and labels (N,) of one pickled batch.

    name: of the file, for errors; label_keys: where the labels may be, the first that is there counts; md5: what is
    expected, None for no check; again: how to get the file again, a sentence for errors. Raises WrongChecksum, and
    DataError for a batch that is truncated, loads anything but arrays, or has other shapes.
    """
    if md5 is not None and (actual := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise WrongChecksum(
            f"{name} has the wrong checksum: expected md5 {md5}, got {actual} ({len(content):,} bytes). {again}"
        )
    try:
        entries = {_text(key): value for key, value in _Unpickler(content).load().items()}
        data = entries["data"].numbers()
        labels = next(entries[key] for key in label_keys if key in entries)
        labels = np.asarray(labels.numbers() if isinstance(labels, _Array) else labels)
    except _Refused as error:
        raise DataError(
            f"{name}: refused to load '{error}', which a batch of images has no need of; a pickle can run any program. "
            f"{again}"
        ) from None
    except StopIteration:
        raise DataError(f"{name} has no labels: expected an entry {' or '.join(label_keys)}. {again}") from None
    except Exception as error:  # damaged bytes make the unpickler fail in nearly any way
        raise DataError(
            f"{name} cannot be read as a batch of images, perhaps it is truncated ({type(error).__name__}: {error}). "
            f"{again}"
        ) from error
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != pixels:
        raise DataError(f"{name}: expected uint8 rows of {pixels:,} pixels, got {data.dtype} {data.shape}. {again}")
    if labels.shape != (len(data),) or labels.dtype.kind not in "iu":
        raise DataError(f"{name}: expected one whole number as label for each of {len(data):,} images. {again}")
    return data, labels.astype(np.int64)


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
