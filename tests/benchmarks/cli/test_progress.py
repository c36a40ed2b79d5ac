"""Progress in a log: few lines that say how far a run is, with a clock that the test turns."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console

from supertau.benchmarks.cli.bars import bars
from supertau.benchmarks.cli.progress import Log, duration, progress
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event


class Watched:
    """A log, its lines and its clock."""

    def __init__(self, **options: object) -> None:
        self.now, self.lines = 0.0, list[str]()
        self.log = Log(self.lines.append, lambda: self.now, **options)  # type: ignore[arg-type]

    def at(self, seconds: float, phase: Phase, done: int = 0, total: int = 0, text: str = "", run: str = "a") -> None:
        self.now = seconds
        self.log(Event(run, phase, done, total, text))


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_line_has_step_text_and_time_left(watched: Watched) -> None:
    watched.at(0, Phase.TRAIN, 0, 2000)
    watched.at(120, Phase.TRAIN, 1200, 2000, "epoch 3.0, 10 steps/s, 640 images/s, loss 1.234")
    assert watched.lines == [
        "a: train - step 0 of 2000 (0 %)",
        "a: train - step 1200 of 2000 (60 %), epoch 3.0, 10 steps/s, 640 images/s, loss 1.234, about 80 s left",
    ]


def test_an_hour_prints_a_line_every_half_minute(watched: Watched) -> None:
    for second in range(3601):
        watched.at(second, Phase.TRAIN, second, 3600)
    assert len(watched.lines) == pytest.approx(3600 / 30, abs=15)
    assert watched.lines[1] == "a: train - step 30 of 3600 (0 %), about 60 min left"
    for tenth in range(1, 11):  # each tenth has its own line, also where the half minutes do not meet it
        assert any(f"step {360 * tenth} of 3600 ({10 * tenth} %)" in line for line in watched.lines)


def test_tenths_have_a_line_before_half_a_minute_is_over(watched: Watched) -> None:
    for second in range(101):
        watched.at(second, Phase.TRAIN, second, 100)
    assert [line.partition(" of")[0] for line in watched.lines] == [f"a: train - step {10 * n}" for n in range(11)]


def test_a_short_run_prints_start_and_end_only(watched: Watched) -> None:
    watched.at(0.0, Phase.START)
    watched.at(0.2, Phase.LOAD, text="images and ground truth")
    for step in range(101):
        watched.at(0.3 + step / 100, Phase.TRAIN, step, 100)
    watched.at(1.5, Phase.SCORE, 10, 10)
    watched.at(1.9, Phase.JUDGE)
    watched.at(2.0, Phase.FINISHED, text="tau 0.5")
    assert watched.lines == ["a: start", "a: finished - tau 0.5"]


def test_a_phase_that_began_early_in_a_run_is_named_as_soon_as_the_run_is_not_short(watched: Watched) -> None:
    watched.at(0, Phase.LOAD)
    watched.at(1, Phase.TRAIN, 1, 1000)
    watched.at(4, Phase.TRAIN, 4, 1000)
    watched.at(6, Phase.TRAIN, 6, 1000, "loss 2")
    assert watched.lines == ["a: load", "a: train - step 6 of 1000 (0 %), loss 2, about 17 min left"]


def test_a_later_phase_prints_its_start_at_once_and_its_quick_tenths_not(watched: Watched) -> None:
    watched.at(0, Phase.TRAIN, 0, 10)
    watched.at(100, Phase.TRAIN, 10, 10)
    watched.at(101, Phase.SCORE, 0, 400)
    for done in range(40, 401, 40):
        watched.at(101 + done / 400, Phase.SCORE, done, 400)
    watched.at(102.5, Phase.JUDGE, text="metrics of 2 score columns")
    assert watched.lines[2:] == [
        "a: score - architecture 0 of 400 (0 %)",
        "a: judge - metrics of 2 score columns",
    ]


def test_time_left_counts_from_where_training_resumed(watched: Watched) -> None:
    watched.at(0, Phase.RESUME)
    watched.at(10, Phase.TRAIN, 900, 1000)
    watched.at(50, Phase.TRAIN, 950, 1000)
    assert watched.lines[-1] == "a: train - step 950 of 1000 (95 %), about 40 s left"


@pytest.mark.parametrize("how", [[], [Phase.RESUME]], ids=["steps go back", "resume"])
def test_a_phase_that_begins_again_begins_anew(watched: Watched, how: list[Phase]) -> None:
    watched.at(0, Phase.TRAIN, 0, 100)
    watched.at(90, Phase.TRAIN, 90, 100)
    for phase in how:
        watched.at(100, phase, text="on another node")
    watched.at(110, Phase.TRAIN, 50, 100)
    watched.at(150, Phase.TRAIN, 75, 100)
    assert watched.lines[-2:] == [
        "a: train - step 50 of 100 (50 %)",
        "a: train - step 75 of 100 (75 %), about 40 s left",
    ]


def test_a_run_that_is_done_again_prints_its_start_again(watched: Watched) -> None:
    for start in (0, 100):
        watched.at(start, Phase.LOAD)
        watched.at(start + 1, Phase.ERROR, text="out of memory")
    assert watched.lines == ["a: load", "a: error - out of memory"] * 2


def test_runs_are_told_apart(watched: Watched) -> None:
    for second in range(10):
        watched.at(second, Phase.TRAIN, 10 + second, 1000, run="a")
        watched.at(second, Phase.TRAIN, 500 + second, 1000, run="b")
    assert [line.partition(":")[0] for line in watched.lines] == ["a", "b"]
    watched.at(31, Phase.TRAIN, 50, 1000, run="b")
    assert watched.lines[-1].startswith("b: train - step 50 ")


def test_a_phase_may_count_something_else() -> None:
    watched = Watched(units={Phase.TRAIN: "training"})
    watched.at(0, Phase.TRAIN, 3, 400)
    watched.at(0, Phase.SCORE, 3, 400, run="b")
    assert watched.lines == ["a: train - training 3 of 400 (0 %)", "b: score - 3 of 400 (0 %)"]


def test_threads_do_not_mix_lines() -> None:
    written: list[str] = []

    def write(line: str) -> None:
        for word in line.split():  # a stream that takes its time
            written.append(word)
            time.sleep(0)
        written.append("\n")

    log = Log(write, lambda: 0.0)
    runs = [
        threading.Thread(
            target=lambda name=name: [log(Event(f"{name}{n}", Phase.FINISHED, text="x")) for n in range(50)]
        )
        for name in "abcd"
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    lines = " ".join(written).split("\n")
    assert len(lines) == 201
    assert {line.strip().partition(":")[2] for line in lines[:-1]} == {" finished - x"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (180, "3 min"), (5300, "88 min"), (7800, "2 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_quiet_says_nothing_and_a_log_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with progress(1, quiet=quiet) as listener:
            listener(Event("a", Phase.FINISHED, text="tau 0.5"))
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err == ("" if quiet else "a: finished - tau 0.5\n")


def test_a_terminal_has_bars() -> None:
    stream = io.StringIO()
    with bars(2, Console(file=stream, force_terminal=True, width=100, color_system=None)) as listener:
        listener(Event("a", Phase.TRAIN, 5, 10, "loss 1.0"))
        listener(Event("a", Phase.SCORE, 1, 10))
        listener(Event("a", Phase.FINISHED, text="tau [0.5]"))
    shown = stream.getvalue()
    assert "a: finished - tau [0.5]" in shown
    assert "1/2" in shown
