"""The functions that expressions may call, for every kind of array that an expression is evaluated over.

Jagged and awkward arrays hold the real tokens only, [R, var]; numpy and jax arrays are padded with zeros, [B, N].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from foundation.jagged import Jagged, concatenated


def is_awkward(*values: Any) -> bool:
    return any(type(value).__module__.startswith("awkward") for value in values)


def _where(xp: Any, condition: Any, yes: Any, no: Any) -> Any:
    for value in (condition, yes, no):
        if isinstance(value, Jagged):
            return value.where(condition, yes, no)
    if is_awkward(condition, yes, no):
        import awkward as ak

        return ak.where(condition, yes, no)
    return xp.where(condition, yes, no)


def _over_tokens(name: str) -> Callable[..., Any]:
    """sum, max, min or count. [R, var] -> [R], which broadcasts to tokens; arrays: [B, N] -> [B, 1], likewise."""

    def apply(xp: Any, tokens: Any) -> Any:
        if getattr(tokens, "ndim", 0) < 2:
            raise ValueError(f"{name} runs over the tokens of an example, and this is one number")
        if isinstance(tokens, Jagged):
            return tokens.reduce(name)
        if is_awkward(tokens):
            import awkward as ak

            value = getattr(ak, name)(tokens, axis=1)
            return value if name in ("sum", "count") else ak.fill_none(value, np.nan)
        if name == "count":
            return xp.sum(xp.ones_like(tokens, dtype=int), axis=1, keepdims=True)
        return getattr(xp, name)(tokens, axis=1, keepdims=True)

    return apply


def _index(xp: Any, tokens: Any) -> Any:
    """The place of each token in its example: 0, 1, 2, ..."""
    if getattr(tokens, "ndim", 0) < 2:
        raise ValueError("index counts the tokens of an example, and this is one number")
    if isinstance(tokens, Jagged):
        return tokens.index()
    if is_awkward(tokens):
        import awkward as ak

        return ak.local_index(tokens, axis=1)
    return xp.broadcast_to(xp.arange(tokens.shape[1]), tokens.shape[:2])


def _concatenate(xp: Any, *parts: Any) -> Any:
    """The tokens of each part after those of the one before; a number per example is one token."""
    if any(getattr(part, "ndim", 0) < 1 for part in parts):
        raise ValueError("concatenate takes columns; a constant is written as `0 * column[:, 0]`")
    if not is_awkward(*parts):
        return concatenated(parts)
    import awkward as ak

    arrays = [part.awkward() if isinstance(part, Jagged) else ak.Array(part) for part in parts]
    lists = [array if array.ndim > 1 else ak.unflatten(array, np.ones(len(array), np.int64)) for array in arrays]
    return ak.concatenate(lists, axis=1)


def _eta(xp: Any, px: Any, py: Any, pz: Any) -> Any:
    return xp.arcsinh(pz / xp.hypot(px, py))


def _delta_phi(xp: Any, first: Any, second: Any) -> Any:
    """first - second wrapped to [-pi, pi)."""
    return xp.remainder(first - second + np.pi, 2 * np.pi) - np.pi


def _delta_r(xp: Any, eta_a: Any, phi_a: Any, eta_b: Any, phi_b: Any) -> Any:
    return xp.hypot(eta_a - eta_b, _delta_phi(xp, phi_a, phi_b))


def _mass(xp: Any, pt: Any, eta: Any, energy: Any) -> Any:
    """sqrt((E - p)(E + p)); 0 where rounding leaves the vector space-like."""
    p = pt * xp.cosh(eta)
    return xp.sqrt(xp.maximum((energy - p) * (energy + p), 0))


def _plain(name: str) -> Callable[..., Any]:
    return lambda xp, *arguments: getattr(xp, name)(*arguments)


# name -> (number of arguments, None for one or more; function of (xp, *arguments)); what is not special-cased is built
# from ufuncs, which jagged and awkward arrays take over
FUNCTIONS: dict[str, tuple[int | None, Callable[..., Any]]] = {
    **{name: (1, _plain(name)) for name in ("log", "log10", "log1p", "exp", "sqrt", "abs", "sign", "isfinite")},
    **{name: (1, _plain(name)) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "floor")},
    **{name: (2, _plain(name)) for name in ("hypot", "arctan2", "minimum", "maximum")},
    **{name: (1, _over_tokens(name)) for name in ("sum", "max", "min", "count")},
    "round": (1, _plain("rint")),
    "asinh": (1, _plain("arcsinh")),
    "atan2": (2, _plain("arctan2")),
    "clip": (3, lambda xp, x, low, high: xp.minimum(xp.maximum(x, low), high)),
    "where": (3, _where),
    "index": (1, _index),
    "concatenate": (None, _concatenate),
    "pt": (2, _plain("hypot")),
    "phi": (2, lambda xp, px, py: xp.arctan2(py, px)),
    "eta": (3, _eta),
    "px": (2, lambda xp, pt, phi: pt * xp.cos(phi)),
    "py": (2, lambda xp, pt, phi: pt * xp.sin(phi)),
    "pz": (2, lambda xp, pt, eta: pt * xp.sinh(eta)),
    "energy": (3, lambda xp, pt, eta, mass: xp.hypot(pt * xp.cosh(eta), mass)),
    "mass": (3, _mass),
    "delta_phi": (2, _delta_phi),
    "delta_r": (4, _delta_r),
}
# what padding with zeros falsifies: for files only, not for `recompute`, which runs over padded tokens
FILE_ONLY = frozenset({"max", "min", "count", "concatenate"})
