"""NAO-V2: one-shot neural architecture optimisation (Luo et al., arXiv:1909.10815), with the three measures of its v1.

    pool <- N0 random architectures, no two isomorphic
    repeat:
        a new supernet: fresh weights, fresh SGD, fresh schedule                       (3: independent training)
        each step draws one architecture of the pool, p_a = params(a) / sum of params  (2: proportional to size)
        the pool is small against the steps of a stage                                 (1: adequate updates)
        E <- E + pool; the newest supernet scores all of E
        an encoder-predictor-decoder learns these scores
        pool <- unseen architectures, one gradient step from the top of E, and the top of E
    score: accuracy of the path under the last supernet, under the first one, and the predictor's value

Version 2 of the paper presents measure 2 alone: mode `balanced`. The released code inherits weights, so it is no
evidence for measure 3. Ablation, from the parent method to the full one: mode=nao_v1; with renewal=top (smaller pools,
measure 1); mode=full independent=False (measures 1, 2); mode=full.

The predictor learns the supernet's scores, never ground truth. A pass of the budget is an image trained on;
evaluations inside the loop count as scored images, and the predictor's training only as time.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch.nn import functional

from supertau.estimators.components import encoder_predictor_decoder as epd
from supertau.estimators.components.encoder_predictor_decoder import EPD, EPDSettings
from supertau.estimators.components.size_sampling import (
    SizeNetwork,
    SizeSampling,
    SpaceSampler,
    proportional,
    stand_alone_size,
)
from supertau.estimators.estimator import Budget, Floats, Monitor
from supertau.estimators.one_shot import PUBLISHED_RECIPES, OneShot, OneShotConfig, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.settings import Count, CountOrZero, Range, Share
from supertau.estimators.training.generators import numpy_stream, stage_seed, torch_stream
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.scoring import PathScorer, Scoring
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.pool import draw
from supertau.search_spaces.space import Architecture
from supertau.search_spaces.supernet import Supernet

Mode = Literal["full", "balanced", "nao_v1"]
Schedule = Literal["restart", "single"]
Renewal = Literal["top", "worst"]
Targets = Literal["rank", "minmax"]

ADEQUATE_UPDATES = 35
"""Updates per architecture and stage below which diagnostics warn: the smallest of the released code (35.2). What the
paper calls adequate is UNVERIFIED."""


@dataclass(frozen=True)
class Measures:
    """What a mode decides. The fields are explained at NAOV2Config."""

    sampling: SizeSampling
    independent: bool
    schedule: Schedule
    renewal: Renewal


MEASURES: dict[str, Measures] = {
    "full": Measures("size", True, "restart", "top"),
    "balanced": Measures("size", True, "restart", "top"),  # a single stage: only the sampling matters
    "nao_v1": Measures("uniform", False, "single", "worst"),
}


@dataclass(frozen=True)
class NAOV2Config(OneShotConfig):
    """Settings of NAO-V2; the defaults are those of the `paper` preset.

    The supernet's training is the suite's, so that only sampling and loop differ from SPOS; the released code: batch
    64, learning rate .025 -> .001 per stage, momentum .9, weight decay 3e-4, clip 5, drop-path (not offered here).
    Only the first mode of `bn` is used, for the score columns and inside the loop.
    """

    mode: Mode = "full"  # v1's three measures; balanced: v2's, over the whole space; nao_v1: the parent, NAO-V1
    # Which architecture a step draws: in proportion to its stand-alone parameters, or uniformly. None: by the mode
    sampling: SizeSampling | None = None
    # Fresh weights and SGD per stage (v1 of the paper), or inherited (released code on master). None: by the mode
    independent: bool | None = None
    # The cosine: once per stage (V2's code), or one over all stages (NAO-V1's code). None: by the mode
    schedule: Schedule | None = None
    # What a pool keeps beside the new architectures: the `keep_top` best of all evaluated (V2's dev scripts), or the
    # present pool without its worst, so that its size stays (NAO-V1's code). UNVERIFIED in the paper. None: by the mode
    renewal: Renewal | None = None
    rounds: CountOrZero = 3  # released code: four supernets, three rounds of the controller between them
    initial_pool: Annotated[int, Range(at_least=2)] = 1000  # released code
    new_architectures: Count = 300  # released code, per round
    keep_top: CountOrZero = 100  # dev scripts of the released code; its master keeps none (0)
    seed_architectures: Count = 100  # released code: gradient steps start from the 100 best of all evaluated
    largest_step: Count = 50  # released code: stop at eta = 50; random unseen architectures fill the pool (ours)
    # Width at which parameters are counted: that of the ground-truth networks (our choice), or that of the supernet
    # (the code's: stand-alone networks at search width)
    size_network: SizeNetwork = "benchmark"
    # Images of an evaluation inside the loop; None: scoring_images. Code: dev 5,000; master 500, different ones for
    # each architecture, which is a noise of 1.8 points and not offered here
    evaluation_images: Count | None = None
    final_mix: Share = 0.0  # ours: share of the last stage's draws from the whole space; the method has none
    targets: Targets = "rank"  # ours: ties and outliers do no harm; the code: minmax (here: of connected ones only)
    epd_epochs: CountOrZero = 300  # ours, for time; the code: 1000
    epd_fresh: bool = True  # ours, as the supernets; False: weights stay from round to round, Adam is new (the code)

    def __post_init__(self) -> None:
        super().__post_init__()
        switches = ("sampling", "independent", "schedule", "renewal")
        switched = any(getattr(self, name) is not None for name in switches)
        if self.mode == "balanced" and (switched or self.final_mix):
            raise SupertauError(
                "NAO-V2: mode 'balanced' has one stage over the whole space, always in proportion to size; leave "
                "sampling, independent, schedule, renewal and final_mix alone, or choose mode 'full' or 'nao_v1'."
            )
        if self.measures.renewal == "worst" and self.new_architectures > self.initial_pool:
            raise SupertauError(
                f"NAO-V2: {self.new_architectures} new architectures cannot replace the worst of a pool of "
                f"{self.initial_pool}: lower new_architectures."
            )

    @property
    def measures(self) -> Measures:
        """What the mode decides, unless a field overrides it."""
        switches = {name: getattr(self, name) for name in asdict(MEASURES[self.mode])}
        return replace(MEASURES[self.mode], **{name: value for name, value in switches.items() if value is not None})

    @property
    def stages(self) -> int:
        """Number of supernet trainings."""
        return 1 if self.mode == "balanced" else self.rounds + 1


def _part_of_cosine(optimisation: Optimisation, before: int, total: int) -> Callable[[int, int], float]:
    """Return the schedule of a stage under one cosine over all `total` steps, of which `before` came earlier."""
    return lambda step, _: optimisation.rate(before + step, total)


class NAOV2(OneShot):
    """Trains one supernet per pool; a predictor learned from its scores proposes the next pool."""

    Config = NAOV2Config
    title = "NAO-V2"
    source = "Luo et al., arXiv:1909.10815"
    on_several_devices = True
    scoring_settings = ()  # the loop scores pools on its way: how it does so changes what is trained
    presets = one_shot_presets(
        quick={
            "learning_rate": 0.1,  # as SPOS
            # Ours, chosen with ground truth: .3 of the published pools. Tau on 401 architectures, 2 seeds: .56, .45;
            # with .1 of them .11, .23
            "initial_pool": 300, "new_architectures": 90, "keep_top": 30, "seed_architectures": 30,
            "evaluation_images": 128, "epd_epochs": 40,  # for time
        },
        smoke={
            "initial_pool": 16, "new_architectures": 5, "keep_top": 3, "seed_architectures": 4, "largest_step": 5,
            "evaluation_images": 32, "epd_epochs": 2,
        },
        **PUBLISHED_RECIPES,
    )  # fmt: skip
    state: ClassVar[tuple[str, ...]] = (
        *OneShot.state, "stage", "pool", "rng", "drawn_parameters", "stages_done", "finished", "evaluated",
        "accuracies", "evaluations", "images_evaluated", "epd", "first_supernet", "whole_space",
    )  # fmt: skip
    config: NAOV2Config

    def score_columns(self) -> tuple[str, ...]:
        names = ("supernet_final", "supernet_stage0")[: min(2, self.config.stages)]
        return (*(column for name in names for column in (name, f"{name}_neg_loss")), "predictor")

    def scoring(self) -> Scoring:
        return replace(super().scoring(), bn=self.config.bn[:1])

    def start(self, problem: Problem) -> None:
        super().start(problem)
        c = self.config
        self.evaluator = self.scorer
        if c.evaluation_images is not None:
            self.evaluator = PathScorer(self.supernet, problem, replace(self.scoring(), images=c.evaluation_images))
        self.size = stand_alone_size(problem, c.size_network)
        self.whole_space: SpaceSampler | None = None
        if c.mode == "balanced" or c.final_mix:
            self.whole_space = SpaceSampler(problem.space, self.size, c.measures.sampling, problem.seed)
        self.evaluated: list[Architecture] = []  # E
        self.accuracies: Floats = np.zeros(0)  # of E under the newest supernet that scored it
        self.epd: EPD | None = None
        self.first_supernet: Supernet | None = None
        self.finished = False
        self.stages_done: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, Any]] = []
        self.images_evaluated = 0
        self.epd_seconds = 0.0  # of this process only: not part of the state
        self._begin(0, list(draw(problem.space, numpy_stream(problem.seed, "search"), c.initial_pool)))

    def _begin(self, stage: int, pool: list[Architecture]) -> None:
        """Prepare a stage: everything anew, seeded by the stage, or with inherited weights and momentum."""
        problem = replace(self.problem, seed=stage_seed(self.problem.seed, stage))
        independent, momentum = self.config.measures.independent, None
        if stage and independent:
            self.supernet = self.build(problem)
        elif stage:
            momentum = self.loop.optimiser.state_dict()
        self.loop = TrainingLoop(self.supernet.parameters(), problem, self.objective, self.optimisation())
        if momentum is not None:
            self.loop.optimiser.load_state_dict(momentum)
        self.augmentation = torch_stream(problem.seed, "augmentation", problem.device)
        self.rng = numpy_stream(problem.seed, "paths")
        self.stage, self.pool = stage, pool
        sizes = [self.size(a) for a in pool]
        uniform = self.config.measures.sampling == "uniform"
        self.probabilities = np.full(len(pool), 1 / len(pool)) if uniform else proportional(sizes)
        self.drawn_parameters = 0

    @property
    def steps_before(self) -> int:
        """Steps of the stages before the present one."""
        return sum(done["steps"] for done in self.stages_done)

    def train(self, budget: Budget, monitor: Monitor) -> None:
        """Train the stages, an equal share of the budget each.

        What happens between two stages depends on the state alone: a run that was killed there repeats it.
        """
        stages = self.config.stages
        total = self.loop.steps(budget.passes)
        while not self.finished:
            before, end = self.steps_before, total * (self.stage + 1) // stages
            if self.config.measures.schedule == "single":
                self.loop.schedule = _part_of_cosine(self.optimisation(), before, total)
            self.supernet.train()
            self.loop.run(self, end - before, monitor, before=before, overall=total)
            self._evaluate()
            self.finished = self.stage == stages - 1
            if not self.finished:
                if self.stage == 0:
                    self.first_supernet = copy.deepcopy(self.supernet)
                pool = self._next_pool()
                self.stages_done.append(self._stage_figures())
                self._begin(self.stage + 1, pool)

    def draw(self) -> Architecture:
        """Return the architecture of one step."""
        share = 1.0 if self.config.mode == "balanced" else self.config.final_mix
        last = self.stage == self.config.stages - 1
        if self.whole_space is not None and last and self.rng.random() < share:
            return self.whole_space(self.rng)
        return self.pool[self.rng.choice(len(self.pool), p=self.probabilities)]

    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of one architecture on one mini-batch."""
        drawn = self.draw()
        self.drawn_parameters += self.size(drawn)
        logits = self.supernet(self.inputs(images), drawn)
        return functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)

    # --- between two stages -----------------------------------------------------------------------------------------
    def _evaluate(self) -> None:
        """E <- E + pool; the present supernet scores all of E, and the predictor learns it."""
        known = set(self.evaluated)
        self.evaluated += [a for a in self.pool if a not in known]
        self.accuracies = self._accuracies(self.evaluated)
        began = time.perf_counter()
        figures = self._fit_epd()
        self.epd_seconds += time.perf_counter() - began
        sizes = np.array([self.size(a) for a in self.evaluated], dtype=np.float64)
        tau = epd.tau_b(sizes, self.accuracies)
        self.evaluations.append({"evaluated": len(self.evaluated), "tau_size_accuracy": tau, **figures})

    def _accuracies(self, architectures: Sequence[Architecture]) -> Floats:
        self.evaluator.supernet, before = self.supernet, self.evaluator.images_scored
        accuracies = self.evaluator.score(architectures)[f"accuracy@{self.config.bn[0]}"]
        images = self.evaluator.images_scored - before
        self.images_evaluated += images
        if self.evaluator is not self.scorer:
            self.scorer.images_scored += images
        return accuracies

    def _fit_epd(self) -> dict[str, Any]:
        c, space = self.config, self.problem.space
        seed = stage_seed(self.problem.seed, self.stage)
        generator, rng = torch_stream(seed, "predictor"), numpy_stream(seed, "predictor")
        if self.epd is None or c.epd_fresh:
            self.epd = self._new_epd(generator)
        if c.targets == "rank":
            targets, known = epd.rank_targets(self.accuracies), self.evaluated
        else:  # with architectures at chance level the others would share a small part of the sigmoid
            rows = [row for row, a in enumerate(self.evaluated) if space.is_connected(a)]
            known = [self.evaluated[row] for row in rows]
            targets = epd.minmax_targets(self.accuracies[rows]) if rows else np.zeros(0)
        return epd.fit(self.epd, space, known, targets, generator=generator, rng=rng)

    def _new_epd(self, generator: torch.Generator) -> EPD:
        space = self.problem.space
        settings = EPDSettings(tokens_per_step=space.tokens_per_step, epochs=self.config.epd_epochs)
        return epd.make_epd(space, settings, generator, self.problem.device)

    def _next_pool(self) -> list[Architecture]:
        """Return the pool of the next stage: new architectures, and those that are kept."""
        c, space = self.config, self.problem.space
        assert self.epd is not None
        best_first = [self.evaluated[row] for row in np.argsort(-self.accuracies, kind="stable")]
        seen = {space.canonical(a) for a in self.evaluated}
        new, eta = epd.generate(
            self.epd, space, best_first[: c.seed_architectures],
            seen=seen, wanted=c.new_architectures, largest_step=c.largest_step,
        )  # fmt: skip
        seen.update(space.canonical(a) for a in new)
        rng = numpy_stream(stage_seed(self.problem.seed, self.stage + 1), "search")
        random = draw(space, rng, c.new_architectures - len(new), seen)
        if c.measures.renewal == "top":
            kept = best_first[: c.keep_top]
        else:
            present = set(self.pool)
            kept = [a for a in best_first if a in present][: len(self.pool) - c.new_architectures]
        self.evaluations[-1].update(generated=len(new), topped_up=len(random), eta=eta)
        # Every process trains the predictor, and on another device it may differ in the last bit.
        return self.problem.processes.broadcast([*new, *random, *kept])

    # --- scores -----------------------------------------------------------------------------------------------------
    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return the columns of `score_columns`, each (N,): accuracy in percent, negative cross-entropy, (0, 1).

        During the first stage both supernets are the same one. The predictor's value is 1/2 for all architectures until
        it is trained for the first time, at the end of the first stage.
        """
        self.problem  # noqa: B018 - raises NotFitted
        columns = self._supernet_columns("supernet_final", self.supernet, architectures)
        if self.config.stages > 1:
            if self.first_supernet is None:
                columns |= {name.replace("final", "stage0"): values.copy() for name, values in columns.items()}
            else:
                columns |= self._supernet_columns("supernet_stage0", self.first_supernet, architectures)
        if self.epd is None:
            columns["predictor"] = np.full(len(architectures), 0.5)
        else:
            columns["predictor"] = epd.predict(self.epd, self.problem.space, architectures)
        return columns

    def _supernet_columns(
        self, name: str, supernet: Supernet, architectures: Sequence[Architecture]
    ) -> dict[str, Floats]:
        self.scorer.supernet = supernet
        accuracy, neg_loss = self.scorer.score(architectures).values()
        return {name: accuracy, f"{name}_neg_loss": neg_loss}

    # --- state and figures ------------------------------------------------------------------------------------------
    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["stage"]:
            self.first_supernet = self.build(self.problem)
            self._begin(state["stage"], state["pool"])
        if state["epd"] is not None:
            self.epd = self._new_epd(torch.Generator())
        super().load_state_dict(state)

    def cost(self) -> dict[str, float]:
        """Count images over all stages, evaluations inside the loop as scored; parameters are those of one supernet."""
        return {**super().cost(), "train_images": (self.steps_before + self.loop.step) * self.config.batch_size}

    def diagnostics(self) -> dict[str, Any]:
        """Return figures per stage and per evaluation of E, and what they cost."""
        stages = [*self.stages_done, self._stage_figures()]
        figures: dict[str, Any] = {
            "mode": self.config.mode,
            "steps": self.steps_before + self.loop.step,
            "stages": stages,
            "too_few_updates": any(s["updates_per_architecture"] < ADEQUATE_UPDATES for s in stages),
            "evaluations": self.evaluations,
            "images_evaluated": self.images_evaluated,
            "epd_seconds": round(self.epd_seconds, 3),
        }
        if self.whole_space is not None:
            figures["largest_size"] = {"parameters": self.whole_space.largest, "exact": self.whole_space.exact}
        return figures

    def _stage_figures(self) -> dict[str, Any]:
        """Return the steps, the size of the pool, and the mean parameters of the draws over the pool's mean."""
        steps, members = self.loop.step, len(self.pool)
        mean = sum(map(self.size, self.pool)) / members
        if self.config.mode == "balanced" and self.whole_space is not None:
            members, mean = self.problem.space.size, self.whole_space.mean
        return {
            "steps": steps,
            "pool": members,
            "updates_per_architecture": steps / members,
            "drawn_size_ratio": self.drawn_parameters / (steps * mean) if steps else None,
        }
