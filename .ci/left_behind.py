"""Runs a command with a home and a temporary folder of its own, and fails when it leaves files there or elsewhere.

    python .ci/left_behind.py make test

Both folders are new and empty: the command cannot rely on what an earlier one made (Ray's folder, for one, lies in
the temporary folder), and nobody else makes files there. Elsewhere the check looks for files that are new or changed
in the repository, and in /tmp and /dev/shm for what the suite and its libraries make where they do not ask for the
temporary folder. Other programs make names there, too, so the rest of what is new is printed and does not fail.
"""

import os
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CACHES = [".git", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".benchmarks", "__pycache__", "*.egg-info"]
RUSTUP = [".rustup"]  # in a new home: pip asks which version of Rust there is
PYTEST = ["pytest-of-*"]  # holds the temporary folders of the last three sessions
OURS = ["*ray*", "*supertau*", "pytest*", "*torch*", "*matplotlib*", "pymp-*", "plasma*", "sem.*", "psm_*", "st-*"]
"""Names that the suite, Ray, torch, matplotlib, pytest and multiprocessing give."""
SECONDS = 10  # for processes that are about to end to remove their files


def files(folder: Path, skip: list[str]) -> set[tuple[str, int]]:
    """Return the files and empty folders below a folder, each with the time of its last change (folders: 0)."""
    seen = set()
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in skip)]
        seen.update((os.path.join(where, name), os.lstat(os.path.join(where, name)).st_mtime_ns) for name in names)
        if not folders and not names and where != str(folder):
            seen.add((where, 0))
    return seen


def entries(folder: str | Path, skip: list[str]) -> set[str]:
    """Return what lies directly in a folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return {os.path.join(folder, name) for name in names if not any(fnmatch(name, pattern) for pattern in skip)}


def is_ours(path: str) -> bool:
    """Return whether a name in a folder that all programs share is one that the suite or its libraries give."""
    return any(fnmatch(os.path.basename(path), pattern) for pattern in OURS)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="st-", dir="/tmp", ignore_cleanup_errors=True) as own:  # short, for sockets
        home, temporary = Path(own, "home"), Path(own, "tmp")
        home.mkdir()
        temporary.mkdir()
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "RAY_"))}
        variables |= {"HOME": str(home), "TMPDIR": str(temporary)}

        def everyones() -> set[str]:
            return entries("/tmp", []) | entries("/dev/shm", [])

        source, shared = files(REPOSITORY, CACHES), everyones()

        def left() -> set[str]:
            new = {path for path, _ in (files(REPOSITORY, CACHES) - source) | files(home, RUSTUP)}
            return new | entries(temporary, PYTEST) | {path for path in everyones() - shared if is_ours(path)}

        status = subprocess.run(sys.argv[1:], cwd=REPOSITORY, env=variables, check=False).returncode
        end = time.monotonic() + SECONDS
        while left() and time.monotonic() < end:
            time.sleep(0.5)
        if others := everyones() - shared - left():
            print("\nnew in folders that all programs share:", *sorted(others), sep="\n  ", file=sys.stderr)
        if remains := left():
            print(f"\n'{' '.join(sys.argv[1:])}' left these behind:", *sorted(remains), sep="\n  ", file=sys.stderr)
        return status or int(bool(remains))


if __name__ == "__main__":
    sys.exit(main())
