"""Students against HGQ2, distilled against label-only, and what eight bits keep; the work is in students_parts.py.

python benchmarks/students.py --hgq-python /tmp/hgq/bin/python [--quick | --steps 8000 --seeds 5]
                              [--jets five_classes.root --schema data/five_classes]

`--hgq-python` is the Python of an environment made by `pip install hgq2 da4ml alkaid keras jax jaxtyping
threadpoolctl`.
"""

import sys

sys.path.append(sys.path.pop(0))  # the package of this file's name comes before this folder

from students_parts import main

if __name__ == "__main__":
    main()
