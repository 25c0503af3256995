"""The page of `detfm anomaly display`.

Axes: n crossings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from finetune.anomaly.display_events import Shown
from finetune.anomaly.display_plots import draw_contributions
from finetune.anomaly.plots import score_histograms
from foundation import plots
from foundation.inspect.display import draw
from foundation.page import Picture, Section, Settings, Table, write_report
from foundation.runs import Run

PAGE = "report.html"
LISTED = 30  # objects in a table


def write_page(run: Run, events: list[Shown], scores: Float[np.ndarray, " n"], model: str, split: str) -> None:
    """`report.html` with every picture in it, and the pictures beside it."""
    sections = [_overview(events, scores, model, split)]
    for number, event in enumerate(events):
        pictures = _pictures(event)
        for kind, (figure, _) in pictures.items():
            plots.save(figure, run.path / f"{_stem(event, number)}_{kind}.png")
        shown_here = [Picture(plots.png(figure), caption, wide=True) for figure, caption in pictures.values()]
        sections.append(_section(event, shown_here))
    provenance = {key: run.provenance[key] for key in ("command", "detfm", "git_commit", "created")}
    title = f"The most anomalous crossings of {run.schema.name}, {split}"
    write_report(run.path / PAGE, title, sections, provenance)


def _stem(event: Shown, number: int) -> str:
    return f"crossing_{event.rank:02d}" if event.rank else f"ordinary_{number:02d}"


def _pictures(event: Shown) -> dict[str, tuple[Any, str]]:
    said = "Contribution of each object: the score less the score without it (red: makes the crossing more unusual)"
    return {"contributions": (draw_contributions(event), said), "event": (draw(event.event), "The event display")}


def _overview(events: list[Shown], scores: Float[np.ndarray, " n"], model: str, split: str) -> Section:
    finite = scores[np.isfinite(scores)]
    marks = [event.score for event in events if event.rank]
    measured = [
        name for name in ("ht", "leading_jet_pt", "multiplicity", "met", "total_et") if name in events[0].observables
    ]
    rows = []
    for event in events:
        first = next(iter(event.objects()), None)
        share = float(np.mean(finite >= event.score))
        rows.append([event.rank or "ordinary", event.score, share, *(event.observables[n] for n in measured),
                     "none" if first is None else first[0], None if first is None else first[3]])  # fmt: skip
    header = [
        "rank",
        "score",
        "share of crossings above",
        *measured,
        "object that contributes most",
        "its contribution",
    ]
    text = (
        f"Of {len(scores):,} crossings of '{split}', scored by {model}. "
        "What an object contributes is the score less the score without it (occlusion); unless the score is a sum over "
        "objects, contributions do not add up to it. Energies in GeV."
    )
    picture = Picture(plots.png(score_histograms({"all crossings": finite}, split, marks)), "Dotted: those shown")
    return Section("Overview", text, [Table(header, [list(map(_plain, row)) for row in rows])], [picture])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _section(event: Shown, pictures: list[Picture]) -> Section:
    features = list(dict.fromkeys(f for m in event.event.schema.modalities.values() for f in m.features))
    rows = []
    for label, name, values, given in event.objects()[:LISTED]:
        own = dict(zip(event.event.schema.modalities[name].features, values))
        rows.append([label, *(float(own[f]) if f in own else None for f in features), given])
    units = {f: s.unit for m in event.event.schema.modalities.values() for f, s in m.features.items()}
    header = ["object", *(f"{f} [{units[f]}]" if units[f] else f for f in features), "contribution"]
    observed = {name: _plain(value) for name, value in event.event.observers.items()}
    facts = Settings({**event.event.labels, **observed, **event.observables}, "The crossing")
    short = f"{event.rank}" if event.rank else "ordinary"
    return Section(
        event.title, event.event.where, [], pictures, [Table(header, rows, "What fired"), facts], short=short
    )
