"""Low-rank adapters (LoRA, arXiv:2106.09685): a linear layer learns W + alpha / rank * A B instead of a new W.

B starts at zero, so that an adapted network is the one before until it is trained; merging adds the product to W, so
that it is an ordinary network after. Axes: I inputs, O outputs, K rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from foundation.errors import ConfigError
from foundation.models.layers import PairBias

ADAPTER = "lora_[ab]$"  # what the paths of an adapter's own parameters end in


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters.

    Attributes:
        pattern: regular expression searched in the path of the encoder's linear layers, e.g. `qkv$`; the default takes
            those of attention and feed-forward in every block.
        rank: of the change of a layer's matrix.
        alpha: the change is multiplied by alpha / rank.
    """

    pattern: str = "^blocks/"
    rank: int = 8
    alpha: float = 16.0


class Adapter(nnx.LoRA):
    """A linear layer (`base_module`, not trained) and its low-rank change."""

    def __init__(self, linear: nnx.Linear, config: LoraConfig, *, rngs: nnx.Rngs):
        sizes = (linear.in_features, config.rank, linear.out_features)
        super().__init__(*sizes, base_module=linear, dtype=linear.dtype, rngs=rngs)
        self.scale = config.alpha / config.rank

    def __call__(self, x: Float[Array, "*shape I"], **options: Any) -> Float[Array, "*shape O"]:
        x, a_IK, b_KO = self.promote_dtype((x, self.lora_a[...], self.lora_b[...]), dtype=self.dtype)
        return self.base_module(x, **options) + self.scale * (x @ a_IK @ b_KO)  # type: ignore[misc]

    def merged(self) -> nnx.Linear:
        """The linear layer with the change added to its matrix."""
        linear: Any = self.base_module
        change_IO = jax.numpy.matmul(self.lora_a[...], self.lora_b[...], precision="highest")
        linear.kernel[...] = linear.kernel[...] + self.scale * change_IO
        return linear


def add_adapters(model: nnx.Module, config: LoraConfig, *, rngs: nnx.Rngs) -> int:
    """Puts an adapter around every linear layer whose path the pattern matches. Returns how many there are.

    Raises:
        ConfigError: the rank or alpha cannot be, no layer matches, or one whose matrix is used without calling it.
    """
    if config.rank < 1 or config.alpha <= 0:
        raise ConfigError(f"lora.rank and lora.alpha must be positive; they are {config.rank} and {config.alpha}")
    layers = [found for found in _children(model, nnx.Linear) if not isinstance(found[1], Adapter)]
    chosen = [found for found in layers if re.search(config.pattern, found[0])]
    if not chosen:
        known = ", ".join(path for path, *_ in layers[:8])
        raise ConfigError(f"lora.pattern '{config.pattern}' matches no linear layer of the encoder; known: {known}")
    for path, parent, name, layer in chosen:
        if isinstance(parent, PairBias):
            raise ConfigError(f"lora.pattern '{config.pattern}' matches {path}, which takes no adapter")
        setattr(parent, name, Adapter(layer, config, rngs=rngs))
    return len(chosen)


def merge_adapters(model: nnx.Module) -> int:
    """Adds every adapter to the matrix of its layer, in place, and takes it out. Returns how many there were."""
    found = list(_children(model, Adapter))
    for _, parent, name, adapter in found:
        setattr(parent, name, adapter.merged())
    return len(found)


def _children(model: nnx.Module, kind: type) -> Iterator[tuple[str, nnx.Module, str, Any]]:
    """Path, parent, attribute and module of every submodule of a kind that is an attribute of another module."""
    modules = dict(nnx.iter_modules(model))
    for path, module in sorted(modules.items(), key=lambda each: tuple(map(str, each[0]))):
        parent = modules.get(path[:-1]) if path else None
        if isinstance(module, kind) and parent is not None and isinstance(path[-1], str):
            yield "/".join(map(str, path)), parent, str(path[-1]), module
