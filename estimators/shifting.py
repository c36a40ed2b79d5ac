"""Supernet Shifting (arXiv:2403.11380): evolution that goes on training the supernet on what it visits.

    stage 1: train a supernet as SPOS does (or take one that is trained)
    stage 2: evolutionary search; what is visited is also trained on, so that the weights drift towards good cells
    score:   the shifted weights, frozen, on every architecture alike; errors stored during the search rank nothing

The paper's text and the released code differ. `code` (every constant known): a step of SGD after every mini-batch of
every candidate, which is scored with the weights just adapted to it. `paper` (abstract: losses are accumulated, the
supernet is updated once per iteration): the gradients of a generation are summed, its candidates scored with the
weights before the one step. How the paper scales that sum is not known to us; at the same learning rate a sum moves
the weights as far, to first order, as the code does.

Transfer: a trained supernet, its classifier reset, is warmed up and shifted on another image set.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from supertau.estimators.components.evolution import Evolution, EvolutionConfig
from supertau.estimators.estimator import Budget, Floats, Monitor
from supertau.estimators.one_shot import PUBLISHED_RECIPES, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.spos import SPOS, SPOSConfig
from supertau.estimators.training.checkpoint import read_checkpoint
from supertau.estimators.training.generators import numpy_stream, seeded_weights
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.sampling import PathSampler
from supertau.estimators.training.scoring import PathScorer, Scoring
from supertau.search_spaces.errors import DataError, SupertauError, unknown
from supertau.search_spaces.space import Architecture

Mode = Literal["code", "paper"]
Control = Literal["none", "no-update", "uniform", "frozen-set"]
"""What stands in for shifting, everything else being equal.

none: shifting itself. no-update: the search alone. uniform: as many steps on uniformly drawn paths.
frozen-set: as many steps on one random population that never changes.
"""


@dataclass(frozen=True)
class ShiftingConfig(SPOSConfig):
    """Settings of stage 1 (those of SPOS) and of the shifting; defaults are the `paper` preset's."""

    mode: Mode = "code"  # every constant of the code is known; of the paper's text only the order of events
    control: Control = "none"
    steps_per_candidate: int = 20  # code
    shift_learning_rate: float = 1e-4  # code, constant
    shift_momentum: float = 0.9  # code; kept from candidate to candidate
    population: int = 50  # SPOS and Shifting code
    generations: int = 20  # code; the random population comes before them
    parents: int = 10  # code
    mutants: int = 25  # code
    crossovers: int = 25  # code
    mutation_probability: float = 0.3  # code: 0.1 of 20 genes; on 6 genes that leaves 61% of parents unchanged
    fitness_bn: str | None = None  # None: first of `bn`, as everywhere in the suite; code: "inherited" (never reset)
    score_before: bool = True  # columns of the weights before the shift, for the comparison that the method claims
    checkpoint: str | None = None  # folder of a finished SPOS run whose supernet takes the place of stage 1
    reset_classifier: bool = False  # transfer: only the classifier does not come from the checkpoint
    classifier_scale: float = 10.0  # ours: learning rate of a reset classifier over that of the rest; code: 1
    warmup_epochs: float = 1.0  # ours: of the reset classifier alone, on uniform paths, before the search; code: 0
    warmup_learning_rate: float = 0.025  # ours

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise unknown("mode", self.mode, get_args(Mode))
        if self.control not in get_args(Control):
            raise unknown("control", self.control, get_args(Control))
        if self.steps_per_candidate < 1:
            raise SupertauError(f"steps_per_candidate must be at least 1, got {self.steps_per_candidate}.")
        if self.reset_classifier and self.checkpoint is None:
            raise SupertauError("reset_classifier transfers a trained supernet: name its run with checkpoint=FOLDER.")
        self.evolution()

    def evolution(self) -> EvolutionConfig:
        """Return the settings of the search; shifting needs that good cells are visited again."""
        return EvolutionConfig(
            self.population, self.generations, self.parents, self.mutants, self.crossovers,
            self.mutation_probability, allow_repeats=True,
        )  # fmt: skip

    @property
    def shift_steps(self) -> int:
        """Mini-batches of the second stage."""
        populations = self.generations + 1
        return 0 if self.control == "no-update" else populations * self.population * self.steps_per_candidate


class Shifting(SPOS):
    """SPOS, then evolution with training."""

    Config = ShiftingConfig
    title = "Supernet Shifting"
    source = "arXiv:2403.11380"
    scoring_settings: ClassVar[tuple[str, ...]] = ("score_before",)  # the others decide what is trained on
    presets = one_shot_presets(
        standard={"steps_per_candidate": 2},  # 2,100 of 23,437 steps; literal would be 90 % of them
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
    config: ShiftingConfig

    def score_columns(self) -> tuple[str, ...]:
        before = tuple(f"before:{name}" for name in self._one_mode().columns()) if self.config.score_before else ()
        return (*super().score_columns(), *before)

    def _one_mode(self, mode: str | None = None) -> Scoring:
        """Return the scoring in one batch-norm mode, the declared primary when None."""
        return replace(self.scoring(), bn=(mode or self.config.bn[0],))

    # --- building -----------------------------------------------------------------------------------------------------
    def start(self, problem: Problem) -> None:
        super().start(problem)
        c = self.config
        self.origin = ""
        if c.checkpoint is not None:
            self._inherit(Path(c.checkpoint))
        classifier = list(self.supernet.classifier.parameters())
        warmup = Optimisation(
            c.batch_size, c.warmup_learning_rate, c.warmup_learning_rate, c.momentum, c.nesterov, 0.0, c.clip,
            precision=c.precision,
        )  # fmt: skip
        # The backbone runs forward only, and the classifier's share of a pass is nothing beside it.
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
        self.told: list[float] = []  # fitness of the present population as far as it is known
        self.updates: Counter[Architecture] = Counter()
        self.before: PathScorer | None = None

    def _inherit(self, path: Path) -> None:
        """Take up the supernet of a finished run, but for the classifier when that is to be reset."""
        held = read_checkpoint(path, self.problem.device)["estimator"].get("supernet", {})
        own = self.supernet.state_dict()
        head = {name for name in own if name.startswith("classifier.")}
        wanted = own.keys() - head if self.config.reset_classifier else own.keys()
        for name in sorted(wanted):
            shape = tuple(held[name].shape) if name in held else "nothing"
            if shape != tuple(own[name].shape):
                hint = " Another number of classes needs reset_classifier=true." if name in head else ""
                raise DataError(
                    f"the supernet of '{path}' does not fit: {name} is {shape}, expected {tuple(own[name].shape)}. "
                    f"Space, channels, cells and affine must be the same.{hint}"
                )
        self.supernet.load_state_dict({name: held[name] if name in wanted else own[name] for name in own})
        if self.config.reset_classifier:
            with seeded_weights(self.problem.seed):
                nn.init.normal_(self.supernet.classifier.weight, std=0.01)  # code
                nn.init.zeros_(self.supernet.classifier.bias)
        digest = hashlib.sha256()
        for name in sorted(wanted):
            digest.update(held[name].cpu().numpy().tobytes())
        self.origin = digest.hexdigest()

    # --- training -----------------------------------------------------------------------------------------------------
    def _phases(self, passes: int) -> tuple[int, int, int]:
        """Return the steps of stage 1, of the classifier's warm-up and of stage 2; raise when they do not fit."""
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
        if self.before is None:
            self._remember()
        self.shift.run(self, shift, monitor, before=first + warm, overall=overall)
        self._finish()

    def _remember(self) -> None:
        frozen = copy.deepcopy(self.supernet)
        self.before = PathScorer(frozen, self.problem, self._one_mode())

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
        """Return the member of the present population that a step of the second stage trains."""
        population = self.evolution.ask()
        if len(population) < self.config.population:
            raise SupertauError(
                f"{self.problem.space.name} has fewer than {self.config.population} architectures: lower population."
            )
        return population[step // self.config.steps_per_candidate % self.config.population]

    def _before_shift_step(self, step: int, total: int) -> None:
        """Between candidates: judge the one just trained. Between generations: select and breed."""
        candidate, inside = divmod(step, self.config.steps_per_candidate)
        if inside or self.config.control != "none":
            return
        if candidate and self.config.mode == "code":
            self._judge([self._candidate(step - 1)])  # with the weights just adapted to it
        if candidate % self.config.population == 0:
            self._tell()
            if self.config.mode == "paper":
                self._judge(self.evolution.ask())  # with the weights before the generation's step

    def _judge(self, architectures: Sequence[Architecture]) -> None:
        self.told += self.fitness.score(architectures)[self.fitness.scoring.columns()[0]].tolist()

    def _tell(self) -> None:
        if self.told:
            self.evolution.tell(self.told)
            self.told = []

    def _finish(self) -> None:
        """Select for the last time; without updates, do the whole search now."""
        if self.config.control == "none" and not self.evolution.finished:
            if self.config.mode == "code":
                self._judge([self._candidate(self.shift.step - 1)])
            self._tell()
        while self.config.control == "no-update" and (population := self.evolution.ask()):
            self._judge(population)
            self._tell()

    # --- scoring ------------------------------------------------------------------------------------------------------
    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return the columns of the present weights, and of those before the shift (until it begins: the same)."""
        columns = super().score(architectures)
        if self.config.score_before:
            before = self.before or PathScorer(self.supernet, self.problem, self._one_mode())
            columns.update({f"before:{name}": values for name, values in before.score(architectures).items()})
        return columns

    def parts(self, architectures: Sequence[Architecture]) -> dict[str, list[bool]]:
        """Return which architectures the second stage visited, and which it did not."""
        visited = self.visited()
        held = [architecture in visited for architecture in architectures]
        return {"visited": held, "unvisited": [not h for h in held]}

    def visited(self) -> set[Architecture]:
        """Return what the second stage trained or, without updates, scored."""
        return set(self.updates) or set(self.evolution.visited)

    # --- keeping ------------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        before = self.before
        return {
            **super().state_dict(),
            "warmup": self.warmup.state_dict(),
            "shift": self.shift.state_dict(),
            "evolution": self.evolution.state_dict(),
            "told": list(self.told),
            "updates": [[list(architecture), count] for architecture, count in self.updates.items()],
            "before": None if before is None else before.supernet.state_dict(),
            "before_images": 0 if before is None else before.images_scored,
            "fitness_images": self.fitness.images_scored,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.warmup.load_state_dict(state["warmup"])
        self.shift.load_state_dict(state["shift"])
        self.evolution.load_state_dict(state["evolution"])
        self.told = list(state["told"])
        self.updates = Counter({tuple(architecture): count for architecture, count in state["updates"]})
        self.fitness.images_scored = state["fitness_images"]
        if state["before"] is not None:
            self._remember()
            assert self.before is not None
            self.before.supernet.load_state_dict(state["before"])
            self.before.images_scored = state["before_images"]

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
        found: dict[str, Any] = {
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
            # Errors of different weights: what the search went by, never a score.
            found["best_fitness_by_generation"] = [max(g.scores) for g in self.evolution.generations]
            found["last_generation"] = [
                self.problem.space.format(a) for a in self.evolution.generations[-1].architectures
            ]
        return found

    def _change(self) -> float:
        if self.before is None:
            return 0.0
        with torch.no_grad():
            old, new = (
                torch.cat([p.reshape(-1) for p in supernet.parameters()])
                for supernet in (self.before.supernet, self.supernet)
            )
            return float((new - old).norm() / old.norm())
