"""Taggers from few labels; the work is in finetune_parts.py.

python benchmarks/finetune.py [--quick] [--folder runs/benchmark] [--only speed l1jets top deepjet classes]
"""

import harness  # noqa: F401  first: it puts this folder behind the packages
from finetune_parts import main

if __name__ == "__main__":
    main()
