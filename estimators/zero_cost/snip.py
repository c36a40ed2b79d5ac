"""snip: how much the loss depends on each weight (Lee et al., ICLR 2019), summed (Abdelfattah et al., ICLR 2021)."""

from __future__ import annotations

import torch

from supertau.estimators.zero_cost.probe import Path, Probe, TensorsConfig


class Snip(Probe):
    """Sum of |w dL/dw|, L the cross-entropy on one batch.

    Lee et al. draw weights by variance scaling, divide by that sum, and rank the weights of one network; here, as in
    Abdelfattah et al., the sum is the score and weights are initialised as the space does. At least 0: a network whose
    output does not depend on its input has 0, which counts as undefined. (Not so with tensors='all': see grad_norm.)
    """

    Config = TensorsConfig
    title = "snip"
    source = "Lee et al., ICLR 2019, arXiv:1810.02340; Abdelfattah et al., ICLR 2021, arXiv:2101.08134"
    config: TensorsConfig

    def measure(self, path: Path) -> float | None:
        """Return the summed sensitivity of the loss to removing a weight."""
        gradients = path.loss_gradients(self.images, self.labels, self.config.tensors)
        sums = [(weight * gradient).abs().sum() for weight, gradient in gradients]
        return torch.stack(sums).double().sum().item() or None
