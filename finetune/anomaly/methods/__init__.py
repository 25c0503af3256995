"""The methods, by the name that `method:` gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flax import nnx

from finetune.anomaly.method import Method
from finetune.anomaly.methods.autoencoder import Autoencoder, AutoencoderConfig
from finetune.anomaly.methods.mahalanobis import Mahalanobis, MahalanobisConfig

Name = Literal["autoencoder", "mahalanobis"]


@dataclass(frozen=True)
class MethodsConfig:
    """Sizes and settings of each method; only those of the chosen one are used."""

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    mahalanobis: MahalanobisConfig = field(default_factory=MahalanobisConfig)


METHODS: dict[str, type[Method]] = {"autoencoder": Autoencoder, "mahalanobis": Mahalanobis}


def build_method(name: str, shape: tuple[int, ...], config: MethodsConfig, *, rngs: nnx.Rngs) -> Method:
    """An untrained method for crossings of a shape.

    Raises:
        ConfigError: the method cannot take this shape, or a size is impossible.
    """
    return METHODS[name](shape, getattr(config, name), rngs=rngs)  # type: ignore[call-arg]
