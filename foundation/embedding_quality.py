"""How good an embedding is, seen from the embeddings alone (and, for kNN, labels): numpy, closed form, float64.

Axes: n rows, m other rows, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

DEAD = 1e-2  # root-mean-square deviation of the unit vectors below which all examples have one embedding
NARROW = 0.05  # effective rank below this share of the largest possible: the embedding uses few of its dimensions
ADVICE = {
    "complete": "every example has nearly the same embedding. Contrastive: a higher temperature, a larger "
    "batch, weaker augmentations. Self-distillation: a larger ema, centring. Any: a lower learning rate, a longer "
    "warm-up, or the masked objective beside it",
    "dimensional": "most dimensions are copies of a few. VICReg: larger variance and covariance weights. Contrastive: "
    "a wider projection, weaker augmentations. Masked: hide more, or whole regions. Any: train longer, or a smaller "
    "encoder.width",
}


@dataclass(frozen=True)
class Collapse:
    """What is wrong with an embedding.

    Attributes:
        kind: `complete` (no variance left) or `dimensional` (variance in few directions); empty: neither.
        text: the measured number and what to change.
    """

    kind: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.kind)


def unit(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    """Rows of length 1 (a zero row stays zero)."""
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def knn_accuracy(
    train: Float[np.ndarray, "n D"],
    train_labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m D"],
    test_labels: Int[np.ndarray, " m"],
    k: int = 20,
) -> float | None:
    """Accuracy of the majority among the `k` nearest by cosine, each vote weighted by exp(cosine / 0.1) (as DINO does,
    arXiv:2104.14294). Embeddings are centred on the mean of `train` first: a common offset is no similarity.

    Rows with label -1 are left out of both sets; None where one of them is empty then.
    """
    known, seen = train_labels >= 0, test_labels >= 0
    if not known.any() or not seen.any():
        return None
    mean = train[known].mean(axis=0)
    y, similarity = train_labels[known], unit(test[seen] - mean) @ unit(train[known] - mean).T
    nearest = _nearest(similarity, min(k, len(y)))
    votes = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1) / 0.1)
    score = np.zeros((len(nearest), int(y.max()) + 1))
    np.add.at(score, (np.arange(len(nearest))[:, None], y[nearest]), votes)
    return float(np.mean(score.argmax(axis=1) == test_labels[seen]))


def neighbours(queries: Float[np.ndarray, "m D"], rows: Float[np.ndarray, "n D"], k: int) -> Int[np.ndarray, "m k"]:
    """For each query the `k` nearest rows by cosine, about the mean of `rows`; nearest first."""
    mean = rows.mean(axis=0)
    return _nearest(unit(queries - mean) @ unit(rows - mean).T, k)


def _nearest(similarity: Float[np.ndarray, "m n"], k: int) -> Int[np.ndarray, "m k"]:
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


def effective_rank(x: Float[np.ndarray, "n D"]) -> float:
    """exp of the entropy of the normalised singular values (RankMe, arXiv:2210.02885, equation 1), of centred rows.

    Between 1 (one direction) and min(n - 1, D) (all alike); 0 where the rows do not differ. Centring is ours: a common
    offset carries no information and would count as a direction. Invariant under rotations, shifts and a common scale.
    """
    x = x.astype(np.float64)
    s = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    if s.sum() <= 1e-12 * max(1.0, float(np.abs(x).max(initial=0.0))):
        return 0.0
    p = s / s.sum()
    p = p[p > 0]
    return float(np.exp(-np.sum(p * np.log(p))))


def alignment(a: Float[np.ndarray, "n D"], b: Float[np.ndarray, "n D"]) -> float:
    """Mean squared distance of positive pairs on the unit sphere (arXiv:2005.10242, alpha = 2): 0 is best, at most 4.

    Row i of `a` and of `b` are one example seen twice.
    """
    return float(np.mean(np.sum((unit(a) - unit(b)) ** 2, axis=1)))


def uniformity(x: Float[np.ndarray, "n D"]) -> float:
    """log of the mean of exp(-2 d^2) over all pairs on the unit sphere (arXiv:2005.10242, t = 2): 0 where all
    coincide, about -4 where they are spread evenly over many dimensions."""
    u = unit(x)
    cosine = (u @ u.T)[np.triu_indices(len(u), k=1)]
    return float(np.log(np.mean(np.exp(-4 * (1 - cosine))))) if len(cosine) else 0.0


def spread(x: Float[np.ndarray, "n D"]) -> float:
    """Root-mean-square deviation of the unit vectors from their mean, between 0 (all the same) and 1."""
    u = unit(x)
    return float(np.sqrt(np.mean(np.sum((u - u.mean(axis=0)) ** 2, axis=1))))


def collapse(x: Float[np.ndarray, "n D"], narrow: float = NARROW) -> Collapse:
    """Names the collapse of an embedding, if there is one.

    Args:
        narrow: an effective rank below this share of min(n - 1, D) is a dimensional collapse.
    """
    wide = spread(x)
    if not wide > DEAD:
        return Collapse("complete", f"complete collapse: spread {wide:.1e} of the unit vectors; {ADVICE['complete']}")
    rank, most = effective_rank(x), min(len(x) - 1, x.shape[1])
    if rank < narrow * most:
        text = f"dimensional collapse: effective rank {rank:.1f} of {most} dimensions; {ADVICE['dimensional']}"
        return Collapse("dimensional", text)
    return Collapse()


def invariance(
    original: Float[np.ndarray, "n D"], augmented: Float[np.ndarray, "n D"], random: Float[np.ndarray, "n D"]
) -> float:
    """Mean distance between an example and its augmented self, over that between examples at random.

    0: the embedding does not see the augmentation; 1: the augmented example might as well be another one.
    """
    x, y, z = (each.astype(np.float64) for each in (original, augmented, random))
    others = float(np.mean(np.linalg.norm(x - z, axis=1)))
    return float(np.mean(np.linalg.norm(x - y, axis=1))) / others if others > 0 else float("nan")
