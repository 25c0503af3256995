"""Physical values to the integers that the trigger board receives, and back.

Axes: B examples, N tokens, F features of the modality, K tokens and H features of the hardware.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from foundation.batch import Tokens
from foundation.errors import DataError, SchemaError, close_names
from foundation.hardware_inputs import to_counts
from foundation.schema import DetectorSchema, Hardware
from foundation.store import Store


@dataclass(frozen=True)
class HardwareLayout:
    """What the board receives: the first `tokens` tokens, each with these features.

    Attributes:
        modality: which tokens.
        tokens: how many; absent ones are zeros.
        features: name -> integer type, in the order of the last axis.
        columns: where these features lie on the last axis of the modality's values.
    """

    modality: str = ""
    tokens: int = 16
    features: dict[str, Hardware] = field(default_factory=dict)
    columns: tuple[int, ...] = ()

    @property
    def lsb(self) -> Float[np.ndarray, " H"]:
        return np.array([h.lsb for h in self.features.values()])

    @property
    def bits(self) -> Int[np.ndarray, " H"]:
        return np.array([h.bits for h in self.features.values()])

    @property
    def signed(self) -> Int[np.ndarray, " H"]:
        return np.array([int(h.signed) for h in self.features.values()])

    @property
    def low(self) -> Int[np.ndarray, " H"]:
        return np.array([h.low for h in self.features.values()])

    @property
    def high(self) -> Int[np.ndarray, " H"]:
        return np.array([h.high for h in self.features.values()])


def hardware_layout(
    schema: DetectorSchema, modality: str, features: Sequence[str] | None = None, tokens: int = 16
) -> HardwareLayout:
    """The hardware's view of a modality.

    Args:
        schema: of the store.
        modality: name.
        features: which to use, in this order; None or empty: all that have a hardware type.
        tokens: how many tokens the board receives.

    Raises:
        SchemaError: no such modality or feature, or a feature (or all of them) without a hardware type.
    """
    if modality not in schema.modalities:
        hint = close_names(modality, schema.modalities)
        raise SchemaError(f"schema '{schema.name}' has no modality '{modality}'; {hint}")
    spec = schema.modalities[modality]
    typed = {name: f.hardware for name, f in spec.features.items() if f.hardware is not None}
    for name in features or ():
        if name not in typed:
            problem = "has no hardware type (lsb, bits, signed)" if name in spec.features else "does not exist"
            raise SchemaError(f"feature '{name}' of modality '{modality}' {problem}; {close_names(name, typed)}")
    chosen = {name: typed[name] for name in features or typed}
    if not chosen:
        raise SchemaError(
            f"no feature of modality '{modality}' has a hardware type, so the trigger sees none of it; "
            f"add `hardware: {{lsb, bits, signed}}` to features of schema '{schema.name}'"
        )
    return HardwareLayout(modality, tokens, chosen, tuple(spec.index(name) for name in chosen))


def layout_of(integers: Int[np.ndarray, "B N F"]) -> HardwareLayout:
    """A layout that is just wide enough for these integers."""
    low, high = integers.min(axis=(0, 1)), integers.max(axis=(0, 1))
    bits = np.maximum(np.frexp(np.maximum(high, 0))[1], np.frexp(np.maximum(-low - 1, 0))[1]) + (low < 0)
    types = {f"feature_{i}": Hardware(1.0, max(int(b), 1), bool(s)) for i, (b, s) in enumerate(zip(bits, low < 0))}
    return HardwareLayout("inputs", integers.shape[1], types, tuple(range(integers.shape[2])))


def to_hardware(tokens: Tokens, layout: HardwareLayout) -> tuple[Int[np.ndarray, "B K H"], Int[np.ndarray, " H"]]:
    """The integers that the board receives: value / lsb rounded half up, saturated; zeros where there is no token.

    Returns:
        The integers, int32; and for each feature how many of them were saturated.

    Raises:
        DataError: a value is NaN or infinite, or the tokens have too few features.
    """
    values, mask = np.asarray(tokens.values), np.asarray(tokens.mask)
    if max(layout.columns) >= values.shape[-1]:
        raise DataError(f"the layout reads column {max(layout.columns)} of tokens with {values.shape[-1]} features")
    kept = min(layout.tokens, values.shape[1])
    present = mask[:, :kept, None]
    chosen = np.where(present, values[:, :kept, list(layout.columns)], 0).astype(np.float64)
    if not np.isfinite(chosen).all():
        name = list(layout.features)[int(np.argwhere(~np.isfinite(chosen))[0][-1])]
        raise DataError(f"feature '{name}' of modality '{layout.modality}' is NaN or infinite in some token")
    clipped = to_counts(chosen, list(layout.features.values()))
    integers = np.zeros((len(values), layout.tokens, len(layout.features)), np.int32)
    integers[:, :kept] = clipped
    return integers, (clipped != np.floor(chosen / layout.lsb + 0.5)).sum((0, 1))


def from_hardware(integers: Int[np.ndarray, "B K H"], layout: HardwareLayout) -> Float[np.ndarray, "B K H"]:
    """Physical values of hardware integers, float32."""
    return (integers * layout.lsb).astype(np.float32)


def hardware_integers(
    data: Store, layout: HardwareLayout, split: str, rows: int = 8192
) -> tuple[Int[np.ndarray, "n K H"], Int[np.ndarray, " H"]]:
    """What the trigger board receives of a whole split, in row order, and the saturated values per feature."""
    parts, saturated = [], np.zeros(len(layout.features), np.int64)
    for first in range(0, data.length(split), rows):
        batch = data.read(split, np.arange(first, min(first + rows, data.length(split))))
        integers, clipped = to_hardware(batch.modalities[layout.modality], layout)
        parts.append(integers)
        saturated += clipped
    return np.concatenate(parts), saturated
