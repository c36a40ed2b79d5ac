"""Figures of a report, one file each: every function takes data and returns a matplotlib Figure."""

from benchmarks.report.figures.bars import Bar, bars
from benchmarks.report.figures.hexbin import hexbin
from benchmarks.report.figures.overlap import OverlapCurve, overlap
from benchmarks.report.figures.scatter import scatter
from benchmarks.report.figures.training import TrainingCurve, training

__all__ = ["Bar", "OverlapCurve", "TrainingCurve", "bars", "hexbin", "overlap", "scatter", "training"]
