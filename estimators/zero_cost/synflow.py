"""synflow: the flow through the weights when all are positive (Tanaka et al., NeurIPS 2020), summed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from supertau.estimators.problem import Problem
from supertau.estimators.zero_cost.probe import Path, Probe, TensorsConfig, batch_statistics


@dataclass(frozen=True)
class SynflowConfig(TensorsConfig):
    """bn: keep batch norms, on the image's own statistics. log: weigh by log(1 + dR/dw) in place of dR/dw."""

    bn: bool = False  # Abdelfattah et al. 2021; True is the `synflow_bn` of their code
    log: bool = False  # True is LogSynflow: Cavagnero et al., FreeREA, WACV 2023, arXiv:2207.05135


class Synflow(Probe):
    """Sum of w dR/dw, where R sums the logits of one all-ones image under weights |w|. No data, no labels.

    As in Abdelfattah et al. there are no batch norms, which decides the ranking, and all is in double precision: the
    flow multiplies from layer to layer. Tanaka et al. keep batch norms in evaluation mode: on an untrained network that
    divides by sqrt(1 + 1e-5) at each. At least 0, the value without a path from input to output (only the classifier's
    bias then reaches the logits), which counts as undefined. `batch` has no effect.
    """

    Config = SynflowConfig
    title = "synflow"
    source = "Tanaka et al., NeurIPS 2020, arXiv:2006.05467; Abdelfattah et al., ICLR 2021, arXiv:2101.08134"
    config: SynflowConfig

    def start(self, problem: Problem) -> None:
        """Replace the batch by an all-ones image."""
        super().start(problem)
        # Batch norm refuses a single value per channel, as on a 1x1 map; a copy of the image leaves its statistics.
        copies = 2 if self.config.bn else 1
        size = problem.network.image_size
        shape = (copies, problem.network.image_channels, size, size)
        self.images = torch.ones(shape, dtype=torch.float64, device=problem.device)

    def prepare(self, network: nn.Module) -> None:
        """Make weights positive and double precision, and remove batch norms unless the setting `bn` keeps them."""
        if self.config.bn:
            batch_statistics(network)
        else:
            remove_batch_norms(network)
        network.double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.abs_()

    def measure(self, path: Path) -> float | None:
        """Return the summed synaptic flow."""
        flow = path.run(self.images).mean(0).sum()
        gradients = path.gradients(flow, self.config.tensors)
        if self.config.log:
            gradients = [(weight, torch.log1p(gradient.abs())) for weight, gradient in gradients]
        return torch.stack([(weight * gradient).abs().sum() for weight, gradient in gradients]).sum().item() or None


def remove_batch_norms(network: nn.Module) -> None:
    """Replace batch norms by identities."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
