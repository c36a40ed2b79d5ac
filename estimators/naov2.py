"""NAO-V2: one-shot neural architecture optimisation (Luo et al., arXiv:1909.10815), with the three measures of its v1.

    pool <- N0 random architectures, no two isomorphic
    repeat:
        a new supernet: fresh weights, fresh SGD, fresh schedule                       (3: independent training)
        each step draws one architecture of the pool, p_a = params(a) / sum of params  (2: proportional to size)
        the pool is small against the steps of a stage                                 (1: adequate updates)
        E <- E + pool; the newest supernet scores all of E
        an encoder-predictor-decoder (epd.py) learns these scores
        pool <- unseen architectures, one gradient step from the top of E, and the top of E
    score: accuracy of the path under the last supernet, under the first one, and the predictor's value

v2 of the paper advertises measure 2 alone: mode `balanced`. The released code inherits weights, and so is no evidence
for measure 3. Ablation, from the parent method to the full one: mode=nao_v1; with renewal=top (smaller pools, measure
1); mode=full independent=False (measures 1, 2); mode=full.

The scores that the predictor learns are the supernet's, never ground truth. A pass of the budget is an image trained
on; evaluations inside the loop count as scored images, and the predictor's training only as time.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from supertau.estimators.components import encoder_predictor_decoder as epd
from supertau.estimators.components.encoder_predictor_decoder import EPD, EPDSettings
from supertau.estimators.estimator import Budget, Floats, Monitor
from supertau.estimators.one_shot import PUBLISHED_RECIPES, OneShot, OneShotConfig, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.training.generators import numpy_state, numpy_stream, set_numpy_state, torch_stream
from supertau.estimators.training.loop import Optimisation, TrainingLoop
from supertau.estimators.training.scoring import PathScorer, Scoring
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.pool import draw
from supertau.search_spaces.space import LISTED, Architecture, SearchSpace
from supertau.search_spaces.supernet import Supernet

Mode = Literal["full", "balanced", "nao_v1"]
Sampling = Literal["size", "uniform"]
Schedule = Literal["restart", "single"]
Renewal = Literal["top", "worst"]
SizeNetwork = Literal["benchmark", "supernet"]
Targets = Literal["rank", "minmax"]
Size = Callable[[Architecture], int]

ADEQUATE_UPDATES = 35
"""Updates per architecture and stage below which diagnostics warn: the smallest of the released code (35.2). What the
paper calls adequate is UNVERIFIED."""
PROBES = 10_000
"""Draws that stand in for a space that cannot be listed, to find its largest network."""


@dataclass(frozen=True)
class Measures:
    """What a mode switches. The fields are explained at NAOV2Config."""

    sampling: Sampling
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
    sampling: Sampling | None = None
    # Fresh weights and SGD per stage (v1 of the paper), or inherited (released code on master). None: by the mode
    independent: bool | None = None
    # The cosine: once per stage (V2's code), or one over all stages (NAO-V1's code). None: by the mode
    schedule: Schedule | None = None
    # Besides the new ones a pool keeps: the `keep_top` best of all evaluated (V2's dev scripts), or the present pool
    # but for its worst, so that its size stays (NAO-V1's code). UNVERIFIED in the paper. None: by the mode
    renewal: Renewal | None = None
    rounds: int = 3  # released code: four supernets, three rounds of the controller between them
    initial_pool: int = 1000  # released code
    new_architectures: int = 300  # released code, per round
    keep_top: int = 100  # dev scripts of the released code; its master keeps none (0)
    seed_architectures: int = 100  # released code: gradient steps start from the 100 best of all evaluated
    largest_step: int = 50  # released code: give up beyond eta = 50; random unseen architectures fill up (ours)
    # Width at which parameters are counted: that of the ground-truth networks (our choice), or that of the supernet
    # (the code's: stand-alone networks at search width)
    size_network: SizeNetwork = "benchmark"
    # Images of an evaluation inside the loop; None: scoring_images. Code: dev 5,000; master 500, other ones for each
    # architecture, a noise of 1.8 points that this file does not offer
    evaluation_images: int | None = None
    final_mix: float = 0.0  # ours: share of the last stage's draws from the whole space; the method has none
    targets: Targets = "rank"  # ours: ties and outliers do no harm; the code: minmax (here: of connected ones only)
    epd_epochs: int = 300  # ours, for time; the code: 1000
    epd_fresh: bool = True  # ours, as the supernets; False: weights stay over the rounds, Adam is new (the code)

    def __post_init__(self) -> None:
        switches = {"sampling": Sampling, "schedule": Schedule, "renewal": Renewal}
        for name, known in {"mode": Mode, "size_network": SizeNetwork, "targets": Targets, **switches}.items():
            value = getattr(self, name)
            if value not in get_args(known) and not (value is None and name in switches):
                raise unknown(f"NAO-V2 {name}", str(value), get_args(known))
        least = {
            "rounds": 0, "initial_pool": 2, "new_architectures": 1, "keep_top": 0, "seed_architectures": 1,
            "largest_step": 1, "epd_epochs": 0,
        }  # fmt: skip
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise SupertauError(f"NAO-V2: {name} must be at least {bound}, got {getattr(self, name)}.")
        if not 0 <= self.final_mix <= 1:
            raise SupertauError(f"NAO-V2: final_mix is a share of draws, expected 0 to 1, got {self.final_mix}.")
        switched = any(getattr(self, name) is not None for name in (*switches, "independent"))
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
        """What the mode switches, with the fields that are set over it."""
        switches = {name: getattr(self, name) for name in asdict(MEASURES[self.mode])}
        return replace(MEASURES[self.mode], **{name: value for name, value in switches.items() if value is not None})

    @property
    def stages(self) -> int:
        """Number of supernet trainings."""
        return 1 if self.mode == "balanced" else self.rounds + 1


# --- sizes and draws ------------------------------------------------------------------------------------------------


def stand_alone_size(problem: Problem, network: SizeNetwork) -> Size:
    """Return the function from an architecture to the parameters of its stand-alone network, cached."""
    held = problem.network
    if network == "benchmark":
        held = replace(problem.space.benchmark, classes=held.classes, image_channels=held.image_channels)
    return lru_cache(maxsize=LISTED)(lambda architecture: int(problem.space.cost(architecture, held).parameters))


def proportional(sizes: Sequence[int]) -> Floats:
    """Return sizes over their sum: the probability of each member of a pool."""
    values = np.asarray(sizes, dtype=np.float64)
    probabilities: Floats = values / values.sum()
    return probabilities


class SpaceSampler:
    """Draws from the whole space, in proportion to size or uniformly.

    In proportion to size: a uniform draw is accepted with probability size / largest. `largest` is exact where the
    space has at most LISTED encodings and can list them. Elsewhere it is the largest of PROBES uniform draws, raised
    whenever a larger network is met; until then networks beyond it are drawn as if they were as large as it.
    """

    def __init__(self, space: SearchSpace, size: Size, sampling: Sampling, seed: int) -> None:
        self.space, self.size, self.sampling = space, size, sampling
        sizes = _all_sizes(space, size)
        self.exact = sizes is not None
        if sizes is None:
            rng = numpy_stream(seed, "probe")
            sizes = [size(space.sample(rng)) for _ in range(PROBES)]
        self.largest, self.mean = max(sizes), sum(sizes) / len(sizes)

    def __call__(self, rng: np.random.Generator) -> Architecture:
        while True:
            drawn = self.space.sample(rng)
            if self.sampling == "uniform":
                return drawn
            size = self.size(drawn)
            self.largest = max(self.largest, size)
            if rng.random() * self.largest < size:
                return drawn


def _all_sizes(space: SearchSpace, size: Size) -> list[int] | None:
    return [size(architecture) for architecture in space.enumerate()] if space.is_listable else None


def stage_seed(seed: int, stage: int) -> int:
    """Return the seed of a stage; the first has the problem's own.

    Not seed + stage: the second stage of one run would then be the first stage of another seed's.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(stage,)).generate_state(1)[0]) if stage else seed


def _part_of_cosine(optimisation: Optimisation, before: int, total: int) -> Callable[[int, int], float]:
    """Return the schedule of a stage under one cosine over all `total` steps, of which `before` came earlier."""
    return lambda step, _: optimisation.rate(before + step, total)


# --- the method -----------------------------------------------------------------------------------------------------


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
            # Ours, chosen with truth in hand: .3 of the published pools. Tau on 401 cells, 2 seeds: .56, .45; with
            # .1 of them .11, .23
            "initial_pool": 300, "new_architectures": 90, "keep_top": 30, "seed_architectures": 30,
            "evaluation_images": 128, "epd_epochs": 40,  # for time
        },
        smoke={
            "initial_pool": 16, "new_architectures": 5, "keep_top": 3, "seed_architectures": 4, "largest_step": 5,
            "evaluation_images": 32, "epd_epochs": 2,
        },
        **PUBLISHED_RECIPES,
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
        self.epd_seconds = 0.0  # of this process: a clock has no place in a state
        self._begin(0, list(draw(problem.space, numpy_stream(problem.seed, "search"), c.initial_pool)))

    def _begin(self, stage: int, pool: list[Architecture]) -> None:
        """Make what a stage trains with: everything anew, seeded by the stage, or weights and momentum inherited."""
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

        What happens between two stages depends on the state alone: a run killed there repeats it.
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
        """One architecture, one mini-batch, cross-entropy."""
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
            self.epd = epd.make_epd(space, self._epd_settings(), generator, self.problem.device)
        if c.targets == "rank":
            targets, known = epd.rank_targets(self.accuracies), self.evaluated
        else:  # architectures at chance level would leave the others a sliver of the sigmoid
            rows = [row for row, a in enumerate(self.evaluated) if space.is_connected(a)]
            known = [self.evaluated[row] for row in rows]
            targets = epd.minmax_targets(self.accuracies[rows]) if rows else np.zeros(0)
        return epd.fit(self.epd, space, known, targets, generator=generator, rng=rng)

    def _epd_settings(self) -> EPDSettings:
        return EPDSettings(tokens_per_step=self.problem.space.tokens_per_step, epochs=self.config.epd_epochs)

    def _next_pool(self) -> list[Architecture]:
        """Return new architectures, and those that are kept, for the next stage."""
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
        # Every process trains the predictor, which need not come out the same to the last bit on another device.
        return self.problem.processes.broadcast([*new, *random, *kept])

    # --- scores -----------------------------------------------------------------------------------------------------

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return the columns of `score_columns`, each (N,): accuracy in percent, negative cross-entropy, (0, 1).

        During the first stage its supernet stands for both; the predictor is 1/2 for all until it has learned
        something, and after each stage what it learned last.
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

    # --- state ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "stage": self.stage,
            "finished": self.finished,
            "pool": self._packed(self.pool),
            "evaluated": self._packed(self.evaluated),
            "accuracies": torch.from_numpy(self.accuracies),
            "first_supernet": {} if self.first_supernet is None else self.first_supernet.state_dict(),
            "epd": {} if self.epd is None else self.epd.state_dict(),
            "rng": numpy_state(self.rng),
            "largest": 0 if self.whole_space is None else self.whole_space.largest,
            "drawn_parameters": self.drawn_parameters,
            "stages_done": self.stages_done,
            "evaluations": self.evaluations,
            "images_evaluated": self.images_evaluated,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stages_done = [dict(figures) for figures in state["stages_done"]]
        self.evaluations = [dict(figures) for figures in state["evaluations"]]
        if state["stage"]:
            self.first_supernet = self.build(self.problem)
            self.first_supernet.load_state_dict(state["first_supernet"])
            self._begin(state["stage"], _unpacked(state["pool"]))
        if state["epd"]:
            self.epd = epd.make_epd(self.problem.space, self._epd_settings(), torch.Generator(), self.problem.device)
            self.epd.load_state_dict(state["epd"])
        if self.whole_space is not None:
            self.whole_space.largest = state["largest"]
        super().load_state_dict(state)
        set_numpy_state(self.rng, state["rng"])
        self.evaluated, self.accuracies = _unpacked(state["evaluated"]), state["accuracies"].cpu().numpy()
        self.finished, self.drawn_parameters = state["finished"], state["drawn_parameters"]
        self.images_evaluated = state["images_evaluated"]

    # --- figures ----------------------------------------------------------------------------------------------------

    def cost(self) -> dict[str, float]:
        """Count images over all stages, evaluations inside the loop as scored ones; parameters are one supernet's."""
        if self._problem is None:
            return super().cost()
        return {**super().cost(), "train_images": (self.steps_before + self.loop.step) * self.config.batch_size}

    def diagnostics(self) -> dict[str, Any]:
        """Return figures per stage (U = updates_per_architecture) and per evaluation of E, and what they cost."""
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
        """Return steps, size of the pool, U, and the mean parameters of what was drawn over the pool's mean."""
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

    def _packed(self, architectures: Sequence[Architecture]) -> torch.Tensor:
        return torch.tensor(architectures, dtype=torch.int64).reshape(-1, len(self.problem.space.choices))


def _unpacked(rows: torch.Tensor) -> list[Architecture]:
    return [tuple(row) for row in rows.tolist()]
