"""jacob_cov: how differently an untrained network treats the images of a batch (Mellor et al., version 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from supertau.estimators.problem import Problem
from supertau.estimators.settings import Positive
from supertau.estimators.zero_cost.probe import Path, Probe, ProbeConfig


@dataclass(frozen=True)
class JacobCovConfig(ProbeConfig):
    """k: keeps logarithm and quotient finite."""

    k: Positive = 1e-5  # Mellor et al. v1. Their batch was 256; the default of 64 is that of Abdelfattah et al.


class JacobCov(Probe):
    """-sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlations of the images' Jacobians.

    The Jacobian of an image is the gradient of the sum of the batch's logits with respect to it. At most -B, about, for
    a batch of B images. Undefined where a Jacobian is constant (zero, without a path from input to output; the
    published codes give NaN); the floor is the value when all Jacobians are parallel.

    The batch is cut to half as many images as an image has values: B vectors of fewer than B values correlate for every
    architecture, and 1 / k then dominates the score. (32 images at 8x8 grey; the batch is among the diagnostics.)
    """

    Config = JacobCovConfig
    title = "jacob_cov"
    source = "Mellor et al., arXiv:2006.04647v1; Abdelfattah et al., ICLR 2021, arXiv:2101.08134"
    config: JacobCovConfig

    def start(self, problem: Problem) -> None:
        """Cut the batch to half as many images as an image has values."""
        super().start(problem)
        self.images = self.images[: max(2, self.images[0].numel() // 2)]

    def prepare(self, network: nn.Module) -> None:
        """Switch the gradients of weights off: only those of images are needed."""
        super().prepare(network)
        network.requires_grad_(False)

    def measure(self, path: Path) -> float | None:
        """Return the score of one batch of Jacobians."""
        images = self.images.detach().requires_grad_()
        logits = path.run(images)
        if not logits.requires_grad:  # no image reaches the logits
            return None
        (jacobian,) = torch.autograd.grad(logits.sum(), images)
        rows = jacobian.flatten(1).double()
        if (rows.amax(1) - rows.amin(1) <= 1e-6 * rows.abs().amax(1)).any():  # constant, up to single precision
            return None
        return self._spread(torch.linalg.eigvalsh(torch.corrcoef(rows)))

    def floor(self) -> float:
        """Return the value of a correlation matrix of ones."""
        eigenvalues = torch.zeros(len(self.images), dtype=torch.float64)
        eigenvalues[-1] = len(self.images)
        return self._spread(eigenvalues)

    def _spread(self, eigenvalues: torch.Tensor) -> float:
        shifted = eigenvalues + self.config.k
        return -(shifted.log() + 1 / shifted).sum().item()
