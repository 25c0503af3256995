"""The table and the plot of benchmarks/embedding.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ARMS = {
    "tree": ("boosted trees on jet observables", "#777777", "s", "--"),
    "scratch": ("network from scratch", "#d95f02", "v", "-"),
    "finetune": ("pretrained, fine-tuned", "#1b9e77", "^", "-"),
    "probe": ("pretrained, linear probe", "#1f4e9c", "o", "-"),
}
Found = dict[int, list[dict[str, float]]]


def table(found: Found) -> str:
    """Markdown: one line per number of labels and arm, every seed, then mean and standard deviation."""
    seeds = len(next(iter(found.values())))
    lines = [
        "| labels | arm | " + " | ".join(f"seed {i}" for i in range(seeds)) + " | mean | sd |",
        "| ---: | --- | " + "---: | " * (seeds + 2),
    ]
    for count, each in found.items():
        for arm in (arm for arm in ARMS if arm in each[0]):
            values = [seed[arm] for seed in each]
            spread = f"{np.std(values, ddof=1):.4f}" if seeds > 1 else "-"
            cells = " | ".join(f"{v:.4f}" for v in values)
            lines.append(f"| {count:,} | {arm} | {cells} | **{np.mean(values):.4f}** | {spread} |")
    return "\n".join(line.rstrip() for line in lines)


def draw(found: Found, path: Path) -> None:
    """Area under the curve against the number of labels: each seed as a point, the mean as a line."""
    figure, axes = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    for place, (arm, (words, colour, marker, line)) in enumerate(ARMS.items()):
        counts = np.array(list(found))
        values = np.array([[seed[arm] for seed in found[count]] for count in found])
        x = counts * 1.045 ** (place - 1.5)  # side by side, so that the points of two arms are told apart
        axes.plot(x, values.mean(axis=1), line, color=colour, marker=marker, label=words, zorder=3)
        axes.plot(np.repeat(x, values.shape[1]), values.ravel(), marker, color=colour, alpha=0.3, markersize=4)
    goal = np.mean([seed["tree"] for seed in found[1000]])
    axes.axhline(goal, color="#777777", linewidth=0.8)
    axes.annotate("trees, 1,000 labels", (min(found), goal), (0, 3), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks(list(found), [f"{count:,}" for count in found])
    axes.minorticks_off()
    axes.set_xlabel("labelled jets")
    axes.set_ylabel("area under the ROC curve, top against QCD")
    axes.legend(loc="lower right", frameon=False)
    axes.grid(axis="y", alpha=0.25)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def ablation_line(words: str, areas: list[float]) -> str:
    """Markdown: every seed, then mean and standard deviation."""
    cells = " | ".join(f"{area:.4f}" for area in areas)
    return f"| {words} | {cells} | **{np.mean(areas):.4f}** | {np.std(areas, ddof=1):.4f} |"
