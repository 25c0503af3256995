"""Schemas: what they say of their columns, and what contradicts itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from foundation.errors import ConfigError, SchemaError
from foundation.schema import DetectorSchema, Feature, Hardware, Label, Layout

BASE: dict[str, Any] = {
    "modalities": {
        "tracks": {
            "coordinates": {"pt": "pt", "eta": "eta", "phi": "phi"},
            "features": {
                "pt": {"expression": "t_pt", "unit": "GeV"},
                "eta": {"expression": "t_eta"},
                "phi": {"expression": "t_phi", "unit": "rad"},
                "x": {"expression": "t_x", "unit": "cm"},
                "charge": {"expression": "t_x"},
            },
        },
        "cells": {
            "max_tokens": 12,
            "select": "c_e > 0",
            "grid": {"shape": [3, 4], "row": "c_row", "column": "c_column"},
            "features": {"e": {"expression": "c_e", "unit": "GeV"}},
        },
        "muons": {"optional": True, "features": {"pt": {"expression": "m_pt / met"}}},
    },
    "globals": {"met": {"expression": "met", "unit": "GeV"}},
    "labels": {
        "kind": {"expression": "process", "classes": {"a": 0, "b": 1}},
        "source": {"expression": "file_path", "classes": {"signal": "*hh*", "background": "*"}},
        "tags": {"kind": "multilabel", "classes": {"b": "is_b", "c": "is_c"}},
        "owner": {"kind": "group", "expression": "t_owner", "modality": "tracks"},
        "muon_owner": {"kind": "group", "expression": "m_owner", "modality": "muons"},
    },
    "observers": {"entry": "file_entry"},
    "split": {"key": ["run", "event"]},
}


LOADED = DetectorSchema.load(BASE)


def changed(path: str, value: Any, where: Any = LOADED) -> Any:
    """The base schema with one setting replaced."""
    first, _, rest = path.partition(".")
    if isinstance(where, dict):
        return where | {first: changed(rest, value, where.get(first)) if rest else value}
    return dataclasses.replace(where, **{first: changed(rest, value, getattr(where, first)) if rest else value})


def test_columns_are_those_of_every_expression_without_the_pseudo_columns():
    optional = {"m_pt", "m_owner"}
    required = {
        "t_pt",
        "t_eta",
        "t_phi",
        "t_x",
        "c_e",
        "c_row",
        "c_column",
        "met",
        "process",
        "is_b",
        "is_c",
        "t_owner",
    }
    required |= {"run", "event"}
    assert LOADED.columns() == sorted(required | optional)
    assert LOADED.required_columns() == sorted(required)
    assert LOADED.modality_columns("muons") == ["m_owner", "m_pt", "met"]


def test_a_saved_schema_is_the_same_schema(tmp_path):
    found = changed("layout", {"t_pt": Layout("offsets", "t_offsets"), "*": Layout()})
    found.save(tmp_path / "schema.yaml")
    assert DetectorSchema.load(tmp_path / "schema.yaml") == found
    assert found.layout["t_pt"].by == "t_offsets"
    assert found.modalities["cells"].grid.shape == [3, 4]


def test_class_names_are_those_of_a_class_of_examples():
    assert LOADED.class_names("kind") == ["a", "b"]
    for label, message in (("kin", "did you mean 'kind'"), ("tags", "is a multilabel")):
        with pytest.raises(SchemaError, match=message):
            LOADED.class_names(label)
    with pytest.raises(SchemaError, match="one of the tokens of 'tracks'"):
        changed("labels.kind.modality", "tracks").class_names("kind")
    assert LOADED.class_labels == ["kind", "source"]
    targets = {"mass": Label("regression", "m"), "momentum": Label("regression", "p", modality="tracks")}
    assert changed("labels", targets).regression_labels == ["mass"]


def test_default_ranges_are_those_of_the_coordinates():
    tracks = changed("modalities.tracks.features.phi.range", [-1, 1]).modalities["tracks"]
    assert tracks.features["eta"].limits("eta") == (-10, 10)
    assert tracks.features["pt"].limits("pt")[0] == 0
    assert tracks.features["phi"].limits("phi") == (-1, 1)
    assert tracks.features["x"].limits("x") == (float("-inf"), float("inf"))


TRACKS = "modalities.tracks."


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("modalities", {}, "names no modality"),
        ("layout", {"t_ptt": Layout()}, r"layout\.t_ptt: no expression reads .* did you mean 't_pt'"),
        ("layout", {"t_pt": Layout("offsets")}, r"layout\.t_pt is by offsets and needs `by`"),
        ("layout", {"t_pt": Layout("index", "a + b")}, r"layout\.t_pt\.by: 'a \+ b' must be a column"),
        ("layout", {"*": Layout("rows", "x")}, r"layout\.\*.* needs no `by`"),
        (TRACKS + "features", {}, "has no features"),
        (TRACKS + "max_tokens", 0, "at least 1"),
        (TRACKS + "order", "t_pt +", r"modalities\.tracks\.order: expression"),
        (TRACKS + "features.pt.expression", "", r"features\.pt has no expression"),
        (TRACKS + "features.pt.unit", "Gev", r"features\.pt\.unit: 'Gev' is no unit.*'GeV'"),
        (TRACKS + "features.pt.range", [3, 1], r"features\.pt\.range must be \[lowest, highest\]"),
        (TRACKS + "features.pt.range", [1], r"features\.pt\.range must be"),
        (TRACKS + "features.pt.hardware", Hardware(lsb=0), "lsb > 0"),
        (TRACKS + "features.pt.hardware", Hardware(lsb=float("nan")), "lsb > 0"),
        (TRACKS + "features.pt.hardware", Hardware(bits=33), "1 to 32 bits"),
        (TRACKS + "features.pt.hardware", Hardware(bits=1), "one signed bit"),
        (TRACKS + "features.pt.recompute", "ptt", r"recompute names unknown \['ptt'\].*'pt'"),
        (TRACKS + "features.pt.recompute", "pt / max(pt)", r"max\(\) cannot be used on the device"),
        (TRACKS + "features.phi.unit", "GeV", r"coordinates\.phi: the unit of 'phi' is GeV, which no phi has"),
        (TRACKS + "features.phi.unit", "deg", r"multiply by pi / 180"),
        (TRACKS + "features.eta.unit", "rad", r"coordinates\.eta: the unit of 'eta' is rad"),
        (TRACKS + "coordinates.px", "charge", r"px is given without py, pz, energy"),
        (TRACKS + "coordinates.theta", "x", r"'theta' is not one of pt, eta"),
        (TRACKS + "coordinates.pt", "ptt", r"coordinates\.pt: no feature 'ptt'; did you mean 'pt'"),
        (TRACKS + "coordinates.energy", "pt", r"'pt' is given for more than one coordinate"),
        ("modalities.cells.grid.shape", [3], r"grid\.shape must be \[rows, columns\]"),
        ("modalities.cells.grid.shape", [3, 5], r"write `max_tokens: 15`"),
        ("modalities.cells.grid.row", "", r"needs the expressions `row` and `column`"),
        ("modalities.cells.order", "c_e", r"`order` must be empty"),
        ("globals.met.unit", "parsec", r"globals\.met\.unit"),
        ("globals.met.expression", "", r"globals\.met has no expression"),
        ("globals.a-b", Feature("met"), "'a-b' is no name"),
        ("labels.kind.classes", {"a": 0}, "at least two classes"),
        ("labels.kind.classes", {"a": 0, "b": "x"}, "not a mixture"),
        ("labels.kind.classes", {"a": 1, "b": 1}, "1 is the value of more than one class"),
        ("labels.kind.expression", "", "must name the integer column"),
        (
            "labels.kind.modality",
            "track",
            r"labels\.kind\.modality: there is no modality 'track'; did you mean 'tracks'",
        ),
        ("labels.kind.modality", "cells", r"'cells' is an image"),
        ("labels.source.modality", "tracks", "patterns are matched"),
        ("labels.tags.modality", "tracks", "only examples may have"),
        ("labels.tags.expression", "x", "give an expression for each class"),
        ("labels.tags.classes", {"b": 1}, r"labels\.tags\.classes\.b must be an expression"),
        ("labels.tags.classes", {}, "names no classes"),
        ("labels.owner.modality", "", "needs `modality`"),
        ("labels.owner.expression", "", "group and has no expression"),
        ("labels.owner.classes", {"a": 1, "b": 2}, "has no classes"),
        ("labels.kind.kind", "regression", "regression, which has no classes"),
        ("split.fractions", {"train": 0.5}, "sum to 1"),
        ("split.key", ["run", ""], "empty expression"),
        ("split.key", ["run", "run"], "twice"),
    ],
)
def test_contradictions_are_named(path, value, message):
    with pytest.raises(SchemaError, match=message):
        changed(path, value).check()


def test_a_range_must_fit_the_hardware_type():
    def pt(bits: int, signed: bool) -> DetectorSchema:
        hardware = Hardware(lsb=0.25, bits=bits, signed=signed)
        return changed("modalities.tracks.features.pt", Feature("t_pt", range=[0.0, 500.0], hardware=hardware))

    pt(11, signed=False).check()  # up to 511.75 GeV
    with pytest.raises(SchemaError, match=r"does not fit 11 signed bits of lsb 0\.25, which hold -256 to 255\.75"):
        pt(11, signed=True).check()


def test_a_four_vector_of_cartesian_coordinates_is_complete():
    names = ("px", "py", "pz", "energy")
    features = {name: Feature(f"t_{name}", unit="GeV") for name in names}
    found = changed("modalities.tracks.features", features)
    found = changed("modalities.tracks.coordinates", {name: name for name in names}, found)
    found.check()
    assert found.modalities["tracks"].coordinate_index("pz") == 2
    assert found.modalities["tracks"].coordinate_index("pt") is None


def test_unknown_settings_and_types_are_refused():
    with pytest.raises(ConfigError, match="max_token"):
        DetectorSchema.load({"modalities": {"a": {"max_token": 3}}})
    with pytest.raises(ConfigError):
        DetectorSchema.load(BASE | {"labels": {"kind": {"kind": "ordinal"}}})


def test_a_schema_is_hashed_once(monkeypatch):
    """Compiled functions key on it, so a training asks at every step; to write it as YAML takes 10 ms and more."""
    schema = DetectorSchema.load("data/jets")
    value = hash(schema)
    monkeypatch.setattr("foundation.schema.to_yaml", lambda _: pytest.fail("written again"))
    assert hash(schema) == value
