"""`detfm publish`: a pretrain run -> one folder with the encoder and its model card, for others to start from."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.command import Command, to_dict, to_yaml
from foundation.errors import ConfigError, RunError
from foundation.models import load_encoder
from foundation.models.published import STAGE, check_files, seal, write_weights
from foundation.models.saved import CONFIG
from foundation.progress import console
from foundation.runs import Run, check_room
from foundation.store import Store
from pretrain.model_card import card, without_folders

KEPT = ("metrics.json", "metrics.jsonl")  # of the run; not its report, which names folders of this machine


@dataclass(frozen=True)
class PublishConfig:
    """What the model card says beside what the run knows.

    Attributes:
        name: of the encoder; empty: the run's folder.
        description: a sentence or two.
        licence: of the weights, an SPDX name such as Apache-2.0 or CC-BY-4.0; empty: the card says that none is stated.
        data_licence: under which the training data may be used.
        authors: who to credit and ask.
        intended_use: empty: what any encoder of this kind is for.
        limits: known limits, beside those that follow from the training itself.
    """

    name: str = ""
    description: str = ""
    licence: str = ""
    data_licence: str = ""
    authors: tuple[str, ...] = ()
    intended_use: str = ""
    limits: str = ""


def publish(run: str | Path, *, cfg: PublishConfig, out: str | Path, overwrite: bool = False) -> Run:
    """Packs the encoder of a finished pretrain run.

    Args:
        out: folder to write; whole or not at all.
        overwrite: replace an encoder published at `out`.

    Raises:
        RunError: not a pretrain run, one that has not finished, or `out` may not be written.
        ConfigError: `out` is inside the run.
    """
    origin = Run.open(run, "pretrain")
    metrics = origin.read("metrics.json")  # written last: a run without it has not finished
    encoder = load_encoder(origin.path)
    out = Path(out)
    if out.resolve().is_relative_to(origin.path.resolve()):
        raise ConfigError(f"--out {out} is inside the run that is published; name a folder beside it")
    check_room(out, STAGE, overwrite)
    folder = out.with_name(f".{out.name}.writing")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in KEPT:
        if (origin.path / name).is_file():
            shutil.copyfile(origin.path / name, folder / name)
    for name in ("config.yaml", "schema.yaml"):
        shutil.copyfile(origin.path / name, folder / name)
    (folder / CONFIG).write_text(to_yaml(encoder.config))
    write_weights(folder, encoder)
    provenance = _provenance(origin, cfg)
    (folder / "README.md").write_text(card(encoder, metrics, provenance, origin))
    seal(folder, provenance)
    check_files(folder)
    if out.exists():
        shutil.rmtree(out)
    folder.rename(out)
    if not cfg.licence:
        console.print(
            "no licence is stated: nobody may use the weights. --cfg.licence Apache-2.0, say", highlight=False
        )
    return Run(out, STAGE)


def _provenance(origin: Run, cfg: PublishConfig) -> dict[str, Any]:
    """What the run knows of how it was made, and of its data; no path of this machine."""
    before = origin.provenance
    kept = ("detfm", "created", "python", "machine", "packages", "git_commit", "seeds")
    training = {name: before.get(name) for name in kept}
    return {
        "stage": STAGE,
        "name": cfg.name or origin.path.resolve().name,
        "detfm": before["detfm"],
        "created": before["created"],
        "command": without_folders(before["command"]),
        "inputs": {},
        "card": to_dict(dataclasses.replace(cfg, name="")),
        "training": training,
        "data": _data(origin),
    }


def _data(origin: Run) -> dict[str, Any]:
    """Of the store: its checksum, and, where it is still there, rows, classes and source files (names only)."""
    recorded = origin.provenance["inputs"]["store"]
    found: dict[str, Any] = {"store": Path(recorded["path"]).name, "sha256": recorded["sha256"]}
    try:
        store = Store.open(origin.input("store"))
    except RunError:
        return found
    if store.checksum != recorded["sha256"]:  # another store by now
        return found
    sources = [{**each, "path": Path(str(each["path"])).name} for each in store.sources()]
    splits = {n: {"rows": s["rows"], "classes": s.get("classes", {})} for n, s in store.manifest["splits"].items()}
    return found | {"splits": splits, "sources": sources}


COMMAND = Command(
    run=lambda args: publish(args.run, cfg=args.cfg, out=args.out, overwrite=args.overwrite),
    config=PublishConfig,
    arguments=lambda parser: (
        parser.add_argument("run", help="a finished pretrain run"),
        parser.add_argument("--out", default="published", help="folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace an encoder published at --out"),
    ),
    description="Packs the encoder of a pretrain run into one folder (weights, schema, settings, card, checksums), "
    "which finetune, embed and pretrain --start take in place of a run. "
    "Example: detfm publish runs/pretrain --cfg.licence Apache-2.0 --out jets-encoder",
)
