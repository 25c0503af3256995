"""What the report measures at the end: maps, mass, invariances, tokens as dots.

Axes: n rows, B rows of a batch, N tokens, F features, D width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from foundation.batch import TokenBatch
from foundation.embedding_pictures import Dots
from foundation.embedding_quality import invariance
from foundation.errors import DetfmError
from foundation.physics import coordinates_of, jet_kinematics
from foundation.schema import DetectorSchema, Modality
from pretrain.augment import AugmentConfig
from pretrain.monitor import changed, pooled
from pretrain.rows import FixedRows

PERPLEXITY = 30.0
JET = 1.5  # half-width of the eta-phi plane below which it is a jet's
NOTHING = 1e-6  # relative change of an embedding below which an augmentation did not act


def maps(x: Float[np.ndarray, "n D"], seed: int) -> dict[str, Float[np.ndarray, "n 2"]]:
    """Principal components (with their share of the variance) and t-SNE of embeddings."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    centred = x.astype(np.float64) - x.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    share = s**2 / max(float(np.sum(s**2)), 1e-30)
    found = {f"PCA ({100 * share[0]:.0f}% + {100 * share[1:2].sum():.0f}% of the variance)": u[:, :2] * s[:2]}
    if len(x) > 10 and s[0] > 0:
        tsne = TSNE(perplexity=min(PERPLEXITY, (len(x) - 1) / 3), init="pca", random_state=seed, n_jobs=1)
        with threadpool_limits(1):  # its threads would mostly wait for each other
            found["t-SNE"] = tsne.fit_transform((centred / centred.std()).astype(np.float32))
    return {name: np.asarray(each, np.float64) for name, each in found.items() if each.shape[1] == 2}


def has_plane(modality: Modality) -> bool:
    """Whether tokens have a place in the eta-phi plane."""
    return {"eta", "phi"} <= modality.coordinates.keys()


def masses(schema: DetectorSchema, rows: FixedRows) -> Float[np.ndarray, " n"] | None:
    """Invariant mass in GeV of all tokens that have a momentum (pt, eta, phi or px, py, pz, energy), added up; massless
    constituents, unless an energy is measured in the same frame as eta. None where no modality has a momentum."""
    if not any(_has_momentum(m) for m in schema.modalities.values()):
        return None
    return rows(jax.jit(lambda batch: _mass(schema, batch)))


def _has_momentum(modality: Modality) -> bool:
    names = modality.coordinates.keys()
    return {"pt", "eta", "phi"} <= names or {"px", "py", "pz", "energy"} <= names


def _mass(schema: DetectorSchema, batch: TokenBatch) -> Float[Array, " B"]:
    parts, masks = [], []
    relative = any(m.relative for m in schema.modalities.values())
    for name, modality in schema.modalities.items():
        if not _has_momentum(modality):
            continue
        values, mask = jnp.asarray(batch.modalities[name].values), jnp.asarray(batch.modalities[name].mask)
        own = {c: values[..., i] for c in modality.coordinates if (i := modality.coordinate_index(c)) is not None}
        if not {"pt", "eta", "phi"} <= own.keys():
            own = coordinates_of(jnp.stack([own[c] for c in ("energy", "px", "py", "pz")], axis=-1))
        massless = own["pt"] * jnp.cosh(own["eta"])
        energy = massless if relative else jnp.maximum(own.get("energy", massless), massless)
        parts.append(jnp.stack([own["pt"], own["eta"], own["phi"], energy]))
        masks.append(mask)
    pt, eta, phi, energy = jnp.concatenate(parts, axis=-1)
    return jet_kinematics(pt, eta, phi, None if relative else energy, jnp.concatenate(masks, axis=1)).mass


def dots_of(schema: DetectorSchema, tokens: dict[str, tuple[np.ndarray, np.ndarray]]) -> Dots:
    """The tokens of one example, of every modality that has eta and phi.

    Args:
        tokens: modality -> values [N, F] and which of them to take [N].
    """
    found: dict[str, list[np.ndarray]] = {"eta": [], "phi": [], "size": [], "kind": []}
    for kind, (name, modality) in enumerate(schema.modalities.items()):
        if name not in tokens or not has_plane(modality):
            continue
        values, chosen = tokens[name]
        own = values[chosen].astype(np.float64)
        for coordinate in ("eta", "phi"):
            found[coordinate].append(own[:, modality.coordinate_index(coordinate)])
        at = next((i for c in ("pt", "energy") if (i := modality.coordinate_index(c)) is not None), None)
        found["size"].append(np.ones(len(own)) if at is None else own[:, at])
        found["kind"].append(np.full(len(own), kind))
    eta, phi, size = (np.concatenate([*found[n], np.zeros(0)]) for n in ("eta", "phi", "size"))
    return Dots(eta, phi, size, np.concatenate([*found["kind"], np.zeros(0, int)]).astype(int))


def extent_of(dots: list[Dots]) -> tuple[float, float]:
    """Half-widths in eta and phi that hold nearly all tokens; equal ones for a jet."""
    eta, phi = (np.concatenate([np.full(1, 0.1), *(getattr(each, name) for each in dots)]) for name in ("eta", "phi"))
    widths = [1.1 * float(np.quantile(np.abs(each), 0.98)) for each in (eta, phi)]
    jet = max(widths) < JET
    return (max(widths), max(widths)) if jet else (widths[0], widths[1])


def invariances(
    model: nnx.Module, rows: FixedRows, schema: DetectorSchema, config: AugmentConfig, seed: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Each augmentation by itself, on every example and with its settings as they are: how far it moves an embedding,
    as a share of the distance between two examples at random.

    Returns:
        augmentation -> that share; and augmentation -> why there is none.
    """
    graph, state = nnx.split(model)
    x = rows(lambda batch: pooled(state, batch, graph=graph))
    other = x[np.random.default_rng(seed).permutation(len(x))]
    found: dict[str, float] = {}
    reasons: dict[str, str] = {}

    def embedded(alone: AugmentConfig) -> np.ndarray:
        return rows(lambda batch: pooled(state, changed(batch, jax.random.key(seed), schema, alone), graph=graph))

    for name in config.names():
        try:
            y = embedded(config.alone(name))
        except DetfmError as error:
            reasons[name] = str(error).removeprefix(f"augment.{name}: ").partition("; give")[0]
            continue
        if np.max(np.abs(y - x)) <= NOTHING * np.max(np.abs(x)):
            reasons[name] = "does nothing to this schema's examples"
            continue
        found[name] = invariance(x, y, other)
    return found, reasons
