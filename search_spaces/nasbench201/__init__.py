"""NAS-Bench-201: the space, its isomorphism rules, networks and ground truth."""

from supertau.search_spaces.nasbench201.cells import OPERATIONS
from supertau.search_spaces.nasbench201.space import NASBench201

__all__ = ["OPERATIONS", "NASBench201"]
