"""Stand-alone training: one architecture, its own weights, one documented recipe."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from supertau.benchmarks.images import load_problem_images
from supertau.estimators.estimator import Diverged
from supertau.estimators.problem import ImageSet, Problem
from supertau.estimators.training.augmentation import augment, normalise
from supertau.estimators.training.generators import seeded_weights, torch_stream
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.search_spaces.errors import unknown
from supertau.search_spaces.layers import torchs_own
from supertau.search_spaces.space import Architecture, SearchSpace

EVALUATED = 512
"""Images run together when the accuracy is measured."""


@dataclass(frozen=True)
class Recipe:
    """How networks are trained alone.

    images, image_size, train, validation: as in a preset of runs. channels, cells: size of the networks; max_macs: only
    architectures of at most so many multiply-accumulates at that size, None for all. The rest is stochastic gradient
    descent with Nesterov momentum and a cosine from learning_rate to 0; clip bounds the norm of the gradient, and
    augment applies what is usual for the images.
    """

    name: str
    images: str = "digits"
    image_size: int = 8
    train: int | None = None
    validation: int | None = None
    channels: int = 4
    cells: int = 1
    max_macs: int | None = None
    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float = 5.0
    augment: bool = True

    def describe(self) -> str:
        """Return the recipe in a few words, for captions."""
        return (
            f"{self.name} scale: {self.images} at {self.image_size}x{self.image_size}, C={self.channels}, "
            f"N={self.cells}, {self.epochs} epochs"
            + (f", of networks of at most {self.max_macs:,} MACs" if self.max_macs else "")
        )


RECIPES = {recipe.name: recipe for recipe in (Recipe("micro"),)}
SMALLER: dict[tuple[str, str], dict[str, Any]] = {
    ("micro", "nasbench301"): {"epochs": 2},
    ("micro", "nds-resnet"): {"channels": 2, "max_macs": 350_000},
    ("micro", "nds-resnexta"): {"channels": 2, "max_macs": 65_000},
}
"""What a recipe is on some spaces. Of NDS, with up to 72 blocks in a network, about the smallest fifth and third. After
five epochs nearly all DARTS cells read digits so well that two trainings agree with tau .30 only."""


def get_recipe(name: str, space: str, *, called: str | None = None, **changes: Any) -> Recipe:
    """Return a recipe for a space, with changes of its fields; those that are None change nothing.

    called: the name of the result; a changed recipe is called 'NAME-changed' when it is None. Raises UnknownName, with
    the nearest match, for a recipe that is not there.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    recipe = replace(RECIPES[name], **SMALLER.get((name, space), {}))
    changed = replace(recipe, **{key: value for key, value in changes.items() if value is not None})
    return replace(changed, name=called or (name if changed == recipe else f"{name}-changed"))


@dataclass(frozen=True)
class Trained:
    """How one training ended. accuracy: percent of the held-out images; failed: why, where it did; seconds: it took."""

    accuracy: float
    seconds: float
    failed: str = ""


@cache
def images_of(recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """Return the images to train on and those that accuracy is measured on."""
    return load_problem_images(recipe.images, size=recipe.image_size, train=recipe.train, validation=recipe.validation)


def train_alone(space: SearchSpace, architecture: Architecture, recipe: Recipe, seed: int) -> Trained:
    """Train an architecture from scratch and measure it.

    The seed decides initial weights, order of images and augmentation. A training that diverges counts with the
    accuracy of a guess, and says so.
    """
    began = time.monotonic()
    train, validation = images_of(recipe)
    size = train.network(recipe.channels, recipe.cells)
    with seeded_weights(seed):
        network = space.network(architecture, size).train()
    generator = torch_stream(seed, "augmentation")

    def objective(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if recipe.augment:
            images = augment(images, train.augmentation, generator, train.mean)
        return functional.cross_entropy(network(normalise(images, train.mean, train.std)), labels)

    optimisation = Optimisation(
        recipe.batch_size,
        recipe.learning_rate,
        0.0,
        recipe.momentum,
        True,
        recipe.weight_decay,
        recipe.clip,
        fused=False,
    )
    loop = TrainingLoop(network.parameters(), Problem(space, size, train, validation, seed), objective, optimisation)
    with torchs_own():  # the packaged tables were made so, and anyone may check them
        try:
            loop.run(None, recipe.epochs * (len(train) // recipe.batch_size))
        except Diverged as error:
            return Trained(100 / train.classes, time.monotonic() - began, str(error))
        return Trained(accuracy(network, validation), time.monotonic() - began)


def accuracy(network: torch.nn.Module, images: ImageSet) -> float:
    """Return the share of images that a network classifies rightly, percent."""
    network.eval()
    right = 0
    with torch.inference_mode():
        for part, labels in zip(images.images.split(EVALUATED), images.labels.split(EVALUATED), strict=True):
            right += int((network(normalise(part, images.mean, images.std)).argmax(1) == labels).sum())
    return 100 * right / len(images)
