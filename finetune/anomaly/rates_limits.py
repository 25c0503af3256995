"""What the numbers of `detfm anomaly rates` do not say, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetune.anomaly.rates_config import RatesConfig
from finetune.anomaly.rates_table import Scored
from foundation.metrics import effective_count
from foundation.trigger.menu import MenuRates
from foundation.trigger.rates import Threshold, crossings_needed
from foundation.trigger.stability import Stability

NOT_ZERO_BIAS = 0.1  # of the crossings; a real menu takes 0.4% of them


def limits(
    scored: Scored,
    cfg: RatesConfig,
    menu: MenuRates | None,
    cuts: Sequence[Threshold],
    groups: Mapping[str, tuple[Stability, Threshold]],
) -> list[str]:
    """A sentence or two for each limit.

    Args:
        menu: what it costs, if there is one.
        cuts: thresholds of the score.
        groups: what stability was measured in.
    """
    rows, count = len(scored.background.score), effective_count(scored.background.weights)
    worth = f", worth {count:,.0f} by their weights" if count < 0.999 * rows else ""
    rate = f"{cfg.beam.bunches:,} bunches ({cfg.beam.crossing_rate_khz:,.0f} kHz)"
    found = [
        f"Rates are counted from {rows:,} zero-bias crossings{worth}, at {rate}.",
        "Dead time and prescales are ignored: rates are those of the decision, not of what is read out.",
        "kHz presume that these rows are zero bias. Rows that a trigger chose give shares of themselves, not rates.",
        "A threshold, and the rate it gives, are of the same crossings: the interval of the rate is the cut's error.",
    ]
    needs = [
        f"{cut.rate_khz:g} kHz ({crossings_needed(cut.rate_khz, cfg.beam, cfg.relative_error):,})"
        for cut in cuts
        if not cut.measured
    ]
    if needs:
        text = "Not measured, with the zero-bias crossings of equal weight that an error of "
        found.append(f"{text}{cfg.relative_error:.0%} takes: {', '.join(needs)}.")
    found += _of_menu(menu, cfg)
    if not scored.baselines:
        found.append("The scores have no column of HT, leading jet, multiplicity, or missing or total energy to beat.")
    if not groups:
        found.append("Stability is not measured: no column divides the crossings, or no threshold is measured.")
    return found + [note[0].upper() + note[1:] + "." for note in scored.notes]


def _of_menu(menu: MenuRates | None, cfg: RatesConfig) -> list[str]:
    if menu is None:
        return ["No menu is given: no pure rates and no gains (cfg.menu, or the preset anomaly/rates/run3)."]
    if menu.nothing_left:
        return [menu.nothing_left[0].upper() + menu.nothing_left[1:] + "."]
    share = menu.total.khz / cfg.beam.crossing_rate_khz
    if share <= NOT_ZERO_BIAS:
        return []
    text = f"The menu takes {share:.0%} of the rows, and a real one about 0.4% of zero bias: these rows are not zero "
    return [text + "bias, or seeds are in it that are prescaled. Read every kHz here as a share of the rows."]
