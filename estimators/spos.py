"""SPOS: single path one-shot (Guo et al., ECCV 2020, arXiv:1904.00420).

    repeat: draw one architecture uniformly, one mini-batch; run that path only; one step of SGD
    score:  accuracy of the path on held-out images, its batch norms recalibrated on training images

The paper trains a ShuffleNet supernet on ImageNet. Where this file differs, the reason stands beside the setting. The
code samples by bins of FLOPs, which is for mobile constraints and has no use here; the optimiser is the one that the
one-shot baselines of NAS-Bench-201 use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional

from supertau.estimators.one_shot import PUBLISHED_RECIPES, OneShot, OneShotConfig, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.training.generators import numpy_stream
from supertau.estimators.training.sampling import PathSampler, Sampling


@dataclass(frozen=True)
class SPOSConfig(OneShotConfig):
    """Settings of SPOS; the defaults are those of the `paper` preset."""

    sampling: Sampling = "space"  # arXiv:1904.00420 section 3: uniform


class SPOS(OneShot):
    """Uniform single-path training of a weight-sharing supernet."""

    Config = SPOSConfig
    title = "SPOS"
    source = "Guo et al., ECCV 2020, arXiv:1904.00420"
    on_several_devices = True
    presets = one_shot_presets(
        quick={"learning_rate": 0.1},  # ours, chosen by the tau of two seeds on digits, so with ground truth
        **PUBLISHED_RECIPES,
    )
    state: ClassVar[tuple[str, ...]] = (*OneShot.state, "sampler")
    config: SPOSConfig

    def start(self, problem: Problem) -> None:
        super().start(problem)
        self.sampler = PathSampler(problem.space, self.config.sampling, numpy_stream(problem.seed, "paths"))

    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of one uniformly drawn path on one mini-batch."""
        logits = self.supernet(self.inputs(images), self.sampler())
        return functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)

    def diagnostics(self) -> dict[str, Any]:
        steps = self.loop.step
        return {"steps": steps, "updates_per_architecture": steps / self.problem.space.size}
