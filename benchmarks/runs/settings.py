"""How a run is carried out: nothing here changes its scores, apart from rounding by device and threads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any


class Existing(Enum):
    """What to do about a run that is there already."""

    REUSE = "reuse"
    RESTART = "restart"


@dataclass(frozen=True)
class Settings:
    """How a run is carried out.

    results: the folder that records go to. device: 'auto', 'cpu' or 'cuda...'. threads: for torch on the CPU, None for
    torch's own choice; a resumed run keeps those it began with. checkpoint_seconds: time between checkpoints.
    lock_seconds: how long to wait for another process that works on the run. scoring_memory: see `Problem`, None for
    its default. The number of devices is no part of a run's identity; a run may be resumed on another number.
    """

    results: Path
    device: str = "auto"
    threads: int | None = None
    existing: Existing = Existing.REUSE
    checkpoint_seconds: float = 30.0
    lock_seconds: float = 0.0
    trust_pickle: bool = False
    scoring_memory: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**asdict(self), "results": str(self.results), "existing": self.existing.value}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Settings:
        """Return what `to_plain` gave."""
        return cls(**{**values, "results": Path(values["results"]), "existing": Existing(values["existing"])})
