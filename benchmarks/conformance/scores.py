"""Checks of the scores: their form, and what they may depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from supertau.benchmarks.conformance.case import CONNECTED, OTHER_SEED, Case, different, joined, tiny_images
from supertau.benchmarks.runs.shards import checked
from supertau.estimators.estimator import Budget, Estimator, Floats
from supertau.estimators.problem import ImageSet
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture


def score_needs_fit(case: Case) -> None:
    """`score` before `fit` raises NotFitted: scores of random weights must not pass for results."""
    try:
        case.make().score(case.few)
    except SupertauError:
        return
    except Exception as error:  # any other error is what this check is about
        raise AssertionError(
            f"{case.name}.score before fit raised {type(error).__name__} ({error}), expected NotFitted: "
            "read self.problem first, which raises it."
        ) from error
    raise AssertionError(f"{case.name}.score before fit gave scores, expected NotFitted: read self.problem first.")


def scores_are_well_formed(case: Case) -> None:
    """`score` gives each declared column as finite float64 of shape (N,), for unconnected architectures too."""
    _assert_form(case, case.fitted, case.pool)


def scores_differ(case: Case) -> None:
    """The primary column is not the same number for all connected architectures: that would rank nothing."""
    columns = case.fitted.score(case.pool[:CONNECTED])
    primary = next(iter(columns))
    distinct = np.unique(columns[primary])
    assert len(distinct) > 1, (
        f"{case.name}: column '{primary}' is {distinct[0]} for all of {CONNECTED} architectures. "
        "Does the score depend on the architecture, and is the smoke preset large enough to tell any two apart?"
    )


def scores_are_independent(case: Case) -> None:
    """A score depends on neither order nor company: pools are scored in parts, and resumed ones in other parts."""
    estimator, architectures = case.fitted, case.pool
    whole = estimator.score(architectures)
    backwards = joined([estimator.score(architectures[::-1])], range(len(architectures))[::-1])
    difference = different(whole, backwards)
    assert not difference, f"{case.name}: scores depend on order ({difference}). {_WHOLE}"
    parts = joined([estimator.score(architectures[:1]), estimator.score(architectures[1:])])
    difference = different(whole, parts)
    assert not difference, f"{case.name}: scores depend on how the pool is split ({difference}). {_WHOLE}"


_WHOLE = "Score each architecture on its own: reset statistics, and derive random numbers from seed and architecture."


def same_seed_same_scores(case: Case) -> None:
    """Two runs with one seed give the same bytes: otherwise no published number can be had again."""
    difference = different(case.reference, case.repeated)
    assert not difference, (
        f"{case.name}: two runs with one seed differ ({difference}). Draw all random numbers from generators seeded by "
        "problem.seed (estimators.training.generators), and build modules within seeded_weights."
    )


def other_seed_other_scores(case: Case) -> None:
    """Another seed gives other scores, unless `deterministic` says not: the spread over seeds is part of a result."""
    case.needs_reproducible()
    difference = different(case.reference, case.fit(case.problem(OTHER_SEED)).score(case.few))
    if case.cls.deterministic:
        assert not difference, (
            f"{case.name} is `deterministic`, but another seed changes {difference}: set deterministic = False."
        )
    else:
        assert difference, (
            f"{case.name}: another problem.seed gives the same scores. Seed by problem.seed; "
            "if chance plays no part, set deterministic = True."
        )


def fit_starts_afresh(case: Case) -> None:
    """`fit` forgets an earlier fit of the same instance."""
    case.needs_reproducible()
    estimator = case.make()
    estimator.fit(case.problem(OTHER_SEED), Budget(case.budget.passes // 2))
    estimator.fit(case.problem(), case.budget)
    difference = different(case.reference, estimator.score(case.few))
    assert not difference, (
        f"{case.name}: an earlier fit shows in the scores ({difference}). Build everything anew in start()."
    )


def other_images_work(case: Case) -> None:
    """Coloured images and another number of classes work: sizes come from the problem, not from one image set."""
    train, validation = (_coloured(part) for part in tiny_images())
    estimator = case.fit(case.problem(images=(train, validation)))
    _assert_form(case, estimator, case.few)


def _coloured(part: ImageSet) -> ImageSet:
    images = part.images.repeat(1, 3, 1, 1)
    return replace(part, images=images, labels=part.labels % 3, classes=3, mean=part.mean * 3, std=part.std * 3)


def _assert_form(case: Case, estimator: Estimator, architectures: tuple[Architecture, ...]) -> None:
    columns: dict[str, Floats] = estimator.score(architectures)
    assert isinstance(columns, dict), f"{case.name}.score gave {type(columns).__name__}: return a dict of columns."
    try:
        checked(estimator, architectures, columns)
    except SupertauError as error:
        raise AssertionError(f"{error} Return {{column: float64 array (N,)}}, finite, higher is better.") from error
    for name, values in columns.items():
        kind = getattr(values, "dtype", type(values).__name__)
        assert isinstance(values, np.ndarray), f"{case.name}.score: '{name}' is {kind}: return a numpy array."
        assert values.dtype == np.float64, f"{case.name}.score: '{name}' is {kind}: return float64."
