"""Supernet Shifting (arXiv:2403.11380): evolution that goes on training the supernet on what it visits.

    stage 1: train a supernet as SPOS does (or load a trained one)
    stage 2: evolutionary search; what it visits is also trained, so that the weights shift towards good architectures
    score:   every architecture with the shifted weights, frozen; errors seen during the search rank nothing

The paper's text and the released code differ. `code`, of which every constant is known: a step of SGD after every
mini-batch of every candidate, which is then scored with the weights just adapted to it. `paper` (abstract: losses are
accumulated, the supernet is updated once per iteration): the gradients of a generation are summed, and its candidates
scored with the weights before the single step. How the paper scales that sum is not known to us; at the same learning
rate a sum moves the weights as far as the code does, to first order.

Transfer: a trained supernet, its classifier reset, is warmed up and shifted on another image set.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from supertau.estimators.components.evolution import Evolution, EvolutionConfig
from supertau.estimators.estimator import Budget, Floats, Monitor
from supertau.estimators.one_shot import PUBLISHED_RECIPES, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.settings import Count, CountOrZero, Positive, Share, ShareBelowOne, ZeroOrMore
from supertau.estimators.spos import SPOS, SPOSConfig
from supertau.estimators.training.checkpoint import load_supernet
from supertau.estimators.training.generators import numpy_stream, seeded_weights
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.sampling import PathSampler
from supertau.estimators.training.scoring import BNMode, PathScorer, Scoring
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture
from supertau.search_spaces.supernet import Supernet

Mode = Literal["code", "paper"]
Control = Literal["none", "no-update", "uniform", "frozen-set"]
"""What replaces the shifting, everything else being equal.

none: nothing, the method itself. no-update: the search alone. uniform: as many steps on uniformly drawn paths.
frozen-set: as many steps on one random population that never changes.
"""


@dataclass(frozen=True)
class ShiftingConfig(SPOSConfig):
    """Settings of stage 1 (those of SPOS) and of the shifting; defaults are the `paper` preset's."""

    mode: Mode = "code"  # every constant of the code is known; of the paper's text only the order of events
    control: Control = "none"
    steps_per_candidate: Count = 20  # code
    shift_learning_rate: Positive = 1e-4  # code, constant
    shift_momentum: ShareBelowOne = 0.9  # code; kept from candidate to candidate
    population: Count = 50  # SPOS and Shifting code
    generations: CountOrZero = 20  # code; the random population comes before them
    parents: Count = 10  # code
    mutants: CountOrZero = 25  # code
    crossovers: CountOrZero = 25  # code
    mutation_probability: Share = 0.3  # code: 0.1 of 20 genes; on 6 genes that leaves 61% of parents unchanged
    fitness_bn: BNMode | None = None  # None: first of `bn`, as everywhere in the suite; code: "inherited" (never reset)
    score_before: bool = True  # also score with the weights before the shift, for the comparison that the paper makes
    checkpoint: str | None = None  # folder of a finished SPOS run whose supernet replaces stage 1
    reset_classifier: bool = False  # transfer: only the classifier does not come from the checkpoint
    classifier_scale: Positive = 10.0  # ours: learning rate of a reset classifier over that of the rest; code: 1
    warmup_epochs: ZeroOrMore = 1.0  # ours: of the reset classifier alone, on uniform paths, before the search; code: 0
    warmup_learning_rate: Positive = 0.025  # ours

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_classifier and self.checkpoint is None:
            raise SupertauError("reset_classifier transfers a trained supernet: name its run with checkpoint=FOLDER.")
        self.evolution()  # checks its settings

    def evolution(self) -> EvolutionConfig:
        """Return the settings of the search; shifting needs good architectures to be visited again."""
        return EvolutionConfig(
            self.population, self.generations, self.parents, self.mutants, self.crossovers,
            self.mutation_probability, allow_repeats=True,
        )  # fmt: skip

    @property
    def shift_steps(self) -> int:
        """Number of mini-batches of stage 2."""
        populations = self.generations + 1
        return 0 if self.control == "no-update" else populations * self.population * self.steps_per_candidate


class Shifting(SPOS):
    """SPOS, then evolution with training."""

    Config = ShiftingConfig
    title = "Supernet Shifting"
    source = "arXiv:2403.11380"
    scoring_settings: ClassVar[tuple[str, ...]] = ("score_before",)  # the others decide what is trained on
    presets = one_shot_presets(
        standard={"steps_per_candidate": 2},  # 2,100 of 23,437 steps; the code's 20 would be 90 % of them
        quick={
            "learning_rate": 0.1,  # as SPOS
            "steps_per_candidate": 1,
            "generations": 3,  # 200 of 2,000 steps
        },
        smoke={
            "steps_per_candidate": 1,
            "population": 1,
            "generations": 1,
            "parents": 1,
            "mutants": 1,
            "crossovers": 0,
        },
        **PUBLISHED_RECIPES,
    )
    space_settings: ClassVar[dict[str, dict[str, Any]]] = {
        # Ours: as many changed genes per mutant as the code's 0.1 of 20 gives, on 24 and on 12 decisions.
        "nasbench301": {"mutation_probability": 0.1},
        "nds-resnexta": {"mutation_probability": 0.15},
        "nds-resnextb": {"mutation_probability": 0.15},
    }
    state: ClassVar[tuple[str, ...]] = (
        *SPOS.state, "warmup", "shift", "evolution", "fitness", "fitnesses", "updates", "unshifted", "before",
    )  # fmt: skip
    config: ShiftingConfig

    def score_columns(self) -> tuple[str, ...]:
        before = tuple(f"before:{name}" for name in self._one_mode().columns()) if self.config.score_before else ()
        return (*super().score_columns(), *before)

    def _one_mode(self, mode: BNMode | None = None) -> Scoring:
        """Return the scoring in one batch-norm mode, the declared primary when None."""
        return replace(self.scoring(), bn=(mode or self.config.bn[0],))

    # --- building -----------------------------------------------------------------------------------------------------
    def start(self, problem: Problem) -> None:
        super().start(problem)
        c = self.config
        self.origin = ""
        if c.checkpoint is not None:
            keep = not c.reset_classifier
            self.origin = load_supernet(self.supernet, Path(c.checkpoint), problem.device, classifier=keep)
        if c.reset_classifier:
            with seeded_weights(problem.seed):
                nn.init.normal_(self.supernet.classifier.weight, std=0.01)  # code
                nn.init.zeros_(self.supernet.classifier.bias)
        classifier = list(self.supernet.classifier.parameters())
        warmup = Optimisation(
            c.batch_size, c.warmup_learning_rate, c.warmup_learning_rate, c.momentum, c.nesterov, 0.0, c.clip,
            precision=c.precision,
        )  # fmt: skip
        # The backbone runs forward only, and the classifier costs almost nothing.
        self.warmup = TrainingLoop(classifier, problem, self._warm_up, warmup, passes_per_image=1 / 3, purpose="probe")
        rate = c.shift_learning_rate
        shift = Optimisation(
            c.batch_size, rate, rate, c.shift_momentum, nesterov=False, weight_decay=c.weight_decay, clip=c.clip,
            accumulate=c.population * c.steps_per_candidate if c.mode == "paper" else 1, precision=c.precision,
        )  # fmt: skip
        backbone = [p for p in self.supernet.parameters() if not any(p is q for q in classifier)]
        scale = c.classifier_scale if c.reset_classifier else 1.0
        groups: list[dict[str, Any]] = [{"params": backbone}, {"params": classifier, "scale": scale}]
        self.shift = TrainingLoop(
            groups, problem, self._shift, shift, before_step=self._before_shift_step, purpose="search"
        )
        rng = numpy_stream(problem.seed, "search")
        self.evolution = Evolution(problem.space, c.evolution(), rng)
        self.uniform = PathSampler(problem.space, c.sampling, rng)
        self.fitness = PathScorer(self.supernet, problem, self._one_mode(c.fitness_bn))
        self.fitnesses: list[float] = []  # of the present population, as far as it has been judged
        self.updates: Counter[Architecture] = Counter()  # steps of stage 2 on each architecture
        self.unshifted: Supernet | None = None  # a copy of the supernet before stage 2, and its scorer
        self.before: PathScorer | None = None

    # --- training -----------------------------------------------------------------------------------------------------
    def _phases(self, passes: int) -> tuple[int, int, int]:
        """Return the steps of stage 1, of the classifier's warm-up and of stage 2; raise if they exceed the budget."""
        c = self.config
        warm = round(c.warmup_epochs * len(self.problem.train) / c.batch_size) if c.reset_classifier else 0
        left = passes - c.shift_steps * c.batch_size - warm * c.batch_size / 3
        first = self.loop.steps(max(0, int(left))) if c.checkpoint is None else 0
        if left < 0 or (c.checkpoint is None and first == 0):
            raise SupertauError(
                f"shifting takes {c.shift_steps} steps of {c.batch_size} images beside stage 1, and the budget is "
                f"{passes} images: raise passes, or lower generations, population or steps_per_candidate."
            )
        return first, warm, c.shift_steps

    def train(self, budget: Budget, monitor: Monitor) -> None:
        first, warm, shift = self._phases(budget.passes)
        overall = first + warm + shift
        self.supernet.train()
        self.loop.run(self, first, monitor, overall=overall)
        self.warmup.run(self, warm, monitor, before=first, overall=overall)
        if self.unshifted is None:
            self._keep_unshifted()
        self.shift.run(self, shift, monitor, before=first + warm, overall=overall)
        self._finish()

    def _keep_unshifted(self) -> None:
        self.unshifted = copy.deepcopy(self.supernet)
        self.before = PathScorer(self.unshifted, self.problem, self._one_mode())

    def _warm_up(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Train the reset classifier alone, on the features of uniformly drawn paths."""
        with torch.no_grad():
            features = self.supernet.features(self.inputs(images), self.sampler())
        return self._loss(self.supernet.classifier(features), labels)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)

    def _shift(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One mini-batch of one candidate."""
        uniform = self.config.control == "uniform"
        architecture = self.uniform() if uniform else self._candidate(self.shift.step)
        self.updates[architecture] += 1
        return self._loss(self.supernet(self.inputs(images), architecture), labels)

    def _candidate(self, step: int) -> Architecture:
        """Return the member of the present population that a step of stage 2 trains."""
        population = self.evolution.ask()
        if len(population) < self.config.population:
            raise SupertauError(
                f"{self.problem.space.name} has fewer than {self.config.population} architectures: lower population."
            )
        return population[step // self.config.steps_per_candidate % self.config.population]

    def _before_shift_step(self, step: int, total: int) -> None:
        """Between candidates, judge the one just trained; between generations, select and breed."""
        candidate, inside = divmod(step, self.config.steps_per_candidate)
        if inside or self.config.control != "none":
            return
        if candidate and self.config.mode == "code":
            self._judge([self._candidate(step - 1)])  # with the weights just adapted to it
        if candidate % self.config.population == 0:
            self._select()
            if self.config.mode == "paper":
                self._judge(self.evolution.ask())  # with the weights before the generation's step

    def _judge(self, architectures: Sequence[Architecture]) -> None:
        self.fitnesses += self.fitness.score(architectures)[self.fitness.scoring.columns()[0]].tolist()

    def _select(self) -> None:
        if self.fitnesses:
            self.evolution.tell(self.fitnesses)
            self.fitnesses = []

    def _finish(self) -> None:
        """Select for the last time; the control without updates does its whole search here."""
        if self.config.control == "none" and not self.evolution.finished:
            if self.config.mode == "code":
                self._judge([self._candidate(self.shift.step - 1)])
            self._select()
        while self.config.control == "no-update" and (population := self.evolution.ask()):
            self._judge(population)
            self._select()

    # --- scoring ------------------------------------------------------------------------------------------------------
    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return the columns of the present weights and of those before the shift, which are the same until then."""
        columns = super().score(architectures)
        if self.config.score_before:
            before = self.before or PathScorer(self.supernet, self.problem, self._one_mode())
            columns.update({f"before:{name}": values for name, values in before.score(architectures).items()})
        return columns

    def parts(self, architectures: Sequence[Architecture]) -> dict[str, list[bool]]:
        """Return which architectures stage 2 visited, and which it did not."""
        visited = self.visited()
        members = [architecture in visited for architecture in architectures]
        return {"visited": members, "unvisited": [not member for member in members]}

    def visited(self) -> set[Architecture]:
        """Return the architectures that stage 2 trained or, without updates, scored."""
        return set(self.updates) or set(self.evolution.visited)

    # --- state and figures --------------------------------------------------------------------------------------------
    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["unshifted"] is not None:
            self._keep_unshifted()
        super().load_state_dict(state)

    def cost(self) -> dict[str, float]:
        loops = (self.loop, self.warmup, self.shift)
        scorers = (self.scorer, self.fitness, *([self.before] if self.before is not None else []))
        return {
            **super().cost(),
            "train_images": sum(loop.images_seen for loop in loops),
            "score_images": sum(scorer.images_scored for scorer in scorers),
        }

    def diagnostics(self) -> dict[str, Any]:
        counts = list(self.updates.values())
        figures: dict[str, Any] = {
            **super().diagnostics(),
            "stage_1_steps": self.loop.step,
            "warmup_steps": self.warmup.step,
            "shift_steps": self.shift.step,
            "weight_updates_of_the_shift": self.shift.step // self.shift.optimisation.accumulate,
            "visited": len(self.visited()),
            "most_updates_of_one_architecture": max(counts, default=0),
            "mean_updates_of_a_visited_one": sum(counts) / len(counts) if counts else 0.0,
            "supernet_taken_up_sha256": self.origin or None,
            "relative_change_of_weights": self._change(),
        }
        if self.evolution.visited:
            # The search compared errors of different weights: they are never a score.
            figures["best_fitness_by_generation"] = [max(g.scores) for g in self.evolution.generations]
            figures["last_generation"] = [
                self.problem.space.format(a) for a in self.evolution.generations[-1].architectures
            ]
        return figures

    def _change(self) -> float:
        if self.unshifted is None:
            return 0.0
        with torch.no_grad():
            old, new = (
                torch.cat([p.reshape(-1) for p in supernet.parameters()])
                for supernet in (self.unshifted, self.supernet)
            )
            return float((new - old).norm() / old.norm())
