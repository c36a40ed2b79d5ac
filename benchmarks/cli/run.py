"""supertau run: train and score estimators, several seeds, side by side, resumable."""

from __future__ import annotations

import json
from dataclasses import fields
from enum import Enum
from typing import Annotated, Any

import typer

from supertau.benchmarks.cli.output import (
    ERROR,
    FAILED,
    INTERRUPTED,
    RESULTS,
    Json,
    Quiet,
    Results,
    print_error,
    print_json,
    print_note,
)
from supertau.benchmarks.cli.progress import progress
from supertau.benchmarks.config import RunConfig, resolve
from supertau.benchmarks.execution.local import Outcome, run_all
from supertau.benchmarks.execution.ray_cluster import run_all_on_ray
from supertau.benchmarks.images import IMAGES
from supertau.benchmarks.runs.runner import Existing, Settings, pick_device
from supertau.estimators.problem import Problem
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.spaces import get_space

EXAMPLES = """Examples:

supertau run --estimator spos params --seeds 3 --preset quick

supertau run --images cifar10 --estimator spos --preset standard --set sampling=unique

supertau run --estimator spos naswot=1 --seeds 3

supertau run --estimator all --preset smoke

supertau run --estimator spos close --seeds 3 --preset paper --executor ray --gpus 1 --threads 4

supertau run --estimator spos --images cifar10 --preset paper --devices 4

The same command again finds finished runs and goes on with unfinished ones."""


class Executor(Enum):
    """Where runs are carried out."""

    LOCAL = "local"
    RAY = "ray"


def command(
    context: typer.Context,
    estimator: Annotated[
        list[str],
        typer.Option("--estimator", "-e", help="Names, 'module:Class' or 'all'; NAME=SEEDS overrides --seeds."),
    ],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    space: Annotated[str, typer.Option(help="Search space.")] = "nasbench201",
    images: Annotated[str | None, typer.Option(help="Image set [default: the preset's].")] = None,
    preset: Annotated[str, typer.Option(help="smoke, quick, standard or paper.")] = "quick",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from --first-seed on.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    truth: Annotated[
        str | None, typer.Option(help="Data set of the ground truth [default: the space's first].")
    ] = None,
    truth_path: Annotated[
        str | None, typer.Option(help="Official file, NATS-Bench folder or table to read it from.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="all, unique, connected, any of them with :COUNT, or a file of architectures.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="name=value, for each estimator that has it; may be repeated.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=1)] = None,
    train: Annotated[int | None, typer.Option(min=1, help="Training images.")] = None,
    validation: Annotated[int | None, typer.Option(min=1, help="Held-out images.")] = None,
    validation_split: Annotated[
        str, typer.Option(help="'train' holds images out of the training split; 'test' uses the official test split.")
    ] = "train",
    channels: Annotated[int | None, typer.Option(min=1, help="Supernet width C.")] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Cells per stage N.")] = None,
    passes: Annotated[int | None, typer.Option(min=1, help="Training images run forward and backward.")] = None,
    curve_points: Annotated[int | None, typer.Option(min=0, help="Points of the curve along training.")] = None,
    curve_pool: Annotated[int | None, typer.Option(min=2, help="Architectures scored at each point.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    devices: Annotated[
        int,
        typer.Option(
            min=1,
            help="Train each supernet on so many devices of this machine; batch_size stays that of all together, and "
            "scores stay the same but for rounding. Needs supertau[ddp].",
        ),
    ] = 1,
    workers: Annotated[
        int | None, typer.Option(help="Runs side by side [default: one per core; one with several devices].")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="CPU threads per run and device [default: cores / workers / devices; with ray 1], the CPUs asked of "
            "Ray.",
        ),
    ] = None,
    scoring_memory: Annotated[
        int,
        typer.Option(
            min=1,
            help="MB for architectures that are scored together, roughly; less takes longer and gives the same scores.",
        ),
    ] = Problem.scoring_memory,
    executor: Annotated[
        Executor,
        typer.Option(
            help="local: processes on this machine. ray: a Ray cluster that is already there; the results and the "
            "folder this is started in must be on storage that its nodes share, and a run whose node is lost goes on "
            "on another."
        ),
    ] = Executor.LOCAL,
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the Ray cluster [default: auto, the one this machine is part of].")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs asked of Ray per run; two runs share one with 0.5 [default: 0].")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what is there and run again.")] = False,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Read a --truth-path that could run code when loaded.")
    ] = False,
    results: Results = RESULTS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and score estimators; resumable, one record per run."""
    get_space(space)
    IMAGES.resolve(images or "digits")
    if executor is Executor.LOCAL:
        if ray_address is not None or gpus is not None:
            raise SupertauError("--ray-address and --gpus say what to ask of Ray: add --executor ray.")
        pick_device(device)
    elif devices > 1:
        raise SupertauError("--devices is for --executor local: on Ray each run has the GPUs of --gpus, and uses one.")
    elif workers is not None:
        raise SupertauError("--workers is for --executor local: on Ray as many runs go side by side as have room.")
    names = [*estimator, *(more or [])]
    settings = Settings(
        results, device, threads, Existing.RESTART if restart else Existing.REUSE, trust_pickle=trust_pickle,
        scoring_memory=scoring_memory,
    )  # fmt: skip
    configs: list[RunConfig] = []
    chosen = list(ESTIMATORS) if names == ["all"] else names
    repeats = dict(seeds_of(entry, seeds) for entry in chosen)
    values = share_settings(parse_settings(setting or []), list(repeats))
    for name, count in repeats.items():
        configs += [
            resolve(
                name, seed=seed, preset=preset, space=space, truth=truth, truth_path=truth_path,
                validation_split=validation_split, settings=values[name], images=images, pool=pool,
                image_size=image_size, train=train, validation=validation, channels=channels, cells=cells,
                passes=passes, curve_points=curve_points, curve_pool=curve_pool,
            )
            for seed in range(first_seed, first_seed + count)
        ]  # fmt: skip
    with progress(len(configs), quiet=quiet) as listener:
        if executor is Executor.RAY:
            outcomes = run_all_on_ray(configs, settings, listener, address=ray_address or "auto", gpus=gpus or 0.0)
        else:
            outcomes = run_all(configs, settings, listener, workers=workers, devices=devices)
    finish(outcomes, as_json=as_json, quiet=quiet)


def seeds_of(entry: str, seeds: int) -> tuple[str, int]:
    """Return name and number of seeds of 'NAME' or 'NAME=SEEDS'; one seed is enough where chance plays no part."""
    name, given, count = entry.partition("=")
    if given and not (count.isdecimal() and int(count) >= 1):
        raise SupertauError(f"--estimator '{entry}': expected NAME=SEEDS with at least one seed, e.g. {name}=3.")
    if ESTIMATORS.resolve(name).deterministic:
        return name, 1
    return name, int(count) if given else seeds


def share_settings(values: dict[str, Any], estimators: list[str]) -> dict[str, dict[str, Any]]:
    """Return for each estimator the values that are settings of it; one that no estimator has raises UnknownName.

    A single value of a setting that is a list becomes a list.
    """
    types = {name: {f.name: str(f.type) for f in fields(ESTIMATORS.resolve(name).Config)} for name in estimators}
    for key in values:
        if not any(key in held for held in types.values()):
            raise unknown(f"setting of {', '.join(estimators)}", key, {k for held in types.values() for k in held})
    return {
        name: {
            key: [value] if held[key].startswith("tuple") and isinstance(value, str | float | int) else value
            for key, value in values.items()
            if key in held
        }
        for name, held in types.items()
    }


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Return name=value pairs as a dictionary; a value is JSON where it is, 'a,b' a list, and otherwise text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SupertauError(f"--set '{pair}': expected name=value, e.g. --set learning_rate=0.05.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text.split(",") if "," in text else text
    return values


def finish(outcomes: list[Outcome], *, as_json: bool, quiet: bool) -> None:
    """Tell how the runs ended, and leave with the exit status that says so."""
    if as_json:
        print_json(
            [
                {
                    "run_id": o.config.run_id, "status": o.status, "message": o.message,
                    "folder": str(o.run.folder) if o.run else None,
                    "metrics": o.run.record["metrics"] if o.run else [],
                }
                for o in outcomes
            ]
        )  # fmt: skip
    stopped = [o for o in outcomes if o.status == "interrupted"]
    for outcome in outcomes:
        if outcome.status == "error":
            print_error(f"{outcome.config.run_id}: {outcome.message}")
    if stopped:
        print_note(f"{len(stopped)} of {len(outcomes)} runs interrupted; the same command again goes on with them.")
        raise typer.Exit(INTERRUPTED)
    if any(o.status == "error" for o in outcomes):
        raise typer.Exit(ERROR)
    if any(o.status == "failed" for o in outcomes):
        raise typer.Exit(FAILED)
    if not quiet and not as_json:
        print_note("Next: supertau report")
