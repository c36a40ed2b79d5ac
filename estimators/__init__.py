"""Who ranks: one file per method, reading like its paper. An estimator never sees the ground truth."""

from estimators.estimator import Budget, Diverged, Estimator, Monitor
from estimators.problem import Augmentation, ImageSet, Problem
from estimators.registry import ESTIMATORS, register

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
