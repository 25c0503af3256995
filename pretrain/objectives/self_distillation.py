"""Self-distillation: the student's view of an example foretells what the momentum teacher makes of the other view.

DINO (arXiv:2104.14294) with the teacher's scores centred by Sinkhorn-Knopp (SwAV, arXiv:2006.09882; DINOv2,
arXiv:2304.07193) or by their mean. Both are functions of the global batch alone: no running centre, nothing to restore.
On jets: RINO (arXiv:2509.07486).

Axes: B batch, D width, P bottleneck width, K prototypes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.models import Encoder, EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.objectives.base import Objective, Pass
from pretrain.objectives.hiding import hide_tokens
from pretrain.objectives.projection import Projector, pair_weights, unit, weighted_mean

Centring = Literal["sinkhorn", "mean"]
NOTHING = -1e30  # log of no weight: finite, so that no difference of infinities arises


@dataclass(frozen=True)
class SelfDistillationConfig:
    """Self-distillation (DINO, arXiv:2104.14294). Needs `train.ema`, the teacher's momentum: 0.99 to 0.999.

    Attributes:
        weight: of this loss; 0 turns it off.
        prototypes: outputs of the head, among which teacher and student divide each example.
        projection: width of the bottleneck before them.
        temperature: of the student.
        teacher_temperature: below it, so that the target is sharper.
        centring: keeps the teacher from giving every example the same output: `sinkhorn` uses all prototypes equally
            over a batch, `mean` takes the batch's mean scores off.
        iterations: of Sinkhorn-Knopp.
        hide: fraction of the tokens that the student does not see in its first view, where the masked objective is off
            (which hides its own). The teacher sees all.
    """

    weight: float = 0.0
    prototypes: int = 256
    projection: int = 64
    temperature: float = 0.1
    teacher_temperature: float = 0.04
    centring: Centring = "sinkhorn"
    iterations: int = 3
    hide: float = 0.3


class SelfDistillation(Objective):
    """Cross-entropy between the teacher's output for one view and the student's for the other, both ways.

    Raises:
        ConfigError: temperatures or sizes that cannot be.
    """

    views = 2
    wants_teacher = True

    def __init__(
        self, schema: DetectorSchema, encoder: EncoderConfig, settings: SelfDistillationConfig, *, rngs: nnx.Rngs
    ):
        if not 0 < settings.teacher_temperature <= settings.temperature:
            raise ConfigError(
                f"self_distillation: teacher_temperature {settings.teacher_temperature} must be above 0 and at most "
                f"temperature {settings.temperature}, or the student would learn to be vaguer than it is"
            )
        if settings.prototypes < 2 or settings.iterations < 1 or not 0 <= settings.hide < 1:
            raise ConfigError(
                f"self_distillation: prototypes {settings.prototypes} (2 at least), iterations {settings.iterations} "
                f"(1 at least), hide {settings.hide} (0 to 1)"
            )
        self.temperature, self.teacher_temperature = settings.temperature, settings.teacher_temperature
        self.centring, self.iterations, self.fraction = settings.centring, settings.iterations, settings.hide
        self.projector = Projector(encoder.width, settings.projection, rngs=rngs)
        small = nnx.initializers.normal(1.0)
        self.prototypes = nnx.Param(small(rngs.params(), (settings.prototypes, settings.projection)))

    def hide(self, batch: TokenBatch, key: Array) -> tuple[TokenBatch, dict[str, Bool[Array, "B N"]]]:
        return hide_tokens(batch, self.fraction, key)

    def scores(self, pooled_BD: Float[Array, "B D"]) -> Float[Array, "B K"]:
        """Cosine of the projected embedding with each prototype."""
        return unit(self.projector(pooled_BD)) @ unit(self.prototypes[...]).T

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Without a teacher (where the averaged model is judged) the model is its own."""
        first, second = step.views
        weights = pair_weights(first, second)
        targets = self._targets(step, weights)
        foretold = [jax.nn.log_softmax(self.scores(v.encoded.pooled) / self.temperature) for v in step.views]
        losses = [-jnp.sum(targets[1 - i] * foretold[i], axis=1) for i in range(2)]
        each_B = (losses[0] + losses[1]) / 2
        said_BK = jnp.exp(foretold[1])
        return weighted_mean(each_B, weights), {
            "student_entropy": weighted_mean(_entropy(said_BK), weights),
            "teacher_entropy": weighted_mean(_entropy(targets[1]), weights),
            "prototypes_used": jnp.exp(_entropy(jax.vmap(weighted_mean, in_axes=(1, None))(said_BK, weights))),
        }

    def _targets(self, step: Pass, weights: Float[Array, " B"]) -> list[Float[Array, "B K"]]:
        """The teacher's output for the whole of each view, centred and sharpened."""
        model: Any = self if step.teacher is None else step.teacher.self_distillation
        encoder: Encoder = step.encoder if step.teacher is None else step.teacher.encoder
        both = jax.tree.map(lambda *a: jnp.concatenate(a), *(view.batch for view in step.views))
        scores = jnp.split(jax.lax.stop_gradient(model.scores(encoder(both).pooled)), 2)
        if self.centring == "sinkhorn":
            return [sinkhorn(x_BK, weights, self.teacher_temperature, self.iterations) for x_BK in scores]
        return [centred(x_BK, weights, self.teacher_temperature) for x_BK in scores]


def sinkhorn(
    scores_BK: Float[Array, "B K"], weights: Float[Array, " B"], temperature: float, iterations: int
) -> Float[Array, "B K"]:
    """exp(scores / temperature), scaled in turn so that all prototypes have equal weight and every row sums to 1.

    In logarithms. Rows of weight 0 change nothing for the others.
    """
    log_BK = scores_BK / temperature
    share_B1 = jnp.where(weights > 0, jnp.log(jnp.maximum(weights, 1e-30)), NOTHING)[:, None]
    for _ in range(iterations):
        log_BK -= jax.nn.logsumexp(log_BK + share_B1, axis=0, keepdims=True)
        log_BK -= jax.nn.logsumexp(log_BK, axis=1, keepdims=True)
    return jnp.exp(log_BK)


def centred(scores_BK: Float[Array, "B K"], weights: Float[Array, " B"], temperature: float) -> Float[Array, "B K"]:
    """Softmax of the scores minus their weighted mean over the rows."""
    share_B1 = (weights / jnp.maximum(jnp.sum(weights), 1e-6))[:, None]
    return jax.nn.softmax((scores_BK - jnp.sum(scores_BK * share_B1, axis=0)) / temperature)


def _entropy(probability_K: Float[Array, "... K"]) -> Float[Array, "..."]:
    return -jnp.sum(jax.scipy.special.xlogy(probability_K, probability_K), axis=-1)
