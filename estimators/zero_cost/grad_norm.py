"""grad_norm: the length of the gradient (Abdelfattah et al., ICLR 2021)."""

from __future__ import annotations

import torch

from supertau.estimators.zero_cost.probe import Path, Probe, TensorsConfig


class GradNorm(Probe):
    """Sum over tensors of the Euclidean norm of the gradient of the cross-entropy on one batch.

    At least 0: a network whose output does not depend on its input has 0, which counts as undefined. (With
    tensors='all' the classifier's bias still has a gradient there: a small value, and defined.)
    """

    Config = TensorsConfig
    title = "grad_norm"
    source = "Abdelfattah et al., ICLR 2021, arXiv:2101.08134"
    config: TensorsConfig

    def measure(self, path: Path) -> float | None:
        """Return the sum of norms."""
        gradients = path.loss_gradients(self.images, self.labels, self.config.tensors)
        norms = [torch.linalg.vector_norm(gradient) for _, gradient in gradients]
        return torch.stack(norms).double().sum().item() or None
