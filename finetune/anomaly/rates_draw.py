"""The pictures of `detfm anomaly rates`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finetune.anomaly.rates_config import RatesConfig
from finetune.anomaly.rates_measure import Measured
from finetune.anomaly.rates_table import SCORE, Crossings, Scored
from foundation import plots, plots_trigger
from foundation.metrics import effective_count
from foundation.plots_trigger import POINTS, RateCurve
from foundation.trigger.efficiency import efficiency, kept
from foundation.trigger.menu import fired
from foundation.trigger.rates import Steps

UNITS = {"ht": "GeV", "leading_jet_pt": "GeV", "met": "GeV", "total_et": "GeV"}
TITLES = {"ht": "HT", "leading_jet_pt": "leading jet pt", "met": "missing energy", "total_et": "total Et",
          "multiplicity": "multiplicity", "npu": "pile-up", "label_period": "period"}  # fmt: skip


def title(name: str) -> str:
    """A column's name as people read it."""
    return TITLES.get(name, name.removeprefix("label_").replace("_", " "))


def draw(folder: Path, scored: Scored, found: Measured, cfg: RatesConfig) -> None:
    """Writes rate_against_threshold, efficiency_against_rate_SIGNAL, score_against_NAME and rate_by_NAME, as PNG."""
    zero_bias = scored.background
    rows = f"{len(zero_bias.score):,} crossings"
    taken = fired(cfg.menu, zero_bias.columns).any(axis=1) if (SCORE, "pure") in found.cuts else None
    total = float(zero_bias.weights.sum())
    curves = {"total": RateCurve.of(zero_bias.score, zero_bias.weights, total, cfg.beam)}
    cuts = {"total": found.cuts[SCORE, "total"]}
    if taken is not None:
        free = zero_bias.where(~np.asarray(taken))
        curves["pure, beside the menu"] = RateCurve.of(free.score, free.weights, total, cfg.beam)
        cuts["pure, beside the menu"] = found.cuts[SCORE, "pure"]
    picture = plots_trigger.rate_against_threshold(curves, cuts, rows)
    plots.save(picture, folder / "rate_against_threshold.png")
    for name, signal in scored.signals.items():
        _efficiency(folder, name, signal, scored, found, cfg)
    for name in dict.fromkeys((*scored.dependence, *scored.baselines[:1])):
        values = zero_bias.columns[name]
        picture = plots_trigger.score_against(
            zero_bias.score, values, zero_bias.weights, title(name), rows, UNITS.get(name, "")
        )
        plots.save(picture, folder / f"score_against_{name}.png")
    for name, (groups, cut) in found.stabilities.items():
        picture = plots_trigger.rate_in_groups(groups, cut, title(name), f"score for {cut.rate_khz:g} kHz")
        plots.save(picture, folder / f"rate_by_{name.removeprefix('label_')}.png")


def _efficiency(folder: Path, name: str, signal: Crossings, scored: Scored, found: Measured, cfg: RatesConfig) -> None:
    zero_bias = scored.background
    scale = cfg.beam.crossing_rate_khz / float(zero_bias.weights.sum())
    curves = {}
    for quantity in (SCORE, *scored.baselines):
        steps = Steps.of(zero_bias.columns[quantity], zero_bias.weights)
        at = np.unique(np.round(np.geomspace(1, len(steps.values), POINTS)).astype(int) - 1)
        efficiencies = kept(signal.columns[quantity], steps.values[at], signal.weights)
        curves[title(quantity)] = (scale * steps.weight[at], efficiencies)
    menu = None
    if found.menu is not None and (SCORE, "pure") in found.cuts:
        share = efficiency(np.asarray(fired(cfg.menu, signal.columns).any(axis=1)), signal.weights)
        menu = (found.menu.total.khz, share.value)
    lowest = _unmeasured(zero_bias, cfg)
    caption = f"{len(signal.score):,} of signal, {len(zero_bias.score):,} of zero bias"
    picture = plots_trigger.efficiency_against_rate(curves, title(name), lowest, cfg.rates_khz, menu, caption)
    plots.save(picture, folder / f"efficiency_against_rate_{name}.png")


def _unmeasured(zero_bias: Crossings, cfg: RatesConfig) -> float:
    """Rate in kHz of the score below which the error asked for is not reached."""
    steps = Steps.of(zero_bias.score, zero_bias.weights)
    enough = steps.weight**2 / steps.square * cfg.relative_error**2 >= 1
    scale = cfg.beam.crossing_rate_khz / float(zero_bias.weights.sum())
    known = scale * steps.weight[enough]
    return float(known[0]) if len(known) else scale * float(effective_count(zero_bias.weights))
