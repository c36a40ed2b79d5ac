"""What `report` writes: Markdown, CSV, LaTeX and the HTML page, read back by their content."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from supertau.benchmarks.record import Role
from supertau.benchmarks.report import report
from supertau.benchmarks.report.latex import escape as escape_latex
from supertau.search_spaces.errors import SupertauError

if TYPE_CHECKING:
    from tests.benchmarks.report.conftest import Results

VOID = {"meta", "input", "img", "br", "line", "circle"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


@pytest.fixture
def out(results: Results, tmp_path: Path) -> Path:
    report(results.folder, tmp_path / "out", figures=False)
    return tmp_path / "out"


def test_no_runs_says_which_command_makes_some(tmp_path: Path) -> None:
    with pytest.raises(SupertauError, match=r"no runs in .*supertau run --preset quick"):
        report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_csv_holds_scipys_tau_at_full_precision(results: Results, out: Path) -> None:
    runs = pd.read_csv(out / "runs.csv")
    tau = runs[(runs["metric"] == "kendall_tau") & (runs["view"] == "all") & runs["primary"]].set_index("run_id")[
        "value"
    ]
    expected = {run_id: value for run_id, value in results.tau.items() if not np.isnan(value)}
    assert tau.dropna().to_dict() == expected
    means = pd.read_csv(out / "leaderboard.csv")
    spos = means[(means["title"] == "SPOS") & (means["metric"] == "kendall_tau") & (means["view"] == "all")].iloc[0]
    assert spos["value"] == np.mean([v for k, v in expected.items() if k.startswith("spos")])
    assert (spos["n_seeds"], spos["interval"], spos["better_than_free_baseline"]) == (3, "runs", "no")


def test_csv_holds_every_metric_and_says_why_one_is_missing(results: Results, out: Path) -> None:
    table = pd.read_csv(out / "leaderboard.csv")
    assert set(table[table["title"] == "CLOSENet"]["metric"]) == {
        "kendall_tau", "p_at_top_5pct", "hits_at_10:best10", "hits_at_10:spread10",
    }  # fmt: skip
    flat = table[(table["title"] == "Constant") & (table["metric"] == "kendall_tau")]
    assert flat["value"].isna().all()
    assert set(flat["undefined"]) == {"constant score"}
    assert results.awkward in set(table["title"])


@pytest.mark.parametrize(
    "name", ["leaderboard.md", "leaderboard.html", "leaderboard.tex", "leaderboard.csv", "runs.csv"]
)
def test_nothing_reads_nan_or_none(out: Path, name: str) -> None:
    text = (out / name).read_text()
    if name.endswith("html"):
        text = " ".join(Page(text).text)
    assert not re.search(r"\b(nan|inf|none)\b", text.replace("loss nan", ""), flags=re.IGNORECASE)
    if not name.endswith("csv"):
        assert "constant score" in text


def test_markdown_shows_numbers_references_failures_and_escapes(results: Results, out: Path) -> None:
    text = (out / "leaderboard.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    spos = next(line for line in table if "**SPOS**" in line)
    mean = np.mean([v for k, v in results.tau.items() if k.startswith("spos")])
    assert f"{mean:.3f} \\[" in spos
    assert "**SPOS** ▽" in spos
    assert "(n = 3)" in spos
    assert "| 4.50 |" in spos
    assert "*Noise ceiling* (reference)" in text
    assert "undefined: constant score" in next(line for line in table if "Constant" in line)
    assert "my \\<b\\>new\\</b\\> & $100%\\_{est}$" in text
    assert "Diverged: loss nan \\<i\\>at\\</i\\> step 41" in text


def test_latex_escapes_and_closes(out: Path) -> None:
    text = (out / "leaderboard.tex").read_text()
    assert r"my \textless{}b\textgreater{}new\textless{}/b\textgreater{} \& \$100\%\_\{est\}\$" in text
    assert escape_latex("Π-NAS τ a~b^c\\d 深") == (
        r"$\Pi$-NAS $\tau$ a\textasciitilde{}b\textasciicircum{}c\textbackslash{}d [U+6DF1]"
    )
    assert text.isascii()
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    columns = len(re.search(r"\\begin\{tabular\}\{(l?r+)\}", text).group(1))  # type: ignore[union-attr]
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {columns}
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    unescaped = re.sub(r"\\[{}]", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    assert r"\usepackage{booktabs}" in text


def test_page_parses_escapes_and_loads_nothing(results: Results, out: Path) -> None:
    source = (out / "leaderboard.html").read_text()
    page = Page(source)
    text = " ".join(page.text)
    assert "<b>new</b>" not in source
    assert "<i>at</i>" not in source
    assert results.awkward in page.text
    assert "Diverged: loss nan <i>at</i> step 41" in text
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", source))
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed")
        source_of = attributes.get("src") or attributes.get("href") or "#"
        assert source_of.startswith(("data:", "#"))
    assert "ab" * 32 in text
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source


def test_page_runs_nothing_that_a_record_says(empty_results: Results, tmp_path: Path) -> None:
    hostile = """'"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"""
    for title in (hostile, "other"):
        run_id = empty_results.add(title, title, empty_results.scores(0.4, 0), role=Role.EXTERNAL)
        empty_results.change(run_id, source=hostile)
    empty_results.fail("close", hostile)
    report(empty_results.folder, tmp_path / "out")
    page = Page((tmp_path / "out" / "leaderboard.html").read_text())
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 1
    assert tags.count("img") == len(list((tmp_path / "out" / "figures").glob("*.png")))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert hostile in " ".join(page.text)
    assert hostile in [attributes.get("title") for tag, attributes in page.tags if tag == "td"]


def test_page_table_is_sortable_by_value_and_keyboard(results: Results, out: Path) -> None:
    page = Page((out / "leaderboard.html").read_text())
    heads = [a for t, a in page.tags if t == "th" and "aria-sort" in a]
    assert [h["aria-sort"] for h in heads].count("descending") == 1
    assert len([t for t, _ in page.tags if t == "button"]) == len(heads)
    values = {
        float(a["data-value"])
        for t, a in page.tags
        if t == "td" and re.fullmatch(r"-?0\.\d{5,}", a.get("data-value") or "")
    }
    mean = float(np.mean([v for k, v in results.tau.items() if k.startswith("close")]))
    assert any(v == pytest.approx(mean, abs=1e-12) for v in values)
    references = [a for t, a in page.tags if t == "tr" and a.get("class") == "reference"]
    assert {a["data-role"] for a in references} == {"ceiling", "baseline", "chance"}
    assert any("below" in (a.get("class") or "") for t, a in page.tags if t == "span")


def test_same_runs_give_the_same_bytes(results: Results, out: Path, tmp_path: Path) -> None:
    again = report(results.folder, tmp_path / "again", figures=False)
    assert len(again.files) == 5
    for path in again.files:
        assert path.read_bytes() == (out / path.name).read_bytes()
    assert not list(out.glob(".*"))


def test_a_task_with_nothing_but_failures_is_still_shown(empty_results: Results, tmp_path: Path) -> None:
    empty_results.fail("close", "CLOSENet")
    report(empty_results.folder, tmp_path / "out")
    assert "No run of this task has a result yet." in (tmp_path / "out" / "leaderboard.html").read_text()
    assert "Diverged" in (tmp_path / "out" / "leaderboard.md").read_text()
    assert len(pd.read_csv(io.StringIO((tmp_path / "out" / "leaderboard.csv").read_text()))) == 0
