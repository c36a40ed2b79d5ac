"""What is ranked: architectures, their supernets and stand-alone networks, and their ground truth."""

from search_spaces.errors import DataError, InvalidArchitecture, SupertauError, UnknownName
from search_spaces.space import Architecture, Cost, NetworkConfig, SearchSpace
from search_spaces.supernet import Supernet
from search_spaces.truth import GroundTruth

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
