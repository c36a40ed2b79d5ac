"""Runs killed by SIGKILL at random moments, some of them several times, and started again until they finish."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.record import CostInfo
from supertau.benchmarks.results import load_runs
from supertau.benchmarks.runs.events import Event
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings

from .tally import Row

METHODS = ("pinas", "shifting", "close", "naov2", "spos")
"""The slowest first, so that two processes end at about the same time."""
TABLES = ("scores.parquet", "truth.parquet", "curve.parquet")
COUNTED = ("train_images", "score_images", "curve_images")
WORKER = [sys.executable, "-m", "supertau.benchmarks.execution.worker"]
LONGEST_CHAIN = 4
PART = "kills"


@dataclass(frozen=True)
class Moment:
    """When a process is killed: so many seconds after its n-th event, counted from 1."""

    event: int
    seconds: float


@dataclass(frozen=True)
class Life:
    """One process of a run: its exit status, how many events it reported, and what it wrote to standard error."""

    status: int
    events: int
    errors: str


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed: its bytes and metrics, and how many events it reported."""

    tables: dict[str, bytes]
    judgements: tuple[object, ...]
    counted: dict[str, float]
    events: int


def campaign(kills: int, seed: int, folder: Path, methods: Sequence[str] = METHODS) -> list[Row]:
    """Kill each method's runs so many times in all, two processes side by side; return one row per method."""
    rows = {method: Row(PART, method) for method in methods}
    wholes = {method: undisturbed(method, folder / f"{method}-whole") for method in methods}
    parts = [(method, part) for part in range(2) for method in methods]
    with ThreadPoolExecutor(2) as pool:
        shares = [kills // len(parts) + (number < kills % len(parts)) for number in range(len(parts))]

        def share(method: str, part: int, wanted: int) -> list[tuple[int, list[str]]]:
            random = Random(f"{seed} {method} {part}")
            chains: list[tuple[int, list[str]]] = []
            while (left := wanted - sum(killed for killed, _ in chains)) > 0:
                most = min(left, random.randint(1, LONGEST_CHAIN))
                place = folder / f"{method}-{part}-{len(chains)}"
                chains.append(chain(method, wholes[method], most, random, place))
            return chains

        futures = [(m, pool.submit(share, m, part, n)) for (m, part), n in zip(parts, shares, strict=True) if n]
        for method, future in futures:
            for killed, problems in future.result():
                rows[method].count(problems, killed)
    return [rows[method] for method in methods]


def configuration(method: str) -> RunConfig:
    return resolve(method, preset="smoke", pool="all:60")


def undisturbed(method: str, folder: Path) -> Whole:
    """Carry out a run in one go, in this process."""
    events: list[Event] = []
    made = run(configuration(method), Settings(folder, threads=1), events.append)
    assert made.finished
    tables = {name: (made.folder / name).read_bytes() for name in TABLES}
    return Whole(tables, made.record.judgements, counters(made.record.cost), len(events))


def chain(method: str, whole: Whole, most: int, random: Random, folder: Path) -> tuple[int, list[str]]:
    """Kill a run up to `most` times, let it finish, and return the number of kills and what was not as it should be."""
    config, killed, problems, moments = configuration(method), 0, [], []
    # Half the runs save a checkpoint after each step, the others none before training has finished.
    checkpoint_seconds = random.choice((0.0, 3600.0))
    while True:
        moment = Moment(random.randint(1, whole.events), random.uniform(0, 0.25)) if killed < most else None
        life = live(config, folder, checkpoint_seconds, moment)
        if moment is None or life.status != -signal.SIGKILL:  # it may have finished before its moment
            break
        killed += 1
        moments.append(f"{moment.seconds:.3f} s after event {moment.event}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            load_runs(folder)
        problems += [f"after the kill: {warning.message}" for warning in caught]
    problems += failed(life) or differences(whole, folder)
    where = f"killed {', '.join(moments)}, a checkpoint every {checkpoint_seconds:g} s"
    return killed, [f"{problem} [{where}]" for problem in problems]


def live(config: RunConfig, results: Path, checkpoint_seconds: float, until: Moment | None = None) -> Life:
    """Start a run's process and wait for its end, or kill it."""
    settings = Settings(results, threads=1, checkpoint_seconds=checkpoint_seconds)
    job = json.dumps({"config": config.as_dict(), "settings": settings.to_plain(), "folder": os.getcwd()})
    events = 0
    with subprocess.Popen(
        WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(job)
        process.stdin.close()
        for _ in process.stdout:
            events += 1
            if until is not None and events == until.event:
                time.sleep(until.seconds)
                process.kill()
        errors = process.stderr.read()
        return Life(process.wait(), events, errors)


def failed(life: Life) -> list[str]:
    """Return the problem of a process that nobody killed and that did not end well."""
    return [] if life.status == 0 else [f"exit status {life.status}: {life.errors[-500:]}"]


def differences(whole: Whole, results: Path) -> list[str]:
    """Return in what a finished run differs from one that nobody disturbed."""
    runs = load_runs(results)
    if len(runs) != 1 or not runs[0].finished:
        return [f"expected one finished run, got {[repr(run) for run in runs]}"]
    folder, record = runs[0].folder, runs[0].record
    problems = [
        f"{name} has other bytes"
        for name, content in whole.tables.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != content
    ]
    problems += [f"half-written {path.name} stays" for path in folder.rglob("*.part")]
    if record.judgements != whole.judgements:
        problems.append("the metrics differ")
    if counters(record.cost) != whole.counted:
        problems.append(f"the cost is {counters(record.cost)}, not {whole.counted}")
    return problems


def counters(cost: CostInfo | None) -> dict[str, float]:
    """Return the part of a cost that is counted, not timed."""
    return {name: getattr(cost, name) for name in COUNTED}
