"""Evolutionary search: the published counts, the operators' statistics, limits, resuming, small spaces."""

import json

import numpy as np
import pytest

from supertau.estimators.components.evolution import Evolution, EvolutionConfig, search
from supertau.estimators.estimator import Estimator
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.space import Cost, SearchSpace

SPACE = NASBench201()
TARGET = (3, 2, 1, 4, 3, 3)


class Known(Estimator):
    """Counts what it is asked; the fitness is a fixed function of the cell, without ties."""

    Config = dict
    columns = ("fitness", "opposite")

    def __init__(self):
        super().__init__({})
        self.asked = []

    def score(self, architectures):
        self.asked.append(list(architectures))
        values = np.array([fitness(a) for a in architectures])
        return {"fitness": values, "opposite": -values}


def fitness(cell):
    return sum(a == b for a, b in zip(cell, TARGET, strict=False)) + sum(g * 5**i for i, g in enumerate(cell)) / 5**7


def run(seed=0, space=SPACE, **config):
    estimator = Known()
    return estimator, search(estimator, space, EvolutionConfig(**config), rng=np.random.default_rng(seed))


class Small(SearchSpace):
    """Binary strings; enumerable or not; parameters = number of ones."""

    name = "small"
    format = parse = canonical = is_connected = has_live_convolution = supernet = network = truth = None

    def __init__(self, genes=6, listed=True):
        self.choices, self.listed = (2,) * genes, listed

    @property
    def is_listable(self):
        return self.listed

    def cost(self, architecture, config):
        return Cost(sum(architecture), 10 * sum(architecture) * config.channels)


# --- the published counts -----------------------------------------------------------------------------------------


def test_1050_evaluations_none_twice_and_the_best_of_all_wins():
    estimator, result = run()
    visited = [a for population in estimator.asked for a in population]
    assert [len(population) for population in estimator.asked] == [50] * 21
    assert result.evaluations == len(visited) == len(set(visited)) == 1050
    assert result.visited == {a: fitness(a) for a in visited}
    assert result.best == max(visited, key=fitness)
    assert result.score == fitness(result.best)


def test_it_finds_the_best_of_the_space_where_random_search_does_not():
    winners = {run(seed)[1].best for seed in range(5)}
    assert winners == {max(SPACE.enumerate(), key=fitness)} == {TARGET}
    chance = run(0, generations=20, mutants=0, crossovers=0)[1]
    assert chance.best != TARGET


def test_trajectory_is_the_best_so_far():
    _, result = run()
    best = -np.inf
    for reached, generation in zip(result.trajectory, result.generations, strict=True):
        best = max(best, *generation.scores)
        assert reached == best
    assert len(result.trajectory) == 21


def test_the_first_generation_is_random_and_the_others_have_up_to_25_of_each():
    _, result = run()
    assert set(result.generations[0].origins) == {"random"}
    for generation in result.generations[1:]:
        counts = {o: generation.origins.count(o) for o in ("mutation", "crossover", "random")}
        assert counts["mutation"] == 25  # at p = 0.3 ten tries per mutant suffice
        assert counts["crossover"] <= 25
        assert sum(counts.values()) == 50


def test_the_seed_decides():
    assert run(3)[1] == run(3)[1]
    assert run(3)[1].generations[0] != run(4)[1].generations[0]


# --- operators ----------------------------------------------------------------------------------------------------


def hamming(one, two):
    return sum(a != b for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(("probability", "changed", "unchanged"), [(0.3, 1.44, 0.193), (0.1, 0.48, 0.606)])
def test_expected_mutation(probability, changed, unchanged):
    rng = np.random.default_rng(0)
    distances = np.array([hamming(TARGET, SPACE.mutate(TARGET, rng, probability)) for _ in range(20_000)])
    per_gene = probability * (1 - 1 / 5)
    assert 6 * per_gene == pytest.approx(changed)
    assert (1 - per_gene) ** 6 == pytest.approx(unchanged, abs=5e-4)
    assert distances.mean() == pytest.approx(changed, abs=4 * (6 * per_gene * (1 - per_gene) / 20_000) ** 0.5)
    assert (distances == 0).mean() == pytest.approx(unchanged, abs=4 * (unchanged * (1 - unchanged) / 20_000) ** 0.5)


class Recording(NASBench201):
    """Remembers the parents and children of both operators."""

    def __init__(self):
        self.mutations, self.crossovers = [], []

    def mutate(self, architecture, rng, probability):
        child = super().mutate(architecture, rng, probability)
        self.mutations.append((architecture, child, probability))
        return child

    def crossover(self, one, two, rng):
        child = super().crossover(one, two, rng)
        self.crossovers.append((one, two, child))
        return child


def test_parents_are_the_ten_best_ever_seen():
    space, rng = Recording(), np.random.default_rng(0)
    evolution = Evolution(space, EvolutionConfig(), rng)
    seen = []
    while population := evolution.ask():
        expected = sorted(seen, key=fitness, reverse=True)[:10]
        used = {parent for parent, _, _ in space.mutations}
        used |= {parent for one, two, _ in space.crossovers for parent in (one, two)}
        assert used <= set(expected)
        assert evolution.archive == expected
        if seen:
            assert len(used) == 10  # drawn uniformly, some hundred times: every parent comes up
        space.mutations.clear()
        space.crossovers.clear()
        evolution.tell([fitness(a) for a in population])
        seen += population


def test_crossover_takes_every_gene_from_a_parent_and_half_from_each():
    space = Recording()
    search(Known(), space, EvolutionConfig(), rng=np.random.default_rng(0))
    assert len(space.crossovers) > 500
    from_first = total = 0
    for one, two, child in space.crossovers:
        assert all(gene in (a, b) for gene, a, b in zip(child, one, two, strict=True))
        from_first += sum(gene == a != b for gene, a, b in zip(child, one, two, strict=True))
        total += hamming(one, two)
    assert from_first / total == pytest.approx(0.5, abs=4 * (0.25 / total) ** 0.5)


def test_at_most_ten_attempts_per_wanted_child():
    space = Recording()
    evolution = Evolution(space, EvolutionConfig(mutation_probability=0.0), np.random.default_rng(0))
    evolution.tell([fitness(a) for a in evolution.ask()])
    evolution.ask()
    assert len(space.mutations) == 250  # every mutant equals its parent, which is visited
    assert len(space.crossovers) <= 250
    assert "mutation" not in evolution._asked.values()


def test_mutation_probability_is_recorded():
    assert EvolutionConfig().mutation_probability == 0.3
    assert EvolutionConfig().mutation_rule == "adapted"
    assert EvolutionConfig(mutation_probability=0.1).mutation_rule == "literal"
    space = Recording()
    search(Known(), space, EvolutionConfig(mutation_probability=0.1, generations=2), rng=np.random.default_rng(0))
    assert {p for _, _, p in space.mutations} == {0.1}


# --- limits and small spaces --------------------------------------------------------------------------------------


def test_cost_limit():
    limit = 73_306 + 2 * 243_040 + 28_000
    _, result = run(max_parameters=limit)
    config = EvolutionConfig().network
    assert result.evaluations == 1050
    assert max(SPACE.cost(a, config).parameters for a in result.visited) == limit
    _, result = run(max_macs=60_000_000, generations=3)
    assert max(SPACE.cost(a, config).macs for a in result.visited) <= 60_000_000


def test_a_limit_that_draws_rarely_meet():
    # one cell in 4,096 has no ones, twelve have one: the draws miss most of them, the list does not
    _, result = run(space=Small(12), max_parameters=1)
    assert set(result.visited) == {a for a in Small(12).enumerate() if sum(a) <= 1}
    few = {"population": 6, "mutants": 1, "crossovers": 1, "attempts": 1, "max_parameters": 1}
    _, result = run(space=Small(8, listed=False), **few)
    assert len(result.visited) == 9


def test_a_limit_that_nothing_meets_is_an_error():
    evolution = Evolution(Small(), EvolutionConfig(max_parameters=-1), np.random.default_rng(0))
    for _ in range(2):
        with pytest.raises(SupertauError, match="small is within the limits"):
            evolution.ask()


def test_a_small_space_is_visited_whole_and_then_ends():
    estimator, result = run(space=Small(6))
    assert [len(p) for p in estimator.asked] == [50, 14]
    assert set(result.visited) == set(Small(6).enumerate())
    estimator, result = run(space=Small(3))
    assert [len(p) for p in estimator.asked] == [8]


# --- repeats ------------------------------------------------------------------------------------------------------


def test_repeats_only_when_allowed_and_never_within_a_generation():
    estimator, result = run(allow_repeats=True)
    assert result.evaluations == 1050
    assert all(len(set(population)) == 50 for population in estimator.asked)
    assert len(result.visited) < 1050
    assert run()[1].evaluations == len(run()[1].visited)


def test_repeats_in_a_small_space_go_on_to_the_end():
    estimator, _ = run(space=Small(6), allow_repeats=True)
    assert [len(p) for p in estimator.asked] == [50] * 21


def test_a_repeat_overwrites_the_score_and_its_place_in_the_archive():
    config = EvolutionConfig(
        population=2,
        parents=1,
        mutants=0,
        crossovers=0,
        generations=2,
        allow_repeats=True,
        network=EvolutionConfig().network,
    )
    evolution = Evolution(Small(1), config, np.random.default_rng(0))
    cells = evolution.ask()
    evolution.tell([1.0, 0.0])
    assert evolution.archive == [cells[0]]
    again = evolution.ask()
    evolution.tell([0.5 if a == cells[0] else 0.75 for a in again])
    assert evolution.visited == {cells[0]: 0.5, cells[1]: 0.75}
    assert evolution.archive == [cells[1]]
    assert evolution.best == (cells[1], 0.75)


def test_among_equals_the_older_stays_ahead():
    evolution = Evolution(SPACE, EvolutionConfig(), np.random.default_rng(0))
    first = evolution.ask()
    evolution.tell([1.0] * 50)
    assert evolution.archive == first[:10]
    evolution.ask()
    evolution.tell([1.0] * 50)
    assert evolution.archive == first[:10]
    assert evolution.best == (first[0], 1.0)


# --- steps, resuming, errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("allow_repeats", [False, True])
@pytest.mark.parametrize("stop", [1, 7, 20])
def test_resumed_equals_uninterrupted(stop, allow_repeats):
    config = EvolutionConfig(allow_repeats=allow_repeats)
    whole = search(Known(), SPACE, config, rng=np.random.default_rng(5))
    saved = {}

    def save_and_stop(evolution):
        if len(evolution.generations) == stop:
            saved["state"] = json.dumps(evolution.state_dict())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(Known(), SPACE, config, rng=np.random.default_rng(5), on_generation=save_and_stop)
    state = json.loads(saved["state"])
    estimator = Known()
    assert search(estimator, SPACE, config, rng=np.random.default_rng(99), state=state) == whole
    assert len(estimator.asked) == 21 - stop


def test_resumed_between_ask_and_tell_scores_the_same_population():
    evolution = Evolution(SPACE, EvolutionConfig(), np.random.default_rng(5))
    evolution.tell([fitness(a) for a in evolution.ask()])
    asked = evolution.ask()
    state = json.loads(json.dumps(evolution.state_dict()))
    other = Evolution(SPACE, EvolutionConfig(), np.random.default_rng(6))
    other.load_state_dict(state)
    assert other.ask() == evolution.ask() == asked
    for e in (evolution, other):
        e.tell([fitness(a) for a in asked])
    assert other.ask() == evolution.ask()


def test_every_generation_is_reported():
    reported = []
    search(
        Known(),
        SPACE,
        EvolutionConfig(generations=3),
        rng=np.random.default_rng(0),
        on_generation=lambda e: reported.append((len(e.generations), len(e.visited), e.finished)),
    )
    assert reported == [(1, 50, False), (2, 100, False), (3, 150, False), (4, 200, True)]


def test_wrong_scores_are_refused():
    evolution = Evolution(SPACE, EvolutionConfig(), np.random.default_rng(0))
    with pytest.raises(SupertauError, match="0 architectures"):
        evolution.tell([1.0])
    with pytest.raises(SupertauError, match="nothing has been scored"):
        _ = evolution.best
    evolution.ask()
    with pytest.raises(SupertauError, match="49 scores for 50"):
        evolution.tell([1.0] * 49)
    with pytest.raises(SupertauError, match="finite"):
        evolution.tell([float("nan")] * 50)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"population": 10}, "do not fit"),
        ({"parents": 0}, "parents must be at least 1"),
        ({"mutation_probability": 1.5}, "mutation_probability must be from 0 to 1, got 1.5"),
        ({"crossovers": -1}, "crossovers must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(config, message):
    with pytest.raises(SupertauError, match=message):
        EvolutionConfig(**config)
