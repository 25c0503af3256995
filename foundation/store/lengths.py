"""Length classes: rows of similar numbers of tokens, so that a batch of one class has little padding.

Axes: R rows, K length classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from foundation.schema import DetectorSchema, Modality

MOST_CLASSES = 32


def most_tokens(modality: Modality) -> int:
    """No row has more tokens than this."""
    return modality.grid.shape[0] * modality.grid.shape[1] if modality.grid else modality.max_tokens


def choose_edges(
    counts: Mapping[str, Int[np.ndarray, " R"]], schema: DetectorSchema, most: int = MOST_CLASSES
) -> dict[str, list[int]]:
    """Modality -> the most tokens of each length class, ascending: quantiles of the `counts` of a sample of rows.

    The last edge is the most that the schema allows, so that every row has a class. All modalities have equally many
    edges: where there are fewer different ones, the last is repeated.
    """
    shares = np.arange(1, most) / most
    edges = {}
    for name, modality in schema.modalities.items():
        limit = most_tokens(modality)
        inner = np.quantile(counts[name], shares, method="higher") if len(counts[name]) else np.zeros(0)
        edges[name] = sorted({*(int(edge) for edge in inner if 0 < edge < limit), limit})
    size = max(map(len, edges.values()))
    return {name: found + found[-1:] * (size - len(found)) for name, found in edges.items()}


def length_class(
    edges: Mapping[str, list[int]], counts: Mapping[str, Int[np.ndarray, " R"]], rows: int
) -> Int[np.ndarray, " R"]:
    """Of each row: the first class that all of its modalities fit into."""
    found = np.zeros(rows, np.int64)
    for name, limits in edges.items():
        np.maximum(found, np.searchsorted(limits, counts[name], side="left"), out=found)
    return found
