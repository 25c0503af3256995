"""Settings of the anomalous augmentations, which break the physics of an example on purpose (AnomalyCLR)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AddedObjects:
    """Hard tokens of another example of the batch are added, in new directions. Conserves the example's own tokens.

    phi is uniform; where eta and phi are relative to a jet axis, the place is uniform in a disc about it. Where slots
    are short the softest tokens give way.

    Attributes:
        share: relative frequency of this anomaly.
        count: at most; uniform in 1 to count.
        low: pt is uniform in [low, high] times that of the hardest token.
        high: see `low`.
        radius: of the disc.
    """

    share: float = 1.0
    count: int = 3
    low: float = 0.3
    high: float = 1.0
    radius: float = 0.8


@dataclass(frozen=True)
class Multiplicity:
    """Another number of tokens at the same sum of pt: up or down with equal chance.

    Up: a token becomes two at a distance from each other, about its place. Down: tokens are lost and the others take
    over their pt. Down where there is no slot, as in a grid, whose lost cells become 0. Conserves the sum of
    pt of each modality.

    Attributes:
        share: relative frequency of this anomaly.
        fraction: of the tokens, drawn token by token; of one at least.
        distance: between the two, at most; of the pt-weighted place nothing changes.
    """

    share: float = 1.0
    fraction: float = 0.5
    distance: float = 0.4


@dataclass(frozen=True)
class PtShift:
    """All pt and energies of an example times one factor, or divided by it, with equal chance. Conserves directions.

    Attributes:
        share: relative frequency of this anomaly.
        low: the factor is log-uniform in [low, high].
        high: see `low`.
    """

    share: float = 1.0
    low: float = 1.5
    high: float = 4.0


@dataclass(frozen=True)
class MetShift:
    """A momentum in a random direction is added to the missing transverse momentum. Conserves all else.

    Attributes:
        share: relative frequency of this anomaly.
        low: the added momentum is uniform in [low, high], GeV.
        high: see `low`.
    """

    share: float = 1.0
    low: float = 50.0
    high: float = 300.0


@dataclass(frozen=True)
class AnomalousConfig:
    """Anomalous versions of examples, as negatives (AnomalyCLR, arXiv:2301.04660): one anomaly for each.

    Attributes:
        added: added objects.
        multiplicity: more or fewer tokens at the same sum of pt.
        pt: shifted pt.
        met: shifted missing transverse momentum.
        met_from: modalities whose change of transverse momentum the missing momentum takes up.
    """

    added: AddedObjects = field(default_factory=AddedObjects)
    multiplicity: Multiplicity = field(default_factory=Multiplicity)
    pt: PtShift = field(default_factory=PtShift)
    met: MetShift = field(default_factory=MetShift)
    met_from: tuple[str, ...] = ()
