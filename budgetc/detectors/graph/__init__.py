"""Detectors of any architecture: a graph of units and plain operators, as plain data and weights."""

from budgetc.detectors.graph.config import GraphConfig
from budgetc.detectors.graph.module import Graph

__all__ = ["Graph", "GraphConfig"]
