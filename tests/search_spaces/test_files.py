"""Files of other systems: encodings, names that no system takes, paths with backslashes, any locale."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from supertau.search_spaces.errors import DataError, SupertauError, UnknownName
from supertau.search_spaces.files import NotText, decode
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.pool import select
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.table import read_table

SPACE = NASBench201()
TEXTS = [SPACE.format(cell) for cell in list(SPACE.enumerate())[:2]]
TABLE = "architecture,accuracy\n" + "".join(f"{text},9{at}.5\n" for at, text in enumerate(TEXTS))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_encodings_get_a_reason(tmp_path, encoding):
    path = tmp_path / "wide.csv"
    path.write_bytes(TABLE.encode(encoding))
    with pytest.raises(DataError, match=r"wide.csv' cannot be read as text: its text is in UTF-16 or UTF-32.*as UTF-8"):
        select(SPACE, str(path))
    with pytest.raises(DataError, match=r"wide.csv: its text is in UTF-16 or UTF-32.*save it as UTF-8"):
        read_table(path, SPACE, "cifar10")


def test_other_encodings_get_the_byte_and_the_line():
    with pytest.raises(NotText, match="not UTF-8: byte 0xfc on line 2; save it as UTF-8"):
        decode("eins\nfünf".encode("latin-1"))
    assert decode("\ufefffünf".encode()) == "fünf"
    assert decode(b"") == ""


@pytest.mark.parametrize(
    "name", ["x" * 256, "x" * 1_000_000, "folder/" + "x" * 300 + ".csv", "/".join(["x" * 99] * 50)]
)
def test_a_name_that_is_too_long_is_refused_in_few_words(name):
    with pytest.raises(SupertauError, match=r"File name too long|does not exist") as caught:
        select(SPACE, name)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["nasbench201", "nasbench301", "nds-resnet"])
def test_a_truth_whose_name_is_too_long(name):
    with pytest.raises(DataError, match="File name too long") as caught:
        get_space(name).truth("cifar10", "x" * 1000)
    assert len(str(caught.value)) < 600
    with pytest.raises(DataError, match="~nobody-of-this-name/x' cannot be a file or folder"):
        get_space(name).truth("cifar10", "~nobody-of-this-name/x")


def test_long_names_of_other_things():
    with pytest.raises(SupertauError, match=r"expected random:COUNT with a count of at least 2"):
        select(SPACE, "random:" + "9" * 5000)
    with pytest.raises(UnknownName) as caught:
        SPACE.truth("x" * 1_000_000)
    assert len(str(caught.value)) < 600


def test_paths_with_backslashes_are_shown_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = r"C:\data\new\pool.csv"  # elsewhere than on Windows the name of a file
    with pytest.raises(DataError) as caught:
        select(SPACE, name)
    assert f"'{name}' does not exist" in str(caught.value)
    for content in (b"\xff", b"rubbish\n", b""):
        with open(name, "wb") as file:
            file.write(content)
        for read in (lambda: select(SPACE, name), lambda: SPACE.truth("cifar10", name)):
            with pytest.raises(SupertauError) as caught:
                read()
            assert name in str(caught.value)
            assert "\\\\" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_shown_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = r"C:\data\table.csv"
    os.mkdir(name)
    for space in ("nasbench301", "nds-resnet"):
        with pytest.raises(DataError) as caught:
            get_space(space).truth("cifar10", name)
        assert name in str(caught.value)
        assert "\\\\" not in str(caught.value)


CODE = """
import sys
import warnings
from pathlib import Path
# Python itself warns of files that are opened in the locale's encoding.
warnings.filterwarnings("error", category=EncodingWarning, module=r"supertau\\.")
from supertau.search_spaces.pool import select
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.table import write_table
space = get_space("nasbench201")
folder = Path(sys.argv[1])
truth = space.truth("mine", folder / "table.csv")
write_table(truth, folder / "copy.csv", space)
assert space.truth("mine", folder / "copy.csv").source == truth.source == "f\\u00fcnf"
assert len(select(space, str(folder / "pool.txt"))) == 2
assert get_space("nds-resnet").truth("micro").split
"""


def test_files_are_utf_8_whatever_the_locale(tmp_path):
    (tmp_path / "pool.txt").write_text("# fünf\n" + "\n".join(TEXTS), encoding="utf-8")
    (tmp_path / "table.csv").write_text('# supertau {"source": "fünf"}\n' + TABLE, encoding="utf-8")
    options = ["-X", "warn_default_encoding", "-X", "utf8=0"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(
        [sys.executable, *options, "-c", CODE, str(tmp_path)], env=environment, check=False, capture_output=True
    )
    assert run.returncode == 0, run.stderr.decode()
