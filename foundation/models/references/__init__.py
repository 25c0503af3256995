"""The field's reference models as backbones, with the papers' sizes as defaults.

Each takes the batches of any schema that has what it needs and gives, as `Encoded.pooled`, the vector that the paper's
last linear layer takes: a linear head (`head.hidden = 0`) on top makes it the paper's model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flax import nnx

from foundation.models.backbone import Backbone
from foundation.models.encoder import StatisticsOf
from foundation.models.references.lorentznet import LorentzNet, LorentzNetConfig
from foundation.models.references.part import ParT, ParTConfig
from foundation.models.references.particlenet import ParticleNet, ParticleNetConfig
from foundation.models.references.pcnn import PCNN, PCNNConfig
from foundation.models.references.pfn import PFN, PFNConfig
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class ReferencesConfig:
    """Sizes of the reference models; the papers' by default.

    Attributes:
        embed: width of the linear embedding of each modality, where the schema has several.
        pfn: Particle Flow Network, a DeepSets model (arXiv:1810.05165).
        pcnn: one-dimensional ResNet over the particles by descending pt (arXiv:1902.08570).
        particlenet: edge convolutions over nearest neighbours (arXiv:1902.08570).
        part: Particle Transformer (arXiv:2202.03772), with pair features (`part`) and without (`part_plain`).
        lorentznet: Lorentz-equivariant messages (arXiv:2201.08187).
    """

    embed: int = 32
    pfn: PFNConfig = field(default_factory=PFNConfig)
    pcnn: PCNNConfig = field(default_factory=PCNNConfig)
    particlenet: ParticleNetConfig = field(default_factory=ParticleNetConfig)
    part: ParTConfig = field(default_factory=ParTConfig)
    lorentznet: LorentzNetConfig = field(default_factory=LorentzNetConfig)


Builder = Callable[[DetectorSchema, StatisticsOf, ReferencesConfig, nnx.Rngs], Backbone]
REFERENCES: dict[str, Builder] = {
    "pfn": lambda schema, statistics, c, rngs: PFN(schema, statistics, c.pfn, c.embed, rngs=rngs),
    "pcnn": lambda schema, statistics, c, rngs: PCNN(schema, statistics, c.pcnn, c.embed, rngs=rngs),
    "particlenet": lambda schema, statistics, c, rngs: ParticleNet(
        schema, statistics, c.particlenet, c.embed, rngs=rngs
    ),
    "part": lambda schema, statistics, c, rngs: ParT(schema, statistics, c.part, c.embed, rngs=rngs),
    "part_plain": lambda schema, statistics, c, rngs: ParT(
        schema, statistics, c.part, c.embed, with_pairs=False, rngs=rngs
    ),
    "lorentznet": lambda schema, statistics, c, rngs: LorentzNet(schema, statistics, c.lorentznet, rngs=rngs),
}


def build_reference(
    name: str, schema: DetectorSchema, statistics: StatisticsOf, config: ReferencesConfig, *, rngs: nnx.Rngs
) -> Backbone:
    """A fresh reference model.

    Args:
        name: one of `REFERENCES`.

    Raises:
        ConfigError: the schema lacks what the model needs, or a size is impossible.
    """
    return REFERENCES[name](schema, statistics, config, rngs)


__all__ = [
    "PCNN",
    "PFN",
    "REFERENCES",
    "LorentzNet",
    "LorentzNetConfig",
    "PCNNConfig",
    "PFNConfig",
    "ParT",
    "ParTConfig",
    "ParticleNet",
    "ParticleNetConfig",
    "ReferencesConfig",
    "build_reference",
]
