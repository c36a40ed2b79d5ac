"""Makes a ground-truth table by training sampled architectures alone: in parallel processes, resumable."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from supertau.benchmarks.execution.local import workers_for
from supertau.benchmarks.execution.process import library_first
from supertau.benchmarks.files import checksum, read_sealed, require_writable, write_sealed
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event, Interrupted, Listener, stop_on_signal
from supertau.benchmarks.standalone.training import Recipe, Trained, images_of, train_alone
from supertau.search_spaces.errors import DataError, SupertauError
from supertau.search_spaces.pool import select
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.table import packaged_file, read_table, table_metadata, write_table
from supertau.search_spaces.truth import GroundTruth

BYTES = 1_000_000
"""Room that the notes of a table's trainings need."""
TOLERANCE = 1.0
"""Points by which a repeated training may differ at least."""


def make_truth(
    space_name: str,
    recipe: Recipe,
    *,
    pool: str,
    seeds: int,
    results: Path,
    out: Path | None = None,
    workers: int | None = None,
    listener: Listener | None = None,
) -> GroundTruth:
    """Train a pool alone with several seeds each, write the table, and return it.

    pool: as `supertau run --pool`, e.g. 'random:200'. results: below it, in 'truth', there is one note per finished
    training, from which the same call goes on, and by default the table. out: the table, .parquet, .csv or .csv.gz.
    workers: processes side by side, each with one thread, by default one per core. Raises SupertauError when a process
    dies, Interrupted when the user stops it; what was finished is kept.
    """
    space, listener = get_space(space_name), listener or (lambda event: None)
    work = results / "truth"
    out = out or work / f"{space_name}-{recipe.name}.parquet"
    train, validation = images_of(recipe)
    size = train.network(recipe.channels, recipe.cells)

    def is_small(architecture: Architecture) -> bool:
        return recipe.max_macs is None or space.cost(architecture, size).macs <= recipe.max_macs

    architectures = select(space, pool, accept=is_small).architectures
    large = [space.format(architecture) for architecture in architectures if not is_small(architecture)]
    if large:
        raise SupertauError(
            f"pool '{pool}': {len(large)} of {len(architectures)} architectures have more than the {recipe.max_macs:,} "
            f"MACs of recipe '{recipe.name}', the first is {large[0]}. Leave them out of the pool, or use random:COUNT."
        )
    folder = work / f"{space_name}-{recipe.name}-{_digest(recipe)}"
    require_writable(folder, BYTES)
    notes = {
        (architecture, seed): folder
        / f"{hashlib.sha256(space.format(architecture).encode()).hexdigest()[:16]}-s{seed}.json"
        for architecture in architectures
        for seed in range(seeds)
    }

    def whose(job: tuple[Architecture, int]) -> dict[str, Any]:
        return {"architecture": space.format(job[0]), "seed": job[1], "recipe": _digest(recipe)}

    # A note that is damaged, or that another training left, counts as missing.
    missing = [job for job, note in notes.items() if read_sealed(note, **whose(job)) is None]
    name = f"{space_name} {recipe.name}"

    def keep(job: tuple[Architecture, int], trained: Trained) -> None:
        write_sealed(notes[job], {**whose(job), **asdict(trained)})

    _train(space_name, recipe, missing, keep, workers_for(max(1, len(missing)), workers), name, len(notes), listener)
    trained = {job: _read(note, whose(job)) for job, note in notes.items()}
    accuracies = [[trained[a, seed]["accuracy"] for seed in range(seeds)] for a in architectures]
    truth = GroundTruth(
        space=space_name,
        dataset=recipe.name,
        split=f"{len(validation)} held-out images of {validation.name}",
        epochs=recipe.epochs,
        source=f"trained alone by supertau, {recipe.describe()}",
        sha256=None,
        architectures=architectures,
        trials=np.array(accuracies),
        seeds=tuple(map(str, range(seeds))),
        chance=100 / train.classes,
    )
    about = {
        "recipe": asdict(recipe), "pool": pool, "training_images": len(train),
        "supertau": version("supertau"), "torch": torch.__version__,
        "failed": sum(bool(note["failed"]) for note in trained.values()),
        "training_seconds": round(sum(note["seconds"] for note in trained.values())),
    }  # fmt: skip
    write_table(truth, out, space, about)
    listener(Event(name, Phase.FINISHED, text=f"{out}: {len(architectures)} architectures, {seeds} seeds"))
    return truth


def _read(note: Path, whose: dict[str, Any]) -> dict[str, Any]:
    value = read_sealed(note, **whose)
    if value is None:
        raise DataError(f"'{note}' was damaged while others trained; the same command makes it again.")
    return value


def _train(
    space: str,
    recipe: Recipe,
    jobs: Sequence[tuple[Architecture, int]],
    keep: Callable[[tuple[Architecture, int], Trained], None],
    workers: int,
    name: str,
    total: int,
    listener: Listener,
) -> None:
    """Carry out the trainings that are left, each kept as soon as it is there."""
    waiting, running = list(reversed(jobs)), dict[Future[Trained], tuple[Architecture, int]]()
    done = total - len(jobs)
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with (
        library_first(),
        stop_on_signal() as stop,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as processes,
    ):
        while running or (waiting and not stop.set):
            while waiting and len(running) < 2 * workers and not stop.set:
                job = waiting.pop()
                running[processes.submit(_one, space, recipe, *job)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    keep(job, future.result())
                except BrokenProcessPool as error:
                    raise SupertauError(
                        f"a training process was killed (out of memory?); {done} of {total} trainings are kept, the "
                        "same command goes on from there."
                    ) from error
                done += 1
                listener(Event(name, Phase.TRAIN, done, total))
            if stop.set:
                for future in [f for f in running if f.cancel()]:
                    del running[future]
    if done < total:
        raise Interrupted


def _begin() -> None:
    """Prepare a process: Ctrl-C is left to the parent, and one thread is best for networks this small."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _one(space: str, recipe: Recipe, architecture: Architecture, seed: int) -> Trained:
    return train_alone(get_space(space), architecture, recipe, seed)


def _digest(recipe: Recipe) -> str:
    return checksum(asdict(recipe))[:12]


def repeat_limit(truth: GroundTruth) -> float:
    """Return by how many points a training that is repeated elsewhere may differ.

    On the same type of CPU and with the same torch the result is bit-identical. Elsewhere rounding differs, and
    training amplifies that until the difference is about that between two seeds. The limit is the 99 % quantile of the
    differences between two seeds of the table.
    """
    if truth.trials.shape[1] < 2:
        return TOLERANCE
    return max(TOLERANCE, float(np.quantile(np.abs(truth.trials[:, 0] - truth.trials[:, 1]), 0.99)))


@dataclass(frozen=True)
class Repeated:
    """A training that was repeated: accuracy in the table and now, percent, and by how many points they may differ."""

    architecture: str
    table: float
    now: float
    limit: float

    @property
    def is_equal(self) -> bool:
        """Whether the two are the same to the last bit."""
        return self.table == self.now

    @property
    def is_wrong(self) -> bool:
        """Whether the two differ by more than two seeds of the table do."""
        return abs(self.table - self.now) > self.limit


def check_table(path: Path | None, space_name: str, count: int, listener: Listener | None = None) -> list[Repeated]:
    """Train some rows of a table again, with the recipe that it names, and return the accuracies of then and of now.

    path: None for the table of the space that comes with the project. Rows are spread evenly over the table; only the
    first seed is trained. For the limits see `repeat_limit`. Raises DataError for a table without recipe.
    """
    space = get_space(space_name)
    with nullcontext(path) if path else packaged_file(space, "micro") as file:
        return _repeat(file, space, count, listener or (lambda event: None))


def _repeat(path: Path, space: SearchSpace, count: int, listener: Listener) -> list[Repeated]:
    about = table_metadata(path)
    if "recipe" not in about:
        raise DataError(f"{path}: the table does not say how its networks were trained; only made ones can be checked.")
    recipe = Recipe(**about["recipe"])
    truth = read_table(path, space, recipe.name)
    rows = np.linspace(0, len(truth.architectures) - 1, min(count, len(truth.architectures))).round().astype(int)
    repeated, limit = [], repeat_limit(truth)
    for at, row in enumerate(rows):
        architecture = truth.architectures[row]
        trained = train_alone(space, architecture, recipe, int(truth.seeds[0]))
        repeated.append(Repeated(space.format(architecture), float(truth.trials[row, 0]), trained.accuracy, limit))
        listener(Event(path.name, Phase.TRAIN, at + 1, len(rows)))
    return repeated
