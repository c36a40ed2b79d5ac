"""The plugin template: its project works and is found by its entry point; unusable plugins give a warning."""

import ast
import io
import json
import os
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import supertau
from supertau.benchmarks.plugin_template.project import names, new_estimator
from supertau.search_spaces.errors import SupertauError

MAIN = "import sys; from supertau.benchmarks.cli import main; sys.argv[0] = 'supertau'; main()"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return new_estimator("my-method", tmp_path_factory.mktemp("plugins") / "my-method")


def install(site, distribution, points):
    """Make a folder look like one that pip installed a distribution into."""
    folder = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (folder / "entry_points.txt").write_text("[supertau.estimators]\n" + "\n".join(lines) + "\n")


def python(*arguments, path, cwd):
    """Run Python on the suite that is under test, with folders put before it."""
    suite = Path(supertau.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, suite])), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_project_has_what_a_package_needs(project):
    files = {str(p.relative_to(project)) for p in project.rglob("*") if p.is_file()}
    assert files == {
        "pyproject.toml", "README.md", ".gitignore", "my_method/__init__.py", "my_method/estimator.py",
        "tests/test_conformance.py",
    }  # fmt: skip
    about = tomllib.loads((project / "pyproject.toml").read_text())
    assert about["project"]["name"] == "my-method"
    assert about["project"]["entry-points"]["supertau.estimators"] == {"my_method": "my_method.estimator:MyMethod"}
    assert not any("$" in path.read_text() for path in project.rglob("*") if path.is_file())


def code_lines(text):
    """Return the numbers of lines that hold code: not blank, no comment, no docstring."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return lines


def test_the_estimator_is_short(project):
    assert code_lines('"""Text."""\n\n# why\nx = (1,\n     2)  # both\n') == {4, 5}
    text = (project / "my_method" / "estimator.py").read_text()
    assert 20 < len(code_lines(text)) <= 45
    assert text.count("YOUR IDEA") >= 4


def test_installed_it_is_found_and_passes_the_kit(project, tmp_path):
    points = tomllib.loads((project / "pyproject.toml").read_text())["project"]["entry-points"]["supertau.estimators"]
    install(tmp_path / "site", "my-method", points)
    where = {"path": [tmp_path / "site", project], "cwd": tmp_path}
    done = python(
        "-W", "error", "-c",
        "from supertau.estimators import ESTIMATORS as e; print(e.origin('my_method'), e.get('my_method'))",
        **where,
    )  # fmt: skip
    assert done.stdout == "my-method <class 'my_method.estimator.MyMethod'>\n", done.stderr
    checked = python("-c", MAIN, "check", "my_method", "--json", **where)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {r["status"] for r in json.loads(checked.stdout)["my_method"]} == {"passed"}


def test_a_package_that_pip_installed_is_listed_runs_and_stands_on_the_leaderboard(project, tmp_path):
    site, results = tmp_path / "site", tmp_path / "results"
    built = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--target", str(site), str(project)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    where = {"path": [site], "cwd": tmp_path}
    listed = python("-c", MAIN, "list", "estimators", **where)
    assert "my_method" in listed.stdout, listed.stderr
    names = ["--estimator", "my_method", "params", "--preset", "smoke", "--results", str(results)]
    ran = python("-c", MAIN, "run", *names, **where)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    reported = python("-c", MAIN, "report", "--results", str(results), "--no-figures", **where)
    assert reported.returncode == 0, reported.stdout + reported.stderr
    table = (results / "report" / "leaderboard.csv").read_text()
    assert "my_method" in table


def test_its_own_test_passes_before_it_is_installed(project):
    ran = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "config_is_plain or training_resumes",
                 path=[], cwd=project)  # fmt: skip
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_it_is_clean(project):
    pytest.importorskip("ruff")
    for arguments in (["check"], ["format", "--check"]):
        ran = python("-m", "ruff", *arguments, "--no-cache", ".", path=[], cwd=project)
        assert ran.returncode == 0, ran.stdout


@pytest.mark.slow
def test_its_types_are_right(project, tmp_path):
    pytest.importorskip("mypy")
    environment = {**os.environ, "MYPYPATH": str(Path(supertau.__file__).parents[1])}
    for variables in (os.environ, environment):  # with the suite seen as untyped, as when installed, and as typed
        ran = subprocess.run(
            [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path)],
            cwd=project, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout


def test_plugins_that_cannot_be_used_are_warnings_with_the_reason(tmp_path):
    (tmp_path / "will_not_import.py").write_text("import a_package_that_is_missing\n")
    (tmp_path / "other_things.py").write_text("from supertau.estimators.baselines import Random\nclass Table: pass\n")
    bad = {"absent": "will_not_import:A", "table": "other_things:Table", "spos": "other_things:Random"}
    install(tmp_path, "bad-plugins", bad)
    install(tmp_path, "good-plugin", {"good": "other_things:Random"})
    script = (
        "import json, warnings\n"
        "from supertau.estimators import ESTIMATORS\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    names = ESTIMATORS.names()\n"
        "try: ESTIMATORS.get('absent')\n"
        "except Exception as error: asked = str(error)\n"
        "said = [str(w.message) for w in caught if w.category.__name__ == 'PluginWarning']\n"
        "print(json.dumps([names, said, asked, ESTIMATORS.get('spos').__module__]))\n"
    )
    ran = python("-c", script, path=[tmp_path], cwd=tmp_path)
    found, said, asked, spos = json.loads(ran.stdout)
    assert "good" in found
    assert not {"absent", "table"} & set(found)
    assert spos == "supertau.estimators.spos"
    assert len(said) == 3
    assert all("of bad-plugins left out" in line for line in said)
    reasons = "\n".join(sorted(said))
    assert "No module named 'a_package_that_is_missing'" in reasons
    assert "'table' must be a subclass of supertau.estimators.estimator.Estimator" in reasons
    assert "the name is already taken by supertau" in reasons
    assert "installed but cannot be used: ModuleNotFoundError" in asked


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("spos", "registered already"),
        ("jacob-cov", "registered already"),
        ("class", "means something else"),
        ("none", "means something else"),
        ("torch", "means something else"),
        ("json", "means something else"),
        ("tests", "means something else"),
        ("path-sampler", "would hide one"),
        ("2fast", "a letter first"),
        ("a--b", "single hyphens"),
        ("-a", "a letter first"),
        ("a.b", "e.g. my-method"),
        ("../a", "e.g. my-method"),
        ("mé", "e.g. my-method"),
        ("", "e.g. my-method"),
    ],
)
def test_names_that_cannot_be_used(name, said, tmp_path):
    with pytest.raises(SupertauError, match=said):
        new_estimator(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_name_in_all_its_forms():
    assert names("My-new_NAS2") == {
        "project": "my-new-nas2", "module": "my_new_nas2", "cls": "MyNewNAS2", "title": "My new NAS2",
    }  # fmt: skip
    assert names("x")["cls"] == "X"


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "empty").mkdir()
    assert new_estimator("mine", tmp_path / "empty") == tmp_path / "empty"
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(SupertauError, match="is not an empty folder"):
        new_estimator("mine", tmp_path / "empty")
    with pytest.raises(SupertauError, match="is not an empty folder"):
        new_estimator("mine", tmp_path / "empty" / "README.md")
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_command_says_what_comes_next(tmp_path, monkeypatch):
    from supertau.benchmarks.cli.app import app

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["new-estimator", "fresh_idea"])
    assert done.exit_code == 0
    assert (tmp_path / "fresh-idea" / "fresh_idea" / "estimator.py").is_file()
    assert "supertau check fresh_idea" in done.stdout
    done = CliRunner().invoke(app, ["new-estimator", "other", "--to", "there", "--json"])
    assert json.loads(done.stdout) == {"folder": "there", "estimator": "other", "class": "Other"}
