"""The list of checks, and the two ways to run them: as a function, and from pytest."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from supertau.benchmarks.conformance import conduct, declaration, scores, training
from supertau.benchmarks.conformance.case import Case, Skipped
from supertau.estimators.estimator import Estimator
from supertau.search_spaces.spaces import get_space

if TYPE_CHECKING:
    import pytest

Check = Callable[[Case], None]
"""Passes silently, raises AssertionError with what was expected and what to do, or Skipped with the reason."""


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        declaration.config_is_plain,
        declaration.presets_are_valid,
        declaration.columns_are_declared,
        declaration.role_is_known,
        scores.score_needs_fit,
        scores.scores_are_well_formed,
        scores.scores_differ,
        scores.scores_are_independent,
        scores.same_seed_same_scores,
        scores.other_seed_other_scores,
        scores.fit_starts_afresh,
        scores.other_images_work,
        training.budget_is_kept,
        training.monitor_is_called_every_step,
        training.scoring_leaves_no_trace,
        training.training_resumes,
        training.scores_survive_restore,
        training.state_is_plain_data,
        conduct.cost_is_reported,
        conduct.diagnostics_are_json,
        conduct.global_state_is_left_alone,
        conduct.images_are_left_alone,
        conduct.truth_is_not_seen,
    )
}

FIRST_FIT = scores.scores_are_well_formed.__name__
"""If the estimator cannot fit or score at all, the checks after this one would only repeat that."""


@dataclass(frozen=True)
class Result:
    """How one check ended. skipped_reason: why it does not apply (it then counts as passed); message: why it failed."""

    name: str
    passed: bool
    skipped_reason: str = ""
    message: str = ""

    @property
    def status(self) -> str:
        """Return 'passed', 'skipped' or 'FAILED'."""
        return "FAILED" if not self.passed else "skipped" if self.skipped_reason else "passed"


def check_estimator(
    cls: type[Estimator], listener: Callable[[Result], None] | None = None, *, space: str = "nasbench201"
) -> list[Result]:
    """Return how every check ended for an estimator class on a space; nothing is raised for a class that fails.

    listener: called with each result as soon as it is there.
    """
    case, results, hopeless = Case(cls, get_space(space)), list[Result](), ""
    for name, check in CHECKS.items():
        result = Result(name, True, hopeless) if hopeless else _run(name, check, case)
        if name == FIRST_FIT and result.message.startswith(_RAISED):
            hopeless = f"fit or score raised; see {FIRST_FIT}"
        results.append(result)
        if listener is not None:
            listener(result)
    return results


def parametrize(cls: type[Estimator]) -> pytest.MarkDecorator:
    """Return a pytest mark that gives a test function one argument, `check`, per check; the test calls it: check()."""
    import pytest

    case = Case(cls)

    def bound(check: Check) -> Callable[[], None]:
        def run() -> None:
            __tracebackhide__ = True
            with one_thread():
                try:
                    check(case)
                except Skipped as reason:
                    pytest.skip(str(reason))

        return run

    return pytest.mark.parametrize("check", [pytest.param(bound(c), id=name) for name, c in CHECKS.items()])


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one thread of torch."""
    # The problem is too small for more: threads that wait for each other make a busy machine many times slower.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_RAISED = "raised "


def _run(name: str, check: Check, case: Case) -> Result:
    try:
        with one_thread():
            check(case)
    except Skipped as reason:
        return Result(name, True, skipped_reason=str(reason))
    except AssertionError as error:
        return Result(name, False, message=str(error) or f"an assertion does not hold{_place(error, case.cls)}.")
    except Exception as error:  # an estimator may fail in any way; that is reported, and the other checks run
        text = f"{_RAISED}{type(error).__name__}: {error}{_place(error, case.cls)}"
        return Result(name, False, message=text)
    return Result(name, True)


def _place(error: BaseException, cls: type) -> str:
    """Return the last line of the class's own file that an error passed through."""
    try:
        own = inspect.getsourcefile(cls)
    except TypeError:
        own = None
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if f.filename == own), frames[-1] if frames else None)
    return f" ({frame.filename}, line {frame.lineno})" if frame is not None else ""
