"""How far two samples are apart: number by number, and as clouds of embeddings.

Axes: n and m rows of the samples, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.linalg import eigvalsh, sqrtm
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

FOLDS = 5


def distances(here: Num[np.ndarray, " n"], there: Num[np.ndarray, " m"]) -> dict[str, float]:
    """Of two samples of a number: Kolmogorov-Smirnov, Wasserstein-1 and mean, the last two in sigma of the first.

    Values that are not finite are left out. A constant number has sigma 1.
    """
    a, b = (x[np.isfinite(x)].astype(np.float64) for x in (here, there))
    if not len(a) or not len(b):
        return {"ks": 1.0 if len(a) != len(b) else 0.0, "wasserstein": 0.0, "mean_shift": 0.0}
    sigma = float(np.std(a)) or 1.0
    return {
        "ks": float(ks_2samp(a, b, method="asymp").statistic),
        "wasserstein": float(wasserstein_distance(a / sigma, b / sigma)),
        "mean_shift": float((b.mean() - a.mean()) / sigma),
    }


def frechet(here: Float[np.ndarray, "n D"], there: Float[np.ndarray, "m D"]) -> float:
    """|mean - mean'|^2 + Tr(C + C' - 2 (C C')^1/2), of Gaussians with the samples' moments (arXiv:1706.08500)."""
    a, b = here.astype(np.float64), there.astype(np.float64)
    c, d = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    root = np.real(sqrtm(c))
    cross = np.sqrt(np.maximum(eigvalsh(root @ d @ root), 0)).sum()
    return float(np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(c) + np.trace(d) - 2 * cross)


def domain_auc(x: Float[np.ndarray, "N D"], domain: Bool[np.ndarray, " N"], seed: int = 0) -> float:
    """AUC of a logistic regression that tells two samples apart, cross-validated: 0.5 where they cannot be told."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # the matrices are too small to share
        score = cross_val_predict(model, x, domain, cv=folds, method="decision_function")
    return float(roc_auc_score(domain, score))


def cloud_shift(
    here: Float[np.ndarray, "n D"], there: Float[np.ndarray, "m D"], seed: int = 0, permutations: int = 20
) -> dict[str, Any]:
    """Domain AUC and Frechet distance of two clouds, each beside what random halves of the same size give.

    The clouds are standardised by the mean and deviation of the first. For the baseline the rows of both are thrown
    together and dealt out again (a permutation test): its mean and spread, and the share of permutations that are as
    far apart, p = (1 + number) / (1 + permutations).

    Returns:
        domain_auc and domain_auc_of_statistics (of one permutation, cross-validation being slow); frechet,
        frechet_of_statistics, frechet_spread, p.
    """
    rng = np.random.default_rng(seed)
    mean, sigma = here.mean(axis=0), here.std(axis=0)
    x = (np.concatenate([here, there]) - mean) / np.where(sigma > 1e-6, sigma, 1.0)
    domain = np.arange(len(x)) >= len(here)
    shuffled = [rng.permutation(domain) for _ in range(permutations)]
    null = np.asarray([frechet(x[~each], x[each]) for each in shuffled])
    value = frechet(x[~domain], x[domain])
    return {
        "rows_here": len(here),
        "rows_there": len(there),
        "domain_auc": domain_auc(x, domain, seed),
        "domain_auc_of_statistics": domain_auc(x, shuffled[0], seed),
        "frechet": value,
        "frechet_of_statistics": float(null.mean()),
        "frechet_spread": float(null.std()),
        "p": float((1 + np.sum(null >= value)) / (1 + permutations)),
    }
