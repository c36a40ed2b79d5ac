"""Checks of training: its budget, its reports, and that it can be watched, stopped and resumed."""

from __future__ import annotations

import io
import math
from typing import Any

import torch

from supertau.benchmarks.conformance.case import PASSES, Case, Recorder, Skipped, different, through_disk
from supertau.benchmarks.runs.events import Interrupted
from supertau.estimators.estimator import Estimator

LEAST_STEPS = 4
"""Steps that the tiny budget must give, so that there is a middle to stop in."""
PLAIN = (torch.Tensor, bool, int, float, str, type(None))


def budget_is_kept(case: Case) -> None:
    """Training uses images, and no more than the budget; other methods use none: tau is compared at equal cost."""
    used = case.fitted.cost()["train_images"]
    if not case.cls.trains:
        assert used == 0, f"{case.name} has trains=False but cost()['train_images'] is {used}: set trains = True."
        return
    assert used > 0, (
        f"{case.name} trained on no image of a budget of {PASSES}: is it counted in cost()['train_images']? "
        f"Otherwise {case.smaller_steps}; if it does not train, set trains = False."
    )
    assert used <= PASSES, (
        f"{case.name} trained on {used} images, the budget is {PASSES}: make budget.steps(images per step) steps, "
        "counting every pass of a step that runs several."
    )


def monitor_is_called_every_step(case: Case) -> None:
    """monitor.after_step is called after every step up to `total`: progress, checkpoints and Ctrl-C need it."""
    steps = case.steps
    if not case.cls.trains:
        raise Skipped("it does not train")
    assert steps, f"{case.name}.train never called monitor.after_step: call it after each step."
    totals = {s.total for s in steps}
    assert len(totals) == 1, f"{case.name}: `total` changed during training: {sorted(totals)}. Count all steps before."
    numbers, total = [s.step for s in steps], steps[-1].total
    assert numbers == list(range(1, total + 1)), (
        f"{case.name}: steps {_shortened(numbers)} of {total} were reported, expected 1 to {total}, each once."
    )
    assert total >= LEAST_STEPS, (
        f"{case.name} makes {total} steps of {PASSES} images; the kit needs {LEAST_STEPS} to stop in the middle: "
        f"{case.smaller_steps}."
    )
    for s in steps:
        assert math.isfinite(s.loss), f"{case.name}: loss {s.loss} at step {s.step}: lower the learning rate."
        assert math.isfinite(s.learning_rate), f"{case.name}: learning rate {s.learning_rate} at step {s.step}."
    images = [s.train_images for s in steps]
    assert images[0] > 0, f"{case.name}: cost()['train_images'] is 0 after the first step: count as you train."
    assert images == sorted(images), f"{case.name}: cost()['train_images'] falls during training."


def scoring_leaves_no_trace(case: Case) -> None:
    """Scoring in mid-training changes nothing of what follows: the curve along training must not alter the result."""
    middle = case.needs_steps()
    case.needs_reproducible()

    def look(estimator: Estimator, step: int, total: int) -> None:
        if step in (1, middle):
            estimator.score(case.few)

    estimator = case.fit(monitor=Recorder(then=look))
    difference = different(case.reference, estimator.score(case.few))
    assert not difference, (
        f"{case.name}: training ended differently after scoring in its middle ({difference}). Put modes and batch-norm "
        "statistics back (PathScorer does), and do not draw from training's generators in score()."
    )


def training_resumes(case: Case) -> None:
    """A run stopped in mid-training and resumed by a new instance ends as the uninterrupted one, to the last byte."""
    middle = case.needs_steps()
    case.needs_reproducible()
    kept: dict[str, Any] = {}

    def stop(estimator: Estimator, step: int, total: int) -> None:
        if step == middle:
            kept.update(through_disk(estimator.state_dict()))
            raise Interrupted

    try:
        case.fit(monitor=Recorder(then=stop))
    except Interrupted:
        pass
    else:
        raise AssertionError(f"{case.name}.train went on after the monitor raised: let its exceptions pass.")
    again, recorder = case.make(), Recorder()
    again.restore(case.problem(), kept)
    again.train(case.budget, recorder)
    numbers = [s.step for s in recorder.steps]
    expected = list(range(middle + 1, case.steps[-1].total + 1))
    assert numbers == expected, (
        f"{case.name} stopped after step {middle} and reported {_shortened(numbers)} when resumed, expected "
        f"{_shortened(expected)}: the step, or its training loop, must be named in `state`."
    )
    difference = different(case.reference, again.score(case.few))
    assert not difference, (
        f"{case.name}: a resumed run differs from the uninterrupted one ({difference}). `state` must name all that "
        "changes in training: networks, loops, samplers, generators, counters."
    )


def scores_survive_restore(case: Case) -> None:
    """A new instance scores directly after `restore` as the one that was saved: scoring may go on after a crash."""
    case.needs_reproducible()
    again = case.make()
    again.restore(case.problem(), through_disk(case.fitted.state_dict()))
    difference = different(case.reference, again.score(case.few))
    assert not difference, (
        f"{case.name}: a restored instance scores differently ({difference}). Does `state` name all that changes?"
    )
    used, before = again.cost()["train_images"], case.fitted.cost()["train_images"]
    assert used == before, f"{case.name}: cost()['train_images'] was {before}, {used} after restore: keep the count."


def state_is_plain_data(case: Case) -> None:
    """`state_dict` returns tensors, numbers, text, dicts and lists: checkpoints are read without running code."""
    state = case.fitted.state_dict()
    assert isinstance(state, dict), f"{case.name}.state_dict() gave {type(state).__name__}, expected a dict."
    foreign = _foreign(state, "state")
    assert not foreign, (
        f"{case.name}.state_dict(): {foreign}; expected tensors, numbers, text, dicts and lists only. "
        "Attributes named in `state` are converted: generators and numpy arrays, too."
    )
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    torch.load(file, weights_only=True)


def _foreign(value: Any, place: str) -> str:
    """Return the place and type of something that is not plain data; an empty text when all is plain."""
    if isinstance(value, dict):
        for key, member in value.items():
            if type(key) not in (str, int):
                return f"{place} has the key {key!r} of type {type(key).__name__}"
            if foreign := _foreign(member, f"{place}[{key!r}]"):
                return foreign
        return ""
    if isinstance(value, list | tuple):
        return next((text for i, member in enumerate(value) if (text := _foreign(member, f"{place}[{i}]"))), "")
    # The exact type: a numpy float is a float, and torch.load refuses it.
    return "" if isinstance(value, torch.Tensor) or type(value) in PLAIN else f"{place} is {type(value).__name__}"


def _shortened(numbers: list[int]) -> str:
    return str(numbers) if len(numbers) <= 8 else f"[{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}]"
