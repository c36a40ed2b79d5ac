"""The conformance kit: what exists passes, and each check is failed by an estimator made to fail it alone."""

import itertools
import json
import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from supertau.benchmarks.conformance import CHECKS, check_estimator, parametrize
from supertau.estimators import ESTIMATORS, Estimator
from supertau.estimators.training.generators import numpy_state, numpy_stream, set_numpy_state


@dataclass(frozen=True)
class ToyConfig:
    batch_size: int = 32
    names: tuple[str, ...] = ("score",)


class Toy(Estimator):
    """A weight per option of each decision, moved by chance and by the brightness of the images. Passes every check."""

    Config = ToyConfig

    def start(self, problem):
        super().start(problem)
        self.rng = numpy_stream(problem.seed, "paths")
        self.weights = self.rng.normal(size=(len(problem.space.choices), max(problem.space.choices)))
        self.step = self.scored = 0

    def train(self, budget, monitor):
        total, size = budget.steps(self.config.batch_size), self.config.batch_size
        while self.step < total:
            rows = self.rng.integers(len(self.problem.train), size=size)
            loss = self.problem.train.images[rows].float().mean().item()
            self.weights += loss * self.rng.normal(size=self.weights.shape)
            self.step += 1
            self.report(monitor, total, loss)

    def report(self, monitor, total, loss):
        monitor.after_step(self, self.step, total, loss, 0.1)

    def score(self, architectures):
        self.problem  # noqa: B018
        self.scored += len(architectures)
        return {"score": np.array([self.value(a) for a in architectures])}

    def value(self, architecture):
        return sum(self.weights[i, option] for i, option in enumerate(architecture))

    def state_dict(self):
        return {"weights": torch.from_numpy(self.weights.copy()), "rng": numpy_state(self.rng), "step": self.step}

    def load_state_dict(self, state):
        self.weights, self.step = state["weights"].numpy().copy(), state["step"]
        set_numpy_state(self.rng, state["rng"])

    def cost(self):
        return {
            "train_images": self.step * self.config.batch_size,
            "score_images": self.scored,
            "supernet_parameters": 9,
        }


@parametrize(Toy)
def test_the_three_lines_of_a_plugin(check):
    check()


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if ESTIMATORS.origin(n) == "supertau"])
def test_built_in_estimators_pass(name):
    failed = [f"{r.name}: {r.message}" for r in check_estimator(ESTIMATORS.get(name)) if not r.passed]
    assert not failed, "\n".join(failed)


# --- one estimator per check, which fails it and no other -----------------------------------------------------------
@dataclass
class Changeable:
    batch_size: int = 32


class ConfigCanBeChanged(Toy):
    Config = Changeable


class PresetOfNoSuchName(Toy):
    presets: ClassVar = {"quik": {}}


class ColumnOfTheSuite(Toy):
    columns = ("seconds",)

    def score(self, architectures):
        return {"seconds": super().score(architectures)["score"]}


class RoleOfNoSuchName(Toy):
    role = "zero-cost"


class ScoresUnfitted(Toy):
    def score(self, architectures):
        return {"score": np.zeros(len(architectures))} if self._problem is None else super().score(architectures)


class InfiniteWithoutPath(Toy):
    def value(self, architecture):
        return super().value(architecture) if self.problem.space.is_connected(architecture) else -np.inf


class SameForAll(Toy):
    def value(self, architecture):
        return self.weights.sum()


class DependsOnPlace(Toy):
    def score(self, architectures):
        return {"score": super().score(architectures)["score"] + 1e-9 * np.arange(len(architectures))}


class DiffersEachTime(Toy):
    made = itertools.count()

    def start(self, problem):
        super().start(problem)
        self.weights += next(self.made)


class IgnoresSeed(Toy):
    def start(self, problem):
        super().start(problem)
        self.rng = numpy_stream(7, "paths")
        self.weights = self.rng.normal(size=self.weights.shape)


class RemembersEarlierFit(Toy):
    def start(self, problem):
        held = getattr(self, "weights", None)
        super().start(problem)
        self.weights = self.weights if held is None else held


class GreyOnly(Toy):
    def start(self, problem):
        super().start(problem)
        problem.train.images.view(len(problem.train), 64)


class Overspends(Toy):
    def train(self, budget, monitor):
        super().train(type(budget)(2 * budget.passes), monitor)


class SilentFirstStep(Toy):
    def report(self, monitor, total, loss):
        if self.step > 1:
            super().report(monitor, total, loss)


class ScoresWithTrainingsGenerator(Toy):
    def score(self, architectures):
        columns = super().score(architectures)
        self.rng.normal()
        return columns


class LosesGenerator(Toy):
    def load_state_dict(self, state):
        rng = numpy_state(self.rng)
        super().load_state_dict(state)
        set_numpy_state(self.rng, rng)


class LosesRanking(Toy):
    """Scores by a copy made when training ends, and does not save it."""

    def start(self, problem):
        super().start(problem)
        self.ranking = self.weights.copy()

    def train(self, budget, monitor):
        super().train(budget, monitor)
        self.ranking = self.weights.copy()

    def value(self, architecture):
        return sum(self.ranking[i, option] for i, option in enumerate(architecture))


class SavesArrays(Toy):
    def state_dict(self):
        return {**super().state_dict(), "weights": self.weights}


class CountsNoParameters(Toy):
    def cost(self):
        return {name: value for name, value in super().cost().items() if name != "supernet_parameters"}


class ReportsNaN(Toy):
    def diagnostics(self):
        return {"spread": float("nan")}


class SeedsEverybody(Toy):
    def start(self, problem):
        super().start(problem)
        random.random()


class PaintsImages(Toy):
    def train(self, budget, monitor):
        super().train(budget, monitor)
        self.problem.validation.images[0] = 255


class AsksForTruth(Toy):
    def score(self, architectures):
        with suppress(Exception):
            self.problem.space.truth("not a data set")
        return super().score(architectures)


BROKEN = {
    "config_is_plain": ConfigCanBeChanged,
    "presets_are_valid": PresetOfNoSuchName,
    "columns_are_declared": ColumnOfTheSuite,
    "role_is_known": RoleOfNoSuchName,
    "score_needs_fit": ScoresUnfitted,
    "scores_are_well_formed": InfiniteWithoutPath,
    "scores_differ": SameForAll,
    "scores_are_independent": DependsOnPlace,
    "same_seed_same_scores": DiffersEachTime,
    "other_seed_other_scores": IgnoresSeed,
    "fit_starts_afresh": RemembersEarlierFit,
    "other_images_work": GreyOnly,
    "budget_is_kept": Overspends,
    "monitor_is_called_every_step": SilentFirstStep,
    "scoring_leaves_no_trace": ScoresWithTrainingsGenerator,
    "training_resumes": LosesGenerator,
    "scores_survive_restore": LosesRanking,
    "state_is_plain_data": SavesArrays,
    "cost_is_reported": CountsNoParameters,
    "diagnostics_are_json": ReportsNaN,
    "global_state_is_left_alone": SeedsEverybody,
    "images_are_left_alone": PaintsImages,
    "truth_is_not_seen": AsksForTruth,
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_broken_estimator_fails_exactly_its_check(name):
    failed = {r.name: r.message for r in check_estimator(BROKEN[name]) if not r.passed}
    assert list(failed) == [name], failed


def failure(cls, name):
    return {r.name: r.message for r in check_estimator(cls) if not r.passed}.get(name, "passed")


class Claims(Toy):
    deterministic = True


class CompetesWithTruth(Toy):
    uses_truth = True


class NeverReports(Toy):
    def report(self, monitor, total, loss):
        pass


class SwallowsInterrupts(Toy):
    def report(self, monitor, total, loss):
        with suppress(Exception):
            super().report(monitor, total, loss)


class HugeBatches(Toy):
    presets: ClassVar = {"smoke": {"batch_size": 4096}}


class Float32(Toy):
    def score(self, architectures):
        return {"score": super().score(architectures)["score"].astype(np.float32)}


@dataclass(frozen=True)
class HoldsNumpy:
    batch_size: int = 32
    rate: np.float32 = np.float32(1)  # noqa: RUF009


class NumpyInConfig(Toy):
    Config = HoldsNumpy


class NoConfig(Toy):
    Config: ClassVar = dict


@pytest.mark.parametrize(
    ("cls", "name", "said"),
    [
        (Claims, "other_seed_other_scores", "set deterministic = False"),
        (CompetesWithTruth, "role_is_known", "go together only"),
        (NeverReports, "monitor_is_called_every_step", "call it after each step"),
        (SwallowsInterrupts, "training_resumes", "let its exceptions pass"),
        (HugeBatches, "budget_is_kept", "set a smaller batch_size in HugeBatches.presets"),
        (Float32, "scores_are_well_formed", "return float64"),
        (NumpyInConfig, "config_is_plain", "is not JSON"),
        (NoConfig, "config_is_plain", "make it a dataclass"),
    ],
)
def test_messages_say_what_to_do(cls, name, said):
    assert said in failure(cls, name)


class DiesInTraining(Toy):
    def train(self, budget, monitor):
        raise ZeroDivisionError("no such thing")


def test_a_class_that_cannot_fit_is_reported_once_and_where():
    results = {r.name: r for r in check_estimator(DiesInTraining)}
    failed = [r for r in results.values() if not r.passed]
    assert [r.name for r in failed] == ["scores_are_well_formed"]
    assert "raised ZeroDivisionError: no such thing" in failed[0].message
    assert "test_conformance.py, line" in failed[0].message
    assert results["training_resumes"].skipped_reason.startswith("fit or score raised")


def test_checks_that_compare_runs_are_skipped_when_runs_are_not_reproducible():
    skipped = {r.name for r in check_estimator(DiffersEachTime) if r.skipped_reason}
    assert {"other_seed_other_scores", "scoring_leaves_no_trace", "training_resumes"} <= skipped


def test_an_import_of_truth_is_found(tmp_path, monkeypatch):
    source = (
        "from supertau.search_spaces import truth\n"
        "from supertau.estimators.baselines import Random\nclass Peeks(Random):\n    pass\n"
    )
    (tmp_path / "module_that_peeks.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("module_that_peeks")
    monkeypatch.delitem(sys.modules, "module_that_peeks", raising=False)
    monkeypatch.setitem(sys.modules, "module_that_peeks", module)
    assert "imports supertau.search_spaces.truth" in failure(module.Peeks, "truth_is_not_seen")


def test_every_check_explains_itself():
    assert all(check.__doc__ and check.__name__ == name for name, check in CHECKS.items())
    assert list(BROKEN) == list(CHECKS)


def test_threads_and_settings_are_put_back():
    class Greedy(Toy):
        def train(self, budget, monitor):
            torch.set_num_threads(3)
            super().train(budget, monitor)

    before = torch.get_num_threads(), torch.get_default_dtype()
    assert "torch's number of threads" in failure(Greedy, "global_state_is_left_alone")
    assert (torch.get_num_threads(), torch.get_default_dtype()) == before


# --- the command ----------------------------------------------------------------------------------------------------
def command_line(*arguments):
    from supertau.benchmarks.cli.app import app

    return CliRunner().invoke(app, ["check", *arguments])


def test_command_shows_each_check():
    done = command_line("params")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"params: {len(CHECKS)} checks\npassed  config_is_plain\n")
    assert "skipped  training_resumes (it does not train)" in done.stdout
    assert f"{len(CHECKS) - 3} passed, 3 skipped" in done.stdout


def test_command_fails_with_what_was_expected(monkeypatch):
    monkeypatch.setitem(sys.modules, "broken_example", sys.modules[__name__])
    done = command_line("params", "broken_example:ReportsNaN", "--quiet")
    assert done.exit_code == 1
    assert done.stdout.startswith("FAILED  broken_example:ReportsNaN: diagnostics_are_json: ReportsNaN.diagnostics()")
    assert len(done.stdout.splitlines()) == 1
    done = command_line("broken_example:ReportsNaN")
    assert "why: `diagnostics` is a dict of finite JSON values" in done.stdout
    assert f"{len(CHECKS) - 1} passed, 1 failed" in done.stdout


def test_command_gives_json():
    done = command_line("random", "--json")
    held = json.loads(done.stdout)["random"]
    assert [r["name"] for r in held] == list(CHECKS)
    assert {r["status"] for r in held} == {"passed", "skipped"}


def test_command_needs_a_name_or_all():
    assert "--all" in str(command_line().exception)
    assert "--all" in str(command_line("params", "--all").exception)
    assert "Did you mean 'params'?" in str(command_line("param").exception)
