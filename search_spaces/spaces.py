"""The registry of search spaces; installed packages add theirs by the entry-point group 'supertau.search_spaces'."""

from __future__ import annotations

from functools import cache

from search_spaces.registry import Registry
from search_spaces.space import SearchSpace

SPACES: Registry[type[SearchSpace]] = Registry(
    kind="search space",
    base=SearchSpace,
    group="supertau.search_spaces",
    builtin={"nasbench201": "search_spaces.nasbench201.space:NASBench201"},
)


@cache
def get_space(name: str) -> SearchSpace:
    """Return the space of a name; raise UnknownName with the nearest match."""
    return SPACES.resolve(name)()
