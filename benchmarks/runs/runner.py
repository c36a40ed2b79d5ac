"""One run, from a configuration to a record. Long work resumes; nothing that was finished is lost."""

from __future__ import annotations

import datetime
import shutil
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.files import remove_parts, require_writable, write_atomically
from supertau.benchmarks.images import load_problem_images
from supertau.benchmarks.judging.judge import PART, headline, judge, truth_table
from supertau.benchmarks.record import Run, load_runs, read_run, write_record, write_table
from supertau.benchmarks.runs import environment
from supertau.benchmarks.runs.events import Event, Interrupted, Listener, StopFlag, stop_on_signal
from supertau.benchmarks.runs.stages import Follower, Training, score_along, score_in_shards, take_up
from supertau.estimators.estimator import Budget, Diverged, Estimator
from supertau.estimators.oracle_noise import OracleProblem
from supertau.estimators.problem import Problem
from supertau.estimators.registry import ESTIMATORS
from supertau.estimators.training.checkpoint import CHECKPOINT
from supertau.estimators.training.processes import ALONE, Processes
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.pool import Pool, select
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.truth import GroundTruth, Surrogate

BASE_BYTES = 20_000_000
"""Room a run needs besides its checkpoint: scores, truth, shards."""


class Existing(Enum):
    """What to do about a run that is there already."""

    REUSE = "reuse"
    RESTART = "restart"


class RunBusy(SupertauError):
    """Another process is working on the same run."""


@dataclass(frozen=True)
class Settings:
    """How a run is carried out; nothing here changes its scores, apart from rounding by device and threads.

    Neither does the number of devices: it is no part of a run's identity, and a run may be taken up on another number.

    results: the folder that records go to. device: 'auto', 'cpu' or 'cuda'. threads: for torch on the CPU, None for
    torch's own choice; a resumed run keeps those it began with. checkpoint_seconds: time between checkpoints.
    lock_seconds: how long to wait for another process to let go of the run. scoring_memory: see `Problem`.
    """

    results: Path
    device: str = "auto"
    threads: int | None = None
    existing: Existing = Existing.REUSE
    checkpoint_seconds: float = 30.0
    lock_seconds: float = 0.0
    trust_pickle: bool = False
    scoring_memory: int = Problem.scoring_memory


def pick_device(name: str) -> torch.device:
    """Return the device of 'auto', 'cpu' or 'cuda...'; raise SupertauError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SupertauError(f"unknown device '{name}': expected auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SupertauError("device 'cuda' was asked for, but torch sees no GPU here. Use --device cpu.")
    return device


def run(config: RunConfig, settings: Settings, listener: Listener | None = None, processes: Processes = ALONE) -> Run:
    """Carry out one run and return its record; a finished one is found again, an unfinished one goes on.

    A failure of the method (divergence, an exception in an estimator) becomes a record with status 'failed' and is
    returned too. Raises SupertauError for what the user must change, RunBusy when another process has the run,
    Interrupted when the user stopped it, and ProcessLost when one of several processes died. Of several processes the first calls
    this, and alone reads and writes records; the others call `follow`.
    """
    listener = listener or (lambda event: None)
    folder = run_folder(config, settings)
    require_writable(folder, BASE_BYTES)
    try:
        with FileLock(folder / ".lock", timeout=settings.lock_seconds), stop_on_signal() as stop:
            if settings.existing is Existing.RESTART:
                for entry in folder.iterdir():
                    if entry.name != ".lock":
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            return _locked(config, settings, folder, listener, stop, processes)
    except Timeout as error:
        raise RunBusy(f"another process is working on '{folder}'. Wait for it, or choose another --results.") from error


def follow(config: RunConfig, settings: Settings, processes: Processes) -> None:
    """Train and score along with the first process; it says when to begin, or its end ends this process."""
    torch.set_num_threads(processes.broadcast(0))
    estimator, space = config.build(), get_space(config.space)
    device = processes.device or pick_device(settings.device)
    problem = make_problem(config, space, device, processes, settings.scoring_memory)
    held = take_up(estimator, problem, run_folder(config, settings) / CHECKPOINT)
    if held is None or not held["finished"]:
        estimator.train(Budget(config.passes), Follower(config.curve_points))
    score_along(estimator)


def run_folder(config: RunConfig, settings: Settings) -> Path:
    """Return where a run keeps what it makes."""
    return settings.results / "runs" / config.run_id


def _locked(
    config: RunConfig, settings: Settings, folder: Path, listener: Listener, stop: StopFlag, processes: Processes
) -> Run:
    held = read_run(folder)
    if held is not None and held.finished:
        if (held.record["config"]["truth"], held.record["config"]["truth_path"]) != (config.truth, config.truth_path):
            held = _rejudge(held, config, settings)
        listener(Event(config.run_id, "found", text=headline(held.record)))
        return held
    if held is not None and held.record["status"] == "failed":
        message = held.record["error"]["message"]
        listener(Event(config.run_id, "failed", text=f"failed before ({message}); --restart runs it again"))
        return held
    remove_parts(folder)
    device = processes.device or pick_device(settings.device)
    threads = held.record["environment"]["threads"] if held is not None else settings.threads
    if threads is not None:
        torch.set_num_threads(threads)
    estimator = config.build()
    record: dict[str, Any] = {
        "run_id": config.run_id,
        "identity": config.identity,
        "group": config.group,
        "training": config.training,
        "status": "running",
        "error": None,
        "config": config.as_dict(),
        "role": estimator.role,
        "title": estimator.title or config.estimator,
        "source": estimator.source,
        "columns": list(estimator.score_columns()),
        "environment": environment.describe(device, processes.size),
        "started": held.record["started"] if held is not None else _now(),
        "finished": None,
        "cost": {},
        "truths": {},
        "metrics": [],
        "diagnostics": {},
    }
    try:
        return _work(config, settings, folder, listener, stop, estimator, device, processes, record)
    except (SupertauError, KeyboardInterrupt, Interrupted) as error:
        if isinstance(error, Diverged):
            return _failed(folder, record, error, listener)
        raise
    except Exception as error:  # a method may fail in any way; the other runs go on and this one is not a gap
        return _failed(folder, record, error, listener)


def _work(
    config: RunConfig,
    settings: Settings,
    folder: Path,
    listener: Listener,
    stop: StopFlag,
    estimator: Estimator,
    device: torch.device,
    processes: Processes,
    record: dict[str, Any],
) -> Run:
    processes.broadcast(torch.get_num_threads())
    listener(Event(config.run_id, "load", text="images and ground truth"))
    space = get_space(config.space)
    truths, pool = load_task(space, config, trust_pickle=settings.trust_pickle)
    main = truths[config.truth]
    problem = make_problem(config, space, device, processes, settings.scoring_memory)
    left_out = None
    if estimator.uses_truth:
        problem, pool, left_out = _oracle(problem, pool, main)
    monitor = Training(
        folder, config.run_id, listener, stop,
        curve_points=config.curve_points,
        curve=select_part(pool, config.curve_pool),
        checkpoint_seconds=settings.checkpoint_seconds,
    )  # fmt: skip
    if settings.existing is Existing.REUSE and not monitor.checkpoint.exists():
        record["trained_by"] = adopt_training(config, settings.results, monitor.checkpoint)
    trained = monitor.restore(estimator, problem)
    parameters = estimator.cost()["supernet_parameters"]
    # A checkpoint holds weights and momentum, and its successor is written beside it.
    require_writable(folder, BASE_BYTES + int(parameters) * 4 * 2 * 2)
    write_record(folder, record)
    if not trained:
        monitor.begin()
        estimator.train(Budget(config.passes), monitor)
        monitor.save(estimator, finished=True)
    stop.check()
    # What the method scored on its way, to search or to choose, is a cost of it; watching the curve is not.
    evaluated = estimator.cost()["score_images"] - monitor.cost()["curve_images"]
    columns, score_cost = score_in_shards(estimator, pool.architectures, folder, config.run_id, listener, stop)
    score_cost["score_images"] += evaluated
    texts = [space.format(a) for a in pool.architectures]
    scores = pd.DataFrame({"architecture": texts, **columns})
    usable = [t for t in truths.values() if all(a in t for a in pool.architectures)]
    table = truth_table(space, usable, pool.architectures)
    for name, members in estimator.parts(pool.architectures).items():
        table[PART + name] = members
    write_table(folder / "scores.parquet", scores)
    write_table(folder / "truth.parquet", table)
    curve = monitor.curve_table([space.format(a) for a in monitor.curve])
    if curve is not None:
        write_table(folder / "curve.parquet", curve)
    listener(Event(config.run_id, "judge", text=f"metrics of {len(columns)} score columns"))
    record.update(
        status="finished",
        finished=_now(),
        cost={
            **estimator.cost(), **score_cost, **monitor.cost(), "peak_memory_bytes": environment.peak_memory(device),
        },
        truths={t.dataset: t.describe() for t in usable},
        judged={"truth": config.truth, "left_out_trial": left_out, "pool": pool.name, "architectures": len(pool)},
        metrics=judge(scores, table, config.truth, left_out=left_out, chance=main.chance),
        diagnostics=estimator.diagnostics(),
    )  # fmt: skip
    write_record(folder, record)
    for leftover in ("shards", "curve"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    listener(Event(config.run_id, "finished", text=headline(record)))
    return Run(folder, record)


def adopt_training(config: RunConfig, results: Path, checkpoint: Path) -> str | None:
    """Copy the checkpoint of a finished run with the same training, and return that run's id; None when there is none.

    Scoring another pool, or in another batch-norm mode, then costs no training.
    """
    if not ESTIMATORS.resolve(config.estimator).trains:
        return None
    for other in load_runs(results):
        held = other.folder / checkpoint.name
        if other.finished and other.record.get("training") == config.training and held.exists():
            write_atomically(checkpoint, held.read_bytes())
            return str(other.record["run_id"])
    return None


def make_problem(
    config: RunConfig,
    space: SearchSpace,
    device: torch.device,
    processes: Processes = ALONE,
    scoring_memory: int = Problem.scoring_memory,
) -> Problem:
    """Return the ranking problem of a configuration. The split is the same for every seed: seeds measure training."""
    train, validation = load_problem_images(
        config.images,
        size=config.image_size,
        train=config.train,
        validation=config.validation,
        validation_split=config.validation_split,
    )
    network = train.network(config.channels, config.cells)
    return Problem(
        space, network, train.to(device), validation.to(device), config.seed, device, processes, scoring_memory
    )


def load_truths(space: SearchSpace, config: RunConfig, *, trust_pickle: bool) -> dict[str, GroundTruth | Surrogate]:
    """Return ground truths by data set: every built-in one, or the one of a file.

    All built-in ones go into the record, so that a report can judge by another without running again.
    """
    if config.truth_path is not None:
        return {config.truth: space.truth(config.truth, Path(config.truth_path), trust_pickle=trust_pickle)}
    others = space.truths if space.is_listable else ()  # elsewhere each has a pool of its own
    names = dict.fromkeys([config.truth, *others])  # the asked-for one first: an unknown name raises here
    return {name: space.truth(name) for name in names}


def load_task(space: SearchSpace, config: RunConfig, *, trust_pickle: bool) -> tuple[dict[str, GroundTruth], Pool]:
    """Return ground truths by data set, that of the configuration first, and the pool as far as that one covers it."""
    loaded = load_truths(space, config, trust_pickle=trust_pickle)
    pool = select(space, config.pool, loaded[config.truth].architectures)
    truths = {name: truth.table(pool.architectures) for name, truth in loaded.items()}
    return truths, covered(space, pool, truths[config.truth])


def covered(space: SearchSpace, pool: Pool, truth: GroundTruth) -> Pool:
    """Return the pool when the truth holds all of it; for a truth table of a part, the part, named so."""
    held = tuple(a for a in pool.architectures if a in truth)
    if len(held) == len(pool):
        return pool
    if len(held) < 2:
        missing = space.format(next(a for a in pool.architectures if a not in truth))
        raise SupertauError(
            f"ground truth '{truth.source}' holds {len(held)} of the pool's {len(pool)} architectures; "
            f"the first it lacks is {missing}. Choose another --pool or --truth-path."
        )
    return Pool(f"{pool.name} in truth", held)


def select_part(pool: Pool, count: int) -> Sequence[Architecture]:
    """Return `count` architectures spread evenly over a pool (all of a smaller one), for the curve along training."""
    step = max(1, len(pool) // max(1, count))
    return pool.architectures[::step][:count]


def _oracle(problem: Problem, pool: Pool, truth: GroundTruth) -> tuple[Problem, Pool, str]:
    """Give one trial to the noise ceiling and keep the others to judge it: seed k of the run takes trial k."""
    rows = truth.rows(list(pool.architectures))
    full = [a for a, row in zip(pool.architectures, rows, strict=True) if pd.notna(truth.trials[row]).all()]
    trials = len(truth.seeds)
    if trials < 2 or len(full) < 2:
        raise SupertauError(
            f"a noise ceiling needs at least two training seeds in the ground truth; '{truth.source}' has {trials} "
            f"and {len(full)} architectures with all of them."
        )
    trial = problem.seed % trials
    given = {a: float(truth.trials[truth.rows([a])[0], trial]) for a in full}
    problem = OracleProblem(
        problem.space, problem.network, problem.train, problem.validation, problem.seed, problem.device, trial=given
    )
    return problem, Pool(f"{pool.name} with {trials} trials", tuple(full)), truth.seeds[trial]


def _rejudge(held: Run, config: RunConfig, settings: Settings) -> Run:
    """Judge stored scores by another ground truth; nothing is trained or scored again."""
    space = get_space(config.space)
    loaded = load_truths(space, config, trust_pickle=settings.trust_pickle)
    architectures = [space.parse(text) for text in held.scores["architecture"]]
    truths = {name: truth.table(architectures) for name, truth in loaded.items()}
    main = truths[config.truth]
    keep = [a in main for a in architectures]
    if not all(keep):
        raise SupertauError(
            f"'{main.source}' lacks {len(keep) - sum(keep)} of this run's architectures; choose --pool accordingly."
        )
    usable = [t for t in truths.values() if all(a in t for a in architectures)]
    table = truth_table(space, usable, architectures)
    for name in (c for c in held.truth.columns if c.startswith(PART)):
        table[name] = held.truth[name].to_numpy()
    write_table(held.folder / "truth.parquet", table)
    record = {
        **held.record,
        "config": config.as_dict(),
        "truths": {t.dataset: t.describe() for t in usable},
        "judged": {**held.record["judged"], "truth": config.truth},
        "metrics": judge(held.scores, table, config.truth, chance=main.chance),
    }
    write_record(held.folder, record)
    return Run(held.folder, record)


def _failed(folder: Path, record: dict[str, Any], error: Exception, listener: Listener) -> Run:
    """Keep a failed run as a record with its message."""
    about: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, Diverged):
        about.update(step=error.step, learning_rate=error.learning_rate)
    else:
        about["traceback"] = traceback.format_exc()
    record.update(status="failed", finished=_now(), error=about)
    write_record(folder, record)
    listener(Event(str(record["run_id"]), "failed", text=f"{about['type']}: {about['message']}"))
    return Run(folder, record)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
