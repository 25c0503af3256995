"""The presets of sizes: their names are true. Nothing is allocated."""

from __future__ import annotations

import pytest
from flax import nnx

from foundation.command import find_preset, load_config
from foundation.models import EncoderConfig, count_parameters
from foundation.models.saved import blank_encoder
from foundation.schema import DetectorSchema
from pretrain.config import PretrainConfig

SIZES = {"50k": 50e3, "500k": 500e3, "2m": 2e6, "20m": 20e6, "100m": 100e6, "500m": 500e6}


@pytest.fixture(scope="module")
def schema() -> DetectorSchema:
    return DetectorSchema.load(find_preset("data/jets"))


@pytest.mark.parametrize("name", [*SIZES][:4] + [pytest.param(name, marks=pytest.mark.slow) for name in [*SIZES][4:]])
def test_an_encoder_has_as_many_parameters_as_its_preset_says(name: str, schema: DetectorSchema) -> None:
    config: EncoderConfig = load_config(PretrainConfig, f"pretrain/{name}").encoder
    encoder = nnx.eval_shape(lambda: blank_encoder(schema, config))
    assert count_parameters(encoder) == pytest.approx(SIZES[name], rel=0.15)


def test_large_ones_save_memory() -> None:
    configs = {name: load_config(PretrainConfig, f"pretrain/{name}") for name in SIZES}
    assert [name for name, c in configs.items() if c.encoder.remat] == ["100m", "500m"]
    assert [name for name, c in configs.items() if c.encoder.precision == "bfloat16"] == ["20m", "100m", "500m"]
    assert configs["500m"].train.mesh.fsdp == -1
