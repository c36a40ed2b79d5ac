"""How well do one-shot NAS estimators rank architectures? The front door of the suite.

    import supertau

    run = supertau.run("spos", preset="quick", seed=0)    # train and score; run.scores and run.metrics are tables
    supertau.score(scores, name="my method")              # judge scores made elsewhere: a file, frame or dictionary
    supertau.compare("spos", "params")                    # paired difference with its interval
    supertau.report("results/local")                      # leaderboards and figures of everything in a folder
    supertau.search(run)                                  # evolutionary search by a run's scores
    supertau.load_runs("results/local")                   # what is there

`ESTIMATORS`, `SPACES`, `IMAGES`, `METRICS` and `PRESETS` hold what can be named: `list(supertau.ESTIMATORS)`.
Each of these names is imported when it is first used: `import supertau` alone loads neither torch nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supertau.benchmarks.images import IMAGES
    from supertau.benchmarks.metrics import METRICS
    from supertau.benchmarks.options import ExecutionOptions, RunOptions, TaskOptions
    from supertau.benchmarks.presets import PRESETS
    from supertau.benchmarks.record import Record
    from supertau.benchmarks.results import Run, Runs, load_runs
    from supertau.benchmarks.verbs.compare import compare
    from supertau.benchmarks.verbs.report import report
    from supertau.benchmarks.verbs.run import run
    from supertau.benchmarks.verbs.score import score
    from supertau.benchmarks.verbs.search import search
    from supertau.estimators.registry import ESTIMATORS
    from supertau.search_spaces.errors import SupertauError
    from supertau.search_spaces.spaces import SPACES, get_space

_HOMES = {
    "IMAGES": "benchmarks.images",
    "METRICS": "benchmarks.metrics",
    "ExecutionOptions": "benchmarks.options",
    "RunOptions": "benchmarks.options",
    "TaskOptions": "benchmarks.options",
    "PRESETS": "benchmarks.presets",
    "Record": "benchmarks.record",
    "Run": "benchmarks.results",
    "Runs": "benchmarks.results",
    "load_runs": "benchmarks.results",
    "compare": "benchmarks.verbs.compare",
    "report": "benchmarks.verbs.report",
    "run": "benchmarks.verbs.run",
    "score": "benchmarks.verbs.score",
    "search": "benchmarks.verbs.search",
    "ESTIMATORS": "estimators.registry",
    "SupertauError": "search_spaces.errors",
    "SPACES": "search_spaces.spaces",
    "get_space": "search_spaces.spaces",
}
"""Where each public name is at home."""

__all__ = [
    "ESTIMATORS",
    "IMAGES",
    "METRICS",
    "PRESETS",
    "SPACES",
    "ExecutionOptions",
    "Record",
    "Run",
    "RunOptions",
    "Runs",
    "SupertauError",
    "TaskOptions",
    "compare",
    "get_space",
    "load_runs",
    "report",
    "run",
    "score",
    "search",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'supertau' has no attribute '{name}'")
    value: object = getattr(import_module(f"supertau.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "benchmarks", "estimators", "search_spaces"]
