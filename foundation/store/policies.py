"""What may be wrong with the values of a chunk, what to do about it, and how many rows it concerned.

Axes: R rows of a chunk.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

REMOVES = ("error", "quarantine")  # settings under which a row with the problem does not stay


@dataclass(frozen=True)
class Policies:
    """What to do with values that cannot be used as they are. Every one is counted, whatever is done.

    `error` refuses the file, `quarantine` removes the row.

    Attributes:
        nonfinite: NaN, infinities and numbers beyond float32 in features, globals, weights and regression targets
            (there NaN means unknown and is no problem). `clip` puts infinities at the nearest edge of the feature's
            range and NaN at 0, or at the edge nearest to 0 where the range does not hold 0; it needs a range.
        out_of_range: values outside the feature's `range`, or the default one of its coordinate. `clip` puts them at
            the nearest edge, `keep` leaves them.
        unknown_label: a class that is none of the schema's, or a yes-or-no value that is neither. `unlabelled` keeps
            the row (or token) with label -1.
        outside_grid: tokens of an image that fall outside it. `drop` removes the token.
    """

    nonfinite: Literal["error", "quarantine", "clip"] = "error"
    out_of_range: Literal["error", "quarantine", "clip", "keep"] = "error"
    unknown_label: Literal["error", "quarantine", "unlabelled"] = "error"
    outside_grid: Literal["error", "quarantine", "drop"] = "error"


REASONS = tuple(f.name for f in fields(Policies))


@dataclass
class Problem:
    """One reason of `Policies` for which values of a chunk were not as they should be.

    Attributes:
        rows: rows that hold such a value.
        counts: where in the schema -> how many values; for labels `labels.NAME = VALUE`.
        advice: for people: what was found, what was expected, the likely cause and the remedy.
    """

    rows: Bool[np.ndarray, " R"]
    counts: Counter[str] = field(default_factory=Counter)
    advice: str = ""

    def note(self, where: str, count: int, rows: Any) -> None:
        """`count` values at `where`, in `rows` (numbers or a mask)."""
        self.counts[where] += count
        self.rows[rows] = True


@dataclass
class Findings:
    """What was wrong with the rows of a chunk, and what was removed from them.

    Attributes:
        problems: reason -> Problem; only those that occurred, in the order of `Policies`.
        tokens: modality -> number of tokens `read`, and taken away as `select`, `max_tokens` and, for images,
            `outside_grid` and `same_cell` (added to another); images gain `empty_cells`.
            read - (all taken away) + empty_cells is what `Examples` holds.
        absent: optional modality -> rows whose file lacks its columns.
        hardware: where -> values `off_grid`, no multiple of the lsb, and `saturated`, outside the integer's range.
    """

    problems: dict[str, Problem] = field(default_factory=dict)
    tokens: dict[str, Counter[str]] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    hardware: dict[str, Counter[str]] = field(default_factory=dict)

    def removed(self, policies: Policies) -> dict[str, Bool[np.ndarray, " R"]]:
        """Reason -> rows that its policy removes. A row with several problems is under the first reason alone."""
        gone: dict[str, np.ndarray] = {}
        for reason in REASONS:
            if reason in self.problems and getattr(policies, reason) in REMOVES:
                rows = self.problems[reason].rows.copy()
                for earlier in gone.values():
                    rows &= ~earlier
                gone[reason] = rows
        return gone
