"""What a detector example is: modalities, features with units and hardware types, labels, observers (contract 1).

A `DetectorSchema` is written in YAML (`configs/data/`) and travels with everything made from it: store, checkpoint,
student, firmware.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from foundation.command import load_config, to_dict, to_yaml
from foundation.errors import SchemaError, close_names
from foundation.expression import parsed
from foundation.io.layout import Layout
from foundation.schema_checks import (
    check_defaults,
    check_feature,
    check_label,
    check_layout,
    check_modality,
    check_names,
    check_split,
    parse,
)
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
        defaults: file column -> the number it has in every example of a file that has no such column.
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
    defaults: dict[str, float] = field(default_factory=dict)
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

    def __hash__(self) -> int:  # a static part of a model's graph: jit asks for it at every step
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(to_yaml(self))

    def columns(self) -> list[str]:
        """Every file column that some expression names, sorted; without the pseudo columns."""
        return _names(self.expressions().values())

    def modality_columns(self, name: str) -> list[str]:
        """The file columns that one modality and the labels of its tokens use, sorted."""
        labels = {n for n, label in self.labels.items() if label.modality == name}
        return _names(text for where, text in self.expressions().items() if _belongs(where, {name}, labels))

    def required_columns(self) -> list[str]:
        """`columns` without those that have a default, or that only optional modalities (and their labels) use."""
        optional = {name for name, modality in self.modalities.items() if modality.optional}
        labels = {name for name, label in self.labels.items() if label.modality in optional}
        found = _names(text for where, text in self.expressions().items() if not _belongs(where, optional, labels))
        return [name for name in found if name not in self.defaults]

    @property
    def class_labels(self) -> list[str]:
        """Names of the labels that give the example a class."""
        return [name for name, label in self.labels.items() if label.kind == "class" and not label.modality]

    @property
    def regression_labels(self) -> list[str]:
        """Names of the labels that give the example a number."""
        return [name for name, label in self.labels.items() if label.kind == "regression" and not label.modality]

    def class_names(self, label: str) -> list[str]:
        """Names of the classes of a label, in the order of their stored integers 0, 1, 2, ...

        Raises:
            SchemaError: no such label, or it is not of kind `class`, or one of tokens.
        """
        if label not in self.labels:
            raise SchemaError(f"schema '{self.name}' has no label '{label}'; {close_names(label, self.labels)}")
        if self.labels[label].kind != "class":
            raise SchemaError(f"label '{label}' of schema '{self.name}' is a {self.labels[label].kind}, not a class")
        if modality := self.labels[label].modality:
            raise SchemaError(
                f"label '{label}' of schema '{self.name}' is one of the tokens of '{modality}', not of examples"
            )
        return list(self.labels[label].classes)

    def check(self) -> None:
        """Raises SchemaError naming the first thing that contradicts another."""
        if not self.modalities:
            raise SchemaError(f"schema '{self.name}' names no modality")
        named: dict[str, Iterable[str]] = {
            "modalities": self.modalities,
            **{f"modalities.{n}.features": m.features for n, m in self.modalities.items()},
            "globals": self.globals,
            "labels": self.labels,
            "observers": self.observers,
        }
        for where, names in named.items():
            check_names(where, names)
        for where, text in self.expressions().items():
            parse(where, text)
        check_layout(self.layout, self.columns())
        check_defaults(self.defaults, self.columns())
        for name, modality in self.modalities.items():
            check_modality(name, modality, self.globals)
        for name, feature in self.globals.items():
            check_feature(f"globals.{name}", feature, self.globals)
        for name, label in self.labels.items():
            check_label(name, label, self.modalities)
        check_split(self.split)

    def use_of(self, column: str) -> str:
        """Where in the schema a file column is named first; empty if nowhere."""
        return next((where for where, text in self.expressions().items() if column in parsed(text).names), "")

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
    return sorted({name for text in expressions for name in parsed(text).names}.difference(PSEUDO_COLUMNS))


def _belongs(where: str, modalities: set[str], labels: set[str]) -> bool:
    """Whether the expression at `where` is of one of these modalities or labels."""
    group, name = [*where.split("."), ""][:2]
    return (group == "modalities" and name in modalities) or (group == "labels" and name in labels)
