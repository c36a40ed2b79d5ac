"""Encoded images in Parquet files, and the array kept of them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from supertau.benchmarks.images import parquet
from supertau.benchmarks.images.cifar import Cifar10, Cifar100
from supertau.search_spaces.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*the official split has.*:UserWarning")
Write = Callable[..., Path]
Pixels = Callable[..., np.ndarray]


@pytest.mark.parametrize("place", ["cifar10", "cifar10/plain_text"])
@pytest.mark.parametrize("columns", [("img", "label"), ("image", "labels")])
def test_one_shard(write_parquet: Write, pixels: Pixels, tmp_path: Path, place: str, columns: tuple[str, str]) -> None:
    images = pixels(5, 3, 32)
    write_parquet(tmp_path / place / "train-00000-of-00001.parquet", images, [1, 0, 9, 3, 4], *columns)
    loaded, labels = Cifar10().load("train", tmp_path)
    assert np.array_equal(loaded.numpy(), images)
    assert labels.tolist() == [1, 0, 9, 3, 4]


def test_several_shards_in_order_and_fine_labels(write_parquet: Write, pixels: Pixels, tmp_path: Path) -> None:
    images = pixels(6, 3, 32)
    for n in (2, 0, 1):
        path = tmp_path / "cifar100" / f"train-0000{n}-of-00003.parquet"
        write_parquet(path, images[2 * n : 2 * n + 2], [n, n + 90], label_column="fine_label")
    loaded, labels = Cifar100().load("train", tmp_path)
    assert np.array_equal(loaded.numpy(), images)
    assert labels.tolist() == [0, 90, 1, 91, 2, 92]
    (tmp_path / "cifar100" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match="holds 2 of the 3 shards train-"):
        Cifar100().load("train", tmp_path)


def test_plain_bytes_and_grey_or_transparent_images(pixels: Pixels, tmp_path: Path) -> None:
    rgba = BytesIO()
    Image.fromarray(pixels(1, 3, 32)[0].transpose(1, 2, 0)).convert("RGBA").save(rgba, "PNG")
    grey = BytesIO()
    Image.fromarray(pixels(1, 1, 32)[0, 0]).save(grey, "PNG")
    table = pa.table({"img": pa.array([rgba.getvalue(), grey.getvalue()]), "label": pa.array([0, 1])})
    (tmp_path / "cifar10").mkdir()
    pq.write_table(table, tmp_path / "cifar10" / "test-00000-of-00001.parquet")
    loaded, _ = Cifar10().load("test", tmp_path)
    assert np.array_equal(loaded[0].numpy(), pixels(1, 3, 32)[0])
    assert np.array_equal(loaded[1, 2].numpy(), pixels(1, 1, 32)[0, 0])


def test_decoded_pixels_are_kept_and_found_again_only_for_the_same_files(
    write_parquet: Write, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "cifar10" / "train-00000-of-00001.parquet", pixels(5, 3, 32), range(5))
    first, _ = Cifar10().load("train", tmp_path)
    (kept,) = (tmp_path / "decoded").glob("*.npy")
    assert kept.name.startswith("cifar10-train-")
    assert kept.suffix == ".npy"

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patched:
        patched.setattr(parquet, "_decode", refuse)
        again, _ = Cifar10().load("train", tmp_path)
        assert np.array_equal(again.numpy(), first.numpy())
        write_parquet(path, pixels(6, 3, 32)[:5], range(5))
        with pytest.raises(AssertionError, match="decoded again"):
            Cifar10().load("train", tmp_path)
    write_parquet(path, pixels(5, 3, 32), range(5))
    for damaged in (kept.read_bytes()[:-10], kept.read_bytes()[:-1] + b"\x07"):  # cut, and one other pixel
        kept.write_bytes(damaged)
        assert np.array_equal(Cifar10().load("train", tmp_path)[0].numpy(), first.numpy())


def test_a_read_only_folder_is_left_alone(
    write_parquet: Write, pixels: Pixels, tmp_path: Path, own_caches: Path
) -> None:
    write_parquet(tmp_path / "data" / "cifar10" / "train-00000-of-00001.parquet", pixels(2, 3, 32), [0, 1])
    (tmp_path / "data").chmod(0o555)
    own_caches.chmod(0o755)
    Cifar10().load("train", tmp_path / "data")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["cifar10"]
    assert len(list((own_caches / "decoded").glob("*.npy"))) == 1
    for path in (own_caches / "decoded").iterdir():
        path.unlink()
    (own_caches / "decoded").rmdir()
    own_caches.chmod(0o555)
    Cifar10().load("train", tmp_path / "data")
    assert list(own_caches.iterdir()) == []


def test_a_disk_that_cannot_take_the_array_is_no_reason_to_fail(
    write_parquet: Write, pixels: Pixels, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "cifar10" / "train-00000-of-00001.parquet", pixels(2, 3, 32), [0, 1])
    (tmp_path / "decoded").write_text("a file where the folder should be")
    assert len(Cifar10().load("train", tmp_path)[0]) == 2


def write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_damaged_files_say_which_and_where(
    write_parquet: Write, encode: Callable[..., bytes], pixels: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    write_parquet(path, pixels(5, 3, 32), range(5))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-4], b"", b"not parquet at all"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"of-00001\.parquet is not a readable Parquet.*data fetch cifar10"):
            Cifar10().load("train", tmp_path)

    good, small = encode(pixels(1, 3, 32)[0]), encode(pixels(1, 3, 16)[0])
    cases = [
        (pa.table({"img": [good, good[:-200]], "label": [0, 1]}), "row 1: not a readable PNG or JPEG"),
        (pa.table({"img": [good, b"GIF89a"], "label": [0, 1]}), "row 1: not a readable PNG or JPEG"),
        (pa.table({"img": [None, good], "label": [0, 1]}), "row 0: not a readable PNG or JPEG"),
        (pa.table({"img": [good, small], "label": [0, 1]}), "row 1: the image has 16x16 pixels, expected 32x32"),
        (pa.table({"img": ["text"], "label": [0]}), "expected encoded images"),
        (pa.table({"pixels": [good], "label": [0]}), "no column img or image, only pixels, label"),
        (pa.table({"img": [good], "name": [0]}), "no column label or labels"),
        (pa.table({"img": [good], "label": ["cat"]}), "expected integers without gaps in column label"),
        (pa.table({"img": [good, good], "label": [1, None]}), "expected integers without gaps"),
        (pa.table({"img": [good], "label": [10]}), r"expected labels 0\.\.9, got 10"),
    ]
    for table, message in cases:
        write(path, table)
        with pytest.raises(DataError, match=message):
            Cifar10().load("train", tmp_path)
