"""How columns whose first axis is not the example are divided into examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Layout:
    """How a column gets its examples.

    Attributes:
        kind: what the column's first axis is.
            `rows`: the example.
            `offsets`: tokens of all examples after each other; example i owns `by[i]:by[i + 1]`. `by` may also hold
            one number of tokens per example.
            `index`: tokens; `by` gives the number of each token's example.
            `file`: tokens, all of one example: the file.
        by: the column of offsets or of example numbers, `COLUMN` or `COLUMN[:, k]`.
    """

    kind: Literal["rows", "offsets", "index", "file"] = "rows"
    by: str = ""
