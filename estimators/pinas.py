"""Pi-NAS: cross-path contrastive training, then a linear probe (Peng et al., ICCV 2021, arXiv:2108.09671).

    repeat: draw paths A and B that differ in every decision; four random views v1..v4 of each image
            qA = student(v1, A); the teacher's modules on A follow the student's; kA = teacher(v2, A)
            qB = student(v3, B); the teacher's modules on B follow the student's; kB = teacher(v4, B)
            loss = InfoNCE(qA, kB | queue) + InfoNCE(qB, kA | queue); (kA + kB) / 2 enters the queue; one step of SGD
    probe:  one linear classifier on the frozen student's features, a uniform path per step, with labels
    score:  accuracy of the path on held-out images with that classifier

Embeddings are the unit-length outputs of a projector on the features that enter the supernet's classifier. Only the
probe uses labels. The procedure is that of the released code; sizes are scaled to small images, with the reason beside
each setting. ShuffleBN is left out: batch norms see the whole batch, and permuting it changes none of its statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from supertau.estimators.components.info_nce import info_nce
from supertau.estimators.components.linear_probe import LastStep, LinearProbe
from supertau.estimators.components.nearest_neighbours import nearest_neighbours
from supertau.estimators.estimator import Budget, Floats, Monitor
from supertau.estimators.one_shot import OneShot, OneShotConfig, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.settings import Count, Positive, Range, Share, ZeroOrMore
from supertau.estimators.training.augmentation import Distortion, distort, normalise
from supertau.estimators.training.batch_norm import BatchStatistics, evaluating, ruled
from supertau.estimators.training.generators import STREAMS, numpy_stream, seeded_weights, torch_stream
from supertau.estimators.training.loop import Optimisation
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture
from supertau.search_spaces.supernet import Supernet

Positives = Literal["cross", "same"]
"""Which key attracts a query. cross: the other path's, as published. same: its own path's (ablation)."""
ViewKind = Literal["ours", "paper"]
"""How strongly views are distorted. ours: hue .1, no blur, for small images. paper: hue .4 and blur."""
Secondary = Literal["neg_contrastive", "knn"]
"""Further score columns. neg_contrastive: the negative contrastive loss with fixed partners on held-out images.
knn: accuracy (percent) of a nearest-neighbour classifier on the student's features. Both use batch statistics."""

STEP, PROBE_STEP = 8, 1
"""Cost of a step per image of its batch, in thirds of a pass (forward and backward are a pass, forward alone a third):
two paths of the student forward and backward and two of the teacher forward; one path forward."""


@dataclass(frozen=True)
class PiNASConfig(OneShotConfig):
    """Settings of Pi-NAS; the defaults are those of the `paper` preset.

    "Authors" are the released configurations (ImageNet, 224 pixels); "MoCo on CIFAR" is the usual demonstration of MoCo
    on 32 pixels.
    """

    batch_size: Count = 256  # ours, for the rate below; authors: 192
    learning_rate: Positive = 0.03  # authors, at 192
    final_learning_rate: ZeroOrMore = 0.0  # authors
    nesterov: bool = False  # authors
    weight_decay: ZeroOrMore = 5e-4  # MoCo on CIFAR; authors: 1e-4
    clip: ZeroOrMore = 0.0  # authors: none
    embedding: Count = 128  # authors: outputs of the projector
    queue: Count = 4096  # MoCo on CIFAR; authors: 49152, more than CIFAR's training images
    temperature: Positive = 0.2  # authors
    # Authors; 0: the student's own weights. MoCo on CIFAR has 0.99, but with that the embeddings of CIFAR at 16 pixels
    # (C=8, N=1) become alike within 500 steps, with 0.999 they separate: chosen by the contrastive loss alone
    teacher_momentum: Share = 0.999
    positives: Positives = "cross"  # authors
    negatives: bool = True  # authors; False: no queue, only attraction (ablation; collapse is expected)
    views: Literal[2, 4] = 4  # authors; 2: both paths see one view for queries and one for keys (ablation)
    distortion: ViewKind = "ours"  # ours for small images; authors: "paper"
    # Authors: least share of the area that a view keeps. The probe uses it too; that of the authors' probe is unknown
    crop: Annotated[float, Range(above=0, at_most=1)] = 0.2
    jitter: Annotated[float, Range(at_least=0)] = (
        0.4  # authors: largest relative change of brightness, contrast and saturation
    )
    supervised: bool = False  # our own variant, not the paper's: CE(A) + CE(B) + 0.5 L, with labels
    # 50 epochs forward of SPOS's 250; authors: 100 epochs of each phase, which is 1/9
    probe_share: Annotated[float, Range(above=0, below=1)] = 1 / 15
    probe_batch: Count = 256  # authors
    probe_learning_rates: tuple[Positive, ...] = (0.1, 1.0, 10.0, 30.0)  # ours: authors' 30 belongs to 2048 features
    probe_architectures: Count = 50  # ours: random architectures whose mean accuracy decides between those rates
    secondary: tuple[Secondary, ...] = ()  # authors rank by accuracy alone
    partners: Count = 4  # ours: partners of an architecture in neg_contrastive; authors' code: one, random
    neighbours: Count = 200  # Wu et al. 2018 (arXiv:1805.01978); at most as many as images vote

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queue % self.batch_size:
            raise SupertauError(
                f"queue must be a multiple of the batch size {self.batch_size}, as every step replaces one batch of "
                f"keys, got {self.queue}."
            )
        for name in ("probe_learning_rates", "secondary"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise SupertauError(f"{name} must be distinct, got {values}.")
        if not self.probe_learning_rates:
            raise SupertauError("probe_learning_rates must be one or more numbers, got none.")


class PiNAS(OneShot):
    """Cross-path learning with a mean teacher, a linear probe, and accuracy of the student as score.

    `score` uses the supernet's classifier, which has its initial weights until the last step of the probe replaces it
    by the chosen one (with `supervised`: the weights trained so far). During training only `secondary` scores are
    informative. The learning rate reported during the probe is the common factor of all candidates' rates.
    """

    Config = PiNASConfig
    title = "Pi-NAS"
    source = "Peng et al., ICCV 2021, arXiv:2108.09671"
    on_several_devices = True
    presets = one_shot_presets(
        # Ours, chosen by the contrastive loss on digits: with the default views it stays at chance (a fifth of 8x8
        # pixels shows no digit, and brightness distinguishes grey images better than shape), with these below .8 of it.
        quick={
            "batch_size": 64,
            "queue": 256,
            "teacher_momentum": 0.996,
            "crop": 0.7,
            "jitter": 0.1,
            "probe_batch": 64,
            "probe_architectures": 10,
        },
        smoke={"batch_size": 8, "queue": 64, "probe_batch": 16, "probe_architectures": 3, "partners": 2},
    )
    # The probe's learning rate is chosen by scores, so training depends on how paths are scored, except for these.
    scoring_settings: ClassVar[tuple[str, ...]] = ("secondary", "partners", "neighbours")
    state: ClassVar[tuple[str, ...]] = (
        *OneShot.state, "projector", "teacher", "teacher_projector", "queue", "pointer", "pairs", "probe", "last",
    )  # fmt: skip
    passes_per_image = STEP / 3
    config: PiNASConfig
    projector: nn.Sequential

    def score_columns(self) -> tuple[str, ...]:
        return (*super().score_columns(), *self.config.secondary)

    def optimisation(self) -> Optimisation:
        """Return SGD that skips parameters without a gradient and those whose gradient is zero, as the authors do."""
        return replace(super().optimisation(), skip_zero_gradients=True)

    def build(self, problem: Problem) -> Supernet:
        """Return the student's supernet, and build its projector with the same seed."""
        with seeded_weights(problem.seed):
            supernet = problem.space.supernet(problem.network, affine=self.config.affine)
            width = supernet.classifier.in_features
            projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.config.embedding))
        self.projector = projector.to(problem.device)
        return supernet.to(problem.device)

    def start(self, problem: Problem) -> None:
        c = self.config
        super().start(problem)
        if c.queue > len(problem.train):
            raise SupertauError(
                f"a queue of {c.queue} keys holds some of the {len(problem.train)} training images twice, as negatives "
                "of themselves: choose a smaller queue."
            )
        student = [*self.supernet.modules(), *self.projector.modules()]
        self.teacher, self.teacher_projector = copy.deepcopy((self.supernet, self.projector))
        teacher = [*self.teacher.modules(), *self.teacher_projector.modules()]
        self._teacher_of = dict(zip(student, teacher, strict=True))
        self.pairs = numpy_stream(problem.seed, "paths")
        initial = torch_stream(problem.seed, "weights")
        self.queue = functional.normalize(torch.randn(c.queue, c.embedding, generator=initial)).to(problem.device)
        self.pointer = 0
        self.last = torch.zeros(2, device=problem.device)  # loss and similarity of the last contrastive step
        self.probe = LinearProbe(
            problem, self.supernet, self.cropped, initial, self.scoring(),
            batch_size=c.probe_batch, learning_rates=c.probe_learning_rates, architectures=c.probe_architectures,
            label_smoothing=c.label_smoothing, precision=c.precision,
        )  # fmt: skip

    def parameters(self) -> Iterable[nn.Parameter]:
        return [*self.supernet.parameters(), *self.projector.parameters()]

    def networks(self) -> tuple[nn.Module, ...]:
        return self.supernet, self.teacher

    def steps(self, passes: int) -> tuple[int, int]:
        """Return how many steps of contrastive training and of the probe fit into a number of passes."""
        contrastive = int(3 * passes * (1 - self.config.probe_share)) // (STEP * self.config.batch_size)
        left = 3 * passes - STEP * self.config.batch_size * contrastive
        return contrastive, left // (PROBE_STEP * self.config.probe_batch)

    def train(self, budget: Budget, monitor: Monitor) -> None:
        self.supernet.train()
        self.teacher.train()
        contrastive, probe = self.steps(budget.passes)
        if contrastive and not probe:
            raise SupertauError(
                f"a budget of {budget.passes} passes leaves no step for the linear probe: "
                "choose a smaller probe_batch or a larger probe_share."
            )
        overall, choosing = contrastive + probe, LastStep(monitor, self.probe.choose)
        self.loop.run(self, contrastive, monitor, overall=overall)
        self.probe.loop.run(self, probe, choosing, before=contrastive, overall=overall)

    # --- contrastive training ---------------------------------------------------------------------------------------
    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of two disjoint paths; update the teacher and the queue."""
        one, two = self.problem.space.disjoint_pair(self.pairs)
        processes = self.problem.processes
        v1, v2, v3, v4 = map(processes.share, self.views(images, self.augmentation))
        features_one, query_one, key_one = self.run_path(one, v1, v2)
        features_two, query_two, key_two = self.run_path(two, v3, v4)
        loss, similarity = self.contrast((query_one, query_two), (key_one, key_two))
        self.last = processes.mean(torch.stack([loss, similarity]))
        self.enqueue(processes.gather((key_one + key_two) / 2))
        if self.config.supervised:
            loss = 0.5 * loss
            for features in (features_one, features_two):
                logits = self.supernet.classifier(features)
                loss = loss + functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        return loss

    def views(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Return v1 to v4 of uint8 images as a network's input: v1, v3 for the student, v2, v4 for the teacher.

        An image set that is not mirrored in training (digits) is not mirrored here either.
        """
        c, train, paper = self.config, self.problem.train, self.config.distortion == "paper"
        distortion = Distortion(
            scale=(c.crop, 1.0), flip=train.augmentation.flip,
            brightness=c.jitter, contrast=c.jitter, saturation=c.jitter, hue=0.4 if paper else 0.1, jitter=0.8,
            grey=0.2, blur=0.5 if paper else 0.0, sigma=(0.1, 2.0),
        )  # fmt: skip
        made = images.repeat(c.views, 1, 1, 1)
        if c.augment:
            made = distort(made, distortion, generator)
        return normalise(made, train.mean, train.std).split(len(images)) * (4 // c.views)

    def run_path(
        self, architecture: Architecture, student_view: torch.Tensor, teacher_view: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the student's features and queries, and the keys of the teacher after it followed on this path."""
        features = self.supernet.features(student_view, architecture)
        queries = functional.normalize(self.projector(features))
        self.follow(architecture)
        return features, queries, self.keys(teacher_view, architecture)

    @torch.no_grad()
    def follow(self, architecture: Architecture) -> None:
        """Move the teacher's parameters (no buffers) on one path and in the projector: t <- m t + (1 - m) s.

        Modules of both paths (stem, head, projector) thus move twice in a step, modules of neither do not move. Sliced
        kernels are shared by two paths, and whole kernels move: the published method covers no such space.
        """
        path = (m for m in self.supernet.path_modules(architecture) if m is not self.supernet.classifier)
        for module in (*path, *self.projector):
            followers = self._teacher_of[module].parameters(recurse=False)
            for t, s in zip(followers, module.parameters(recurse=False), strict=True):
                t.lerp_(s, 1 - self.config.teacher_momentum)

    def queries(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Return the student's embeddings, (B, E), of unit length."""
        return functional.normalize(self.projector(self.supernet.features(images, architecture)))

    @torch.no_grad()
    def keys(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Return the teacher's embeddings, (B, E), of unit length."""
        return functional.normalize(self.teacher_projector(self.teacher.features(images, architecture)))

    def contrast(
        self, queries: tuple[torch.Tensor, torch.Tensor], keys: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of both paths' losses against the present queue, and the mean similarity of the positives."""
        c = self.config
        queue = self.queue if c.negatives else None
        matched = list(zip(queries, keys[::-1] if c.positives == "cross" else keys, strict=True))
        one, two = (info_nce(q, k, queue, c.temperature) for q, k in matched)
        similarity = torch.stack([(q.detach() * k).sum(1) for q, k in matched]).mean()
        return one + two, similarity

    def enqueue(self, keys: torch.Tensor) -> None:
        """Replace the oldest keys by one per image: the mean of both paths' keys, not normalised again."""
        queue = self.queue.clone()  # the backward pass of the loss needs the present one
        queue[self.pointer : self.pointer + len(keys)] = keys
        self.queue, self.pointer = queue, (self.pointer + len(keys)) % len(queue)

    def cropped(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 images as the probe's input: random resized crop and, where the set allows it, mirrored."""
        c, train = self.config, self.problem.train
        if c.augment:
            images = distort(images, Distortion((c.crop, 1.0), train.augmentation.flip), self.augmentation)
        return normalise(self.problem.processes.share(images), train.mean, train.std)

    # --- scores -----------------------------------------------------------------------------------------------------
    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        columns = super().score(architectures)
        secondary = {"neg_contrastive": self.neg_contrastive, "knn": self.knn}
        return {**columns, **{name: secondary[name](architectures) for name in self.config.secondary}}

    def knn(self, architectures: Sequence[Architecture]) -> Floats:
        """Return the accuracy of a nearest-neighbour classifier on the student's features."""
        c = self.config
        return nearest_neighbours(
            self.scorer, self.problem.train, architectures,
            neighbours=c.neighbours, images=c.calibration_images, batch_size=c.calibration_batch,
        )  # fmt: skip

    def neg_contrastive(self, architectures: Sequence[Architecture]) -> Floats:
        """Return minus the mean loss with each of an architecture's partners, on fixed views of the scoring images."""
        count, batches = sum(map(len, self.scorer.labels)), len(self.scorer.labels)
        generator = torch_stream(self.problem.seed, "batch", self.problem.device)
        sums, rule = np.zeros(len(architectures)), BatchStatistics()
        with (
            torch.inference_mode(),
            evaluating(self.supernet), evaluating(self.teacher), ruled(self.supernet, rule), ruled(self.teacher, rule),
        ):  # fmt: skip
            for images in self.problem.validation.images[:count].tensor_split(batches):
                v1, v2, v3, v4 = self.views(images, generator)
                rule.images = len(images)
                for row, architecture in enumerate(architectures):
                    query, key = self.queries(v1, architecture), self.keys(v2, architecture)
                    for partner in self.partners(architecture):
                        other_query, other_key = self.queries(v3, partner), self.keys(v4, partner)
                        loss, _ = self.contrast((query, other_query), (key, other_key))
                        sums[row] += loss.item() * len(images)
        partners = self.config.partners
        self.scorer.images_scored += 2 * (1 + partners) * count * len(architectures)
        return -sums / (count * partners)

    def partners(self, architecture: Architecture) -> list[Architecture]:
        """Return architectures that are disjoint from one; they depend on the seed and on that architecture alone."""
        rng = np.random.default_rng([self.problem.seed, STREAMS.index("search"), *architecture])
        return [self.problem.space.disjoint_partner(architecture, rng) for _ in range(self.config.partners)]

    # --- figures ----------------------------------------------------------------------------------------------------
    def cost(self) -> dict[str, float]:
        c = self.config
        thirds = STEP * c.batch_size * self.loop.step + PROBE_STEP * c.probe_batch * self.probe.loop.step
        scored = self.scorer.images_scored + self.probe.images_scored
        return {**super().cost(), "train_images": round(thirds / 3), "score_images": scored}

    def diagnostics(self) -> dict[str, Any]:
        """Return figures of the last contrastive step, the queue (norm 1: both teacher paths agree) and the probe."""
        loss, similarity = self.last.tolist()
        return {
            "steps": self.loop.step,
            "probe_steps": self.probe.loop.step,
            "passes": {"contrastive": self.loop.images_seen, "probe": self.probe.loop.images_seen},
            "updates_per_architecture": 2 * self.loop.step / self.problem.space.size,
            "contrastive_loss": loss,
            "positive_similarity": similarity,
            "queue_norm": self.queue.norm(dim=1).mean().item(),
            **self.probe.diagnostics(),
        }
