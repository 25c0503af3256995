"""The methods, by the name that `method:` gives; what each can and cannot do: docs/anomaly-methods.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flax import nnx

from finetune.anomaly.method import Method
from finetune.anomaly.methods.autoencoder import Autoencoder, AutoencoderConfig
from finetune.anomaly.methods.conv_autoencoder import ConvAutoencoder, ConvAutoencoderConfig
from finetune.anomaly.methods.flow import Flow, FlowConfig
from finetune.anomaly.methods.isolation_forest import IsolationForest, IsolationForestConfig
from finetune.anomaly.methods.knn import KNN, KNNConfig
from finetune.anomaly.methods.mahalanobis import Mahalanobis, MahalanobisConfig
from finetune.anomaly.methods.nae import NAE, NAEConfig
from finetune.anomaly.methods.svdd import SVDD, SVDDConfig
from finetune.anomaly.methods.vae import VAE, VAEConfig

Name = Literal[
    "autoencoder",
    "conv_autoencoder",
    "vae",
    "nae",
    "svdd",
    "mahalanobis",
    "knn",
    "flow",
    "isolation_forest",
]


@dataclass(frozen=True)
class MethodsConfig:
    """Sizes and settings of each method; only those of the chosen one are used."""

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    conv_autoencoder: ConvAutoencoderConfig = field(default_factory=ConvAutoencoderConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    nae: NAEConfig = field(default_factory=NAEConfig)
    svdd: SVDDConfig = field(default_factory=SVDDConfig)
    mahalanobis: MahalanobisConfig = field(default_factory=MahalanobisConfig)
    knn: KNNConfig = field(default_factory=KNNConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    isolation_forest: IsolationForestConfig = field(default_factory=IsolationForestConfig)


METHODS: dict[str, type[Method]] = {
    "autoencoder": Autoencoder,
    "conv_autoencoder": ConvAutoencoder,
    "vae": VAE,
    "nae": NAE,
    "svdd": SVDD,
    "mahalanobis": Mahalanobis,
    "knn": KNN,
    "flow": Flow,
    "isolation_forest": IsolationForest,
}


def build_method(name: str, shape: tuple[int, ...], config: MethodsConfig, *, rngs: nnx.Rngs) -> Method:
    """An untrained method for crossings of a shape.

    Raises:
        ConfigError: the method cannot take this shape, or a size is impossible.
    """
    return METHODS[name](shape, getattr(config, name), rngs=rngs)  # type: ignore[call-arg]
