"""`import supertau`: the examples of its verbs run, objects are taken as well as names, and importing it is cheap."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import supertau
from supertau.benchmarks.record import Phase, Status
from supertau.benchmarks.verbs.run import RunFailed, carry_out, plan
from supertau.estimators.baselines import Macs, Params
from supertau.estimators.estimator import Estimator
from supertau.estimators.spos import SPOS, SPOSConfig
from supertau.search_spaces.errors import SupertauError, UnknownName

VERBS = ("run", "score", "report", "compare", "search")
TINY = {"preset": "smoke", "pool": "all:20", "curve_points": 0, "threads": 1}


HOMES = {**{verb: f"supertau.benchmarks.verbs.{verb}" for verb in VERBS}, "load_runs": "supertau.benchmarks.results"}


@pytest.mark.parametrize("verb", HOMES)
def test_examples_run(verb: str, tmp_path: Path) -> None:
    module = importlib.import_module(HOMES[verb])
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (example,) = finder.find(getattr(module, verb), verb, module=module, globs={"folder": tmp_path})
    assert example.examples, "a verb has an example"
    assert runner.run(example).failed == 0


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert set(VERBS) | {"load_runs"} <= set(supertau.__all__)
    for name in supertau.__all__:
        value = getattr(supertau, name)
        assert value is not None
        if callable(value):
            assert value.__doc__, name
    assert set(supertau.__all__) <= set(dir(supertau))
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = supertau.rum


def test_importing_it_loads_neither_torch_nor_pandas() -> None:
    script = "import sys, supertau; print([m for m in ('torch', 'pandas', 'numpy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_judging_scores_loads_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys, supertau\n"
        "space = supertau.get_space('nasbench201')\n"
        "cells = list(space.enumerate())[:30]\n"
        f"run = supertau.score({{space.format(c): sum(c) for c in cells}}, name='mine', results={str(tmp_path)!r})\n"
        f"supertau.compare(run, run); supertau.report({str(tmp_path)!r}, figures=False)\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_one_estimator_is_a_run_several_are_runs(tmp_path: Path) -> None:
    one = supertau.run("params", results=tmp_path, **TINY)
    assert isinstance(one, supertau.Run)
    several = supertau.run(["params", "random"], seeds=2, results=tmp_path, **TINY)
    assert isinstance(several, supertau.Runs)
    assert [run.record.estimator for run in several] == ["params", "random", "random"], "params is deterministic"
    assert several[0].record == one.record, "and reused"
    assert len(supertau.load_runs(tmp_path)) == 3
    assert set(several.metrics["estimator"]) == {"Parameters", "Random"}
    assert "<table" in several._repr_html_()


def test_an_object_runs_like_its_name(tmp_path: Path) -> None:
    by_name = supertau.run("macs", results=tmp_path / "name", **TINY)
    by_class = supertau.run(Macs, results=tmp_path / "class", **TINY)
    assert by_class.folder.name == by_name.folder.name
    assert by_class.record.judgements == by_name.record.judgements
    tiny = SPOS.configured("smoke", {"bn": ("batch",), "scoring_images": 32})
    by_object = supertau.run(tiny, results=tmp_path / "object", **TINY)
    settings = {"bn": ["batch"], "scoring_images": 32}
    by_setting = supertau.run("spos", settings=settings, results=tmp_path / "setting", **TINY)
    assert by_object.folder.name == by_setting.folder.name
    assert by_object.scores.equals(by_setting.scores)
    with pytest.raises(SupertauError, match="Config already"):
        supertau.run(tiny, settings=settings, results=tmp_path, **TINY)
    with pytest.raises(SupertauError, match="workers: an estimator object runs in this process"):
        supertau.run(tiny, results=tmp_path, workers=2, **TINY)


@dataclass(frozen=True)
class NoConfig:
    pass


class Mine(Estimator):
    Config = NoConfig
    trains = False

    def score(self, architectures):
        return {"score": np.array([float(sum(a)) for a in architectures])}


def test_a_class_of_ones_own_needs_no_registration(tmp_path: Path) -> None:
    run = supertau.run(Mine, results=tmp_path, **TINY)
    assert run.record.estimator == f"{Mine.__module__}:Mine"
    space = supertau.get_space("nasbench201")
    assert run.scores["score"].tolist() == [sum(space.parse(text)) for text in run.scores["architecture"]]


def test_a_class_of_a_script_is_known_by_its_source(tmp_path: Path) -> None:
    """A record of an earlier form of the class must not be taken for one of the present form."""
    script = tmp_path / "script.py"
    template = (
        "from dataclasses import dataclass\nimport numpy as np\nimport supertau\n"
        "from supertau.estimators.estimator import Estimator\n"
        "@dataclass(frozen=True)\nclass C:\n    pass\n"
        "class Mine(Estimator):\n    Config = C\n    trains = False\n"
        "    def score(self, architectures):\n"
        "        return {{'score': np.array([{sign} * float(sum(a)) for a in architectures])}}\n"
        "run = supertau.run(Mine, preset='smoke', pool='all:20', results='out')\n"
        "print(run.folder.name, run.scores['score'].sum())\n"
    )
    said = []
    for sign in ("1", "1", "-1"):
        script.write_text(template.format(sign=sign))
        done = subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said[0] == said[1]
    assert said[2][0] != said[0][0]
    assert float(said[2][1]) == -float(said[0][1])


class Lost(Mine):
    def score(self, architectures):
        raise SupertauError("the scores are not here")


def test_a_failed_method_is_a_run_and_a_lost_run_an_error(tmp_path: Path) -> None:
    diverging = SPOS(replace(SPOS.configured("smoke").config, learning_rate=1e12, clip=0.0))
    failed = supertau.run(diverging, results=tmp_path, **TINY)
    assert failed.record.status is Status.FAILED
    assert "diverged" in failed._repr_html_()
    with pytest.raises(SupertauError, match="the scores are not here"):
        supertau.run(Lost, results=tmp_path, **TINY)


def test_a_process_that_dies_is_reported_and_the_others_are_kept(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "dying_here.py").write_text(
        "import os\nfrom dataclasses import dataclass\nfrom supertau.estimators import Estimator\n"
        "@dataclass(frozen=True)\nclass C:\n    pass\n"
        "class Dying(Estimator):\n    Config = C\n    trains = False\n"
        "    def score(self, architectures):\n        os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RunFailed, match=r"dying_here:Dying seed 0: .*killed by signal 9"):
        supertau.run(["dying_here:Dying", "params"], results="out", **TINY)
    assert [run.record.estimator for run in supertau.load_runs("out") if run.finished] == ["params"]


def test_unknown_options_and_names_have_the_nearest_match(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'image_size'"):
        supertau.run("params", results=tmp_path, image_sise=8)  # type: ignore[call-overload]
    with pytest.raises(UnknownName, match="Did you mean 'params'"):
        supertau.run("param", results=tmp_path, **TINY)
    for wrong, message in (
        ({"passes": -5}, "passes=-5: expected a whole number of at least 1"),
        ({"passes": 1.5}, "passes=1.5: expected a whole number"),
        ({"channels": True}, "channels=True: expected a whole number"),
        ({"pool": 5}, "pool=5: expected a text"),
        ({"threads": 0}, "threads=0: expected a whole number of at least 1"),
        ({"validation_split": "tset"}, "Did you mean 'test'"),
    ):
        with pytest.raises(SupertauError, match=message):
            supertau.run("params", results=tmp_path, **{**TINY, **wrong})
    assert not list(tmp_path.iterdir())
    with pytest.raises(UnknownName, match="executor"):
        carry_out(plan(["params"], preset="smoke"), results=tmp_path, executor="rai")


def test_plan_and_carry_out_are_what_the_command_uses(tmp_path: Path) -> None:
    configs = plan(["random=2", "params"], seeds=3, first_seed=5, preset="smoke", pool="all:20")
    assert [(c.estimator, c.seed) for c in configs] == [("random", 5), ("random", 6), ("params", 5)]
    outcomes = carry_out(configs, results=tmp_path, workers=1, threads=1)
    assert [o.phase for o in outcomes] == [Phase.FINISHED] * 3


def test_settings_reach_the_estimators_that_have_them() -> None:
    spos, params = plan(["spos", "params"], preset="smoke", settings={"bn": "batch", "learning_rate": 0.5})
    assert spos.estimator_config["bn"] == ["batch"]
    assert spos.estimator_config["learning_rate"] == 0.5
    assert "bn" not in params.estimator_config
    assert isinstance(SPOSConfig().bn, tuple)
    assert Params.deterministic
