"""Taggers from few labels; the work is in finetune_parts.py.

python benchmarks/finetune.py [--quick] [--folder runs/benchmark] [--only speed l1jets top deepjet classes]
"""

import sys

sys.path.append(sys.path.pop(0))  # the package of this file's name comes before this folder

from finetune_parts import main

if __name__ == "__main__":
    main()
