"""Reports of Vivado and Vitis HLS, read to stand beside our own estimates: `detfm report RUN --import DIR`."""
