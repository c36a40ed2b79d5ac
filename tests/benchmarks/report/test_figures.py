"""The figures: what stands in their axes is what the records and scores say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import kendalltau

from supertau.benchmarks.metrics import overlap_curve
from supertau.benchmarks.report import font, report, style
from supertau.benchmarks.report.figures import hexbin, scatter
from supertau.benchmarks.report.leaderboard import leaderboard
from supertau.benchmarks.report.looks import KNOWN, OTHERS, look
from supertau.benchmarks.report.names import slug
from supertau.benchmarks.report.plots import Plot, plots
from supertau.benchmarks.report.style import pdf, png, save
from supertau.benchmarks.report.table import Table
from supertau.benchmarks.results import load_runs

if TYPE_CHECKING:
    from tests.benchmarks.report.conftest import Results


@pytest.fixture
def table(results: Results) -> Table:
    return leaderboard(load_runs(results.folder))[0]


def figure_of(table: Table, kind: str, contains: str = "") -> Plot:
    return next(p for p in plots(table) if p.kind == kind and contains in p.name)


def artist(figure: Figure, gid: str) -> Any:
    (drawn,) = figure.findobj(lambda a: a.get_gid() == gid)
    return drawn


def texts(figure: Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(mpl.text.Text))


def test_bars_show_mean_seeds_floor_and_ceiling(results: Results, table: Table) -> None:
    figure = figure_of(table, "leaderboard").figure
    taus = [v for k, v in results.tau.items() if k.startswith("spos")]
    assert artist(figure, "bar:SPOS").get_width() == pytest.approx(np.mean(taus))
    assert sorted(artist(figure, "seeds:SPOS").get_offsets()[:, 0]) == pytest.approx(sorted(taus))
    floor = next(v for k, v in results.tau.items() if k.startswith("params"))
    assert artist(figure, "floor: parameters").get_xdata()[0] == pytest.approx(floor)
    assert artist(figure, "noise ceiling").get_xdata()[0] == pytest.approx(0.9)
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels[0] == "CLOSENet"
    assert "Constant" not in labels


def test_training_shows_tau_of_the_subset_per_seed_and_their_mean(results: Results, table: Table) -> None:
    plot = figure_of(table, "training")
    line = artist(plot.figure, "mean:CLOSENet")
    part = np.arange(0, results.n, 4)
    last = [kendalltau(results.scores(0.4, s)[part], results.truth[part]).statistic for s in range(3)]
    assert list(line.get_xdata()) == [100, 500, 1000]
    assert line.get_ydata()[-1] == pytest.approx(np.mean(last))
    thin = plot.figure.findobj(lambda a: a.get_gid() == "seed:CLOSENet")
    assert sorted(t.get_ydata()[-1] for t in thin) == pytest.approx(sorted(last))
    assert f"{len(part)} architectures" in plot.caption
    assert f"{len(part)} architectures" in texts(plot.figure)
    assert len(plot.figure.findobj(PolyCollection)) == 2


def test_overlap_shows_precision_chance_and_ceiling(results: Results, table: Table) -> None:
    plot = figure_of(table, "overlap")
    line = artist(plot.figure, "curve:CLOSENet")
    expected = np.mean([overlap_curve(results.scores(0.4, s), results.truth).precision for s in range(3)], axis=0)
    ks = np.asarray(line.get_xdata())
    assert np.asarray(line.get_ydata()) == pytest.approx(expected[ks - 1])
    chance = artist(plot.figure, "chance")
    assert np.asarray(chance.get_ydata()) == pytest.approx(np.asarray(chance.get_xdata()) / results.n)
    ceiling = artist(plot.figure, "ceiling")
    assert ceiling.get_xdata()[-1] == pytest.approx(results.n)
    assert ceiling.get_ydata()[-1] == pytest.approx(1.0)
    assert f"{results.n - 40} architectures with every training seed" in plot.caption


def test_scatter_marks_the_true_and_predicted_best(results: Results, table: Table) -> None:
    plot = figure_of(table, "scatter", "closenet")
    groups = {c.get_gid(): c.get_offsets() for c in plot.figure.axes[0].findobj(PathCollection)}
    assert sum(map(len, groups.values())) == results.n
    count = results.n // 20
    score = results.scores(0.4, 0)
    hits = set(np.argsort(-score)[:count]) & set(np.argsort(-results.truth)[:count])
    assert len(groups["both"]) == len(hits)
    assert len(groups["true top 5 %, missed"]) == len(groups["predicted top 5 %, wrong"]) == count - len(hits)
    tau = next(v for k, v in results.tau.items() if k.startswith("close-s0"))
    assert f"τ = {tau:.3f} [{tau - 0.05:.3f}, {tau + 0.04:.3f}]" in texts(plot.figure)


def test_scatter_counts_what_it_does_not_draw() -> None:
    truth = np.concatenate([np.linspace(80, 90, 990), np.full(10, 10.0)])
    figure = scatter(truth, truth, title="t", annotation="a", score_label="s", truth_label="t")
    bottom = figure.axes[0].get_ylim()[0]
    assert bottom > 50
    assert f"{(truth < bottom).sum()} below" in texts(figure)


def test_hexbin_holds_every_architecture_with_ties_at_their_mean_rank() -> None:
    score = np.repeat(np.arange(50.0), 2)
    figure = hexbin(score, np.arange(100.0), title="t", annotation="a")
    (counts,) = figure.axes[0].findobj(PolyCollection)
    assert counts.get_array().sum() == 100
    assert figure.axes[0].get_xlim() == (1, 100)


@pytest.mark.parametrize(("most", "named"), [(3, "1 2 3"), (400, "1 2 5 10 20 50 100 200"), (1500, "500 1,000")])
def test_hexbin_names_whole_numbers_of_architectures(most: int, named: str) -> None:
    values = np.repeat([0.0, 1.0], [most, 1])
    figure = hexbin(values, values, title="t", annotation="a")
    png(figure)
    labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert " ".join(labels).endswith(named)
    assert not figure.axes[1].get_yticks(minor=True).size


def test_awkward_names_are_drawn_as_they_are(results: Results, table: Table) -> None:
    for plot in plots(table):
        if "my-b-new" in plot.name or plot.kind == "leaderboard":
            assert len(plot.png) > 5000
            assert "/" not in plot.name
    assert r"\$100%_{est}" in texts(figure_of(table, "leaderboard").figure)
    assert slug(results.awkward) != slug(results.awkward.replace("<", ">"))


def test_letters_are_readable_at_print_size(table: Table) -> None:
    for plot in plots(table):
        sizes = [t.get_fontsize() for t in plot.figure.findobj(mpl.text.Text) if t.get_text()]
        assert min(sizes) >= 7.0
        assert plot.figure.get_figwidth() in (3.3, 6.9)


def test_saved_files_are_the_same_bytes_each_time_and_hold_no_date(table: Table, tmp_path: Path) -> None:
    first, second = (figure_of(table, "overlap").figure for _ in range(2))
    assert png(first) == png(second)
    assert pdf(first) == pdf(second)
    image, document = save(first, tmp_path, "overlap")
    assert b"CreationDate" not in document.read_bytes()
    with Image.open(image) as opened:
        assert opened.width == 660
        assert np.asarray(opened.convert("L")).std() > 10


def test_letters_of_the_small_font_are_those_of_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ligatures, Greek and what the small font lacks included."""
    values = np.arange(100.0)
    annotation = "τ = \N{MINUS SIGN}0.1 … offline \N{EN DASH} AVATAR"
    options: dict[str, Any] = {"title": "floffy Ж Π-NAS", "annotation": annotation, "score_label": "ä"}
    small = scatter(values, values, truth_label="t", **options)
    drawn, text = png(small), pdf(small)
    monkeypatch.setattr(style, "families", lambda: [font.WHOLE])
    whole = scatter(values, values, truth_label="t", **options)
    assert png(whole) == drawn
    assert font.families() == [font.SMALL, font.WHOLE]
    assert b"/CIDFontType2" in text
    assert b"/Type3" not in text


def test_drawing_leaves_matplotlib_settings_alone(table: Table) -> None:
    with mpl.rc_context({"font.size": 21.0}):
        figure_of(table, "leaderboard")
        assert mpl.rcParams["font.size"] == 21.0


def test_looks_are_stable_and_reserved_for_the_named_estimators() -> None:
    assert look("spos") == look("SPOS") == KNOWN["spos"]
    assert look("my.plugin:Thing") == look("my.plugin:Thing")
    assert look("my.plugin:Thing").color in OTHERS
    assert not {k.color for k in KNOWN.values()} & set(OTHERS)


def test_report_writes_every_figure_and_embeds_it(empty_results: Results, tmp_path: Path) -> None:
    empty_results.add("spos", "SPOS", empty_results.scores(1.0, 0), curve=True)
    written = report(empty_results.folder, tmp_path / "out").files
    names = {p.name for p in written}
    images = [p for p in written if p.suffix == ".png"]
    assert {"leaderboard.md", "leaderboard.csv", "leaderboard.tex", "leaderboard.html", "runs.csv"} <= names
    assert all(p.with_suffix(".pdf") in written for p in images)
    assert all(p.stat().st_size > 5000 for p in images)
    assert len(images) == 5
    assert (tmp_path / "out" / "leaderboard.html").read_text().count("data:image/png;base64,") == len(images)
