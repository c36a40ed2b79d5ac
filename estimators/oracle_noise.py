"""The noise ceiling as a leaderboard row: one ground-truth training ranks, the others judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from supertau.estimators.estimator import Estimator, Floats
from supertau.estimators.problem import Problem
from supertau.estimators.settings import Settings
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture


@dataclass(frozen=True, eq=False)
class OracleProblem(Problem):
    """A problem that carries one ground-truth trial: the accuracy of each architecture trained with one seed.

    Only `OracleNoise` may be given one; the runner judges it against the mean of the remaining seeds.
    """

    trial: Mapping[Architecture, float] = field(kw_only=True)


@dataclass(frozen=True)
class OracleNoiseConfig(Settings):
    """Nothing to set: the trial comes with the problem."""


class OracleNoise(Estimator):
    """Ranks by a single stand-alone training: no imitation of training can be expected to rank better."""

    Config = OracleNoiseConfig
    trains = False
    uses_truth = True
    role = "ceiling"
    title = "One training seed (noise ceiling)"

    def start(self, problem: Problem) -> None:
        """Take the trial; raise SupertauError when the problem has none, or one that is not finite."""
        if not isinstance(problem, OracleProblem):
            raise SupertauError(
                "oracle_noise ranks by one ground-truth trial, which an ordinary Problem does not carry: "
                "pass an OracleProblem(..., trial={architecture: accuracy})."
            )
        if not np.isfinite(list(problem.trial.values())).all():
            raise SupertauError(
                "oracle_noise: the trial has accuracies that are not finite; leave those architectures out."
            )
        super().start(problem)

    def score(self, architectures: Sequence[Architecture]) -> dict[str, Floats]:
        """Return the accuracy in the trial (N,); raise SupertauError naming an architecture the trial lacks."""
        problem = self.problem
        assert isinstance(problem, OracleProblem)
        missing = [a for a in architectures if a not in problem.trial]
        if missing:
            raise SupertauError(
                f"oracle_noise: the trial has no accuracy for {len(missing)} of {len(architectures)} architectures, "
                f"the first being {problem.space.format(missing[0])}. Restrict the pool to what this seed trained."
            )
        return {"score": np.array([problem.trial[a] for a in architectures], dtype=np.float64)}
