"""What is ranked: architectures, their supernets and stand-alone networks, and their ground truth."""

from supertau.search_spaces.errors import DataError, InvalidArchitecture, SupertauError, UnknownName
from supertau.search_spaces.space import Architecture, Cost, NetworkConfig, SearchSpace
from supertau.search_spaces.supernet import Supernet
from supertau.search_spaces.truth import GroundTruth

__all__ = [
    "Architecture",
    "Cost",
    "DataError",
    "GroundTruth",
    "InvalidArchitecture",
    "NetworkConfig",
    "SearchSpace",
    "Supernet",
    "SupertauError",
    "UnknownName",
]
