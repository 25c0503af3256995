"""Speed of pretraining; the work is in pretrain_speed.py.

python benchmarks/pretrain.py [--quick] [--torch-python /tmp/torch/bin/python]
"""

import harness  # noqa: F401  first: it puts this folder behind the packages
from pretrain_speed import main

if __name__ == "__main__":
    main()
