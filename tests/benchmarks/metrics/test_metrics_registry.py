"""What every metric's entry says of it."""

from __future__ import annotations

import numpy as np
import pytest

from supertau.benchmarks.metrics.registry import METRICS, SHOWN, applying, metric


def test_keys_of_the_registry_are_those_of_the_entries() -> None:
    assert all(key == entry.key for key, entry in METRICS.items())
    for names in ("label", "short"):
        assert len({getattr(entry, names) for entry in METRICS.values()}) == len(METRICS)


def test_the_printed_tables_show_tau_first() -> None:
    assert [(m.key, m.short, m.digits) for m in SHOWN] == [
        ("kendall_tau", "τ", 3),
        ("p_at_top_5pct", "P@top5%", 3),
        ("hits_at_10:best10", "hits@10 (best10)", 2),
        ("local_tau_at_10:best10", "local τ@10 (best10)", 3),
    ]


@pytest.mark.parametrize("key", list(METRICS))
def test_chance_lies_within_the_bounds(key: str) -> None:
    entry, truth = METRICS[key], np.linspace(60, 94, 400)
    least, most = entry.bounds
    chance = entry.chance_of_truth(truth) if entry.chance_of_truth else entry.chance(400)
    assert chance is not None
    assert least <= chance <= most
    best, worst = (entry(s, truth, np.random.default_rng(0)) for s in (truth, -truth))
    assert best is not None
    assert worst is not None
    assert least <= min(best, worst) <= max(best, worst) <= most
    assert (best > worst) == (entry.direction == "up")


def test_members_of_a_family_know_their_range() -> None:
    assert metric("p_at_bottom_2pct").bounds == (0, 1)
    assert metric("tau_of_predicted_top_50").bounds == (-1, 1)
    assert metric("regret_at_5").bounds == (0, np.inf)
    assert (metric("p_at_top_12.5pct").short, metric("worst_rank_at_3").label) == ("P@top12.5%", "WR@3")
    assert not metric("p_at_top_12.5pct").shown


def test_which_metrics_apply() -> None:
    local = [key for key, entry in METRICS.items() if entry.views == ("unique",)]
    assert len(local) == 4
    assert [m.key for m in applying(None, "unique", 200)] == list(METRICS)
    for view, n in (("unique", 199), ("all", 200), ("part", 200), (None, 200)):
        assert [m.key for m in applying(None, view, n)] == [key for key in METRICS if key not in local]
    assert [m.key for m in applying(["spearman", *local], None, 200)] == ["spearman", *local]
    assert [m.key for m in applying(["spearman", *local], "all", 200)] == ["spearman"]
