"""Anomaly triggers from zero bias; the work is in anomaly_parts.py.

python benchmarks/anomaly.py [--quick] [--folder runs/benchmark] [--only l1ugt simulated l1calo speed student]
"""

import harness  # noqa: F401  first: it puts this folder behind the packages
from anomaly_parts import main

if __name__ == "__main__":
    main()
