"""Wheel, source distribution and editable install: what is in them, and that a run works from each.

All of it works without a network: builds use the setuptools of the environment of the tests, and each install goes into
a fresh environment that finds its dependencies there, by a .pth file that names its folder.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("search_spaces", "estimators", "benchmarks")
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "src", *ROOMS)
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def call(*command: str | Path, cwd: Path) -> str:
    """Return what a command prints. It must not see the package that is tested otherwise."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, kind: str, target: Path) -> Path:
    """Return the 'wheel' or 'sdist' that a source folder is built into."""
    target.mkdir()
    call(sys.executable, "-c", BUILD, f"build_{kind}", target, cwd=source)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, for builds leave files in it."""
    copy = tmp_path_factory.mktemp("source") / "supertau"
    copy.mkdir()
    for name in NEEDED:
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "wheel", tmp_path_factory.mktemp("wheel") / "dist")


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "sdist", tmp_path_factory.mktemp("sdist") / "dist")


@pytest.fixture(scope="module")
def wheel_of_sdist(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from nothing but the source distribution."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build(unpacked, "wheel", folder / "dist")


def packaged(source: Path) -> set[str]:
    """Return the names that all files of the package have in a wheel."""
    rooms = {path for room in ROOMS for path in (source / room).rglob("*") if path.is_file()}
    door = {f"supertau/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    return {f"supertau/{path.relative_to(source)}" for path in rooms} | door


def environment(folder: Path) -> Path:
    """Make an environment with the dependencies of this one but not its supertau; return its scripts' folder."""
    venv.create(folder, symlinks=True)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    # Names a folder only: what .pth files in it name, an editable supertau among them, is not read.
    (own / "dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return Path(sysconfig.get_path("scripts", "venv", {"base": str(folder)}))


def install(scripts: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "--no-cache-dir", "install", "--quiet")
    call(*pip, "--no-index", "--no-deps", "--no-build-isolation", *what, cwd=scripts)


def test_a_wheel_holds_every_file_of_the_package_and_nothing_else(source: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == packaged(source)
    assert "supertau/search_spaces/tables/nds-resnet-micro.parquet" in names
    assert any(name.endswith(".tmpl") for name in names)
    assert wheel.stat().st_size < 1_000_000


def test_a_source_distribution_holds_files_and_no_links(source: Path, sdist: Path, wheel_of_sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    assert {name.partition("/")[2] for name in (m.name for m in members)} >= {f"src/{n}" for n in packaged(source)}
    with zipfile.ZipFile(wheel_of_sdist) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == packaged(source)


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_a_run_works_from_an_install(kind: str, source: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    scripts = environment(tmp_path / "environment")
    install(scripts, *(["--editable", source] if kind == "editable" else [request.getfixturevalue(kind)]))
    empty = tmp_path / "empty"
    empty.mkdir()
    place = source if kind == "editable" else tmp_path / "environment"
    found = call(scripts / "python", "-c", "import supertau.benchmarks as b; print(b.__file__)", cwd=empty)
    assert Path(found.strip()).is_relative_to(place)
    call(scripts / "supertau", "run", "--estimator", "spos", "--preset", "smoke", "--results", "results", cwd=empty)
    assert list(empty.glob("results/runs/spos-*/scores.parquet"))
    call(scripts / "supertau", "new-estimator", "my-method", cwd=empty)
    assert (empty / "my-method/my_method/estimator.py").is_file()
