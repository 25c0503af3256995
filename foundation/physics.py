"""Kinematics of the collider frame in jax.numpy: float32, finite values and gradients also at masked (zero) tokens.

Differences of large numbers are never formed: 1 - cos(x) is written 2 sin^2(x/2), E^2 - p^2 is written (E-p)(E+p), and
a jet's mass is taken from its light-cone components about its own axis, so float32 suffices for a 1 GeV jet mass at an
energy of several TeV. Momenta in GeV, angles in radians.

Axes: B examples, N tokens.

`energy=None` means massless constituents. Give an energy only where eta is measured from the beam line: with eta
relative to a jet axis, energy and eta are of different frames and a mass formed from both is meaningless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

LOG_FLOOR = 1e-8


class Jets(NamedTuple):
    """Kinematics of one jet per example.

    Attributes:
        pt: transverse momentum of the vector sum, GeV.
        eta: pseudorapidity of the vector sum.
        phi: azimuth of the vector sum, in [-pi, pi).
        mass: invariant mass of the vector sum, GeV.
    """

    pt: Float[Array, " B"]
    eta: Float[Array, " B"]
    phi: Float[Array, " B"]
    mass: Float[Array, " B"]


def safe_sqrt(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """sqrt(max(x, 0)) whose gradient is 0, not infinite, at x <= 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def delta_phi(a: Float[Array, "*#s"], b: Float[Array, "*#s"]) -> Float[Array, "*#s"]:
    """a - b wrapped to [-pi, pi)."""
    return wrap_phi(a - b)


def wrap_phi(phi: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The same azimuth in [-pi, pi). A value already there is returned unchanged, to the last bit."""
    pi = jnp.asarray(jnp.pi, phi.dtype)
    turned = jnp.mod(phi + pi, 2 * pi) - pi
    return jnp.where((phi >= -pi) & (phi < pi), phi, jnp.clip(turned, -pi, jnp.nextafter(pi, jnp.zeros_like(pi))))


def delta_r(
    eta_a: Float[Array, "*#s"], phi_a: Float[Array, "*#s"], eta_b: Float[Array, "*#s"], phi_b: Float[Array, "*#s"]
) -> Float[Array, "*#s"]:
    """sqrt(delta eta^2 + delta phi^2); its gradient is 0 where the two directions coincide."""
    return safe_sqrt((eta_a - eta_b) ** 2 + delta_phi(phi_a, phi_b) ** 2)


def four_momentum(
    pt: Float[Array, "*s"], eta: Float[Array, "*s"], phi: Float[Array, "*s"], energy: Float[Array, "*s"] | None = None
) -> Float[Array, "*s 4"]:
    """(E, px, py, pz), massless where `energy` is None."""
    energy = pt * jnp.cosh(eta) if energy is None else energy
    return jnp.stack([energy, pt * jnp.cos(phi), pt * jnp.sin(phi), pt * jnp.sinh(eta)], axis=-1)


def momentum_of(parts: Mapping[str, Float[Array, "*#s"]]) -> Float[Array, "*s 4"]:
    """(E, px, py, pz) of tokens with coordinates (px, py, pz, energy), (pt, eta, phi, energy), (pt, eta, phi, mass), or
    massless ones with (pt, eta, phi): whichever of these `parts` holds, in this order.

    Raises:
        ValueError: it holds none of them; says what is missing.
    """
    if {"px", "py", "pz", "energy"} <= parts.keys():
        return jnp.stack(jnp.broadcast_arrays(*(parts[name] for name in ("energy", "px", "py", "pz"))), axis=-1)
    missing = [name for name in ("pt", "eta", "phi") if name not in parts]
    if missing:
        raise ValueError(f"no four-vector without {', '.join(missing)}; given are {', '.join(parts) or 'none'}")
    pt, eta, phi = jnp.broadcast_arrays(*(parts[name] for name in ("pt", "eta", "phi")))
    energy = parts.get("energy")
    if energy is None and "mass" in parts:
        energy = jnp.hypot(pt * jnp.cosh(eta), parts["mass"])
    return four_momentum(pt, eta, phi, energy)


def coordinates_of(momentum: Float[Array, "*s 4"]) -> dict[str, Float[Array, "*s"]]:
    """pt, eta, phi, energy, mass, px, py, pz of (E, px, py, pz); all 0, with finite gradients, where the vector is 0.

    eta is 0 along the beam, where it has no value. The mass is that of `invariant_mass`: float32 leaves some 1e-3 of
    the energy undetermined, so carry the mass of a boosted object along instead of asking for it back.
    """
    energy, px, py, pz = (momentum[..., i] for i in range(4))
    pt = safe_sqrt(px**2 + py**2)
    real = pt > 0
    norm = jnp.where(real, pt, 1.0)
    eta = jnp.where(real, jnp.arcsinh(jnp.where(real, pz, 0.0) / norm), 0.0)
    phi = jnp.arctan2(py, jnp.where(real, px, 1.0))
    mass = invariant_mass(momentum)
    return {"pt": pt, "eta": eta, "phi": phi, "energy": energy, "mass": mass, "px": px, "py": py, "pz": pz}


def invariant_mass(momentum: Float[Array, "*s 4"]) -> Float[Array, "*s"]:
    """sqrt((E-p)(E+p)) of (E, px, py, pz); 0 where rounding leaves the vector space-like.

    For the mass of a jet use `jet_kinematics`, which does not lose digits at high energy.
    """
    energy, p = momentum[..., 0], safe_sqrt(jnp.sum(momentum[..., 1:] ** 2, axis=-1))
    return safe_sqrt((energy - p) * (energy + p))


def mass_squared(
    pt: Float[Array, "*s"], eta: Float[Array, "*s"], energy: Float[Array, "*s"] | None
) -> Float[Array, "*s"]:
    """m^2 of each token, at least 0; exactly 0 where `energy` is None."""
    if energy is None:
        return jnp.zeros_like(pt)
    p = pt * jnp.cosh(eta)
    return jnp.maximum((energy - p) * (energy + p), 0.0)


def rapidity(
    pt: Float[Array, "*s"], eta: Float[Array, "*s"], energy: Float[Array, "*s"] | None = None
) -> Float[Array, "*s"]:
    """y = asinh(pz / mT), which is eta for massless tokens; 0 where the token is zero."""
    if energy is None:
        return eta
    transverse_mass = safe_sqrt(pt**2 + mass_squared(pt, eta, energy))
    return jnp.arcsinh(pt * jnp.sinh(eta) / jnp.where(transverse_mass > 0, transverse_mass, 1.0))


def pair_features(
    pt: Float[Array, "B N"],
    eta: Float[Array, "B N"],
    phi: Float[Array, "B N"],
    energy: Float[Array, "B N"] | None,
    mask: Bool[Array, "B N"],
    axis: int = -1,
) -> Float[Array, "..."]:
    """ln deltaR, ln kT, ln z, ln m^2 of each pair of tokens (Particle Transformer, arXiv:2202.03772, section 3).

    deltaR is taken in rapidity and azimuth, kT = min(pt_a, pt_b) deltaR, z = min(pt_a, pt_b) / (pt_a + pt_b). The
    argument of each logarithm is clipped below at 1e-8, so the diagonal is finite; pairs with a masked token are 0.

    Args:
        axis: where the four features stand among the axes of the result: [B, N, N, 4] by default.
    """
    pt = jnp.where(mask, pt, 0.0)
    m2 = jnp.where(mask, mass_squared(pt, eta, energy), 0.0)
    y = rapidity(pt, eta, energy)
    pt_a, pt_b = pt[:, :, None], pt[:, None, :]
    dy, dphi = y[:, :, None] - y[:, None, :], delta_phi(phi[:, :, None], phi[:, None, :])
    distance = safe_sqrt(dy**2 + dphi**2)
    softer, total = jnp.minimum(pt_a, pt_b), pt_a + pt_b
    z = softer / jnp.where(total > 0, total, 1.0)
    m2_pair = _pair_mass_squared(pt_a, pt_b, m2[:, :, None], m2[:, None, :], dy, dphi)
    both = mask[:, :, None] & mask[:, None, :]

    def logarithm(x: Float[Array, "B N N"]) -> Float[Array, "B N N"]:
        return jnp.where(both, jnp.log(jnp.maximum(jnp.where(both, x, 1.0), LOG_FLOOR)), 0.0)

    return jnp.stack([logarithm(x) for x in (distance, softer * distance, z, m2_pair)], axis=axis)


def _pair_mass_squared(pt_a: Array, pt_b: Array, m2_a: Array, m2_b: Array, dy: Array, dphi: Array) -> Array:
    """(p_a + p_b)^2 = m_a^2 + m_b^2 + 2 (mT_a mT_b cosh dy - pt_a pt_b cos dphi), as a sum of positive terms."""
    mt_mt = safe_sqrt((m2_a + pt_a**2) * (m2_b + pt_b**2))
    pt_pt = pt_a * pt_b
    total = mt_mt + pt_pt
    excess = (m2_a * pt_b**2 + m2_b * pt_a**2 + m2_a * m2_b) / jnp.where(total > 0, total, 1.0)  # mT mT - pt pt
    return m2_a + m2_b + 2 * excess + 4 * mt_mt * jnp.sinh(dy / 2) ** 2 + 4 * pt_pt * jnp.sin(dphi / 2) ** 2


def jet_axis(
    pt: Float[Array, "B N"], eta: Float[Array, "B N"], phi: Float[Array, "B N"], mask: Bool[Array, "B N"]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """pt-weighted centroid (eta, phi) of the tokens; phi is averaged about the hardest one, so it may straddle pi.

    (0, 0) where an example has no token.
    """
    weight = jnp.where(mask, pt, 0.0)
    total = jnp.sum(weight, axis=1)
    hardest = jnp.argmax(weight, axis=1)[:, None]
    phi_hardest = jnp.take_along_axis(jnp.where(mask, phi, 0.0), hardest, axis=1)
    norm = jnp.where(total > 0, total, 1.0)
    eta_axis = jnp.sum(weight * eta, axis=1) / norm
    phi_axis = phi_hardest[:, 0] + jnp.sum(weight * delta_phi(phi, phi_hardest), axis=1) / norm
    return eta_axis, wrap_phi(phi_axis)


def jet_kinematics(
    pt: Float[Array, "B N"],
    eta: Float[Array, "B N"],
    phi: Float[Array, "B N"],
    energy: Float[Array, "B N"] | None,
    mask: Bool[Array, "B N"],
) -> Jets:
    """The vector sum of each example's tokens.

    Worked out in the frame boosted along the beam to the jet axis, where p- = sum(E - p_axis) is a sum of positive
    terms; m^2 = p+ p- - pt_out^2 - pz_out^2 then keeps its digits however energetic the jet.
    """
    eta_axis, phi_axis = jet_axis(pt, eta, phi, mask)
    m2 = jnp.where(mask, mass_squared(pt, eta, energy), 0.0)
    pt = jnp.where(mask, pt, 0.0)
    deta, dphi = rapidity(pt, eta, energy) - eta_axis[:, None], delta_phi(phi, phi_axis[:, None])
    mt = safe_sqrt(pt**2 + m2)
    heavy = m2 / jnp.where(mt + pt > 0, mt + pt, 1.0)  # mT - pt
    minus = jnp.sum(heavy + 2 * mt * jnp.sinh(deta / 2) ** 2 + 2 * pt * jnp.sin(dphi / 2) ** 2, axis=1)
    along, aside = jnp.sum(pt * jnp.cos(dphi), axis=1), jnp.sum(pt * jnp.sin(dphi), axis=1)
    plus, pz = minus + 2 * along, jnp.sum(mt * jnp.sinh(deta), axis=1)
    mass2 = jnp.maximum(plus * minus - aside**2 - pz**2, 0.0)
    jet_pt = safe_sqrt(along**2 + aside**2)
    real = jet_pt > 0
    norm = jnp.where(real, jet_pt, 1.0)
    jet_mt = safe_sqrt(norm**2 + mass2)
    y = eta_axis + jnp.arcsinh(pz / jet_mt)
    turn = jnp.arctan2(aside, jnp.where(real, along, 1.0))
    eta_jet = jnp.where(real, jnp.arcsinh(jet_mt / norm * jnp.sinh(y)), 0.0)
    return Jets(jet_pt, eta_jet, wrap_phi(phi_axis + turn), safe_sqrt(mass2))
