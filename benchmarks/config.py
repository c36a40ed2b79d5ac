"""The resolved configuration of one run: everything that decides what it computes, as plain values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TruthChoice:
    """Which ground truth is asked for: data set, file or folder (None: built in), split and epochs (None: usual)."""

    dataset: str
    path: str | None = None
    split: str | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes. Fields are those of `Preset` where they share a name.

    estimator: registered name, or 'module:Class'. validation_split: 'train' or 'test'. truth, truth_path: data set of
    the ground truth, and the file or folder it is read from (None: built in, or in the data folder); truth_split,
    truth_epochs: which of its accuracies, None for the source's usual ones. preset: only a name for values that all
    stand here.
    """

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
    truth_split: str | None = None
    truth_epochs: int | None = None

    @property
    def truth_choice(self) -> TruthChoice:
        """Which ground truth is asked for."""
        return TruthChoice(self.truth, self.truth_path, self.truth_split, self.truth_epochs)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value
