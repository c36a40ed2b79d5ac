"""The registry of search spaces; installed packages add theirs by the entry-point group 'supertau.search_spaces'."""

from __future__ import annotations

from functools import cache

from supertau.search_spaces.registry import Registry
from supertau.search_spaces.space import SearchSpace

SPACES: Registry[type[SearchSpace]] = Registry(
    kind="search space",
    base=SearchSpace,
    group="supertau.search_spaces",
    builtin={
        "nasbench201": "supertau.search_spaces.nasbench201.space:NASBench201",
        "nasbench301": "supertau.search_spaces.nasbench301.space:DARTS",
        "nds-resnet": "supertau.search_spaces.nds.space:NDSResNet",
        "nds-resnexta": "supertau.search_spaces.nds.space:NDSResNeXtA",
        "nds-resnextb": "supertau.search_spaces.nds.space:NDSResNeXtB",
        "nds-vanilla": "supertau.search_spaces.nds.space:NDSVanilla",
    },
)


@cache
def get_space(name: str) -> SearchSpace:
    """Return the space of a name; raise UnknownName with the nearest match."""
    return SPACES.resolve(name)()
