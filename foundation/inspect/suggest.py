"""`detfm inspect FILE --suggest-schema`: a commented starting schema, to be corrected by someone who knows the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from foundation.errors import DataError
from foundation.inspect.collections import Collection, Quantity, identifier, quantities, reference
from foundation.inspect.file import FileSummary
from foundation.inspect.meaning import Meaning
from foundation.inspect.profile import Numbers, Profile
from foundation.inspect.propose import LARGEST, Proposal, grid_of, propose
from foundation.inspect.targets import REGRESSION_NAME, targets
from foundation.schema import COORDINATES

TRUTH = re.compile(r"(?i)^(gen|lhe|mc|truth|sub_?gen|track_?gen|htxs|sim|weightlhe|eventlhe|psweight)|genpart")
TRUTH_LEAVES = {"status", "pid", "pdgid", "m1", "d1", "mother1"}
MASK = re.compile(r"(?i)^(mask|valid|is_?filled|.*_mask)$")
NO_FEATURE = re.compile(r"(?i)(idx\w*|fbits|funiqueid|index|_size)$|^f(bits|uniqueid)$")
GLOBAL = re.compile(r"(?i)(npv|nvtx|npvs|rho|^ht$|sumet|_ht$)")
MOST_FEATURES, MOST_GLOBALS = 24, 16
MOST_TOKENS, ROUND = 4096, 8
KEPT = 0.995  # of the rows keep all their tokens
ETA_LIMIT = 10.0
VECTOR = ("px", "py", "pz")


@dataclass
class Draft:
    """A modality for a schema.

    Attributes:
        features: name -> proposal.
        coordinates: coordinate -> feature.
        hardware: whether it looks like what a trigger receives.
        left: columns that were left out.
        why: comments.
    """

    name: str
    features: dict[str, Proposal] = field(default_factory=dict)
    coordinates: dict[str, str] = field(default_factory=dict)
    select: str = ""
    order: str = ""
    max_tokens: int = 1
    hardware: bool = False
    left: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)


@dataclass
class Suggestion:
    """All parts of a suggested schema.

    Attributes:
        unused: collections that became no modality, and why.
    """

    summary: FileSummary
    modalities: list[Draft]
    globals: dict[str, Proposal]
    unused: dict[str, str]


def suggest(summary: FileSummary) -> Suggestion:
    """Modalities and globals of a file.

    Raises:
        DataError: no column holds a list per row.
    """
    lists = [merged for merged in _merged(summary) if merged.tokens]
    labels = targets(summary.told)
    used = " ".join(f"{t.expression} {' '.join(map(str, t.classes.values()))}" for t in labels.values())
    drafts: list[Draft] = []
    unused: dict[str, str] = {}
    kinematic = [entry for entry in lists if _is_kinematic(entry) and not _why_not(entry)]
    for entry in lists:
        why = _why_not(entry) or ("" if entry in kinematic or not kinematic else "no kinematics")
        why = why or ("used as a label" if reference(entry.first.name) in re.findall(r"[\w.]+", used) else "")
        draft = None if why else _draft(entry, _mask(summary.profiles, entry), {d.name for d in drafts})
        if draft is None or not draft.features:
            unused[entry.name] = why or "nothing to read"
        else:
            drafts.append(draft)
    if summary.rows == 0:
        raise DataError(f"{summary.path} has no rows; a schema cannot be guessed from its column names alone")
    if not drafts:
        raise DataError(
            f"{summary.path}: no column holds a list of numbers per row, and a schema needs a modality; if the whole "
            "file is one example, write a schema with `layout: {COLUMN: {kind: file}}`"
        )
    return Suggestion(summary, drafts, _globals(summary, used, any(d.hardware for d in drafts)), unused)


def _merged(summary: FileSummary) -> list[Collection]:
    """Collections; arrays with components before tokens (`px_py_pz_e[4, 128]`, `points[2, 128]`) of equal length are
    of the same objects."""
    found: list[Collection] = []
    homes: dict[str, Collection] = {}
    for entry in summary.collections:
        if len(entry.columns) == 1 and entry.first.channels and entry.first.key in homes:
            home = homes[entry.first.key]
            home.name = entry.name if _is_kinematic(entry) and not _is_kinematic(home) else home.name
            home.columns |= entry.columns
            continue
        if len(entry.columns) == 1 and entry.first.channels:
            homes[entry.first.key] = entry
        found.append(entry)
    return found


def _why_not(entry: Collection) -> str:
    """Why a collection is no modality; empty if it may be one."""
    first = entry.first
    if first.kind in ("divider", "table", "string", "other", "damaged") and len(entry.columns) == 1:
        return {"divider": "offsets", "table": "a constant table"}.get(first.kind, first.kind)
    leaves = {q.label.lower() for q in quantities(entry)}
    if TRUTH.search(entry.name) or len(leaves & TRUTH_LEAVES) > 1:
        return "generator level"
    if MASK.search(entry.name):
        return "marks padding"
    if len(entry.columns) == 1 and first.depth == 2 and first.parts:
        return "numbers of the example, no tokens"
    return "" if quantities(entry) else "nothing to read"


def _is_kinematic(entry: Collection) -> bool:
    found = {q.meaning.coordinate for q in quantities(entry)}
    return (bool({"pt", "energy"} & found) and "phi" in found) or set(VECTOR) <= found or {"x", "y"} <= found


def _mask(profiles: dict[str, Profile], entry: Collection) -> str:
    """The column that marks which tokens of fixed arrays are filled."""
    if not entry.first.fixed:
        return ""
    chosen = (p for n, p in profiles.items() if MASK.search(n) and p.numbers.flag and p.key == entry.first.key)
    return next((p.name for p in chosen), "")


def _draft(entry: Collection, mask: str, taken: set[str]) -> Draft:
    found = [q for q in quantities(entry) if not NO_FEATURE.search(q.profile.name) and not _unusable(q)]
    name = identifier(entry.name)
    draft = Draft(f"{name}_list" if name in taken else name)
    if not found:
        return draft
    real = _real(found)
    if mask:
        draft.select = f"{reference(mask)} > 0"
    elif real is not None:
        draft.select = f"{real.expression} > 0"
        draft.why.append(f"`select`: tokens where {real.label} is 0 are taken for padding")
    values = {q.expression: _values(q, real) for q in found}
    draft.hardware = _is_hardware(found, values)
    if draft.hardware:
        draft.why.append("`hardware`: all values lie on the grids given; widths are those of the largest value seen")
    ordered = sorted(found, key=lambda q: not q.meaning.coordinate)
    derived = _derived(found)
    values |= {q.expression: q.numbers.finite for q in derived}
    for quantity in [*derived, *ordered]:
        _add(draft, quantity, values)
    if re.search(r"(?i)^d_?eta|rel", draft.coordinates.get("eta", "")):
        for beam in ("energy", "mass"):  # with directions relative to a jet they make no four-vector
            draft.coordinates.pop(beam, None)
    _limits(draft, entry, found)
    return draft


def _unusable(quantity: Quantity) -> bool:
    """Beyond what float32 holds, or a constant of components."""
    numbers = quantity.numbers
    return not numbers.empty and max(abs(numbers.low), abs(numbers.high)) > LARGEST


def _add(draft: Draft, quantity: Quantity, values: dict[str, np.ndarray]) -> None:
    if len(draft.features) >= MOST_FEATURES:
        draft.left.append(quantity.label)
        return
    coordinate = quantity.meaning.coordinate
    mapped = coordinate in COORDINATES and coordinate not in draft.coordinates and coordinate not in VECTOR
    given = values.get(quantity.expression, np.zeros(0))
    name = identifier(quantity.label)
    if name in draft.features:
        return
    draft.features[name] = propose(quantity, given, draft.hardware, coordinate if mapped else "")
    if mapped:
        draft.coordinates[coordinate] = name


def _derived(found: list[Quantity]) -> list[Quantity]:
    """pt, eta and phi where the file has px, py, pz."""
    by: dict[str, Quantity] = {}
    for quantity in found:
        by.setdefault(quantity.meaning.coordinate, quantity)
    if not {"px", "py"} <= by.keys():
        return []
    x, y = by["px"], by["py"]
    px, py = x.numbers.sample, y.numbers.sample
    made = {
        "pt": (f"pt({x.expression}, {y.expression})", "GeV", np.hypot(px, py)),
        "phi": (f"phi({x.expression}, {y.expression})", "rad", np.arctan2(py, px)),
    }
    if "pz" in by:
        with np.errstate(all="ignore"):
            eta = np.arcsinh(by["pz"].numbers.sample / np.hypot(px, py))
        made["eta"] = (f"eta({x.expression}, {y.expression}, {by['pz'].expression})", "", eta)
    result = []
    for coordinate in ("pt", "eta", "phi"):
        if coordinate in made and coordinate not in by:
            expression, unit, values = made[coordinate]
            numbers = Numbers()
            numbers.add(values[np.isfinite(values)])
            result.append(Quantity(expression, coordinate, numbers, Meaning(coordinate, unit), x.profile))
    return result


def _real(found: list[Quantity]) -> Quantity | None:
    """In arrays of fixed length with padding: the quantity that is positive for every token that is not padding."""
    first = found[0].profile
    if not first.fixed or first.most < 2:
        return None
    alike = [q for q in found if len(q.numbers.sample) == len(found[0].numbers.sample)]
    filled = np.any([q.numbers.sample != 0 for q in alike], axis=0)
    if filled.mean() > 0.999:
        return None
    positive = [q for q in alike if q.numbers.low >= 0 and ((q.numbers.sample > 0) == filled).mean() > 0.999]
    return min(positive, key=lambda q: q.meaning.coordinate not in ("pt", "energy"), default=None)


def _values(quantity: Quantity, real: Quantity | None) -> np.ndarray:
    """The first finite values, without padding."""
    sample = quantity.numbers.sample
    if real is not None and len(real.numbers.sample) == len(sample):
        sample = sample[real.numbers.sample > 0]
    return sample[np.isfinite(sample)]


def _is_hardware(found: list[Quantity], values: dict[str, np.ndarray]) -> bool:
    """Whether a trigger made these: pt and phi lie on grids, or, where nothing has such names, most numbers do."""
    grids = {q.expression: grid_of(values[q.expression]) for q in found if len(values[q.expression])}
    main = {q.meaning.coordinate: grids[q.expression] for q in found if q.expression in grids}
    if any(c in main for c in ("eta", "phi", *VECTOR)):
        return main.get("pt") is not None and main.get("phi") is not None
    plain = [grids[q.expression] for q in found if q.expression in grids and not q.numbers.flag]
    return len(plain) > 3 and sum(lsb is not None for lsb in plain) > 0.6 * len(plain)


def _limits(draft: Draft, entry: Collection, found: list[Quantity]) -> None:
    """max_tokens, order and what must be cut so that the file can be ingested."""
    first = entry.first
    counts = np.concatenate(first.counts) if first.counts else np.array([1])
    some = counts[counts > 0] if (counts > 0).any() else counts
    most = first.most if first.fixed or first.most <= 128 else int(np.quantile(some, KEPT))
    most = most if most == first.most else -(-most // ROUND) * ROUND
    draft.max_tokens = int(max(1, min(most, MOST_TOKENS)))
    scale = draft.coordinates.get("pt") or draft.coordinates.get("energy")
    if draft.max_tokens < first.most:
        share = float((counts > draft.max_tokens).mean())
        draft.why.append(f"`max_tokens`: the longest row has {first.most}; {100 * share:.2g}% of the rows lose tokens")
        draft.order = draft.features[scale].expression if scale else ""
    eta = next((q for q in found if q.meaning.coordinate == "eta"), None)
    if eta is not None and not eta.numbers.empty and max(-eta.numbers.low, eta.numbers.high) > ETA_LIMIT:
        draft.select = " and ".join(s for s in (draft.select, f"abs({eta.expression}) < {ETA_LIMIT:g}") if s)
        draft.why.append("`select`: eta beyond 10 is no direction in a detector")
    pt = draft.features.get("pt")
    if pt is not None and pt.expression.startswith("pt(") and not draft.select and _at_rest(found):
        draft.select = f"{pt.expression} > 0"
        draft.why.append("`select`: without transverse momentum there is no direction")


def _at_rest(found: list[Quantity]) -> bool:
    """Whether px and py are both zero for some token."""
    parts = [next(q for q in found if q.meaning.coordinate == c).numbers.sample for c in ("px", "py")]
    return bool(((parts[0] == 0) & (parts[1] == 0)).any())


def _globals(summary: FileSummary, used: str, hardware: bool) -> dict[str, Proposal]:
    """Numbers of the example that a network may see: kinematics and pile-up, nothing of the generator."""
    words = set(re.findall(r"[\w.]+", used))
    found: dict[str, Proposal] = {}
    for entry in summary.collections:
        single = {n: p for n, p in entry.columns.items() if p.depth == 1 or (p.depth == 2 and p.parts and p.fixed)}
        for quantity in quantities(Collection(entry.name, single)) if not TRUTH.search(entry.name) else ():
            name = quantity.profile.name
            label = identifier(name if quantity.profile.depth == 1 else f"{name}_{quantity.label}")
            if len(found) < MOST_GLOBALS and label not in found and name not in words and _is_global(quantity):
                values = quantity.numbers.finite
                found[label] = propose(quantity, values, hardware, quantity.meaning.coordinate)
    return found


def _is_global(quantity: Quantity) -> bool:
    name, numbers = quantity.profile.name, quantity.numbers
    hidden = REGRESSION_NAME.search(name) or TRUTH.search(name) or NO_FEATURE.search(name) or _unusable(quantity)
    known = quantity.meaning.coordinate in COORDINATES or quantity.meaning.unit == "GeV" or GLOBAL.search(name)
    return bool(known) and not hidden and numbers.low < numbers.high


def columns_of(suggestion: Suggestion) -> Iterator[str]:
    """Every expression that is used, for the layouts."""
    for draft in suggestion.modalities:
        yield from (p.expression for p in draft.features.values())
        yield from (draft.select, draft.order)
    yield from (p.expression for p in suggestion.globals.values())
