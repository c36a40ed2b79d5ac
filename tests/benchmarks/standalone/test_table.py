"""Ground truth made here: a table of stand-alone trainings, taken up where it was left, and checked again."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from supertau.benchmarks.cli import truth as truth_command
from supertau.benchmarks.judging.judge import judge, truth_info, truth_table
from supertau.benchmarks.runs.events import Interrupted
from supertau.benchmarks.standalone import table as standalone_table
from supertau.benchmarks.standalone import table as truth_training
from supertau.benchmarks.standalone import training as alone
from supertau.benchmarks.standalone.table import Repeated, check_table, make_truth, repeat_limit
from supertau.benchmarks.standalone.training import Recipe, train_alone
from supertau.search_spaces.errors import DataError, SupertauError, UnknownName
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.pool import select
from supertau.search_spaces.table import read_table, table_metadata
from supertau.search_spaces.truth import GroundTruth

SPACE = NASBench201()
TINY = Recipe("tiny", train=128, validation=100, channels=2, epochs=1, batch_size=64)


@pytest.fixture
def make(tmp_path):
    def made(recipe=TINY, pool="random:3", seeds=2, **options):
        out = tmp_path / "table.parquet"
        truth = make_truth(
            "nasbench201", recipe, pool=pool, seeds=seeds, out=out, results=tmp_path, workers=1, **options
        )
        return truth, out

    return made


def test_a_table_says_what_was_trained_and_how(make):
    truth, path = make()
    assert truth.architectures == select(SPACE, "random:3").architectures
    expected = [[train_alone(SPACE, a, TINY, seed).accuracy for seed in (0, 1)] for a in truth.architectures]
    assert truth.trials.tolist() == expected
    read = read_table(path, SPACE, "tiny")
    assert (read.trials == truth.trials).all()
    assert (read.seeds, read.epochs, read.chance) == (("0", "1"), 1, 10.0)
    assert read.split == "100 held-out images of digits"
    assert "tiny scale: digits at 8x8, C=2, N=1, 1 epochs" in read.source
    about = table_metadata(path)
    assert Recipe(**about["recipe"]) == TINY
    assert (about["pool"], about["failed"], about["training_images"]) == ("random:3", 0, 128)


def test_what_is_finished_is_not_trained_again(make, monkeypatch):
    heard = []
    make(seeds=1, listener=lambda event: heard.append((event.phase, event.done, event.total)))
    assert heard == [("train", 1, 3), ("train", 2, 3), ("train", 3, 3), ("finished", 0, 0)]
    heard.clear()
    truth, _ = make(pool="random:4", listener=lambda event: heard.append((event.phase, event.done, event.total)))
    assert heard[0] == ("train", 4, 8)  # random:4 begins with random:3
    assert truth.trials.shape == (4, 2)
    monkeypatch.setattr(truth_training, "_one", None)
    again, _ = make(pool="random:4")
    assert (again.trials == truth.trials).all()


def test_stopping_keeps_what_is_finished(make, tmp_path, monkeypatch):
    class Stopped:
        set = False

    class Flag:
        def __enter__(self):
            return Stopped

        def __exit__(self, *_):
            Stopped.set = False

    monkeypatch.setattr(truth_training, "stop_on_signal", Flag)

    def stop(event):
        Stopped.set = event.phase == "train"

    with pytest.raises(Interrupted):
        make(pool="random:8", listener=stop)
    notes = list((tmp_path / "truth").glob("*/*.json"))
    assert 1 <= len(notes) < 16
    stored = set(json.loads(notes[0].read_text()))
    assert stored == {"architecture", "seed", "recipe", "accuracy", "seconds", "failed", "checksum"}


def test_damaged_notes_and_those_of_other_trainings_are_made_again(make, tmp_path):
    truth, _ = make()
    first, other, *_ = (tmp_path / "truth").glob("*/*.json")
    for damage in (b"", b"{", other.read_bytes(), first.read_bytes().replace(b"0", b"1", 1)):
        first.write_bytes(damage)
        assert (make()[0].trials == truth.trials).all()


def test_a_training_that_diverges_counts_as_a_guess_and_says_so():
    wild = dataclasses.replace(TINY, learning_rate=1e20, clip=0.0)
    trained = train_alone(SPACE, select(SPACE, "random:2").architectures[0], wild, 0)
    assert trained.accuracy == 10.0
    assert "diverged" in trained.failed


def test_seed_and_recipe_decide_the_accuracy():
    cell = SPACE.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|")
    recipe = dataclasses.replace(TINY, channels=4, epochs=30)
    held = [train_alone(SPACE, cell, recipe, seed).accuracy for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]
    assert held[0] > train_alone(SPACE, cell, TINY, 0).accuracy + 10


def test_rows_of_a_table_are_trained_again(make, tmp_path):
    truth, path = make(seeds=1)
    rows = check_table(path, "nasbench201", 2)
    assert [row.architecture for row in rows] == [SPACE.format(truth.architectures[i]) for i in (0, 2)]
    assert all(row.is_equal and not row.is_wrong for row in rows)
    plain = tmp_path / "plain.csv"
    plain.write_text("architecture,accuracy\n" + "".join(f"{SPACE.format(a)},50\n" for a in truth.architectures))
    with pytest.raises(SupertauError, match="does not say how its networks were trained"):
        check_table(plain, "nasbench201", 2)


def test_errors_come_before_any_training(make):
    with pytest.raises(UnknownName, match=r"unknown recipe 'mikro'. Did you mean 'micro'"):
        alone.get_recipe("mikro", "nasbench201")
    with pytest.raises(DataError):
        make(dataclasses.replace(TINY, train=100_000))
    with pytest.raises(SupertauError, match="count of at least 2"):
        make(pool="random:1")


def test_a_changed_recipe_has_a_name_of_its_own():
    micro = alone.get_recipe("micro", "nasbench301")
    assert micro.name == "micro"
    assert alone.get_recipe("micro", "nasbench301", epochs=micro.epochs, images=None) == micro
    assert alone.get_recipe("micro", "nasbench301", epochs=9) == dataclasses.replace(
        micro, name="micro-changed", epochs=9
    )
    assert alone.get_recipe("micro", "nasbench301", called="mine").name == "mine"


def test_a_recipe_for_small_networks_takes_no_others(make, tmp_path):
    """Random pools draw small ones; those that are named are not dropped in silence, nor trained."""
    cells = [(0,) * 6, (3,) * 6]
    size = alone.images_of(TINY)[0].network(TINY.channels, TINY.cells)
    limit = SPACE.cost(cells[0], size).macs
    small = dataclasses.replace(TINY, max_macs=limit)
    path = tmp_path / "pool.txt"
    path.write_text("".join(f"{SPACE.format(cell)}\n" for cell in cells))
    with pytest.raises(SupertauError, match=rf"1 of 2 architectures have more than the {limit:,} MACs"):
        make(small, pool=str(path))
    truth, _ = make(dataclasses.replace(small, max_macs=2 * limit), seeds=1)
    assert max(SPACE.cost(cell, size).macs for cell in truth.architectures) <= 2 * limit
    drawn = select(SPACE, "random:3").architectures
    assert max(SPACE.cost(cell, size).macs for cell in drawn) > 2 * limit  # as without the limit


def test_failed_trainings_are_a_view_of_their_own():
    cells = select(SPACE, "random:60").architectures
    rng = np.random.default_rng(0)
    accuracy = np.where(np.arange(60) < 12, 10.0, rng.uniform(60, 90, 60))
    truth = GroundTruth("nasbench201", "own", "test", 1, "a test", None, cells, accuracy[:, None], ("0",), chance=10.0)
    table = truth_table(SPACE, truth, cells)
    scores = table[["architecture"]].assign(score=accuracy + rng.normal(0, 9, 60))
    info = truth_info(truth)
    tau = {(m.view, m.n): m.value for m in judge(scores, table, info).metrics if m.key == "kendall_tau"}
    assert {view for view, _ in tau} == {"all", "unique", "connected", "trained"}
    assert tau["all", 60] > tau["trained", 48]  # failed ones are easy to tell
    without = judge(scores, table, dataclasses.replace(info, chance=None))
    assert {m.view for m in without.metrics} == {"all", "unique", "connected"}


def test_a_repeated_training_may_differ_as_two_seeds_do():
    cells = select(SPACE, "random:100").architectures
    trials = np.full((100, 2), 70.0)
    trials[:, 1] += np.linspace(-9.9, 0, 100)
    assert repeat_limit(GroundTruth("nasbench201", "own", "test", 1, "a test", None, cells, trials, ("0", "1"))) == (
        pytest.approx(9.8, abs=0.01)
    )
    for seeds in (trials[:, :1], trials[:, [0, 0]]):
        names = tuple(map(str, range(seeds.shape[1])))
        assert repeat_limit(GroundTruth("nasbench201", "own", "test", 1, "a test", None, cells, seeds, names)) == 1


@pytest.mark.parametrize(
    ("now", "status", "told"), [(50.0, 0, ""), (57.9, 0, "not bit-identical"), (58.1, 1, "the table is wrong")]
)
def test_the_command_checks_the_packaged_table_unless_told_otherwise(monkeypatch, now, status, told):
    asked = []

    def repeat(path, space, count, listener):
        asked.append((path.name, space.name, count))
        return [Repeated("some", 50.0, now, 8.0)]

    monkeypatch.setattr(standalone_table, "_repeat", repeat)
    held = CliRunner().invoke(truth_command.app, ["check", "--space", "nds-resnet", "--json"])
    assert (held.exit_code, asked) == (status, [("nds-resnet-micro.parquet", "nds-resnet", 3)])
    assert json.loads(held.stdout)[0]["now"] == now
    assert told in held.stderr
    assert bool(told) == bool(held.stderr)
