"""Evolutionary search with a fitted estimator, as in SPOS (Guo et al., ECCV 2020, and its released code).

generation 0:  50 random architectures
20 times:      parents = the 10 best so far; up to 25 mutants, up to 25 crossovers, random ones up to 50
winner:        the best of everything visited (1,050 evaluations)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from supertau.estimators.estimator import Estimator
from supertau.estimators.settings import Count, CountOrZero, Settings, Share
from supertau.estimators.training.generators import numpy_state, set_numpy_state
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture, NetworkConfig, SearchSpace

LITERAL_MUTATION = 0.1
_MANY_DRAWS = 2_000
"""Random draws per missing architecture, before a space that cannot be enumerated counts as exhausted."""


@dataclass(frozen=True)
class EvolutionConfig(Settings):
    """Settings of the search; the defaults are those of the SPOS code unless the comment says otherwise.

    population: architectures per generation. generations: populations bred after the random one. parents: size of the
    archive of the best. mutants, crossovers: at most so many per generation. attempts: tries per mutant, crossover or
    random architecture. max_parameters, max_macs: limits of the stand-alone network at the size `network`.
    allow_repeats: whether an architecture may be bred again in a later generation, never twice within one.
    """

    population: Count = 50
    generations: CountOrZero = 20
    parents: Count = 10
    mutants: CountOrZero = 25
    crossovers: CountOrZero = 25
    mutation_probability: Share = 0.3  # the code's 0.1 is for 20 genes; on 6 genes it leaves 61% of parents unchanged
    attempts: Count = 10
    max_parameters: int | None = None
    max_macs: int | None = None  # the code: 330M on ImageNet
    network: NetworkConfig = NetworkConfig()  # noqa: RUF009 - frozen
    allow_repeats: bool = False  # the code of Supernet Shifting: True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mutants + self.crossovers > self.population:
            raise SupertauError(
                f"evolution: {self.mutants} mutants and {self.crossovers} crossovers do not fit into a population of "
                f"{self.population}."
            )

    @property
    def mutation_rule(self) -> str:
        """Return 'literal' for the published code's probability, 'adapted' for any other; goes into records."""
        return "literal" if self.mutation_probability == LITERAL_MUTATION else "adapted"


@dataclass(frozen=True)
class Generation:
    """One evaluated population: architectures, their scores, and for each 'random', 'mutation' or 'crossover'."""

    architectures: tuple[Architecture, ...]
    scores: tuple[float, ...]
    origins: tuple[str, ...]


@dataclass(frozen=True)
class SearchResult:
    """Result of a search: the winner and its score, every generation, and the last score of each architecture."""

    best: Architecture
    score: float
    generations: tuple[Generation, ...]
    visited: dict[Architecture, float]
    config: EvolutionConfig

    @property
    def evaluations(self) -> int:
        """Number of architectures scored, repeats counted."""
        return sum(len(g.architectures) for g in self.generations)

    @property
    def trajectory(self) -> list[float]:
        """Best score seen up to the end of each generation."""
        return np.maximum.accumulate([max(g.scores) for g in self.generations]).tolist()


class Evolution:
    """The search, step by step: `ask` for a population, score it, `tell` the scores; until `finished`.

    archive: the best so far, best first, by their last scores. visited: the last score of every scored architecture.
    """

    def __init__(self, space: SearchSpace, config: EvolutionConfig, rng: np.random.Generator) -> None:
        self.space, self.config, self.rng = space, config, rng
        self.generations: list[Generation] = []
        self.archive: list[Architecture] = []
        self.visited: dict[Architecture, float] = {}
        self._asked: dict[Architecture, str] | None = None

    @property
    def finished(self) -> bool:
        """Whether all generations are scored, or nothing legal is left to visit."""
        return len(self.generations) > self.config.generations or self._asked == {}

    @property
    def best(self) -> tuple[Architecture, float]:
        """The best of everything visited and its score, the first visited among equals."""
        if not self.visited:
            raise SupertauError("evolution: nothing has been scored yet.")
        winner = max(self.visited, key=self.visited.__getitem__)
        return winner, self.visited[winner]

    def ask(self) -> list[Architecture]:
        """Return the population to score next, the same until its scores are there; empty when finished.

        Raises SupertauError when not a single architecture is within the cost limit.
        """
        if self.finished:
            return []
        if self._asked is None:
            population = self._breed()
            if not population and not self.generations:
                raise SupertauError(f"evolution: no architecture of {self.space.name} is within the limits.")
            self._asked = population
        return list(self._asked)

    def tell(self, scores: Sequence[float]) -> None:
        """Select by the scores of the population that `ask` returned, in its order; higher is better."""
        population = self._asked
        if not population or len(scores) != len(population):
            raise SupertauError(f"evolution: {len(scores)} scores for {len(population or ())} architectures asked for.")
        values = [float(s) for s in scores]
        if not np.isfinite(values).all():
            raise SupertauError("evolution: scores must be finite.")
        self.generations.append(Generation(tuple(population), tuple(values), tuple(population.values())))
        self.visited.update(zip(population, values, strict=True))
        contenders = dict.fromkeys([*self.archive, *population])  # once each; among equals the older stays ahead
        self.archive = sorted(contenders, key=lambda a: -self.visited[a])[: self.config.parents]
        self._asked = None

    def result(self) -> SearchResult:
        """Return the result so far."""
        return SearchResult(*self.best, tuple(self.generations), dict(self.visited), self.config)

    def state_dict(self) -> dict[str, Any]:
        """Return everything `load_state_dict` needs: numbers, strings, dicts and lists (the generator as text)."""
        return {
            "generations": [
                {
                    "architectures": [list(a) for a in g.architectures],
                    "scores": list(g.scores),
                    "origins": list(g.origins),
                }
                for g in self.generations
            ],
            "archive": [list(a) for a in self.archive],
            "asked": None if self._asked is None else [[list(a), origin] for a, origin in self._asked.items()],
            "rng": numpy_state(self.rng),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state; the search continues as if it had never stopped."""
        self.generations = [
            Generation(tuple(map(tuple, g["architectures"])), tuple(g["scores"]), tuple(g["origins"]))
            for g in state["generations"]
        ]
        self.visited = {}
        for generation in self.generations:
            self.visited.update(zip(generation.architectures, generation.scores, strict=True))
        self.archive = [tuple(a) for a in state["archive"]]
        self._asked = None if state["asked"] is None else {tuple(a): origin for a, origin in state["asked"]}
        set_numpy_state(self.rng, state["rng"])

    def _breed(self) -> dict[Architecture, str]:
        """Return the next population, each architecture with its origin."""
        space, config, rng = self.space, self.config, self.rng
        population: dict[Architecture, str] = {}

        def parent() -> Architecture:
            return self.archive[int(rng.integers(len(self.archive)))]

        if self.archive:
            self._add(
                population, "mutation", config.mutants, lambda: space.mutate(parent(), rng, config.mutation_probability)
            )
            self._add(population, "crossover", config.crossovers, lambda: space.crossover(parent(), parent(), rng))
        wanted = config.population - len(population)
        if self._add(population, "random", wanted, lambda: space.sample(rng)) < wanted:
            self._add_rare(population)
        return population

    def _add(
        self,
        population: dict[Architecture, str],
        origin: str,
        wanted: int,
        propose: Callable[[], Architecture],
        attempts: int | None = None,
    ) -> int:
        """Add up to `wanted` legal proposals within the allowed attempts; return how many were added."""
        added = 0
        for _ in range((attempts or self.config.attempts) * wanted):
            if added == wanted:
                break
            candidate = propose()
            if self._legal(candidate, population):
                population[candidate] = origin
                added += 1
        return added

    def _add_rare(self, population: dict[Architecture, str]) -> None:
        """Fill up where legal architectures are so rare that draws miss them, if need be with all there are."""
        wanted = self.config.population - len(population)
        if not self.space.is_listable:  # draw on
            self._add(population, "random", wanted, lambda: self.space.sample(self.rng), _MANY_DRAWS)
            return
        left = [a for a in self.space.enumerate() if self._legal(a, population)]
        for row in self.rng.permutation(len(left))[:wanted]:
            population[left[row]] = "random"

    def _legal(self, candidate: Architecture, population: dict[Architecture, str]) -> bool:
        if candidate in population or (candidate in self.visited and not self.config.allow_repeats):
            return False
        config = self.config
        if config.max_parameters is None and config.max_macs is None:
            return True
        cost = self.space.cost(candidate, config.network)
        return (config.max_parameters is None or cost.parameters <= config.max_parameters) and (
            config.max_macs is None or cost.macs <= config.max_macs
        )


def search(
    estimator: Estimator,
    space: SearchSpace,
    config: EvolutionConfig | None = None,
    *,
    rng: np.random.Generator,
    state: dict[str, Any] | None = None,
    on_generation: Callable[[Evolution], None] | None = None,
) -> SearchResult:
    """Return the result of evolution with a fitted estimator's primary score as fitness.

    rng: source of all random numbers. state: an earlier `Evolution.state_dict()` to resume from. on_generation: called
    after each generation, to show progress or to save `state_dict()`; it may raise to stop.
    """
    evolution = Evolution(space, config or EvolutionConfig(), rng)
    if state is not None:
        evolution.load_state_dict(state)
    primary = estimator.score_columns()[0]
    while population := evolution.ask():
        evolution.tell(estimator.score(population)[primary].tolist())
        if on_generation is not None:
            on_generation(evolution)
    return evolution.result()
