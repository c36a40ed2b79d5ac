"""Pools: which architectures are ranked."""

import pytest

from supertau.search_spaces.errors import DataError, InvalidArchitecture, SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.pool import select

SPACE = NASBench201()
CELLS = tuple(SPACE.enumerate())
TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"


def test_whole_pools():
    assert select(SPACE, "all").architectures == CELLS
    assert select(SPACE, "unique").architectures == tuple(SPACE.unique())
    assert select(SPACE, "connected").architectures == tuple(cell for cell in CELLS if SPACE.is_connected(cell))
    assert [len(select(SPACE, kind)) for kind in ("all", "unique", "connected")] == [15_625, 6466, 15_284]


@pytest.mark.parametrize("kind", ["all", "unique", "connected"])
def test_a_sample_is_a_fixed_part_in_the_pools_order(kind):
    whole = select(SPACE, kind).architectures
    pool = select(SPACE, f"{kind}:200")
    assert pool.name == f"{kind}:200"
    assert len(pool) == 200
    assert pool == select(NASBench201(), f"{kind}:200")
    chosen = set(pool.architectures)
    assert pool.architectures == tuple(cell for cell in whole if cell in chosen)
    # Two halves of the space are both in it: a sample is not its beginning.
    assert 60 < sum(cell in chosen for cell in whole[: len(whole) // 2]) < 140


def test_a_sample_may_be_the_whole_pool():
    assert select(SPACE, "unique:6466").architectures == select(SPACE, "unique").architectures


@pytest.mark.parametrize("kind", ["all", "random"])
@pytest.mark.parametrize("count", ["", "0", "1", "-3", "2.5", "ten", " 5", "\u00b2"])
def test_bad_counts(kind, count):
    with pytest.raises(
        SupertauError, match=rf"pool '{kind}:{count}': expected {kind}:COUNT with a count of at least 2\."
    ):
        select(SPACE, f"{kind}:{count}")


def test_a_sample_larger_than_the_pool_is_the_pool():
    assert select(SPACE, "unique:6467").architectures == select(SPACE, "unique").architectures


def test_random_draws_are_of_different_classes_and_always_the_same():
    pool = select(SPACE, "random:300")
    assert len({SPACE.canonical(cell) for cell in pool.architectures}) == 300
    assert pool == select(NASBench201(), "random:300")
    with pytest.raises(SupertauError, match=r"gave 64\d\d of 7000 new architectures wanted"):
        select(SPACE, "random:7000")


class Unlisted(NASBench201):
    is_listable = False


def test_the_pool_of_a_space_that_cannot_be_listed_is_what_has_ground_truth():
    space, known = Unlisted(), CELLS[40:90]
    assert select(space, "all", known).architectures == known
    assert select(space, "connected", known).architectures == tuple(c for c in known if SPACE.is_connected(c))
    unique = select(space, "unique", known).architectures
    assert list(unique) == [c for i, c in enumerate(known) if SPACE.canonical(c) not in map(SPACE.canonical, known[:i])]
    assert set(select(space, "all:20", known).architectures) < set(known)


def test_unknown_pool_is_named_with_the_nearest_one():
    with pytest.raises(UnknownName, match=r"unknown pool 'uniqe'. Did you mean 'unique'\? Available: all, all:COUNT"):
        select(SPACE, "uniqe")


@pytest.mark.parametrize("name", ["missing.csv", "folder/missing"])
def test_missing_pool_file(name):
    with pytest.raises(DataError, match=f"pool file '{name}' does not exist"):
        select(SPACE, name)


@pytest.fixture
def listing(tmp_path):
    def write(*lines):
        path = tmp_path / "pool.csv"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def texts(*rows):
    return [SPACE.format(CELLS[row]) for row in rows]


def test_pool_of_a_file_keeps_its_order(listing):
    pool = select(SPACE, listing(*texts(7, 3, 5)))
    assert pool.architectures == (CELLS[7], CELLS[3], CELLS[5])
    assert pool.name.startswith("pool.csv@")


def test_pool_of_a_csv_file_ignores_header_further_columns_quotes_and_empty_lines(listing):
    one, two = texts(7, 3)
    plain = select(SPACE, listing(one, two))
    assert select(SPACE, listing("architecture,accuracy", f'"{one}",93.1', "", f"  {two} ,90")) == plain


def test_name_of_a_files_pool_follows_its_content(listing):
    names = [select(SPACE, listing(*texts(*rows))).name for rows in ((1, 2), (2, 1), (1, 2, 3), (1, 2))]
    assert len(set(names)) == 3
    assert names[0] == names[3]


def test_bad_line_of_a_pool_file_is_named(listing):
    with pytest.raises(
        InvalidArchitecture, match=r"pool file '.*pool.csv', line 3: nasbench201: cannot read 'rubbish'"
    ):
        select(SPACE, listing(*texts(1, 2), "rubbish"))
    with pytest.raises(InvalidArchitecture, match=r"line 2: nasbench201: cannot read 'architecture'"):
        select(SPACE, listing(*texts(1), "architecture"))


def test_an_architecture_twice_in_a_pool_file(listing):
    with pytest.raises(DataError, match=r"lines 1 and 4 hold the same architecture"):
        select(SPACE, listing(*texts(1, 2), "", *texts(1)))


@pytest.mark.parametrize("rows", [(), (4,)])
def test_a_pool_file_with_less_than_two(listing, rows):
    with pytest.raises(DataError, match=rf"holds {len(rows)} architectures; a ranking needs at least 2"):
        select(SPACE, listing(*texts(*rows)))


def test_a_pool_file_that_is_no_text(tmp_path):
    (tmp_path / "pool.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"pool.csv' cannot be read as text"):
        select(SPACE, str(tmp_path / "pool.csv"))
