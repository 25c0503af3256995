"""Verilog of a graph through alkaid (arXiv:2507.04535), simulated with Verilator and counted by Yosys."""
