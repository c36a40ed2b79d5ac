"""Runs, searches and tables as they are before one of their files is damaged."""

from __future__ import annotations

import shutil
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.record import Phase
from supertau.benchmarks.results import Run, load_runs, read_run
from supertau.benchmarks.runs.events import Event
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings
from supertau.benchmarks.standalone.table import make_truth
from supertau.benchmarks.standalone.training import get_recipe
from supertau.benchmarks.verbs.score import score
from supertau.benchmarks.verbs.search import search
from supertau.search_spaces.spaces import get_space

from .command_line import Answer, supertau
from .reading import attempt, report_of

SCORING = {"bn": ["batch"], "scoring_images": 16, "scoring_batch": 16}
POOL, LARGE = "all:60", "all:300"
"""The large one has two shards."""
SEARCH = ("search", "spos", "--population", "4", "--generations", "2", "--json", "--quiet", "--results", "results")


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

    @property
    def folders(self) -> list[Path]:
        """The folders with finished runs that damaged ones are copies of."""
        return [self.finished(0), self.finished(1), self.scored(0), self.scored(1)]

    @cached_property
    def numbers(self) -> dict[str, Run]:
        """Every run that a damaged folder can hold, by its name, as it truly is."""
        return {one.record.run_id: one for folder in self.folders for one in load_runs(folder / "results")}

    @cached_property
    def report_lines(self) -> set[str]:
        """Every line that a report of a damaged folder may hold."""
        return {line for folder in self.folders for line in report_of(folder)[1]}

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

    def misread(self, folder: Path, name: str) -> list[str]:
        """Return what is wrong with what a reader gets of a results folder in which a file of a run is damaged."""
        problems: list[str] = []
        for one in load_runs(folder / "results"):
            true = self.numbers[one.record.run_id]
            if not one.metrics.equals(true.metrics):
                problems.append(f"the metrics of {one.record.run_id} are read and are not its own")
            for part in ("scores", "truth", "curve"):
                table, _, strange = attempt(partial(getattr, one, part))
                problems += strange
                if table is not None and not table.equals(getattr(true, part)):
                    problems.append(f"{part} of {one.record.run_id} is read and is not its own")
        damaged = next((folder / "results" / "runs").glob(f"{name}-*"))
        run_there, _, strange = attempt(lambda: read_run(damaged))
        problems += strange
        if run_there is not None:
            _, error, strange = attempt(run_there.check)
            problems += strange
            if not strange and not error:
                problems.append("nothing is wrong with it, says Run.check")
        wrong, lines = report_of(folder)
        problems += wrong
        if strangers := [line for line in lines if line not in self.report_lines]:
            problems.append(f"the report has a line that no intact run has: {strangers[0]}")
        answer, expected = compared(folder, name), [compared(intact, name).output for intact in self.folders]
        problems += answer.problems()
        if answer.status == 0 and answer.output not in expected:
            problems.append("compare gives another number")
        return problems


def architectures(count: int = 60, seed: int = 0) -> list[str]:
    space = get_space("nasbench201")
    everything = list(space.enumerate())
    rows = np.random.default_rng(seed).choice(len(everything), count, replace=False)
    return [space.format(everything[row]) for row in sorted(rows)]


def train(folder: Path) -> None:
    recipe = get_recipe("micro", "nasbench201", called="tiny", epochs=1)
    make_truth("nasbench201", recipe, pool="random:2", seeds=1, results=folder, out=folder / "table.csv", workers=1)


def compared(folder: Path, name: str) -> Answer:
    return supertau("compare", name, "params", "--json", "--results", "results", folder=folder)
