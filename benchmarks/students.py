"""Students against HGQ2, distilled against label-only, and what eight bits keep; the work is in students_parts.py.

python benchmarks/students.py --hgq-python /tmp/hgq/bin/python [--quick | --steps 8000 --seeds 5]
                              [--jets five_classes.root --schema data/five_classes]

`--hgq-python` is the Python of an environment made by `pip install hgq2 da4ml alkaid keras jax jaxtyping
threadpoolctl`.
"""

import harness  # noqa: F401  first: it puts this folder behind the packages
from students_parts import main

if __name__ == "__main__":
    main()
