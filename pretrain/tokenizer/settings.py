"""The settings of a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from foundation.errors import ConfigError, close_names
from foundation.schema import DetectorSchema, Modality
from foundation.train import TrainConfig


@dataclass(frozen=True)
class VqvaeConfig:
    """Vector-quantised autoencoder (arXiv:1711.00937; for jets arXiv:2401.13537 and arXiv:2403.05618).

    Attributes:
        width: of the encoder and the decoder.
        layers: transformer blocks in each; 0 makes every token's code a function of that token alone.
        heads: of those blocks; divides width.
        code_width: numbers per code. Few keep the codebook in use (arXiv:2110.04627, section 3.2).
        commitment: weight of the loss that keeps the encoder's output near its code.
    """

    width: int = 64
    layers: int = 0
    heads: int = 4
    code_width: int = 4
    commitment: float = 0.25


@dataclass(frozen=True)
class TokenizerConfig:
    """A tokenizer: for each token one of so many codes, and back.

    Attributes:
        kind: `kmeans`: the codes are cluster centres of the standardised features; `vqvae`: learnt.
        codes: how many per modality.
        codes_of: modality -> number of codes, where it is another.
        features: modality -> the features that codes describe; all that are not recomputed from others if not named.
            Features not described are given back as their mean over the tokens of the code.
        rows: examples of the train split that k-means clusters and that codes are averaged over, and at most so many of
            the val split that the metrics are of.
        vqvae: sizes of a VQ-VAE.
        train: optimisation of a VQ-VAE; its seed is k-means' too.
        batch_tokens: budget of a batch: examples times padded length.
        buckets: number of padded lengths.
    """

    kind: Literal["kmeans", "vqvae"] = "kmeans"
    codes: int = 512
    codes_of: dict[str, int] = field(default_factory=dict)
    features: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 20000
    vqvae: VqvaeConfig = field(default_factory=VqvaeConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=2000, learning_rate=2e-3))
    batch_tokens: int = 8192
    buckets: int = 3

    def check(self, schema: DetectorSchema) -> None:
        """Raises ConfigError naming what this schema does not have, or a size that cannot be."""
        for where, names in (("codes_of", self.codes_of), ("features", self.features)):
            for name in names:
                if name not in schema.modalities:
                    hint = close_names(name, schema.modalities)
                    raise ConfigError(f"{where}: schema '{schema.name}' has no modality '{name}'; {hint}")
        for name, modality in schema.modalities.items():
            if self.size(name) < 2:
                raise ConfigError(f"codes of modality '{name}': {self.size(name)}; expected at least 2")
            for feature in self.features.get(name, []):
                if feature not in modality.features:
                    hint = close_names(feature, modality.features)
                    raise ConfigError(f"features: modality '{name}' has no feature '{feature}'; {hint}")
        if self.rows < 1:
            raise ConfigError(f"rows is {self.rows}; expected at least 1")
        if self.vqvae.layers and self.vqvae.width % self.vqvae.heads:
            raise ConfigError(f"vqvae.width {self.vqvae.width} is not a multiple of its {self.vqvae.heads} heads")

    def size(self, name: str) -> int:
        """Number of codes of a modality."""
        return self.codes_of.get(name, self.codes)

    def described(self, name: str, modality: Modality) -> tuple[int, ...]:
        """Places of the features that the codes of a modality describe."""
        chosen = self.features.get(name) or [n for n, f in modality.features.items() if not f.recompute]
        return tuple(i for i, feature in enumerate(modality.features) if feature in chosen)
