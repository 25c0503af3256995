"""Where every row and token went: read = written + removed by each cut + quarantined for each reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foundation.store.policies import Findings

Nested = dict[str, Counter[str]]
GAINS = ("empty_cells",)  # tokens that were not read: the empty cells of an image
TAKEN = {"select": "removed by `select`", "max_tokens": "removed by `max_tokens`"}  # of a modality, for people


@dataclass
class Accounting:
    """Counts of rows, tokens and values; sums of those of all units.

    Attributes:
        read: rows of the files.
        cuts: name -> rows that it removed.
        quarantined: reason -> rows.
        written: rows of the store.
        values: reason -> where in the schema -> values that were not as they should be, whatever was done about them.
        tokens: modality -> tokens of the rows that passed the cuts: `read`, taken away as `select`, `max_tokens`, ...,
            gained as `empty_cells`, `quarantined` with their row, `written`.
        absent: optional modality -> rows of files that lack it.
        hardware: where -> values `off_grid` and `saturated`.
    """

    read: int = 0
    cuts: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    written: int = 0
    values: Nested = field(default_factory=dict)
    tokens: Nested = field(default_factory=dict)
    absent: Counter[str] = field(default_factory=Counter)
    hardware: Nested = field(default_factory=dict)

    def note(self, findings: Findings) -> None:
        """What was found in a chunk."""
        self._add_nested("values", {reason: problem.counts for reason, problem in findings.problems.items()})
        self._add_nested("tokens", findings.tokens)
        self._add_nested("hardware", findings.hardware)
        self.absent.update(findings.absent)

    def merge(self, other: Mapping[str, Any]) -> None:
        """Adds what `to_dict` gave for other rows."""
        self.read += other["read"]
        self.written += other["written"]
        for name in ("cuts", "quarantined", "absent"):
            getattr(self, name).update(other[name])
        for name in ("values", "tokens", "hardware"):
            self._add_nested(name, other[name])

    def _add_nested(self, name: str, counts: Mapping[str, Mapping[str, int]]) -> None:
        mine = getattr(self, name)
        for key, each in counts.items():
            mine.setdefault(key, Counter()).update(each)

    def to_dict(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "cuts": dict(self.cuts),
            "quarantined": dict(self.quarantined),
            "written": self.written,
            **{n: {k: dict(c) for k, c in getattr(self, n).items()} for n in ("values", "tokens", "hardware")},
            "absent": dict(self.absent),
        }

    def check(self) -> None:
        """Raises RuntimeError, an error of detfm's, if a row or token is not accounted for."""
        gone = self.cuts.total() + self.quarantined.total()
        if self.read != self.written + gone:
            raise RuntimeError(f"rows are not accounted for, an error in detfm: {self.to_dict()}")
        for modality, counts in self.tokens.items():
            gained = counts["read"] + sum(counts[name] for name in GAINS)
            if 2 * gained != counts.total():
                raise RuntimeError(f"tokens of '{modality}' are not accounted for, an error in detfm: {dict(counts)}")


def for_people(found: Mapping[str, Any]) -> dict[str, int]:
    """The accounting of a manifest as lines of text and their counts; what is 0 is left out, but for rows."""
    lines = {"rows read": found["read"]}
    lines |= {f"rows removed by the cut '{name}'": count for name, count in found["cuts"].items()}
    lines |= {f"rows quarantined: {_words(why)}": count for why, count in found["quarantined"].items() if count}
    lines |= {"rows written": found["written"]}
    for reason, counts in found["values"].items():
        lines |= {f"{_words(reason)}: {where}": count for where, count in counts.items() if count}
    for where, counts in found["hardware"].items():
        lines |= {f"hardware {_words(what)}: {where}": count for what, count in counts.items() if count}
    lines |= {f"rows without {modality} (not in their file)": count for modality, count in found["absent"].items()}
    for modality, counts in found["tokens"].items():
        lines |= {
            f"{modality}: tokens {TAKEN.get(what, _words(what))}": count for what, count in counts.items() if count
        }
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ")
