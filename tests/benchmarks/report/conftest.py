"""A small results folder in the format runs are stored in: four estimators, references, failures, awkward names."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.stats import kendalltau

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.record import (
    CostInfo,
    EnvironmentInfo,
    FailureInfo,
    Judgement,
    MetricRow,
    PoolInfo,
    Record,
    Role,
    Status,
    TruthInfo,
    pool_digest,
    truth_key,
)
from supertau.benchmarks.results import read_run, write_record, write_table
from supertau.search_spaces.spaces import get_space

N = 240
SEEDS = ("777", "888", "999")
AWKWARD = 'my <b>new</b> & $100%_{est}$ "~\\x" | #1'
ENVIRONMENT = EnvironmentInfo(
    python="3.11.7", platform="Linux", cpu="a processor", cores=2, threads=2, devices=1, device="cpu",
    packages={"torch": "2.8.0"},
)  # fmt: skip

Floats = npt.NDArray[np.float64]


def digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


@dataclass(frozen=True, eq=False)
class Truth:
    """A ground truth: what it is, and its accuracies, (N, 3) percent."""

    info: TruthInfo
    trials: Floats

    @property
    def mean(self) -> Floats:
        return np.asarray(np.nanmean(self.trials, axis=1))


class Results:
    """Builds run folders; `tau` is what scipy says of the scores that were written, by the first truth."""

    n = N
    awkward = AWKWARD

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(7)
        self.quality = rng.normal(size=N)
        trials = 90 + 2 * self.quality[:, None] + 0.3 * rng.normal(size=(N, 3))
        trials[:40, 2] = np.nan
        self.default = self.judge(trials)
        space = get_space("nasbench201")
        self.architectures = [space.format(a) for a in itertools.islice(space.enumerate(), N)]
        self.classes = [f"class{i // 2:03d}" for i in range(N)]
        self.connected = np.arange(N) >= 12
        self.tau: dict[str, float] = {}

    @property
    def trials(self) -> Floats:
        return self.default.trials

    @property
    def truth(self) -> Floats:
        return self.default.mean

    def judge(self, trials: Floats, dataset: str = "cifar10", **changes: Any) -> Truth:
        """Return a ground truth; changes: what tells it from others of its name."""
        told_apart = {
            "split": "x-valid", "epochs": 200, "source": "a table & its <maker>", "sha256": "ab" * 32, **changes,
        }  # fmt: skip
        key = truth_key(dataset, *told_apart.values())
        return Truth(TruthInfo(dataset, **told_apart, seeds=SEEDS, architectures=N, chance=None, key=key), trials)

    def other(self, **changes: Any) -> Truth:
        """Return another ground truth of the same name, which ranks the other way round."""
        return self.judge(180 - self.trials, **changes)

    def config(self, estimator: str, seed: int, **changes: Any) -> RunConfig:
        return replace(
            RunConfig(
                estimator=estimator, seed=seed, space="nasbench201", images="digits", image_size=8, train=None,
                validation=None, validation_split="train", channels=8, cells=1, passes=1000, pool="all",
                curve_points=3, curve_pool=60, truth="cifar10", truth_path=None, preset="quick",
                estimator_config={"rate": 0.1},
            ),
            **changes,
        )  # fmt: skip

    def scores(self, noise: float, seed: int) -> Floats:
        return np.asarray(self.quality + noise * np.random.default_rng([seed, int(100 * noise)]).normal(size=N))

    def entry(self, view: str, column: str, key: str, value: float | None, **more: Any) -> MetricRow:
        spread = {"low": None, "high": None} if value is None else {"low": value - 0.05, "high": value + 0.04}
        undefined = None if value is not None else "undefined: constant score"
        common = {"chance": 0.0, "ceiling": None, "n": N, "undefined": undefined, **spread}
        return MetricRow(view, column, key, value, **{**common, **more})

    def metrics(self, column: str, score: Floats, accuracy: Floats) -> list[MetricRow]:
        def tau(x: Floats, y: Floats) -> float | None:
            value = float(kendalltau(x, y).statistic)
            return None if np.isnan(value) else value

        n, half = len(score), [v.reshape(-1, 2).mean(axis=1) for v in (score, accuracy)]
        value, connected = tau(score, accuracy), self.connected[:n]
        return [
            self.entry("all", column, "kendall_tau", value, ceiling=0.9, n=n),
            self.entry("all", column, "p_at_top_5pct", None if value is None else 0.5, chance=0.05, ceiling=0.8, n=n),
            self.entry("unique", column, "kendall_tau", tau(*half), ceiling=0.92, n=n // 2),
            self.entry("unique", column, "hits_at_10:spread10", 3.25, chance=1.0, n=n // 2),
            self.entry("unique", column, "hits_at_10:best10", 4.5, chance=1.0, n=n // 2),
            self.entry("connected", column, "kendall_tau", tau(score[connected], accuracy[connected]), n=n),
        ]

    def add(
        self, estimator: str, title: str, score: Floats, *, seed: int = 0, role: Role = Role.ESTIMATOR,
        curve: bool = False, extra: dict[str, Floats] | None = None, by: Sequence[Truth] = (),
        left_out: str | None = None, count: int = N, pool: str = "all", **changes: Any,
    ) -> str:  # fmt: skip
        """Write a finished run; by: the truths that judge it; count: how many architectures of the pool it ranks."""
        truths = by or (self.default,)
        config = None if role is Role.EXTERNAL else self.config(estimator, seed, **{"pool": pool, **changes})
        identity = digest(config) if config else digest(score.tolist())
        run_id = f"{estimator}-s{seed}-{digest((config, title, [t.info for t in truths], pool))[:5]}"
        folder, names = self.folder / "runs" / run_id, self.architectures[:count]
        folder.mkdir(parents=True)
        columns = {"accuracy@batch": score, **(extra or {})}
        columns = {name: values[:count] for name, values in columns.items()}
        write_table(folder / "scores.parquet", pd.DataFrame({"architecture": names, **columns}))
        trials = {f"{t.info.key}:{s}": t.trials[:count, i] for t in truths for i, s in enumerate(SEEDS)}
        truth_table = {"architecture": names, "class": self.classes[:count], "connected": self.connected[:count]}
        write_table(folder / "truth.parquet", pd.DataFrame({**truth_table, **trials}))
        if curve:
            part = np.arange(0, N, 4)
            write_table(folder / "curve.parquet", pd.concat([
                pd.DataFrame({"passes": passes, "architecture": [self.architectures[i] for i in part],
                              "accuracy@batch": score[part] * share + (1 - share) * np.cos(7 * part)})
                for passes, share in ((100, 0.1), (500, 0.6), (1000, 1.0))
            ]))  # fmt: skip
        write_record(folder, Record(
            **self.frame(run_id, estimator, title, role, seed), status=Status.FINISHED, columns=tuple(columns),
            identity=identity, group=self.group(config, title), config=config,
            pool=PoolInfo(pool, count, pool_digest(names)),
            judgements=tuple(
                Judgement(
                    t.info, tuple(m for c, s in columns.items() for m in self.metrics(c, s, t.mean[:count])), left_out,
                )
                for t in truths
            ),
        ))  # fmt: skip
        self.tau[run_id] = float(kendalltau(score[:count], truths[0].mean[:count]).statistic)
        return run_id

    def fail(self, estimator: str, title: str, status: Status = Status.FAILED, seed: int = 3, **changes: Any) -> str:
        config = self.config(estimator, seed, **changes)
        run_id = f"{estimator}-s{seed}-{status.value}-{digest(config)[:5]}"
        failure = FailureInfo("Diverged", "loss nan <i>at</i> step 41", step=41, learning_rate=0.1)
        write_record(self.folder / "runs" / run_id, Record(
            **self.frame(run_id, estimator, title, Role.ESTIMATOR, seed), status=status, columns=("accuracy@batch",),
            identity=digest(config), group=self.group(config, title), config=config,
            failure=failure if status is Status.FAILED else None,
        ))  # fmt: skip
        return run_id

    def change(self, folder: str, **changes: Any) -> None:
        """Change the record in a folder of a run."""
        run = read_run(self.folder / "runs" / folder)
        assert run is not None
        write_record(run.folder, replace(run.record, **changes))

    def set_tau(self, run_id: str, value: float) -> None:
        """Change the first number of a record on disk, which is its tau on all architectures."""
        run = read_run(self.folder / "runs" / run_id)
        assert run is not None
        judgement = run.record.judgements[0]
        first, *rest = judgement.metrics
        self.change(run_id, judgements=(replace(judgement, metrics=(replace(first, value=value), *rest)),))

    def id_of(self, beginning: str) -> str:
        return next(run_id for run_id in self.tau if run_id.startswith(beginning))

    @staticmethod
    def group(config: RunConfig | None, title: str) -> str:
        return digest({**asdict(config), "seed": None}) if config else digest(f"external {title}")

    @staticmethod
    def frame(run_id: str, estimator: str, title: str, role: Role, seed: int) -> dict[str, Any]:
        trains = role is Role.ESTIMATOR
        cost = CostInfo(
            train_images=1000 if trains else 0, score_images=5000, train_seconds=12.5 + seed, score_seconds=3.0,
            peak_memory_bytes=3 * 2**20, supernet_parameters=81_234 if trains else None,
        )  # fmt: skip
        return {
            "run_id": run_id, "role": role, "estimator": estimator, "title": title, "seed": seed, "cost": cost,
            "source": "arXiv:0000.00000 <source>", "space": "nasbench201", "environment": ENVIRONMENT,
            "started": "2025-01-01T00:00:00+00:00", "finished": "2025-01-01T00:01:00+00:00",
        }  # fmt: skip


@pytest.fixture
def empty_results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


@pytest.fixture
def results(empty_results: Results) -> Results:
    """SPOS and CLOSE with three seeds, an awkward plugin, a constant score, two baselines, two runs without result."""
    r = empty_results
    for seed in range(3):
        r.add("spos", "SPOS", r.scores(2.0, seed), seed=seed, curve=True, extra={"neg_loss@batch": r.scores(3.0, seed)})
        r.add("close", "CLOSENet", r.scores(0.4, seed), seed=seed, curve=True)
    r.add("plug:Awkward", AWKWARD, r.scores(0.8, 0))
    r.add("flat", "Constant", np.zeros(N))
    r.add("params", "parameters", r.scores(1.2, 0), role=Role.BASELINE)
    r.add("random", "random scores", r.scores(90.0, 0), role=Role.BASELINE)
    r.fail("close", "CLOSENet")
    r.fail("spos", "SPOS", status=Status.RUNNING, seed=4)
    return r
