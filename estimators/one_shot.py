"""What the one-shot estimators have in common: a supernet, one training loop, one scorer.

A method is a subclass that defines the loss of a mini-batch (`objective`) and, where it has several phases, their
order (`start`, `train`). What changes in training is named in `state`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from supertau.estimators.estimator import Budget, Estimator, Floats, Monitor
from supertau.estimators.problem import Problem
from supertau.estimators.settings import Count, Positive, Settings, ShareBelowOne, ZeroOrMore
from supertau.estimators.training.augmentation import augment, normalise
from supertau.estimators.training.generators import seeded_weights, torch_stream
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.precision import Precision
from supertau.estimators.training.scoring import BNMode, PathScorer, Scoring
from supertau.search_spaces.space import Architecture
from supertau.search_spaces.supernet import Supernet


@dataclass(frozen=True)
class OneShotConfig(Settings):
    """Settings of a supernet's training and scoring; a method overrides the defaults that its source gives."""

    batch_size: Count = 64  # NAS-Bench-201's one-shot baselines (AutoDL-Projects, RANDOM-NAS); SPOS: 1024 on ImageNet
    learning_rate: Positive = 0.025  # as above; SPOS: 0.5 at batch 1024
    final_learning_rate: ZeroOrMore = 0.001  # as above; SPOS: 0
    momentum: ShareBelowOne = 0.9  # both
    nesterov: bool = True  # AutoDL-Projects; SPOS: plain momentum
    weight_decay: ZeroOrMore = 5e-4  # AutoDL-Projects; SPOS: 4e-5
    clip: ZeroOrMore = 5.0  # AutoDL-Projects; SPOS: none (0)
    label_smoothing: ShareBelowOne = 0.0  # NAS-Bench-201 trains its ground truth without; SPOS: 0.1
    affine: bool = False  # released code of SPOS: no weight and bias in the supernet's batch norms
    augment: bool = True
    bn: tuple[BNMode, ...] = ("recalibrated", "batch")  # SPOS recalibrates; batch is what CLOSE's protocol uses
    scoring_batch: Count = 512  # our choice: large enough for batch statistics
    scoring_images: Count | None = None  # the whole held-out split: the authors of SPOS test all of it
    calibration_images: Count = 20480  # authors of SPOS: 20,000 images; 40 batches of 512
    calibration_batch: Count = 512
    precision: Precision = "float32"  # ours; half precision is an option for GPUs


SCORING_SETTINGS = ("bn", "scoring_batch", "scoring_images", "calibration_images", "calibration_batch")
SCORING_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "standard": {"scoring_images": 500, "calibration_images": 512, "scoring_batch": 500},
    "quick": {
        "bn": ("batch",),
        "scoring_batch": 128,
        "scoring_images": 512,
        "calibration_images": 256,
        "calibration_batch": 256,
    },
    "smoke": {
        "batch_size": 32,
        "bn": ("batch", "recalibrated", "inherited"),
        "scoring_batch": 32,
        "scoring_images": 64,
        "calibration_images": 64,
        "calibration_batch": 32,
    },
}
"""Values per preset that all one-shot estimators share, so that they are scored alike."""

NDS_RECIPE = {"batch_size": 128, "learning_rate": 0.05, "nesterov": False, "weight_decay": 5e-5, "clip": 0.0}
PUBLISHED_RECIPES: dict[str, dict[str, Any]] = {
    "paper:nasbench301": {"batch_size": 256, "learning_rate": 0.05, "nesterov": False},
    "paper:nds-resnet": NDS_RECIPE,
    "paper:nds-resnexta": {**NDS_RECIPE, "batch_size": 64},
}
"""How a plain supernet was trained on other spaces in "Evaluating Efficient Performance Estimators of Neural
Architectures" (arXiv:2008.03064, released configurations). Their schedule waits for a plateau; ours is the cosine.
"""


def one_shot_presets(**own: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the shared values per preset with a method's own over them."""
    return own | {name: {**shared, **own.get(name, {})} for name, shared in SCORING_PRESETS.items()}


class OneShot(Estimator):
    """Trains one weight-sharing supernet and scores its paths."""

    scoring_settings: ClassVar[tuple[str, ...]] = SCORING_SETTINGS
    state: ClassVar[tuple[str, ...]] = ("supernet", "loop", "augmentation", "scorer")
    passes_per_image: ClassVar[float] = 1.0
    """What a step costs per image of its batch, in passes forward and backward (a forward alone is a third)."""
    config: Any
    supernet: Supernet
    loop: TrainingLoop
    scorer: PathScorer

    def score_columns(self) -> tuple[str, ...]:
        return self.scoring().columns()

    def scoring(self) -> Scoring:
        """Return how paths are scored."""
        c = self.config
        return Scoring(c.bn, c.scoring_batch, c.scoring_images, c.calibration_images, c.calibration_batch, c.precision)

    def optimisation(self) -> Optimisation:
        """Return how the supernet is trained."""
        c = self.config
        return Optimisation(
            c.batch_size, c.learning_rate, c.final_learning_rate, c.momentum, c.nesterov, c.weight_decay, c.clip,
            precision=c.precision,
        )  # fmt: skip

    def start(self, problem: Problem) -> None:
        super().start(problem)
        self.supernet = self.build(problem)
        self.augmentation = torch_stream(problem.seed, "augmentation", problem.device)
        self.loop = TrainingLoop(
            self.parameters(), problem, self.objective, self.optimisation(), passes_per_image=self.passes_per_image
        )
        self.scorer = PathScorer(self.supernet, problem, self.scoring())

    def build(self, problem: Problem) -> Supernet:
        """Return a supernet with initial weights that the problem's seed decides."""
        with seeded_weights(problem.seed):
            return problem.space.supernet(problem.network, affine=self.config.affine).to(problem.device)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return what the training loop updates."""
        return self.supernet.parameters()

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.supernet,)

    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of one mini-batch, or of this process's share: see `training.loop.Objective`."""
        raise NotImplementedError

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return this process's share of images as the supernet takes them in training: augmented and normalised."""
        train = self.problem.train
        if self.config.augment:
            images = augment(images, train.augmentation, self.augmentation, train.mean)
        return normalise(self.problem.processes.share(images), train.mean, train.std)

    def train(self, budget: Budget, monitor: Monitor) -> None:
        self.supernet.train()
        self.loop.run(self, self.loop.steps(budget.passes), monitor)

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        self.problem  # noqa: B018 - raises NotFitted
        return self.scorer.score(architectures)

    def cost(self) -> dict[str, float]:
        self.problem  # noqa: B018 - raises NotFitted
        return {
            "train_images": self.loop.images_seen,
            "score_images": self.scorer.images_scored,
            "supernet_parameters": sum(p.numel() for p in self.supernet.parameters()),
        }

    def diagnostics(self) -> dict[str, Any]:
        return {"steps": self.loop.step}
