"""Settings made from plain values are those that jsonargparse makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from test_command import FULL, Settings

from foundation import command
from foundation.command import PRESET_FOLDERS, load_config, to_dict
from foundation.construct import NeedsParsing, construct
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema

SCHEMAS = sorted((PRESET_FOLDERS[0] / "data").glob("*.yaml"))


def parsed(kind: type, values: Any) -> Any:
    return command._parsed(kind, values, kind())


@pytest.mark.parametrize(
    "values",
    [
        {},
        to_dict(FULL),
        {"rate": 1, "budget": 3, "seeds": [], "flag": True},
        {"rate": "1e-3", "budget": "2.5", "seeds": ["4", 5], "flag": "true"},
        {"rate": None, "name": "1", "groups": {"a": ["1", "null"], "b": []}},
        {"budget": None, "name": "null", "first": {"kind": "sum"}},
        {"budget": "null", "first": {"width": "4"}, "layers": [{"width": 2}, {"width": "3"}]},
    ],
)
def test_values_are_what_they_are_to_jsonargparse(values):
    assert repr(load_config(Settings, values)) == repr(parsed(Settings, values))


@pytest.mark.parametrize(
    "values", [{"flag": 1}, {"seeds": 3}, {"rate": "inf"}, {"first": {"kind": "x"}}, {"layers": {}}]
)
def test_values_that_jsonargparse_refuses_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        load_config(Settings, values)


@pytest.mark.slow
@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_shipped_schemas_are_what_they_are_to_jsonargparse(path):
    assert repr(load_config(DetectorSchema, path)) == repr(parsed(DetectorSchema, command._read(path)))


def test_a_schema_of_very_many_features_needs_no_parsing():
    def never(kind, values, base):
        raise AssertionError(kind)

    features = {f"x{i}": {"expression": f"x{i}", "range": [0, 1], "hardware": {"lsb": 1}} for i in range(3000)}
    found = construct(DetectorSchema, {"modalities": {"wide": {"features": features, "max_tokens": 3}}}, never)
    assert len(found.modalities["wide"].features) == 3000
    assert found.modalities["wide"].features["x7"].hardware.lsb == 1.0


def test_what_is_not_given_is_that_of_the_base():
    with pytest.raises(NeedsParsing):
        construct(Settings, {"rate": "1"}, parsed)
    assert construct(Settings, {"first": {"width": 9}}, parsed, FULL).layers == FULL.layers
    assert construct(Settings, {"first": {"kind": "sum"}}, parsed, FULL).first.width == FULL.first.width
