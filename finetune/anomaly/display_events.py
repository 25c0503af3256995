"""A crossing as it is shown: objects with names, and what each contributed to the score.

Axes: N objects of a modality, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from finetune.anomaly.drift import present
from finetune.anomaly.occlusion import Score, occlusion
from finetune.anomaly.score_sources import Chunk
from foundation.inspect.event import Event, label_text, run_event
from foundation.schema import DetectorSchema, Modality
from foundation.trigger.observables import PLACED, PLACES, STEMS, TOTAL, observables


@dataclass(frozen=True)
class Shown:
    """One crossing.

    Attributes:
        event: its objects; empty places are left out, but for the cells of an image.
        contributions: modality -> [N], of the objects of `event`.
        score: of the crossing.
        observables: HT, leading pt, ...
        rank: 1 for the most anomalous; 0 for an ordinary one.
    """

    event: Event
    contributions: dict[str, Float[np.ndarray, " N"]]
    score: float
    observables: dict[str, float]
    rank: int = 0

    @property
    def title(self) -> str:
        name = f"No. {self.rank}" if self.rank else "An ordinary crossing"
        return ", ".join(filter(None, [f"{name}: score {self.score:.4g}", run_event(self.event.observers)]))

    def objects(self) -> list[tuple[str, str, np.ndarray, float]]:
        """Name, modality, values and contribution of every object, the largest contribution first."""
        found = []
        for name, values in self.event.tokens.items():
            grid = self.event.schema.modalities[name].grid
            for i, (each, given) in enumerate(zip(values, self.contributions[name])):
                if grid is None or (each != 0).any():
                    place = f"{i + 1}" if grid is None else f"({i // grid.shape[1]}, {i % grid.shape[1]})"
                    alone = grid is None and len(values) == 1 and self.event.schema.modalities[name].capacity == 1
                    found.append((STEMS.get(name, name) + ("" if alone else f" {place}"), name, each, float(given)))
        return sorted(found, key=lambda each: -each[3])


def shown(chunk: Chunk, schema: DetectorSchema, score: Score, where: str, rank: int) -> Shown:
    """The first crossing of a chunk with the contributions of its objects."""
    batch, there = chunk.batch, present(chunk.batch)
    measured = {name: float(values[0]) for name, values in observables(batch, schema).items()}
    given = occlusion(score, batch)
    tokens, contributions = {}, {}
    for name, modality in schema.modalities.items():
        values = np.asarray(batch.modalities[name].values)[0]
        kept = np.ones(len(values), bool) if modality.grid is not None and name != PLACED else there[name][0]
        tokens[name], contributions[name] = values[kept], given[name][0][kept]
        if name == PLACED and modality.capacity == TOTAL:
            schema, tokens, contributions = _by_kind(schema, modality, values, given[name][0], there[name][0])
            break
    columns = {name: values[0] for name, values in chunk.columns.items()}
    labels = {
        name: label_text(label, columns[f"label_{name}"])
        for name, label in schema.labels.items()
        if f"label_{name}" in columns
    }
    observers = {name: columns[name] for name in schema.observers if name in columns}
    event = Event(schema, tokens, np.asarray(batch.globals)[0], labels, {}, observers, where)
    return Shown(event, contributions, float(score(batch)[0]), measured, rank)


def _by_kind(
    schema: DetectorSchema, modality: Modality, values: np.ndarray, given: np.ndarray, there: np.ndarray
) -> tuple[DetectorSchema, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """AXOL1TL's 19 places as missing energy, e/gammas, muons and jets."""
    modalities, tokens, contributions = {}, {}, {}
    for kind, at in PLACES.items():
        coordinates = {c: f for c, f in modality.coordinates.items() if kind != "met" or c != "eta"}
        modalities[kind] = replace(modality, grid=None, max_tokens=at.stop - at.start, coordinates=coordinates)
        tokens[kind], contributions[kind] = values[at][there[at]], given[at][there[at]]
    return replace(schema, modalities=modalities), tokens, contributions
