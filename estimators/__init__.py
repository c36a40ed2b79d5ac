"""Who ranks: one file per method, reading like its paper. An estimator never sees the ground truth."""

from supertau.estimators.estimator import Budget, Diverged, Estimator, Monitor
from supertau.estimators.problem import Augmentation, ImageSet, Problem
from supertau.estimators.registry import ESTIMATORS, register

__all__ = [
    "ESTIMATORS",
    "Augmentation",
    "Budget",
    "Diverged",
    "Estimator",
    "ImageSet",
    "Monitor",
    "Problem",
    "register",
]
