"""What a run, a search or a stand-alone training leaves on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from supertau.benchmarks.record import Phase
from supertau.benchmarks.results import read_run
from supertau.benchmarks.runs.events import Event
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Existing

from .command_line import supertau
from .intact import LARGE, SEARCH, Site, settings, spos, train
from .reading import Case, attempt, differing, report_of


def table_of_a_run(pattern: str, site: Site, folder: Path) -> Case:
    """A table or the record of a finished run."""
    shutil.copytree(site.finished(0), folder)
    # Seeds of one pool share their truth, which would be no damage.
    elsewhere = site.whole.folder if "truth" in pattern else next(site.finished(1).glob("results/runs/spos-*"))
    (path,), (other,) = folder.glob(f"results/runs/spos-*/{pattern}"), elsewhere.glob(pattern)
    (intact,) = (site.finished(0) / "results").glob("runs/spos-*")

    def problems() -> list[str]:
        found = site.misread(folder, "spos")
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


def _numbers(path: Path) -> list[list[object]]:
    return pd.read_csv(path, comment="#").to_numpy().tolist()
