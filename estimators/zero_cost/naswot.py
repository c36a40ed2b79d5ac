"""naswot: how well the ReLUs of an untrained network tell images apart (Mellor et al., ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from supertau.estimators.zero_cost.probe import Batch, Path, Probe, ProbeConfig


@dataclass(frozen=True)
class NaswotConfig(ProbeConfig):
    """The settings of every measure, with another batch."""

    batch: Batch = 128  # Mellor et al., ICML 2021, section 4


class Naswot(Probe):
    """log|det K|, K_ij = the number of ReLU units on whose activity images i and j agree.

    As in their code K sums over every ReLU that runs, one per convolution: edges that leave the same node have equal
    codes, and each counts. Their code skips ReLUs that no gradient reaches; here these do not run at all. At least 0:
    an integer matrix has an integer determinant, so |det K| is 1 or more unless K is singular (two images with the same
    codes; the published score is then minus infinity). Such an architecture is undefined and gets 0.
    """

    Config = NaswotConfig
    title = "naswot"
    source = "Mellor et al., ICML 2021, arXiv:2006.04647v3"
    config: NaswotConfig

    def prepare(self, network: nn.Module) -> None:
        """Compare the activity of every ReLU."""
        super().prepare(network)
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(self._compare)

    def measure(self, path: Path) -> float | None:
        """Return the log determinant of the agreements."""
        self._agreement = torch.zeros(len(self.images), len(self.images), dtype=torch.float64)
        with torch.no_grad():
            path.run(self.images)
        eigenvalues = torch.linalg.eigvalsh(self._agreement)
        rounding = len(eigenvalues) * torch.finfo(torch.float64).eps * eigenvalues[-1]
        return eigenvalues.log().sum().item() if eigenvalues[0] > rounding else None

    def _compare(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        signs = (output > 0).flatten(1).float().mul_(2).sub_(1)
        # A product of signs is agreements less disagreements; exact in single precision below 2**24 units.
        self._agreement += ((signs @ signs.T).cpu().double() + signs.shape[1]) / 2
