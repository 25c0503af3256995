"""What a detector example is: modalities, features with units and hardware types, labels, observers (contract 1).

A `DetectorSchema` is written in YAML (`configs/data/`) and travels with everything made from it: store, checkpoint,
student, firmware.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foundation.command import load_config, to_dict, to_yaml
from foundation.errors import SchemaError, close_names
from foundation.expression import Expression

COORDINATES = ("pt", "eta", "phi", "energy")
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
        hardware: the trigger's integer type, or null where the trigger never sees the quantity.
    """

    expression: str = ""
    unit: str = ""
    transform: Transform = "identity"
    standardize: bool = True
    recompute: str = ""
    hardware: Hardware | None = None


@dataclass(frozen=True)
class Modality:
    """One kind of token: a variable-length list per example.

    Attributes:
        features: ordered; name -> Feature.
        coordinates: which features are pt, eta, phi, energy (any subset), for augmentations and pair features.
            eta and phi may be relative to a jet axis.
        select: boolean expression over file columns; tokens where it is false are removed (and counted).
        max_tokens: keep the first so many tokens in file order; the number removed is counted at ingest.
    """

    features: dict[str, Feature] = field(default_factory=dict)
    coordinates: dict[str, str] = field(default_factory=dict)
    select: str = ""
    max_tokens: int = 128

    def index(self, name: str) -> int:
        """Position of a feature on the last axis."""
        return list(self.features).index(name)

    def coordinate_index(self, coordinate: str) -> int | None:
        """Position of the feature that is the coordinate pt, eta, phi or energy; None if the modality has none."""
        return self.index(self.coordinates[coordinate]) if coordinate in self.coordinates else None


@dataclass(frozen=True)
class Label:
    """A target.

    Attributes:
        kind: `class` (an integer, -1 where unknown) or `regression` (a float, NaN where unknown).
        expression: for `class`, an integer column, matched against the values of `classes`; for `regression`, the
            value.
        classes: class name -> integer value of `expression`, or -> name of a one-hot column.
        unit: of a regression target.
    """

    kind: Literal["class", "regression"] = "class"
    expression: str = ""
    classes: dict[str, int | str] = field(default_factory=dict)
    unit: str = ""


@dataclass(frozen=True)
class Split:
    """How examples are divided: by a hash of `key`, so that rows of equal key never straddle two splits.

    Attributes:
        key: expression over file columns (an event number, say). Empty: the content of the row itself.
        fractions: split name -> fraction; they sum to 1.
    """

    key: str = ""
    fractions: dict[str, float] = field(default_factory=lambda: {"train": 0.7, "val": 0.1, "test": 0.2})


@dataclass(frozen=True)
class DetectorSchema:
    """A detector example.

    Attributes:
        name: short name, used in file names and namespaces.
        tree: the ROOT tree to read where the format has several.
        modalities: name -> Modality.
        globals: example-level features, fed to the encoder as one token.
        labels: name -> Label.
        weight: expression for the example weight; empty means 1.
        observers: name -> expression; carried beside the example to the predictions, never seen by a network.
        split: how to divide the examples.
        comment: what this describes, for people.
    """

    name: str = "detector"
    tree: str = ""
    modalities: dict[str, Modality] = field(default_factory=dict)
    globals: dict[str, Feature] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    weight: str = ""
    observers: dict[str, str] = field(default_factory=dict)
    split: Split = field(default_factory=Split)
    comment: str = ""

    @staticmethod
    def load(source: str | Path | dict) -> DetectorSchema:
        """A checked schema from a YAML file, the name of a preset (`data/jets`) or a dict.

        Raises:
            ConfigError: unknown keys or ill-typed values.
            SchemaError: the values contradict each other.
        """
        schema: DetectorSchema = load_config(DetectorSchema, source)
        schema.check()
        return schema

    def save(self, path: Path) -> None:
        path.write_text(to_yaml(self))

    def to_dict(self) -> dict:
        return to_dict(self)

    def __hash__(self) -> int:  # a static part of a model's graph, so that jit can key on it
        return hash(to_yaml(self))

    def columns(self) -> list[str]:
        """Every file column that some expression names, sorted."""
        return sorted({name for text in self._expressions().values() for name in Expression(text).names})

    def class_names(self, label: str) -> list[str]:
        """Names of the classes of a label, in the order of their stored integers 0, 1, 2, ...

        Raises:
            SchemaError: no such label, or it is not of kind `class`.
        """
        if label not in self.labels:
            raise SchemaError(f"schema '{self.name}' has no label '{label}'; {close_names(label, self.labels)}")
        if self.labels[label].kind != "class":
            raise SchemaError(f"label '{label}' of schema '{self.name}' is a {self.labels[label].kind}, not a class")
        return list(self.labels[label].classes)

    def check(self) -> None:
        """Raises SchemaError naming the first thing that contradicts another."""
        if not self.modalities:
            raise SchemaError(f"schema '{self.name}' names no modality")
        self._check_names()
        for where, text in self._expressions().items():
            _parse(where, text)
        for name, modality in self.modalities.items():
            _check_modality(name, modality, set(self.globals))
        for name, label in self.labels.items():
            _check_label(name, label)
        total = sum(self.split.fractions.values())
        if abs(total - 1) > 1e-6 or min(self.split.fractions.values()) < 0:
            raise SchemaError(f"split.fractions must be positive and sum to 1; they are {self.split.fractions}")

    def _check_names(self) -> None:
        """Names become file names, C++ identifiers and columns of other expressions."""
        groups: dict[str, Iterable[str]] = {
            "modalities": self.modalities,
            **{f"modalities.{n}.features": m.features for n, m in self.modalities.items()},
            "globals": self.globals,
            "labels": self.labels,
            "observers": self.observers,
            "split.fractions": self.split.fractions,
        }
        for where, names in groups.items():
            bad = [name for name in names if not (name.isidentifier() and name.isascii())]
            if bad:
                raise SchemaError(
                    f"{where}: '{bad[0]}' is no name; use letters, digits and _, not beginning with a digit"
                )

    def _expressions(self) -> dict[str, str]:
        """Where -> expression over file columns, for every expression that is not empty."""
        found = {f"globals.{n}": f.expression for n, f in self.globals.items()}
        for name, modality in self.modalities.items():
            found |= {f"modalities.{name}.features.{n}": f.expression for n, f in modality.features.items()}
            found[f"modalities.{name}.select"] = modality.select
        for name, label in self.labels.items():
            found[f"labels.{name}.expression"] = label.expression
            found |= {f"labels.{name}.classes.{n}": v for n, v in label.classes.items() if isinstance(v, str)}
        found |= {f"observers.{n}": e for n, e in self.observers.items()}
        found |= {"weight": self.weight, "split.key": self.split.key}
        return {where: text for where, text in found.items() if text}


def _parse(where: str, text: str) -> Expression:
    try:
        return Expression(text)
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from error


def _check_modality(name: str, modality: Modality, example_features: set[str]) -> None:
    where = f"modalities.{name}"
    if not modality.features:
        raise SchemaError(f"{where} has no features")
    if modality.max_tokens < 1:
        raise SchemaError(f"{where}.max_tokens must be at least 1; it is {modality.max_tokens}")
    for coordinate, feature in modality.coordinates.items():
        if coordinate not in COORDINATES:
            raise SchemaError(f"{where}.coordinates: '{coordinate}' is not one of {', '.join(COORDINATES)}")
        if feature not in modality.features:
            hint = close_names(feature, modality.features)
            raise SchemaError(f"{where}.coordinates.{coordinate}: no feature '{feature}'; {hint}")
    for feature, spec in modality.features.items():
        if not spec.expression:
            raise SchemaError(f"{where}.features.{feature} has no expression")
        if spec.hardware is not None and (spec.hardware.lsb <= 0 or not 1 <= spec.hardware.bits <= 32):
            raise SchemaError(f"{where}.features.{feature}.hardware needs lsb > 0 and 1 to 32 bits: {spec.hardware}")
        if spec.recompute:
            known = set(modality.features) | example_features
            unknown = _parse(f"{where}.features.{feature}.recompute", spec.recompute).names - known
            if unknown:
                hint = close_names(min(unknown), known)
                raise SchemaError(f"{where}.features.{feature}.recompute names unknown {sorted(unknown)}; {hint}")


def _check_label(name: str, label: Label) -> None:
    where = f"labels.{name}"
    if label.kind == "regression" and not label.expression:
        raise SchemaError(f"{where} is a regression and has no expression")
    if label.kind == "regression":
        return
    if len(label.classes) < 2:
        raise SchemaError(f"{where} is a class label and needs at least two classes; it has {list(label.classes)}")
    one_hot = [isinstance(value, str) for value in label.classes.values()]
    if any(one_hot) and not all(one_hot):
        raise SchemaError(f"{where}.classes: give every class a column name, or every class an integer, not a mixture")
    if not any(one_hot) and not label.expression:
        raise SchemaError(f"{where}.classes are integers, so {where}.expression must name the integer column")
