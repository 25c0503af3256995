"""What a classical trigger cuts on: HT, leading objects, multiplicity, missing energy; of any of the shipped layouts.

Three layouts are known, by the schema:

- objects in modalities `jets`, `egammas`, `muons`, `taus` and missing energy as a modality or global `met`, as in
  data/l1ugt and data/l1events;
- 19 places in one modality `objects`, 1 missing energy, 4 e/gammas, 4 muons, 10 jets, as in data/axol1tl and
  data/l1events_axol1tl;
- calorimeter regions, in a modality `image` or `regions`, as in data/l1calo and data/l1events_image.

Axes: n crossings, N objects of a kind, F features, k-th object by pt.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from foundation.batch import TokenBatch
from foundation.schema import DetectorSchema

PLACES = {"met": slice(0, 1), "egammas": slice(1, 5), "muons": slice(5, 9), "jets": slice(9, 19)}  # AXOL1TL's order
PLACED, TOTAL = "objects", 19
KINDS = ("jets", "egammas", "muons", "taus")
IMAGES = ("image", "regions")
CENTRAL = {"jets": 2.5, "egammas": 2.5, "taus": 2.1}  # |eta| of CMS's `er2p5` and `er2p1`
HT_PT = 30.0  # GeV, of the jets that CMS sums
LEADING = {"jets": 4, "egammas": 2, "muons": 2, "taus": 2}
STEMS = {"jets": "jet", "egammas": "egamma", "muons": "muon", "taus": "tau"}
BASELINES = ("ht", "leading_jet_pt", "multiplicity", "met", "total_et")  # what a score has to beat

Objects = Mapping[str, tuple[Float[np.ndarray, "n _"], Float[np.ndarray, "n _"]]]  # kind -> pt, |eta|


def observables(batch: TokenBatch, schema: DetectorSchema) -> dict[str, Float[np.ndarray, " n"]]:
    """Observables of each crossing, pt and sums in GeV; what the schema does not allow is left out (see `missing`).

    ==================  ==============================================================================================
    `ht`                scalar sum of jets with pt > 30 GeV and |eta| < 2.5, as CMS's L1_HTT...er
    `leading_jet_pt`    pt of the hardest jet anywhere
    `jet_pt_1` ...      of the hardest to the fourth jet with |eta| < 2.5; `jets`: how many jets make up HT
    `egamma_pt_1`, `2`  likewise of e/gammas with |eta| < 2.5; `leading_egamma_pt` anywhere
    `muon_pt_1`, `2`    of muons anywhere; `leading_muon_pt` is the first
    `tau_pt_1`, `2`     of taus with |eta| < 2.1
    `multiplicity`      jets, e/gammas and muons with pt > 0 (of an image: regions with Et > 0). A tau is a jet or an
                        e/gamma as well and does not count again
    `met`               missing transverse momentum
    `total_et`          sum over the regions of an image; `leading_region_et` the largest
    ==================  ==============================================================================================

    Absent objects have pt 0. Only objects that the schema keeps are seen: 4, 4 and 10 in the 19 places.
    """
    found: dict[str, np.ndarray] = {}
    objects = _objects(batch, schema)
    if {"jets", "egammas", "muons"} & objects.keys():
        counts = [(pt > 0).sum(axis=1) for kind, (pt, _) in objects.items() if kind != "taus"]
        found["multiplicity"] = np.sum(counts, axis=0).astype(np.float32)
    if "jets" in objects:
        pt, eta = objects["jets"]
        summed = (pt > HT_PT) & (eta < CENTRAL["jets"])
        found["ht"] = np.where(summed, pt, 0).sum(axis=1)
        found["jets"] = summed.sum(axis=1).astype(np.float32)
    for kind, (pt, eta) in objects.items():
        stem = STEMS[kind]
        found[f"leading_{stem}_pt"] = _hardest(pt, 1)[0]
        central = np.where(eta < CENTRAL[kind], pt, 0) if kind in CENTRAL else pt
        found |= {f"{stem}_pt_{k + 1}": column for k, column in enumerate(_hardest(central, LEADING[kind]))}
    met = _met(batch, schema)
    found |= {} if met is None else {"met": met}
    return found | _regions(batch, schema)


def missing(schema: DetectorSchema) -> dict[str, str]:
    """Kinds of objects and sums that this schema does not give, with the reason."""
    if (image := _image(schema)) is not None:
        return dict.fromkeys((*KINDS, "met"), f"the regions of '{image}' are no objects")
    reasons = {"total_et": f"no modality {' or '.join(IMAGES)} with a feature et"}
    if _placed(schema):
        return reasons | {"taus": f"the {TOTAL} places of '{PLACED}' have none"}
    for kind in KINDS:
        if kind not in schema.modalities or not {"pt", "eta"} <= set(schema.modalities[kind].features):
            reasons[kind] = f"no modality '{kind}' with features pt and eta"
    if "met" not in schema.globals and "met" not in schema.modalities:
        reasons["met"] = "no modality and no global 'met'"
    return reasons


def _image(schema: DetectorSchema) -> str | None:
    return next((n for n in IMAGES if n in schema.modalities and "et" in schema.modalities[n].features), None)


def _placed(schema: DetectorSchema) -> bool:
    """Whether the objects are in the 19 places of AXOL1TL."""
    modality = schema.modalities.get(PLACED)
    return modality is not None and modality.max_tokens == TOTAL and {"pt", "eta"} <= set(modality.features)


def _objects(batch: TokenBatch, schema: DetectorSchema) -> Objects:
    if _placed(schema):
        pt, eta = (_feature(batch, schema, PLACED, name) for name in ("pt", "eta"))
        return {kind: (pt[:, at], np.abs(eta[:, at])) for kind, at in PLACES.items() if kind != "met"}
    absent = missing(schema)
    return {
        kind: (_feature(batch, schema, kind, "pt"), np.abs(_feature(batch, schema, kind, "eta")))
        for kind in KINDS
        if kind not in absent
    }


def _met(batch: TokenBatch, schema: DetectorSchema) -> Float[np.ndarray, " n"] | None:
    if _placed(schema):
        return _feature(batch, schema, PLACED, "pt")[:, 0]
    if "met" in schema.modalities and "pt" in schema.modalities["met"].features:
        return _feature(batch, schema, "met", "pt").sum(axis=1)
    if "met" in schema.globals:
        return np.asarray(batch.globals)[:, list(schema.globals).index("met")]
    return None


def _regions(batch: TokenBatch, schema: DetectorSchema) -> dict[str, Float[np.ndarray, " n"]]:
    name = _image(schema)
    if name is None:
        return {}
    et = _feature(batch, schema, name, "et")
    return {
        "total_et": et.sum(axis=1),
        "leading_region_et": et.max(axis=1, initial=0),
        "multiplicity": (et > 0).sum(axis=1).astype(np.float32),
    }


def _feature(batch: TokenBatch, schema: DetectorSchema, modality: str, feature: str) -> Float[np.ndarray, "n _"]:
    """Values of the real tokens, zero elsewhere."""
    tokens = batch.modalities[modality]
    column = np.asarray(tokens.values)[..., schema.modalities[modality].index(feature)]
    return np.where(np.asarray(tokens.mask), column, 0)


def _hardest(pt: Float[np.ndarray, "n _"], most: int) -> list[Float[np.ndarray, " n"]]:
    """pt of the hardest, the second, ...; 0 where there are not so many. The tokens need not be in order."""
    padded = np.pad(pt, ((0, 0), (0, max(0, most - pt.shape[1]))))
    top = np.sort(np.partition(padded, padded.shape[1] - most, axis=1)[:, padded.shape[1] - most :], axis=1)
    return [top[:, most - 1 - k] for k in range(most)]
