"""Students of the shapes of CMS's anomaly triggers, through every target. See firmware.py.

Nobody trained them. The shapes are those of the presets `distill/axol1tl_vae` and `distill/cicada`, half of the weights
are pruned at random, the others have one or two signed digits; activations have the widths that a student begins with,
calibrated on the crossings that they are made with.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import jax.numpy as jnp
import numpy as np
from firmware_network import Figures

from distill_to_fpga.anomaly.distill import TRANSFORM
from distill_to_fpga.anomaly.transform import ScoreTransform
from distill_to_fpga.config import STUDENT, DistillRunConfig
from distill_to_fpga.estimate import estimate
from distill_to_fpga.export import ExportConfig, export
from distill_to_fpga.inputs import hardware_integers, hardware_layout
from distill_to_fpga.lower import lower
from distill_to_fpga.students import SCORE, Student, build_student, freeze, save_student, scaling_of
from distill_to_fpga.students.layers import Dense, leaves
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.verify import verify_export
from finetune.anomaly.config import AnomalyConfig, RowsConfig
from finetune.anomaly.saved import STAGE as ANOMALY
from foundation.command import load_config, to_dict
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest

CROSSINGS = 4000
QUICK = ("hls",)


@dataclass(frozen=True)
class Shape:
    """A preset of `detfm distill`, and the schema whose hardware types its inputs have."""

    preset: str
    schema: str


SHAPES = {
    "axol1tl": Shape("distill/axol1tl_vae", "data/axol1tl"),
    "cicada": Shape("distill/cicada", "data/l1calo_image"),
}


def through_targets(count: int, quick: bool, folder: Path) -> Figures:
    """Mismatches of each shape; prints a line for each target. Quick: of the first, through the C++ alone."""
    figures: Figures = {}
    for name, shape in list(SHAPES.items())[: 1 if quick else None]:
        origin = untrained(shape, folder / name)
        wanted = QUICK if quick else ("bundle",)
        cfg = ExportConfig(name=name, vectors=500, synthesis=not quick)
        start = time.perf_counter()
        made = export(origin.path, cfg=cfg, out=folder / name / "firmware", targets=wanted)
        exporting = time.perf_counter() - start
        result = verify_export(made.path, count=count)
        metrics = made.read("metrics.json")
        print(f"{name}: {metrics['nonzero_weights']:,} of {metrics['weights']:,} weights not zero; {', '.join(wanted)} "
              f"exported in {exporting:.1f} s{'' if quick else ', synthesis included'}")  # fmt: skip
        print(row("target", "vectors", "mismatches", "build s", "run s", "LUT", "Yosys"))
        for executor, wrong in result.mismatches.items():
            times = [f"{result.seconds.get(key, 0.0):.1f}" for key in (f"{executor} build", executor)]
            print(row(executor, f"{result.vectors:,}", f"{wrong:,}", *times, *luts(executor, metrics)))
        for executor, why in result.not_run.items():
            print(f"  {executor:<16} refused: {' '.join(why.split())}")
        figures[f"{name}_mismatches"] = sum(result.mismatches.values())
        figures[f"{name}_targets"] = sum(executor in TARGETS for executor in result.mismatches)
    return figures


def row(target: str, *cells: str) -> str:
    return f"  {target:<16}" + "".join(f"{cell:>11}" for cell in cells)


def luts(target: str, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """The network's estimate, and Yosys' count of a target's project that has one."""
    found = metrics.get("targets", {}).get(target)
    if found is None:
        return f"{metrics['luts']:,}" if target in TARGETS else "", ""
    counted = found["synthesis"]
    return f"{found['estimate']['luts']:,}", "" if counted is None else f"{counted['luts']:,}"


def untrained(shape: Shape, folder: Path) -> Run:
    """A distill run of random weights; with its store, and an anomaly run as its teacher, beside it."""
    cfg = load_config(DistillRunConfig, shape.preset)
    store = random_store(cfg, shape, folder)
    layout = hardware_layout(store.schema, cfg.modality, None, cfg.student.tokens)
    integers, _ = hardware_integers(store, layout, "train")
    made = build_student(cfg.student, *scaling_of(cfg.student, integers), classes=(), regressions=(SCORE,))
    made = freeze(pruned(made), integers)
    normal = AnomalyConfig(rows=RowsConfig(label="sample", classes=("data",)))
    teacher = Run.create(folder / "teacher", ANOMALY, config=normal, schema=store.schema, inputs={"store": store.path})
    inputs = {"teacher": teacher.path, "store": store.path}
    run = Run.create(
        folder / "student", "distill", config=cfg, schema=store.schema, inputs=inputs, seeds={"student": 0}
    )
    save_student(run.path / STUDENT, made, layout)
    run.write(TRANSFORM, to_dict(ScoreTransform.of(np.linspace(1, 9, 50), "log")))
    run.write("metrics.json", {"student": estimate(lower(made, layout)).to_dict()})
    return run


def pruned(student: Student, seed: int = 0) -> Student:
    """The student with no digit in half of its weights, one or two in the others."""
    rng = np.random.default_rng(seed)
    for layer in leaves(student.layers):
        if isinstance(layer, Dense):
            shape = layer.kernel_digits.shape
            digits = rng.integers(1, 2, shape, endpoint=True) * (rng.random(shape) < 0.5)
            layer.kernel_digits[...] = jnp.asarray(digits, jnp.float32)
    return student


def random_store(cfg: DistillRunConfig, shape: Shape, folder: Path) -> Store:
    """Crossings of falling spectra in the hardware types of a schema; every token is there."""
    kind = DetectorSchema.load(shape.schema).modalities[cfg.modality]
    rng = np.random.default_rng(0)
    columns, features = {"event": np.arange(CROSSINGS), "sample": np.zeros(CROSSINGS, int)}, {}
    for name, feature in kind.features.items():
        hardware = feature.hardware
        assert hardware is not None
        falling = rng.exponential((hardware.high - hardware.low) / 40, (CROSSINGS, cfg.student.tokens))
        level = rng.uniform(hardware.low, hardware.high, falling.shape) if name in ("eta", "phi") else falling
        columns[name] = np.clip(np.floor(level), hardware.low, hardware.high) * hardware.lsb
        features[name] = {"expression": name, "hardware": to_dict(hardware)}
    spec = {
        "name": "crossings",
        "modalities": {cfg.modality: {"max_tokens": cfg.student.tokens, "features": features}},
        "labels": {"sample": {"expression": "sample", "classes": {"data": 0, "signal": 1}}},
        "split": {"key": "event", "fractions": {"train": 0.5, "val": 0.2, "test": 0.3}},
    }
    arrays = {name: ak.from_regular(ak.from_numpy(v)) if v.ndim > 1 else v for name, v in columns.items()}
    folder.mkdir()
    ak.to_parquet(ak.zip(arrays, depth_limit=1), folder / "crossings.parquet")
    return Store.open(ingest([folder / "crossings.parquet"], schema=DetectorSchema.load(spec), out=folder / "store"))
