"""What a record holds: every key of record.json, typed. This file alone knows the JSON.

A record is what one run leaves beside its tables: what decided it, where it ran, what it cost, and how its scores were
judged. Version 2 of the schema; records of version 1 are upgraded when they are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from supertau.benchmarks.config import RunConfig, TruthChoice
from supertau.benchmarks.files import checksum
from supertau.search_spaces.errors import DataError

SCHEMA_VERSION = 2


class LaterSchema(DataError):
    """A record that a later version of supertau wrote."""


class Status(StrEnum):
    """How far a run came. A run that was interrupted stays RUNNING: the same command goes on with it."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class Role(StrEnum):
    """How reports treat a row."""

    ESTIMATOR = "estimator"
    ZERO_COST = "zero_cost"
    EXTERNAL = "external"
    """Scores that were made elsewhere."""
    BASELINE = "baseline"
    """A ranking that costs nothing, such as the number of parameters."""
    CEILING = "ceiling"
    """One training of the ground truth, judged by the others."""
    CHANCE = "chance"
    """A random order; a row of tables only, no run has it."""

    @property
    def is_reference(self) -> bool:
        """Whether the row is something to measure others by, not a competitor."""
        return self in (Role.BASELINE, Role.CEILING, Role.CHANCE)


class Phase(StrEnum):
    """What a run is doing, or how it ended; the phase of an `Event`."""

    START = "start"
    RESUME = "resume"
    LOAD = "load"
    TRAIN = "train"
    SCORE = "score"
    JUDGE = "judge"
    FINISHED = "finished"
    REUSED = "reused"
    """A finished record was there; nothing was trained or scored."""
    FAILED = "failed"
    """The method failed: divergence, or an exception in an estimator."""
    ERROR = "error"
    """Something outside the method went wrong: a file, memory, a node."""
    INTERRUPTED = "interrupted"

    @property
    def is_end(self) -> bool:
        """Whether nothing comes after it."""
        return self in (Phase.FINISHED, Phase.REUSED, Phase.FAILED, Phase.ERROR, Phase.INTERRUPTED)


@dataclass(frozen=True)
class TruthInfo:
    """Which ground truth: everything but its numbers.

    dataset: what the networks were trained on. split: the images that the accuracy is measured on. epochs: length of
    training. source: who made the numbers. sha256: of the file they were read from. These five tell truths apart.
    seeds: names of the training seeds. architectures: how many it holds. chance: accuracy of a guess, percent.
    key: prefix of its columns in truth.parquet.
    """

    dataset: str
    split: str
    epochs: int | None
    source: str
    sha256: str | None
    seeds: tuple[str, ...]
    architectures: int
    chance: float | None
    key: str

    @property
    def identity(self) -> tuple[str, str, int | None, str, str | None]:
        """What two truths must share to be the same."""
        return self.dataset, self.split, self.epochs, self.source, self.sha256

    @property
    def caption(self) -> str:
        """The truth in words: `data set cifar10, split x-valid, epochs 200, source ...`."""
        parts = (("data set", self.dataset), ("split", self.split), ("epochs", self.epochs), ("source", self.source))
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


def truth_key(dataset: str, *identity: object) -> str:
    """Return a prefix for the columns of a truth: two truths of one name have different ones."""
    return f"{dataset}@{hashlib.sha256(repr((dataset, *identity)).encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class PoolInfo:
    """The architectures that were ranked. digest: of their text forms, in any order; it tells pools apart."""

    name: str
    size: int
    digest: str


def pool_digest(texts: Iterable[str]) -> str:
    """Return what identifies a pool: a hash of its architectures, whatever their order."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class MetricRow:
    """One metric of one score column on one view of the pool.

    value: None where there is none, then `undefined` says why. low, high: 95 % interval over architectures. chance: of
    a random ranking. ceiling: of one training seed of the ground truth against the others. n: architectures judged.
    """

    view: str
    column: str
    key: str
    value: float | None
    low: float | None
    high: float | None
    chance: float | None
    ceiling: float | None
    n: int
    undefined: str | None = None


@dataclass(frozen=True)
class Judgement:
    """All metrics of a run against one ground truth.

    left_out: the training seed that does not judge, because the scores were made from it (noise ceiling).
    asked: how the truth was asked for; a label, not part of what it is.
    """

    truth: TruthInfo
    metrics: tuple[MetricRow, ...]
    left_out: str | None = None
    asked: TruthChoice | None = None

    def find(self, view: str, column: str, key: str) -> MetricRow | None:
        """Return one row, None where the record has none."""
        return next((m for m in self.metrics if (m.view, m.column, m.key) == (view, column, key)), None)


@dataclass(frozen=True)
class CostInfo:
    """What a run took: images run (forward and backward counts once), seconds, bytes, parameters; None: not known.

    The curve along training is no part of the method's own cost, so it stands apart.
    """

    train_images: float | None = None
    score_images: float | None = None
    train_seconds: float | None = None
    score_seconds: float | None = None
    curve_images: float | None = None
    curve_seconds: float | None = None
    peak_memory_bytes: float | None = None
    supernet_parameters: float | None = None
    other: dict[str, float] = field(default_factory=dict)
    """What a plugin counts besides."""

    @classmethod
    def of(cls, counts: Mapping[str, float]) -> CostInfo:
        """Return the costs of a dictionary; names that are not fields go to `other`."""
        names = {f.name for f in fields(cls)} - {"other"}
        known = {name: float(value) for name, value in counts.items() if name in names}
        return cls(**known, other={k: float(v) for k, v in counts.items() if k not in names})


@dataclass(frozen=True)
class EnvironmentInfo:
    """Where a run happened. threads: of each process. devices: how many, one process on each."""

    python: str
    platform: str
    cpu: str
    cores: int | None
    threads: int
    devices: int
    device: str
    packages: dict[str, str | None]


@dataclass(frozen=True)
class FailureInfo:
    """Why a run failed; step and learning rate where training diverged."""

    type: str
    message: str
    step: int | None = None
    learning_rate: float | None = None
    traceback: str | None = None


@dataclass(frozen=True)
class Record:
    """One run.

    run_id: name of its folder. identity: hash of what its scores depend on, and for scores made elsewhere of its title.
    group: hash that runs share which differ in the seed only. training: hash of what training depends on; runs that
    share it may share a checkpoint, and `trained_by` names the run it came from. config: None for scores made
    elsewhere. columns: names of the score columns, the declared primary first. started, finished: ISO 8601, UTC.
    """

    run_id: str
    identity: str
    group: str
    status: Status
    role: Role
    estimator: str
    title: str
    source: str
    space: str
    seed: int
    columns: tuple[str, ...]
    started: str
    config: RunConfig | None = None
    training: str | None = None
    trained_by: str | None = None
    finished: str | None = None
    pool: PoolInfo | None = None
    environment: EnvironmentInfo | None = None
    cost: CostInfo = CostInfo()
    judgements: tuple[Judgement, ...] = ()
    diagnostics: dict[str, Any] = field(default_factory=dict)
    failure: FailureInfo | None = None
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of each table of the run, by the name of its file; empty in records of schema 1."""

    @property
    def is_finished(self) -> bool:
        """Whether all scores are there."""
        return self.status is Status.FINISHED

    @property
    def primary(self) -> str:
        """The score column that the method is ranked by, declared before the ground truth is seen."""
        return self.columns[0]

    def judgement(self, truth: TruthInfo) -> Judgement | None:
        """Return how the scores were judged by a truth, None where they were not."""
        return next((j for j in self.judgements if j.truth.identity == truth.identity), None)

    # --- JSON ---------------------------------------------------------------------------------------------------------
    def to_json(self) -> str:
        """Return record.json; a number that JSON has no form for raises ValueError.

        It ends with a checksum of all the rest, so that an edited or damaged record is not believed.
        """
        values = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        return json.dumps({**values, "checksum": checksum(values)}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Record:
        """Return the record of a text, upgraded to the present schema; where: the file, for errors.

        Raises DataError for what is no record or was changed after it was written, LaterSchema for one of a later
        version of supertau.
        """
        try:
            values = json.loads(text)
            version = values["schema_version"]
            if type(version) is not int or version < 1:
                raise ValueError(f"schema_version is {version!r}")
            if version > SCHEMA_VERSION:
                raise LaterSchema(
                    f"'{where}' has schema version {version}, this supertau reads up to {SCHEMA_VERSION}: upgrade it."
                )
            if version >= 2 and values.pop("checksum") != checksum(values):
                raise DataError(
                    f"'{where}' was changed after it was written: its checksum is another. Run the same command again "
                    "to make it anew; finished training is kept."
                )
            while values["schema_version"] < SCHEMA_VERSION:
                values = UPGRADES[values["schema_version"]](values)
            return _record(values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"'{where}' is not a record ({error!r}). Run the same command again to make it anew."
            ) from error


def _record(plain: dict[str, Any]) -> Record:
    """Return the record of a dictionary of the present schema."""
    values = {name: value for name, value in plain.items() if name != "schema_version"}
    return Record(
        **{
            **values,
            "status": Status(values["status"]),
            "role": Role(values["role"]),
            "columns": tuple(values["columns"]),
            "config": None if values["config"] is None else RunConfig(**values["config"]),
            "pool": None if values["pool"] is None else PoolInfo(**values["pool"]),
            "environment": None if values["environment"] is None else EnvironmentInfo(**values["environment"]),
            "cost": CostInfo(**values["cost"]),
            "judgements": tuple(_judgement(j) for j in values["judgements"]),
            "failure": None if values["failure"] is None else FailureInfo(**values["failure"]),
        }
    )


def _judgement(plain: dict[str, Any]) -> Judgement:
    truth = TruthInfo(**{**plain["truth"], "seeds": tuple(plain["truth"]["seeds"])})
    metrics = tuple(MetricRow(**row) for row in plain["metrics"])
    asked = None if plain["asked"] is None else TruthChoice(**plain["asked"])
    return Judgement(truth, metrics, plain["left_out"], asked)


def _from_version_1(old: dict[str, Any]) -> dict[str, Any]:
    """Upgrade a record of schema 1: one list of metrics, truths by data set, pools known by a name only.

    Columns of its truth table are named after the data set. The digest of its pool stays empty here; whoever reads the
    tables fills it in.
    """
    config, truths = dict(old["config"]), old["truths"]
    external = old["role"] == Role.EXTERNAL
    judged = old.get("judged", {})  # absent from a run that did not finish
    by_truth: dict[str, list[dict[str, Any]]] = {}
    for row in old["metrics"]:
        by_truth.setdefault(row["truth"], []).append({k: v for k, v in row.items() if k != "truth"})
    known = {f.name for f in fields(TruthInfo)}
    judgements = [
        {
            "truth": {**{k: v for k, v in truths[name].items() if k in known}, "key": name},
            "metrics": rows,
            "left_out": judged.get("left_out_trial"),
            "asked": {"dataset": name, "path": config["truth_path"]},
        }
        for name, rows in by_truth.items()
    ]
    return {
        "schema_version": 2,
        **{k: old[k] for k in ("run_id", "identity", "group", "status", "role", "title", "source", "columns")},
        **{k: old[k] for k in ("started", "finished", "diagnostics")},
        "estimator": config["estimator"],
        "space": config["space"],
        "seed": config["seed"],
        "config": None if external else config,
        "training": old.get("training"),
        "trained_by": old.get("trained_by"),
        "pool": {"name": judged["pool"], "size": judged["architectures"], "digest": ""} if judged else None,
        "environment": old["environment"] or None,
        "cost": asdict(CostInfo.of(old["cost"])),
        "judgements": judgements,
        "failure": old["error"],
    }


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_version_1}
"""For each older version of the schema, the function that makes it one newer."""
