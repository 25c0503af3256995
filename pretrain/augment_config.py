"""Settings of the augmentations: one frozen dataclass each, with what it does and what it conserves."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from foundation.errors import ConfigError, close_names
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class Rotation:
    """Rotation in the (eta, phi) plane about the pt-weighted centroid, by one angle for all modalities of an example.

    Conserves pt, the centroid and every pairwise deltaR.

    Attributes:
        probability: per example.
        angle: largest angle, rad; uniform in [-angle, angle].
    """

    probability: float = 1.0
    angle: float = 3.141592653589793


@dataclass(frozen=True)
class Translation:
    """Shift of all tokens of an example by one (eta, phi). Conserves pt and every pairwise deltaR.

    Attributes:
        probability: per example.
        eta: largest shift; uniform in [-eta, eta].
        phi: largest shift, rad.
    """

    probability: float = 1.0
    eta: float = 0.1
    phi: float = 0.1


@dataclass(frozen=True)
class Smearing:
    """Finite resolution: pt (and energy by the same factor) and direction of each token fluctuate independently.

    sigma(pt)/pt = sqrt(stochastic^2/pt + constant^2 + noise^2/pt^2). The factor is log-normal with exactly that width
    and mean 1, so pt stays positive and its expectation stays put. Conserves the number of tokens.

    Attributes:
        probability: per example.
        stochastic: in sqrt(GeV).
        constant: pure number.
        noise: GeV.
        direction: eta and phi fluctuate by direction/pt, GeV (JetCLR takes 0.1); the deviation is at most 0.1.
    """

    probability: float = 0.5
    stochastic: float = 0.1
    constant: float = 0.03
    noise: float = 0.0
    direction: float = 0.1


@dataclass(frozen=True)
class Splitting:
    """Collinear splitting: a token becomes two of the same direction that share its pt and energy as z : 1-z.

    Conserves the sums of pt and energy (to the last bit but one). The daughter is a copy of the mother in every other
    feature and takes a padding slot; as many tokens split as there are such slots.

    Attributes:
        probability: per example.
        fraction: of the tokens to split, drawn token by token.
        z_min: z is uniform in [z_min, 1 - z_min].
        modalities: which to split; empty means all that have a pt.
    """

    probability: float = 0.5
    fraction: float = 0.1
    z_min: float = 0.1
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Soft:
    """Soft radiation: extra tokens of low pt, uniform in a disc about the centroid.

    A soft token takes a padding slot and copies features other than its coordinates from a random token; its energy
    is that token's scaled with pt.

    Attributes:
        probability: per example.
        fraction: extra tokens for each token.
        pt: mean pt of an extra token (exponential), GeV.
        radius: of the disc.
        modalities: where to add; empty means all that have pt, eta and phi.
    """

    probability: float = 0.0
    fraction: float = 0.1
    pt: float = 0.5
    radius: float = 0.4
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dropout:
    """Lost tokens. The hardest token of a modality (the first, where there is no pt) is always kept.

    Attributes:
        probability: per example.
        fraction: of tokens lost, drawn token by token.
        soft_fraction: lost in addition among the tokens below `soft_pt`.
        soft_pt: GeV.
    """

    probability: float = 0.5
    fraction: float = 0.1
    soft_fraction: float = 0.0
    soft_pt: float = 1.0


@dataclass(frozen=True)
class AugmentConfig:
    """Which augmentations act, and how strongly. Probability 0 switches one off.

    Attributes:
        splitting: collinear splitting.
        soft: soft radiation.
        smearing: finite resolution.
        dropout: lost tokens.
        rotation: rotation about the axis.
        translation: shift in eta and phi.
    """

    splitting: Splitting = field(default_factory=Splitting)
    soft: Soft = field(default_factory=Soft)
    smearing: Smearing = field(default_factory=Smearing)
    dropout: Dropout = field(default_factory=Dropout)
    rotation: Rotation = field(default_factory=Rotation)
    translation: Translation = field(default_factory=Translation)

    def check(self, schema: DetectorSchema) -> None:
        """Raises ConfigError naming a setting out of range or a modality that the schema lacks."""
        for step in fields(self):
            settings = getattr(self, step.name)
            for setting in fields(settings):
                value = getattr(settings, setting.name)
                if isinstance(value, tuple):
                    _check_modalities(f"{step.name}.{setting.name}", value, schema)
                    continue
                most = {"probability": 1.0, "fraction": 1.0, "soft_fraction": 1.0, "z_min": 0.5}.get(setting.name)
                if value < 0 or (most is not None and value > most):
                    bounds = "at least 0" if most is None else f"between 0 and {most:g}"
                    raise ConfigError(f"augment.{step.name}.{setting.name} must be {bounds}; it is {value}")


def _check_modalities(where: str, names: tuple[str, ...], schema: DetectorSchema) -> None:
    for name in names:
        if name not in schema.modalities:
            hint = close_names(name, schema.modalities)
            raise ConfigError(f"augment.{where}: schema '{schema.name}' has no modality '{name}'; {hint}")
