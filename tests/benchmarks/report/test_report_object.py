"""What `report` returns, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from supertau.benchmarks.report import report

if TYPE_CHECKING:
    from tests.benchmarks.report.conftest import Results


def test_frames_hold_the_tables_as_numbers(results: Results, tmp_path: Path) -> None:
    made = report(results.folder, tmp_path / "out", figures=False)
    (frame,) = made.frames()
    taus = [v for k, v in results.tau.items() if k.startswith("spos")]
    spos = frame.set_index("estimator").loc["SPOS"]
    assert spos["tau"] == pytest.approx(np.mean(taus))
    assert spos["sd"] == pytest.approx(np.std(taus, ddof=1))
    assert (spos["seeds"], spos["score"], spos["role"]) == (3, "accuracy@batch", "estimator")
    assert spos["low"] < spos["tau"] < spos["high"]
    assert (spos["p_at_top_5pct"], spos["hits_at_10:best10"]) == (0.5, 4.5)
    assert spos["train_seconds"] == pytest.approx(13.5)
    assert np.isnan(frame.set_index("estimator").loc["Constant", "tau"])
    assert all(frame[name].dtype == np.float64 for name in ("tau", "sd", "train_images", "p_at_top_5pct"))


def test_a_table_without_rows_has_the_columns_of_the_others(empty_results: Results, tmp_path: Path) -> None:
    empty_results.fail("close", "CLOSENet")
    (frame,) = report(empty_results.folder, tmp_path / "out", figures=False).frames()
    assert len(frame) == 0
    assert {"estimator", "tau", "seeds", "train_images"} <= set(frame.columns)


def test_notebook_form_shows_the_tables_escaped(results: Results, tmp_path: Path) -> None:
    text = report(results.folder, tmp_path / "out", figures=False)._repr_html_()
    assert "CLOSENet" in text
    assert "&lt;b&gt;new&lt;/b&gt;" in text
    assert "<b>new" not in text
    assert "<i>at</i>" not in text
    assert "Diverged" in text


@pytest.mark.parametrize("module", ["torch", "matplotlib"])
def test_importing_reports_leaves_slow_packages_alone(module: str) -> None:
    code = f"import sys, supertau.benchmarks.report; sys.exit('{module}' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_report_without_figures_draws_nothing(results: Results, tmp_path: Path) -> None:
    code = (
        "import sys; from supertau.benchmarks.report import report; "
        f"report({str(results.folder)!r}, {str(tmp_path / 'out')!r}, figures=False); "
        "sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
