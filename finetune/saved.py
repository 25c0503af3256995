"""A tagger on disk, inside its run folder."""

from __future__ import annotations

from pathlib import Path

from flax import nnx

from finetune.model import FinetuneConfig, Tagger, Task
from foundation.checkpoint import load_model, save_model
from foundation.command import load_config, to_yaml
from foundation.models import EncoderConfig
from foundation.models.saved import CONFIG, blank_encoder
from foundation.runs import Run


def save_tagger(folder: Path, tagger: Tagger) -> None:
    """Writes a finished tagger into its run folder."""
    (folder / CONFIG).write_text(to_yaml(tagger.encoder.config))
    Run.open(folder).write("task.json", {"classes": tagger.task.classes})
    save_model(folder, tagger)


def load_tagger(run: Run) -> Tagger:
    """Reads the tagger of a finetune run.

    Raises:
        RunError, TrainingError: the run did not finish, or its parts do not fit.
    """
    schema, config = run.schema, run.config(FinetuneConfig)
    task = Task.resolve(schema, config.task, run.read("task.json")["classes"])
    encoder = blank_encoder(schema, load_config(EncoderConfig, run.path / CONFIG))
    tagger = Tagger(encoder, task, config, rngs=nnx.Rngs(0))
    load_model(run.path, tagger)
    return tagger
