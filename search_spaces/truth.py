"""Ground truth: accuracies of stand-alone training, per architecture and training seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from supertau.search_spaces.architecture import Architecture
from supertau.search_spaces.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Accuracies of stand-alone training.

    architectures: N distinct encoded architectures. trials: (N, S) accuracy in percent, NaN where a seed does not
    exist; S >= 1 training seeds. seeds: their S names. dataset: what the networks were trained on; split: which images
    the accuracy is measured on; epochs: training length. chance: accuracy of a guess in percent, given where trainings
    that failed are recognised by it.

    Two ground truths are the same only if dataset, split, epochs, source and sha256 are. source: who made the numbers,
    or the name of what was read without the folder it lies in, so that a copy elsewhere is the same truth. sha256: of
    the content that was read, which tells files of one name apart: of one file, of its bytes; of several, over theirs,
    as the reader says; of a surrogate, over the files of its models. None only for numbers that were not read from a
    file, such as those of a training that has just ended.
    """

    space: str
    dataset: str
    split: str
    epochs: int | None
    source: str
    sha256: str | None
    architectures: tuple[Architecture, ...]
    trials: Floats
    seeds: tuple[str, ...]
    chance: float | None = None

    def __post_init__(self) -> None:
        n, s = len(self.architectures), len(self.seeds)
        if self.trials.shape != (n, s):
            raise DataError(f"ground truth {self.source}: trials have shape {self.trials.shape}, expected {(n, s)}.")
        if len(set(self.architectures)) != n:
            raise DataError(f"ground truth {self.source}: an architecture stands in it twice.")
        if n == 0 or np.isnan(self.trials).all(axis=1).any():
            raise DataError(f"ground truth {self.source}: an architecture has no accuracy, or there is none at all.")
        valid = self.trials[~np.isnan(self.trials)]
        if not np.isfinite(valid).all() or valid.min() < 0 or valid.max() > 100:
            raise DataError(f"ground truth {self.source}: accuracies must be percentages between 0 and 100.")

    @cached_property
    def mean(self) -> Floats:
        """Mean accuracy over the seeds that exist, shape (N,), percent."""
        return np.asarray(np.nanmean(self.trials, axis=1))

    @cached_property
    def _row(self) -> dict[Architecture, int]:
        return {architecture: row for row, architecture in enumerate(self.architectures)}

    def __contains__(self, architecture: Architecture) -> bool:
        return architecture in self._row

    def rows(self, architectures: list[Architecture] | tuple[Architecture, ...]) -> npt.NDArray[np.int64]:
        """Return row numbers of architectures, shape (len,); raise DataError naming one that is not in the table."""
        try:
            return np.array([self._row[a] for a in architectures], dtype=np.int64)
        except KeyError as error:
            missing = error.args[0]
            raise DataError(f"ground truth {self.source} ({self.dataset}) has no architecture {missing}.") from None

    def table(self, architectures: Sequence[Architecture]) -> GroundTruth:
        """Return itself, whatever the architectures: it is a table already, see `Surrogate`."""
        return self

    def describe(self) -> dict[str, object]:
        """Return where the numbers come from, for a record: everything but the numbers themselves."""
        return {
            "space": self.space,
            "dataset": self.dataset,
            "split": self.split,
            "epochs": self.epochs,
            "source": self.source,
            "sha256": self.sha256,
            "seeds": list(self.seeds),
            "architectures": len(self.architectures),
            "chance": self.chance,
        }


def require_choice(source: str, asked: tuple[str | None, int | None], there: tuple[str, int | None]) -> None:
    """Raise DataError unless a source has the split and epochs asked for; None asks for what is there."""
    split, epochs = asked
    if split not in (None, there[0]) or epochs not in (None, there[1]):
        wanted = [f"split '{split}'"] * (split is not None) + [f"{epochs} epochs"] * (epochs is not None)
        raise DataError(
            f"{source}: holds accuracies of split '{there[0]}' after {there[1]} epochs only, not of "
            f"{' and '.join(wanted)}."
        )


class Surrogate(ABC):
    """A model that predicts the accuracy of any architecture of its space: ground truth without a table."""

    architectures: tuple[Architecture, ...] = ()
    """Those it has accuracies of without predicting them: none."""

    @abstractmethod
    def table(self, architectures: Sequence[Architecture]) -> GroundTruth:
        """Return the predictions for some architectures as ground truth, one trial each."""
