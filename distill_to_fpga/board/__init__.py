"""The student on a board: an EMP payload wired to links, or behind AXI4-Stream, around the RTL project."""
