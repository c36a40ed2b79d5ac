"""What imports what: no circles among the room's files, and no torch before a network is built."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import supertau.search_spaces
from supertau.search_spaces.spaces import SPACES

PACKAGE = "supertau.search_spaces"
ROOT = Path(supertau.search_spaces.__file__).parent
SLOW = ("pandas", "pooch", "pyarrow", "scipy", "torch")


# --- circles --------------------------------------------------------------------------------------------------------


def modules(root: Path, package: str) -> dict[str, Path]:
    """Return the files of a package by the name they are imported by."""
    files = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return files


def graph(root: Path, package: str) -> dict[str, set[str]]:
    """Return the modules of the package that each module imports, wherever in the file: a lazy "module:Name", too."""
    files = modules(root, package)
    edges: dict[str, set[str]] = {}
    for name, path in files.items():
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: a relative import, which this test cannot follow"
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= inside & files.keys() if inside <= files.keys() else {*inside, str(node.module)}
            elif isinstance(node, ast.Constant) and re.fullmatch(r"[\w.]+:\w+", str(node.value)):
                targets.add(node.value.partition(":")[0])
        edges[name] = targets & files.keys()
    return edges


def test_no_module_imports_itself_by_way_of_others():
    edges = graph(ROOT, PACKAGE)
    assert len(edges) > 30
    assert edges[f"{PACKAGE}.nasbench201.space"] >= {f"{PACKAGE}.space", f"{PACKAGE}.nasbench201.network"}
    assert edges[f"{PACKAGE}.spaces"] >= {f"{PACKAGE}.registry", f"{PACKAGE}.nds.space"}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail("an import circle: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize(
    "text",
    [
        "import zoo.dog",
        "from zoo import dog",
        "from zoo.dog import Dog",
        "if TYPE_CHECKING:\n    from zoo.dog import Dog",
        "def make():\n    from zoo.dog import Dog",
        "TARGETS = {'dog': 'zoo.dog:Dog'}",
    ],
)
def test_a_circle_is_seen_whatever_closes_it(tmp_path, text):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "dog.py").write_text("from zoo.cat import Cat\n")
    (tmp_path / "cat.py").write_text(text)
    with pytest.raises(CycleError):
        TopologicalSorter(graph(tmp_path, "zoo")).prepare()
    (tmp_path / "dog.py").write_text("from os import path\n")
    TopologicalSorter(graph(tmp_path, "zoo")).prepare()


# --- slow imports ---------------------------------------------------------------------------------------------------


def loaded(code: str) -> set[str]:
    """Return which slow packages a fresh process has imported after some code."""
    code += f"\nimport sys; print('loaded:', *(name for name in {SLOW} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


BUILT_IN = [name for name in SPACES if SPACES.origin(name) == "supertau"]

USE = """
import numpy as np
from supertau.search_spaces.pool import select
from supertau.search_spaces.spaces import get_space

rng = np.random.default_rng(0)
space = get_space({name!r})
architecture = space.sample(rng)
assert space.parse(space.format(architecture)) == architecture
space.canonical(architecture), space.is_connected(architecture), space.has_live_convolution(architecture)
space.cost(architecture, space.benchmark), space.flow(architecture), space.tokens(architecture)
space.mutate(architecture, rng, 0.5), space.disjoint_pair(rng), space.order(architecture)
known = ()
for dataset in space.truths:
    known = space.truth(dataset).architectures
for pool in ("random:3", *(("all", "unique:3", "connected:3") if known else ())):
    assert len(select(space, pool, known)) >= 3
assert len(select(space, "unique", known)) == 6466 if space.is_listable else True
"""


@pytest.mark.parametrize("name", BUILT_IN)
def test_torch_is_not_imported_before_a_network_is_built(name):
    assert "torch" not in loaded(USE.format(name=name))


def test_a_network_does_import_torch():
    """Otherwise the test above could not fail."""
    build = "\nspace.network(architecture, space.benchmark)"
    assert "torch" in loaded(USE.format(name="nasbench201") + build)


@pytest.mark.parametrize("module", ["space", "spaces", "registry", "pool", "table", "cache", "truth", "errors"])
def test_light_modules(module):
    assert loaded(f"import {PACKAGE}.{module}") == set()


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_space_is_made_without_slow_imports(name):
    assert loaded(f"from {PACKAGE}.spaces import get_space; get_space({name!r})") == set()


def test_the_table_of_nasbench201_is_read_without_slow_imports():
    code = f"from {PACKAGE}.spaces import get_space; get_space('nasbench201').truth('cifar10')"
    assert loaded(code) == set()


def test_packaged_tables_are_read_without_pandas():
    code = f"from {PACKAGE}.spaces import get_space; get_space('nds-resnet').truth('micro')"
    assert loaded(code) == {"pyarrow"}


# --- the package's own names ----------------------------------------------------------------------------------------


def test_names_of_the_package_are_those_of_its_modules():
    names = supertau.search_spaces.__all__
    assert set(names) <= set(dir(supertau.search_spaces))
    assert sorted(names) == sorted(n for group in supertau.search_spaces._MODULES.values() for n in group)
    for name in names:
        assert getattr(supertau.search_spaces, name) is not None
    assert supertau.search_spaces.Supernet.__module__ == f"{PACKAGE}.supernet"
    with pytest.raises(AttributeError, match=r"'supertau\.search_spaces' has no attribute 'Supernett'"):
        supertau.search_spaces.Supernett  # noqa: B018


def test_a_name_of_the_package_is_imported_alone():
    assert loaded(f"from {PACKAGE} import SearchSpace, SupertauError") == set()
    assert "torch" in loaded(f"from {PACKAGE} import Supernet")


def test_plain_types_are_also_names_of_the_space_module():
    from supertau.search_spaces import architecture, space

    for name in ("Architecture", "Cost", "FlowGraph", "NetworkConfig"):
        assert getattr(space, name) is getattr(architecture, name)
