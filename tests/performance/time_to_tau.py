"""Minutes of training until SPOS ranks NAS-Bench-201 so well, on CIFAR-10. For reading: no assertion.

    SUPERTAU_DATA=... python tests/performance/time_to_tau.py RESULTS [--minutes 20] [SETTING ...]

Each setting trains for about so many minutes on one thread, two side by side; its passes are measured first. Tau is
that of 300 unique cells, watched along the way: the learning rate falls to the end, so a curve says what a longer
training passes through, not what a shorter one would have reached. The same command again goes on.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.local import run_all
from supertau.benchmarks.metrics import METRICS
from supertau.benchmarks.results import Run
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.settings import Settings
from supertau.search_spaces.spaces import get_space

TRIAL = 32_000
"""Passes of the run that measures how many go into a minute."""
SEEDS = (0, 1)
TAUS = (0.4, 0.5, 0.6)
SETTINGS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "16x16 C=8 batch 64": ({"image_size": 16, "channels": 8}, {}),
    "8x8 C=8 batch 64": ({"image_size": 8, "channels": 8}, {}),
    "8x8 C=8 batch 32": ({"image_size": 8, "channels": 8}, {"batch_size": 32}),
    "8x8 C=16 batch 64": ({"image_size": 8, "channels": 16}, {}),
    "8x8 C=16 batch 64, unique": ({"image_size": 8, "channels": 16}, {"sampling": "unique"}),
    "8x8 C=16 batch 64, rate .1": ({"image_size": 8, "channels": 16}, {"learning_rate": 0.1}),
    "8x8 C=16 batch 128, rate .1": ({"image_size": 8, "channels": 16}, {"batch_size": 128, "learning_rate": 0.1}),
}


def config(name: str, passes: int, *, seed: int = 0, pool: int = 300, points: int = 8) -> RunConfig:
    size, settings = SETTINGS[name]
    return resolve(
        "spos", seed=seed, preset="standard", settings={"bn": ["batch"], **settings}, pool=f"unique:{pool}",
        passes=passes, curve_points=points, curve_pool=pool, **size,
    )  # fmt: skip


def one(settings: Settings, chosen: RunConfig) -> Run:
    (outcome,) = run_all([chosen], settings, lambda _: None, workers=1)
    assert outcome.run is not None, outcome.message
    return outcome.run


def curve(run: Run) -> pd.DataFrame:
    """Return minutes of training, tau by accuracy and by loss, for each point of the curve."""
    space = get_space("nasbench201")
    truth = space.truth("cifar10")
    watched = run.curve
    assert watched is not None
    rng = np.random.default_rng(0)
    watched["truth"] = truth.mean[truth.rows([space.parse(text) for text in watched["architecture"]])]
    minutes = run.record.cost.train_seconds / 60 / run.record.config.passes
    return pd.DataFrame(
        {
            "minutes": passes * minutes,
            **{
                name: METRICS["kendall_tau"](part[column].to_numpy(), part["truth"].to_numpy(), rng)
                for name, column in (("accuracy", "accuracy@batch"), ("loss", "neg_loss@batch"))
            },
        }
        for passes, part in watched.groupby("passes")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of: {'; '.join(SETTINGS)} [default: all]")
    parser.add_argument("--minutes", type=float, default=6.0)
    asked = parser.parse_intermixed_args()
    if unknown := set(asked.settings) - set(SETTINGS):
        parser.error(f"no setting {', '.join(map(repr, sorted(unknown)))}; there are: {'; '.join(SETTINGS)}")
    settings = Settings(asked.results, threads=1, lock_seconds=600)  # both seeds of a setting want its trial

    def measure(name: str, seed: int) -> None:
        trial = one(settings, config(name, TRIAL, pool=20, points=0)).record.cost
        passes = round(TRIAL / trial.train_seconds * 60 * asked.minutes, -4)
        points = curve(one(settings, config(name, int(passes), seed=seed)))
        text = f"{name}, seed {seed}: {passes:,.0f} passes in {points['minutes'].iloc[-1]:.1f} min"
        for column in ("accuracy", "loss"):
            first = [points["minutes"][points[column] >= tau].min() for tau in TAUS]
            reached = ", ".join(f"{tau:.2f} after {at:.1f}" for tau, at in zip(TAUS, first, strict=True) if at == at)
            text += f"\n    by {column}: {' '.join(f'{tau:.3f}' for tau in points[column])}; {reached or 'below all'}"
        print(text, flush=True)

    with ThreadPoolExecutor(2) as pool:
        for task in [pool.submit(measure, name, seed) for seed in SEEDS for name in asked.settings or SETTINGS]:
            task.result()


if __name__ == "__main__":
    main()
