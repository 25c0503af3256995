"""Length classes: rows of similar numbers of tokens, so that a batch of one class has little padding.

Axes: R rows, K length classes, C cells (a length class of some rows), M modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from foundation.schema import DetectorSchema

MOST_CLASSES = 32
MOST_CANDIDATES = 256  # lengths among which the classes of a modality are chosen
LENGTH_STEP = 4  # padded lengths are multiples of this


def choose_edges(
    counts: Mapping[str, Int[np.ndarray, " R"]], schema: DetectorSchema, most: int = MOST_CLASSES
) -> dict[str, list[int]]:
    """Modality -> the most tokens of each length class, ascending: those that cost a sample of rows the least padding.

    The last edge is the most that the schema allows, so that every row has a class. All modalities have equally many
    edges: where there are fewer different ones, the last is repeated.
    """
    edges = {n: _ladder(counts[n], modality.capacity, most) for n, modality in schema.modalities.items()}
    size = max(map(len, edges.values()))
    return {name: found + found[-1:] * (size - len(found)) for name, found in edges.items()}


def _ladder(counts: Int[np.ndarray, " R"], capacity: int, most: int) -> list[int]:
    limit = np.array([capacity])
    steps = np.unique(padded(counts[:, None], limit))
    if len(steps) > MOST_CANDIDATES:
        steps = np.unique(np.quantile(steps, np.linspace(0, 1, MOST_CANDIDATES), method="higher"))
    rows = np.bincount(np.searchsorted(steps, padded(counts[:, None], limit)[:, 0]), minlength=len(steps))
    groups = partition(rows.astype(float), steps[:, None], limit, most - 1) if len(steps) else []
    return sorted({*(int(steps[group[-1]]) for group in groups), capacity})


def length_class(
    edges: Mapping[str, list[int]], counts: Mapping[str, Int[np.ndarray, " R"]], rows: int
) -> Int[np.ndarray, " R"]:
    """Of each row: the first class that all of its modalities fit into."""
    found = np.zeros(rows, np.int64)
    for name, limits in edges.items():
        np.maximum(found, np.searchsorted(limits, counts[name], side="left"), out=found)
    return found


def padded(lengths: Int[np.ndarray, "... M"], capacity: Int[np.ndarray, " M"]) -> Int[np.ndarray, "... M"]:
    """The next multiple of the step, at least one, as far as there can be tokens."""
    return np.minimum(np.maximum(-(-lengths // LENGTH_STEP), 1) * LENGTH_STEP, capacity)


def partition(
    rows: Float[np.ndarray, " C"], longest: Int[np.ndarray, "C M"], capacity: Int[np.ndarray, " M"], groups: int
) -> list[Sequence[int]]:
    """Consecutive cells in at most `groups` groups, with the fewest padded tokens.

    Exact, by dynamic programming: `best[j]` is the least number of padded tokens of the first j cells.
    """
    count = len(rows)
    cost = np.full((count + 1, count + 1), np.inf)
    for start in range(count):
        tallest = padded(np.maximum.accumulate(longest[start:], axis=0), capacity).sum(axis=1)
        cost[start, start + 1 :] = tallest * np.cumsum(rows[start:])
    best = cost[0].copy()
    cuts = [[0, j] for j in range(count + 1)]
    for _ in range(groups - 1):
        total = best[:, None] + cost
        previous, least = total.argmin(axis=0), total.min(axis=0)
        better = least < best
        cuts = [[*cuts[previous[j]], j] if better[j] else cuts[j] for j in range(count + 1)]
        best = np.where(better, least, best)
    return [range(a, b) for a, b in zip(cuts[count], cuts[count][1:])]
