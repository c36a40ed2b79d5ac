"""What the noise ceiling is given: one training seed of the ground truth to score by, the others to be judged by."""

from __future__ import annotations

from supertau.estimators.oracle_noise import OracleProblem
from supertau.estimators.problem import Problem
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.pool import Pool
from supertau.search_spaces.truth import GroundTruth


def oracle_problem(problem: Problem, pool: Pool, truth: GroundTruth) -> tuple[Problem, Pool, str]:
    """Return the problem with one trial, the architectures that have every trial, and the name of the one given away.

    Seed k of the run takes trial k. Raises SupertauError for a truth with a single trial.
    """
    rows = truth.trials[truth.rows(pool.architectures)]
    full = [a for a, row in zip(pool.architectures, rows, strict=True) if not (row != row).any()]
    trials = len(truth.seeds)
    if trials < 2 or len(full) < 2:
        raise SupertauError(
            f"a noise ceiling needs at least two training seeds in the ground truth; '{truth.source}' has {trials} "
            f"and {len(full)} architectures with all of them."
        )
    trial = problem.seed % trials
    given = {a: float(truth.trials[truth.rows([a])[0], trial]) for a in full}
    problem = OracleProblem(
        problem.space, problem.network, problem.train, problem.validation, problem.seed, problem.device, trial=given
    )
    return problem, Pool(f"{pool.name} with {trials} trials", tuple(full)), truth.seeds[trial]
