"""Verilog of a graph through alkaid (arXiv:2507.04535), simulated with Verilator and counted by Yosys."""

from distill_to_fpga.rtl.project import RtlCost, export_rtl

__all__ = ["RtlCost", "export_rtl"]
