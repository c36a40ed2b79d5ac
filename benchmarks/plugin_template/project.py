"""Writes a plugin project: an estimator that works, its test, and what makes the suite find it."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib import resources
from pathlib import Path
from string import Template

from supertau.benchmarks.files import write_atomically
from supertau.estimators.registry import ESTIMATORS
from supertau.search_spaces.errors import SupertauError

FILES = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    ".gitignore": "gitignore.tmpl",
    "$module/__init__.py": "init.py.tmpl",
    "$module/estimator.py": "estimator.py.tmpl",
    "tests/test_conformance.py": "test_conformance.py.tmpl",
}
"""Files of a project, and the template of each."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")


def new_estimator(name: str, folder: Path) -> Path:
    """Write a plugin project into a folder, new or empty, and return the folder.

    name: letters, digits, single hyphens or underscores, a letter first. 'my-method' gives the project 'my-method',
    the package and estimator 'my_method' and the class 'MyMethod'. Raises SupertauError for a name that cannot be used
    or is taken, and for a folder that is not empty.
    """
    words = names(name)
    texts = {Template(path).substitute(words): _template(file).substitute(words) for path, file in FILES.items()}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SupertauError(f"'{folder}' is there already and is not an empty folder. Choose another with --to.")
    for path, text in texts.items():
        write_atomically(folder / path, text)
    return folder


def names(name: str) -> dict[str, str]:
    """Return project, module, class and title of an estimator's name; raise SupertauError when it cannot be used."""
    if not _NAME.fullmatch(name) or not name.isascii():
        raise SupertauError(
            f"'{name}' cannot name a package: use letters and digits, words joined by single hyphens or underscores, "
            "a letter first, e.g. my-method."
        )
    parts = re.split("[-_]", name)
    module, cls = "_".join(parts).lower(), "".join(part[0].upper() + part[1:] for part in parts)
    if module in ESTIMATORS.names() or module in ESTIMATORS.broken:
        raise SupertauError(f"an estimator '{module}' is registered already (see supertau list). Choose another name.")
    if keyword.iskeyword(module) or keyword.iskeyword(cls) or module == "tests" or _is_importable(module):
        raise SupertauError(f"'{module}' means something else to Python: choose another name, e.g. my-{parts[0]}.")
    if re.search(rf"\b{cls}\b", _template(FILES["$module/estimator.py"]).template):
        raise SupertauError(f"the class '{cls}' would hide one that the estimator uses: choose another name.")
    return {"project": "-".join(parts).lower(), "module": module, "cls": cls, "title": " ".join(parts)}


def _is_importable(module: str) -> bool:
    """Return whether a module or package of that name exists; a mere folder does not count."""
    if module in sys.stdlib_module_names:
        return True
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def _template(name: str) -> Template:
    return Template((resources.files("supertau.benchmarks") / "plugin_template" / name).read_text(encoding="utf-8"))
