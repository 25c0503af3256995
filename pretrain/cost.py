"""What a step of pretraining costs, found without allocating the model: shapes are traced, nothing is computed.

Axes: B examples, N tokens, F features, G globals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.models.saved import blank_statistics
from foundation.schema import DetectorSchema
from foundation.step import wants_teacher
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer


@dataclass(frozen=True)
class Model:
    """A pretraining model as shapes alone.

    Attributes:
        graph: its static part.
        params: tree of `jax.ShapeDtypeStruct`, trained.
        fixed: the same of what is not trained.
        teacher: whether the loss also runs the averaged model.
        views: how often the encoder sees each example in a step.
    """

    graph: Any
    params: Any
    fixed: Any
    teacher: bool
    views: int

    @staticmethod
    def of(schema: DetectorSchema, config: PretrainConfig) -> Model:
        """Raises ConfigError as `Pretrainer` does."""
        labels = {f"label.{name}": (np.zeros(()), np.ones(())) for name in schema.regression_labels}
        statistics = blank_statistics(schema) | labels
        model = nnx.eval_shape(lambda: Pretrainer(schema, statistics, config, rngs=nnx.Rngs(0)))
        graph, *parts = nnx.split(model, nnx.Param, ...)
        params, fixed = parts
        views = max(getattr(model, name).views for name in model.objectives)
        return Model(graph, params, fixed, wants_teacher(model), views)

    def parameters(self, part: str = "") -> int:
        """How many numbers are trained; of one attribute of the model, or of all."""
        tree = self.params[part] if part else self.params
        return sum(int(leaf.size) for leaf in jax.tree.leaves(tree))

    def loss(self, params: Any, fixed: Any, batch: TokenBatch, key: jax.Array) -> tuple[jax.Array, Any]:
        model: Any = nnx.merge(self.graph, params, fixed)
        more = {"teacher": nnx.merge(self.graph, jax.lax.stop_gradient(params), fixed)} if self.teacher else {}
        return model.loss(batch, key, **more)


def batch_shape(schema: DetectorSchema, rows: int, lengths: Sequence[int]) -> TokenBatch:
    """A batch as shapes alone, with the labels that the schema has.

    Args:
        lengths: padded tokens of each modality, in schema order.
    """
    padded = dict(zip(schema.modalities, lengths, strict=True))
    modalities = {
        name: Tokens(_array((rows, padded[name], len(m.features))), _array((rows, padded[name]), "bool"))
        for name, m in schema.modalities.items()
    }
    labels = {}
    for name, label in schema.labels.items():
        more = ((padded[label.modality],) if label.modality else ()) + label.empty().shape[1:]
        labels[name] = _array((rows, *more), label.empty().dtype)
    weights, index = _array((rows,)), _array((rows,), "int32")
    return TokenBatch(modalities, _array((rows, len(schema.globals))), labels, weights, index)


def flops(model: Model, batch: TokenBatch) -> float:
    """Floating-point operations of the loss and its gradient, as XLA counts them in the lowered program."""
    gradient = jax.value_and_grad(model.loss, has_aux=True)
    lowered = jax.jit(gradient).lower(model.params, model.fixed, batch, _key())
    analysis: Any = lowered.cost_analysis()
    return float(analysis["flops"])


def rule_of_thumb(model: Model, batch: TokenBatch) -> float:
    """6 N D (arXiv:2001.08361, section 2.1): N parameters, D tokens that they act on, the summary tokens included."""
    tokens = batch.size * (1 + sum(t.mask.shape[1] for t in batch.modalities.values()))
    return 6.0 * model.parameters() * tokens * model.views


def kept_bytes(model: Model, batch: TokenBatch) -> int:
    """Bytes of intermediate values that the forward pass leaves to the backward pass (`remat` makes them fewer).

    The compiler fuses some of them away, so this is an upper estimate of the activations: on CPU by a fifth to a third.
    """

    def kept(params: Any, fixed: Any, rows: TokenBatch, key: jax.Array) -> Any:
        return jax.vjp(lambda p: model.loss(p, fixed, rows, key)[0], params)[1]

    program = jax.make_jaxpr(kept)(model.params, model.fixed, batch, _key()).jaxpr
    given = {id(variable) for variable in program.invars}
    values = {id(v): v.aval for v in program.outvars if not hasattr(v, "val") and id(v) not in given}
    return sum(int(np.prod(a.shape)) * a.dtype.itemsize for a in values.values())


def _array(shape: tuple[int, ...], dtype: Any = "float32") -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))


def _key() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))
