"""The page of an anomaly run, and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foundation.runs import Run

PAGE = "report.html"


def draw_scores(
    folder: Path, scores: Mapping[str, np.ndarray], by_class: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """`scores.png`: train and val; `scores_LABEL.png`: the classes of each label."""
    from finetune.anomaly.plots import score_histograms  # matplotlib takes a second to import
    from foundation.plots import save

    save(score_histograms(scores, folder.name), folder / "anomaly_scores.png")
    for label, classes in by_class.items():
        save(score_histograms(classes, f"{folder.name}: {label}"), folder / f"scores_of_{label}.png")


def write_page(run: Run) -> None:
    """Writes `report.html`: the run's figures, pictures, settings and inputs."""
    from foundation.report import run_section, write_report

    provenance = {key: run.provenance[key] for key in ("command", "detfm", "git_commit", "created")}
    write_report(run.path / PAGE, f"What is normal: {run.path.name}", [run_section(run)], provenance)
