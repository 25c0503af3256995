"""Which augmentations act: the settings of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from pretrain.augment.settings import (
    DeadCells,
    DeadRegion,
    Dropout,
    EtaFlip,
    ModalityDropout,
    PhiRotation,
    Pileup,
    Rotation,
    Scale,
    Smearing,
    Soft,
    Splitting,
    Translation,
    Vertex,
)


@dataclass(frozen=True)
class AugmentConfig:
    """Which augmentations act, and how strongly. Probability 0 switches one off.

    Attributes:
        splitting: collinear splitting.
        soft: soft radiation.
        pileup: tokens of other collisions.
        vertex: collision elsewhere along the beam.
        smearing: finite resolution.
        scale: energy scale.
        dropout: lost tokens.
        dead_cells: dead channels.
        dead_region: dead window in eta and phi.
        modality_dropout: lost modalities.
        rotation: rotation about the axis.
        translation: shift in eta and phi.
        phi_rotation: rotation about the beam.
        eta_flip: mirror image along the beam.
        met_from: modalities whose change of transverse momentum the missing momentum takes up (objects that do not
            overlap, e.g. jets); empty: it stays as it was.
    """

    splitting: Splitting = field(default_factory=Splitting)
    soft: Soft = field(default_factory=Soft)
    pileup: Pileup = field(default_factory=Pileup)
    vertex: Vertex = field(default_factory=Vertex)
    smearing: Smearing = field(default_factory=Smearing)
    scale: Scale = field(default_factory=Scale)
    dropout: Dropout = field(default_factory=Dropout)
    dead_cells: DeadCells = field(default_factory=DeadCells)
    dead_region: DeadRegion = field(default_factory=DeadRegion)
    modality_dropout: ModalityDropout = field(default_factory=ModalityDropout)
    rotation: Rotation = field(default_factory=Rotation)
    translation: Translation = field(default_factory=Translation)
    phi_rotation: PhiRotation = field(default_factory=PhiRotation)
    eta_flip: EtaFlip = field(default_factory=EtaFlip)
    met_from: tuple[str, ...] = ()

    @staticmethod
    def names() -> list[str]:
        """The augmentations: the settings that have a probability."""
        return [f.name for f in fields(AugmentConfig) if f.name != "met_from"]

    @property
    def acting(self) -> list[str]:
        """Those whose probability is not 0."""
        return [name for name in self.names() if getattr(self, name).probability > 0]

    def alone(self, name: str) -> AugmentConfig:
        """The settings with probability 1 for one augmentation and 0 for the others."""
        return replace(self, **{n: replace(getattr(self, n), probability=float(n == name)) for n in self.names()})
