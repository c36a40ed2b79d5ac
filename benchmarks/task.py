"""A task: a search space, a ground truth, a pool of architectures, and images. The one place that loads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from supertau.benchmarks.config import RunConfig, TruthChoice
from supertau.benchmarks.judging.judge import judge, truth_info, truth_table
from supertau.benchmarks.record import Judgement, PoolInfo, TruthInfo, pool_digest
from supertau.search_spaces.errors import DataError, SupertauError
from supertau.search_spaces.pool import Pool, select
from supertau.search_spaces.space import Architecture, SearchSpace
from supertau.search_spaces.spaces import get_space
from supertau.search_spaces.truth import GroundTruth, Surrogate

if TYPE_CHECKING:
    import torch

    from supertau.estimators.problem import ImageSet, Problem
    from supertau.estimators.training.processes import Processes


@dataclass(frozen=True)
class ImageChoice:
    """Which images, and how many: see `load_problem_images`."""

    name: str
    size: int | None = None
    train: int | float | None = None
    validation: int | float | None = None
    validation_split: str = "train"


class Task:
    """What is ranked, by what, and on which images. Each part is loaded once, when it is first asked for.

    A run, a search and a judgement take one. An estimator is given `problem` only, which carries no ground truth.
    """

    def __init__(
        self,
        space: SearchSpace,
        truth: TruthChoice,
        pool: str | Pool,
        *,
        images: ImageChoice | None = None,
        trust_pickle: bool = False,
    ) -> None:
        """pool: architectures, or a specification of them as for `select`.

        images: None where nothing is trained or scored.
        """
        self.space, self.asked = space, truth
        self._pool, self._images, self._trust_pickle = pool, images, trust_pickle

    @classmethod
    def of(cls, config: RunConfig, *, trust_pickle: bool = False) -> Task:
        """Return the task of a run's configuration."""
        images = ImageChoice(config.images, config.image_size, config.train, config.validation, config.validation_split)
        return cls(get_space(config.space), config.truth_choice, config.pool, images=images, trust_pickle=trust_pickle)

    # --- ground truth and pool ----------------------------------------------------------------------------------------
    @cached_property
    def source(self) -> GroundTruth | Surrogate:
        """The ground truth as it is read: a table, or a model that predicts."""
        asked = self.asked
        path = Path(asked.path) if asked.path else None
        # Spaces of plugins need not know of splits and epochs: they are passed on when they are asked for.
        choice: dict[str, Any] = {"split": asked.split, "epochs": asked.epochs}
        given = {name: value for name, value in choice.items() if value is not None}
        return self.space.truth(asked.dataset, path, trust_pickle=self._trust_pickle, **given)

    @cached_property
    def _asked(self) -> Pool:
        if isinstance(self._pool, Pool):
            return self._pool
        # The architectures with ground truth are the pool of a space that is too large to be listed.
        known = () if self.space.is_listable else self.source.architectures
        return select(self.space, self._pool, known)

    @cached_property
    def truth(self) -> GroundTruth:
        """The ground truth of the pool; a table may hold more than that."""
        return self.source.table(self._asked.architectures)

    @cached_property
    def pool(self) -> Pool:
        """The architectures to rank: those of the asked pool that have ground truth, named so if some have none."""
        asked, truth = self._asked, self.truth
        members = tuple(a for a in asked.architectures if a in truth)
        if len(members) == len(asked):
            return asked
        if len(members) < 2:
            missing = self.space.format(next(a for a in asked.architectures if a not in truth))
            raise SupertauError(
                f"ground truth '{truth.source}' holds {len(members)} of the pool's {len(asked)} architectures; "
                f"the first it lacks is {missing}. Choose another --pool or --truth-path."
            )
        return Pool(f"{asked.name} in truth", members)

    @property
    def truth_info(self) -> TruthInfo:
        """Which ground truth, for a record."""
        return truth_info(self.truth)

    def pool_info(self, pool: Pool | None = None) -> PoolInfo:
        """Return what identifies the pool, or another one that is ranked in its place."""
        pool = pool or self.pool
        return PoolInfo(pool.name, len(pool), pool_digest(map(self.space.format, pool.architectures)))

    def require_all(self, what: str) -> None:
        """Raise DataError, naming the first, when the truth lacks architectures of the pool; what: their origin."""
        missing = [a for a in self._asked.architectures if a not in self.truth]
        if missing:
            raise DataError(
                f"ground truth '{self.truth.source}' lacks {len(missing)} of the {len(self._asked)} architectures in "
                f"{what}, the first is {self.space.format(missing[0])}."
            )

    # --- images -------------------------------------------------------------------------------------------------------
    @cached_property
    def images(self) -> tuple[ImageSet, ImageSet]:
        """Images to train on, and held-out images to score with."""
        from supertau.benchmarks.images import load_problem_images  # torch: judging scores does without

        if self._images is None:
            raise SupertauError("this task has no images.")
        c = self._images
        return load_problem_images(
            c.name, size=c.size, train=c.train, validation=c.validation, validation_split=c.validation_split
        )

    def problem(
        self,
        config: RunConfig,
        device: torch.device,
        processes: Processes | None = None,
        scoring_memory: int | None = None,
    ) -> Problem:
        """Return the ranking problem that an estimator is given.

        The split of the images is the same for every seed: seeds measure training.
        """
        from supertau.estimators.problem import Problem  # torch, as above
        from supertau.estimators.training.processes import ALONE

        train, validation = (part.to(device) for part in self.images)
        network = train.network(config.channels, config.cells)
        memory = Problem.scoring_memory if scoring_memory is None else scoring_memory
        return Problem(self.space, network, train, validation, config.seed, device, processes or ALONE, memory)

    # --- judging ------------------------------------------------------------------------------------------------------
    def table(
        self, architectures: tuple[Architecture, ...], parts: dict[str, list[bool]] | None = None
    ) -> pd.DataFrame:
        """Return the truth table of some architectures of the pool; parts: memberships that are judged apart."""
        return truth_table(self.space, self.truth, architectures, parts)

    def judge(
        self, scores: pd.DataFrame, table: pd.DataFrame, *, left_out: str | None = None, threads: int = 1
    ) -> Judgement:
        """Return every metric of scores whose rows are those of a truth table; see `judge`."""
        return judge(scores, table, self.truth_info, left_out=left_out, asked=self.asked, threads=threads)
