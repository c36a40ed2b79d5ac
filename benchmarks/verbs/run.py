"""run: train and score estimators; resumable, one record per run."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Unpack, overload

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.local import run_all
from supertau.benchmarks.execution.outcome import Outcome
from supertau.benchmarks.execution.ray_cluster import run_all_on_ray
from supertau.benchmarks.images import IMAGES
from supertau.benchmarks.options import ExecutionOptions, RunOptions, TaskOptions, check_options
from supertau.benchmarks.record import Phase
from supertau.benchmarks.results import Run, Runs
from supertau.benchmarks.runs.events import Interrupted, Listener
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import pick_device
from supertau.benchmarks.runs.runner import run as run_here
from supertau.benchmarks.runs.settings import Existing, Settings
from supertau.estimators.estimator import Estimator
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.spaces import get_space

RESULTS = Path("results/local")

Chosen = str | Estimator | type[Estimator]
"""An estimator: a registered name, 'module:Class', an object that is not fitted yet, or a class."""


class RunFailed(SupertauError):
    """Runs that left no result, and why. Those that finished are on disk."""


@overload
def run(
    estimators: Chosen,
    *,
    seed: int = 0,
    seeds: None = None,
    settings: Mapping[str, Any] | None = None,
    results: Path | str = RESULTS,
    listener: Listener | None = None,
    **options: Unpack[RunOptions],
) -> Run: ...


@overload
def run(
    estimators: Chosen | Sequence[Chosen],
    *,
    seed: int = 0,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    results: Path | str = RESULTS,
    listener: Listener | None = None,
    **options: Unpack[RunOptions],
) -> Run | Runs: ...


def run(
    estimators: Chosen | Sequence[Chosen],
    *,
    seed: int = 0,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    results: Path | str = RESULTS,
    listener: Listener | None = None,
    **options: Unpack[RunOptions],
) -> Run | Runs:
    """Train and score estimators on a task, and judge their scores by its ground truth.

    A run that is there already is returned as it is; one that was interrupted goes on. Named estimators run in
    processes of their own, side by side; objects and classes run one by one in this process.

    Args:
        estimators: one estimator, or several. A name, 'module:Class', an estimator object that is not fitted yet
            (with its own Config), or a class.
        seed: the first seed; it decides initial weights, order of images, paths and augmentation.
        seeds: how many seeds, from `seed` on; None: one. Deterministic estimators run once.
        settings: fields of the estimators' Config, by name; each goes to the estimators that have it.
        results: the folder that records go to.
        listener: called with every `Event` of progress.
        options: what is ranked, how large, and where it runs: see `supertau.RunOptions`.

    Returns:
        A `Run` for one estimator and no `seeds`, else `Runs`. A run whose method failed (a loss that is not finite, an
        exception in the estimator) is returned with status FAILED.

    Raises:
        UnknownName: for a name that is not known, with the nearest match.
        RunFailed: when a run ended without a record, e.g. for want of memory.
        KeyboardInterrupt: when the user stopped it; what was done is saved.

    Example:
        >>> import supertau
        >>> run = supertau.run("params", preset="smoke", results=folder)
        >>> list(run.scores.columns)
        ['architecture', 'score']
        >>> round(run.metrics.query("view == 'all' and key == 'kendall_tau'")["value"].item(), 2)
        0.61
    """
    several = seeds is not None or not isinstance(estimators, str | Estimator | type)
    chosen = [estimators] if isinstance(estimators, str | Estimator | type) else list(estimators)
    task = {k: v for k, v in options.items() if k in TaskOptions.__annotations__}
    execution = {k: v for k, v in options.items() if k in ExecutionOptions.__annotations__}
    check_options(options, RunOptions)
    names = [e for e in chosen if isinstance(e, str)]
    outcomes: list[Outcome] = []
    configs = plan(names, seeds=seeds or 1, first_seed=seed, settings=settings, **task) if names else []  # type: ignore[arg-type]
    if configs:
        outcomes += carry_out(configs, results=results, listener=listener, **execution)  # type: ignore[arg-type]
    for estimator in chosen:
        if not isinstance(estimator, str):
            outcomes += _run_object(
                estimator, range(seed, seed + (seeds or 1)), settings, task, execution, results, listener
            )
    if any(o.phase is Phase.INTERRUPTED for o in outcomes):
        raise KeyboardInterrupt
    lost = [f"{o.config.estimator} seed {o.config.seed}: {o.message}" for o in outcomes if o.phase is Phase.ERROR]
    if lost:
        raise RunFailed("\n".join(lost))
    runs = Runs(o.run for o in outcomes if o.run is not None)
    return runs if several else runs[0]


def plan(
    estimators: Sequence[str],
    *,
    seeds: int = 1,
    first_seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    **task: Unpack[TaskOptions],
) -> list[RunConfig]:
    """Return the configurations of the runs that `run` carries out.

    estimators: names, 'module:Class', either with '=SEEDS' behind it, or just 'all'. settings: fields of Configs; each
    goes to the estimators that have it. Raises UnknownName for what no estimator, space, preset, ... is called, and
    SupertauError for a setting whose value is not allowed.
    """
    check_options(task, TaskOptions)
    get_space(task.get("space", "nasbench201"))
    IMAGES.resolve(task.get("images") or "digits")
    chosen = list(ESTIMATORS) if list(estimators) == ["all"] else estimators
    repeats = dict(_seeds_of(entry, seeds) for entry in chosen)
    own = _share_out(settings or {}, list(repeats))
    return [
        resolve(name, seed=seed, settings=own[name], **task)
        for name, count in repeats.items()
        for seed in range(first_seed, first_seed + count)
    ]


def carry_out(
    configs: Sequence[RunConfig],
    *,
    results: Path | str = RESULTS,
    listener: Listener | None = None,
    **execution: Unpack[ExecutionOptions],
) -> list[Outcome]:
    """Carry out runs, each in a process of its own, and return how each ended, in the order given.

    Ctrl-C asks the runs to save and stop; it is in the outcomes then. Raises SupertauError for options that contradict
    each other, and for devices or a cluster that are not there.
    """
    check_options(execution, ExecutionOptions)
    options = dict(execution)
    executor, devices, workers = (
        options.pop("executor", "local"),
        options.pop("devices", 1),
        options.pop("workers", None),
    )
    address, gpus = options.pop("ray_address", None), options.pop("gpus", None)
    if executor == "local":
        if address is not None or gpus is not None:
            raise SupertauError("--ray-address and --gpus say what to ask of Ray: add --executor ray.")
        pick_device(execution.get("device", "auto"))
    elif devices != 1:
        raise SupertauError("--devices is for --executor local: on Ray each run has the GPUs of --gpus, and uses one.")
    elif workers is not None:
        raise SupertauError("--workers is for --executor local: on Ray as many runs go side by side as have room.")
    settings = _settings(results, execution)
    listener = listener or (lambda event: None)
    if executor == "ray":
        return run_all_on_ray(
            configs, settings, listener, address=execution.get("ray_address", "auto"), gpus=execution.get("gpus", 0.0)
        )
    return run_all(configs, settings, listener, workers=execution.get("workers"), devices=execution.get("devices", 1))


def _settings(results: Path | str, execution: ExecutionOptions) -> Settings:
    return Settings(
        Path(results),
        execution.get("device", "auto"),
        execution.get("threads"),
        Existing.RESTART if execution.get("restart") else Existing.REUSE,
        trust_pickle=execution.get("trust_pickle", False),
        scoring_memory=execution.get("scoring_memory"),
    )


def _run_object(
    estimator: Estimator | type[Estimator],
    seeds: range,
    settings: Mapping[str, Any] | None,
    task: Mapping[str, Any],
    execution: Mapping[str, Any],
    results: Path | str,
    listener: Listener | None,
) -> list[Outcome]:
    """Run an estimator of the caller's in this process, once per seed."""
    apart = {"executor", "devices", "workers", "ray_address", "gpus"} & execution.keys()
    if apart:
        raise SupertauError(
            f"{', '.join(sorted(apart))}: an estimator object runs in this process; name it as 'module:Class' instead."
        )
    cls = estimator if isinstance(estimator, type) else type(estimator)
    if not isinstance(estimator, type) and settings:
        raise SupertauError("settings are for names and classes: an estimator object has its own Config already.")
    outcomes = []
    for seed in seeds[:1] if cls.deterministic else seeds:
        space, preset = task.get("space", "nasbench201"), task.get("preset", "quick")
        config = (
            estimator.config
            if isinstance(estimator, Estimator)
            else cls.configured(preset, dict(settings or {}), space=space).config
        )
        instance = cls(config)  # a new one per seed: the caller's object stays as it is
        resolved = resolve(_name_of(cls), seed=seed, instance=instance, **task)
        try:
            run = run_here(resolved, _settings(results, execution), listener, estimator=instance)  # type: ignore[arg-type]
            phase = Phase.FINISHED if run.finished else Phase.FAILED
            outcomes.append(Outcome(resolved, run, phase))
        except Interrupted:
            outcomes.append(Outcome(resolved, None, Phase.INTERRUPTED))
    return outcomes


def _name_of(cls: type[Estimator]) -> str:
    """Return what a class is called in a record: its registered name, or 'module:Class'.

    A class of a notebook or script carries a hash of its source, so that a record of its earlier form is not taken for
    one of the present form.
    """
    for name in ESTIMATORS.names():
        if name not in ESTIMATORS.broken and ESTIMATORS.get(name) is cls:
            return name
    if cls.__module__ != "__main__":
        return f"{cls.__module__}:{cls.__qualname__}"
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError) as error:
        raise SupertauError(
            f"the source of {cls.__qualname__} cannot be read, so its record could not be told from that of another "
            "version of it. Put the class into a module."
        ) from error
    return f"__main__:{cls.__qualname__}#{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def _seeds_of(entry: str, seeds: int) -> tuple[str, int]:
    """Return name and number of seeds of 'NAME' or 'NAME=SEEDS'; one seed is enough where chance plays no part."""
    name, given, count = entry.partition("=")
    if given and not (count.isdecimal() and int(count) >= 1):
        raise SupertauError(f"--estimator '{entry}': expected NAME=SEEDS with at least one seed, e.g. {name}=3.")
    if ESTIMATORS.resolve(name).deterministic:
        return name, 1
    return name, int(count) if given else seeds


def _share_out(values: Mapping[str, Any], estimators: list[str]) -> dict[str, dict[str, Any]]:
    """Return for each estimator the values that are settings of it; one that no estimator has raises UnknownName.

    A single value of a setting that is a list becomes a list.
    """
    types = {name: {f.name: str(f.type) for f in fields(ESTIMATORS.resolve(name).Config)} for name in estimators}
    for key in values:
        if not any(key in own for own in types.values()):
            raise unknown(f"setting of {', '.join(estimators)}", key, {k for own in types.values() for k in own})
    return {
        name: {
            key: [value] if own[key].startswith("tuple") and isinstance(value, str | float | int) else value
            for key, value in values.items()
            if key in own
        }
        for name, own in types.items()
    }
