"""What the zero-cost measures share: one batch, freshly initialised networks, a floor for what has no value.

Weights are as the space initialises them, which is what the code of Abdelfattah et al. and of Mellor et al. does
(PyTorch's defaults on NAS-Bench-201). Batch norms are affine and use the statistics of the batch. Only what a path
uses counts. Operations that lead nowhere are not computed by the networks of this suite; the benchmark's own networks
compute them, which adds their ReLUs to the published naswot and changes none of the other measures.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from supertau.estimators.baselines import hashed
from supertau.estimators.estimator import Estimator, Floats
from supertau.estimators.problem import Problem
from supertau.estimators.settings import Range, Settings
from supertau.estimators.training.augmentation import normalise
from supertau.estimators.training.generators import numpy_stream, seeded_weights
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture

Initialisation = Literal["space", "kaiming_normal"]
Tensors = Literal["weights", "all"]
Batch = Annotated[int, Range(at_least=2)]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class ProbeConfig(Settings):
    """Settings that all measures share.

    batch: training images, drawn once per run, no image twice. shared_init: every architecture is a path of one random
    supernet; with False, and always in a space of sliced kernels, each stand-alone network is initialised by itself.
    init: 'space', or 'kaiming_normal' (fan-in, biases zero) for convolutions and linear layers.
    """

    batch: Batch = 64  # Abdelfattah et al. 2021, NAS-Bench-201 experiments
    shared_init: bool = True  # ours, for time; a path's weights have the distribution of a stand-alone network's
    init: Initialisation = "space"  # code of Abdelfattah et al. and of Mellor et al.


@dataclass(frozen=True)
class TensorsConfig(ProbeConfig):
    """tensors: 'weights' counts convolution and linear weights; 'all' also biases and batch norms on the path."""

    tensors: Tensors = "weights"  # code of Abdelfattah et al. 2021; their text speaks of all parameters


@dataclass(frozen=True)
class Path:
    """One architecture's untrained network: images (B, C, S, S) -> logits (B, classes), and its parameters."""

    run: Callable[[torch.Tensor], torch.Tensor]
    parameters: list[nn.Parameter]

    def gradients(self, value: torch.Tensor, which: Tensors) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the counted parameters with the gradient of a value, leaving out those it does not depend on."""
        counted = [p for p in self.parameters if which == "all" or p.ndim > 1]
        gradients = torch.autograd.grad(value, counted, allow_unused=True)
        return [(p.detach(), g) for p, g in zip(counted, gradients, strict=True) if g is not None]

    def loss_gradients(
        self, images: torch.Tensor, labels: torch.Tensor, which: Tensors
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the counted parameters with the gradient of the batch's mean cross-entropy."""
        return self.gradients(F.cross_entropy(self.run(images), labels), which)


class Probe(Estimator):
    """Base of the measures: draws the batch, initialises networks, measures each architecture by itself.

    An architecture for which a measure is undefined (without a path from input to output, for example) gets `floor()`,
    the least possible value; `diagnostics` counts such architectures.
    """

    trains = False
    role = "zero_cost"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"quick": {"batch": 16}, "smoke": {"batch": 8}}
    state: ClassVar[tuple[str, ...]] = ("scored", "undefined")  # counters: weights and images follow from the seed

    def start(self, problem: Problem) -> None:
        """Draw the batch and, with shared_init, initialise the supernet: both seeded by the problem."""
        super().start(problem)
        self.images, self.labels = draw(problem, self.config.batch)
        self.supernet = None
        if self.config.shared_init and not problem.space.is_sliced:
            space, size = problem.space, problem.network
            self.supernet = self._initialise(lambda: space.supernet(size, affine=True), problem.seed)
        self.scored = self.undefined = 0

    @abstractmethod
    def measure(self, path: Path) -> float | None:
        """Return the measure of one network, or None where it is not defined."""

    def floor(self) -> float:
        """Return the least value the measure can take."""
        return 0.0

    def prepare(self, network: nn.Module) -> None:
        """Change a new network before it is measured."""
        batch_statistics(network)

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return the measure (N,), finite; raise SupertauError naming an architecture whose value overflows."""
        space, scores = self.problem.space, []
        for architecture in architectures:
            space.check(architecture)
            value = self.measure(self._path(architecture))
            if value is None:
                self.undefined += 1
                value = self.floor()
            if not math.isfinite(value):
                raise SupertauError(
                    f"{type(self).__name__} of {space.format(architecture)} is {value}: the network overflows at this "
                    "initialisation. Try init='kaiming_normal' or a smaller network."
                )
            scores.append(value)
        self.scored += len(scores)
        return {"score": np.array(scores, dtype=np.float64)}

    def cost(self) -> dict[str, float]:
        """Return what was used: images run forward and, except for naswot, backward. Nothing is trained or kept."""
        self.problem  # noqa: B018 - raises NotFitted
        return {"train_images": 0, "score_images": self.scored * len(self.images), "supernet_parameters": 0}

    def diagnostics(self) -> dict[str, Any]:
        """Return the size of the batch, how many architectures were measured and how many have the floor's value."""
        self.problem  # noqa: B018 - raises NotFitted
        return {"batch": len(self.images), "scored": self.scored, "undefined": self.undefined, "floor": self.floor()}

    def _path(self, architecture: Architecture) -> Path:
        supernet = self.supernet
        if supernet is not None:
            return Path(lambda images: supernet(images, architecture), supernet.path_parameters(architecture))
        space, problem = self.problem.space, self.problem
        seed = hashed("weights", problem.seed, tuple(map(int, architecture)))
        network = self._initialise(lambda: space.network(architecture, problem.network), seed)
        return Path(network, list(network.parameters()))

    def _initialise(self, make: Callable[[], Network], seed: int) -> Network:
        with seeded_weights(seed):
            network = make()
            if self.config.init == "kaiming_normal":
                kaiming(network)
        network.to(self.problem.device).train()
        self.prepare(network)
        return network


def draw(problem: Problem, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a seeded batch of normalised training images, not augmented, with labels; all of them if there are fewer.

    No image comes twice: copies would make the matrices of jacob_cov and naswot singular for every architecture.
    """
    train = problem.train
    order = torch.from_numpy(numpy_stream(problem.seed, "batch").permutation(len(train))[: 4 * batch])
    pixels = train.images[order.to(train.images.device)].flatten(1).cpu().numpy()
    _, first = np.unique(pixels, axis=0, return_index=True)
    if len(first) < 2:
        raise SupertauError(f"images '{train.name}': a zero-cost measure needs at least 2 different training images.")
    chosen = train.subset(order[np.sort(first)[:batch]]).to(problem.device)
    return normalise(chosen.images, chosen.mean, chosen.std), chosen.labels


def batch_statistics(network: nn.Module) -> None:
    """Make batch norms use the batch's statistics and keep no others, so that measuring changes no state."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None


def kaiming(network: nn.Module) -> None:
    """Draw weights by Kaiming's normal rule for ReLU, fan-in; biases of convolutions and linear layers become zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
