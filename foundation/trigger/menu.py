"""Menus: named seeds as expressions over observables, or bits of the real global trigger; total and pure rates.

Axes: n crossings, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Num, Shaped

from foundation.errors import ConfigError, DataError, SchemaError, close_names
from foundation.expression import parsed
from foundation.trigger.beam import Beam
from foundation.trigger.rates import Rate, rate_khz

WORD = 32  # bits in one column


@dataclass(frozen=True)
class MenuConfig:
    """A Level-1 menu: a crossing is taken if any seed fires.

    Attributes:
        seeds: name -> condition over the columns of a score table, e.g. `ht >= 280` or
            `(muon_pt_1 >= 15) & (muon_pt_2 >= 7)`; see `foundation.expression` for what may be written.
        bits: name -> number of an algorithm's bit in `words`.
        words: columns `WORDS_0`, `WORDS_1`, ... that hold the bits 0 to 31, 32 to 63, ... as numbers.
    """

    seeds: dict[str, str] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    words: str = "algorithm_bits"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the seeds, in the order of `fired`."""
        return (*self.seeds, *self.bits)

    def columns(self) -> list[str]:
        """The columns that it reads.

        Raises:
            ConfigError: a seed is written wrongly, a name occurs twice, or a bit's number is negative.
        """
        twice = sorted(set(self.seeds) & set(self.bits))
        if twice or min(self.bits.values(), default=0) < 0:
            raise ConfigError(f"menu: a seed and a bit have the same name ({', '.join(twice)}), or a bit is negative")
        names = {self._word(number) for number in self.bits.values()}
        for seed, text in self.seeds.items():
            try:
                names |= parsed(text).names
            except SchemaError as error:
                raise ConfigError(f"menu seed '{seed}': {error}") from error
        return sorted(names)

    def _word(self, number: int) -> str:
        return f"{self.words}_{number // WORD}"


def fired(menu: MenuConfig, columns: Mapping[str, Shaped[np.ndarray, " n"]]) -> Bool[np.ndarray, "n S"]:
    """Which seeds take each crossing.

    Raises:
        ConfigError: a seed reads a column that is not there, or is no condition.
        DataError: a column that it reads is NaN somewhere.
    """
    for name in menu.columns():
        if name not in columns:
            raise ConfigError(f"the menu reads '{name}', which the scores do not have; {close_names(name, columns)}")
        bad = int(np.isnan(columns[name]).sum()) if columns[name].dtype.kind == "f" else 0
        if bad:
            raise DataError(f"the menu reads '{name}', which is NaN in {bad:,} of {len(columns[name]):,} rows")
    rows = len(next(iter(columns.values())))
    found = np.zeros((rows, len(menu.names)), bool)
    for i, (seed, text) in enumerate(menu.seeds.items()):
        found[:, i] = _condition(seed, parsed(text).evaluate(columns), rows)
    for i, number in enumerate(menu.bits.values(), start=len(menu.seeds)):
        word = np.asarray(columns[menu._word(number)], np.int64)
        found[:, i] = (word >> number % WORD) & 1
    return found


def _condition(seed: str, value: object, rows: int) -> Bool[np.ndarray, " n"]:
    result = np.asarray(value)
    if result.dtype != bool or result.shape != (rows,):
        raise ConfigError(f"menu seed '{seed}' gives {result.dtype} {result.shape}, not yes or no for each crossing")
    return result


@dataclass(frozen=True)
class SeedRate:
    """A seed beside others.

    Attributes:
        seed: its name.
        total: rate of what it takes.
        pure: rate of what it alone takes.
    """

    seed: str
    total: Rate
    pure: Rate


@dataclass(frozen=True)
class MenuRates:
    """What a menu costs.

    Attributes:
        total: rate of what any seed takes.
        seeds: each of them.
        nothing_left: in words, if the menu takes every crossing, so that no pure rate beside it can be measured.
    """

    total: Rate
    seeds: tuple[SeedRate, ...]
    nothing_left: str = ""


def menu_rates(
    names: Sequence[str], fired: Bool[np.ndarray, "n S"], weights: Num[np.ndarray, " n"] | None, beam: Beam
) -> MenuRates:
    """Total rate of the menu, total and pure rate of each seed: pure rates and what several take add up to the total.

    Raises:
        DataError: there is no crossing.
    """
    several = fired.sum(axis=1)
    seeds = tuple(
        SeedRate(name, rate_khz(fired[:, i], weights, beam), rate_khz(fired[:, i] & (several == 1), weights, beam))
        for i, name in enumerate(names)
    )
    return MenuRates(rate_khz(several > 0, weights, beam), seeds, nothing_left(names, fired))


def nothing_left(names: Sequence[str], fired: Bool[np.ndarray, "n S"]) -> str:
    """The rule for a menu that takes every crossing: a pure rate beside it is zero by construction, and no measurement.

    The `final_or` of CMS's test vectors is such a menu: 1 in every row, for algorithms such as L1_AlwaysTrue are in it.
    """
    if not fired.any(axis=1).all():
        return ""
    always = [name for name, column in zip(names, fired.T) if column.all()]
    by = f" ({', '.join(always)} alone does)" if always else ""
    return (
        f"the menu takes every one of {len(fired):,} crossings{by}: what it does not take is nothing, so pure rates "
        "beside it are zero by construction and gains are not defined; choose seeds that are in use and not prescaled"
    )
