"""Speed of pretraining; the work is in pretrain_speed.py.

python benchmarks/pretrain.py [--quick] [--torch-python /tmp/torch/bin/python]
"""

import sys

sys.path.append(sys.path.pop(0))  # the package of this file's name comes before this folder

from pretrain_speed import main

if __name__ == "__main__":
    main()
