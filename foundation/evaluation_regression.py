"""Figures of regressions: response, resolution, in bins too, and how often the quantiles hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from foundation import metrics, plots, plots_evaluation
from foundation.evaluation_config import EvaluateConfig
from foundation.metrics_bins import bin_edges, quantile_coverage, response_in_bins
from foundation.predictions import Predictions
from foundation.quantities import Quantities


def measure_regression(
    folder: Path, found: Predictions, cfg: EvaluateConfig, quantities: Quantities, rows: Int[np.ndarray, " m"]
) -> dict[str, Any]:
    """Each regression's figures by its name; draws response and resolution, and the coverage of quantiles.

    Args:
        rows: of the split that the regressions are of.

    Returns:
        name -> what `foundation.metrics.regression` gives; `coverage` (of each quantile); `bins`: quantity (`target` is
        the true value itself) -> records of response and resolution.

    Raises:
        DataError: no known target, or predictions that are not finite.
    """
    result: dict[str, Any] = {}
    for name, each in found.regressions.items():
        figures: dict[str, Any] = metrics.regression(each.target, each.value)
        if each.quantiles:
            figures["coverage"] = quantile_coverage(each.target, each.quantiles)
        wanted: dict[str, list[float]] = {"target": []} | (cfg.bins or {key: [] for key in quantities.usual()})
        figures["bins"] = {}
        for quantity, edges in wanted.items():
            values = each.target if quantity == "target" else quantities[quantity][rows]
            made = bin_edges(values, edges)
            if len(made) > 1:
                figures["bins"][quantity] = response_in_bins(values, each.target, each.value, made)
        if figures["bins"]:
            plots.save(plots_evaluation.responses(figures["bins"], name), folder / f"response_{name}.png")
        if each.quantiles:
            plots.save(plots_evaluation.coverage(figures["coverage"], name), folder / f"coverage_{name}.png")
        result[name] = figures
    return result
