"""The student as CMS software runs it: a shared object behind `hls4mlEmulator::Model`."""
