"""Small schemas and random batches for tests."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from foundation.batch import TokenBatch, Tokens
from foundation.schema import DetectorSchema

FEATURE = {"unit": "", "standardize": True}
PARTICLES = {
    "features": {
        "pt": {"expression": "pt", "unit": "GeV", "transform": "log"},
        "eta": {"expression": "eta"},
        "phi": {"expression": "phi", "unit": "rad"},
        "charge": {"expression": "charge", "standardize": False},
    },
    "coordinates": {"pt": "pt", "eta": "eta", "phi": "phi"},
    "max_tokens": 16,
}
MUONS = {
    "features": {"pt": {"expression": "mu_pt", "transform": "log"}, "eta": {"expression": "mu_eta"}},
    "max_tokens": 4,
}


def schema(modalities=("particles",), with_globals=False) -> DetectorSchema:
    known = {"particles": PARTICLES, "muons": MUONS}
    return DetectorSchema.load(
        {
            "name": "example",
            "modalities": {name: known[name] for name in modalities},
            "globals": {"met": {"expression": "met", "unit": "GeV"}} if with_globals else {},
            "labels": {
                "flavour": {"classes": {"b": "is_b", "c": "is_c", "light": "is_light"}},
                "ratio": {"kind": "regression", "expression": "ratio"},
            },
        }
    )


def statistics(spec: DetectorSchema) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sizes = {n: len(m.features) for n, m in spec.modalities.items()} | {"globals": len(spec.globals)}
    return {n: (np.full(size, 0.1, np.float32), np.full(size, 1.5, np.float32)) for n, size in sizes.items()}


def batch(spec: DetectorSchema, size: int = 6, seed: int = 0, padding: int = 0, classes: int = 3) -> TokenBatch:
    rng = np.random.default_rng(seed)
    modalities = {}
    for name, modality in spec.modalities.items():
        length = modality.max_tokens - 4 if name == "particles" else modality.max_tokens
        mask = np.arange(length) < rng.integers(1, length + 1, size=(size, 1))
        values = rng.normal(size=(size, length, len(modality.features))).astype(np.float32)
        values[..., 0] = np.exp(values[..., 0] + 1)
        pad = ((0, 0), (0, padding))
        modalities[name] = Tokens(
            np.pad(values * mask[..., None], (*pad, (0, 0))).astype(np.float32), np.pad(mask, pad)
        )
    labels = {
        "flavour": rng.integers(0, classes, size).astype(np.int32),
        "ratio": rng.normal(1, 0.2, size).astype(np.float32),
    }
    globals_ = rng.normal(size=(size, len(spec.globals))).astype(np.float32)
    made = TokenBatch(modalities, globals_, labels, np.ones(size, np.float32), np.arange(size))
    return jax.tree.map(jnp.asarray, made)
