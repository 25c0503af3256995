"""Columns that belong together: a common prefix and equal numbers of tokens in every row (`Jet_*`)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from foundation.inspect.meaning import Meaning, by_name, by_values
from foundation.inspect.profile import Numbers, Profile

EVENT = "event"  # the collection of single columns with one number per row


@dataclass
class Collection:
    """Columns that describe the same objects.

    Attributes:
        name: the common prefix, or the column's own name.
        columns: name -> profile.
        tokens: one list per row; else one number per row.
        counter: the column that holds the number of tokens.
    """

    name: str
    columns: dict[str, Profile] = field(default_factory=dict)
    tokens: bool = False
    counter: str = ""

    @property
    def prefix(self) -> str:
        return self.name if len(self.columns) > 1 or self.name not in self.columns else ""

    @property
    def first(self) -> Profile:
        return next(iter(self.columns.values()))


@dataclass(frozen=True)
class Quantity:
    """A number of a collection: a column, or one component of one.

    Attributes:
        expression: how a schema names it.
        label: short name.
        numbers: its summary.
        meaning: what it probably is.
        profile: of the column.
    """

    expression: str
    label: str
    numbers: Numbers
    meaning: Meaning
    profile: Profile


def prefix_of(name: str) -> str:
    """`Jet_pt` and `Jet.PT` -> Jet; `jetPt` -> jet; a name of one word -> empty."""
    match = re.match(r"(.+?)[_./]", name)
    if match:
        return match.group(1)
    match = re.match(r"([a-z]+\d*)(?=[A-Z])", name)
    return match.group(1) if match and match.group(1) not in ("is", "has", "n") else ""


def collections(profiles: Mapping[str, Profile]) -> list[Collection]:
    """All columns, each in one collection, in file order of their first columns."""
    groups: dict[tuple[str, bool, str], list[Profile]] = defaultdict(list)
    for found in profiles.values():
        groups[prefix_of(found.name), found.depth > 1, found.key].append(found)
    result: dict[str, Collection] = {}
    for (prefix, tokens, _), members in groups.items():
        if not prefix or (len(members) == 1 and tokens):
            for member in members:
                name = member.name if tokens else EVENT
                result.setdefault(name, Collection(name, tokens=tokens)).columns[member.name] = member
            continue
        name = prefix if len(members) > 1 else EVENT
        if name in result and result[name].tokens != tokens:
            name = f"{name} (per row)" if not tokens else f"{name} (lists)"
        elif name in result and tokens:
            name = f"{name} ({members[0].name})"
        entry = result.setdefault(name, Collection(name, tokens=tokens))
        entry.columns |= {member.name: member for member in members}
    _counters(result)
    return [entry for entry in result.values() if entry.columns]


def _counters(found: dict[str, Collection]) -> None:
    """`nJet`, `NJet`, `n_Jet`, `Jet_size` and `nJet_pt` beside `Jet_*`: they say nothing that the lists do not."""
    single = {_squeezed(c): c for e in found.values() if not e.tokens for c in e.columns}
    counters: set[str] = set()
    for entry in found.values():
        if not entry.tokens:
            continue
        for base in (_squeezed(entry.name), *map(_squeezed, entry.columns)):
            names = [single[n] for n in (f"n{base}", f"{base}size", f"num{base}", f"{base}n") if n in single]
            entry.counter = entry.counter or next(iter(names), "")
            counters |= set(names)
    for entry in found.values():
        for counter in counters & entry.columns.keys():
            if not entry.tokens:
                del entry.columns[counter]


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def quantities(collection: Collection) -> list[Quantity]:
    """Every number of a collection that can be read."""
    found: list[Quantity] = []
    for name, profile in collection.columns.items():
        if profile.kind not in ("number", "bool"):
            continue
        if profile.parts and profile.numbers.count:
            found += _components(collection, profile)
        elif profile.depth <= 2:
            label = _label(name, collection.prefix)
            meaning = by_name(name, collection.prefix, profile.numbers)
            found.append(Quantity(reference(name), label, profile.numbers, meaning, profile))
    return found


def _components(collection: Collection, profile: Profile) -> list[Quantity]:
    names = component_names(profile)
    if any(names):
        meanings = [by_name(n, "_", numbers) if n else Meaning() for n, numbers in zip(names, profile.parts)]
    else:
        meanings = by_values(profile.parts, profile.name)
    taken: dict[str, int] = {}
    found = []
    for k, (numbers, meaning) in enumerate(zip(profile.parts, meanings)):
        if k == 0 and profile.number_of_example:
            continue
        label = names[k] or meaning.coordinate or f"{_label(profile.name, '')}_{k}"
        taken[label] = taken.get(label, 0) + 1
        label = label if taken[label] == 1 else f"{label}_{k}"
        axis = f"[:, {k}]" if profile.channels or profile.depth == 2 else f"[..., {k}]"
        found.append(Quantity(f"{reference(profile.name)}{axis}", label, numbers, meaning, profile))
    return found


def component_names(profile: Profile) -> list[str]:
    """From the type (`float32[12, 4] (pt, eta, phi)`) or from the column's name (`px_py_pz_e`), else empty ones."""
    inside = re.search(r"\(([^()]*)\)", profile.type)
    names = [n.strip() for n in re.split(r"[,\s]+", inside.group(1)) if n.strip()] if inside else []
    names = names if len(names) == profile.components else profile.name.split("_")
    return names if len(names) == profile.components > 1 else [""] * profile.components


def reference(name: str) -> str:
    """A column's name as an expression."""
    plain = re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name)
    reserved = {"and", "or", "not", "if", "else", "in", "is", "for", "lambda", "pi", "None", "True", "False"}
    return name if plain and not reserved & set(name.split(".")) else f"column('{name}')"


def _label(name: str, prefix: str) -> str:
    return identifier(name[len(prefix) :] if prefix and name.startswith(prefix) and len(name) > len(prefix) else name)


def identifier(name: str) -> str:
    """A name that a schema accepts: letters, digits and _, not beginning with a digit."""
    label = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "value"
    return f"f{label}" if label[0].isdigit() else label
