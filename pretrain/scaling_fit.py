"""How the loss falls with parameters and data: L(N, D) = floor + A / N^alpha + B / D^beta.

The sum of arXiv:2203.15556 (equation 2), fitted to the logarithm of the loss; arXiv:2001.08361 has the same limits in
N and D. Axes: P points of a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from foundation.errors import ConfigError

STEEPEST = 3.0  # exponent
TERMS = 5
NAMES = ("floor", "A", "alpha", "B", "beta")


@dataclass(frozen=True)
class Law:
    """A fitted law. The budget is C = price * N * D.

    Attributes:
        floor: loss that neither size nor data takes away.
        A, alpha: of the number of parameters N.
        B, beta: of the number of jets D.
        price: FLOPs for each parameter and jet seen.
    """

    floor: float
    A: float
    alpha: float
    B: float
    beta: float
    price: float

    def loss(self, parameters: Any, jets: Any) -> Any:
        return self.floor + self.A / parameters**self.alpha + self.B / jets**self.beta

    def best(self, flops: float) -> tuple[float, float]:
        """Parameters and jets of least loss for so many FLOPs."""
        product = flops / self.price
        ratio = (self.alpha * self.A) / (self.beta * self.B)
        size = ratio ** (1 / (self.alpha + self.beta)) * product ** (self.beta / (self.alpha + self.beta))
        return size, product / size


@dataclass(frozen=True)
class Fit:
    """A law, the same law fitted to `bootstraps`, and how far the points lie from it.

    Attributes:
        law: the best one.
        others: fits to losses of the law times residuals drawn again.
        spread: standard deviation of ln(loss / law).
    """

    law: Law
    others: tuple[Law, ...]
    spread: float

    def error(self, name: str) -> tuple[float, float]:
        """The 68% interval of one of a law's numbers."""
        return _interval([getattr(law, name) for law in self.others])

    def best_error(self, flops: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """The 68% intervals of the best parameters and jets for a budget."""
        sizes, jets = zip(*(law.best(flops) for law in self.others), strict=True)
        return _interval(sizes), _interval(jets)


def fit_law(
    parameters: Float[np.ndarray, " P"],
    jets: Float[np.ndarray, " P"],
    flops: Float[np.ndarray, " P"],
    loss: Float[np.ndarray, " P"],
    *,
    bootstraps: int = 200,
    seed: int = 0,
) -> Fit:
    """Least squares in ln(loss), with errors from residuals drawn again (the points of a sweep are no sample).

    Raises:
        ConfigError: too few points, sizes or data sets to tell the five numbers apart, or losses that are not positive.
    """
    if len(loss) <= TERMS or min(len(set(parameters)), len(set(jets))) < 3:
        raise ConfigError(
            f"the law has {TERMS} numbers: it needs more points than that, of three sizes and three numbers of rows at "
            f"least; there are {len(loss)} points, {len(set(parameters))} sizes, {len(set(jets))} numbers of rows"
        )
    if not (np.all(np.isfinite(loss)) and np.all(loss > 0)):
        raise ConfigError(f"a law in ln(loss) needs positive losses; the lowest is {np.min(loss)}")
    middle = np.exp(np.mean(np.log(parameters))), np.exp(np.mean(np.log(jets)))  # where the terms are told apart best
    x, y, z = np.log(parameters / middle[0]), np.log(jets / middle[1]), np.log(loss)
    price = float(np.exp(np.mean(np.log(flops / (parameters * jets)))))
    best = min((_solve(x, y, z, start) for start in _starts(z)), key=lambda found: found.cost)
    residuals = best.fun * np.sqrt(len(z) / (len(z) - TERMS))
    rng = np.random.default_rng(seed)
    again = [_solve(x, y, z - best.fun + rng.choice(residuals, len(z)), best.x) for _ in range(bootstraps)]
    others = tuple(_law(found.x, middle, price) for found in again)
    return Fit(_law(best.x, middle, price), others, float(np.std(residuals)))


def _starts(z: Float[np.ndarray, " P"]) -> list[Float[np.ndarray, " 5"]]:
    """ln floor, ln A, alpha, ln B, beta around which to look."""
    low = float(np.min(z))
    return [
        np.array([low + np.log(share), low + np.log(0.3), exponent, low + np.log(0.3), exponent])
        for share in (0.05, 0.5, 0.9)
        for exponent in (0.1, 0.4, 1.0)
    ]


def _solve(x: np.ndarray, y: np.ndarray, z: np.ndarray, start: np.ndarray) -> Any:
    def model(p: np.ndarray) -> np.ndarray:
        return np.logaddexp(np.logaddexp(p[0], p[1] - p[2] * x), p[3] - p[4] * y)

    low, high = np.min(z) - 25, np.max(z) + 5  # a term far below the loss is none
    bounds = ([low, low, 1e-3, low, 1e-3], [high, high, STEEPEST, high, STEEPEST])
    return least_squares(lambda p: z - model(p), np.clip(start, *bounds), bounds=bounds)


def _law(p: np.ndarray, middle: tuple[float, float], price: float) -> Law:
    floor, a, alpha, b, beta = p
    return Law(
        float(np.exp(floor)),
        float(np.exp(a + alpha * np.log(middle[0]))),
        float(alpha),
        float(np.exp(b + beta * np.log(middle[1]))),
        float(beta),
        price,
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, [16, 84])
    return float(low), float(high)
