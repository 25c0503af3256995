"""The parts of a `DetectorSchema`: hardware types, features, grids, modalities, labels, the split."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, pi
from typing import Literal

import numpy as np

COORDINATES = ("pt", "eta", "phi", "energy", "mass", "px", "py", "pz", "x", "y", "z", "time")
DEFAULT_RANGES: dict[str, tuple[float, float]] = {  # of coordinates whose feature gives no `range`
    "pt": (0, inf),
    "energy": (0, inf),
    "eta": (-10, 10),
    "phi": (-2 * pi, 2 * pi),
}
PSEUDO_COLUMNS = ("file_path", "file_entry")  # supplied by ingest for every row, never by a reader
Transform = Literal["identity", "log", "log1p", "asinh"]


@dataclass(frozen=True)
class Hardware:
    """How a quantity travels in the trigger: an integer of `bits` bits, worth `lsb` units each.

    Attributes:
        lsb: physical value of one count, in the feature's unit.
        bits: width in bits, the sign bit included.
        signed: two's complement if true.
    """

    lsb: float = 1.0
    bits: int = 16
    signed: bool = True

    @property
    def low(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return 2 ** (self.bits - self.signed) - 1


@dataclass(frozen=True)
class Feature:
    """One number of a token (or of the example).

    Attributes:
        expression: over the file's columns, e.g. `hypot(part_px, part_py)`; a whitelist of functions, never Python.
        unit: GeV, rad, mm, ns, or empty for a pure number.
        transform: applied on the device before the network; the store holds raw physical values.
        standardize: subtract the mean and divide by the deviation (of the transformed value, over the training split).
        recompute: expression over this modality's features and the globals that gives the value again after an
            augmentation changed what it depends on, e.g. `log(pt)`. Empty: the value does not depend on others.
        range: [lowest, highest] physically possible value, in `unit`; values outside are a named problem at ingest.
            Empty: the default range of its coordinate if it is one, else anything goes.
        hardware: the trigger's integer type, or null where the trigger never sees the quantity.
    """

    expression: str = ""
    unit: str = ""
    transform: Transform = "identity"
    standardize: bool = True
    recompute: str = ""
    range: list[float] = field(default_factory=list)
    hardware: Hardware | None = None

    def limits(self, coordinate: str = "") -> tuple[float, float]:
        """Lowest and highest possible value: the range, else the default one of the coordinate that this feature is."""
        if self.range:
            return self.range[0], self.range[1]
        return DEFAULT_RANGES.get(coordinate, (-inf, inf))


@dataclass(frozen=True)
class Grid:
    """An image: tokens are placed on fixed cells, all of which are stored, row by row.

    The modality then has H * W tokens in every example, `values.reshape(B, H, W, F)`; cells where nothing was are 0,
    two tokens in one cell add up (and are counted), and a token outside the grid is a named problem.

    Attributes:
        shape: [H, W].
        row: expression over file columns that gives each token's row, 0 to H - 1; a fraction is rounded down.
        column: likewise, 0 to W - 1.
    """

    shape: list[int] = field(default_factory=list)
    row: str = ""
    column: str = ""


@dataclass(frozen=True)
class Modality:
    """One kind of token: a variable-length list per example.

    Attributes:
        features: ordered; name -> Feature.
        coordinates: which features are pt, eta, phi, energy, mass, px, py, pz, x, y, z, time (any subset), for
            augmentations and pair features. eta and phi may be relative to a jet axis.
        select: boolean expression over file columns; tokens where it is false are removed (and counted).
        order: expression over file columns; tokens are put in descending order of it (equal ones in file order) before
            `max_tokens` cuts. Empty: file order.
        max_tokens: keep the first so many tokens; the number removed is counted at ingest.
        grid: places the tokens on a fixed grid, or null for a variable-length list.
        optional: the columns may be missing in some files; examples from there have no token of this modality.
    """

    features: dict[str, Feature] = field(default_factory=dict)
    coordinates: dict[str, str] = field(default_factory=dict)
    select: str = ""
    order: str = ""
    max_tokens: int = 128
    grid: Grid | None = None
    optional: bool = False

    @property
    def capacity(self) -> int:
        """Tokens that an example can have at most: `max_tokens`, or the cells of the grid."""
        return self.max_tokens if self.grid is None else self.grid.shape[0] * self.grid.shape[1]

    @property
    def relative(self) -> bool:
        """Whether eta and phi are measured from a jet's axis, which the name of the feature that is eta says."""
        name = self.coordinates.get("eta", "").lower()
        return name.startswith(("deta", "d_eta", "delta", "eta_rel", "etarel", "eta_to_jet")) or name.endswith("rel")

    def index(self, name: str) -> int:
        """Position of a feature on the last axis."""
        return list(self.features).index(name)

    def coordinate_index(self, coordinate: str) -> int | None:
        """Position of the feature that is the coordinate (of `COORDINATES`); None if the modality has none."""
        return self.index(self.coordinates[coordinate]) if coordinate in self.coordinates else None


@dataclass(frozen=True)
class Label:
    """A target, of the example or of each token of one modality.

    Attributes:
        kind: what is stored.
            `class`: int32, the position among `classes`, -1 where unknown.
            `multilabel`: int32 [C], 1 where the class applies, 0 where not, -1 where unknown.
            `regression`: float32, NaN where unknown.
            `group` (of tokens): int32, tokens of equal number belong together; 1, 2, ... by first appearance in the
            example, 0 for none. The expression gives any integer identity (a particle's number), 0 or below for none.
        expression: for `class`, an integer column matched against the values of `classes`, or a string column matched
            against them as glob patterns (`file_path` is one); for `regression` and `group`, the value.
        classes: class name -> integer value or glob pattern of `expression`; or, without one, -> expression of a
            one-hot (`class`) or yes-or-no (`multilabel`) column.
        modality: label each token of this modality. Empty: the example.
        unit: of a regression target.
    """

    kind: Literal["class", "multilabel", "regression", "group"] = "class"
    expression: str = ""
    classes: dict[str, int | str] = field(default_factory=dict)
    modality: str = ""
    unit: str = ""

    def empty(self) -> np.ndarray:
        """The labels of nothing, as the store would hold them."""
        kind = np.float32 if self.kind == "regression" else np.int32
        return np.zeros((0, len(self.classes)) if self.kind == "multilabel" else 0, kind)


@dataclass(frozen=True)
class Split:
    """How examples are divided: by a hash of `key`, so that rows of equal key never straddle two splits.

    Attributes:
        key: expression over file columns (an event number, say), or several that count together; a list per example
            is hashed whole. Empty: the content of the row itself.
        fractions: split name -> fraction; they sum to 1.
    """

    key: str | list[str] = ""
    fractions: dict[str, float] = field(default_factory=lambda: {"train": 0.7, "val": 0.1, "test": 0.2})
