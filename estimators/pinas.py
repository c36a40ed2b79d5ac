"""Pi-NAS: cross-path contrastive training, then a linear probe (Peng et al., ICCV 2021, arXiv:2108.09671).

    repeat: draw paths A and B that differ in every decision; four random views v1..v4 of each image
            qA = student(v1, A); the teacher's modules on A follow the student's; kA = teacher(v2, A)
            qB = student(v3, B); the teacher's modules on B follow the student's; kB = teacher(v4, B)
            loss = InfoNCE(qA, kB | queue) + InfoNCE(qB, kA | queue); (kA + kB) / 2 enters the queue; one step of SGD
    probe:  one linear classifier on the frozen student's features, a uniform path per step, with labels
    score:  accuracy of the path on held-out images with that classifier

Embeddings are the unit-length outputs of a projector on the features that enter the supernet's classifier. Labels enter
in the probe only. The mechanics are those of the released code, the sizes are scaled to small images, with the reason
beside each field. ShuffleBN is left out: batch norms see the whole batch, and permuting it changes none of its
statistics.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from supertau.estimators.estimator import Budget, Diverged, Estimator, Floats, Monitor
from supertau.estimators.one_shot import OneShot, OneShotConfig, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.training.augmentation import Distortion, distort, normalise
from supertau.estimators.training.batch_norm import BatchStatistics, evaluating, ruled
from supertau.estimators.training.generators import (
    STREAMS,
    numpy_state,
    numpy_stream,
    seeded_weights,
    set_numpy_state,
    torch_stream,
)
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.sampling import PathSampler
from supertau.estimators.training.scoring import PathScorer, Scoring, even_batches
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.space import Architecture
from supertau.search_spaces.supernet import Supernet

Positives = Literal["cross", "same"]
"""Which keys a query is drawn to. cross: the other path's, as published. same: its own path's (ablation)."""
ViewKind = Literal["ours", "paper"]
"""How strongly views are distorted. ours: hue .1, no blur, for small images. paper: hue .4 and blur."""
Secondary = Literal["neg_contrastive", "knn"]
"""Further score columns. neg_contrastive: the negative contrastive loss with fixed partners on held-out images.
knn: accuracy (percent) of a nearest-neighbour classifier on the student's features. Both use batch statistics."""

NEIGHBOUR_TEMPERATURE = 0.07
"""Of the votes of nearest neighbours (Wu et al. 2018, arXiv:1805.01978)."""

STEP, PROBE_STEP = 8, 1
"""Thirds of a pass (a pass is forward and backward, a third forward only) that a step costs per image of its batch: two
paths of the student forward and backward and two of the teacher forward; one path forward."""


@dataclass(frozen=True)
class PiNASConfig(OneShotConfig):
    """Settings of Pi-NAS; the defaults are those of the `paper` preset.

    "Authors" are the released configurations (ImageNet, 224 pixels); "MoCo on CIFAR" is what public demonstrations of
    MoCo use on 32 pixels.
    """

    batch_size: int = 256  # ours, for the rate below; authors: 192
    learning_rate: float = 0.03  # authors, at 192
    final_learning_rate: float = 0.0  # authors
    nesterov: bool = False  # authors
    weight_decay: float = 5e-4  # MoCo on CIFAR; authors: 1e-4
    clip: float = 0.0  # authors: none
    embedding: int = 128  # authors: outputs of the projector
    queue: int = 4096  # MoCo on CIFAR; authors: 49152, more than CIFAR's training images
    temperature: float = 0.2  # authors
    # Authors; 0: the student's own weights. MoCo on CIFAR has 0.99, with which the embeddings of CIFAR at 16 pixels
    # (C=8, N=1) grow alike within 500 steps; with 0.999 they come apart: chosen by the contrastive loss alone
    teacher_momentum: float = 0.999
    positives: Positives = "cross"  # authors
    negatives: bool = True  # authors; False: no queue, only attraction (ablation; collapse is expected)
    views: Literal[2, 4] = 4  # authors; 2: both paths see one view for queries and one for keys (ablation)
    distortion: ViewKind = "ours"  # ours for small images; authors: "paper"
    crop: float = 0.2  # authors: least share of the area a view keeps; the probe has it too, theirs is not known to us
    jitter: float = 0.4  # authors: largest relative change of brightness, contrast and saturation
    supervised: bool = False  # our own variant, not the paper's: CE(A) + CE(B) + 0.5 L, with labels
    probe_share: float = 1 / 15  # 50 epochs forward of SPOS's 250; authors: 100 epochs of each phase, which is 1/9
    probe_batch: int = 256  # authors
    probe_learning_rates: tuple[float, ...] = (0.1, 1.0, 10.0, 30.0)  # ours: authors' 30 belongs to 2048 features
    probe_architectures: int = 50  # ours: random architectures whose mean accuracy decides between those rates
    secondary: tuple[Secondary, ...] = ()  # authors rank by accuracy alone
    partners: int = 4  # ours: partners of an architecture in neg_contrastive; authors' code: one, random
    neighbours: int = 200  # Wu et al. 2018 (arXiv:1805.01978); bounded by the images held

    def __post_init__(self) -> None:
        for name, allowed in (("positives", Positives), ("distortion", ViewKind)):
            if getattr(self, name) not in get_args(allowed):
                raise unknown(f"setting of {name}", getattr(self, name), get_args(allowed))
        for score in self.secondary:
            if score not in get_args(Secondary):
                raise unknown("secondary score", score, get_args(Secondary))
        rates, counts = self.probe_learning_rates, ("embedding", "probe_batch", "probe_architectures", "partners")
        expected = {
            "queue": (
                self.queue > 0 and self.queue % self.batch_size == 0,
                f"a multiple of the batch size {self.batch_size}, as every step replaces one batch of keys",
            ),
            "temperature": (self.temperature > 0, "a number above 0"),
            "teacher_momentum": (0 <= self.teacher_momentum <= 1, "a share from 0 to 1"),
            "views": (self.views in (2, 4), "4 (the method) or 2 (ablation)"),
            "crop": (0 < self.crop <= 1, "a share of the image's area, above 0 and up to 1"),
            "jitter": (self.jitter >= 0, "a relative change of at least 0"),
            "probe_share": (0 < self.probe_share < 1, "a share of the budget between 0 and 1"),
            "probe_learning_rates": (
                len(set(rates)) == len(rates) > 0 and all(0 < rate < math.inf for rate in rates),
                "one or more distinct numbers above 0",
            ),
            "secondary": (len(set(self.secondary)) == len(self.secondary), "distinct names"),
            **{name: (getattr(self, name) > 0, "at least 1") for name in (*counts, "neighbours")},
        }
        for name, (holds, wanted) in expected.items():
            if not holds:
                raise SupertauError(f"{name} is {getattr(self, name)}, expected {wanted}.")


def info_nce(queries: torch.Tensor, keys: torch.Tensor, queue: torch.Tensor | None, temperature: float) -> torch.Tensor:
    """Return the mean cross-entropy of telling each query's key from the queue, all of unit length.

    queries, keys: (B, E), row i of one belongs to row i of the other; queue: (K, E). Without a queue the cross-entropy
    has a single class and is 0 whatever the embeddings; what is left is its first term, the attraction -q.k / T.
    """
    positive = (queries * keys).sum(1, keepdim=True) / temperature
    if queue is None:
        return -positive.mean()
    logits = torch.cat([positive, queries @ queue.T / temperature], 1)
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


class LinearProbe:
    """One linear classifier per learning rate, all trained on the same features: those of one uniform path per step.

    Nothing of the backbone is trained; its batch norms are in training mode, so only their running statistics move.
    Features are not normalised. The classifier that is best on held-out images becomes the supernet's.

    inputs: makes a network's input of uint8 training images; initial: generator of the initial weights.
    """

    def __init__(
        self,
        problem: Problem,
        config: PiNASConfig,
        supernet: Supernet,
        scoring: Scoring,
        inputs: Callable[[torch.Tensor], torch.Tensor],
        initial: torch.Generator,
    ) -> None:
        self.problem, self.config, self.supernet, self.inputs = problem, config, supernet, inputs
        self.scoring = replace(scoring, bn=scoring.bn[:1])
        shape = supernet.classifier.weight.shape
        weight = 0.01 * torch.randn(shape, generator=initial)  # authors: N(0, 0.01)
        self.heads = nn.ModuleList(copy.deepcopy(supernet.classifier) for _ in config.probe_learning_rates)
        for parameter in self.heads.parameters():
            parameter.data.copy_(weight if parameter.shape == shape else torch.zeros(()))
        optimisation = Optimisation(
            config.probe_batch, 1.0, 1.0, momentum=0.9, nesterov=False, weight_decay=0.0, clip=0.0,  # authors
            precision=config.precision,
        )  # fmt: skip
        groups = [
            {"params": list(head.parameters()), "scale": rate}
            for head, rate in zip(self.heads, config.probe_learning_rates, strict=True)
        ]
        self.loop = TrainingLoop(
            groups, problem, self.objective, optimisation, passes_per_image=PROBE_STEP / 3, purpose="probe"
        )
        self.loop.schedule = self.rate
        self.sampler = PathSampler(problem.space, "space", numpy_stream(problem.seed, "probe"))
        self.accuracies: list[float | None] = []
        self.images_scored = 0

    @staticmethod
    def rate(step: int, total: int) -> float:
        """Return the factor of all learning rates: a tenth after 60% of the steps, a hundredth after 80%."""
        return 0.1 ** ((10 * step >= 6 * total) + (10 * step >= 8 * total))

    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of all candidates' cross-entropies, of which each moves its own candidate only.

        A candidate whose loss is no longer finite is left out: it has lost, the others go on.
        """
        with torch.no_grad():
            features = self.supernet.features(self.inputs(images), self.sampler())
        smoothing = self.config.label_smoothing
        each = [functional.cross_entropy(head(features), labels, label_smoothing=smoothing) for head in self.heads]
        losses = torch.stack(each).double()
        return losses.where(self.problem.processes.mean(losses).isfinite(), 0).sum()

    def choose(self) -> None:
        """Make the candidate with the best mean accuracy over some random architectures the supernet's classifier."""
        scorer = PathScorer(self.supernet, self.problem, self.scoring)
        rng = numpy_stream(self.problem.seed, "subset")
        judged = [self.problem.space.sample(rng) for _ in range(self.config.probe_architectures)]
        for head in self.heads:
            lost = not all(parameter.isfinite().all() for parameter in head.parameters())
            self.supernet.classifier.load_state_dict(head.state_dict())
            accuracy = None if lost else float(scorer.score(judged)[self.scoring.columns()[0]].mean())
            self.accuracies.append(accuracy)
        self.images_scored = scorer.images_scored
        best = max(range(len(self.heads)), key=lambda i: -math.inf if (a := self.accuracies[i]) is None else a)
        if self.accuracies[best] is None:
            raise Diverged(self.loop.step, min(self.config.probe_learning_rates), math.nan)
        self.supernet.classifier.load_state_dict(self.heads[best].state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return candidates, their training, and what the choice found (the supernet belongs to the caller)."""
        return {
            "heads": self.heads.state_dict(),
            "loop": self.loop.state_dict(),
            "sampler": numpy_state(self.sampler.rng),
            "accuracies": list(self.accuracies),
            "images_scored": self.images_scored,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.heads.load_state_dict(state["heads"])
        self.loop.load_state_dict(state["loop"])
        set_numpy_state(self.sampler.rng, state["sampler"])
        self.accuracies, self.images_scored = list(state["accuracies"]), state["images_scored"]

    def diagnostics(self) -> dict[str, Any]:
        """Return accuracy (percent, None for a diverged one) per learning rate, and the chosen rate."""
        by_rate = dict(zip(self.config.probe_learning_rates, self.accuracies, strict=False))
        finite = {rate: accuracy for rate, accuracy in by_rate.items() if accuracy is not None}
        return {
            "probe_accuracies": {f"{rate:g}": accuracy for rate, accuracy in by_rate.items()},
            "probe_learning_rate": max(finite, key=lambda rate: finite[rate]) if finite else None,
        }


class LastStep(Monitor):
    """Does something after the very last step, before another monitor hears of that step."""

    def __init__(self, monitor: Monitor, then: Callable[[], None]) -> None:
        self.monitor, self.then = monitor, then

    def after_step(
        self, estimator: Estimator, step: int, total: int, loss: torch.Tensor | float, learning_rate: float
    ) -> None:
        if step == total:
            self.then()
        self.monitor.after_step(estimator, step, total, loss, learning_rate)


class PiNAS(OneShot):
    """Cross-path learning with a mean teacher, a linear probe, and accuracy of the student as score.

    `score` uses the supernet's classifier, which is as initialised until the last step of the probe has put the chosen
    one in its place (with `supervised`: as trained so far). Of scores in mid-training only `secondary` ones say much.
    The learning rate that a monitor hears during the probe is the factor of all candidates' rates.
    """

    Config = PiNASConfig
    title = "Pi-NAS"
    source = "Peng et al., ICCV 2021, arXiv:2108.09671"
    on_several_devices = True
    presets = one_shot_presets(
        # Ours, chosen by the contrastive loss on digits: with the defaults' views it ends at that of chance (a fifth of
        # 8x8 pixels shows no digit, and brightness tells grey images apart better than their shape), with these below
        # .8 of it.
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
    # How paths are scored decides between the probe's learning rates, so training depends on all but these.
    scoring_settings: ClassVar[tuple[str, ...]] = ("secondary", "partners", "neighbours")
    config: PiNASConfig
    projector: nn.Sequential

    def score_columns(self) -> tuple[str, ...]:
        return (*super().score_columns(), *self.config.secondary)

    def optimisation(self) -> Optimisation:
        """Return SGD that leaves out parameters without a gradient and those whose gradient is zero, as coded."""
        return replace(super().optimisation(), skip_zero_gradients=True)

    def build(self, problem: Problem) -> Supernet:
        """Return the student's supernet; its projector is made along with it."""
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
        self._taught = dict(zip(student, teacher, strict=True))
        self.loop = TrainingLoop(
            [*self.supernet.parameters(), *self.projector.parameters()],
            problem,
            self.objective,
            self.optimisation(),
            passes_per_image=STEP / 3,
        )
        self.pairs = numpy_stream(problem.seed, "paths")
        initial = torch_stream(problem.seed, "weights")
        self.queue = functional.normalize(torch.randn(c.queue, c.embedding, generator=initial)).to(problem.device)
        self.pointer = 0
        self._loss = self._similarity = torch.zeros((), device=problem.device)
        self.probe = LinearProbe(problem, c, self.supernet, self.scoring(), self.cropped, initial)

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
        """Return the loss of two disjoint paths, the teacher and the queue moved on."""
        one, two = self.problem.space.disjoint_pair(self.pairs)
        processes = self.problem.processes
        v1, v2, v3, v4 = map(processes.share, self.views(images, self.augmentation))
        features_one, query_one, key_one = self.run_path(one, v1, v2)
        features_two, query_two, key_two = self.run_path(two, v3, v4)
        loss, similarity = self.contrast((query_one, query_two), (key_one, key_two))
        self._loss, self._similarity = processes.mean(torch.stack([loss, similarity]))
        self.enqueue(processes.gather((key_one + key_two) / 2))
        if self.config.supervised:
            loss = 0.5 * loss
            for features in (features_one, features_two):
                logits = self.supernet.classifier(features)
                loss = loss + functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        return loss

    def views(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Return v1 to v4 of uint8 images, as a network takes them: v1, v3 for the student, v2, v4 for the teacher.

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
        """Return the student's features and queries and, the teacher having followed on this path, the keys."""
        features = self.supernet.features(student_view, architecture)
        queries = functional.normalize(self.projector(features))
        self.follow(architecture)
        return features, queries, self.keys(teacher_view, architecture)

    @torch.no_grad()
    def follow(self, architecture: Architecture) -> None:
        """Move the teacher's parameters (no buffers) on one path and in the projector: t <- m t + (1 - m) s.

        What both paths run (stem, head, projector) thus moves twice in a step, and what neither runs not at all. Where
        kernels are sliced, two paths share them and whole kernels move: the published method knows no such space.
        """
        path = (m for m in self.supernet.path_modules(architecture) if m is not self.supernet.classifier)
        for module in (*path, *self.projector):
            taught = self._taught[module].parameters(recurse=False)
            for t, s in zip(taught, module.parameters(recurse=False), strict=True):
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
        """Put one key per image, the mean of both paths' and not normalised again, in the place of the oldest."""
        queue = self.queue.clone()  # the present one is needed again when the loss runs backward
        queue[self.pointer : self.pointer + len(keys)] = keys
        self.queue, self.pointer = queue, (self.pointer + len(keys)) % len(queue)

    def cropped(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 images as the probe takes them: random resized crop and, where the set allows it, mirrored."""
        c, train = self.config, self.problem.train
        if c.augment:
            images = distort(images, Distortion((c.crop, 1.0), train.augmentation.flip), self.augmentation)
        return normalise(self.problem.processes.share(images), train.mean, train.std)

    # --- scores -----------------------------------------------------------------------------------------------------
    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        columns = super().score(architectures)
        ways = {"neg_contrastive": self.neg_contrastive, "knn": self.nearest_neighbours}
        return {**columns, **{name: ways[name](architectures) for name in self.config.secondary}}

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

    def nearest_neighbours(self, architectures: Sequence[Architecture]) -> Floats:
        """Return the accuracy (percent) on scoring images of a vote of the nearest training images.

        Cosine similarity s of the student's features, votes weighted by exp(s / T), training images as many as
        calibrate batch norms and not distorted.
        """
        c, train, rule = self.config, self.problem.train, BatchStatistics()
        held = min(c.calibration_images, len(train))
        batches, labels = even_batches(train, held, c.calibration_batch)
        classes, count = torch.cat(labels), sum(map(len, self.scorer.labels))
        accuracies = np.zeros(len(architectures))

        def features(images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
            rule.images = len(images)
            return functional.normalize(self.supernet.features(images, architecture))

        with torch.inference_mode(), evaluating(self.supernet), ruled(self.supernet, rule):
            for row, architecture in enumerate(architectures):
                bank = torch.cat([features(images, architecture) for images in batches])
                for images, true in zip(self.scorer.batches, self.scorer.labels, strict=True):
                    similar, rows = (features(images, architecture) @ bank.T).topk(min(c.neighbours, held))
                    votes = similar.new_zeros(len(images), train.classes)
                    votes.scatter_add_(1, classes[rows], (similar / NEIGHBOUR_TEMPERATURE).exp())
                    accuracies[row] += 100 / count * int((votes.argmax(1) == true).sum())
        self.scorer.images_scored += (held + count) * len(architectures)
        return accuracies

    # --- state ------------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "projector": self.projector.state_dict(),
            "teacher": self.teacher.state_dict(),
            "teacher_projector": self.teacher_projector.state_dict(),
            "queue": self.queue,
            "pointer": self.pointer,
            "pairs": numpy_state(self.pairs),
            "probe": self.probe.state_dict(),
            "last": [self._loss.item(), self._similarity.item()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.projector.load_state_dict(state["projector"])
        self.teacher.load_state_dict(state["teacher"])
        self.teacher_projector.load_state_dict(state["teacher_projector"])
        self.queue, self.pointer = state["queue"].to(self.queue), state["pointer"]
        set_numpy_state(self.pairs, state["pairs"])
        self.probe.load_state_dict(state["probe"])
        self._loss, self._similarity = torch.tensor(state["last"])

    def cost(self) -> dict[str, float]:
        c = self.config
        thirds = STEP * c.batch_size * self.loop.step + PROBE_STEP * c.probe_batch * self.probe.loop.step
        scored = self.scorer.images_scored + self.probe.images_scored
        return {**super().cost(), "train_images": round(thirds / 3), "score_images": scored}

    def diagnostics(self) -> dict[str, Any]:
        """Return figures of the last contrastive step, the queue (norm 1: both teacher paths agree) and the probe."""
        return {
            "steps": self.loop.step,
            "probe_steps": self.probe.loop.step,
            "passes": {"contrastive": self.loop.images_seen, "probe": self.probe.loop.images_seen},
            "updates_per_architecture": 2 * self.loop.step / self.problem.space.size,
            "contrastive_loss": self._loss.item(),
            "positive_similarity": self._similarity.item(),
            "queue_norm": self.queue.norm(dim=1).mean().item(),
            **self.probe.diagnostics(),
        }
