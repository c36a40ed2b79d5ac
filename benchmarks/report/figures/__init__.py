"""Figures of a report, one file each: every function takes data and returns a matplotlib Figure."""

from supertau.benchmarks.report.figures.bars import Bar, bars
from supertau.benchmarks.report.figures.hexbin import hexbin
from supertau.benchmarks.report.figures.overlap import OverlapCurve, overlap
from supertau.benchmarks.report.figures.scatter import scatter
from supertau.benchmarks.report.figures.training import TrainingCurve, training

__all__ = ["Bar", "OverlapCurve", "TrainingCurve", "bars", "hexbin", "overlap", "scatter", "training"]
