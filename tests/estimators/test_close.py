"""CLOSE: its curriculum, inheritance, restart and schedules by value; the released code's defects, and their repair."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from monitors import Listener
from scipy import stats
from states import loaded, same, stored

from supertau.benchmarks.conformance import parametrize
from supertau.estimators import Budget, Monitor
from supertau.estimators.close import CLOSE, CLOSEConfig
from supertau.estimators.components.plateau import Plateau
from supertau.estimators.spos import SPOS
from supertau.estimators.training.sampling import PathSampler
from supertau.search_spaces.errors import SupertauError, UnknownName
from supertau.search_spaces.glow import GlowBlocks
from supertau.search_spaces.nasbench201 import NASBench201

SPACE = NASBench201()
NONE, SKIP, CONV1, CONV3, POOL = range(5)
FULL = (CONV3,) * 6
CELLS = [FULL, (CONV1, SKIP, CONV3, POOL, CONV3, CONV1), (CONV1, CONV3, CONV1, CONV1, CONV3, CONV3), (NONE,) * 6]
PASSES = 20 * 32
"""Twenty steps of the smoke preset, two epochs: blocks are due at steps 0, 4, 8 and 12, the restart at 8."""


class Reference(CLOSE):
    """The released behaviour, as the conformance kit is to see it."""

    presets = {**CLOSE.presets, "smoke": {**CLOSE.presets["smoke"], "mode": "reference"}}  # noqa: RUF012


@parametrize(Reference)
def test_conformance_of_the_released_behaviour(check):
    check()


SMALL = {"gate_flow": (24, 24), "gate_mlp": (20,), "bn": ("batch",)}


def smoke(**overrides):
    return CLOSE.configured("smoke", {**SMALL, **overrides})


def fitted(problem, passes=PASSES, then=lambda *_: None, **overrides):
    estimator = smoke(**overrides)
    estimator.fit(problem, Budget(passes), Listener(then))
    return estimator


def started(problem, **overrides):
    estimator = smoke(**overrides)
    estimator.start(problem)
    return estimator


def values(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def glow(estimator):
    return [module for module in estimator.supernet.modules() if isinstance(module, GlowBlocks)]


def blocks(estimator, number):
    return [cell.blocks[number] for cell in glow(estimator)]


def before_steps(estimator, look):
    """Have a function called after each step's curriculum, before the step."""
    act = estimator.loop.before_step

    def looking(step, total):
        act(step, total)
        look(step)

    estimator.loop.before_step = looking


# --- settings -------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_released_configuration():
    config = CLOSE.configured("paper").config
    assert config == dataclasses.replace(CLOSEConfig())
    published = {
        "batch_size": 256, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False, "clip": 5.0,
        "label_smoothing": 0.0, "affine": False, "dropout": 0.1, "sampling": "unique-live", "temperature": 5.0,
        "activations": (0.0, 0.2, 0.4, 0.6), "srt": True, "srt_at": 0.4, "wit": "add", "gate": "learned",
        "gate_operation": 48, "gate_node": 48, "gate_hidden": 96, "gate_flow": (128,) * 5, "gate_mlp": (200,) * 3,
        "gate_dropout": 0.1, "plateau_factor": 0.5, "plateau_patience": 30,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in published} == published


@pytest.mark.parametrize("preset", ["standard", "quick", "smoke"])
def test_small_presets_train_and_score_as_spos_does(preset):
    """Only the method differs; in the released configurations vanilla had twice the batch."""
    mine, spos = CLOSE.configured(preset).config, SPOS.configured(preset).config
    for field in dataclasses.fields(spos):
        assert getattr(mine, field.name) == getattr(spos, field.name), field.name
    assert mine.dropout == 0


def test_mode_decides_what_is_left_to_it(problem):
    fixed, reference = CLOSEConfig(), CLOSEConfig(mode="reference")
    assert (fixed.pick, fixed.on_plateau) == ("argmax", False)
    assert (reference.pick, reference.on_plateau) == ("sample", True)
    assert not started(problem, mode="reference").supernet.gate.normalise  # the layer norm is ours
    assert started(problem).supernet.gate.normalise
    other = CLOSEConfig(mode="reference", assignment="argmax", schedule="cosine")
    assert (other.pick, other.on_plateau) == ("argmax", False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "refrence"}, "unknown mode 'refrence'. Did you mean 'reference'"),
        ({"wit": "inherit"}, "unknown wit 'inherit'"),
        ({"gate": "table"}, "unknown gate 'table'"),
        ({"schedule": "step"}, "unknown schedule 'step'"),
        ({"assignment": "max"}, "unknown assignment 'max'"),
        ({"activations": (0.2, 0.4)}, "the first one 0, got"),
        ({"activations": (0.0, 0.4, 0.2)}, "expected rising numbers"),
        ({"activations": (0.0, 1.0)}, "below 1"),
        ({"activations": ()}, "fractions of the run"),
        ({"fixed_blocks": -1}, "fixed_blocks must be at least 0, got -1"),
        ({"srt_at": 1.0}, "srt_at must be at least 0 and below 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"gate_flow": ()}, "gate_flow needs at least one width"),
    ],
)
def test_bad_settings_say_what_was_expected(settings, message):
    with pytest.raises(SupertauError, match=message):
        smoke(**settings)


def test_unknown_sampling(problem):
    with pytest.raises(UnknownName, match="unknown sampling 'everything'"):
        started(problem, sampling="everything")


# --- curriculum -----------------------------------------------------------------------------------------------------


def levels(problem, passes=PASSES, **overrides):
    estimator, seen = started(problem, **overrides), []
    before_steps(estimator, lambda _step: seen.append(estimator.supernet.level))
    estimator.train(Budget(passes), Monitor())
    return estimator, seen


@pytest.mark.parametrize("steps", [20, 13, 3, 1])
def test_blocks_become_active_at_the_start_of_their_step(problem, steps):
    estimator, seen = levels(problem, steps * 32)
    starts = [math.floor(tenth * steps / 10) for tenth in (0, 2, 4, 6)]
    assert seen == [sum(at <= step for at in starts) for step in range(steps)]
    assert estimator.activated_at == starts
    assert estimator.restarted_at == math.floor(4 * steps / 10)


@pytest.mark.parametrize(("steps", "starts"), [(50, [0, 10, 20, 30]), (41, [0, 10, 20, 30]), (8, [0, 0, 0, 0])])
def test_released_curriculum_counts_epochs(problem, steps, starts):
    """1 + floor(f E), epochs of ten steps, the last of five incomplete: blocks come with epochs 2, 3 and 4."""
    estimator = started(problem, mode="reference")
    assert estimator.epoch == 10
    assert [estimator.due(fraction, steps) for fraction in (0.0, 0.2, 0.4, 0.6)] == starts


def test_due_steps_of_the_published_length(problem):
    estimator = started(problem, mode="reference")
    assert [estimator.due(f, 1000 * 10) for f in (0.2, 0.4, 0.6, 0.8)] == [2000, 4000, 6000, 8000]
    fixed = started(problem)
    assert [fixed.due(f, total) for f, total in ((0.29, 100), (0.6, 5), (0.7, 10), (0.2, 9))] == [29, 3, 7, 1]


def test_activations_and_fixed_blocks_decide_the_number_of_blocks(problem):
    five, seen = levels(problem, activations=(0.0, 0.2, 0.4, 0.6, 0.8))
    assert len(glow(five)[0].blocks) == seen[-1] == 5
    three, seen = levels(problem, fixed_blocks=3)
    assert len(glow(three)[0].blocks) == 3
    assert seen == [3] * 20
    assert three.activated_at == [0, 0, 0]
    assert three.diagnostics()["mean_active_blocks"] == 3


def test_fixed_blocks_start_from_initial_values_of_their_own(problem):
    """Inheritance belongs to the curriculum: a block that is there from the start is its own."""
    held = values(started(problem, activations=(0.0, 0.2, 0.4)).supernet)
    estimator = started(problem, fixed_blocks=3)
    estimator.loop.before_step(0, 20)
    for name, value in values(estimator.supernet.net).items():
        assert torch.equal(value, held[f"net.{name}"])


# --- inheritance and what is not yet active -------------------------------------------------------------------------


@pytest.mark.parametrize("wit", ["add", "copy", "off"])
def test_a_block_rests_at_its_initial_values_until_it_inherits(problem, wit):
    estimator, seen = started(problem, wit=wit), []
    fresh = [values(block) for block in blocks(estimator, 2)]
    row = estimator.supernet.gate.output.weight[2].detach().clone()
    held = {}

    def look(_estimator, step, *_):
        if step < 8:
            for block, before in zip(blocks(estimator, 2), fresh, strict=True):
                assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
                assert all(p.grad is None for p in block.parameters())
                assert all(p not in estimator.loop.optimiser.state for p in block.parameters())
        if step == 8:
            held.update({k: values(block) for k, block in enumerate(blocks(estimator, 1))})
            held["rows"] = estimator.supernet.gate.output.weight.detach().clone()

    def activated(step):
        if step == 8:
            for k, block in enumerate(blocks(estimator, 2)):
                for name, value in block.state_dict().items():
                    own, previous = fresh[k][name], held[k][name]
                    copied = previous if own.is_floating_point() else own
                    assert torch.equal(value, {"add": own + previous, "copy": copied, "off": own}[wit])
                    seen.append(not torch.equal(previous, own))
            held["first"] = [[p.detach().clone() for p in block.parameters()] for block in blocks(estimator, 2)]
            previous = held["rows"][1]
            assert torch.equal(held["rows"][2], row)
            expected = {"add": row + previous, "copy": previous, "off": row}[wit]
            assert torch.equal(estimator.supernet.gate.output.weight[2], expected)

    before_steps(estimator, activated)
    estimator.train(Budget(PASSES), Listener(look))
    assert any(seen)
    trained = blocks(estimator, 2)
    assert any(not torch.equal(p, p0) for block, first in zip(trained, held["first"], strict=True)
               for p, p0 in zip(block.parameters(), first, strict=True))  # fmt: skip


def test_optimiser_state_is_not_inherited(problem):
    """A new block starts without momentum; old blocks keep theirs where nothing restarts."""
    estimator, held = started(problem, srt=False), {}

    def look(step):
        if step == 12:
            state = estimator.loop.optimiser.state
            assert not any(p in state for p in blocks(estimator, 3)[0].parameters())
            assert any(p in state for p in blocks(estimator, 0)[0].parameters())
            held.update(stepped=True)

    before_steps(estimator, look)
    estimator.train(Budget(PASSES), Monitor())
    assert held["stepped"]


# --- the gate's optimiser -------------------------------------------------------------------------------------------


def test_repaired_gate_rests_while_there_is_one_block(problem):
    estimator, start = started(problem), {}

    def look(_estimator, step, *_):
        moved = [not torch.equal(value, start[name]) for name, value in estimator.supernet.gate.state_dict().items()]
        assert any(moved) == (step > 4), step

    start.update(values(estimator.supernet.gate))
    estimator.train(Budget(PASSES), Listener(look))


def test_repaired_gate_takes_adams_steps_without_decay(problem):
    """Adam's first step is the sign of the gradient times its rate, however small the gradient; decay would add."""
    estimator, held = started(problem, sampling="unique-live", fixed_blocks=2), {}
    held.update(values(estimator.supernet.gate))

    def look(_estimator, step, *_):
        if step == 1:
            for name, p in estimator.supernet.gate.named_parameters():
                large = p.grad.abs() > 1e-4  # against Adam's epsilon
                expected = held[name] - 0.001 * p.grad.sign()
                torch.testing.assert_close(p.detach()[large], expected[large], rtol=0, atol=2e-6)
                still = p.grad == 0
                assert torch.equal(p.detach()[still], held[name][still])
                held["checked"] = held.get("checked", 0) + int(large.sum())
                held["rested"] = held.get("rested", 0) + int(still.sum())

    estimator.train(Budget(PASSES), Listener(look))
    assert held["checked"] > 20
    assert held["rested"] > 20
    (companion,) = estimator.loop.companions
    assert [(g["lr"], g["weight_decay"]) for g in companion.param_groups] == [(0.001, 0.0)]
    gate = {id(p) for p in estimator.supernet.gate.parameters()}
    assert not gate & {id(p) for g in estimator.loop.optimiser.param_groups for p in g["params"]}


def test_released_gate_decays_before_it_is_used(problem):
    """Defect: v <- m v + wd w, w <- w - lr v, from the first step, although there is nothing to choose."""
    settings = {"nesterov": False, "weight_decay": 0.1, "learning_rate": 0.05}
    estimator = started(problem, mode="reference", activations=(0.0, 0.9), srt=False, **settings)
    before, seen = values(estimator.supernet.gate), []

    def look(_estimator, step, *_):
        if step == 10:  # the end of the first of two epochs: the second block is about to become active
            assert estimator.supernet.level == 1
            seen.append((values(estimator.supernet.gate), estimator.diagnostics()["gate_norm_ratio"]))

    estimator.train(Budget(20 * 32), Listener(look))
    step = np.array([[0.9, 0.1], [-0.05 * 0.9, 1 - 0.05 * 0.1]])  # acts on (v, w)
    factor = (np.linalg.matrix_power(step, 10) @ [0, 1])[1]
    assert 0.5 < factor < 0.9
    ((now, ratio),) = seen
    for name, value in now.items():
        torch.testing.assert_close(value, before[name] * factor, rtol=1e-5, atol=1e-7)
    assert ratio == pytest.approx(factor, rel=1e-5)


def test_the_factor_of_that_decay_over_the_published_200_epochs():
    step = np.array([[0.9, 5e-4], [-0.05 * 0.9, 1 - 0.05 * 5e-4]])
    assert (np.linalg.matrix_power(step, 200 * 157) @ [0, 1])[1] == pytest.approx(3.8e-4, rel=0.03)


OUTPUT = ["gate.output.weight", "gate.output.bias"]


def test_released_output_layer_is_outside_the_optimiser_between_events(problem):
    """Five epochs of ten steps: out from step 10 on, in again with the restart at 20, out from 30 on."""
    estimator, outside, moved = started(problem, mode="reference"), [], []
    held = {}

    def look(step):
        outside.append(estimator.outside_optimisers())
        held.update(values(estimator.supernet.gate))

    def after(_estimator, _step, *_):
        now = values(estimator.supernet.gate)
        moved.append([not torch.equal(now[name], held[name]) for name in ("output.weight", "encoder.first.weight")])

    before_steps(estimator, look)
    estimator.train(Budget(50 * 32), Listener(after))
    assert outside == [[]] * 10 + [OUTPUT] * 10 + [[]] * 10 + [OUTPUT] * 20
    assert moved == [[True, True]] * 10 + [[False, True]] * 10 + [[True, True]] * 10 + [[False, True]] * 20
    figures = estimator.diagnostics()
    assert figures["outside_optimisers"] == OUTPUT
    assert len(figures["defects"]) == 2


def test_repaired_optimisers_hold_every_parameter_after_every_event(problem):
    estimator = started(problem, activations=(0.0, 0.2, 0.4, 0.6, 0.8))
    before_steps(estimator, lambda _step: outside.append(estimator.outside_optimisers()))
    outside = []
    estimator.train(Budget(PASSES), Monitor())
    assert outside == [[]] * 20
    assert estimator.diagnostics()["defects"] == []
    estimator.supernet.gate.replace_output()
    with pytest.raises(AssertionError, match=r"no optimiser holds \['gate.output.weight'"):
        estimator.restart(20)


def test_released_blocks_that_are_not_picked_decay(problem):
    """Their gradient is zero, not absent; in the repaired form they are left alone."""
    for mode in ("reference", "fixed"):
        estimator = started(problem, mode=mode, fixed_blocks=2, srt=False, weight_decay=0.01, schedule="cosine")
        estimator.sampler = lambda: FULL
        gates = torch.tensor([[1.0, 0.0]] * 6, requires_grad=True)
        estimator.supernet.gate.gates = lambda _architecture, _level, gates=gates: gates * 1
        before = values(estimator.supernet)
        estimator.train(Budget(32), Monitor())
        weight = blocks(estimator, 1)[0][str(CONV3)][1].weight
        name = next(n for n, p in estimator.supernet.named_parameters() if p is weight)
        if mode == "fixed":
            assert weight.grad is None
            assert torch.equal(weight, before[name])
        else:  # Nesterov's first step: (1 + m) times the decay
            expected = before[name] * (1 - 0.025 * 1.9 * 0.01)
            torch.testing.assert_close(weight.detach(), expected, rtol=3e-7, atol=1e-9)
            assert not torch.equal(weight, before[name])


# --- restart and schedule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fixed", "reference"])
@pytest.mark.parametrize("srt", [True, False])
def test_restart_clears_the_momentum_of_everything(problem, mode, srt):
    estimator, sizes = started(problem, mode=mode, srt=srt, sampling="unique-live"), []
    optimisers = [estimator.loop.optimiser, *estimator.loop.companions]
    assert len(optimisers) == (2 if mode == "fixed" else 1)
    before_steps(estimator, lambda _step: sizes.append([len(optimiser.state) for optimiser in optimisers]))
    steps = 20 if mode == "fixed" else 50
    estimator.train(Budget(steps * 32), Monitor())
    at = math.floor(0.4 * steps)
    assert sizes[0] == [0] * len(optimisers)
    assert [step for step in range(1, steps) if sizes[step][0] == 0] == ([at] if srt else [])
    if mode == "fixed":
        assert [step for step in range(5, steps) if sizes[step][1] == 0] == ([at] if srt else [])
    assert estimator.restarted_at == (at if srt else None)


def cosine(step, total, first=0.025, last=0.001):
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * step / total))


@pytest.mark.parametrize("srt", [True, False])
def test_cosine_begins_again_at_the_restart_over_the_rest_of_the_run(problem, srt):
    listener = Listener()
    smoke(srt=srt).fit(problem, Budget(PASSES), listener)
    expected = [cosine(step, 20) if not srt or step < 8 else cosine(step - 8, 12) for step in range(20)]
    assert listener.rates == pytest.approx(expected)
    assert (listener.rates[8] == 0.025) == srt


def test_plateau_is_that_of_torch():
    rng = np.random.default_rng(0)
    for patience, factor in ((0, 0.5), (3, 0.5), (2, 0.1)):
        losses = 2 * np.exp(-np.arange(200) / 30).clip(0.3) + 0.05 * rng.normal(size=200)
        losses[100:110] = losses[99] * (1 - 5e-5)  # below the threshold of torch's default
        optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.05)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=factor, patience=patience)
        ours = Plateau(0.05, factor, patience)
        for loss in losses:
            theirs.step(loss)
            ours.step(float(loss))
            assert ours.rate == optimiser.param_groups[0]["lr"]
            other = Plateau(1.0, factor, patience)
            other.load_state_dict(ours.state_dict())
            ours = other
        assert ours.rate < 0.05


def test_plateau_gets_the_mean_loss_of_each_epoch_after_blocks_and_restart(problem):
    """Epochs of ten steps; the schedule built at step 20 hears first of the epoch that just ended."""
    estimator, losses, reported = started(problem, mode="reference"), [], []
    objective = estimator.loop.objective

    def noting(images, labels):
        loss = objective(images, labels)
        losses.append(loss.item())
        return loss

    estimator.loop.objective = noting
    step = Plateau.step

    def hearing(plateau, loss):
        reported.append((len(losses), loss, plateau.best == math.inf, estimator.supernet.level))
        step(plateau, loss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plateau, "step", hearing)
        estimator.train(Budget(50 * 32), Monitor())
    assert [at for at, *_ in reported] == [10, 20, 30, 40]
    for at, loss, _, _ in reported:
        assert loss == pytest.approx(np.mean(losses[at - 10 : at]), rel=1e-5)
    assert [new for *_, new, _ in reported] == [True, True, False, False]
    assert [level for *_, level in reported] == [2, 3, 4, 4]


def test_plateau_lowers_the_rate_and_the_restart_lifts_it(problem):
    """With no patience and a loss that hardly falls, the rate is halved at each epoch."""
    listener = Listener()
    settings = {"schedule": "plateau", "plateau_patience": 0, "learning_rate": 1e-6, "final_learning_rate": 0.0}
    estimator = smoke(**settings)
    estimator.start(problem)
    estimator.sampler = lambda: (NONE,) * 6  # the loss is a constant, up to the classifier's bias
    estimator.train(Budget(50 * 32), listener)
    rates = [listener.rates[10 * epoch] / 1e-6 for epoch in range(5)]
    assert rates == pytest.approx([1, 1, 1, 0.5, 0.25])  # 2nd epoch: first loss; 3rd: restart


# --- what a step draws, and costs -----------------------------------------------------------------------------------


def test_a_step_draws_one_architecture_of_the_configured_set(problem):
    estimator = started(problem, sampling="unique-live")
    assert isinstance(estimator.sampler, PathSampler)
    drawn, draw = [], estimator.sampler
    estimator.sampler = lambda: drawn.append(draw()) or drawn[-1]
    estimator.train(Budget(PASSES), Monitor())
    assert len(drawn) == 20
    assert all(SPACE.has_live_convolution(cell) for cell in drawn)
    assert set(drawn) <= set(SPACE.unique())


def test_an_image_counts_once_however_many_blocks_look_at_it(problem):
    estimator = fitted(problem)
    cost = estimator.cost()
    assert cost["train_images"] == 640
    assert cost["supernet_parameters"] == sum(p.numel() for p in estimator.supernet.parameters())
    assert estimator.diagnostics()["mean_active_blocks"] == (20 + 16 + 12 + 8) / 20


def test_loss_is_cross_entropy_of_the_mixed_path(problem):
    estimator = started(problem, augment=False, fixed_blocks=3)
    estimator.sampler = lambda: CELLS[2]
    images, labels = problem.train.images[:32], problem.train.labels[:32]
    other = started(problem, augment=False, fixed_blocks=3)
    logits = other.supernet.train()(other.inputs(images), CELLS[2]).detach().double()
    expected = (logits.logsumexp(1) - logits[range(32), labels]).mean().item()
    estimator.supernet.train()
    assert estimator.objective(images, labels).item() == pytest.approx(expected, rel=1e-5)


# --- random gate ----------------------------------------------------------------------------------------------------


def test_without_gate_blocks_are_drawn_and_only_they_run(problem):
    estimator = started(problem, gate="random", fixed_blocks=4)
    estimator.sampler = lambda: FULL
    picks = []
    estimator.train(Budget(50 * 32), Listener(lambda e, _step, *_: picks.extend(e.supernet.picks)))
    counts = np.bincount(picks, minlength=4)
    assert stats.chisquare(counts).pvalue > 1e-3
    ran = [block[str(CONV3)][2].num_batches_tracked.item() for block in glow(estimator)[0].blocks]
    assert ran == counts.tolist()
    assert not list(estimator.supernet.gate.parameters())
    assert estimator.loop.companions == []
    assert estimator.diagnostics()["gate_norm_ratio"] is None


def test_the_random_assignment_of_scoring_is_the_seeds(problem):
    estimator = started(problem, gate="random", fixed_blocks=4)
    picks = estimator.supernet.gate.blocks(CELLS, 4)
    assert started(problem, gate="random", fixed_blocks=4).supernet.gate.blocks(CELLS, 4) == picks
    other = started(dataclasses.replace(problem, seed=1), gate="random", fixed_blocks=4)
    assert other.supernet.gate.blocks(CELLS, 4) != picks


# --- scoring --------------------------------------------------------------------------------------------------------


def test_the_same_training_is_scored_by_argmax_or_by_a_sample(problem):
    trained = {pick: fitted(problem, assignment=pick) for pick in ("argmax", "sample")}
    assert same(*(estimator.state_dict() for estimator in trained.values()))  # so the setting is one of scoring
    assert "assignment" in CLOSE.scoring_settings
    scores = {}
    for pick, estimator in trained.items():
        scores[pick] = estimator.score(CELLS)["neg_loss@batch"]
        backwards = estimator.score(CELLS[::-1])["neg_loss@batch"]
        alone = [estimator.score([cell])["neg_loss@batch"][0] for cell in CELLS]
        assert scores[pick].tolist() == backwards[::-1].tolist() == alone
    assert not np.array_equal(scores["argmax"], scores["sample"])


def test_a_score_is_that_of_the_picked_blocks(problem):
    estimator = fitted(problem, 320, fixed_blocks=3)
    with torch.no_grad():
        estimator.supernet.gate.output.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    estimator.supernet.forget()
    usage = estimator.diagnostics()["usage"]
    assert usage == [[0.0, 1.0, 0.0]] * 6
    assert estimator.diagnostics()["warnings"] == ["one block serves nearly all edges when scored"]
    before = estimator.score(CELLS[:3])["neg_loss@batch"]
    for number, matters in ((0, False), (1, True), (2, False)):
        saved = values(estimator.supernet)
        with torch.no_grad():
            for block in blocks(estimator, number):
                for p in block.parameters():
                    p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
        assert (not np.array_equal(estimator.score(CELLS[:3])["neg_loss@batch"], before)) == matters
        estimator.supernet.load_state_dict(saved)


def test_scores_follow_the_gate_as_it_changes(problem):
    """Scoring in mid-training, then on: the second scores are those of the state then, not of an assignment kept."""
    seen = []

    def look(estimator, step, *_):
        if step in (12, 13, 20):
            seen.append((stored(estimator.state_dict()), estimator.score(CELLS)["neg_loss@batch"]))

    fitted(problem, then=look)
    for held, scores in seen:
        other = smoke()
        other.restore(problem, loaded(held))
        assert other.score(CELLS)["neg_loss@batch"].tolist() == scores.tolist()


# --- resuming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, 20), ({"mode": "reference"}, 41), ({"gate": "random", "schedule": "plateau"}, 20)],
    ids=["fixed", "reference", "random"],
)
def test_a_run_goes_on_from_any_step_and_repeats_no_event(problem, settings, steps):
    """Saved just before a block or the restart is due, and just after."""
    saved = {}
    whole = fitted(problem, steps * 32, lambda e, step, *_: saved.update({step: stored(e.state_dict())}), **settings)
    events = {*whole.activated_at, whole.restarted_at}
    chosen = {4, 8, 9, 13} if settings == {} else events - {0}
    for step in chosen:
        estimator = smoke(**settings)
        estimator.restore(problem, loaded(saved[step]))
        assert estimator.supernet.level == sum(at < step for at in whole.activated_at)
        estimator.train(Budget(steps * 32), Monitor())
        assert same(estimator.state_dict(), loaded(saved[steps])), step
        assert estimator.diagnostics() == whole.diagnostics()


# --- figures --------------------------------------------------------------------------------------------------------


def test_usage_and_entropy_are_those_of_the_assignment(problem):
    estimator = fitted(problem, gate="random")
    figures = json.loads(json.dumps(estimator.diagnostics(), allow_nan=False))
    assert (figures["active_blocks"], figures["activated_at"], figures["restarted_at"]) == (4, [0, 4, 8, 12], 8)
    drawn = dict(zip(estimator.watch.probes, estimator.supernet.gate.blocks(estimator.watch.probes, 4), strict=True))
    for edge in range(6):
        picks = [blocks[edge] for cell, blocks in drawn.items() if cell[edge] != NONE]
        shares = np.bincount(picks, minlength=4) / len(picks)
        np.testing.assert_allclose(figures["usage"][edge], shares, atol=0.01)  # a probe may be drawn twice
        entropy = stats.entropy(figures["usage"][edge])
        assert figures["entropy"][edge] == pytest.approx(entropy)
        assert 1.2 < entropy < math.log(4)


def test_a_gate_that_always_lends_one_block_is_reported(problem):
    """Sixty steps are six epochs; the fifth in a row ends with step 50."""
    estimator = started(problem, fixed_blocks=2, srt=False)
    with torch.no_grad():
        estimator.supernet.gate.output.bias[1] = 100.0
    estimator.train(Budget(61 * 32), Monitor())
    figures = estimator.diagnostics()
    assert figures["collapsed_at"] == 50
    assert figures["warnings"][0] == "in training one block came to serve nearly all edges"
    assert fitted(problem, 51 * 32, fixed_blocks=1).diagnostics()["warnings"] == []
    balanced = fitted(problem, 31 * 32, fixed_blocks=2, srt=False, gate="random").diagnostics()
    assert (balanced["collapsed_at"], balanced["warnings"]) == (None, [])


# --- seed and learning ----------------------------------------------------------------------------------------------


def test_gate_noise_is_seeded(problem):
    picks = []
    for seed in (0, 0, 1):
        seen = []
        fitted(
            dataclasses.replace(problem, seed=seed), then=lambda e, _step, *_, seen=seen: seen.append(e.supernet.picks)
        )
        picks.append(seen)
    assert picks[0] == picks[1] != picks[2]
    assert picks[0][3] is None
    assert len(set(picks[0])) > 10


def test_an_estimator_can_be_copied(problem):
    estimator = fitted(problem, 320)
    assert copy.deepcopy(estimator).score(CELLS)["neg_loss@batch"].tolist() == pytest.approx(
        estimator.score(CELLS)["neg_loss@batch"].tolist()
    )


def test_it_learns(problem):
    cells = [cell for cell in list(SPACE.enumerate())[::1500] if SPACE.has_live_convolution(cell)]
    settings = {"scoring_images": 160, "scoring_batch": 160, "learning_rate": 0.1}
    untrained = fitted(problem, 0, **settings).score(cells)["accuracy@batch"].mean()
    trained = fitted(problem, 12 * 320, **settings).score(cells)["accuracy@batch"].mean()
    assert untrained < 15
    assert trained > 22
