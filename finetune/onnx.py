"""`detfm onnx`: a tagger as ONNX and StableHLO for the high-level trigger, compared with JAX before it is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from finetune.deployed import Deployed, Port
from finetune.model import Tagger
from finetune.onnx_check import (
    Arrays,
    Run,
    batches,
    differences,
    jitted,
    latency,
    of_session,
    rows_to_check,
    session,
)
from finetune.onnx_graph import IR_VERSION, OPSET, to_onnx
from finetune.onnx_readme import cpp, readme
from finetune.saved import load_tagger
from finetune.stablehlo import PLATFORMS, run_alone, to_stablehlo
from foundation.command import Command
from foundation.errors import ConfigError, ToolError
from foundation.progress import console
from foundation.runs import Run as RunFolder
from foundation.runs import check_room
from foundation.store import Store

FILE, STABLEHLO, EXAMPLE, PROGRAM = "tagger.onnx", "tagger.stablehlo", "example.npz", "run.cpp"
EXAMPLES = 8  # in example.npz


@dataclass(frozen=True)
class OnnxConfig:
    """The export.

    Attributes:
        split: of the store, whose examples the files are compared with JAX on.
        rows: how many of them, every multiplicity that occurs among them; 0 means all.
        tolerance: largest difference allowed, |difference| / max(1, |value|); a file that differs more is not written.
        embedding: give the embedding as an output, too.
        stablehlo: write the StableHLO file, too.
        latency: batch sizes to measure the time of an example at.
    """

    split: str = "test"
    rows: int = 2000
    tolerance: float = 1e-4
    embedding: bool = False
    stablehlo: bool = True
    latency: tuple[int, ...] = (1, 64)


def export(
    run: str | Path, *, cfg: OnnxConfig, out: str | Path, store: str | Path | None = None, overwrite: bool = False
) -> RunFolder:
    """Writes tagger.onnx, tagger.stablehlo, README.md, run.cpp and examples of a finetune run.

    Args:
        store: whose examples to compare on, if not the run's own.

    Raises:
        RunError, DataError: a folder is not what it should be.
        ConfigError: a model that cannot be exported, or a setting out of range.
        ToolError: the extra `onnx` is missing, the model holds what it cannot convert, or a file differs from JAX; then
            nothing is written.
    """
    origin = RunFolder.open(run, "finetune")
    check_room(Path(out), "onnx", overwrite)
    where = Path(store) if store is not None else origin.input("store")
    data = Store.open(where)
    data.length(cfg.split)  # refuses an unknown split at once
    if cfg.tolerance <= 0 or any(size < 1 for size in cfg.latency):
        raise ConfigError("cfg.tolerance must be positive, and every batch size of cfg.latency 1 or more")
    tagger = load_tagger(origin)
    if not isinstance(tagger, Tagger):
        raise ConfigError(f"{origin.path} holds boosted trees; only networks are exported to ONNX")
    deployed = Deployed(in_float32(tagger), embedding=cfg.embedding)
    file, inputs, fixed = _converted(deployed, origin.path.name)
    rows = rows_to_check(data, cfg.split, cfg.rows)
    given, ours = list(batches(deployed, data, cfg.split, rows, fixed)), jitted(deployed)
    outputs = deployed.outputs
    theirs = of_session(session(file))
    figures: dict[str, Any] = {"onnx": {"opset": OPSET, "ir_version": IR_VERSION, "bytes": len(file)}}
    figures |= {"token_axis": "fixed" if fixed else "free", "split": cfg.split, "rows": len(rows)}
    figures["tolerance"] = cfg.tolerance
    figures |= _compared(ours, theirs, given, outputs, cfg.tolerance, fixed)
    figures["latency_us"] = latency({"onnxruntime": theirs, "jax": ours}, given[0], cfg.latency)
    hlo = None if not cfg.stablehlo or fixed else _stablehlo(deployed, ours, given, cfg.tolerance, figures)
    figures["packages"] = {name: version(name) for name in ("jax", "jax2onnx", "onnx", "onnxruntime")}
    written = RunFolder.create(
        out,
        "onnx",
        config=cfg,
        schema=data.schema,
        inputs={"finetune": origin.path, "store": where},
        overwrite=overwrite,
    )
    (written.path / FILE).write_bytes(file)
    if hlo is not None:
        (written.path / STABLEHLO).write_bytes(hlo)
    some = {name: array[:EXAMPLES] for name, array in given[0].items()}
    expected = {f"expected_{port.name}": found for port, found in zip(outputs, ours(some))}
    np.savez(written.path / EXAMPLE, allow_pickle=False, **some, **expected)
    (written.path / PROGRAM).write_text(cpp(inputs, outputs))
    (written.path / "README.md").write_text(readme(inputs, outputs, figures, origin.path.name))
    written.write("metrics.json", figures)
    return written


def in_float32(tagger: Tagger) -> Tagger:
    """The tagger with its arithmetic in float32: onnxruntime's CPU lacks bfloat16 for most operators."""
    for _, module in nnx.iter_modules(tagger):
        if getattr(module, "dtype", None) == jnp.bfloat16:
            vars(module)["dtype"] = jnp.dtype("float32")
    return tagger


def _converted(deployed: Deployed, name: str) -> tuple[bytes, tuple[Port, ...], dict[str, int] | None]:
    """The file, its inputs, and the tokens of each modality if their number could not be left free."""
    outputs = [port.name for port in deployed.outputs]
    ports, fixed = deployed.inputs, None
    try:
        file, names = to_onnx(deployed, {p.name: p.shape for p in ports}, outputs, name)
    except ToolError as error:
        if error.__cause__ is None or isinstance(error.__cause__, ImportError):
            raise
        console.print(f"onnx: {error}\n  trying with a fixed number of tokens", highlight=False)
        fixed = {n: modality.max_tokens for n, modality in deployed.schema.modalities.items()}
        ports = tuple(dataclasses.replace(p, shape=tuple(fixed.get(_modality(n), n) for n in p.shape)) for p in ports)
        file, names = to_onnx(deployed, {p.name: p.shape for p in ports}, outputs, name)
    return file, tuple(port for port in ports if port.name in names), fixed


def _modality(size: int | str) -> str:
    return size.removeprefix("n_") if isinstance(size, str) and size.startswith("n_") else ""


def _compared(
    ours: Run,
    theirs: Run,
    given: Sequence[Arrays],
    outputs: Sequence[Port],
    tolerance: float,
    fixed: dict[str, int] | None,
) -> dict[str, Any]:
    largest = differences(ours, theirs, given, [port.name for port in outputs], free=not fixed)
    refuse_different("ONNX", largest, tolerance)
    return {"largest_difference": largest}


def refuse_different(kind: str, largest: dict[str, float], tolerance: float) -> None:
    """Raises ToolError naming the output that differs most, if it differs too much."""
    worst = max(largest, key=lambda name: largest[name])
    if not largest[worst] <= tolerance:
        raise ToolError(
            f"the {kind} file differs from JAX: '{worst}' by {largest[worst]:.3g}, allowed is {tolerance:g}; "
            "nothing was written"
        )


def _stablehlo(
    deployed: Deployed, ours: Run, given: Sequence[Arrays], tolerance: float, figures: dict[str, Any]
) -> bytes:
    ports = deployed.inputs
    file = to_stablehlo(deployed, [port.shape for port in ports])
    arrays = {port.name: given[0][port.name] for port in ports}
    found, names = run_alone(file, arrays), [port.name for port in deployed.outputs]
    largest = differences(ours, lambda _: found, given[:1], names, free=False)
    refuse_different("StableHLO", largest, tolerance)
    figures["stablehlo"] = {"bytes": len(file), "platforms": list(PLATFORMS), "inputs": [p.name for p in ports]}
    figures["stablehlo"] |= {"rows": len(found[0]), "largest_difference": largest}
    return file


def _run(args: Any) -> None:
    written = export(args.run, cfg=args.cfg, out=args.out, store=args.store, overwrite=args.overwrite)
    found = written.read("metrics.json")
    worst = max(found["largest_difference"].values())
    print(f"{written.path / FILE}: opset {OPSET}, {found['onnx']['bytes']:,} bytes, {found['token_axis']} token axis")
    print(f"  equal to JAX on {found['rows']:,} examples: largest difference {worst:.1e}")
    for name, times in found["latency_us"].items():
        print(f"  {name}, one core: " + ", ".join(f"{value:g} us per example at {k}" for k, value in times.items()))


COMMAND = Command(
    run=_run,
    config=OnnxConfig,
    arguments=lambda parser: (
        parser.add_argument("run", help="a finetune run"),
        parser.add_argument("--store", help="examples to compare on, if not the run's own"),
        parser.add_argument("--out", default="runs/onnx", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace an onnx run at --out"),
    ),
    description="Writes a tagger as ONNX (standard operators, free number of examples and tokens) and as StableHLO, "
    "with a README on how to call them, after comparing both with JAX on real examples. Needs the extra `onnx`. "
    "Example: detfm onnx runs/finetune --out runs/onnx",
)
