"""What `detfm anomaly rates` measures, as records for metrics.json.

Axes: n zero-bias crossings, S seeds of the menu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Num

from finetune.anomaly.rates_config import RatesConfig
from finetune.anomaly.rates_limits import limits
from finetune.anomaly.rates_table import SCORE, Crossings, Scored
from foundation.metrics import check_finite, effective_count
from foundation.trigger.dependence import dependence
from foundation.trigger.efficiency import efficiency, efficiency_at, separation
from foundation.trigger.gain import gains
from foundation.trigger.menu import MenuRates, fired, menu_rates
from foundation.trigger.rates import Rate, Threshold, rate_khz, thresholds
from foundation.trigger.stability import Stability, in_bins, stability

Cuts = dict[tuple[str, str], list[Threshold]]  # (quantity, total or pure)


@dataclass(frozen=True)
class Measured:
    """All that was found.

    Attributes:
        figures: for metrics.json.
        cuts: of the score and the baselines.
        stabilities: quantity -> the rate of one threshold in its groups, and that threshold.
        menu: what the menu costs, or None.
    """

    figures: dict[str, Any]
    cuts: Cuts
    stabilities: dict[str, tuple[Stability, Threshold]]
    menu: MenuRates | None


def measure(scored: Scored, cfg: RatesConfig) -> Measured:
    """Thresholds, rates beside the menu, efficiencies, gains, separation, dependence, stability, and the limits.

    Raises:
        DataError: a baseline or observable is not finite somewhere, or there is no zero-bias crossing with a weight.
        ConfigError: the menu reads what is not there.
    """
    zero_bias, quantities = scored.background, (SCORE, *scored.baselines)
    for name in dict.fromkeys((*quantities, *scored.dependence)):
        for each in (zero_bias, *scored.signals.values()):
            check_finite(each.columns[name], f"values of '{name}'")
    taken = fired(cfg.menu, zero_bias.columns) if cfg.menu.names else None
    menu = None if taken is None else menu_rates(cfg.menu.names, taken, zero_bias.weights, cfg.beam)
    any_seed = None if taken is None or menu is None or menu.nothing_left else np.asarray(taken.any(axis=1))
    cuts = _cuts(zero_bias, quantities, any_seed, cfg)
    groups = _stability(zero_bias, cuts[SCORE, "total"], scored, cfg)
    figures: dict[str, Any] = {
        "zero_bias": len(zero_bias.score),
        "effective_crossings": effective_count(zero_bias.weights),
        "signals": {name: len(each.score) for name, each in scored.signals.items()},
        "crossing_rate_khz": cfg.beam.crossing_rate_khz,
    }
    if menu is not None:
        figures["menu_khz"] = {"rate": menu.total.khz, "low": menu.total.low, "high": menu.total.high}
        figures["menu_seeds"] = [_seed(each.seed, each.total, each.pure) for each in menu.seeds]
    figures["thresholds"] = [
        {"quantity": quantity, "counts": kind} | cut.record() for (quantity, kind), own in cuts.items() for cut in own
    ]
    if any_seed is not None:
        figures["beside_menu"] = _beside(zero_bias, cuts[SCORE, "total"], any_seed, cfg)
    figures |= _signals(scored, cuts, any_seed, cfg)
    if scored.dependence:
        columns = {name: zero_bias.columns[name] for name in scored.dependence}
        figures["dependence"] = dependence(zero_bias.score, columns, zero_bias.weights)
    figures["stability"] = [_summary(name, *found) for name, found in groups.items()]
    figures["groups"] = [
        {"quantity": name} | record for name, (found, _) in groups.items() for record in found.records()
    ]
    figures["limits"] = [{"limit": text} for text in limits(scored, cfg, menu, cuts[SCORE, "total"], groups)]
    return Measured(figures, cuts, groups, menu)


def _cuts(
    zero_bias: Crossings, quantities: Sequence[str], any_seed: Bool[np.ndarray, " n"] | None, cfg: RatesConfig
) -> Cuts:
    found: Cuts = {}
    for quantity in quantities:
        for kind in ("total", "pure") if any_seed is not None else ("total",):
            found[quantity, kind] = thresholds(
                zero_bias.columns[quantity],
                zero_bias.weights,
                cfg.rates_khz,
                cfg.beam,
                fired=any_seed,
                pure=kind == "pure",
                relative_error=cfg.relative_error,
            )
    return found


def _seed(name: str, total: Rate, pure: Rate) -> dict[str, Any]:
    record: dict[str, Any] = {"seed": name}
    for kind, rate in (("total", total), ("pure", pure)):
        record |= {f"{kind}_khz": rate.khz, f"{kind}_low": rate.low, f"{kind}_high": rate.high}
    return record


def _beside(
    zero_bias: Crossings, cuts: Sequence[Threshold], any_seed: Bool[np.ndarray, " n"], cfg: RatesConfig
) -> list[dict[str, Any]]:
    """Total and pure rate of the score's thresholds, and the rate of menu OR score."""
    records = []
    for cut in cuts:
        passed = zero_bias.score >= cut.value
        total, pure, both = (
            rate_khz(which, zero_bias.weights, cfg.beam) for which in (passed, passed & ~any_seed, passed | any_seed)
        )
        record = _seed(f"{SCORE} at {cut.rate_khz:g} kHz", total, pure)
        records.append(record | {"menu_or_score_khz": both.khz, "measured": cut.measured})
    return records


def _signals(
    scored: Scored, cuts: Cuts, any_seed: Bool[np.ndarray, " n"] | None, cfg: RatesConfig
) -> dict[str, list[dict[str, Any]]]:
    zero_bias = scored.background
    keys = ("separation", "efficiency", "menu_efficiency", "gain")
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    for name, signal in scored.signals.items():
        taken = None if any_seed is None else np.asarray(fired(cfg.menu, signal.columns).any(axis=1))
        if taken is not None:
            found["menu_efficiency"].append({"signal": name} | asdict(efficiency(taken, signal.weights)))
        for quantity in (SCORE, *scored.baselines):
            head, values = {"signal": name, "quantity": quantity}, signal.columns[quantity]
            pair = (values, zero_bias.columns[quantity], signal.weights, zero_bias.weights)
            found["separation"].append(head | separation(*pair))
            for cut in cuts[quantity, "total"]:
                share = efficiency_at(values, cut.value, signal.weights)
                found["efficiency"].append(head | _at(cut) | asdict(share))
            if taken is not None and any_seed is not None:
                found["gain"] += _gains(head, cuts[quantity, "pure"], zero_bias, any_seed, (values, signal, taken), cfg)
    return {key: records for key, records in found.items() if records}


def _gains(
    head: Mapping[str, str],
    cuts: Sequence[Threshold],
    zero_bias: Crossings,
    any_seed: Bool[np.ndarray, " n"],
    signal: tuple[Num[np.ndarray, " s"], Crossings, Bool[np.ndarray, " s"]],
    cfg: RatesConfig,
) -> list[dict[str, Any]]:
    values, each, taken = signal
    background = (zero_bias.columns[head["quantity"]], zero_bias.weights, any_seed)
    found = gains(cuts, background, (values, each.weights, taken), cfg.beam, cfg.replicas, cfg.seed)
    return [dict(head) | _at(cut) | {k: v for k, v in asdict(gain).items() if k != "rate_khz"}
            for cut, gain in zip(cuts, found)]  # fmt: skip


def _at(cut: Threshold) -> dict[str, Any]:
    return {"rate_khz": cut.rate_khz, "achieved_khz": cut.achieved_khz, "measured": cut.measured}


def _stability(
    zero_bias: Crossings, cuts: Sequence[Threshold], scored: Scored, cfg: RatesConfig
) -> dict[str, tuple[Stability, Threshold]]:
    """At the threshold that most crossings pass, the one that shows a change first; none if it is not measured."""
    cut = max(cuts, key=lambda each: each.rate_khz)
    if not cut.measured:
        return {}
    found = {}
    for name, edges in scored.stability.items():
        if name in zero_bias.names:
            groups, names = zero_bias.columns[name].astype(np.int64), zero_bias.names[name]
        else:
            groups, names = in_bins(zero_bias.columns[name], edges)
        passed = zero_bias.score >= cut.value
        found[name] = (stability(passed, zero_bias.weights, groups, names, cfg.beam, cfg.seed), cut)
    return found


def _summary(name: str, found: Stability, cut: Threshold) -> dict[str, Any]:
    record = {"quantity": name, "rate_khz": cut.rate_khz, "groups": len(found.names), "chi2": found.chi2}
    return record | {"degrees": found.degrees, "p_value": found.p_value, "reason": found.reason}
