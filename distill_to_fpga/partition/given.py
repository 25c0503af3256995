"""Which network is to be divided: a run, a published encoder, a graph.json or the preset of a pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from distill_to_fpga.config import STUDENT
from distill_to_fpga.graph import FixedPointGraph, ops
from distill_to_fpga.lower import lower
from distill_to_fpga.manifest import GRAPH
from distill_to_fpga.partition.config import PartitionConfig
from distill_to_fpga.partition.costs import Costs
from distill_to_fpga.partition.encoder import encoder_network
from distill_to_fpga.partition.graphs import graph_network
from distill_to_fpga.partition.network import Network
from distill_to_fpga.project import PROJECT
from distill_to_fpga.students import load_student
from finetune.saved import SCHEMA as ENCODER_SCHEMA
from foundation.command import find_preset, load_config
from foundation.errors import RunError
from foundation.models import EncoderConfig
from foundation.models.published import STAGE as PUBLISHED
from foundation.models.saved import CONFIG
from foundation.runs import Run
from foundation.schema import DetectorSchema
from pretrain.config import PretrainConfig

STAGES = ("pretrain", "finetune", "distill", "export", PUBLISHED)


@dataclass(frozen=True)
class Given:
    """A network, the schema of its inputs, and what it was read from: role -> path."""

    network: Network
    schema: DetectorSchema
    inputs: Mapping[str, str | Path]


def read_network(source: str | Path, schema: str, cfg: PartitionConfig) -> Given:
    """The network that the user names.

    Args:
        source: a pretrain, finetune, distill or export run, a published encoder, a graph.json, or a preset such as
            `pretrain/500k`.
        schema: of a preset: tokens and features.

    Raises:
        RunError: a run of another stage, an unfinished one, or one of a model that is no encoder.
        ConfigError: neither a path nor a preset.
        GraphError: a damaged graph.
    """
    path = Path(source)
    if path.is_dir():
        return _of_run(Run.open(path, *STAGES), cfg)
    if path.suffix == ".json" and path.is_file():
        graph = FixedPointGraph.load(path)
        return Given(graph_network(graph, cfg.chip.clock_ns), _schema_of(graph), {"graph": path})
    preset = find_preset(path)
    encoder, read = load_config(PretrainConfig, preset).encoder, DetectorSchema.load(schema)
    return Given(_encoder(str(source), encoder, read, cfg), read, {"preset": preset})


def _of_run(run: Run, cfg: PartitionConfig) -> Given:
    if run.stage in ("distill", "export"):
        graph = lower(*load_student(run.path / STUDENT)) if run.stage == "distill" else _exported(run)
        return Given(graph_network(graph, cfg.chip.clock_ns), run.schema, {run.stage: run.path})
    if not (run.path / CONFIG).is_file():
        raise RunError(
            f"{run.path} holds no encoder (no {CONFIG}): its {run.stage} did not finish, or trained another model"
        )
    own = run.path / ENCODER_SCHEMA
    schema = DetectorSchema.load(own) if own.is_file() else run.schema
    encoder = load_config(EncoderConfig, run.path / CONFIG)
    return Given(_encoder(run.path.name, encoder, schema, cfg), schema, {"encoder": run.path})


def _exported(run: Run) -> FixedPointGraph:
    """The graph of an export run, whose projects all have the same."""
    found = next((run.path / PROJECT).glob(f"**/{GRAPH}"), None)
    if found is None:
        raise RunError(f"{run.path} holds no project, only bundles: give the {GRAPH} of one, or the distill run")
    return FixedPointGraph.load(found)


def _encoder(name: str, encoder: EncoderConfig, schema: DetectorSchema, cfg: PartitionConfig) -> Network:
    return encoder_network(name, encoder, schema, Costs(cfg.numbers, cfg.chip.clock_ns))


def _schema_of(graph: FixedPointGraph) -> DetectorSchema:
    """The ports of a graph without a run, named by place: a run's folder has a schema."""
    modalities = {}
    for node in graph.nodes:
        if isinstance(node.op, ops.Input):
            columns = range(node.op.shape[-1] if node.op.shape else 1)
            modalities[node.name] = {"features": {f"c{i}": {"expression": f"{node.name}_{i}"} for i in columns}}
    return DetectorSchema.load({"name": graph.name, "modalities": modalities})
