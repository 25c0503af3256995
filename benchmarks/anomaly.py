"""Anomaly triggers from zero bias; the work is in anomaly_parts.py.

python benchmarks/anomaly.py [--quick] [--folder runs/benchmark] [--only l1ugt simulated l1calo speed student]
"""

import sys

sys.path.append(sys.path.pop(0))  # the package of this file's name comes before this folder

from anomaly_parts import main

if __name__ == "__main__":
    main()
