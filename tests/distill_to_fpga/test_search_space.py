"""What may be searched, and that all of it is checked before anything runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_crossings import schema

from distill_to_fpga.config import DistillRunConfig
from distill_to_fpga.search.space import Dimension, SearchConfig, distill_config, settings_of
from distill_to_fpga.students import StudentConfig
from foundation.command import load_config, to_dict
from foundation.errors import ConfigError, SchemaError

SPACE = {
    "student.kind": Dimension(("deepsets", "mlp")),
    "student.tokens": Dimension((2, 4)),
    "student.phi": Dimension(((8,), (4, 4)), when={"student.kind": ("deepsets",)}),
    "student.hidden": Dimension(((8,), (16, 8)), when={"student.kind": ("mlp",)}),
    "distill.lut_budget": Dimension(low=100, high=1000, log=True),
}
SEARCH = SearchConfig(space=SPACE)


def test_the_default_and_a_round_trip_through_yaml():
    SearchConfig().check()
    SEARCH.check()
    assert load_config(SearchConfig, to_dict(SearchConfig())) == SearchConfig()


def test_settings_become_a_distill_config_of_the_right_types():
    values = {"student.kind": "mlp", "student.hidden": [16, 8], "distill.lut_budget": 500.0}
    found = distill_config(SEARCH, values)
    assert (found.student.kind, found.student.hidden, found.distill.lut_budget) == ("mlp", (16, 8), 500)
    assert isinstance(found.distill.lut_budget, int)
    assert not found.reference
    assert replace(found, student=StudentConfig(), distill=DistillRunConfig().distill, reference=True) == SEARCH.base


def test_settings_without_a_meaning_are_left_out():
    values = {"student.kind": "mlp", "student.tokens": 2, "student.phi": [8], "student.hidden": [8]}
    values["distill.lut_budget"] = 100
    assert settings_of(SEARCH, values) == {k: v for k, v in values.items() if k != "student.phi"}
    nested = {**SPACE, "student.rho": Dimension(((4,), (8,)), when={"student.phi": ((4, 4),)})}
    cfg = SearchConfig(space=nested)
    assert "student.rho" in settings_of(
        cfg, {**values, "student.kind": "deepsets", "student.phi": [4, 4], "student.rho": [4]}
    )
    assert "student.rho" not in settings_of(cfg, {**values, "student.phi": [4, 4], "student.rho": [4]})


@pytest.mark.parametrize(
    ("name", "dimension", "message"),
    [
        ("student.kinds", Dimension(("mlp",)), "no setting 'student.kinds'.*did you mean 'kind'"),
        ("student.kind", Dimension(("mlp", "transformer")), 'student.kind = "transformer"'),
        ("student.tokens", Dimension((0,)), "tokens and layer widths must be at least 1"),
        ("student.kind", Dimension(("vae_encoder", "cnn")), "an image of 18 x 14 pixels has 252 tokens"),
        ("student.tokens", Dimension(), "either choices or low and high"),
        ("student.tokens", Dimension((2,), low=1, high=2), "either choices or low and high"),
        ("student.tokens", Dimension((2, 2)), "has a choice twice"),
        ("student.tokens", Dimension(low=2, high=4.5), "whole number"),
        ("student.tokens", Dimension(low=4, high=2), "low < high"),
        ("distill.alpha", Dimension(low=0, high=1, log=True), "above 0 if log"),
        ("distill.alpha", Dimension(low=0, high=1.5), "alpha"),
        ("student.kind", Dimension(low=0, high=1), "is no number"),
        ("student.quantized", Dimension((True, False)), "has no firmware"),
        ("seed", Dimension((1, 2)), "every trial has its own"),
        ("ensemble", Dimension(([], ["runs/other"])), "made once for all trials"),
        ("score.mixed", Dimension((0.0, 1.0)), "made once for all trials"),
        ("student.phi", Dimension(((8,),), when={"student.kinds": ("mlp",)}), "no setting 'student.kinds'"),
        ("student.phi", Dimension(((8,),), when={"student.kind": ()}), "when student.kind is what"),
    ],
)
def test_a_space_that_cannot_be(name, dimension, message):
    with pytest.raises(ConfigError, match=message):
        SearchConfig(space={name: dimension}).check()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"trials": 0}, "trials >= 1"),
        ({"objectives": ()}, "at least one"),
        ({"objectives": ("auc", "auc")}, "each once"),
        ({"objectives": ("auc", "lut")}, "did you mean 'luts'"),
        ({"objectives": ("seconds",)}, "no figure 'seconds'"),
        ({"space": {}}, "space is empty"),
    ],
)
def test_settings_of_a_search_that_cannot_be(wrong, message):
    with pytest.raises(ConfigError, match=message):
        replace(SEARCH, **wrong).check()


def test_features_must_be_there():
    cfg = SearchConfig(space={"student.features": Dimension(((), ("pt",), ("pt", "phi")))})
    cfg.check()
    with pytest.raises(SchemaError, match="'phi' of modality 'objects' does not exist"):
        cfg.check_inputs(schema())
