"""The conformance kit: what any estimator must keep to, checked in seconds on a tiny problem.

In a plugin's tests::

    @parametrize(MyEstimator)
    def test_conformance(check):
        check()
"""

from supertau.benchmarks.conformance.case import Case, Skipped
from supertau.benchmarks.conformance.kit import CHECKS, Check, Result, check_estimator, parametrize

__all__ = ["CHECKS", "Case", "Check", "Result", "Skipped", "check_estimator", "parametrize"]
