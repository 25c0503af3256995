"""A tagger on disk, inside its run folder."""

from __future__ import annotations

from pathlib import Path

from flax import nnx

from finetune.adapt import Adapted, encoder_of, reading
from finetune.backbone import build_backbone
from finetune.config import FinetuneConfig
from finetune.model import Tagger
from finetune.task import Task
from finetune.trees import Tree, load_tree
from foundation.checkpoint import load_model, save_model
from foundation.command import load_config, to_yaml
from foundation.errors import RunError
from foundation.models import Backbone, Encoder, EncoderConfig
from foundation.models.saved import CONFIG, blank_encoder, blank_statistics, hollow
from foundation.runs import Run
from foundation.schema import DetectorSchema

SCHEMA = "encoder_schema.yaml"  # what the encoder was pretrained on; the run's own schema is that of the labelled data


def save_tagger(folder: Path, tagger: Tagger) -> None:
    """Writes a finished tagger into its run folder."""
    if isinstance(tagger.encoder, (Encoder, Adapted)):  # whose settings come with a pretrained one, not from ours
        encoder = encoder_of(tagger.encoder)
        (folder / CONFIG).write_text(to_yaml(encoder.config))
        encoder.schema.save(folder / SCHEMA)
    Run.open(folder).write("task.json", {"classes": tagger.task.classes})
    save_model(folder, tagger)


def load_tagger(run: Run) -> Tagger | Tree:
    """Reads what a finetune run trained: a tagger, or the tree of a run of model `tree`.

    Raises:
        RunError, TrainingError: the run did not finish, or its parts do not fit.
    """
    schema, config = run.schema, run.config(FinetuneConfig)
    task = Task.resolve(schema, config.task, run.read("task.json")["classes"])
    if config.model == "tree":
        return load_tree(run.path, task, config.tree)
    tagger = hollow(lambda: Tagger(_blank(run, schema, config), task, config, rngs=nnx.Rngs(0)))
    load_model(run.path, tagger)
    return tagger


def _blank(run: Run, schema: DetectorSchema, config: FinetuneConfig) -> Backbone:
    """The backbone of a run, without its variables."""
    if not (run.path / CONFIG).is_file():
        return build_backbone(schema, blank_statistics(schema), config, rngs=nnx.Rngs(0))
    own = DetectorSchema.load(run.path / SCHEMA) if (run.path / SCHEMA).is_file() else schema
    return reading(blank_encoder(own, load_config(EncoderConfig, run.path / CONFIG)), schema, config.adapt)


def load_network(run: Run) -> Tagger:
    """Reads the tagger of a finetune run, for what only a network can do.

    Raises:
        RunError: the run is of a boosted tree; or as `load_tagger`.
    """
    if isinstance(found := load_tagger(run), Tree):
        raise RunError(
            f"{run.path} is a boosted tree: it has no embedding and no network; give a finetune run of another model"
        )
    return found
