"""Pickles read as untrusted input: only the names of an explicit allow-list are resolved.

A pickle can name any function of any module and have it called. The benchmark files hold numbers, texts and containers
only, so the few names that occur in them are listed below, most of them mapped to harmless substitutes.
"""

from __future__ import annotations

import gc
import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from supertau.search_spaces.errors import DataError, reason

Allowed = Mapping[tuple[str, str], Any]
"""Names a pickle may use, ``(module, name)``, each with the object it stands for."""

NOTHING: Allowed = {}
"""No name at all: dictionaries, lists, tuples, texts and numbers only."""

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_PLAIN_DTYPE = re.compile(r"[<>=|]?[biuf][1248]")


class _Dtype:
    """Stands in for ``numpy.dtype``, whose own state setter trusts what it is given."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


def _scalar(dtype: _Dtype, raw: bytes) -> Any:
    """Stand in for numpy's scalar constructor: booleans, integers and floats only."""
    code = f"{dtype.order}{dtype.code}" if dtype.code[:1] not in "<>=|" else dtype.code
    if not _PLAIN_DTYPE.fullmatch(code):
        raise pickle.UnpicklingError(f"a numpy scalar of type {code!r}")
    (value,) = np.frombuffer(raw, dtype=code)
    return value


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``codecs.encode``, with which protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


NUMPY_SCALARS: Allowed = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}
"""What occurs in the official NAS-Bench-201 and NATS-Bench files."""


class _Refused(pickle.UnpicklingError):
    """A name outside the allow-list; the message is that name."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], allowed: Allowed) -> None:
        super().__init__(stream)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: object) -> Any:
        raise _Refused("a stored tensor")


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python from looking for garbage while it makes many objects that stay: that takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_restricted(
    source: bytes | IO[bytes],
    *,
    name: str,
    allowed: Allowed = NUMPY_SCALARS,
    expected: str = "a pickle",
    trust_pickle: bool = False,
) -> Any:
    """Return the object of a pickle that uses no names but the allowed ones.

    source: bytes, or a binary stream of which one pickle is read. name: of the file, for messages. expected: what the
    file should be, for messages. trust_pickle: use Python's own unrestricted reader, which runs whatever the file says.
    Raises DataError on any other name, and on truncated or damaged data.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with _collector_paused():
            return pickle.load(stream) if trust_pickle else _Unpickler(stream, allowed).load()
    except _Refused as error:
        raise _refusal(name, str(error)) from None
    except Exception as error:  # damaged bytes make the pickle machine fail in nearly any way
        raise _damaged(name, expected, error) from error


def load_pth(path: Path, *, expected: str = "a file written by torch.save", trust_pickle: bool = False) -> Any:
    """Return the object of a ``torch.save`` file, zip or legacy (before torch 1.6), tensors on the CPU.

    Numbers, texts and containers are read by the restricted unpickler, ten times faster than torch's own restricted
    reader, which is written in Python; that one takes over where tensors are stored. trust_pickle: read with
    ``weights_only=False`` instead. Raises DataError as load_restricted does.
    """
    import torch  # only .pth files need it, and it takes seconds to import

    name = str(path)
    if not path.is_file():
        raise DataError(f"{name}: no such file; expected {expected}.")
    try:
        if trust_pickle:
            return torch.load(path, map_location="cpu", weights_only=False)
        try:
            return _without_tensors(path)
        except _Refused:
            names: list[Any] = [(target, ".".join(place)) for place, target in NUMPY_SCALARS.items()]
            with torch.serialization.safe_globals(names):
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above; torch adds its own kinds
        refused = re.search(r"(?:Unsupported (?:global|class|operand)\S*|GLOBAL) (?:GLOBAL )?([\w.]+)", str(error))
        if refused and isinstance(error, pickle.UnpicklingError):
            raise _refusal(name, refused[1]) from None
        raise _damaged(name, expected, error) from error


def _without_tensors(path: Path) -> Any:
    with path.open("rb") as stream:
        if stream.read(4) == b"PK\x03\x04":
            with zipfile.ZipFile(stream) as archive:
                members = [member for member in archive.namelist() if member.endswith("/data.pkl")]
                if len(members) != 1:
                    raise pickle.UnpicklingError(f"the zip archive has {len(members)} members named data.pkl, not 1")
                with archive.open(members[0]) as member:
                    return _Unpickler(member, NUMPY_SCALARS).load()
        stream.seek(0)
        magic, _version, _system = (_Unpickler(stream, NOTHING).load() for _ in range(3))
        if magic != _TORCH_MAGIC:
            raise pickle.UnpicklingError("the magic number of torch.save is missing")
        return _Unpickler(stream, NUMPY_SCALARS).load()


def _refusal(name: str, refused: str) -> DataError:
    return DataError(
        f"{name}: refused to load '{refused}', which this kind of file has no need of; a pickle can run any program. "
        "If you trust whoever made the file, `--trust-pickle` reads it anyway, at your own risk."
    )


def _damaged(name: str, expected: str, error: Exception) -> DataError:
    why = (reason(error).splitlines() or [""])[0][:200]
    return DataError(
        f"{name}: cannot be read ({type(error).__name__}: {why}); expected {expected}. "
        "It is truncated, damaged or another kind of file: fetch it again."
    )
