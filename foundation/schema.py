"""What a detector example is: modalities, features with units and hardware types, labels, observers (contract 1).

A `DetectorSchema` is written in YAML (`configs/data/`) and travels with everything made from it: store, checkpoint,
student, firmware.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from foundation.command import load_config, to_dict, to_yaml
from foundation.errors import SchemaError, close_names
from foundation.expression import Expression
from foundation.io.layout import Layout
from foundation.schema_parts import (
    COORDINATES,
    PSEUDO_COLUMNS,
    Feature,
    Grid,
    Hardware,
    Label,
    Modality,
    Split,
    Transform,
)

__all__ = [
    "COORDINATES",
    "PSEUDO_COLUMNS",
    "DetectorSchema",
    "Feature",
    "Grid",
    "Hardware",
    "Label",
    "Layout",
    "Modality",
    "Split",
    "Transform",
]


@dataclass(frozen=True)
class DetectorSchema:
    """A detector example.

    Attributes:
        name: short name, used in file names and namespaces.
        tree: the table to read where a file has several.
        layout: column -> how it is divided into examples, where its first axis is not the example; `*` is the default
            of columns not named.
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
    layout: dict[str, Layout] = field(default_factory=dict)
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
        """Every file column that some expression names, sorted; without the pseudo columns."""
        return _names(self.expressions().values())

    def modality_columns(self, name: str) -> list[str]:
        """The file columns that one modality and the labels of its tokens use, sorted."""
        labels = {n for n, label in self.labels.items() if label.modality == name}
        return _names(text for where, text in self.expressions().items() if _belongs(where, {name}, labels))

    def required_columns(self) -> list[str]:
        """`columns` without those that only optional modalities (and labels of their tokens) use."""
        optional = {name for name, modality in self.modalities.items() if modality.optional}
        labels = {name for name, label in self.labels.items() if label.modality in optional}
        return _names(text for where, text in self.expressions().items() if not _belongs(where, optional, labels))

    @property
    def class_labels(self) -> list[str]:
        """Names of the labels that give the example a class."""
        return [name for name, label in self.labels.items() if label.kind == "class" and not label.modality]

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
        for where, text in self.expressions().items():
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

    def expressions(self) -> dict[str, str]:
        """Where -> expression over file columns, for every expression that is not empty."""
        found = {f"globals.{n}": f.expression for n, f in self.globals.items()}
        for name, modality in self.modalities.items():
            found |= {f"modalities.{name}.features.{n}": f.expression for n, f in modality.features.items()}
            found |= {f"modalities.{name}.select": modality.select, f"modalities.{name}.order": modality.order}
            if modality.grid is not None:
                found |= {f"modalities.{name}.grid.{n}": getattr(modality.grid, n) for n in ("row", "column")}
        for name, label in self.labels.items():
            found[f"labels.{name}.expression"] = label.expression
            if not label.expression:
                found |= {f"labels.{name}.classes.{n}": v for n, v in label.classes.items() if isinstance(v, str)}
        found |= {f"observers.{n}": e for n, e in self.observers.items()}
        keys = [self.split.key] if isinstance(self.split.key, str) else self.split.key
        found |= {"weight": self.weight} | {f"split.key.{n}" if n else "split.key": key for n, key in enumerate(keys)}
        return {where: text for where, text in found.items() if text}


def _names(expressions: Iterable[str]) -> list[str]:
    return sorted({name for text in expressions for name in Expression(text).names}.difference(PSEUDO_COLUMNS))


def _belongs(where: str, modalities: set[str], labels: set[str]) -> bool:
    """Whether the expression at `where` is of one of these modalities or labels."""
    group, name = [*where.split("."), ""][:2]
    return (group == "modalities" and name in modalities) or (group == "labels" and name in labels)


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
    if label.kind in ("regression", "group") and not label.expression:
        raise SchemaError(f"{where} is a {label.kind} and has no expression")
    if label.kind in ("regression", "group") or label.kind == "multilabel":
        return
    if len(label.classes) < 2:
        raise SchemaError(f"{where} is a class label and needs at least two classes; it has {list(label.classes)}")
    if label.expression:
        return
    one_hot = [isinstance(value, str) for value in label.classes.values()]
    if any(one_hot) and not all(one_hot):
        raise SchemaError(f"{where}.classes: give every class a column name, or every class an integer, not a mixture")
    if not any(one_hot) and not label.expression:
        raise SchemaError(f"{where}.classes are integers, so {where}.expression must name the integer column")
