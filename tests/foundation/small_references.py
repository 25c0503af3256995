"""Reference models so small that tests compile them in seconds."""

from __future__ import annotations

from foundation.models.references import (
    LorentzNetConfig,
    ParTConfig,
    ParticleNetConfig,
    PCNNConfig,
    PFNConfig,
    ReferencesConfig,
)

SMALL = ReferencesConfig(
    embed=6,
    pfn=PFNConfig(width=8, particle_layers=1, jet_layers=1),
    pcnn=PCNNConfig(channels=(4, 8, 8), units=1, hidden=8),
    particlenet=ParticleNetConfig(neighbours=3, channels=((4, 8), (8,))),
    part=ParTConfig(width=8, heads=2, layers=1, class_layers=1, hidden=2, embed=(4,), pairs=(4,)),
    lorentznet=LorentzNetConfig(width=6, layers=2, scalars=("charge",)),
)
