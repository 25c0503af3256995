"""Vitis HLS back end: a FixedPointGraph as readable C++ with ap_fixed types, and its C simulation."""

from distill_to_fpga.hls.project import export_graph
from distill_to_fpga.hls.simulate import simulate

__all__ = ["export_graph", "simulate"]
