"""From names and options to the configuration of a run, and what identifies it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.files import checksum
from supertau.benchmarks.presets import get_preset
from supertau.benchmarks.record import pool_digest
from supertau.estimators.estimator import Estimator
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.cache import digest
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.files import is_file
from supertau.search_spaces.pool import select
from supertau.search_spaces.spaces import get_space

LABELS = ("preset", "truth", "truth_path", "truth_split", "truth_epochs")
"""Fields that scores do not depend on: a preset is only a name for values that all stand in the configuration, and
truth judges scores. Exceptions: see `identify`."""


@dataclass(frozen=True)
class Identity:
    """Hashes that tell runs apart.

    run_id: name of the run's folder. scores: of what the scores depend on. training: of what training depends on; runs
    that share it differ only in what they score, how, and the truth. group: what runs share that differ in nothing but
    the seed.
    """

    run_id: str
    scores: str
    training: str
    group: str


def identify(config: RunConfig, cls: type[Estimator] | None = None) -> Identity:
    """Return the identity of a run; cls: the estimator's class, where it is not registered.

    A file of architectures counts by its content, and so does a file of ground truth where scores depend on it: for the
    noise ceiling, which is one trial of it, and in a space too large to be listed, whose pool is taken from it.
    """
    cls = cls or ESTIMATORS.resolve(config.estimator)
    space = get_space(config.space)
    values = config.as_dict()
    if is_file(Path(config.pool)):
        values["pool"] = pool_digest(map(space.format, select(space, config.pool).architectures))
    judged = cls.uses_truth or not space.is_listable
    if judged and config.truth_path is not None and is_file(Path(config.truth_path)):
        values["truth_path"] = digest(Path(config.truth_path), "sha256")
    scores = _hash(values, LABELS[:1] if judged else LABELS)
    settings = {k: v for k, v in values["estimator_config"].items() if k not in cls.scoring_settings}
    trained = {**values, "estimator_config": settings}
    name = config.estimator.rpartition(":")[2].partition("#")[0]
    return Identity(
        run_id=f"{name}-{config.space}-{config.images}-s{config.seed}-{scores}",
        scores=scores,
        training=_hash(trained, (*LABELS, "pool", "curve_points", "curve_pool")),
        group=_hash(values, (*LABELS, "seed")),
    )


def _hash(values: Mapping[str, Any], left_out: tuple[str, ...]) -> str:
    # What was not asked for does not count, so that a new option leaves the identity of earlier runs as it was.
    unasked = [k for k in ("truth_split", "truth_epochs") if values[k] is None]
    kept = {k: v for k, v in values.items() if k not in (*left_out, *unasked)}
    return checksum(kept)[:12]


def build(config: RunConfig) -> Estimator:
    """Return the estimator of a configuration, not yet fitted."""
    cls = ESTIMATORS.resolve(config.estimator)
    return cls(validated(cls, config.estimator_config))


def validated(cls: type[Estimator], values: dict[str, Any]) -> Any:
    """Return an estimator's Config from plain values; raise SupertauError naming the field, value and expectation."""
    try:
        return TypeAdapter(cls.Config).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SupertauError(f"setting {cls.__name__}.{place}={first.get('input')!r}: {first['msg']}.") from error


def resolve(
    estimator: str,
    *,
    seed: int = 0,
    preset: str = "quick",
    space: str = "nasbench201",
    truth: str | None = None,
    truth_path: str | None = None,
    truth_split: str | None = None,
    truth_epochs: int | None = None,
    validation_split: str = "train",
    settings: Mapping[str, Any] | None = None,
    instance: Estimator | None = None,
    **overrides: Any,
) -> RunConfig:
    """Return a run's configuration: a preset, fields of it overridden, and settings of the estimator's Config.

    instance: an estimator whose class and Config are taken as they are; `estimator` is then only its name. Overrides
    that are None leave the preset's value. Unknown names raise UnknownName with the nearest match.
    """
    base = get_preset(preset)
    known = {f.name for f in fields(base)} - {"name", "description"}
    unexpected = set(overrides) - known
    if unexpected:
        raise TypeError(f"unexpected options: {', '.join(sorted(unexpected))}")
    values = {name: getattr(base, name) for name in known}
    values.update({name: value for name, value in overrides.items() if value is not None})
    if instance is not None:
        cls, config = type(instance), instance.config
    else:
        cls = ESTIMATORS.resolve(estimator)
        cls.configured(preset, dict(settings or {}), space=space)  # names the nearest match of an unknown setting
        config = validated(cls, {**asdict(cls.configured(preset, space=space).config), **(settings or {})})
    where = get_space(space)
    for name in ("channels", "cells"):
        values[name] = getattr(where.benchmark, name) if values[name] is None else values[name]
    run = RunConfig(
        estimator=estimator, seed=seed, space=space, preset=preset, validation_split=validation_split,
        truth=where.resolve_dataset(truth) if truth else (*where.truths, *where.files)[0], truth_path=truth_path,
        truth_split=truth_split, truth_epochs=truth_epochs,
        estimator_config=json.loads(json.dumps(asdict(config))), **values,
    )  # fmt: skip
    return replace(run, passes=0, curve_points=0) if not cls.trains else run
