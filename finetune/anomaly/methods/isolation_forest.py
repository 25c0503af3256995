"""Isolation forest: how few random cuts separate a crossing from the others. The cheap baseline.

Liu, Ting and Zhou, ICDM 2008, as in scikit-learn. Axes: n crossings, B, D their numbers, T trees, N nodes of a tree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Learnt, Method, resampled, width_of
from foundation.errors import ConfigError

EULER = 0.5772156649015329


@dataclass(frozen=True)
class IsolationForestConfig:
    """A forest.

    Attributes:
        trees: trees.
        rows: crossings of the training set that one tree sees: 2 or more.
    """

    trees: int = 100
    rows: int = 256


class IsolationForest(Method):
    """Score: 2^(-mean path length / that of a random search tree), from 0 to 1: minus scikit-learn's `score_samples`.

    The trees are kept as arrays, filled up to the 2 rows - 1 nodes that a tree of so many crossings can have.
    """

    trains = False

    def __init__(self, shape: tuple[int, ...], config: IsolationForestConfig, *, rngs: nnx.Rngs):
        self.width = width_of(shape, "isolation_forest", config.trees)
        if config.rows < 2:
            raise ConfigError(f"isolation_forest: a tree needs 2 rows or more to cut between; rows is {config.rows}")
        self.config, self.depth = config, math.ceil(math.log2(config.rows))
        nodes = (config.trees, 2 * config.rows - 1)
        self.feature, self.left, self.right = (Learnt(jnp.zeros(nodes, jnp.int32)) for _ in range(3))
        self.threshold, self.length = Learnt(jnp.zeros(nodes)), Learnt(jnp.zeros(nodes))
        self.usual = Learnt(jnp.ones(()))

    def prepare(self, x: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"], seed: int) -> None:
        """Grows the trees.

        Raises:
            ConfigError: fewer than two crossings.
        """
        from sklearn.ensemble import IsolationForest as Sklearn

        rows = resampled(weights, len(x), seed)
        if len(rows) < 2:
            raise ConfigError("isolation_forest: a single normal crossing cannot be told from others")
        grown = Sklearn(
            n_estimators=self.config.trees, max_samples=min(self.config.rows, len(rows)), random_state=seed
        ).fit(np.asarray(x[rows], np.float32))
        columns = [arrays(each.tree_, self.feature.shape[1]) for each in grown.estimators_]
        stacked = [np.stack(column) for column in zip(*columns)]
        for kept, found in zip((self.feature, self.threshold, self.left, self.right, self.length), stacked):
            kept[...] = jnp.asarray(found)
        self.usual[...] = jnp.asarray(average_path(np.asarray(grown.max_samples_)), jnp.float32)

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        feature, threshold = self.feature[...], self.threshold[...]
        left, right = self.left[...], self.right[...]
        trees = jnp.arange(len(feature))

        def descend(_: Array, node: Array) -> Array:
            value = jnp.take_along_axis(x, feature[trees, node], axis=1)
            return jnp.where(value <= threshold[trees, node], left[trees, node], right[trees, node])

        leaf = jax.lax.fori_loop(0, self.depth, descend, jnp.zeros((len(x), len(feature)), jnp.int32))
        return {"score": jnp.exp2(-self.length[...][trees, leaf].mean(axis=1) / self.usual[...])}


def arrays(tree: object, nodes: int) -> tuple[np.ndarray, ...]:
    """A tree of scikit-learn as arrays [N]: feature, threshold, left, right, and the path length that ends at a node.

    A leaf leads to itself. Thresholds are rounded down to float32, which changes no comparison with a float32.
    """
    feature, left, right = (np.array(getattr(tree, k)) for k in ("feature", "children_left", "children_right"))
    leaf, itself = left < 0, np.arange(len(left))
    threshold = np.asarray(tree.threshold).astype(np.float32)  # type: ignore[attr-defined]
    above = threshold > np.asarray(tree.threshold)  # type: ignore[attr-defined]
    threshold = np.where(above, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    depth = np.zeros(len(left))
    for node in itself[~leaf]:  # parents come before their children
        depth[[left[node], right[node]]] = depth[node] + 1
    length = depth + np.where(leaf, average_path(np.asarray(tree.n_node_samples)), 0)  # type: ignore[attr-defined]
    left, right = np.where(leaf, itself, left), np.where(leaf, itself, right)
    found = (np.maximum(feature, 0).astype(np.int32), threshold, left.astype(np.int32), right.astype(np.int32))
    return tuple(np.pad(each, (0, nodes - len(each))) for each in (*found, length.astype(np.float32)))


def average_path(rows: np.ndarray) -> np.ndarray:
    """Mean path length of an unsuccessful search in a binary search tree of so many rows (eq. 1 there)."""
    several = np.maximum(rows, 3)
    path = 2 * (np.log(several - 1) + EULER) - 2 * (several - 1) / several
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, path))
