"""The model card of a published encoder: Markdown for people, every number from the run itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from foundation.models import Encoder, count_parameters
from foundation.page import format_value
from foundation.runs import Run, flatten, read_metrics

MOST_FILES = 20  # named in the card; provenance.json has them all
USE = (
    "A starting point for taggers and regressors on examples of the same kind (the features below, in these units), by "
    "fine-tuning or as a frozen embedding, and for further pretraining."
)
LIMITS = (
    "It was trained on the data named below and on nothing else: another detector, another simulation, other pile-up "
    "or another phase space change what the embedding means, so measure on data of your own before you rely on it. It "
    "has no classes and gives no calibrated probability. The figures below are of the validation split of its own "
    "training data, not of an independent benchmark."
)


def card(encoder: Encoder, metrics: Mapping[str, Any], provenance: Mapping[str, Any], origin: Run) -> str:
    """The text of README.md.

    Args:
        provenance: as `detfm publish` writes it.
        origin: the pretrain run, for its settings and the last numbers of its metrics.jsonl.
    """
    said, data, name = provenance["card"], provenance["data"], provenance["name"]
    sizes = encoder.config
    facts = {
        "parameters": f"{count_parameters(encoder):,}",
        "embedding": f"{sizes.width} numbers per example",
        "network": f"linear layers of {', '.join(map(str, sizes.flat))}"
        if sizes.flat
        else f"transformer of {sizes.layers} layers, width {sizes.width}, {sizes.heads} heads",
        "pair features": format_value(sizes.pair_features),
        "schema": encoder.schema.name,
        "detfm": provenance["detfm"],
        "trained": provenance["created"],
        "authors": ", ".join(said["authors"]) or "not stated",
        "licence": said["licence"] or "not stated",
    }
    parts = [
        f"# {name}",
        said["description"] or f"An encoder of `{encoder.schema.name}` examples, pretrained with detfm.",
        table(["", ""], facts.items()),
        "## How to use",
        _commands(),
        "## Intended use",
        said["intended_use"] or USE,
        "## Limits",
        "\n\n".join(filter(None, (said["limits"], LIMITS))),
        "## Inputs",
        _inputs(encoder),
        "## Training data",
        _data(data, said["data_licence"], encoder.schema.comment),
        "## Training",
        _training(origin, provenance),
        "## Figures",
        table(["figure", "value"], _figures(metrics, origin).items()),
        "## Licence",
        said["licence"] or "None is stated, so nobody but its authors may use these weights. Ask them.",
        "## Files",
        "`provenance.json` holds the SHA-256 of every other file and its own; detfm compares them at each load and "
        "names a file that differs. `weights.npz` is numpy's own format: `numpy.load` reads it, without detfm.",
    ]
    return "\n\n".join(parts) + "\n"


def without_folders(command: str) -> str:
    """A command as typed, absolute paths cut to their last part: the card is for other machines."""
    words = [Path(word).name if word.startswith(("/", "~")) else word for word in shlex.split(command)]
    return shlex.join(words)


def table(header: Sequence[str], rows: Any) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(
        [*lines, *("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)]
    )


def _commands() -> str:
    lines = [
        "detfm finetune FOLDER --store STORE --out runs/tagger   # a tagger on your labels",
        "detfm embed FOLDER --store STORE --out runs/embedding   # the frozen embedding, as Parquet and ROOT",
        "detfm pretrain STORE --start FOLDER --out runs/more     # go on without labels, on your data",
    ]
    text = "`FOLDER` is this folder; `STORE` is made by `detfm ingest FILES --schema FOLDER/schema.yaml`."
    python = (
        "from pathlib import Path\nfrom foundation.models import load_encoder\nencoder = load_encoder(Path('FOLDER'))"
    )
    return f"{text}\n\n```sh\n" + "\n".join(lines) + f"\n```\n\n```python\n{python}\n```"


def _inputs(encoder: Encoder) -> str:
    parts = []
    for name, modality in encoder.schema.modalities.items():
        rows = [[f"`{n}`", f.unit or "–", f.transform, f"`{f.expression}`"] for n, f in modality.features.items()]
        parts += [
            f"**{name}**, at most {modality.capacity} tokens",
            table(["feature", "unit", "transform", "from"], rows),
        ]
    if encoder.schema.globals:
        rows = [[f"`{n}`", f.unit or "–", f.transform, f"`{f.expression}`"] for n, f in encoder.schema.globals.items()]
        parts += ["**the example**", table(["feature", "unit", "transform", "from"], rows)]
    return "\n\n".join(parts)


def _data(data: Mapping[str, Any], licence: str, comment: str) -> str:
    parts = [comment] if comment else []
    parts += [f"Store `{data['store']}`, SHA-256 of its manifest `{data['sha256']}`. Licence of the data: "]
    parts[-1] += f"{licence or 'not stated'}."
    if "splits" not in data:
        return "\n\n".join([*parts, "The store was not at hand when the encoder was published."])
    rows = [
        [
            n,
            f"{split['rows']:,}",
            ", ".join(f"{k.split('.')[-1]} {v:,}" for k, v in flatten(split["classes"]).items() if v),
        ]
        for n, split in data["splits"].items()
    ]
    parts += [table(["split", "examples", "classes (not used unless an objective says so)"], rows)]
    files = [[f"`{f['path']}`", f"{f['rows']['written']:,}", f"`{f['sha256']}`"] for f in data["sources"][:MOST_FILES]]
    parts += [table(["file", "examples", "SHA-256"], files)]
    more = len(data["sources"]) - MOST_FILES
    return "\n\n".join([*parts, *([f"and {more} more, in `provenance.json`"] if more > 0 else [])])


def _training(origin: Run, provenance: Mapping[str, Any]) -> str:
    settings = yaml.safe_load((origin.path / "config.yaml").read_text())
    objectives = {n: s["weight"] for n, s in settings.items() if isinstance(s, dict) and s.get("weight")}
    augmented = settings.get("augment", {})
    acting = [n for n, s in augmented.items() if isinstance(s, dict) and s.get("probability")]
    train = settings["train"]
    rows = {
        "objectives (weight)": ", ".join(f"{name} ({weight:g})" for name, weight in objectives.items()),
        "augmentations": ", ".join(acting) or "none",
        "steps": f"{train['steps']:,}",
        "padded tokens in a batch": f"{settings['batch_tokens']:,}",
        "learning rate": train["learning_rate"],
        "seed": train["seed"],
        "command": f"`{provenance['command']}`",
        "commit": provenance["training"]["git_commit"] or "not known",
        "machine": provenance["training"]["machine"],
        "packages": ", ".join(f"{n} {v}" for n, v in provenance["training"]["packages"].items()),
    }
    return table(["", ""], rows.items()) + "\n\nAll settings are in `config.yaml`."


def _figures(metrics: Mapping[str, Any], origin: Run) -> dict[str, str]:
    """The run's final figures, then the last value of each loss."""
    path = origin.path / "metrics.jsonl"
    lines = read_metrics(path) if path.is_file() else []
    losses = {name: value for line in lines for name, value in line.items() if name == "loss" or "loss/" in name}
    found = {n: v for n, v in {**flatten(dict(metrics)), **losses}.items() if isinstance(v, (int, float))}
    return {name.replace("_", " "): format_value(value) for name, value in found.items()}
