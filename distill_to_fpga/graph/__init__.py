"""FixedPointGraph: the frozen student as a typed integer graph, with its exact interpreter (contract 5)."""

from distill_to_fpga.graph.builder import GraphBuilder
from distill_to_fpga.graph.graph import FixedPointGraph, Node
from distill_to_fpga.graph.interpreter import as_read, run, to_real
from distill_to_fpga.graph.types import FixedType, GraphError, Wire

__all__ = ["FixedPointGraph", "FixedType", "GraphBuilder", "GraphError", "Node", "Wire", "as_read", "run", "to_real"]
