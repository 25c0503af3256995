"""`detfm embed`: the frozen embedding of every example of a split, as Parquet and ROOT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.saved import load_network
from foundation.command import Command
from foundation.embedding import embed as embed_split
from foundation.models import load_encoder
from foundation.models.published import STAGE, data_of
from foundation.runs import Run
from foundation.store import Store
from foundation.tables import row_columns, write_table


@dataclass(frozen=True)
class EmbedConfig:
    """What to embed.

    Attributes:
        splits: of the store; each gets its own file.
    """

    splits: tuple[str, ...] = ("test",)


def embed(
    run: str | Path, *, cfg: EmbedConfig, out: str | Path, store: str | Path | None = None, overwrite: bool = False
) -> Run:
    """Writes `SPLIT.parquet` and `SPLIT.root` with the columns `embedding`, `row`, the observers and the labels.

    Args:
        run: a pretrain or finetune run, or a published encoder.
        store: the data to embed, if not the run's own; of the same schema.

    Raises:
        RunError, DataError: a folder is not what it should be, or a split is not there.
    """
    origin = Run.open(run, "pretrain", "finetune", STAGE)
    data = Store.open(where := data_of(origin, store))
    encoder = load_network(origin).encoder if origin.stage == "finetune" else load_encoder(origin.path)
    for split in cfg.splits:
        data.length(split)  # refuses an unknown split before anything is written
    written = Run.create(
        out, "embed", config=cfg, schema=data.schema, inputs={"encoder": run, "store": where}, overwrite=overwrite
    )
    for split in cfg.splits:
        columns = row_columns(data, split)
        write_table(written.path, split, {"embedding": embed_split(encoder, data, split), **columns})
    written.write("metrics.json", {split: data.length(split) for split in cfg.splits})
    return written


COMMAND = Command(
    run=lambda args: embed(args.run, cfg=args.cfg, out=args.out, store=args.store, overwrite=args.overwrite),
    config=EmbedConfig,
    arguments=lambda parser: (
        parser.add_argument("run", help="a pretrain or finetune run, or a published encoder"),
        parser.add_argument("--store", help="the data, if not the run's own"),
        parser.add_argument("--out", default="runs/embed", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace an embed run at --out"),
    ),
    description="Writes the embedding of each example, row-aligned with its labels and observers, as Parquet and ROOT. "
    "Example: detfm embed runs/pretrain --cfg.splits '[train,test]' --out runs/embed",
)
