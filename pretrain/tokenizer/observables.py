"""Physics of an example that codes must carry: multiplicity, and pt and mass of the vector sum, per modality.

Axes: B examples.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from foundation.batch import TokenBatch
from foundation.physics import jet_kinematics
from foundation.schema import DetectorSchema


def observables(batch: TokenBatch, schema: DetectorSchema) -> dict[str, Float[Any, " B"]]:
    """`MODALITY/multiplicity`, and where pt, eta and phi are known `MODALITY/pt` and `MODALITY/mass`, GeV.

    The tokens are taken as massless, as eta and phi may be relative to a jet axis.
    """
    found = {}
    for name, modality in schema.modalities.items():
        mask = jnp.asarray(batch.modalities[name].mask)
        found[f"{name}/multiplicity"] = mask.sum(axis=1).astype(jnp.float32)
        places = [modality.coordinate_index(c) for c in ("pt", "eta", "phi")]
        if None not in places:
            values = jnp.asarray(batch.modalities[name].values)
            pt, eta, phi = (values[..., i] for i in places)
            jet = jet_kinematics(pt, eta, phi, None, mask)
            found |= {f"{name}/pt": jet.pt, f"{name}/mass": jet.mass}
    return found
