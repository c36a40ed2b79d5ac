"""The training loop: schedule, order of batches, one step by value, what must not move, resuming."""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from states import loaded, stored
from torch import nn
from torch.nn import functional

from supertau.estimators.estimator import Diverged, Monitor
from supertau.estimators.problem import ImageSet, Problem
from supertau.estimators.training.augmentation import normalise
from supertau.estimators.training.generators import seeded_weights, torch_stream
from supertau.estimators.training.loop import Batches, Optimisation, TrainingLoop
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nasbench201 import NASBench201
from supertau.search_spaces.space import NetworkConfig

SPACE = NASBench201()
TINY = NetworkConfig(channels=4, cells=1, image_size=8, classes=10, image_channels=1)
NONE, SKIP, CONV1, CONV3, POOL = range(5)
FULL = Optimisation(
    batch_size=8,
    learning_rate=0.1,
    final_learning_rate=0.01,
    momentum=0.9,
    nesterov=True,
    weight_decay=0.02,
    clip=0.5,
)


def optimisation(**changes):
    return Optimisation(**{**vars(FULL), **changes})


def pixels(rows=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (rows, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageSet("noise", images, torch.randint(10, (rows,), generator=generator), 10, (0.5,), (0.25,))


def small(seed=0, rows=20):
    return Problem(SPACE, TINY, pixels(rows), pixels(8, seed=1), seed)


class Listener(Monitor):
    """Records the reports, and calls a function after each step."""

    def __init__(self, then=lambda step: None):
        self.reported, self.then = [], then

    def after_step(self, estimator, step, total, loss, learning_rate):
        self.reported.append((estimator, step, total, float(loss), learning_rate))
        self.then(step)


# --- schedule -------------------------------------------------------------------------------------------------------


def test_learning_rate_is_a_cosine():
    for step in range(1000):
        expected = 0.01 + 0.09 * (1 + math.cos(math.pi * step / 1000)) / 2
        assert FULL.rate(step, 1000) == pytest.approx(expected, rel=1e-12)


def test_learning_rate_at_known_points():
    assert FULL.rate(0, 100) == 0.1
    assert FULL.rate(50, 100) == pytest.approx(0.055)
    assert FULL.rate(100, 100) == pytest.approx(0.01)
    assert FULL.rate(25, 100) == pytest.approx(0.01 + 0.09 * (0.5 + math.sqrt(0.125)))
    assert FULL.rate(0, 0) == 0.1
    rates = [FULL.rate(step, 100) for step in range(100)]
    assert all(earlier > later for earlier, later in itertools.pairwise(rates))


# --- order of batches -----------------------------------------------------------------------------------------------


def test_each_epoch_is_a_new_permutation_without_its_incomplete_last_batch():
    batches = Batches(22, 5, torch.Generator().manual_seed(0))
    epochs = [[batches.next() for _ in range(4)] for _ in range(50)]
    seen = torch.zeros(22)
    for epoch in epochs:
        assert {len(batch) for batch in epoch} == {5}
        rows = torch.cat(epoch)
        assert len(set(rows.tolist())) == 20
        assert set(rows.tolist()) <= set(range(22))
        seen[rows] += 1
    orders = {tuple(torch.cat(epoch).tolist()) for epoch in epochs}
    assert len(orders) == 50
    assert seen.min() >= 38  # 45.5 expected: no row is left out for good


def test_batches_that_divide_the_rows_leave_none_out():
    batches = Batches(20, 5, torch.Generator().manual_seed(0))
    for _ in range(3):
        assert sorted(torch.cat([batches.next() for _ in range(4)]).tolist()) == list(range(20))


def test_a_batch_may_be_all_rows_and_not_more():
    assert sorted(Batches(7, 7, torch.Generator()).next().tolist()) == list(range(7))
    with pytest.raises(SupertauError, match="a batch of 8 does not fit into 7 training images: choose a smaller"):
        Batches(7, 8, torch.Generator())


@pytest.mark.parametrize("done", range(11))
def test_batches_go_on_where_they_were_saved(done):
    whole = Batches(22, 5, torch.Generator().manual_seed(3))
    expected = [whole.next().tolist() for _ in range(11)]
    first = Batches(22, 5, torch.Generator().manual_seed(3))
    before = [first.next().tolist() for _ in range(done)]
    state = copy.deepcopy(first.state_dict())
    second = Batches(22, 5, torch.Generator().manual_seed(99))
    second.load_state_dict(state)
    assert before + [second.next().tolist() for _ in range(11 - done)] == expected


# --- one step, by value ---------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A linear classifier in double precision on raw pixels, and a parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(10, 64, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(10, generator=generator, dtype=torch.float64))
        self.idle = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def loss(self, images, labels):
        logits = images.flatten(1).double() / 255 @ self.weight.T + self.bias
        return functional.cross_entropy(logits, labels)


def by_hand(problem, settings, total):
    """Return weight and bias after SGD written out in numpy: softmax gradient, clip, decay, momentum, Nesterov."""
    start = Linear()
    values = {"weight": start.weight.detach().numpy().copy(), "bias": start.bias.detach().numpy().copy()}
    buffers = {}
    order = Batches(len(problem.train), settings.batch_size, torch_stream(problem.seed, "order"))
    for step in range(total):
        rows = order.next()
        inputs = problem.train.images[rows].flatten(1).double().numpy() / 255
        logits = inputs @ values["weight"].T + values["bias"]
        odds = np.exp(logits - logits.max(1, keepdims=True))
        error = odds / odds.sum(1, keepdims=True)
        error[np.arange(len(rows)), problem.train.labels[rows].numpy()] -= 1
        error /= len(rows)
        gradients = {"weight": error.T @ inputs, "bias": error.sum(0)}
        norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        if settings.clip:
            gradients = {k: g * min(1, settings.clip / (norm + 1e-6)) for k, g in gradients.items()}
        rate = settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * 0.5 * (
            1 + math.cos(math.pi * step / total)
        )
        for name, value in values.items():
            direction = gradients[name] + settings.weight_decay * value
            buffers[name] = direction if step == 0 else settings.momentum * buffers[name] + direction
            ahead = direction + settings.momentum * buffers[name] if settings.nesterov else buffers[name]
            values[name] = value - rate * ahead
    return values


@pytest.mark.parametrize("total", [1, 5])
@pytest.mark.parametrize(
    "changes",
    [{}, {"nesterov": False}, {"clip": 0.0}, {"weight_decay": 0.0}, {"momentum": 0.0, "nesterov": False}],
    ids=["all", "plain momentum", "no clip", "no decay", "no momentum"],
)
def test_steps_equal_sgd_written_by_hand(total, changes):
    settings, problem, model = optimisation(**changes), small(), Linear()
    loop = TrainingLoop(model.parameters(), problem, model.loss, settings)
    loop.run(None, total, Monitor())
    for name, value in by_hand(problem, settings, total).items():
        np.testing.assert_allclose(getattr(model, name).detach().numpy(), value, rtol=0, atol=1e-12)
    assert torch.equal(model.idle, Linear().idle)
    assert loop.step == total
    assert loop.images_seen == 8 * total


def test_settings_of_the_comparison_all_matter():
    """The hand-written results differ from each other: agreement with each of them says something."""
    variants = [{}, {"nesterov": False}, {"clip": 0.0}, {"weight_decay": 0.0}, {"momentum": 0.0}]
    results = [by_hand(small(), optimisation(**changes), 5)["weight"] for changes in variants]
    for one, two in itertools.combinations(results, 2):
        assert np.abs(one - two).max() > 1e-5


def gradient_loop(clip, objective):
    one = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    two = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    plain = optimisation(momentum=0.0, nesterov=False, weight_decay=0.0, clip=clip, learning_rate=1.0)
    TrainingLoop([one, two], small(), lambda _images, _labels: objective(one, two), plain).run(None, 1, Monitor())
    return [-value for p in (one, two) for value in p.tolist()]


def test_clip_is_of_the_global_norm():
    def objective(one, two):
        return 3 * one[0] + 4 * two[0]

    assert gradient_loop(1.0, objective) == pytest.approx([0.6, 0, 0.8], abs=1e-6)
    assert gradient_loop(5.5, objective) == [3, 0, 4]
    assert gradient_loop(0.0, objective) == [3, 0, 4]


def test_clip_follows_the_accumulation_of_the_gradient():
    """An objective of several terms adds its gradients up; the sum is clipped, not the terms."""

    def objective(one, two):
        return 30 * one[0] - 27 * one[0] + sum(two[0] for _ in range(4))

    assert gradient_loop(1.0, objective) == pytest.approx([0.6, 0, 0.8], abs=1e-6)
    assert gradient_loop(5.5, objective) == [3, 0, 4]


def test_objective_gets_raw_rows_of_the_training_images():
    problem, got = small(), []
    weight = nn.Parameter(torch.zeros(()))

    def objective(images, labels):
        got.append((images, labels))
        return weight * 1

    TrainingLoop([weight], problem, objective, FULL).run(None, 5, Monitor())
    order = Batches(20, 8, torch_stream(problem.seed, "order"))
    for images, labels in got:
        rows = order.next()
        assert torch.equal(images, problem.train.images[rows])
        assert torch.equal(labels, problem.train.labels[rows])


def test_monitor_is_called_every_step_with_loss_and_learning_rate():
    model, problem = Linear(), small()
    losses = []

    def objective(images, labels):
        loss = model.loss(images, labels)
        losses.append(loss.item())
        return loss

    listener, estimator = Listener(), object()
    TrainingLoop(model.parameters(), problem, objective, FULL).run(estimator, 5, listener)
    assert listener.reported == [(estimator, n + 1, 5, losses[n], FULL.rate(n, 5)) for n in range(5)]


def test_order_of_batches_follows_the_seed_of_the_problem():
    def seen(seed):
        model, rows = Linear(), []

        def objective(images, labels):
            rows.append(labels.tolist())
            return model.loss(images, labels)

        TrainingLoop(model.parameters(), small(seed), objective, FULL).run(None, 4, Monitor())
        return rows

    assert seen(1) == seen(1) != seen(2)


# --- divergence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_training(bad):
    model, listener = Linear(), Listener()
    calls = iter([1.0, 1.0, bad, 1.0])
    loop = TrainingLoop(
        model.parameters(), small(), lambda images, labels: next(calls) * model.loss(images, labels), FULL
    )
    with pytest.raises(Diverged, match=rf"training diverged: loss {bad} at step 3, learning rate .*gradient clip") as e:
        loop.run(None, 10, listener)
    assert (e.value.step, e.value.learning_rate) == (3, FULL.rate(2, 10))
    assert str(e.value.loss) == str(bad)
    assert len(listener.reported) == 2


# --- what must not move ---------------------------------------------------------------------------------------------

FIRST = (CONV3, CONV1, CONV3, SKIP, CONV1, POOL)
SECOND = (CONV1, CONV1, SKIP, CONV3, NONE, CONV3)


@pytest.mark.parametrize("affine", [False, True])
def test_operations_that_are_not_sampled_do_not_move(affine):
    """Neither weight decay nor a momentum buffer left by earlier steps may touch them (they have no gradient)."""
    problem = small()
    supernet = SPACE.supernet(TINY, affine=affine).train()
    path = [FIRST]

    def objective(images, labels):
        logits = supernet(normalise(images, (0.5,), (0.25,)), path[0])
        return functional.cross_entropy(logits, labels)

    loop = TrainingLoop(supernet.parameters(), problem, objective, FULL)
    start = [p.detach().clone() for p in supernet.parameters()]
    loop.run(None, 3, Monitor())
    used_first, used_second = (set(supernet.path_parameters(cell)) for cell in (FIRST, SECOND))
    for parameter, before in zip(supernet.parameters(), start, strict=True):
        assert torch.equal(parameter, before) != (parameter in used_first)

    middle = {p: p.detach().clone() for p in supernet.parameters()}
    buffers = {p: s["momentum_buffer"].clone() for p, s in loop.optimiser.state.items()}
    resting = list(used_first - used_second)
    assert len(resting) >= 3
    assert all(buffers[p].abs().max() > 0 for p in resting)  # they would move if anything stepped them
    path[0] = SECOND
    loop.run(None, 6, Monitor())
    for parameter, before in middle.items():
        assert torch.equal(parameter, before) != (parameter in used_second)
    for parameter in resting:
        assert torch.equal(loop.optimiser.state[parameter]["momentum_buffer"], buffers[parameter])
        assert parameter.grad is None

    path[0] = FIRST
    loop.run(None, 7, Monitor())
    assert all(not torch.equal(p, middle[p]) for p in resting)  # and they go on when they are sampled again


# --- resuming -------------------------------------------------------------------------------------------------------


def fresh(problem):
    with seeded_weights(0):
        supernet = SPACE.supernet(TINY, affine=True).train()
    cells = itertools.cycle([FIRST, SECOND, (CONV3,) * 6])

    def objective(images, labels):
        logits = supernet(normalise(images, (0.5,), (0.25,)), next(cells))
        return functional.cross_entropy(logits, labels)

    loop = TrainingLoop(supernet.parameters(), problem, objective, FULL)
    return supernet, loop, cells


def test_parameters_are_the_same_whenever_the_run_was_interrupted():
    total, problem = 5, small()  # 2 batches per epoch: some interruptions fall into an epoch, some between two
    supernet, loop, _ = fresh(problem)
    saved = []

    def save(_step):
        saved.append(stored({"supernet": supernet.state_dict(), "loop": loop.state_dict()}))

    save(0)
    loop.run(None, total, Listener(save))
    for step, held in enumerate(saved):
        state = loaded(held)
        again, other, cells = fresh(small())
        again.load_state_dict(state["supernet"])
        other.load_state_dict(state["loop"])
        for _ in range(step):
            next(cells)
        listener = Listener()
        other.run(None, total, listener)
        assert [reported[1] for reported in listener.reported] == list(range(step + 1, total + 1))
        for name, value in supernet.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), f"{name} after an interruption at step {step}"


def test_a_finished_run_does_nothing_when_run_again():
    supernet, loop, _ = fresh(small())
    loop.run(None, 3, Monitor())
    before, listener = stored(supernet.state_dict()), Listener()
    loop.run(None, 3, listener)
    assert stored(supernet.state_dict()) == before
    assert listener.reported == []


# --- what methods with several phases ask for -----------------------------------------------------------------------


def plain(**changes):
    return optimisation(momentum=0.0, nesterov=False, weight_decay=0.0, clip=0.0, learning_rate=1.0, **changes)


def summed(clip, slopes, **changes):
    """Return what one weight has moved, step by step, under gradients given by hand."""
    weight, given = nn.Parameter(torch.zeros((), dtype=torch.float64)), iter(slopes)
    settings = dataclasses.replace(plain(final_learning_rate=1.0, **changes), clip=clip)
    moved = Listener(lambda step: path.append(-weight.item()))
    path = []
    TrainingLoop([weight], small(), lambda *_: next(given) * weight, settings).run(None, len(slopes), moved)
    return path


def test_gradients_are_summed_over_steps_and_not_averaged():
    assert summed(0.0, [1, 2, 3, 4, 5, 6], accumulate=3) == [0, 0, 6, 6, 6, 21]


def test_the_clip_is_of_the_mean_of_a_summed_gradient():
    """Mean 20 clipped to 5, that is a sum of 15; the mean of the second three, 1, is below the bound."""
    assert summed(5.0, [10, 20, 30, 1, 1, 1], accumulate=3) == pytest.approx([0, 0, 15, 15, 15, 18], rel=1e-6)


def test_a_zero_gradient_is_left_out_when_asked():
    def decayed(skip):
        used, idle = (nn.Parameter(torch.ones(2)) for _ in range(2))
        settings = optimisation(skip_zero_gradients=skip, momentum=0.9, weight_decay=0.5, clip=0.0)
        loop = TrainingLoop([used, idle], small(), lambda *_: used.sum() + 0 * idle.sum(), settings)
        loop.run(None, 2, Monitor())
        return idle.detach(), loop.optimiser.state

    moved, _ = decayed(False)
    assert (moved < 1).all()
    kept, state = decayed(True)
    assert torch.equal(kept, torch.ones(2))
    assert len(state) == 1


def test_passes_count_what_a_step_costs():
    weight = nn.Parameter(torch.zeros(()))
    loop = TrainingLoop([weight], small(), lambda *_: weight * 1, plain(), passes_per_image=8 / 3)
    assert loop.steps(640) == 30
    assert loop.steps(639) == 29
    loop.run(None, 30, Monitor())
    assert loop.images_seen == 640


def test_several_loops_report_as_one():
    weight, listener = nn.Parameter(torch.zeros(())), Listener()
    for before, total in ((0, 3), (3, 2)):
        loop = TrainingLoop([weight], small(), lambda *_: weight * 1, FULL)
        loop.run(None, total, listener, before=before, overall=5)
    assert [reported[1:3] for reported in listener.reported] == [(n, 5) for n in range(1, 6)]
    assert [reported[4] for reported in listener.reported] == [FULL.rate(n, 3) for n in range(3)] + [
        FULL.rate(n, 2) for n in range(2)
    ]


def test_groups_scale_the_learning_rate():
    one, two = (nn.Parameter(torch.zeros(())) for _ in range(2))
    groups = [{"params": [one]}, {"params": [two], "scale": 10.0}]
    TrainingLoop(groups, small(), lambda *_: one + two, plain()).run(None, 1, Monitor())
    assert (one.item(), two.item()) == (-1, -10)


def test_companions_step_along_with_a_learning_rate_of_their_own():
    one, two = (nn.Parameter(torch.zeros(())) for _ in range(2))
    companion = torch.optim.Adam([two], lr=0.125)
    loop = TrainingLoop([one], small(), lambda *_: one + 7 * two, plain(), companions=[companion])
    loop.run(None, 1, Monitor())
    assert (one.item(), two.item()) == (-1, pytest.approx(-0.125))
    assert loop.parameters == [one, two]
    loop.run(None, 2, Monitor())
    assert two.grad.item() == 7  # zeroed between steps

    other = torch.optim.Adam([two], lr=0.125)
    again = TrainingLoop([one], small(), lambda *_: one + two, plain(), companions=[other])
    again.load_state_dict(loaded(stored(loop.state_dict())))
    assert other.state[two]["step"] == 2


def test_a_loop_stopped_inside_a_summed_gradient_goes_on_as_if_it_had_not_been():
    settings = optimisation(accumulate=3)
    whole = Linear()
    TrainingLoop(whole.parameters(), small(), whole.loss, settings).run(None, 6, Monitor())
    for stop in range(1, 6):
        first, second = Linear(), Linear()

        class Stopped(Exception):
            pass

        def leave(step, stop=stop):
            if step == stop:
                raise Stopped

        loop = TrainingLoop(first.parameters(), small(), first.loss, settings)
        with pytest.raises(Stopped):
            loop.run(None, 6, Listener(leave))
        again = TrainingLoop(second.parameters(), small(), second.loss, settings)
        second.load_state_dict(first.state_dict())
        again.load_state_dict(loaded(stored(loop.state_dict())))
        again.run(None, 6, Monitor())
        assert torch.equal(second.weight, whole.weight), stop


def test_before_each_step_a_method_may_act_and_a_schedule_may_be_replaced():
    weight, acted = nn.Parameter(torch.zeros(())), []
    loop = TrainingLoop(
        [weight], small(), lambda *_: weight * 1, plain(), before_step=lambda step, total: acted.append((step, total))
    )
    loop.schedule = lambda step, total: 10.0 ** (step - total)
    listener = Listener()
    loop.run(None, 3, listener)
    assert acted == [(0, 3), (1, 3), (2, 3)]
    assert [reported[4] for reported in listener.reported] == [1e-3, 1e-2, 1e-1]


def test_restarting_the_optimiser_forgets_momentum():
    model = Linear()
    loop = TrainingLoop(model.parameters(), small(), model.loss, FULL)
    loop.run(None, 2, Monitor())
    loop.restart_optimiser()
    assert not loop.optimiser.state
