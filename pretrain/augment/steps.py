"""The table of augmentations: in which order they act, and what a schema must have for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from foundation.schema import DetectorSchema, Modality
from pretrain.augment import anomalies, detector, follow, frame, radiation
from pretrain.augment.columns import Examples, is_azimuth, is_longitudinal

Carriers = Callable[[DetectorSchema, Any], list[str]]


class Step(NamedTuple):
    """One augmentation.

    Attributes:
        act: (examples, schema, settings, which examples, key) -> examples.
        carriers: what of a schema it can act on, for given settings.
        needs: the same in words, for an error.
    """

    act: Callable[..., Examples]
    carriers: Carriers
    needs: str


def _those(can: Callable[[Modality], bool]) -> Carriers:
    return lambda schema, settings: [name for name, modality in schema.modalities.items() if can(modality)]


def _around_beam(schema: DetectorSchema, settings: Any) -> list[str]:
    return _those(frame.turns)(schema, settings) + [n for n, f in schema.globals.items() if is_azimuth(n, f)]


def _along_beam(schema: DetectorSchema, settings: Any) -> list[str]:
    found = _those(lambda modality: bool(frame.mirrored(modality)))(schema, settings)
    return found + [n for n, f in schema.globals.items() if is_longitudinal(n, f)]


def _missing(schema: DetectorSchema, settings: Any) -> list[str]:
    return [*follow.missing_globals(schema), *follow.missing_modalities(schema)]


# radiation, then the detector: what changes the content of an example
CONTENT: dict[str, Step] = {
    "splitting": Step(radiation.split, _those(radiation.can_split), "a coordinate pt, outside a grid"),
    "soft": Step(radiation.soften, _those(radiation.can_radiate), "coordinates pt, eta and phi, outside a grid"),
    "pileup": Step(
        radiation.pile_up,
        _those(radiation.can_pile_up),
        "coordinates pt, eta and phi, outside a grid, or a grid of energies without eta and phi",
    ),
    "vertex": Step(
        radiation.shift_vertex,
        radiation.moves_in_z,
        "a coordinate z without x and y, or a feature of `features`, or eta as `calorimeters` see it",
    ),
    "smearing": Step(detector.smear, _those(detector.can_smear), "a coordinate pt"),
    "scale": Step(detector.shift_scale, _those(detector.can_scale), "pt or another energy"),
    "dropout": Step(detector.drop, _those(lambda modality: True), "tokens"),
    "dead_cells": Step(
        detector.kill_cells, _those(detector.can_be_dead), "coordinates eta and phi, or a grid without them"
    ),
    "dead_region": Step(detector.kill_region, _those(detector.has_direction), "coordinates eta and phi"),
    "modality_dropout": Step(
        detector.drop_modalities,
        lambda schema, settings: list(schema.modalities) if len(schema.modalities) > 1 else [],
        "a second modality",
    ),
}
# the choice of the frame, last
FRAMES: dict[str, Step] = {
    "rotation": Step(frame.rotate, _those(detector.has_direction), "coordinates eta and phi"),
    "translation": Step(frame.translate, _those(detector.has_direction), "coordinates eta and phi"),
    "phi_rotation": Step(
        frame.rotate_about_beam, _around_beam, "an azimuth about the beam (relative to a jet axis it does not change)"
    ),
    "eta_flip": Step(frame.flip, _along_beam, "a coordinate eta, z or pz"),
}
STEPS = CONTENT | FRAMES

ANOMALIES: dict[str, Step] = {
    "added": Step(anomalies.add_objects, _those(radiation.can_radiate), "coordinates pt, eta and phi, outside a grid"),
    "multiplicity": Step(anomalies.change_multiplicity, _those(detector.can_smear), "a coordinate pt"),
    "pt": Step(anomalies.shift_pt, _those(detector.can_scale), "pt or another energy"),
    "met": Step(anomalies.shift_met, _missing, "a missing transverse momentum with its azimuth"),
}
