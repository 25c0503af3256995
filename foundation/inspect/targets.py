"""Which columns are probably labels, observers and the split's key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from foundation.inspect.collections import identifier, prefix_of, reference
from foundation.inspect.profile import Profile

CLASS_NAME = re.compile(r"(?i)(^|_)(labels?|class|category|flavou?r|process|source|truth)(_|$)|^y$")
REGRESSION_NAME = re.compile(r"(?i)(target|^gen_|_gen_|genmatch|truth|^true_)")
FLAG_NAME = re.compile(r"^(is|has)[A-Z_]|^(label|truth|tag)_")
MOST_CLASSES = 64
MOST_REGRESSIONS = 4
RUN = ("run", "runnumber")
LUMI = ("luminosityblock", "lumi", "lumiblock", "ls")
EVENT = ("event", "eventid", "eventno", "eventnumber", "evt", "evtid")
OBSERVED = (*RUN, *LUMI, *EVENT, "bx", "bunchcrossing", "npv", "jetno")


@dataclass
class Target:
    """A label.

    Attributes:
        kind: `class`, `multilabel` or `regression`.
        expression: empty for a one-hot label.
        classes: name -> value, pattern or expression.
        why: comment.
    """

    kind: str
    expression: str = ""
    classes: dict[str, int | str] = field(default_factory=dict)
    why: str = ""


def targets(profiles: Mapping[str, Profile]) -> dict[str, Target]:
    """Label -> what it is made from; every one a guess."""
    found: dict[str, Target] = {}
    single = {n: p for n, p in profiles.items() if p.depth == 1}
    for name, group in _flag_groups(single).items():
        found[name] = _flags(group)
    for name, column in profiles.items():
        label = identifier(name)
        if not may_be_class(name) or label in found:
            continue
        if column.depth == 2 and column.parts and not column.channels and all(p.flag for p in column.parts):
            found |= _one_hot_array(label, column)
        elif column.depth == 1 and column.kind == "string" and 2 <= len(column.texts) <= MOST_CLASSES:
            texts = sorted(column.texts)
            classes: dict[str, int | str] = {text: text for text in texts if not re.search(r"[*?\[]", text)}
            found[label] = Target("class", reference(name), classes, "from its texts")
        elif column.depth == 1 and 2 <= len(column.numbers.few) <= MOST_CLASSES and column.kind == "number":
            values: dict[str, int | str] = {_class_name(value): int(value) for value in column.numbers.few}
            found[label] = Target("class", reference(name), values, "give the classes their names")
    return found | _regressions(single, found)


def may_be_class(name: str) -> bool:
    """Whether a column's name says that it may hold classes."""
    return bool(CLASS_NAME.search(name)) and not FLAG_NAME.search(name)


def _class_name(value: float) -> str:
    return f"class_{int(value)}" if value >= 0 else f"class_minus_{-int(value)}"


def _flag_groups(single: Mapping[str, Profile]) -> dict[str, list[Profile]]:
    """Zero-or-one columns of one prefix: `label_*`, `is*`."""
    groups: dict[str, list[Profile]] = {}
    for name, column in single.items():
        match = FLAG_NAME.search(name)
        if match and column.numbers.flag:
            prefix = prefix_of(name) or (match.group(1) or match.group(2))
            groups.setdefault(f"{prefix}_class" if prefix in ("is", "has") else identifier(prefix), []).append(column)
    return {name: group for name, group in groups.items() if 1 < len(group) <= MOST_CLASSES}


def _flags(group: list[Profile]) -> Target:
    """One class per column where exactly one is set, with a class `other` where none may be, else tags."""
    columns = {re.sub(r"^(is|has|label|truth|tag)_?", "", p.name) or p.name: reference(p.name) for p in group}
    classes: dict[str, int | str] = dict(columns)
    total = np.sum([p.numbers.sample for p in group], axis=0)
    if total.min() == 1 and total.max() == 1:
        return Target("class", "", classes, "exactly one is set in every row")
    if total.max() == 1:
        classes["other"] = f"1 - ({' + '.join(columns.values())})"
        return Target("class", "", classes, "none is set in some rows: those are `other`")
    return Target("multilabel", "", classes, "several are set in some rows")


def _one_hot_array(label: str, column: Profile) -> dict[str, Target]:
    total = np.sum([part.sample for part in column.parts], axis=0)
    classes: dict[str, int | str] = {
        f"class_{k}": f"{reference(column.name)}[:, {k}]" for k in range(column.components)
    }
    if total.min() == 1 and total.max() == 1 and len(classes) > 1:
        return {label: Target("class", "", classes, "one-hot; give the classes their names")}
    return {label: Target("multilabel", "", classes, "several are set in some rows")}


def _regressions(single: Mapping[str, Profile], taken: Mapping[str, Target]) -> dict[str, Target]:
    chosen = [
        p
        for n, p in single.items()
        if REGRESSION_NAME.search(n) and p.kind == "number" and not p.numbers.few and not p.numbers.inf
    ]
    found = {identifier(p.name): Target("regression", reference(p.name)) for p in chosen[:MOST_REGRESSIONS]}
    return {name: target for name, target in found.items() if name not in taken}


def observers(profiles: Mapping[str, Profile]) -> dict[str, str]:
    """Name -> expression of run, luminosity block, event and the like."""
    return {
        identifier(name): reference(name)
        for name, column in profiles.items()
        if column.depth == 1 and column.kind == "number" and _squeezed(name) in OBSERVED and not column.numbers.nan
    }


def split_key(profiles: Mapping[str, Profile]) -> list[str]:
    """Expressions of run, luminosity block and event; nothing where there is no event number that varies."""
    whole = {
        _squeezed(n): n
        for n, p in profiles.items()
        if p.depth == 1 and p.kind == "number" and p.numbers.integral and p.numbers.low < p.numbers.high
    }
    event = next((whole[name] for name in EVENT if name in whole), "")
    if not event:
        return []
    others = [next((whole[name] for name in names if name in whole), "") for names in (RUN, LUMI)]
    return [reference(name) for name in (*others, event) if name]


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
