"""A small results folder in the format runs are stored in: four estimators, references, failures, awkward names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

N = 240
SEEDS = ("777", "888", "999")
AWKWARD = 'my <b>new</b> & $100%_{est}$ "~\\x" | #1'
TRUTHS = {
    "cifar10": {
        "dataset": "cifar10", "split": "x-valid", "epochs": 200, "source": "a table & its <maker>", "sha256": "ab" * 32,
        "seeds": list(SEEDS),
    }
}  # fmt: skip


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


class Results:
    """Builds run folders; `tau` is what scipy says of the scores that were written."""

    n = N
    awkward = AWKWARD

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(7)
        quality = rng.normal(size=N)
        self.trials = 90 + 2 * quality[:, None] + 0.3 * rng.normal(size=(N, 3))
        self.trials[:40, 2] = np.nan
        self.truth = np.nanmean(self.trials, axis=1)
        self.quality = quality
        self.architectures = [f"arch<{i}>" for i in range(N)]
        self.classes = [f"class{i // 2:03d}" for i in range(N)]
        self.connected = np.arange(N) >= 12
        self.tau: dict[str, float] = {}

    def config(self, estimator: str, seed: int, **changes: Any) -> dict[str, Any]:
        return {
            "estimator": estimator, "seed": seed, "space": "nasbench201", "images": "digits", "image_size": 8,
            "train": None, "validation": None, "validation_split": "train", "channels": 8, "cells": 1, "passes": 1000,
            "pool": "all", "truth": "cifar10", "preset": "quick", "estimator_config": {"rate": 0.1}, **changes,
        }  # fmt: skip

    def scores(self, noise: float, seed: int) -> np.ndarray:
        return np.asarray(self.quality + noise * np.random.default_rng([seed, int(100 * noise)]).normal(size=N))

    def entry(self, view: str, column: str, key: str, value: float | None, **more: Any) -> dict[str, Any]:
        spread = {"low": None, "high": None} if value is None else {"low": value - 0.05, "high": value + 0.04}
        return {
            "truth": "cifar10", "view": view, "column": column, "key": key, "value": value, **spread, "chance": 0.0,
            "ceiling": None, "n": N, "undefined": None if value is not None else "undefined: constant score", **more,
        }  # fmt: skip

    def metrics(self, column: str, score: np.ndarray) -> list[dict[str, Any]]:
        def tau(x: np.ndarray, y: np.ndarray) -> float | None:
            value = float(kendalltau(x, y).statistic)
            return None if np.isnan(value) else value

        half = [v.reshape(-1, 2).mean(axis=1) for v in (score, self.truth)]
        found = tau(score, self.truth)
        return [
            self.entry("all", column, "kendall_tau", found, ceiling=0.9),
            self.entry("all", column, "p_at_top_5pct", None if found is None else 0.5, chance=0.05, ceiling=0.8),
            self.entry("unique", column, "kendall_tau", tau(*half), ceiling=0.92, n=N // 2),
            self.entry("unique", column, "hits_at_10:spread10", 3.25, chance=1.0, n=N // 2),
            self.entry("unique", column, "hits_at_10:best10", 4.5, chance=1.0, n=N // 2),
            self.entry("connected", column, "kendall_tau", tau(score[self.connected], self.truth[self.connected])),
        ]

    def add(
        self, estimator: str, title: str, score: np.ndarray, *, seed: int = 0, role: str = "estimator",
        curve: bool = False, extra: dict[str, np.ndarray] | None = None, **changes: Any,
    ) -> str:  # fmt: skip
        config = self.config(estimator, seed, **changes)
        run_id = f"{estimator}-s{seed}-{digest(config)[:5]}"
        folder = self.folder / "runs" / run_id
        folder.mkdir(parents=True)
        columns = {"accuracy@batch": score, **(extra or {})}
        pd.DataFrame({"architecture": self.architectures, **columns}).to_parquet(folder / "scores.parquet")
        pd.DataFrame({
            "architecture": self.architectures, "class": self.classes, "connected": self.connected,
            **{f"cifar10:{s}": self.trials[:, i] for i, s in enumerate(SEEDS)},
        }).to_parquet(folder / "truth.parquet")  # fmt: skip
        if curve:
            part = np.arange(0, N, 4)
            pd.concat([
                pd.DataFrame({"passes": passes, "architecture": [self.architectures[i] for i in part],
                              "accuracy@batch": score[part] * share + (1 - share) * np.cos(7 * part)})
                for passes, share in ((100, 0.1), (500, 0.6), (1000, 1.0))
            ]).to_parquet(folder / "curve.parquet")  # fmt: skip
        record = {
            **self.frame(run_id, config, title, role), "status": "finished", "error": None, "columns": list(columns),
            "truths": TRUTHS, "metrics": [m for c, s in columns.items() for m in self.metrics(c, s)],
        }  # fmt: skip
        (folder / "record.json").write_text(json.dumps(record))
        self.tau[run_id] = float(kendalltau(score, self.truth).statistic)
        return run_id

    def fail(self, estimator: str, title: str, status: str = "failed", seed: int = 3) -> str:
        config = self.config(estimator, seed)
        run_id = f"{estimator}-s{seed}-{status}"
        folder = self.folder / "runs" / run_id
        folder.mkdir(parents=True)
        error = {"type": "Diverged", "message": "loss nan <i>at</i> step 41", "step": 41, "learning_rate": 0.1}
        record = {
            **self.frame(run_id, config, title, "estimator"), "status": status,
            "error": error if status == "failed" else None, "columns": ["accuracy@batch"], "truths": {}, "metrics": [],
        }  # fmt: skip
        (folder / "record.json").write_text(json.dumps(record))
        return run_id

    def frame(self, run_id: str, config: dict[str, Any], title: str, role: str) -> dict[str, Any]:
        trains = role == "estimator"
        return {
            "schema_version": 1, "run_id": run_id, "config": config, "identity": digest(config),
            "group": digest({k: v for k, v in config.items() if k != "seed"}), "role": role, "title": title,
            "source": "arXiv:0000.00000 <source>", "environment": {"torch": "2.8.0", "device": "cpu", "threads": 2},
            "cost": {
                "train_images": 1000 if trains else 0, "score_images": 5000, "train_seconds": 12.5 + config["seed"],
                "score_seconds": 3.0, "peak_memory_bytes": 3 * 2**20, "supernet_parameters": 81_234 if trains else None,
            },
            "diagnostics": {}, "curve": [], "started": "2025-01-01T00:00:00+00:00",
            "finished": "2025-01-01T00:01:00+00:00",
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
    r.add("params", "parameters", r.scores(1.2, 0), role="baseline")
    r.add("random", "random scores", r.scores(90.0, 0), role="baseline")
    r.fail("close", "CLOSENet")
    r.fail("spos", "SPOS", status="running", seed=4)
    return r
