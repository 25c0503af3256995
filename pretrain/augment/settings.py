"""Settings of the augmentations that leave the physics as it was: what each does and what it conserves.

`modalities` of a setting names those it acts on; empty means all that have what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PI = 3.141592653589793


@dataclass(frozen=True)
class Splitting:
    """Collinear splitting: a token becomes two of the same direction that share its pt and energy as z : 1-z.

    Conserves the sums of pt and energy (to the last bit but one), and with a mass shared alike the four-vector. The
    daughter is a copy of the mother in every feature that is no energy, and takes a padding slot; as many tokens split
    as there are such slots.

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
class Pileup:
    """Pile-up: tokens of other collisions in the padding slots, the example's own untouched.

    The other collisions are turned about the beam by one angle each. Where eta and phi are relative to a jet axis, each
    of their tokens gets a place of its own, uniform in a disc about the axis. In a grid without eta and phi the
    energies add up cell by cell.

    Attributes:
        probability: per example.
        pool: `batch`: other examples of the batch; else the folder of a store of equal features.
        pool_rows: of a store: so many rows, evenly spread over its first split, are held on the device.
        interactions: how many collisions.
        fraction: of their tokens that is taken, drawn token by token.
        pt_max: only tokens below it are taken, GeV; 0 means all.
        scale: of their pt and energy.
        radius: of the disc.
        modalities: where to add; empty means all that have pt, eta and phi, and grids without.
    """

    probability: float = 0.0
    pool: str = "batch"
    pool_rows: int = 256
    interactions: int = 1
    fraction: float = 0.5
    pt_max: float = 5.0
    scale: float = 1.0
    radius: float = 0.8
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vertex:
    """The collision happens elsewhere along the beam, by dz, normal about 0. Conserves phi, energies and the count.

    The coordinate z (of what has no x and y) and each feature of `features` becomes z + dz. In `calorimeters`, whose
    eta is seen from the detector's centre, sinh(eta') = sinh(eta) + dz / radius in the barrel (|sinh(eta)| <
    half_length / radius) and sinh(eta') = sinh(eta) half_length / (half_length - sign(eta) dz) in the endcaps;
    pt' = pt cosh(eta) / cosh(eta'), at the same energy.

    Attributes:
        probability: per example.
        sigma: of dz, mm.
        features: measured from the detector's centre, beside the coordinate z. (`dz` is mostly relative to the vertex.)
        calorimeters: modalities whose eta is that of a place in a calorimeter.
        radius: of the calorimeter's barrel, mm.
        half_length: distance of its endcaps, mm.
    """

    probability: float = 0.0
    sigma: float = 40.0
    features: tuple[str, ...] = ("z0",)
    calorimeters: tuple[str, ...] = ()
    radius: float = 1290.0
    half_length: float = 3170.0


@dataclass(frozen=True)
class Smearing:
    """Finite resolution: pt (and energies by the same factor) and direction of each token fluctuate independently.

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
class Scale:
    """Energy scale: one log-normal factor of mean 1 per example and modality, on pt and every energy of its tokens.

    Conserves the count, directions, and ratios of pt within a modality.

    Attributes:
        probability: per example.
        sigma: relative deviation.
        sigmas: of single modalities, by name, in the place of `sigma`.
    """

    probability: float = 0.0
    sigma: float = 0.03
    sigmas: dict[str, float] = field(default_factory=dict)

    def __hash__(self) -> int:  # a static part of jitted functions
        return hash((self.probability, self.sigma, *sorted(self.sigmas.items())))


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
class DeadCells:
    """Dead channels: a fraction of the cells of an eta-phi grid sees nothing; tokens in them are lost, the others kept.

    Which cells are dead is drawn anew for each example and modality. In a grid without eta and phi the cells are its
    own. An example that would be left without any token is left as it was.

    Attributes:
        probability: per example.
        fraction: of the cells.
        eta: width of a cell.
        phi: likewise, rad.
        modalities: which lose tokens; empty means all that have eta and phi, and grids without.
    """

    probability: float = 0.0
    fraction: float = 0.05
    eta: float = 0.087
    phi: float = 0.087
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeadRegion:
    """A window in eta and phi, one for all modalities of an example, in which every token is lost; the others are kept.

    The window is laid at random over a random token. An example that would be left without any token is left as it was.

    Attributes:
        probability: per example.
        eta: width of the window.
        phi: likewise, rad.
        modalities: which lose tokens; empty means all that have eta and phi.
    """

    probability: float = 0.0
    eta: float = 0.4
    phi: float = 0.4
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModalityDropout:
    """Whole modalities are lost, as if a part of the detector had not been read out. One that has tokens always stays.

    Attributes:
        probability: per example.
        fraction: chance of each modality.
        modalities: which may be lost; empty means all.
    """

    probability: float = 0.0
    fraction: float = 0.3
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rotation:
    """Rotation in the (eta, phi) plane about the pt-weighted centroid, by one angle for all modalities of an example.

    Conserves pt, the centroid and every pairwise deltaR.

    Attributes:
        probability: per example.
        angle: largest angle, rad; uniform in [-angle, angle].
    """

    probability: float = 1.0
    angle: float = PI


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
class PhiRotation:
    """Rotation of the whole event about the beam: phi, (px, py), (x, y), azimuths among the globals (`met_phi`).

    Conserves pt, eta, every pairwise deltaR and mass. What is relative to a jet axis does not change.

    Attributes:
        probability: per example.
        angle: largest angle, rad; uniform in [-angle, angle].
        step: angles are multiples of it, rad, so that what sits on a grid in phi stays there; 0 means any angle.
    """

    probability: float = 0.0
    angle: float = PI
    step: float = 0.0


@dataclass(frozen=True)
class EtaFlip:
    """Mirror image along the beam: eta, z, pz and whatever is called so change sign, of tokens and globals.

    Called so: eta, pz, z, z0, dz, vz, alone or after an underscore; not what has no negative `range`, such as |eta|.
    Conserves pt, phi, every pairwise deltaR and mass.

    Attributes:
        probability: per example that the mirror image is taken.
    """

    probability: float = 0.0
