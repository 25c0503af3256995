"""What `detfm plan` promises is what the compiler and the model say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from few_jets import ingest_few
from flax import nnx

from foundation.batch import TokenBatch
from foundation.command import find_preset, load_config
from foundation.errors import ConfigError
from foundation.mesh import MeshConfig
from foundation.models import EncoderConfig
from foundation.schema import DetectorSchema
from foundation.store import Store
from pretrain.chips import CHIPS, find_chip
from pretrain.command import loader
from pretrain.config import PretrainConfig
from pretrain.cost import Model, batch_shape, flops, kept_bytes, rule_of_thumb
from pretrain.measure import _Timed
from pretrain.model import Pretrainer
from pretrain.plan import COMMAND, Shape, advice, make_plan, shapes_of

SCHEMA = DetectorSchema.load(find_preset("data/jets"))
SHAPES = (Shape(64, (24,), 0.25), Shape(48, (32,), 0.75))


def settings(width: int = 16, **encoder: object) -> PretrainConfig:
    base = load_config(PretrainConfig, "quickstart/pretrain")
    return replace(base, encoder=EncoderConfig(width=width, layers=2, heads=2, hidden=4, **encoder))  # type: ignore[arg-type]


def real(shape: TokenBatch) -> TokenBatch:
    return jax.tree.map(lambda a: np.ones(a.shape, a.dtype), shape)


def test_parameters_are_those_of_the_real_model() -> None:
    cfg = settings()
    sizes = {n: len(m.features) for n, m in SCHEMA.modalities.items()} | {"globals": len(SCHEMA.globals)}
    statistics = {n: (np.zeros(s), np.ones(s)) for n, s in sizes.items()}
    model = Pretrainer(SCHEMA, statistics, cfg, rngs=nnx.Rngs(0))
    planned = Model.of(SCHEMA, cfg)
    for part in ("encoder", "masked"):
        leaves = jax.tree.leaves(nnx.state(getattr(model, part), nnx.Param))
        assert planned.parameters(part) == sum(leaf.size for leaf in leaves)


@pytest.mark.slow
def test_activations_and_flops_are_those_of_the_compiled_gradient() -> None:
    model = Model.of(SCHEMA, settings())
    batch = batch_shape(SCHEMA, 64, (32,))
    gradient = jax.jit(jax.value_and_grad(model.loss, has_aux=True))
    key = jax.eval_shape(lambda: jax.random.key(0))
    compiled = gradient.lower(model.params, model.fixed, batch, key).compile()
    needed = compiled.memory_analysis().temp_size_in_bytes
    assert 0.5 * kept_bytes(model, batch) < needed < 1.1 * kept_bytes(model, batch), needed
    assert flops(model, batch) == pytest.approx(compiled.cost_analysis()["flops"], rel=0.05)


def test_flops_of_a_wide_model_follow_the_rule_of_thumb() -> None:
    model = Model.of(SCHEMA, settings(width=256))
    batch = batch_shape(SCHEMA, 16, (32,))
    assert flops(model, batch) == pytest.approx(rule_of_thumb(model, batch), rel=0.15)
    assert flops(model, batch_shape(SCHEMA, 32, (32,))) == pytest.approx(2 * flops(model, batch), rel=0.01)


def test_rematerialisation_keeps_less() -> None:
    batch = batch_shape(SCHEMA, 64, (32,))
    usual, less = (kept_bytes(Model.of(SCHEMA, settings(remat=remat)), batch) for remat in (False, True))
    assert less < 0.7 * usual


def test_memory_of_a_device_falls_as_it_should() -> None:
    cfg = settings()
    one = make_plan(SCHEMA, cfg, SHAPES, 1).memory
    four = make_plan(SCHEMA, cfg, SHAPES, 4).memory
    sharded = make_plan(SCHEMA, replace(cfg, train=replace(cfg.train, mesh=MeshConfig(-1, 4))), SHAPES, 4).memory
    assert one.gathered == one.average == 0
    assert one.optimiser == 2 * one.parameters == 2 * one.gradient
    assert four.parameters == one.parameters
    assert four.activations == pytest.approx(one.activations / 4, rel=0.05)
    assert (sharded.parameters, sharded.optimiser, sharded.gradient) == (
        one.parameters / 4,
        one.optimiser / 4,
        one.gradient / 4,
    )
    assert sharded.gathered == one.parameters
    assert sharded.activations == four.activations


def test_accumulation_and_moving_average_are_counted() -> None:
    cfg = settings()
    more = replace(cfg, train=replace(cfg.train, accumulate=4, ema=0.99))
    plain, planned = make_plan(SCHEMA, cfg, SHAPES, 1), make_plan(SCHEMA, more, SHAPES, 1)
    assert planned.flops == 4 * plain.flops
    assert planned.rows == 4 * plain.rows == 4 * (0.25 * 64 + 0.75 * 48)
    assert planned.memory.average == planned.memory.parameters
    assert planned.memory.gradient == 2 * plain.memory.gradient
    assert planned.memory.activations == plain.memory.activations


def test_a_mesh_that_does_not_fit_is_refused() -> None:
    cfg = settings()
    with pytest.raises(ConfigError, match="does not fit the 4 devices"):
        make_plan(SCHEMA, replace(cfg, train=replace(cfg.train, mesh=MeshConfig(3, 1))), SHAPES, 4)


def test_advice() -> None:
    cfg = settings()
    plan = make_plan(SCHEMA, cfg, SHAPES, 4)
    assert advice(plan, cfg, CHIPS["h100"], 4, needed=100.0, read=1000.0) == []
    small = replace(CHIPS["h100"], memory=plan.memory.total / 2)
    found = advice(plan, cfg, small, 4, needed=3000.0, read=1000.0)
    assert "encoder.remat true" in found[0]
    assert "train.mesh.fsdp 2" in found[0]
    assert "3 processes" in found[1]
    with pytest.raises(ConfigError, match="did you mean 'h100'"):
        find_chip("h10")


def test_shapes_are_the_loaders(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Store.open(ingest_few(sample, tmp_path) and tmp_path / "store")
    cfg = replace(settings(), buckets=2, batch_tokens=1024)
    batches = loader(data, "train", cfg)
    shapes = shapes_of(batches)
    assert sum(shape.share for shape in shapes) == pytest.approx(1)
    seen = [batches.batch_at(k) for k in range(batches.batches_per_epoch)]
    assert {(b.size, b.modalities["particles"].mask.shape[1]) for b in seen} == {(s.rows, *s.lengths) for s in shapes}
    mean = np.mean([batch.size for batch in seen])
    assert sum(shape.share * shape.rows for shape in shapes) == pytest.approx(mean)
    described = batch_shape(data.schema, *((s := shapes[0]).rows, s.lengths))
    same = next(b for b in seen if (b.size, b.modalities["particles"].mask.shape[1]) == (s.rows, *s.lengths))
    assert jax.tree.structure(described) == jax.tree.structure(same)
    for planned, found in zip(jax.tree.leaves(described), jax.tree.leaves(same)):
        assert (planned.shape, planned.dtype) == (found.shape, found.dtype)


def test_steps_that_compile_are_not_timed() -> None:
    timed = _Timed.__new__(_Timed)
    timed.times = [0.0, 10.0, 11.0, 21.0, 22.5, 23.5, 24.0, 25.0]
    timed.shapes = [(1,), (1,), (2,), (1,), (2,), (1,), (1,), (1,)]  # numbers 0 and 2 compile
    assert timed.seconds(1) == [1.0, 1.5, 1.0, 0.5, 1.0]
    assert timed.seconds(2) == [1.5]


def test_the_command_prints_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    COMMAND("plan", ["quickstart/pretrain", "--devices", "8", "--chip", "a100-80gb", "--cfg.train.steps", "1000"])
    said = capsys.readouterr().out
    for line in ("model", "memory", "FLOPs", "time", "loader"):
        assert f"\n{line}" in f"\n{said}"
    assert "for 1,000 steps" in said
    assert "to launch it" in said  # a small model on a large device
    COMMAND("plan", ["quickstart/pretrain", "--chip", "a100-80gb", "--cfg.batch_tokens", "8000000"])
    assert "at 30% of the 156 TFLOP/s of a100-80gb" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--store"):
        COMMAND("plan", ["quickstart/pretrain", "--measure", "5"])
