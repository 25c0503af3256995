"""Firmware: times from graph to proof, adders against da4ml's and alkaid's, anomaly triggers through every target.

python benchmarks/firmware.py [--quick] [--only network|adders|shapes] [--da4ml-python /tmp/da4ml/bin/python]

The work is in firmware_parts.py. `--da4ml-python` is the Python of an environment made by `pip install da4ml`, where it
is not in this one.
"""

import harness  # noqa: F401  first: it puts this folder behind the packages
from firmware_parts import main

if __name__ == "__main__":
    main()
