"""Reference models by the command: their presets, trained, saved, loaded and predicting; what is refused of them."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from example import batch, schema, statistics
from few_jets import ingest_few
from flax import nnx
from small_references import SMALL

from finetune.backbone import build_backbone
from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.model import Tagger, outputs
from finetune.modes import check_mode
from finetune.predict import predict
from finetune.saved import load_tagger
from finetune.task import Task
from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.models.references import REFERENCES, ReferencesConfig
from foundation.store import Store


@pytest.mark.parametrize("name", REFERENCES)
def test_a_preset_is_the_papers_model_with_a_linear_head(name):
    config = load_config(FinetuneConfig, f"finetune/{name}")
    assert config.model == name
    assert config.references == ReferencesConfig()
    spec = schema()
    small = replace(config, references=SMALL)
    backbone = build_backbone(spec, statistics(spec), small, rngs=nnx.Rngs(0))
    tagger = Tagger(backbone, Task.resolve(spec, config.task), small, rngs=nnx.Rngs(1))
    assert type(backbone) is type(REFERENCES[name](spec, statistics(spec), SMALL, nnx.Rngs(0)))
    assert tagger.head.hidden is None


def test_a_pretrained_encoder_is_no_start_for_another_model():
    with pytest.raises(ConfigError, match="model part is trained from scratch"):
        check_mode(FinetuneConfig(model="part"), pretrained=True)


def test_tokens_are_as_wide_as_the_pooled_vector():
    """What heads of tokens, of pairs and attention pooling stand on."""
    spec = schema()
    b = batch(spec)
    for name in REFERENCES:
        config = FinetuneConfig(model=name, references=SMALL)
        backbone = build_backbone(spec, statistics(spec), config, rngs=nnx.Rngs(0))

        def vectors(b, backbone=backbone):
            found = backbone(b)
            return found.tokens, found.pooled, found.summary

        tokens, pooled, summary = jax.eval_shape(vectors, b)
        assert tokens.shape == (*b.modalities["particles"].mask.shape, backbone.width), name
        assert pooled.shape == summary.shape == (b.size, backbone.width), name


@pytest.fixture(scope="module")
def store(sample, tmp_path_factory) -> Store:
    return Store.open(ingest_few(sample, tmp_path_factory.mktemp("few"), 300))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pcnn", "particlenet", "part", "lorentznet"])
def test_trained_saved_and_loaded(store, name, tmp_path):
    config = load_config(FinetuneConfig, f"finetune/{name}")
    config = replace(config, references=SMALL, buckets=1, batch_size=32, train=replace(config.train, steps=2))
    run = finetune(store.path, cfg=config, out=tmp_path / "run")
    tagger = load_tagger(run)
    found = predict(tagger, store, "test")
    assert np.isfinite(found.logits).all()
    row = store.read("test", np.asarray([3]))
    np.testing.assert_allclose(np.asarray(outputs(tagger, row))[0], found.logits[3], atol=1e-4)
    assert np.ptp(found.logits, axis=0).max() > 0
