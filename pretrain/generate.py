"""`detfm generate`: a pretraining with next_token -> new examples, and how they compare with real ones.

Axes: n examples, G globals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import awkward as ak
import jax
import numpy as np
import uproot
from flax import nnx
from jaxtyping import Float

from foundation.batch import TokenBatch
from foundation.command import Command
from foundation.errors import ConfigError
from foundation.plots import save
from foundation.progress import progress
from foundation.runs import Run
from foundation.schema import DetectorSchema, Split
from foundation.store import Store
from pretrain.fidelity import distances, picture
from pretrain.generator import generate as sample
from pretrain.generator import load_generator
from pretrain.tokenizer import Tokenizer
from pretrain.tokenizer.measure import round_trip, sample_batches
from pretrain.tokenizer.observables import observables

STEM = "generated"


@dataclass(frozen=True)
class GenerateConfig:
    """What to generate.

    Attributes:
        count: examples.
        temperature: the logits are divided by it: below 1 closer to the likeliest; 0 takes that.
        top_k: each token is drawn from so many likeliest codes; 0: from all.
        batch: examples sampled together.
        real: at most so many real examples to compare with.
        seed: of the globals drawn and of the sampling.
    """

    count: int = 1000
    temperature: float = 1.0
    top_k: int = 0
    batch: int = 250
    real: int = 10000
    seed: int = 0


def generate(
    run: str | Path, *, cfg: GenerateConfig, out: str | Path, store: str | Path | None = None, overwrite: bool = False
) -> Run:
    """Samples examples from a generator and compares them with the real ones of the `val` split.

    An example starts from the globals of a real one, drawn with replacement from `val`; the tokens are generated.

    Writes `generated.root`, `generated.parquet` and `generated.yaml`, the schema by which `detfm ingest` reads either;
    metrics.json, the distances of `pretrain.fidelity`; and `observables.png`.

    Args:
        run: a pretrain run with the objective `next_token`.
        store: where the globals and the real examples come from, if not the run's own store.
        out: run folder to write.

    Raises:
        RunError, DataError, ConfigError: a folder is not what it should be, or a setting cannot be.
    """
    if cfg.count < 1 or cfg.batch < 1 or cfg.temperature < 0 or cfg.top_k < 0 or cfg.real < 2:
        raise ConfigError(f"count, batch and real must be positive, temperature and top_k not negative; got {cfg}")
    origin = Run.open(run, "pretrain")
    where = Path(store) if store is not None else origin.input("store")
    data, model = Store.open(where), load_generator(origin)
    written = Run.create(
        out,
        "generate",
        config=cfg,
        schema=data.schema,
        inputs={"generator": run, "store": where},
        seeds={"generate": cfg.seed},
        overwrite=overwrite,
    )
    globals_nG = _globals(data, cfg)
    longest = {name: int(data.tokens_lengths("train", name).max(initial=1)) for name in data.schema.modalities}
    made = []
    with progress("generate", cfg.count, "examples") as bar:
        for number, start in enumerate(range(0, cfg.count, cfg.batch)):
            rows = globals_nG[start : start + cfg.batch]
            padded = np.concatenate([rows, np.repeat(rows[:1], cfg.batch - len(rows), axis=0)])
            seed = int(np.random.SeedSequence([cfg.seed, number]).generate_state(1)[0])
            batch = sample(model, padded, seed, temperature=cfg.temperature, top_k=cfg.top_k, longest=longest)
            made.append(_first(batch, len(rows)))
            bar.advance(len(rows))
    columns = _columns(data.schema, made)
    _write(written.path, data.schema, columns)
    _compare(written, data, model.next_token.tokenizer, made, cfg)
    return written


def _globals(data: Store, cfg: GenerateConfig) -> Float[np.ndarray, "n G"]:
    rng = np.random.default_rng(cfg.seed)
    rows = rng.integers(0, data.length("val"), cfg.count)
    return np.concatenate([data.read("val", part).globals for part in np.array_split(rows, 1 + cfg.count // 1000)])


def _first(batch: TokenBatch, count: int) -> TokenBatch:
    return jax.tree.map(lambda values: np.asarray(values)[:count], batch)


def _columns(schema: DetectorSchema, made: Sequence[TokenBatch]) -> dict[str, Any]:
    """Column -> one value per example, or a list of varying length; named `MODALITY_FEATURE` and `global_NAME`."""
    globals_nG = np.concatenate([batch.globals for batch in made])
    found: dict[str, Any] = {f"global_{name}": globals_nG[:, i].copy() for i, name in enumerate(schema.globals)}
    for name, modality in schema.modalities.items():
        tokens = [batch.modalities[name] for batch in made]
        lengths = np.concatenate([each.mask.sum(axis=1) for each in tokens])
        values = np.concatenate([each.values[each.mask] for each in tokens])
        for i, feature in enumerate(modality.features):
            found[f"{name}_{feature}"] = ak.unflatten(values[:, i].copy(), lengths)
    return found


def _write(folder: Path, schema: DetectorSchema, columns: dict[str, Any]) -> None:
    """The table twice, and the schema that reads it: the same features, each from its column."""
    ak.to_parquet(ak.Array(columns), str(folder / f"{STEM}.parquet"))
    with uproot.recreate(folder / f"{STEM}.root") as file:
        file.mktree(STEM, {n: c.type.content if isinstance(c, ak.Array) else c.dtype for n, c in columns.items()})
        file[STEM].extend(columns)
    modalities = {
        name: replace(
            modality,
            features={f: replace(spec, expression=f"{name}_{f}") for f, spec in modality.features.items()},
            select="",
            order="",
            grid=None,
            max_tokens=modality.capacity,
        )
        for name, modality in schema.modalities.items()
    }
    reading = replace(
        schema,
        name=f"{schema.name}_generated",
        comment="what `detfm generate` wrote",
        tree=STEM,
        layout={},
        modalities=modalities,
        globals={name: replace(spec, expression=f"global_{name}") for name, spec in schema.globals.items()},
        labels={},
        weight="",
        observers={},
        split=Split(),
    )
    reading.check()
    reading.save(folder / f"{STEM}.yaml")


def _compare(run: Run, data: Store, tokenizer: Tokenizer, made: Sequence[TokenBatch], cfg: GenerateConfig) -> None:
    graph, state = nnx.split(tokenizer)
    trips = [(b, round_trip(state, b, graph=graph)) for b in sample_batches(data, "val", cfg.real, cfg.seed)]
    samples = {
        "real": _joined((trip[2], batch) for batch, trip in trips),
        "generated": _joined((observables(batch, data.schema), batch) for batch in made),
        "tokenised": _joined((trip[3], batch) for batch, trip in trips),
    }
    found: dict[str, Any] = {"generated": cfg.count, "real": len(next(iter(samples["real"].values())))}
    for name, real in samples["real"].items():
        found[name] = distances(samples["generated"][name], real, samples["tokenised"][name], cfg.seed)
    run.write("metrics.json", found)
    save(picture(samples, f"{data.schema.name}, val"), run.path / "observables.png")


def _joined(parts: Iterator[tuple[dict[str, Any], TokenBatch]]) -> dict[str, np.ndarray]:
    """The observables of all batches, without the rows that only fill them up."""
    rows = [{n: np.asarray(v)[np.asarray(batch.index) >= 0] for n, v in each.items()} for each, batch in parts]
    return {name: np.concatenate([row[name] for row in rows]).astype(np.float64) for name in rows[0]}


COMMAND = Command(
    run=lambda args: generate(args.run, cfg=args.cfg, out=args.out, store=args.store, overwrite=args.overwrite),
    config=GenerateConfig,
    arguments=lambda parser: (
        parser.add_argument("run", help="a pretrain run with the objective next_token"),
        parser.add_argument("--store", help="the real data, if not the run's own"),
        parser.add_argument("--out", default="runs/generate", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace a generate run at --out"),
    ),
    description="Samples new examples token by token, writes them as ROOT and Parquet with the schema that ingests "
    "them, and measures mass, pt and multiplicity against real ones. "
    "Example: detfm generate runs/next --cfg.count 2000 --out runs/generated",
)
