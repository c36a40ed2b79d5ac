"""One run, from a configuration to a record, in this process. It resumes, and nothing that was finished is lost."""

from __future__ import annotations

import datetime
import shutil
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.files import remove_parts, require_writable, write_atomically
from supertau.benchmarks.judging.judge import headline, judged_by, truth_info
from supertau.benchmarks.record import CostInfo, FailureInfo, Judgement, LaterSchema, Phase, Record, Role, Status
from supertau.benchmarks.results import (
    CURVE,
    RUNS,
    SCORES,
    TRUTH,
    Run,
    add_judgement,
    load_runs,
    plain,
    read_run,
    write_record,
    write_table,
)
from supertau.benchmarks.runs import environment
from supertau.benchmarks.runs.events import Event, Interrupted, Listener, StopFlag, stop_on_signal
from supertau.benchmarks.runs.monitor import FollowingMonitor, TrainingMonitor, resume
from supertau.benchmarks.runs.oracle import oracle_problem
from supertau.benchmarks.runs.plan import Identity, build, identify
from supertau.benchmarks.runs.settings import Existing, Settings
from supertau.benchmarks.runs.shards import SHARDS, follow_scoring, score_in_shards
from supertau.benchmarks.task import Task
from supertau.estimators.estimator import Budget, Diverged, Estimator
from supertau.estimators.training.checkpoint import CHECKPOINT, read_checkpoint
from supertau.estimators.training.processes import ALONE, Processes
from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import DataError, SupertauError
from supertau.search_spaces.pool import Pool
from supertau.search_spaces.space import Architecture

BASE_BYTES = 20_000_000
"""Room that a run needs besides its checkpoint: scores, truth, shards."""


OUT_OF_MEMORY = ("not enough memory", "out of memory", "can't allocate memory")
"""How torch's RuntimeErrors say so."""


class RunBusy(SupertauError):
    """Another process is working on the same run."""


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


def run(
    config: RunConfig,
    settings: Settings,
    listener: Listener | None = None,
    processes: Processes = ALONE,
    estimator: Estimator | None = None,
) -> Run:
    """Carry out one run and return its record; a finished one is returned as it is, an unfinished one goes on.

    estimator: what to run, where it is not what the configuration names (an object of the caller's).
    A failure of the method (divergence, an exception in an estimator) becomes a record with status FAILED and is
    returned, too. Raises SupertauError for what the user must change, RunBusy when another process has the run,
    Interrupted when the user stopped it, and ProcessLost when one of several processes died. Of several processes the
    first one calls this, and it alone reads and writes records; the others call `follow`.
    """
    listener = listener or (lambda event: None)
    identity = identify(config, type(estimator) if estimator else None)
    folder = settings.results / RUNS / identity.run_id
    require_writable(folder, BASE_BYTES)
    try:
        with FileLock(folder / ".lock", timeout=settings.lock_seconds), stop_on_signal() as stop:
            if settings.existing is Existing.RESTART:
                for entry in folder.iterdir():
                    if entry.name != ".lock":
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            return _Runner(config, settings, identity, folder, listener, stop, processes, estimator).run()
    except Timeout as error:
        raise RunBusy(f"another process is working on '{folder}'. Wait for it, or choose another --results.") from error


def follow(config: RunConfig, settings: Settings, processes: Processes) -> None:
    """Train and score along with the first process, which says when to begin; when it ends, this process ends."""
    torch.set_num_threads(processes.broadcast(0))
    estimator, folder = build(config), run_folder(config, settings)
    device = processes.device or pick_device(settings.device)
    problem = Task.of(config).problem(config, device, processes, settings.scoring_memory)
    saved = resume(estimator, problem, folder / CHECKPOINT, identify(config).training)
    if saved is None or not saved["finished"]:
        estimator.train(Budget(config.passes), FollowingMonitor(config.curve_points))
    follow_scoring(estimator)


def run_folder(config: RunConfig, settings: Settings) -> Path:
    """Return where a run keeps what it makes."""
    return settings.results / RUNS / identify(config).run_id


class _Runner:
    """One run under its lock."""

    def __init__(
        self,
        config: RunConfig,
        settings: Settings,
        identity: Identity,
        folder: Path,
        listener: Listener,
        stop: StopFlag,
        processes: Processes,
        estimator: Estimator | None,
    ) -> None:
        self.config, self.settings, self.identity, self.folder = config, settings, identity, folder
        self.listener, self.stop, self.processes = listener, stop, processes
        self.estimator = estimator or build(config)
        self.task = Task.of(config, trust_pickle=settings.trust_pickle)

    def run(self) -> Run:
        """Return the run that is there, or carry it out."""
        self.stop.at_once = True
        earlier = self._earlier()
        if earlier is not None and earlier.finished:
            return self._reuse(earlier)
        if earlier is not None and earlier.record.status is Status.FAILED:
            message = earlier.record.failure.message if earlier.record.failure else "no message in the record"
            self._report(Phase.FAILED, f"failed before ({message}); --restart runs it again")
            return earlier
        remove_parts(self.folder)
        device = self.processes.device or pick_device(self.settings.device)
        began_with = earlier.record.environment.threads if earlier and earlier.record.environment else None
        threads = began_with or self.settings.threads
        if threads is not None:
            torch.set_num_threads(threads)
        record = self._begun(device, earlier)
        try:
            return self._work(record, device)
        except Diverged as error:
            return self._failed(error)
        except (SupertauError, KeyboardInterrupt, Interrupted):
            raise
        except Exception as error:  # a method may fail in any way; the other runs go on and this one is not a gap
            if _is_the_machines(error):
                raise SupertauError(f"{type(error).__name__}: {error}. The same command again goes on.") from error
            return self._failed(error)

    def _earlier(self) -> Run | None:
        """Return what an earlier command left; a damaged record or table is made again, from the checkpoint."""
        try:
            earlier = read_run(self.folder)
            if earlier is not None and earlier.finished:
                earlier.check()
            return earlier
        except LaterSchema:
            raise
        except DataError as error:
            self._report(Phase.RESUME, str(error))
            return None

    def _begun(self, device: torch.device, earlier: Run | None) -> Record:
        """Return the record of a run that begins, or resumes."""
        estimator, config = self.estimator, self.config
        self.record = Record(
            run_id=self.identity.run_id,
            identity=self.identity.scores,
            group=self.identity.group,
            training=self.identity.training,
            status=Status.RUNNING,
            role=Role(estimator.role),
            estimator=config.estimator,
            title=estimator.title or config.estimator,
            source=estimator.source,
            space=config.space,
            seed=config.seed,
            config=config,
            columns=tuple(estimator.score_columns()),
            environment=environment.describe(device, self.processes.size),
            started=earlier.record.started if earlier is not None else _now(),
        )
        return self.record

    def _keep(self, record: Record) -> Record:
        """Write the record."""
        self.record = record
        write_record(self.folder, record)
        return record

    def _work(self, record: Record, device: torch.device) -> Run:
        config, settings, folder, estimator, task = self.config, self.settings, self.folder, self.estimator, self.task
        self.processes.broadcast(torch.get_num_threads())
        self._report(Phase.LOAD, "images and ground truth")
        pool = task.pool
        problem = task.problem(config, device, self.processes, settings.scoring_memory)
        left_out = None
        if estimator.uses_truth:
            problem, pool, left_out = oracle_problem(problem, pool, task.truth)
        monitor = TrainingMonitor(
            folder, record.run_id, self.identity.training, self.listener, self.stop,
            curve_points=config.curve_points,
            curve=select_part(pool, config.curve_pool),
            checkpoint_seconds=settings.checkpoint_seconds,
        )  # fmt: skip
        trained_by = None
        if settings.existing is Existing.REUSE and not monitor.checkpoint.exists() and estimator.trains:
            trained_by = adopt_training(self.identity.training, settings.results, monitor.checkpoint)
        trained = monitor.restore(estimator, problem)
        # A checkpoint holds weights and momentum, and its successor is written beside it.
        require_writable(folder, BASE_BYTES + int(estimator.cost()["supernet_parameters"]) * 4 * 2 * 2)
        record = self._keep(replace(record, trained_by=trained_by, pool=task.pool_info(pool)))
        if not trained:
            self.stop.at_once = False  # a checkpoint is saved first
            monitor.begin()
            estimator.train(Budget(config.passes), monitor)
            untrained = estimator.trains and estimator.cost()["train_images"] == 0
            if untrained and not config.estimator_config.get("checkpoint"):
                raise SupertauError(
                    f"{record.title} trained on no image: the budget of {config.passes:,} images is not enough for a "
                    "step. Raise --passes, or lower batch_size."
                )
            monitor.save(estimator, finished=True)
        self.stop.check()
        self.stop.at_once = True
        # What the method scored on its way, to search or to choose, is a cost of it; watching the curve is not.
        on_the_way = estimator.cost()["score_images"] - monitor.cost()["curve_images"]
        columns, score_cost = score_in_shards(
            estimator, pool.architectures, folder, record.run_id, self.listener, self.stop
        )
        score_cost["score_images"] += on_the_way
        texts = [task.space.format(a) for a in pool.architectures]
        scores = pd.DataFrame({"architecture": texts, **columns})
        table = task.table(pool.architectures, estimator.parts(pool.architectures))
        files = write_table(folder / SCORES, scores) | write_table(folder / TRUTH, table)
        curve = monitor.curve_table([task.space.format(a) for a in monitor.curve])
        if curve is not None:
            files |= write_table(folder / CURVE, curve)
        else:
            (folder / CURVE).unlink(missing_ok=True)  # a damaged one cannot be made again: its weights are gone
        self._report(Phase.JUDGE, f"metrics of {len(columns)} score columns")
        judgement = task.judge(scores, table, left_out=left_out, threads=torch.get_num_threads())
        costs = {**estimator.cost(), **score_cost, **monitor.cost()}
        diagnostics = plain(estimator.diagnostics())
        assert isinstance(diagnostics, dict)
        self._keep(
            replace(
                record,
                status=Status.FINISHED,
                finished=_now(),
                cost=CostInfo.of({**costs, "peak_memory_bytes": environment.peak_memory(device)}),
                judgements=(judgement,),
                diagnostics=diagnostics,
                files=files,
            )
        )
        for leftover in (SHARDS, "curve"):
            shutil.rmtree(folder / leftover, ignore_errors=True)
        self._report(Phase.FINISHED, headline(self.record, judgement))
        return Run(folder, self.record)

    # --- runs that are there already ----------------------------------------------------------------------------------
    def _reuse(self, run: Run) -> Run:
        """Return a finished run, judged by the truth that is asked for; nothing is trained or scored again."""
        judgement = self._present(run.record)
        if judgement is None:
            space = self.task.space
            truth = self.task.source.table([space.parse(text) for text in run.scores["architecture"]])
            judged = judged_by(run, truth, space, self.config.truth_choice)
            run = run if judged is run else add_judgement(run, judged)
            judgement = run.record.judgement(truth_info(truth))
            assert judgement is not None
        self._report(Phase.REUSED, headline(run.record, judgement))
        return Run(run.folder, run.record, asked=judgement.truth)

    def _present(self, record: Record) -> Judgement | None:
        """Return the judgement that is asked for where the record surely has it, without reading the truth again."""
        if self.estimator.uses_truth:  # its identity holds the truth; a trial that gave scores must not judge them
            return record.judgements[0]
        path = Path(self.config.truth_path) if self.config.truth_path else None
        if path is not None and not path.is_file():
            return None
        now = None if path is None else digest(path, "sha256")
        asked = [j for j in record.judgements if j.asked == self.config.truth_choice]
        return next((j for j in asked if now in (None, j.truth.sha256)), None)

    def _failed(self, error: Exception) -> Run:
        """Write the record of a failed run, with its message."""
        known = isinstance(error, Diverged)
        failure = FailureInfo(
            type(error).__name__, str(error),
            step=error.step if isinstance(error, Diverged) else None,
            learning_rate=error.learning_rate if isinstance(error, Diverged) else None,
            traceback=None if known else traceback.format_exc(),
        )  # fmt: skip
        self._keep(replace(self.record, status=Status.FAILED, finished=_now(), failure=failure))
        self._report(Phase.FAILED, f"{failure.type}: {failure.message}")
        return Run(self.folder, self.record)

    def _report(self, phase: Phase, text: str) -> None:
        self.listener(Event(self.identity.run_id, phase, text=text))


def _is_the_machines(error: Exception) -> bool:
    """Return whether an exception is an accident of the machine, not the method's: files, permissions, memory."""
    return isinstance(error, OSError | MemoryError | EOFError | torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    )


def adopt_training(training: str, results: Path, checkpoint: Path) -> str | None:
    """Copy the checkpoint of a finished run with the same training; return that run's id, None when there is none.

    Scoring another pool, or in another batch-norm mode, then costs no training.
    """
    for other in load_runs(results):
        source = other.folder / checkpoint.name
        if other.finished and other.record.training == training and source.exists():
            try:
                read_checkpoint(source, torch.device("cpu"), training)
            except DataError as error:
                warnings.warn(f"{error} Its training is not shared.", stacklevel=2)
                continue
            write_atomically(checkpoint, source.read_bytes())
            return other.record.run_id
    return None


def select_part(pool: Pool, count: int) -> Sequence[Architecture]:
    """Return `count` architectures spread evenly over a pool (all of a smaller one), for the curve along training."""
    step = max(1, len(pool) // max(1, count))
    return pool.architectures[::step][:count]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
