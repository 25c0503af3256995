"""What a column probably is: coordinate and unit, guessed from its name and, where that says nothing, its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foundation.inspect.profile import Numbers

# last word of a name -> coordinate
LEAVES = {
    "pt": ("pt", "et"),
    "eta": ("eta", "deta", "etarel", "etavtx"),
    "phi": ("phi", "dphi", "phirel", "phivtx"),
    "energy": ("e", "energy", "en"),
    "mass": ("mass", "m"),
    "px": ("px",),
    "py": ("py",),
    "pz": ("pz",),
    "x": ("x", "vx"),
    "y": ("y", "vy"),
    "z": ("z", "vz"),
    "time": ("time", "t"),
}
COORDINATE_OF = {leaf: coordinate for coordinate, leaves in LEAVES.items() for leaf in leaves}
UNITS = {"pt": "GeV", "energy": "GeV", "mass": "GeV", "px": "GeV", "py": "GeV", "pz": "GeV", "phi": "rad"}
ENERGY_WORDS = {
    "met",
    "pt",
    "et",
    "energy",
    "mass",
    "msoftdrop",
    "sdmass",
    "sumet",
    "ht",
    "p",
    "px",
    "py",
    "pz",
    "rawpt",
}
LENGTH_WORDS = {"dxy", "dz", "d0", "z0", "x", "y", "z", "ip", "vx", "vy", "vz", "dlen", "d0val", "dzval"}
LENGTH_WORDS |= {"dxyerr", "dzerr", "d0err", "z0err"}
CALORIMETERS = re.compile(r"(?i)(e[be]$|h[bef]$|.*(rechit|hit|cell|cluster|ecal|hcal|tower))")
ANGLE_WORDS = {"phi", "theta", "dphi", "phirel", "angle"}
FLAGS = re.compile(r"^(is|has|pass)[A-Z_]|(Id|ID|Idx|Flags?|[Ss]tatus|[Tt]ype|[Ii]ndex|[Cc]harge|[Mm]ult|[Nn]um)$")
WIDE_PHI = 2.8  # a full azimuth reaches beyond this on both sides


@dataclass(frozen=True)
class Meaning:
    """A guess.

    Attributes:
        coordinate: of `foundation.schema.COORDINATES`, or `charge`, or empty.
        unit: GeV, rad, mm, ns, or empty; `cm?`, `MeV?`, `deg?` where the values say so and need a factor.
        factor: what brings the values to detfm's unit.
        by: `name` or `values`.
    """

    coordinate: str = ""
    unit: str = ""
    factor: float = 1.0
    by: str = "name"


def words(name: str) -> list[str]:
    """`Jet_btagDeepB` -> jet, btag, deep, b."""
    parts = re.split(r"[^A-Za-z0-9]+", name)
    return [w.lower() for part in parts for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", part)]


def leaf(name: str, prefix: str = "") -> str:
    """What is left of a column's name without its collection's, in lower case and without separators."""
    rest = name[len(prefix) :] if prefix and name.lower().startswith(prefix.lower()) else name
    return re.sub(r"[^a-z0-9]", "", rest.lower()) or rest.lower()


def by_name(name: str, prefix: str, numbers: Numbers) -> Meaning:
    """From the column's name; the values only decide the scale."""
    last = leaf(name, prefix)
    if last in COORDINATE_OF:
        coordinate = COORDINATE_OF[last]
        if len(last) == 1 and not prefix:  # `y` alone may be anything
            return Meaning()
        return _scaled(coordinate, numbers)
    if last in ("charge", "q"):
        return Meaning("charge")
    parts = words(name.removeprefix(prefix))
    if not parts or FLAGS.search(name) or numbers.flag or len(name) == 1:
        return Meaning()
    if parts[-1] in ENERGY_WORDS or last in ENERGY_WORDS:
        return Meaning("", "GeV")
    if parts[-1] in ANGLE_WORDS or last in ANGLE_WORDS:
        return Meaning("", "rad") if _within(numbers, 2 * np.pi + 0.01) else Meaning()
    if last in LENGTH_WORDS or parts[-1] in LENGTH_WORDS:
        return Meaning("", "length")
    return Meaning()


def _scaled(coordinate: str, numbers: Numbers) -> Meaning:
    """The unit of a named coordinate, with a factor where its values are clearly in another."""
    unit, factor = UNITS.get(coordinate, ""), 1.0
    if coordinate == "phi" and not numbers.empty and not _within(numbers, 2 * np.pi + 0.01):
        if _within(numbers, 360.0) and not numbers.integral:
            return Meaning("phi", "deg", float(np.pi / 180))
        return Meaning()  # an index of the trigger or of a cell, not an angle
    if coordinate in ("pt", "energy") and len(numbers.finite) and float(np.median(numbers.finite)) > 3000:
        return Meaning(coordinate, "MeV", 0.001)
    if coordinate in ("x", "y", "z"):
        return Meaning(coordinate, "length")
    if coordinate == "time":
        return Meaning(coordinate, "ns")
    return Meaning(coordinate, unit, factor)


def _within(numbers: Numbers, most: float) -> bool:
    return numbers.empty or (numbers.low >= -most and numbers.high <= most)


def by_values(parts: Sequence[Numbers], collection: str) -> list[Meaning]:
    """Of components without names: the pattern (pt or energy, eta, phi), and what else is certain.

    A full azimuth after a symmetrical pseudorapidity after something positive is a four-vector's direction; calorimeter
    collections carry energy, all others pt.
    """
    found = [Meaning(by="values") for _ in parts]
    for k, numbers in enumerate(parts):
        if numbers.few and set(numbers.few) <= {-1.0, 0.0, 1.0} and -1.0 in numbers.few and 1.0 in numbers.few:
            found[k] = Meaning("charge", by="values")
    phi = next((k for k, n in enumerate(parts) if _is_phi(n) and k and _is_eta(parts[k - 1])), None)
    if phi is None:
        phi = next((k for k, n in enumerate(parts) if _is_phi(n) and k and _is_positive(parts[k - 1])), None)
        if phi is None:
            return found
        return _set(found, {phi - 1: Meaning("pt", "GeV", by="values"), phi: Meaning("phi", "rad", by="values")})
    found = _set(found, {phi - 1: Meaning("eta", by="values"), phi: Meaning("phi", "rad", by="values")})
    if phi > 1 and _is_positive(parts[phi - 2]):
        kind = "energy" if CALORIMETERS.match(collection) else "pt"
        found = _set(found, {phi - 2: Meaning(kind, "GeV", by="values")})
        after = parts[phi + 1] if phi + 1 < len(parts) else None
        if kind == "energy" and after is not None and after.low < 0 < after.high and not after.integral:
            found = _set(found, {phi + 1: Meaning("time", "ns", by="values")})
    return found


def _set(found: list[Meaning], new: dict[int, Meaning]) -> list[Meaning]:
    return [new.get(k, old) for k, old in enumerate(found)]


def _is_phi(numbers: Numbers) -> bool:
    signed = numbers.low < -WIDE_PHI and numbers.high > WIDE_PHI and _within(numbers, np.pi + 0.05)
    unsigned = numbers.low >= 0 and 2 * np.pi - 0.5 < numbers.high <= 2 * np.pi + 0.01
    return (signed or unsigned) and not numbers.integral


def _is_eta(numbers: Numbers) -> bool:
    inside = not numbers.empty and not numbers.integral and _within(numbers, 6.0)
    return inside and numbers.low < -1 and numbers.high > 0.5


def _is_positive(numbers: Numbers) -> bool:
    """Positive but for noise."""
    return not numbers.empty and numbers.high > max(2.0, -5 * numbers.low) and float(np.median(numbers.finite)) >= 0
