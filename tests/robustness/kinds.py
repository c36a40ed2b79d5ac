"""Every kind of file that a run leaves or reads: how one comes about, and what must hold when it is damaged.

What a run wrote is refused or has no influence; the remedy is the same command, or what the error says, and leads to
the bytes that were there. What the user made has no checksum: it is refused with its name, or counts as what it is now,
never as what it was; the remedy is to put it back.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from PIL import Image

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.images import parquet
from supertau.benchmarks.images.cifar import Cifar10
from supertau.benchmarks.record import Phase
from supertau.benchmarks.results import Run, load_runs, read_run
from supertau.benchmarks.runs.events import Event
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Existing, Settings
from supertau.benchmarks.standalone.table import make_truth
from supertau.benchmarks.standalone.training import get_recipe
from supertau.benchmarks.verbs.score import score
from supertau.benchmarks.verbs.search import search
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.spaces import get_space

from .command_line import supertau

T = TypeVar("T")
SCORING = {"bn": ["batch"], "scoring_images": 16, "scoring_batch": 16}
POOL, LARGE = "all:60", "all:300"
"""The large one has two shards."""
SEARCH = ("search", "spos", "--population", "4", "--generations", "2", "--json", "--quiet", "--results", "results")


@dataclass(frozen=True)
class Case:
    """One file to be damaged. other: one of its kind. problems: says afterwards what is not as it should be."""

    folder: Path
    path: Path
    other: Path
    problems: Callable[[], list[str]]


def spos(seed: int = 0, **options: object) -> RunConfig:
    return resolve("spos", seed=seed, preset="smoke", settings=SCORING, **{"pool": POOL, "curve_pool": 4, **options})


def settings(results: Path, **others: object) -> Settings:
    return Settings(results, threads=1, **others)


class Site:
    """The intact files, each made when it is first asked for; `results` folders hold one run of interest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "intact"

    def finished(self, seed: int) -> Path:
        """Return a folder with a run judged by two truths, one to compare it with, and a search."""
        folder = self.folder / f"finished-{seed}"
        if not folder.exists():
            results = folder / "results"
            run(resolve("params", preset="smoke", pool=POOL), settings(results))
            run(spos(seed), settings(results))
            run(spos(seed, truth="cifar100"), settings(results))
            answer = supertau(*SEARCH, folder=folder)
            assert answer.status == 0, answer.errors
        return folder

    def interrupted(self, seed: int, phase: Phase, done: int) -> Path:
        """Return a folder with a run of the large pool that was stopped."""
        folder = self.folder / f"{phase.value}-{seed}"
        if not folder.exists():

            def stop(event: Event) -> None:
                if event.phase is phase and event.done >= done:
                    raise KeyboardInterrupt

            try:
                run(spos(seed, pool=LARGE), settings(folder / "results", checkpoint_seconds=0.0), stop)
            except KeyboardInterrupt:
                return folder
            raise AssertionError("the run was not stopped")
        return folder

    def stopped_search(self, seed: int) -> Path:
        """Return the state of a search that was stopped after its first generation, in a copy of a finished folder."""
        folder = self.folder / f"searching-{seed}"
        if not folder.exists():
            shutil.copytree(self.finished(0), folder)
            for path in folder.rglob("search-*.json"):
                path.unlink()

            def stop(evolution: object) -> None:
                raise KeyboardInterrupt

            try:
                search("spos", population=4, generations=2, seed=seed, results=folder / "results", on_generation=stop)
            except KeyboardInterrupt:
                return folder
            raise AssertionError("the search was not stopped")
        return folder

    @cached_property
    def whole(self) -> Run:
        """The run of the large pool that nobody stopped, judged by two truths."""
        one = run(spos(pool=LARGE), settings(self.folder / "whole"))
        return run(spos(pool=LARGE, truth="cifar100"), settings(one.folder.parents[1]))

    @cached_property
    def small(self) -> Run:
        """The run of a smaller pool, trained on its own."""
        return run(spos(pool="all:30", curve_points=0), settings(self.folder / "small"))

    @cached_property
    def numbers(self) -> dict[str, Run]:
        """Every run that a damaged folder can hold, by its name, as it truly is."""
        folders = [self.finished(0), self.finished(1), self.scored(0), self.scored(1)]
        return {one.record.run_id: one for folder in folders for one in load_runs(folder / "results")}

    @cached_property
    def report_lines(self) -> set[str]:
        """Every line that a report of damaged folders may hold."""
        return {line for folder in (self.finished(0), self.finished(1), self.scored(0), self.scored(1))
                for line in report_of(folder)[1]}  # fmt: skip

    @cached_property
    def trained(self) -> Path:
        """A folder with two networks trained stand-alone, and the table of them."""
        folder = self.folder / "trained"
        train(folder)
        return folder

    def scored(self, seed: int) -> Path:
        """Return a folder with a table of scores, the record made of it, and a run to compare it with."""
        folder = self.folder / f"scored-{seed}"
        if not folder.exists():
            texts = architectures()
            values = np.random.default_rng(seed).random(len(texts))
            folder.mkdir(parents=True)
            run(resolve("params", preset="smoke", pool=POOL), settings(folder / "results"))
            frame = pd.DataFrame({"architecture": texts, "score": values})
            frame.to_csv(folder / "mine.csv", index=False)
            frame.to_parquet(folder / "mine.parquet", index=False)
            score(folder / "mine.csv", name="mine", results=folder / "results")
        return folder


def architectures(count: int = 60, seed: int = 0) -> list[str]:
    space = get_space("nasbench201")
    everything = list(space.enumerate())
    rows = np.random.default_rng(seed).choice(len(everything), count, replace=False)
    return [space.format(everything[row]) for row in sorted(rows)]


# --- what must hold ---------------------------------------------------------------------------------------------------
def attempt(function: Callable[[], T]) -> tuple[T | None, str, list[str]]:
    """Return the result, or the message of a SupertauError, and as a problem any other exception."""
    try:
        return function(), "", []
    except SupertauError as error:
        return None, str(error), [] if str(error) else ["an error without a message"]
    except Exception as error:
        return None, "", [f"{type(error).__name__}: {str(error)[:200]}"]


def differing(folder: Path, expected: Path, names: tuple[str, ...]) -> list[str]:
    """Return which files of two runs differ."""
    return [
        f"{name} has other bytes in the end"
        for name in names
        if not (folder / name).is_file() or (folder / name).read_bytes() != (expected / name).read_bytes()
    ]


def report_of(folder: Path) -> tuple[list[str], list[str]]:
    """Return the problems of a report, and the lines of numbers in it."""
    answer = supertau("report", "--results", "results", "--to", "report", "--no-figures", folder=folder)
    problems = answer.problems() or ([f"report: {answer.errors.strip()}"] if answer.status else [])
    return problems, [] if problems else (folder / "report" / "runs.csv").read_text().splitlines()


def readings(site: Site, folder: Path, name: str) -> list[str]:
    """Return what is wrong with what a reader gets of a results folder in which a file is damaged."""
    problems: list[str] = []
    for one in load_runs(folder / "results"):
        true = site.numbers[one.record.run_id]
        if not one.metrics.equals(true.metrics):
            problems.append(f"the metrics of {one.record.run_id} are read and are not its own")
        for part in ("scores", "truth", "curve"):
            table, _, strange = attempt(partial(getattr, one, part))
            problems += strange
            if table is not None and not table.equals(getattr(true, part)):
                problems.append(f"{part} of {one.record.run_id} is read and is not its own")
    damaged = next((folder / "results" / "runs").glob("[!p]*"))
    one, error, strange = attempt(lambda: read_run(damaged))
    problems += strange
    if one is not None:
        _, error, strange = attempt(one.check)
        problems += strange
        if not strange and not error:
            problems.append("nothing is wrong with it, says Run.check")
    wrong, lines = report_of(folder)
    problems += wrong
    if strangers := [line for line in lines if line not in site.report_lines]:
        problems.append(f"the report has a line that no intact run has: {strangers[0]}")
    asked = ("compare", name, "params", "--json", "--results", "results")
    answer = supertau(*asked, folder=folder)
    problems += answer.problems()
    expected = {supertau(*asked, folder=f).output for f in (site.finished(0), site.finished(1), site.scored(0))
                if name in ("spos", "mine")}  # fmt: skip
    if answer.status == 0 and answer.output not in expected:
        problems.append("compare gives another number")
    return problems


# --- files of a finished run ------------------------------------------------------------------------------------------
def table_of_a_run(pattern: str, site: Site, folder: Path) -> Case:
    """A table or the record of a finished run."""
    shutil.copytree(site.finished(0), folder)
    # Seeds of one pool share their truth, which would be no damage.
    elsewhere = site.whole.folder if "truth" in pattern else next(site.finished(1).glob("results/runs/spos-*"))
    (path,), (other,) = folder.glob(f"results/runs/spos-*/{pattern}"), elsewhere.glob(pattern)
    (intact,) = (site.finished(0) / "results").glob("runs/spos-*")

    def problems() -> list[str]:
        found = readings(site, folder, "spos")
        seen: list[Event] = []
        made, error, strange = attempt(lambda: run(spos(), settings(folder / "results"), seen.append))
        if made is None:
            return [*found, *strange, error and f"the same command does not help: {error}"]
        if any(event.phase is Phase.TRAIN for event in seen):
            found.append("trained again")
        run(spos(truth="cifar100"), settings(folder / "results"))
        true, again = read_run(intact), read_run(made.folder)
        assert true is not None
        assert again is not None
        _, error, _ = attempt(again.check)
        if error:
            return [*found, f"the same command does not help, and each further one scores again: {error}"]
        later = next(intact.glob("truth-*.parquet")).name
        found += differing(made.folder, intact, ("scores.parquet", "truth.parquet", later))
        if not again.metrics.equals(true.metrics):
            found.append("the metrics differ in the end")
        curve, error, strange = attempt(lambda: again.curve)
        # The weights of those moments are gone: a curve that is lost stays so.
        if error or strange or (curve is not None and not curve.equals(true.curve)):
            found.append(" ".join(["the curve is not its own in the end", error, *strange]).strip())
        return found + report_of(folder)[0]

    return Case(folder, path, other, problems)


def checkpoint_of_a_search(site: Site, folder: Path) -> Case:
    """The checkpoint of a finished run, which searches start from."""
    shutil.copytree(site.finished(0), folder)
    (path,), (other,) = ((f / "results").glob("runs/spos-*/checkpoint.pt") for f in (folder, site.finished(1)))
    intact = next((site.finished(0) / "results").glob("runs/spos-*"))

    def problems() -> list[str]:
        expected = supertau(*SEARCH, folder=site.finished(0)).output
        answer = supertau(*SEARCH, folder=folder)
        found = answer.problems()
        if answer.status == 0 and answer.output != expected:
            found.append("the search goes by other weights and does not say so")
        if answer.status and path.name not in answer.errors:
            found.append(f"the error does not name the file: {answer.errors}")
        found += report_of(folder)[0]
        made = run(spos(), settings(folder / "results", existing=Existing.RESTART))
        found += differing(made.folder, intact, ("scores.parquet", "truth.parquet", "curve.parquet"))
        if supertau(*SEARCH, folder=folder).output != expected:
            found.append("after --restart the search has another result")
        return found

    return Case(folder, path, other, problems)


def checkpoint_for_another_pool(site: Site, folder: Path) -> Case:
    """The checkpoint of a finished run, which a run that scores another pool copies."""
    shutil.copytree(site.finished(0), folder)
    (path,), (other,) = ((f / "results").glob("runs/spos-*/checkpoint.pt") for f in (folder, site.finished(1)))
    small = spos(pool="all:30", curve_points=0)

    def problems() -> list[str]:
        made, error, found = attempt(lambda: run(small, settings(folder / "results")))
        if error:
            if "checkpoint.pt" not in error:
                found.append(f"the error does not name the file: {error}")
            for broken in (folder / "results").glob("runs/*/checkpoint.pt"):
                if str(broken) in error:
                    broken.unlink()
            made, error, strange = attempt(lambda: run(small, settings(folder / "results")))
            found += strange
            if error:
                found.append("removing the file that the error names does not help: the damaged one is copied again")
        if made is not None:
            found += differing(made.folder, site.small.folder, ("scores.parquet",))
        return found

    return Case(folder, path, other, problems)


# --- files of an unfinished run ---------------------------------------------------------------------------------------
def file_of_an_unfinished_run(pattern: str, phase: Phase, done: int, site: Site, folder: Path) -> Case:
    """What a run that was stopped goes on from."""
    shutil.copytree(site.interrupted(0, phase, done), folder)
    path, other = (
        sorted((f / "results").glob(f"runs/spos-*/{pattern}"))[0] for f in (folder, site.interrupted(1, phase, done))
    )

    def problems() -> list[str]:
        seen: list[Event] = []
        go = lambda: run(spos(pool=LARGE), settings(folder / "results"), seen.append)  # noqa: E731
        made, error, found = attempt(go)
        if error:
            if path.name not in error:
                found.append(f"the error does not name the file: {error}")
            path.unlink(missing_ok=True)
            made, error, strange = attempt(go)
            found += strange + ([f"removing it does not help: {error}"] if error else [])
        if made is None:
            return found
        if not made.finished:
            failure = made.record.failure
            assert failure is not None
            return [*found, f"the method is blamed: {failure.type}: {failure.message}"]
        made.check()
        found += differing(made.folder, site.whole.folder, ("scores.parquet", "truth.parquet"))
        curve, true = made.curve, site.whole.curve
        assert true is not None
        if curve is None or len(curve) < len(true):
            if path.parent.name != "curve":
                found.append("points of the curve are missing")
            elif path.exists() and not any("The curve has a point less" in event.text for event in seen):
                found.append("a point of the curve is missing and nothing says so")
        if curve is not None and len(curve.merge(true)) < len(curve):
            found.append("the curve holds numbers that are not the run's")
        return found

    return Case(folder, path, other, problems)


# --- searches ---------------------------------------------------------------------------------------------------------
def result_of_a_search(site: Site, folder: Path) -> Case:
    """What a search found."""
    shutil.copytree(site.finished(0), folder)
    (path,), (other,) = ((f / "results").glob("runs/spos-*/search-*.json") for f in (folder, site.finished(1)))
    (intact,) = (site.finished(0) / "results").glob("runs/spos-*/search-*.json")

    def problems() -> list[str]:
        found = report_of(folder)[0]
        answer = supertau(*SEARCH, folder=folder)
        found += answer.problems() or ([answer.errors] if answer.status else [])
        return found + differing(path.parent, intact.parent, (path.name,))

    return Case(folder, path, other, problems)


def state_of_a_search(site: Site, folder: Path) -> Case:
    """What a search that was stopped goes on from."""
    shutil.copytree(site.stopped_search(0), folder)
    (path,), (other,) = (
        (f / "results").glob("runs/spos-*/search-*.state.json") for f in (folder, site.stopped_search(1))
    )

    def problems() -> list[str]:
        expected = supertau(*SEARCH, folder=site.finished(0)).output
        answer = supertau(*SEARCH, folder=folder)
        found = answer.problems()
        if answer.status == 0 and answer.output != expected:
            found.append("the search has another result and does not say so")
        if answer.status:
            if not found and path.name not in answer.errors:
                found.append(f"the error does not name the file: {answer.errors.strip()}")
            path.unlink(missing_ok=True)
            if supertau(*SEARCH, folder=folder).output != expected:
                found.append("removing it does not help")
        return found

    return Case(folder, path, other, problems)


# --- stand-alone training -------------------------------------------------------------------------------------------
def training(site: Site, folder: Path) -> Case:
    """What one training of `supertau truth train` gave, which the same command goes on from."""
    shutil.copytree(site.trained, folder)
    path, other = sorted((folder / "truth").rglob("*-s0.json"))

    def problems() -> list[str]:
        _, error, found = attempt(lambda: train(folder))
        if error:
            if path.name not in error:
                found.append(f"the error does not name the file: {error}")
            path.unlink(missing_ok=True)
            _, error, strange = attempt(lambda: train(folder))
            found += strange + ([f"removing it does not help: {error}"] if error else [])
        if not found and _numbers(folder / "table.csv") != _numbers(site.trained / "table.csv"):
            found.append("the table holds another accuracy and nothing says so")
        return found

    return Case(folder, path, other, problems)


def train(folder: Path) -> None:
    recipe = get_recipe("micro", "nasbench201", called="tiny", epochs=1)
    make_truth("nasbench201", recipe, pool="random:2", seeds=1, results=folder, out=folder / "table.csv", workers=1)


def _numbers(path: Path) -> list[list[object]]:
    return pd.read_csv(path, comment="#").to_numpy().tolist()


# --- images -----------------------------------------------------------------------------------------------------------
@contextmanager
def caches_in(folder: Path) -> Iterator[None]:
    """Keep decoded images out of the user's cache folder."""
    before, parquet.user_cache_folder = parquet.user_cache_folder, lambda: folder
    try:
        yield
    finally:
        parquet.user_cache_folder = before


def images(folder: Path, seed: int) -> torch.Tensor:
    """Write images as Parquet, and read them once, which caches them decoded."""
    rows = []
    for pixels in np.random.default_rng(seed).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8):
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue()})
    path = folder / "cifar10" / "train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame({"img": rows, "label": range(8)}).to_parquet(path)
    with caches_in(folder):
        return Cifar10().load("train", folder)[0]


def decoded_images(suffix: str, site: Site, folder: Path) -> Case:
    """The cache of decoded images, or its checksum."""
    true = images(folder / "data", 0)
    images(folder / "other", 1)
    (path,), (other,) = ((folder / name / "decoded").glob(f"*{suffix}") for name in ("data", "other"))

    def problems() -> list[str]:
        def load() -> torch.Tensor:
            with caches_in(folder / "data"):
                return Cifar10().load("train", folder / "data")[0]

        got, error, found = attempt(load)
        if error:
            found.append(f"refused: {error}")
        if got is not None and not torch.equal(got, true):
            found.append("other pixels")
        return found

    return Case(folder, path, other, problems)


# --- files that the user made -----------------------------------------------------------------------------------------
def put_back(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def truth_table(suffix: str, site: Site, folder: Path) -> Case:
    """A ground truth that is given by --truth-path."""
    folder.mkdir(parents=True)
    texts = list(next(one for one in site.numbers.values() if one.record.estimator == "params").scores["architecture"])
    for seed, name in ((1, "other"), (0, "mine")):
        accuracy = np.random.default_rng(seed).uniform(10, 90, len(texts)).round(2)
        _write(pd.DataFrame({"architecture": texts, "accuracy": accuracy}), folder / f"{name}{suffix}")
    path = folder / f"mine{suffix}"
    config = resolve("params", preset="smoke", pool=POOL, truth="cifar10", truth_path=str(path))
    first = run(config, settings(folder / "results")).judgement()
    content = path.read_bytes()

    def trials() -> np.ndarray:
        return get_space("nasbench201").truth("cifar10", path).mean

    true = trials()

    def problems() -> list[str]:
        now, _, found = attempt(trials)
        made, error, strange = attempt(lambda: run(config, settings(folder / "results")))
        found += strange
        if error and path.name not in error:
            found.append(f"the error does not name the file: {error}")
        if made is not None and made.judgement().truth.key == first.truth.key:
            if now is None:
                found.append("the file cannot be read, and the judgement by what it was is given without a word")
            elif now.shape != true.shape or not np.array_equal(now, true):
                found.append("judged by what the file was, not by what it is")
        put_back(path, content)
        again, error, strange = attempt(lambda: run(config, settings(folder / "results")))
        found += strange + ([f"putting it back does not help: {error}"] if error else [])
        if again is not None and again.judgement() != first:
            found.append("after it was put back the judgement is another one")
        return found

    return Case(folder, path, folder / f"other{suffix}", problems)


def _write(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)


def pool_file(site: Site, folder: Path) -> Case:
    """A file of architectures to rank."""
    folder.mkdir(parents=True)
    path, other = folder / "mine.txt", folder / "other.txt"
    path.write_text("\n".join(architectures()) + "\n")
    other.write_text("\n".join(architectures(40, 1)) + "\n")
    content = path.read_bytes()

    def go() -> Run:
        return run(resolve("params", preset="smoke", pool=str(path)), settings(folder / "results"))

    first = go()

    def problems() -> list[str]:
        made, error, found = attempt(go)
        if error and path.name not in error:
            found.append(f"the error does not name the file: {error}")
        if made is not None and made.folder == first.folder and path.read_bytes() != content:
            found.append("taken for the pool that it was")
        put_back(path, content)
        again = go()
        if again.record != first.record:
            found.append("after it was put back the record is another one")
        return found

    return Case(folder, path, other, problems)


def score_table(suffix: str, site: Site, folder: Path) -> Case:
    """A table of scores made elsewhere."""
    shutil.copytree(site.scored(0), folder)
    path, other = folder / f"mine{suffix}", site.scored(1) / f"mine{suffix}"
    content = path.read_bytes()
    first = score(path, name="mine", results=folder / "results")

    def problems() -> list[str]:
        made, error, found = attempt(lambda: score(path, name="mine", results=folder / "results"))
        if error and path.name not in error:
            found.append(f"the error does not name the file: {error}")
        if made is not None and made.folder == first.folder and not made.scores.equals(first.scores):
            found.append("taken for the scores that they were")
        put_back(path, content)
        again = score(path, name="mine", results=folder / "results")
        if again.folder != first.folder or not again.scores.equals(first.scores):
            found.append("after it was put back the record is another one")
        return found + report_of(folder)[0]

    return Case(folder, path, other, problems)


def record_of_scores(pattern: str, site: Site, folder: Path) -> Case:
    """What `supertau score` wrote."""
    shutil.copytree(site.scored(0), folder)
    elsewhere = site.whole.folder if "truth" in pattern else next(site.scored(1).glob("results/runs/mine-*"))
    (path,), (other,) = folder.glob(f"results/runs/mine-*/{pattern}"), elsewhere.glob(pattern)
    (intact,) = (site.scored(0) / "results").glob("runs/mine-*")

    def problems() -> list[str]:
        found = readings(site, folder, "mine")
        made, error, strange = attempt(lambda: score(folder / "mine.csv", name="mine", results=folder / "results"))
        if made is None:
            return [*found, *strange, error and f"the same command does not help: {error}"]
        made.check()
        found += differing(made.folder, intact, ("scores.parquet", "truth.parquet"))
        true = read_run(intact)
        assert true is not None
        if made.record.judgements != true.record.judgements:
            found.append("the metrics differ in the end")
        return found + report_of(folder)[0]

    return Case(folder, path, other, problems)


Kind = Callable[[Site, Path], Case]
KINDS: dict[str, Kind] = {
    "record of a run": partial(table_of_a_run, "record.json"),
    "scores of a run": partial(table_of_a_run, "scores.parquet"),
    "truth of a run": partial(table_of_a_run, "truth.parquet"),
    "second truth of a run": partial(table_of_a_run, "truth-*.parquet"),
    "curve of a run": partial(table_of_a_run, "curve.parquet"),
    "checkpoint, for a search": checkpoint_of_a_search,
    "checkpoint, for another pool": checkpoint_for_another_pool,
    "checkpoint, training unfinished": partial(file_of_an_unfinished_run, "checkpoint.pt", Phase.TRAIN, 3),
    "checkpoint, scoring unfinished": partial(file_of_an_unfinished_run, "checkpoint.pt", Phase.SCORE, 256),
    "record of an unfinished run": partial(file_of_an_unfinished_run, "record.json", Phase.SCORE, 256),
    "shard of scores": partial(file_of_an_unfinished_run, "shards/*.npz", Phase.SCORE, 256),
    "point of the curve": partial(file_of_an_unfinished_run, "curve/*.npz", Phase.SCORE, 256),
    "result of a search": result_of_a_search,
    "state of a search": state_of_a_search,
    "stand-alone training": training,
    "decoded images": partial(decoded_images, ".npy"),
    "checksum of decoded images": partial(decoded_images, ".sha256"),
    "ground truth, CSV": partial(truth_table, ".csv"),
    "ground truth, Parquet": partial(truth_table, ".parquet"),
    "pool file": pool_file,
    "score table, CSV": partial(score_table, ".csv"),
    "score table, Parquet": partial(score_table, ".parquet"),
    "record of scores from elsewhere": partial(record_of_scores, "record.json"),
    "scores from elsewhere": partial(record_of_scores, "scores.parquet"),
    "truth of scores from elsewhere": partial(record_of_scores, "truth.parquet"),
}
