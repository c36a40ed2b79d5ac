"""Listing, fetching and verifying files, against a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supertau.benchmarks.data import catalogue as downloads
from supertau.benchmarks.data import download as fetch
from supertau.benchmarks.data import verify as data
from supertau.benchmarks.data.catalogue import DataItem, RemoteFile
from supertau.benchmarks.data.verify import DATA, State, list_data, verify
from supertau.benchmarks.images import fashion_mnist
from supertau.benchmarks.images.fashion_mnist import FashionMnist
from supertau.search_spaces import cache
from supertau.search_spaces.errors import DataError, UnknownName


def md5(content: bytes) -> str:
    return "md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest()


class Server:
    """Serves `files` by path on this machine; a path in `cut` breaks off half way, one in `failing` answers 500."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.failing: dict[str, int] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                outer.asked.append(name)
                if outer.failing.get(name, 0):
                    outer.failing[name] -= 1
                    return self.send_error(500)
                if name not in outer.files:
                    return self.send_error(404)
                content = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if name in outer.cut else content)
                return None

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


def put(monkeypatch: pytest.MonkeyPatch, *files: RemoteFile, key: str = "toy", present: str = "toy/*") -> DataItem:
    item = DataItem(key, "a toy", files, "CC0", "A note.", (present,))
    monkeypatch.setitem(DATA, key, item)
    return item


def test_cache_folder_is_the_variable_or_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUPERTAU_DATA", str(tmp_path))
    assert data.cache_folder() == tmp_path
    monkeypatch.setenv("SUPERTAU_DATA", "")
    assert data.cache_folder() == cache.user_cache_folder()
    assert "supertau" in str(cache.user_cache_folder())


def test_the_table_is_consistent() -> None:
    for key, item in DATA.items():
        assert item.key == key
        assert item.files
        assert item.licence
        for file in item.files:
            assert file.address.startswith(("https://", "http://fashion-mnist."))
            assert not Path(file.path).is_absolute()
            algorithm, _, digits = (file.checksum or "md5:" + "0" * 32).partition(":")
            assert len(digits) == {"md5": 32, "sha256": 64}[algorithm]
    assert downloads.DATA["nasbench301"].files[0].claimed_by == "a third party, not its authors"


def test_list_says_what_is_there_and_how_to_get_the_rest(tmp_path: Path) -> None:
    rows = {row.key: row for row in list_data(tmp_path)}
    assert set(rows) == set(DATA)
    cifar = rows["cifar10"]
    assert (cifar.present, cifar.size, cifar.folder) == (False, 170_498_071, tmp_path / "cifar10")
    for part in ("cifar-10-python.tar.gz", "toronto.edu", "170,498,071 bytes", "md5 c58f30108f718f92721af3b95e74349a"):
        assert part in cifar.how[0]
    assert "no published checksum" in rows["nds"].how[0]
    assert rows["nds"].size is None
    (tmp_path / "nds").mkdir()
    (tmp_path / "nds" / "DARTS.json").write_text("[]")
    assert {row.key: row for row in list_data(tmp_path)}["nds"].present


def test_fetch_checks_and_is_not_repeated(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = b"some data" * 1000
    server.files["file.bin"] = content
    put(monkeypatch, RemoteFile("toy/file.bin", server.address + "file.bin", len(content), md5(content)))
    (path,) = data.fetch("toy", tmp_path)
    assert path == tmp_path / "toy" / "file.bin"
    assert path.read_bytes() == content
    assert data.fetch("toy", tmp_path) == [path]
    assert server.asked == ["file.bin"]
    (row,) = verify(["toy"], tmp_path)
    assert row.state is State.OK
    data.fetch("toy", tmp_path, force=True)
    assert server.asked == ["file.bin"] * 2


def test_fetch_replaces_a_damaged_file(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = b"right"
    server.files["file.bin"] = content
    put(monkeypatch, RemoteFile("toy/file.bin", server.address + "file.bin", len(content), md5(content)))
    path = tmp_path / "toy" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(b"wrong")
    (row,) = verify(["toy"], tmp_path)
    assert row.state is State.WRONG_CHECKSUM
    for part in (str(path), md5(content)[4:], md5(b"wrong")[4:], server.address, "5 bytes"):
        assert part in row.detail
    data.fetch("toy", tmp_path)
    assert path.read_bytes() == content


def test_wrong_checksum_of_a_download(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server.files["file.bin"] = b"not what it was"
    put(monkeypatch, RemoteFile("toy/file.bin", server.address + "file.bin", 15, md5(b"what it was")))
    with pytest.raises(DataError) as caught:
        data.fetch("toy", tmp_path)
    for part in (md5(b"what it was")[4:], md5(b"not what it was")[4:], server.address, str(tmp_path / "toy")):
        assert part in str(caught.value)
    assert list((tmp_path / "toy").iterdir()) == []


@pytest.mark.parametrize("cause", ["no network", "not found", "cut"])
def test_no_file_to_be_had(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cause: str) -> None:
    address = server.address + "file.bin"
    if cause == "cut":
        server.files["file.bin"] = b"x" * 100_000
        server.cut.add("file.bin")
    put(monkeypatch, RemoteFile("toy/file.bin", address, 100_000, "md5:" + "0" * 32))
    if cause == "no network":
        server.close()
    with pytest.raises(DataError) as caught:
        data.fetch("toy", tmp_path)
    message = str(caught.value)
    for part in (address, "100,000 bytes", "md5 " + "0" * 32, str(tmp_path / "toy"), "SUPERTAU_DATA", "A note."):
        assert part in message
    assert {"no network": 0, "not found": 1, "cut": 3}[cause] == len(server.asked)
    assert not (tmp_path / "toy" / "file.bin").exists()


def test_a_passing_failure_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server.files["file.bin"] = b"x"
    server.failing["file.bin"] = 2
    put(monkeypatch, RemoteFile("toy/file.bin", server.address + "file.bin", 1, md5(b"x")))
    data.fetch("toy", tmp_path)
    assert len(server.asked) == 3


def tar_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_archives_are_unpacked_beside_themselves(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.files |= {"a.tar.gz": tar_of({"sub/one": b"1"}), "b.zip": zip_of({"sub/two": b"2", "three": b"3"})}
    files = [RemoteFile(f"toy/{n}", server.address + n, None, md5(c), unpack=True) for n, c in server.files.items()]
    put(monkeypatch, *files)
    data.fetch("toy", tmp_path)
    assert (tmp_path / "toy" / "sub" / "one").read_bytes() == b"1"
    assert (tmp_path / "toy" / "sub" / "two").read_bytes() == b"2"
    flat = RemoteFile("flat/b.zip", server.address + "b.zip", unpack=True, flatten=True)
    put(monkeypatch, flat, key="flat", present="flat/two")
    data.fetch("flat", tmp_path)
    assert sorted(p.name for p in (tmp_path / "flat").iterdir()) == ["b.zip", "three", "two"]


@pytest.mark.parametrize("flatten", [False, True])
def test_no_archive_writes_outside_its_folder(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flatten: bool
) -> None:
    server.files |= {"a.tar.gz": tar_of({"../../evil": b"1"}), "b.zip": zip_of({"../../evil": b"2", "/evil2": b"3"})}
    for name in server.files:
        address = server.address + name
        put(monkeypatch, RemoteFile(f"deep/toy/{name}", address, unpack=True, flatten=flatten), present="none")
        if name == "a.tar.gz":
            with pytest.raises(DataError, match="could not be unpacked"):
                data.fetch("toy", tmp_path)
        else:
            data.fetch("toy", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["toy"]


@pytest.mark.parametrize("name", ["a.tar.gz", "b.zip"])
def test_a_damaged_archive_does_not_stay(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    whole = {"a.tar.gz": tar_of, "b.zip": zip_of}[name]({"one": np.random.default_rng(0).bytes(5000)})
    server.files[name] = whole[:3000]
    put(monkeypatch, RemoteFile(f"toy/{name}", server.address + name, unpack=True), present="toy/one")
    with pytest.raises(DataError, match=rf"{name} could not be unpacked and was deleted.*{server.address}{name}"):
        data.fetch("toy", tmp_path)
    (tmp_path / "toy" / "one").unlink(missing_ok=True)
    server.files[name] = whole
    data.fetch("toy", tmp_path)
    assert len((tmp_path / "toy" / "one").read_bytes()) == 5000


def test_what_cannot_be_fetched_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        data.fetch("nasbench201", tmp_path)
    folder = str(tmp_path / "nb201")
    for part in ("no direct link", "drive.google.com", "NAS-Bench-201-v1_1-096897.pth", folder, "4.7 GB"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"image-net\.org") as caught:
        data.fetch("imagenet16-120", tmp_path)
    assert "md5 27846dcaa50de8e21a7d1a35f30f0e91 according to the authors of NAS-Bench-201" in str(caught.value)
    with pytest.raises(UnknownName, match=r"unknown data item 'cifar'\. Did you mean 'cifar10'\?"):
        data.fetch("cifar", tmp_path)
    with pytest.raises(DataError, match="'digits' need no download"):
        data.fetch("digits", tmp_path)


def test_a_read_only_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(monkeypatch, RemoteFile("toy/file.bin", "http://127.0.0.1:9/file.bin"))
    tmp_path.chmod(0o555)
    with pytest.raises(DataError, match=r"is read-only.*\n.*file\.bin from http"):
        data.fetch("toy", tmp_path)
    tmp_path.chmod(0o755)


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + b"".join(struct.pack(">I", n) for n in values.shape) + values.tobytes()


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """The four files of a tiny Fashion-MNIST, whose sizes and checksums the suite is made to expect."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(FashionMnist, "counts", {"train": 4, "test": 2})
    contents = {}
    for prefix, count in (("train", 4), ("t10k", 2)):
        contents[f"{prefix}-images-idx3-ubyte"] = idx(np.full((count, 28, 28), count, np.uint8))
        contents[f"{prefix}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8))
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(FashionMnist, "checksums", sums)
    return contents


def test_images_from_the_server_to_the_reader(
    server: Server, fashion: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.files |= fashion
    files = [RemoteFile(f"fashion-mnist/{n}", server.address + n, len(c), md5(c)) for n, c in fashion.items()]
    monkeypatch.setitem(DATA, "fashion-mnist", replace(DATA["fashion-mnist"], files=tuple(files)))
    assert [row.state for row in verify(["fashion-mnist"], tmp_path)] == [State.MISSING] * 2
    assert len(data.fetch("fashion-mnist", tmp_path)) == 4
    assert [row.state for row in verify(["fashion-mnist"], tmp_path)] == [State.OK] * 6
    assert FashionMnist().load("train", tmp_path)[1].tolist() == [0, 1, 2, 3]
    data.fetch("fashion-mnist", tmp_path)
    assert len(server.asked) == 4

    (tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1, 1], np.uint8)))
    rows = verify(["fashion-mnist"], tmp_path)
    assert [row.state for row in rows].count(State.WRONG_CHECKSUM) == 2
    assert rows[-1].file == "fashion-mnist (test)"
    data.fetch("fashion-mnist", tmp_path)
    assert server.asked[4:] == ["t10k-labels-idx1-ubyte"]


def test_verify_reads_what_has_no_checksum(fashion: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for name, content in fashion.items():
        (folder / name).write_bytes(content)
    assert [row.state for row in verify(["fashion-mnist"], tmp_path)] == [State.OK] * 2
    (folder / "train-images-idx3-ubyte").write_bytes(fashion["train-images-idx3-ubyte"][:100])
    (row, _) = verify(["fashion-mnist"], tmp_path)
    assert row.state is State.DAMAGED
    assert "truncated" in row.detail
    assert "data fetch fashion-mnist" in row.detail
    assert not row.state.is_good


def test_verify_counts_images(fashion: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fashion-mnist").mkdir()
    for name, content in fashion.items():
        (tmp_path / "fashion-mnist" / name).write_bytes(content)
    monkeypatch.setattr(FashionMnist, "counts", {"train": 60_000, "test": 2})
    train, test = verify(["fashion-mnist"], tmp_path)
    assert (train.state, test.state) == (State.DAMAGED, State.OK)
    assert "4 images, the official split has 60,000" in train.detail


def test_verify_everything_in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    rows = verify(None, tmp_path)
    assert {row.key for row in rows} == set(DATA)
    assert {row.state for row in rows} == {State.MISSING}
    assert "drive.google.com" in next(row.detail for row in rows if row.key == "nats-tss")
