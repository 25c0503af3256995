"""`detfm plan`: what a pretraining will need, before a job is queued: memory, FLOPs, time, loader rate.

Nothing of the model is allocated (`pretrain.cost`). Memory is counted for each device:

- parameters, optimiser state (two float32 each, AdamW) and moving average: split over `train.mesh.fsdp` devices;
- gradient: the same, twice with accumulation; and with fsdp the whole parameters (and teacher) while a step needs them;
- activations: what the forward pass keeps for the backward pass, of this device's rows of the largest batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from foundation.command import Command, find_preset
from foundation.errors import ConfigError
from foundation.loader import Loader
from foundation.mesh import mesh_shape
from foundation.schema import DetectorSchema
from foundation.store import Store
from pretrain.chips import CHIPS, HERE, Chip, find_chip
from pretrain.command import loader as loader_of
from pretrain.config import PretrainConfig
from pretrain.cost import Model, batch_shape, flops, kept_bytes, rule_of_thumb
from pretrain.measure import measured_step, read_rate

FLOAT = 4  # bytes of a parameter, whatever the precision of the arithmetic
UTILISATION = 0.3
LEAST_SECONDS = 2e-3  # of a small step: launching its thousand kernels takes longer than running them


@dataclass(frozen=True)
class Memory:
    """Bytes on each device."""

    parameters: float
    optimiser: float
    average: float
    gradient: float
    gathered: float
    activations: float

    @property
    def total(self) -> float:
        return sum(self.__dict__.values())


@dataclass(frozen=True)
class Shape:
    """A padded shape of batches: rows of a global batch, tokens of each modality, share of the batches."""

    rows: int
    lengths: tuple[int, ...]
    share: float


@dataclass(frozen=True)
class Plan:
    """What a pretraining needs. Bytes, FLOPs and rows are of one optimiser step; see the module for `memory`."""

    parameters: dict[str, int]
    shapes: tuple[Shape, ...]
    memory: Memory
    flops: float
    rule: float
    rows: float


def make_plan(schema: DetectorSchema, cfg: PretrainConfig, shapes: Sequence[Shape], devices: int) -> Plan:
    """
    Args:
        shapes: of the global batches.
        devices: that share the work.

    Raises:
        ConfigError: the mesh does not fit the devices, or a setting of the model is impossible.
    """
    _, fsdp = mesh_shape(cfg.train.mesh, devices)
    model = Model.of(schema, cfg)
    counted = Model.of(schema, replace(cfg, encoder=replace(cfg.encoder, remat=False)))  # work done twice counts once
    batches = [batch_shape(schema, shape.rows, shape.lengths) for shape in shapes]
    largest = max(shapes, key=lambda shape: shape.rows * sum(shape.lengths))
    own = batch_shape(schema, _share(largest.rows, devices), largest.lengths)
    whole = model.parameters() * FLOAT
    accumulate, averages = cfg.train.accumulate, bool(cfg.train.ema)
    memory = Memory(
        parameters=whole / fsdp,
        optimiser=2 * whole / fsdp,
        average=averages * whole / fsdp,
        gradient=(1 + (accumulate > 1)) * whole / fsdp,
        gathered=(1 + model.teacher) * whole * (fsdp > 1),
        activations=kept_bytes(model, own),
    )
    return Plan(
        parameters={part: model.parameters(part) for part in model.params},
        shapes=tuple(shapes),
        memory=memory,
        flops=accumulate * sum(s.share * flops(counted, b) for s, b in zip(shapes, batches)),
        rule=accumulate * sum(s.share * rule_of_thumb(model, b) for s, b in zip(shapes, batches)),
        rows=accumulate * sum(shape.share * shape.rows for shape in shapes),
    )


def _share(rows: int, devices: int) -> int:
    """Rows of a device: an even number, as training fills it up."""
    return 2 * -(-rows // (2 * devices))


def shapes_of(loader: Loader) -> tuple[Shape, ...]:
    """The padded shapes of a loader's batches."""
    buckets = loader.plan.buckets
    return tuple(Shape(b.shape.size, tuple(b.shape.lengths), b.batches / loader.batches_per_epoch) for b in buckets)


def full_shape(schema: DetectorSchema, cfg: PretrainConfig) -> tuple[Shape, ...]:
    """The one shape that can be told without data: every modality at its capacity."""
    lengths = tuple(m.capacity for m in schema.modalities.values())
    return (Shape(max(cfg.batch_tokens // sum(lengths), 1), lengths, 1.0),)


def describe(plan: Plan, cfg: PretrainConfig, chip: Chip, devices: int, seconds: float, how: str) -> str:
    """The plan as text.

    Args:
        seconds: of a step.
        how: they were found.
    """
    memory, most, steps = plan.memory, chip.memory, cfg.train.steps
    parts = {name: value for name, value in memory.__dict__.items() if value}
    room = f" of {_bytes(most)}" if most else ""
    shapes = "; ".join(f"{s.rows:,} x {'+'.join(map(str, s.lengths))} tokens ({s.share:.0%})" for s in plan.shapes)
    lines = {
        "model": f"{_count(sum(plan.parameters.values()))} parameters: "
        + ", ".join(f"{name} {_count(value)}" for name, value in plan.parameters.items()),
        "batches": f"{shapes}; {plan.rows:,.0f} rows a step",
        "memory": f"{_bytes(memory.total)}{room} on each device: "
        + ", ".join(f"{name} {_bytes(value)}" for name, value in parts.items()),
        "FLOPs": f"{plan.flops:.3g} a step ({plan.flops / plan.rule:.2f} x 6ND), {plan.flops * steps:.3g} in all",
        "time": f"{_seconds(seconds)} a step {how}; {_seconds(seconds * steps)} for {steps:,} steps",
        "loader": f"{plan.rows / seconds:,.0f} rows/s needed, {plan.rows / seconds / devices:,.0f} for each device",
    }
    return "\n".join(f"{name:<8} {text}" for name, text in lines.items())


def advice(plan: Plan, cfg: PretrainConfig, chip: Chip, devices: int, needed: float, read: float | None) -> list[str]:
    """What to change so that it fits: memory, and the loader's rate (rows/s, all devices together)."""
    found = []
    memory = plan.memory
    if chip.memory and memory.total > 0.9 * chip.memory:
        ways = []
        if memory.activations > 0.3 * memory.total:
            ways += ["encoder.remat true", f"batch_tokens {cfg.batch_tokens // 2} with train.accumulate doubled"]
        if mesh_shape(cfg.train.mesh, devices)[1] < devices:
            ways.append(f"train.mesh.fsdp {min(devices, 2 * mesh_shape(cfg.train.mesh, devices)[1])}")
        found.append(
            f"does not fit in {_bytes(chip.memory)}; try {' or '.join(ways) or 'a smaller model or more devices'}"
        )
    if read is not None and read < needed:
        found.append(
            f"a process here reads {read:,.0f} rows/s, {needed:,.0f} are needed: the loader sets the pace unless "
            f"{-(-needed // read):.0f} processes (tasks) share the work"
        )
    return found


def _count(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    return f"{_count(number)}B" if number >= 1e3 else f"{number:.0f} B"


def _seconds(number: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if number >= 2 * size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.3g} s"


@dataclass(frozen=True)
class _Plan(Command):
    """`detfm plan CONFIG` is short for `detfm plan --cfg CONFIG`."""

    def __call__(self, name: str, argv: Sequence[str]) -> Any:
        named = ["--cfg", *argv] if argv and not argv[0].startswith("-") else list(argv)
        return super().__call__(name, named)


def run(args: Any) -> None:
    """Prints the plan of a pretraining."""
    cfg, devices = args.cfg, args.devices
    chip = find_chip(args.chip)
    if args.store is None and args.measure:
        raise ConfigError("--measure trains for some steps and needs a --store")
    if args.store is None:
        schema = DetectorSchema.load(find_preset(args.schema))
        loader, shapes = None, full_shape(schema, cfg)
    else:
        store = Store.open(args.store)
        schema, loader = store.schema, loader_of(store, "train", cfg)
        shapes = shapes_of(loader)
    plan = make_plan(schema, cfg, shapes, devices)
    if args.measure and loader is not None:
        seconds, how = measured_step(store, cfg, loader, args.measure), "measured here"
    else:
        peak = chip.peak(cfg.encoder.precision)
        busy = plan.flops / devices / (args.utilisation * peak)
        seconds = max(busy, cfg.train.accumulate * LEAST_SECONDS)
        how = f"at {args.utilisation:.0%} of the {peak / 1e12:.3g} TFLOP/s of {chip.name}"
        how = "to launch it, the device mostly idle" if busy < seconds else how
    print(describe(plan, cfg, chip, devices, seconds, how))
    read = None if loader is None else read_rate(loader)
    if read is not None:
        print(f"         {read:,.0f} rows/s can be read here by one process")
    for line in advice(plan, cfg, chip, devices, plan.rows / seconds, read):
        print(f"change   {line}")


COMMAND = _Plan(
    run=run,
    config=PretrainConfig,
    arguments=lambda parser: (
        parser.add_argument("--devices", type=int, default=1, help="how many share the work"),
        parser.add_argument("--chip", default="h100", help=f"what they are: {', '.join([*CHIPS, HERE])} (measured)"),
        parser.add_argument("--utilisation", type=float, default=UTILISATION, help="share of the peak to count on"),
        parser.add_argument(
            "--store", help="folder written by `detfm ingest`: its padded shapes and its loader's rate"
        ),
        parser.add_argument("--schema", default="data/jets", help="without a store: modalities at full capacity"),
        parser.add_argument("--measure", type=int, default=0, help="time so many real steps on this machine"),
    ),
    description="Says, before a job is queued, what a pretraining needs: parameters, memory of each device, FLOPs, "
    "time, loader rate. The model is not allocated. `detfm plan CONFIG` is short for `detfm plan --cfg CONFIG`. "
    "Example: detfm plan quickstart/pretrain --devices 8 --chip a100-80gb --store stores/jets",
)
