"""The resolved configuration of one run, and its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from supertau.benchmarks.presets import get_preset
from supertau.estimators.estimator import Estimator
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.spaces import get_space

LABELS = ("preset", "truth", "truth_path")
"""Fields that don't count for the identity: a preset is only a name for values that all stand in the configuration, and
truth judges scores that do not depend on it, with two exceptions (see `RunConfig.identity`)."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes. Fields are those of `Preset` where they share a name."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    estimator: str
    seed: int
    space: str
    images: str
    image_size: int
    train: int | None
    validation: int | None
    validation_split: str
    channels: int
    cells: int
    passes: int
    pool: str
    curve_points: int
    curve_pool: int
    truth: str
    truth_path: str | None
    preset: str
    estimator_config: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Estimator:
        """Return the estimator with its configuration, not yet fitted."""
        cls = ESTIMATORS.resolve(self.estimator)
        return cls(validated(cls, self.estimator_config))

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value

    def _digest(self, *left_out: str) -> str:
        held = {k: v for k, v in self.as_dict().items() if k not in left_out}
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def identity(self) -> str:
        """Hash of what the scores depend on."""
        # Where a space cannot be listed, its ground truth is what a pool is taken from.
        judged = ESTIMATORS.resolve(self.estimator).uses_truth or not get_space(self.space).is_listable
        return self._digest(*(LABELS[:1] if judged else LABELS))

    @property
    def training(self) -> str:
        """Hash of what training depends on: runs that share it differ only in what they score, how, and the truth."""
        scoring = ESTIMATORS.resolve(self.estimator).scoring_settings
        settings = {name: value for name, value in self.estimator_config.items() if name not in scoring}
        trained = replace(self, estimator_config=settings)
        return trained._digest(*LABELS, "pool", "curve_points", "curve_pool")

    @property
    def group(self) -> str:
        """Hash that runs share which differ in nothing but the seed."""
        return self._digest(*LABELS, "seed")

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        estimator = self.estimator.rpartition(":")[2]
        return f"{estimator}-{self.space}-{self.images}-s{self.seed}-{self.identity}"


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
    validation_split: str = "train",
    settings: dict[str, Any] | None = None,
    **overrides: Any,
) -> RunConfig:
    """Return a run's configuration: a preset, fields of it overridden, and settings of the estimator's Config.

    Overrides that are None leave the preset's value. Unknown names raise with the nearest match.
    """
    base = get_preset(preset)
    known = {f.name for f in fields(base)} - {"name", "description"}
    assert set(overrides) <= known, set(overrides) - known
    values = {name: getattr(base, name) for name in known}
    values.update({name: value for name, value in overrides.items() if value is not None})
    cls = ESTIMATORS.resolve(estimator)
    held = cls.configured(preset, space=space)
    cls.configured(preset, settings, space=space)  # names the nearest match of an unknown setting
    config = validated(cls, {**asdict(held.config), **(settings or {})})
    where = get_space(space)
    for name in ("channels", "cells"):
        values[name] = getattr(where.benchmark, name) if values[name] is None else values[name]
    run = RunConfig(
        estimator=estimator, seed=seed, space=space, preset=preset, validation_split=validation_split,
        truth=truth or (*where.truths, *where.files)[0], truth_path=truth_path, estimator_config=asdict(config),
        **values,
    )  # fmt: skip
    return replace(run, passes=0, curve_points=0) if not cls.trains else run


def from_dict(values: dict[str, Any]) -> RunConfig:
    """Return the configuration that a record holds; raise SupertauError for unknown or missing fields."""
    try:
        return TypeAdapter(RunConfig).validate_python(values)
    except ValidationError as error:
        raise SupertauError(f"configuration not understood: {error}") from error
