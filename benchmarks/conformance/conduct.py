"""Checks of what an estimator reports about itself and what it leaves alone: global state, images, ground truth."""

from __future__ import annotations

import ast
import inspect
import json
import math
import random
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch

from supertau.benchmarks.conformance.case import Case, Skipped
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.truth import GroundTruth

COSTS = ("train_images", "score_images", "supernet_parameters")
TRUTH_MODULES = ("truth", "official", "table")
"""Modules of search_spaces that hold or read accuracies of stand-alone training."""


def cost_is_reported(case: Case) -> None:
    """`cost` gives finite counts from `start` on, and score_images does not fall: a leaderboard shows tau per cost."""
    started = case.make()
    started.start(case.problem())
    _assert_costs(case, started.cost(), "after start()")
    before = case.fitted.cost()
    _assert_costs(case, before, "after fit()")
    case.fitted.score(case.few)
    after = case.fitted.cost()
    _assert_costs(case, after, "after score()")
    assert after["score_images"] >= before["score_images"], (
        f"{case.name}: scoring lowered cost()['score_images'] from {before['score_images']} to "
        f"{after['score_images']}: count up from start() on."
    )
    assert after["train_images"] == before["train_images"], f"{case.name}: scoring counts as training in cost()."


def _assert_costs(case: Case, cost: dict[str, float], when: str) -> None:
    missing = [name for name in COSTS if name not in cost]
    assert not missing, f"{case.name}.cost() {when} lacks {', '.join(missing)}: give counts, 0 where there is none."
    for name, value in cost.items():
        number = type(value) in (int, float) and math.isfinite(value) and value >= 0
        assert number, f"{case.name}.cost()['{name}'] {when} is {value!r}: expected a finite int or float, at least 0."


def diagnostics_are_json(case: Case) -> None:
    """`diagnostics` is a dict of finite JSON values: it goes into the record as it is."""
    case.fitted.score(case.few)
    figures = case.fitted.diagnostics()
    assert isinstance(figures, dict), f"{case.name}.diagnostics() gave {type(figures).__name__}, expected a dict."
    try:
        again = json.loads(json.dumps(figures, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"{case.name}.diagnostics() is not JSON ({error}): use .item() and .tolist(), and None for what is missing."
        ) from error
    assert list(again) == list(figures), f"{case.name}.diagnostics(): keys must be text, got {list(figures)}."


def global_state_is_left_alone(case: Case) -> None:
    """Random states and settings of python, numpy and torch stay as they were: others draw from them too."""
    before = _global_state()
    case.fit().score(case.few)
    after = _global_state()
    changed = [name for name in before if before[name] != after[name]]
    try:
        assert not changed, (
            f"{case.name} changed {', '.join(changed)}. Draw from generators seeded by problem.seed "
            "(estimators.training.generators), build modules within seeded_weights, and set nothing for the process."
        )
    finally:
        torch.set_num_threads(int(before["torch's number of threads"]))
        torch.set_default_dtype(before["torch's default dtype"])
        torch.set_grad_enabled(before["torch's grad mode"])


def _global_state() -> dict[str, Any]:
    _, keys, position, *rest = np.random.get_state()  # noqa: NPY002 - the legacy state is what is looked at
    return {
        "python's random state": random.getstate(),
        "numpy's global random state": (np.asarray(keys).tobytes(), position, rest),
        "torch's global random state": torch.get_rng_state().numpy().tobytes(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


def images_are_left_alone(case: Case) -> None:
    """Images and labels of the problem stay as they were: other runs in the process share them."""
    problem = case.problem()
    parts = {"training": problem.train, "validation": problem.validation}
    before = {name: (part.images.clone(), part.labels.clone()) for name, part in parts.items()}
    case.fit(problem).score(case.few)
    for name, part in parts.items():
        images, labels = before[name]
        assert torch.equal(images, part.images), f"{case.name} changed the {name} images in place: copy them first."
        assert torch.equal(labels, part.labels), f"{case.name} changed the {name} labels in place: copy them first."


def truth_is_not_seen(case: Case) -> None:
    """Neither fit nor score asks for ground truth, nor does the module import it: it would rank by the answer."""
    if case.cls.uses_truth:
        raise Skipped("it is a noise ceiling, which is given a ground-truth trial")
    imported = [name for cls in case.cls.__mro__[:-1] for name in _truth_imports(cls)]
    assert not imported, f"{case.name}: its module imports {', '.join(imported)}: an estimator never sees ground truth."
    asked: list[str] = []

    def refuse(name: str) -> Callable[..., Any]:
        def raising(*_: Any, **__: Any) -> Any:
            asked.append(name)
            raise SupertauError("an estimator never sees ground truth.")

        return raising

    with (
        mock.patch.object(type(case.space), "truth", refuse("space.truth()")),
        mock.patch.object(GroundTruth, "__post_init__", refuse("GroundTruth()")),
    ):
        try:
            case.fit().score(case.few)
        except SupertauError:
            if not asked:
                raise
    assert not asked, f"{case.name} asked for {asked[0]} during fit or score: an estimator never sees ground truth."


def _truth_imports(cls: type) -> list[str]:
    """Return modules of ground truth that the module of a class imports; nothing where its source is not at hand."""
    module = sys.modules.get(cls.__module__)
    try:
        tree = ast.parse(inspect.getsource(module)) if module is not None else None
    except (OSError, TypeError, SyntaxError):
        return []
    names: list[str] = []
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [n for n in names if n.startswith("supertau.search_spaces.") and set(n.split(".")) & set(TRUTH_MODULES)]
