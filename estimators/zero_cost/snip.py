"""snip: what the loss loses with each weight (Lee et al., ICLR 2019), summed (Abdelfattah et al., ICLR 2021)."""

from __future__ import annotations

import torch

from supertau.estimators.zero_cost.probe import Path, Probe, TensorsConfig


class Snip(Probe):
    """Sum of |w dL/dw|, L the cross-entropy on one batch.

    Lee et al. divide by that sum, having drawn weights by variance scaling, and rank the weights of one network; here,
    as in Abdelfattah et al., the sum is the score and weights are as the space draws them. At least 0, which a network
    that does not see its input reaches; that counts as undefined. (Not so with tensors='all': see grad_norm.)
    """

    Config = TensorsConfig
    title = "snip"
    source = "Lee et al., ICLR 2019, arXiv:1810.02340; Abdelfattah et al., ICLR 2021, arXiv:2101.08134"
    config: TensorsConfig

    def measure(self, path: Path) -> float | None:
        """Return the summed sensitivity of the loss to removing a weight."""
        found = path.loss_gradients(self.images, self.labels, self.config.tensors)
        sums = [(weight * gradient).abs().sum() for weight, gradient in found]
        return torch.stack(sums).double().sum().item() or None
