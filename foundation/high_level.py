"""High-level observables of an example, as analyses and boosted trees use them; in numpy, a batch at a time.

Of every modality: how many tokens, mean, least and largest of its features, the features of its hardest tokens. Of one
with pt, eta and phi also the shape of the whole, its tokens taken as massless (eta and phi may be relative to a jet
axis):

==================  ==================================================================================================
`sum_pt`            scalar sum of pt, GeV
`mass`              invariant mass of all tokens, GeV
`width`             sum of pt dR / sum of pt, from the direction of the vector sum (girth, arXiv:1106.3076): tau1 below
`pt_dispersion`     sqrt(sum of pt^2) / sum of pt (pTD, arXiv:1207.3014)
`fraction1` ...     pt of the hardest, second and third token over the sum of pt
`tau21`, `tau32`    ratios of N-subjettiness with beta = 1 (arXiv:1011.2268)
`e2`, `C2`, `D2`    energy correlation, the sum over pairs of z z dR; C2 = e3 / e2^2 (arXiv:1305.0007), D2 = e3 / e2^3
                    (arXiv:1409.6298), beta = 1
==================  ==================================================================================================

The axes of N-subjettiness are not those of a kt clustering (`foundation.simulate.substructure` has these): they start
at the hardest token and then, one after another, at the one with the largest pt times distance to the axes so far, and
move three times to the pt-weighted mean of the tokens nearest to them. All but the multiplicity, the dispersion, the
fractions and, by these starts, the two ratios are infrared and collinear safe. What is not defined (a ratio of nothing,
a token that is not there) is NaN, which trees understand. Axes: B examples, N tokens, F features, A axes of a jet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.batch import TokenBatch
from foundation.schema import DetectorSchema, Modality
from foundation.store import Store
from foundation.transforms import transform

FRACTIONS = 3
MOVES = 3  # of the axes of N-subjettiness
PAIRS_AT_ONCE = 4_000_000  # numbers in an array over pairs of tokens


@dataclass(frozen=True)
class HighLevelConfig:
    """High-level observables.

    Attributes:
        leading: the features of so many tokens of each modality, the hardest ones where it has a pt, else the first.
        moments: mean, least and largest over the tokens of each (transformed) feature.
        shape: mass, width, N-subjettiness and the like of modalities that have pt, eta and phi.
        shape_tokens: of so many of the hardest tokens.
        globals: the features of the whole example.
    """

    leading: int = 8
    moments: bool = True
    shape: bool = True
    shape_tokens: int = 128
    globals: bool = True


def high_level(
    store: Store, split: str, config: HighLevelConfig, rows: Int[np.ndarray, " n"] | None = None, *, at_once: int = 2048
) -> tuple[tuple[str, ...], Float[np.ndarray, "n F"]]:
    """Names and values of the observables of a split, or of `rows` of it."""
    wanted = np.arange(store.length(split)) if rows is None else np.asarray(rows)
    found: list[np.ndarray] = []
    names: tuple[str, ...] = ()
    for start in range(0, max(len(wanted), 1), at_once):
        batch = store.read(split, wanted[start : start + at_once])
        columns = observables(batch, store.schema, config)
        names = tuple(columns)
        found.append(np.stack(list(columns.values()), axis=1))
    return names, np.concatenate(found)


def observables(batch: TokenBatch, schema: DetectorSchema, config: HighLevelConfig) -> dict[str, np.ndarray]:
    """Observable (`particles.tau21`, `globals.jet_pt`) -> float32 [B]."""
    found: dict[str, np.ndarray] = {}
    for name, modality in schema.modalities.items():
        values_BNF, mask_BN = (
            np.asarray(part) for part in (batch.modalities[name].values, batch.modalities[name].mask)
        )
        columns = dict(_of_modality(values_BNF, mask_BN, modality, config))
        found |= {f"{name}.{key}": column for key, column in columns.items()}
    if config.globals:
        values_BG = np.asarray(batch.globals)
        found |= {f"globals.{feature}": values_BG[:, i] for i, feature in enumerate(schema.globals)}
    return {key: np.asarray(column, np.float32) for key, column in found.items()}


def _of_modality(
    values_BNF: Float[np.ndarray, "B N F"],
    mask_BN: Bool[np.ndarray, "B N"],
    modality: Modality,
    config: HighLevelConfig,
) -> Iterator[tuple[str, np.ndarray]]:
    yield "count", mask_BN.sum(axis=1)
    at_pt = modality.coordinate_index("pt")
    if at_pt is not None:
        order_BN = np.argsort(np.where(mask_BN, -values_BNF[..., at_pt], np.inf), axis=1, kind="stable")
        values_BNF = np.take_along_axis(values_BNF, order_BN[..., None], axis=1)
        mask_BN = np.take_along_axis(mask_BN, order_BN, axis=1)
    for i, (name, feature) in enumerate(modality.features.items()):
        raw_BN = values_BNF[..., i]
        if config.moments:
            seen_BN = transform(feature.transform, raw_BN)
            yield (
                f"mean.{name}",
                _over(np.where(mask_BN, seen_BN, 0).sum(axis=1, dtype=np.float64), mask_BN.sum(axis=1)),
            )
            for key, limit, of in (("min", np.inf, np.min), ("max", -np.inf, np.max)):
                extreme = of(np.where(mask_BN, seen_BN, limit), axis=1, initial=limit)
                yield f"{key}.{name}", np.where(np.isfinite(extreme), extreme, np.nan)
        for rank in range(config.leading):
            there_B = mask_BN[:, rank] if rank < raw_BN.shape[1] else np.zeros(len(raw_BN), bool)
            yield f"{rank}.{name}", np.where(there_B, raw_BN[:, min(rank, raw_BN.shape[1] - 1)], np.nan)
    at = [modality.coordinate_index(c) for c in ("pt", "eta", "phi")]
    if config.shape and None not in at:
        most = config.shape_tokens
        pt_BN, eta_BN, phi_BN = (values_BNF[:, :most, i] for i in at if i is not None)
        yield from shape(pt_BN, eta_BN, phi_BN, mask_BN[:, :most]).items()


def shape(
    pt_BN: Float[np.ndarray, "B N"],
    eta_BN: Float[np.ndarray, "B N"],
    phi_BN: Float[np.ndarray, "B N"],
    mask_BN: Bool[np.ndarray, "B N"],
) -> dict[str, Float[np.ndarray, " B"]]:
    """The observables of the table above, of massless tokens."""
    length = max(mask_BN.shape[1], 1)
    size = max(PAIRS_AT_ONCE // length**2, 1)
    chunks = [slice(start, start + size) for start in range(0, len(mask_BN), size)] or [slice(0)]
    parts = [_shape(*(each[chunk] for each in (pt_BN, eta_BN, phi_BN, mask_BN))) for chunk in chunks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _shape(
    pt_BN: Float[np.ndarray, "B N"],
    eta_BN: Float[np.ndarray, "B N"],
    phi_BN: Float[np.ndarray, "B N"],
    mask_BN: Bool[np.ndarray, "B N"],
) -> dict[str, Float[np.ndarray, " B"]]:
    pt_BN = np.where(mask_BN, pt_BN, 0).astype(np.float64)
    momentum = [
        np.sum(pt_BN * each, axis=1) for each in (np.cosh(eta_BN), np.cos(phi_BN), np.sin(phi_BN), np.sinh(eta_BN))
    ]
    energy, px, py, pz = momentum
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
    axis_y, axis_phi = np.arctanh(_over(pz, energy, 0)), np.arctan2(py, px)
    total = pt_BN.sum(axis=1)
    z_BN = pt_BN / np.where(total > 0, total, 1)[:, None]
    eta_BN, phi_BN = eta_BN - axis_y[:, None], wrapped(phi_BN - axis_phi[:, None])  # small about the axis
    found = {"sum_pt": total, "mass": mass, "width": np.sum(z_BN * np.hypot(eta_BN, phi_BN), axis=1)}
    found["pt_dispersion"] = np.sqrt(np.sum(z_BN**2, axis=1))
    hardest_BN = -np.sort(-z_BN, axis=1)
    for rank in range(FRACTIONS):
        found[f"fraction{rank + 1}"] = hardest_BN[:, rank] if rank < z_BN.shape[1] else np.zeros(len(z_BN))
    tau2, tau3 = (subjettiness(z_BN, eta_BN, phi_BN, axes) for axes in (2, 3))
    found["tau21"], found["tau32"] = _over(tau2, found["width"]), _over(tau3, tau2)
    e2, e3 = energy_correlations(z_BN, eta_BN, phi_BN)
    found |= {"e2": e2, "C2": _over(e3, e2**2), "D2": _over(e3, e2**3)}
    return found


def subjettiness(
    z_BN: Float[np.ndarray, "B N"], eta_BN: Float[np.ndarray, "B N"], phi_BN: Float[np.ndarray, "B N"], axes: int
) -> Float[np.ndarray, " B"]:
    """tau_N of N axes: sum over the tokens of z times the distance to the nearest axis.

    Args:
        z_BN: pt as a fraction of the sum; 0 of tokens that are not there.
    """
    row, nearest_BN, at_BA = np.arange(len(z_BN)), np.ones(z_BN.shape), np.zeros((len(z_BN), axes), int)
    for number in range(axes):
        at_BA[:, number] = np.argmax(z_BN * nearest_BN, axis=1)
        away_BN = _distance(eta_BN, phi_BN, eta_BN[row, at_BA[:, number], None], phi_BN[row, at_BA[:, number], None])
        nearest_BN = np.minimum(nearest_BN, away_BN) if number else away_BN
    eta_BA, phi_BA = (each[row[:, None], at_BA] for each in (eta_BN, phi_BN))
    least = np.full(len(z_BN), np.inf)
    for _ in range(MOVES + 1):
        away_BNA = _distance(eta_BN[..., None], phi_BN[..., None], eta_BA[:, None], phi_BA[:, None])
        least = np.minimum(least, np.sum(z_BN * away_BNA.min(axis=2), axis=1))
        own_BNA = z_BN[..., None] * (away_BNA.argmin(axis=2)[..., None] == np.arange(axes))
        weight_BA = own_BNA.sum(axis=1)
        norm_BA = np.where(weight_BA > 0, weight_BA, 1)
        eta_BA = eta_BA + np.sum(own_BNA * (eta_BN[..., None] - eta_BA[:, None]), axis=1) / norm_BA
        phi_BA = phi_BA + np.sum(own_BNA * wrapped(phi_BN[..., None] - phi_BA[:, None]), axis=1) / norm_BA
    return least


def energy_correlations(
    z_BN: Float[np.ndarray, "B N"], eta_BN: Float[np.ndarray, "B N"], phi_BN: Float[np.ndarray, "B N"]
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """e2 and e3: sums over pairs and triples of z z dR and z z z dR dR dR, each counted once.

    With W_ij = sqrt(z_i z_j) dR_ij, the sum over triples is the trace of W^3 over 6.
    """
    distance_BNN = _distance(eta_BN[:, :, None], phi_BN[:, :, None], eta_BN[:, None], phi_BN[:, None])
    e2 = np.einsum("bi,bij,bj->b", z_BN, distance_BNN, z_BN, optimize=True) / 2
    root_BN = np.sqrt(z_BN)
    pair_BNN = root_BN[:, :, None] * root_BN[:, None, :] * distance_BNN
    return e2, np.sum(pair_BNN @ pair_BNN * pair_BNN, axis=(1, 2)) / 6


def _distance(eta: np.ndarray, phi: np.ndarray, eta_axis: np.ndarray, phi_axis: np.ndarray) -> np.ndarray:
    return np.hypot(eta - eta_axis, wrapped(phi - phi_axis))


def wrapped(phi: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """The same azimuth in [-pi, pi)."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


def _over(a: np.ndarray, b: np.ndarray, nothing: float = np.nan) -> np.ndarray:
    """a / b, or `nothing` where b is 0."""
    return np.divide(a, b, out=np.full(len(a), float(nothing)), where=b > 0)
