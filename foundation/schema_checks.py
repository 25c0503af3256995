"""What `DetectorSchema.check` refuses in the parts of a schema: each function raises SchemaError for the first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import inf, isfinite, isnan

from foundation.errors import SchemaError, close_names
from foundation.expression import Expression, parsed
from foundation.expression_functions import FILE_ONLY
from foundation.io.layout import Layout
from foundation.schema_parts import COORDINATES, Feature, Label, Modality, Split
from foundation.units import fits, known_units

CARTESIAN = ("px", "py", "pz")


def parse(where: str, text: str) -> Expression:
    """The expression. Raises SchemaError that says where in the schema it is."""
    try:
        return parsed(text)
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from error


def check_names(where: str, names: Iterable[str]) -> None:
    """Names become file names, C++ identifiers and columns of other expressions."""
    for name in names:
        if not (name.isidentifier() and name.isascii()):
            raise SchemaError(f"{where}: '{name}' is no name; use letters, digits and _, not beginning with a digit")


def check_layout(layout: Mapping[str, Layout], columns: Collection[str]) -> None:
    """`columns` are those that the schema's expressions name."""
    for name, spec in layout.items():
        where = f"layout.{name}"
        if name != "*" and name not in columns:
            raise SchemaError(f"{where}: no expression reads the column '{name}'; {close_names(name, columns)}")
        if spec.kind in ("offsets", "index") and not spec.by:
            raise SchemaError(f"{where} is by {spec.kind} and needs `by`, the column that holds them")
        if spec.kind in ("rows", "file") and spec.by:
            raise SchemaError(f"{where} is of kind '{spec.kind}', which needs no `by`; it is '{spec.by}'")
        if spec.by and len(parse(f"{where}.by", spec.by).names) != 1:
            raise SchemaError(f"{where}.by: '{spec.by}' must be a column, or a part of one such as `rows[:, 0]`")


def check_defaults(defaults: Mapping[str, float], columns: Collection[str]) -> None:
    """`columns` are those that the schema's expressions name."""
    for name, value in defaults.items():
        if name not in columns:
            raise SchemaError(f"defaults.{name}: no expression reads the column '{name}'; {close_names(name, columns)}")
        if not isfinite(value):
            raise SchemaError(f"defaults.{name}: {value} is no finite number")


def check_feature(where: str, spec: Feature, known: Collection[str]) -> None:
    """`known` are the names that `recompute` may use."""
    if not spec.expression:
        raise SchemaError(f"{where} has no expression")
    if spec.unit and spec.unit not in known_units():
        hint = close_names(spec.unit, known_units())
        raise SchemaError(f"{where}.unit: '{spec.unit}' is no unit that is known here; {hint}; empty for a pure number")
    _check_range(where, spec)
    if spec.hardware is not None:
        _check_hardware(where, spec)
    if spec.recompute:
        _check_recompute(f"{where}.recompute", spec.recompute, known)


def _check_range(where: str, spec: Feature) -> None:
    if not spec.range:
        return
    if len(spec.range) != 2 or any(map(isnan, spec.range)) or not spec.range[0] < spec.range[1]:
        raise SchemaError(f"{where}.range must be [lowest, highest]; it is {spec.range}")


def _check_hardware(where: str, spec: Feature) -> None:
    hardware = spec.hardware
    assert hardware is not None
    if not (0 < hardware.lsb < inf and 1 <= hardware.bits <= 32):
        raise SchemaError(f"{where}.hardware needs a finite lsb > 0 and 1 to 32 bits; it is {hardware}")
    if hardware.signed and hardware.bits == 1:
        raise SchemaError(f"{where}.hardware: one signed bit holds only -1 and 0; say `signed: false`, or more bits")
    low, high = hardware.low * hardware.lsb, hardware.high * hardware.lsb
    if spec.range and not (low <= spec.range[0] and spec.range[1] <= high):
        kind = "signed" if hardware.signed else "unsigned"
        raise SchemaError(
            f"{where}: its range {spec.range} does not fit {hardware.bits} {kind} bits of lsb {hardware.lsb:g}, which "
            f"hold {low:g} to {high:g}"
        )


def _check_recompute(where: str, text: str, known: Collection[str]) -> None:
    expression = parse(where, text)
    if unknown := expression.names - set(known):
        raise SchemaError(f"{where} names unknown {sorted(unknown)}; {close_names(min(unknown), known)}")
    if refused := expression.functions & FILE_ONLY:
        raise SchemaError(
            f"{where}: {min(refused)}() cannot be used on the device, where padding would count as tokens"
        )


def check_modality(name: str, modality: Modality, example_features: Collection[str]) -> None:
    where = f"modalities.{name}"
    if not modality.features:
        raise SchemaError(f"{where} has no features")
    if modality.max_tokens < 1:
        raise SchemaError(f"{where}.max_tokens must be at least 1; it is {modality.max_tokens}")
    known = {*modality.features, *example_features}
    for feature, spec in modality.features.items():
        check_feature(f"{where}.features.{feature}", spec, known)
    _check_coordinates(f"{where}.coordinates", modality)
    if modality.grid is not None:
        _check_grid(f"{where}.grid", modality)


def _check_coordinates(where: str, modality: Modality) -> None:
    for coordinate, feature in modality.coordinates.items():
        if coordinate not in COORDINATES:
            raise SchemaError(f"{where}: '{coordinate}' is not one of {', '.join(COORDINATES)}")
        if feature not in modality.features:
            hint = close_names(feature, modality.features)
            raise SchemaError(f"{where}.{coordinate}: no feature '{feature}'; {hint}")
        unit = modality.features[feature].unit
        if not fits(coordinate, unit):
            advice = "; multiply by pi / 180 and say rad" if unit == "deg" else ""
            raise SchemaError(
                f"{where}.{coordinate}: the unit of '{feature}' is {unit}, which no {coordinate} has{advice}"
            )
    named = list(modality.coordinates.values())
    if repeated := [feature for feature in named if named.count(feature) > 1]:
        raise SchemaError(f"{where}: the feature '{repeated[0]}' is given for more than one coordinate")
    given = [c for c in CARTESIAN if c in modality.coordinates]
    missing = [c for c in (*CARTESIAN, "energy") if c not in modality.coordinates]
    if given and missing:
        raise SchemaError(
            f"{where}: {', '.join(given)} is given without {', '.join(missing)}; a four-vector needs px, py, pz and "
            "energy, or (pt, eta, phi, energy), or (pt, eta, phi, mass)"
        )


def _check_grid(where: str, modality: Modality) -> None:
    grid = modality.grid
    assert grid is not None
    if len(grid.shape) != 2 or min(grid.shape) < 1:
        raise SchemaError(f"{where}.shape must be [rows, columns], both at least 1; it is {grid.shape}")
    if not (grid.row and grid.column):
        raise SchemaError(f"{where} needs the expressions `row` and `column`, the cell of each token")
    cells = grid.shape[0] * grid.shape[1]
    if modality.max_tokens != cells:
        raise SchemaError(
            f"{where} of {grid.shape[0]} x {grid.shape[1]} cells holds {cells} tokens in every example: write "
            f"`max_tokens: {cells}` beside it; it is {modality.max_tokens}"
        )
    if modality.order:
        raise SchemaError(f"{where} fixes the order of the tokens, so the modality's `order` must be empty")


def check_label(name: str, label: Label, modalities: Mapping[str, Modality]) -> None:
    where = f"labels.{name}"
    if label.unit and label.unit not in known_units():
        raise SchemaError(
            f"{where}.unit: '{label.unit}' is no unit that is known here; {close_names(label.unit, known_units())}"
        )
    _check_place(where, label, modalities)
    if label.kind in ("regression", "group"):
        if not label.expression:
            raise SchemaError(f"{where} is a {label.kind} and has no expression")
        if label.classes:
            raise SchemaError(f"{where} is a {label.kind}, which has no classes; it names {list(label.classes)}")
        return
    if label.kind == "multilabel":
        _check_multilabel(where, label)
    else:
        _check_classes(where, label)


def _check_place(where: str, label: Label, modalities: Mapping[str, Modality]) -> None:
    """Whether what is labelled, the example or tokens, goes with the kind of label."""
    if label.kind == "group" and not label.modality:
        raise SchemaError(f"{where} is a group of tokens and needs `modality`, whose tokens it groups")
    if not label.modality:
        return
    if label.kind == "multilabel":
        raise SchemaError(f"{where} is a multilabel, which only examples may have; make it one class label per tag")
    if label.modality not in modalities:
        hint = close_names(label.modality, modalities)
        raise SchemaError(f"{where}.modality: there is no modality '{label.modality}'; {hint}")
    if modalities[label.modality].grid is not None:
        raise SchemaError(f"{where}: modality '{label.modality}' is an image, whose cells hold sums and have no labels")


def _check_multilabel(where: str, label: Label) -> None:
    if label.expression:
        raise SchemaError(
            f"{where} is a multilabel: give an expression for each class under `classes`, and none for all"
        )
    if not label.classes:
        raise SchemaError(f"{where} is a multilabel and names no classes")
    for name, value in label.classes.items():
        if not (isinstance(value, str) and value):
            raise SchemaError(f"{where}.classes.{name} must be an expression that gives 0 or 1; it is {value!r}")


def _check_classes(where: str, label: Label) -> None:
    if len(label.classes) < 2:
        raise SchemaError(f"{where} is a class label and needs at least two classes; it has {list(label.classes)}")
    texts = [isinstance(value, str) for value in label.classes.values()]
    if any(texts) and not all(texts):
        raise SchemaError(f"{where}.classes: give every class a text, or every class an integer, not a mixture")
    if not any(texts) and not label.expression:
        raise SchemaError(f"{where}.classes are integers, so {where}.expression must name the integer column")
    values = list(label.classes.values())
    if repeated := [value for value in values if values.count(value) > 1]:
        raise SchemaError(f"{where}.classes: {repeated[0]!r} is the value of more than one class")
    if any(texts) and label.expression and label.modality:
        raise SchemaError(f"{where}: patterns are matched against texts of examples, not of tokens; use integers")


def check_split(split: Split) -> None:
    check_names("split.fractions", split.fractions)
    total = sum(split.fractions.values())
    if not isfinite(total) or abs(total - 1) > 1e-6 or min(split.fractions.values()) < 0:
        raise SchemaError(f"split.fractions must be positive and sum to 1; they are {split.fractions}")
    keys = [] if isinstance(split.key, str) else split.key
    if not all(keys):
        raise SchemaError("split.key holds an empty expression; leave it out, or `key: ''` to split by content")
    if len(set(keys)) < len(keys):
        raise SchemaError(f"split.key names the same expression twice: {keys}")
