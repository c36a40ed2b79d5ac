"""Encoded images in Parquet files with the columns of the Hugging Face hub; decoded once, then cached as an array."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from supertau.benchmarks.files import write_atomically
from supertau.benchmarks.images.source import Loaded
from supertau.search_spaces.cache import digest, is_writable, user_cache_folder
from supertau.search_spaces.errors import DataError, SupertauError

Pixels = npt.NDArray[np.uint8]
_SHARD = re.compile(r"-of-(\d+)\.parquet$")


def find_shards(folder: Path, split: str) -> list[Path]:
    """Return the shards ``<split>-*.parquet`` of a split in a folder or its subfolders, [] when there are none.

    Raises DataError when there are fewer shards than their names say.
    """
    pattern = f"{split}-*.parquet"
    shards = sorted(folder.glob(pattern)) or sorted(folder.glob(f"*/{pattern}"))
    if shards and (counted := _SHARD.search(shards[-1].name)) and int(counted[1]) != len(shards):
        raise DataError(
            f"{shards[0].parent} holds {len(shards)} of the {int(counted[1])} shards {pattern}: "
            f"{', '.join(s.name for s in shards)}. Put the others there too."
        )
    return shards


def read_parquet(
    shards: Sequence[Path], label_columns: Sequence[str], size: int, key: str, folder: Path, again: str
) -> Loaded:
    """Return RGB images (N, 3, size, size) and labels of Parquet shards, in their order.

    A shard has a column `img` or `image` (encoded bytes, or a struct with a field `bytes`) and one of the label
    columns. Decoding 50,000 images takes seconds, so the pixels are cached as ``decoded/<key>-<checksum>.npy``
    in `folder`, where that one is read-only in the user's cache folder, and where both are not at all. again: how to
    get the files again, a sentence for errors. Raises DataError naming the file, and the row of a damaged image.
    """
    tables = [_read_table(shard, again) for shard in shards]
    labels = np.concatenate([_labels(t, s, label_columns, again) for t, s in zip(tables, shards, strict=True)])
    cached = _cache_path(folder, key, shards)
    pixels = _read_cached(cached, (len(labels), 3, size, size)) if cached is not None else None
    if pixels is None:
        pixels = np.concatenate([_decode(t, s, size, again) for t, s in zip(tables, shards, strict=True)])
        if cached is not None:
            _cache(cached, pixels)
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def _read_table(path: Path, again: str) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file, perhaps truncated: {error}. {again}") from error


def _column(table: pa.Table, path: Path, names: Sequence[str], again: str) -> pa.ChunkedArray:
    for name in names:
        if name in table.column_names:
            return table.column(name)
    raise DataError(f"{path} has no column {' or '.join(names)}, only {', '.join(table.column_names)}. {again}")


def _labels(table: pa.Table, path: Path, names: Sequence[str], again: str) -> npt.NDArray[np.int64]:
    column = _column(table, path, names, again)
    if not pa.types.is_integer(column.type) or column.null_count:
        raise DataError(f"{path}: expected integers without gaps in column {' or '.join(names)}. {again}")
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _decode(table: pa.Table, path: Path, size: int, again: str) -> Pixels:
    column = _column(table, path, ("img", "image"), again).combine_chunks()
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = column.field("bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataError(f"{path}: expected encoded images (a struct with 'bytes'), got {column.type}. {again}")
    pixels = np.empty((len(column), 3, size, size), dtype=np.uint8)
    for row, encoded in enumerate(column.to_pylist()):
        try:
            with Image.open(io.BytesIO(encoded or b""), formats=("PNG", "JPEG")) as image:
                if image.size != (size, size):  # before decoding: a wrong header must not claim gigabytes
                    raise DataError(
                        f"{path}, row {row}: the image has {image.width}x{image.height} pixels, expected "
                        f"{size}x{size}. {again}"
                    )
                pixels[row] = np.asarray(image if image.mode == "RGB" else image.convert("RGB")).transpose(2, 0, 1)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all that Pillow raises
            raise DataError(f"{path}, row {row}: not a readable PNG or JPEG image ({error}). {again}") from error
    return pixels


def _cache_path(folder: Path, key: str, shards: Sequence[Path]) -> Path | None:
    """Return where the decoded pixels of these files are cached, None where nothing may be written."""
    place = next((f for f in (folder, user_cache_folder()) if is_writable(f)), None)
    if place is None:
        return None
    checksum = hashlib.sha256("".join(digest(shard, "sha256") for shard in shards).encode()).hexdigest()
    return place / "decoded" / f"{key}-{checksum[:16]}.npy"


def _read_cached(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    """Return cached pixels; None when there are none or the file is damaged, so that they are decoded again."""
    try:
        pixels = np.load(path, allow_pickle=False)
        expected = _checksum_of(path).read_text(encoding="utf-8")
    except (OSError, ValueError, EOFError):
        return None
    if pixels.shape != shape or pixels.dtype != np.uint8 or _checksum(pixels) != expected:
        return None
    return pixels


def _checksum_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _checksum(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _cache(path: Path, pixels: Pixels) -> None:
    """Write pixels for the next time. A full disk is no reason to fail: they are in memory already."""

    def save(part: Path) -> None:
        with part.open("wb") as file:
            np.save(file, pixels)

    with suppress(SupertauError, OSError):
        write_atomically(path, save)
        write_atomically(_checksum_of(path), _checksum(pixels))
