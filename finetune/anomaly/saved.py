"""An anomaly model on disk, inside its run folder."""

from __future__ import annotations

from pathlib import Path

from flax import nnx

from finetune.adapt import encoder_of, reading
from finetune.anomaly.config import AnomalyConfig
from finetune.anomaly.inputs import EmbeddingInputs, RawInputs
from finetune.anomaly.methods import build_method
from finetune.anomaly.model import AnomalyModel
from finetune.saved import SCHEMA
from foundation.checkpoint import load_model, save_model
from foundation.command import load_config, to_yaml
from foundation.models import EncoderConfig
from foundation.models.saved import CONFIG, blank_encoder, blank_statistics, hollow
from foundation.runs import Run
from foundation.schema import DetectorSchema

STAGE = "anomaly"
RECORDED = "training_set.json"  # what later data is compared with, see `finetune.anomaly.drift`


def save_anomaly(folder: Path, model: AnomalyModel) -> None:
    """Writes a finished model into its run folder."""
    if isinstance(model.inputs, EmbeddingInputs):
        encoder = encoder_of(model.inputs.encoder)
        (folder / CONFIG).write_text(to_yaml(encoder.config))
        encoder.schema.save(folder / SCHEMA)
    save_model(folder, model)


def load_anomaly(run: Run) -> AnomalyModel:
    """Reads what `detfm anomaly fit` learnt.

    Raises:
        RunError, TrainingError: the run did not finish, or its parts do not fit.
    """
    model = hollow(lambda: _blank(run, run.config(AnomalyConfig)))
    load_model(run.path, model)
    return model


def _blank(run: Run, cfg: AnomalyConfig) -> AnomalyModel:
    inputs: RawInputs | EmbeddingInputs
    if cfg.inputs == "raw":
        inputs = RawInputs(run.schema, blank_statistics(run.schema), cfg.raw)
    else:
        encoder = blank_encoder(DetectorSchema.load(run.path / SCHEMA), load_config(EncoderConfig, run.path / CONFIG))
        inputs = EmbeddingInputs(reading(encoder, run.schema, cfg.adapt))
    return build_model(inputs, cfg)


def build_model(inputs: RawInputs | EmbeddingInputs, cfg: AnomalyConfig) -> AnomalyModel:
    """Inputs and an untrained method.

    Raises:
        ConfigError: the method cannot take these inputs, or has no score of that name.
    """
    method = build_method(cfg.method, inputs.shape, cfg.methods, rngs=nnx.Rngs(cfg.train.seed))
    return AnomalyModel(inputs, method, cfg.score or method.names[0])
