"""The report at the end of a pretraining: how the embedding formed and what it looks like, on one self-contained page.

The pictures are also PNG files in the run's folder `embedding/`, from where `detfm report` takes them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from foundation import embedding_pictures as draw
from foundation.embedding_pictures import Dots, Restored
from foundation.embedding_quality import neighbours
from foundation.page import Picture, Section, Settings, Table
from foundation.page import write_report as write_page
from foundation.plots import save
from foundation.report import EMBEDDING, curves_of, run_section
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.transforms import inverse
from pretrain.config import PretrainConfig
from pretrain.looking import dots_of, extent_of, has_plane, invariances, maps, masses
from pretrain.model import Pretrainer
from pretrain.monitor import Monitor, explained, label_of, pooled
from pretrain.rows import FixedRows, fixed_rows

QUERIES, NEAREST = 5, 6
EXAMPLES = 4  # whose hidden tokens are drawn
MOST_FEATURES = 8


def write_report(run: Run, model: Pretrainer, data: Store, cfg: PretrainConfig) -> Path:
    """Writes `report.html`, and the pictures below `embedding/`. Returns the page's path."""
    folder = run.path / EMBEDDING
    folder.mkdir(exist_ok=True)
    look = _Look(model, data, cfg, folder)
    whole = run_section(run)
    sections = [
        Section(whole.title, whole.text, whole.tables, curves_of(run), command=whole.command, short="training"),
        look.map(),
        look.nearest(),
        look.invariance(),
        look.restored(),
        Section("Settings and inputs", details=whole.details, short="settings"),
    ]
    path = run.path / "report.html"
    write_page(
        path,
        f"{data.schema.name}: pretraining",
        [s for s in sections if s is not None],
        {"run": run.path.name, "detfm": run.provenance["detfm"]},
    )
    return path


class _Look:
    """The finished embedding of some rows, and the sections about it."""

    def __init__(self, model: Pretrainer, data: Store, cfg: PretrainConfig, folder: Path):
        self.model, self.data, self.cfg, self.folder = model, data, cfg, folder
        self.schema: DetectorSchema = data.schema
        split = "val" if "val" in data.splits and data.length("val") else "train"
        rng = np.random.default_rng(cfg.train.seed)
        chosen = np.sort(rng.permutation(data.length(split))[: cfg.monitor.report_rows])
        self.rows: FixedRows = fixed_rows(data, {"seen": (split, chosen)}, cfg.batch_tokens)["seen"]
        self.graph, self.state = nnx.split(model)
        self.x: Float[np.ndarray, "n D"] = self.rows(lambda batch: pooled(self.state, batch, graph=self.graph))
        label = label_of(self.schema, cfg.monitor.label)
        self.classes = self.schema.class_names(label) if label else []
        known = data.labels(split, label)[chosen] if label else np.full(len(chosen), -1)
        self.labels: Int[np.ndarray, " n"] = np.asarray(known)
        self.plane = any(has_plane(m) for m in self.schema.modalities.values())
        self.caption = f"{self.schema.name}, {len(chosen):,} examples of {split}"

    def map(self) -> Section:
        places = maps(self.x, self.cfg.train.seed)
        pictures = [self._save("map_class", draw.class_map(places, self.labels, self.classes, self.caption))]
        values, name = self._colour()
        if values is not None:
            pictures.append(self._save("map_mass", draw.value_map(places, values, name, self.caption)))
        text = (
            f"The embeddings ({self.x.shape[1]} numbers each) of {self.caption}, in two dimensions: the two directions "
            "of greatest variance, and t-SNE, which keeps neighbours together and means nothing by distances between "
            "clusters. Labels were not used to make the map."
        )
        return Section("Map of the embedding", text, figures=pictures, short="map")

    def _colour(self) -> tuple[Float[np.ndarray, " n"] | None, str]:
        observer = self.cfg.monitor.observer
        if observer:
            return np.asarray(self.data.observer(self.rows.split, observer)[self.rows.rows], np.float64), observer
        mass = masses(self.schema, self.rows)
        return (None if mass is None else np.asarray(mass, np.float64)), "mass of all constituents in GeV"

    def nearest(self) -> Section | None:
        """A few queries of different classes and what lies nearest to them."""
        if len(self.x) < NEAREST + 1:
            return None
        queries = self._queries()
        found = neighbours(self.x[queries], self.x, NEAREST + 1)
        names = np.asarray([*self.classes, "unknown" if self.classes else ""])
        agree = np.mean(self.labels[found[:, 1:]] == self.labels[queries][:, None]) if self.classes else None
        text = "Examples, and those whose embeddings lie nearest by cosine."
        text += (
            " The first of each row is the query; neighbours of another class have their name in red."
            if self.plane
            else ""
        )
        text += f" Of these neighbours {100 * agree:.0f}% have the class of their query." if agree is not None else ""
        table = Table(
            ["query (row)", "class", "nearest rows", "their classes"],
            [
                [str(self.rows.rows[q]), str(names[self.labels[q]]), ", ".join(map(str, self.rows.rows[row[1:]])),
                 ", ".join(names[self.labels[row[1:]]])]
                for q, row in zip(queries, found)
            ],
        )  # fmt: skip
        if not self.plane:
            return Section("Nearest neighbours", text, [table], short="neighbours")
        dots = {int(i): self._dots(int(i)) for i in np.unique(found)}
        drawn = [
            [(dots[int(i)], str(names[self.labels[i]]), bool(self.labels[i] == self.labels[row[0]])) for i in row]
            for row in found
        ]
        figure = draw.neighbourhood(drawn, self.caption, extent_of(list(dots.values())))
        return Section(
            "Nearest neighbours", text, figures=[self._save("neighbours", figure)], details=[table], short="neighbours"
        )

    def _queries(self) -> Int[np.ndarray, " q"]:
        """Rows of as many classes as there are, then others."""
        order = np.random.default_rng(self.cfg.train.seed + 1).permutation(len(self.x))
        firsts = [int(order[self.labels[order] == c][0]) for c in np.unique(self.labels[self.labels >= 0])]
        rest = [int(i) for i in order if int(i) not in firsts]
        return np.asarray((firsts + rest)[:QUERIES])

    def _dots(self, place: int) -> Dots:
        batch = self.data.read(self.rows.split, self.rows.rows[place : place + 1])
        return dots_of(self.schema, {n: (t.values[0], t.mask[0]) for n, t in batch.modalities.items()})

    def invariance(self) -> Section | None:
        found, reasons = invariances(self.model, self.rows, self.schema, self.cfg.augment, self.cfg.train.seed)
        if not found:
            return None
        trained = self.cfg.augment.acting
        rows = [[n, v, "yes" if n in trained else "no"] for n, v in found.items()]
        text = (
            "How far each augmentation, applied to every example with its own settings, moves the embedding: the mean "
            "distance between an example and its augmented self, over that between two examples at random. 0: the "
            "embedding does not see it; 1: the augmented example might be any other. Filled bars: trained with."
        )
        label = "distance to the augmented self / to another example"
        figure = draw.bars(dict(sorted(found.items(), key=lambda item: item[1])), trained, label, self.caption)
        details: list[Table | Settings] = [Table(["augmentation", "relative change", "in this training"], rows)]
        details += [Settings(reasons, "Not measured")] if reasons else []
        pictures = [self._save("invariance", figure)]
        return Section("Invariance", text, figures=pictures, details=details, short="invariance")

    def restored(self) -> Section | None:
        """Hidden tokens and what the masked model tells of them."""
        monitor = Monitor(
            self.data, dataclasses.replace(self.cfg, monitor=dataclasses.replace(self.cfg.monitor, rows=64))
        )
        example = monitor.restored_example(self.graph, self.state)
        if not example:
            return None
        arrays = {f"{name}.{what}": array for name, each in example.items() for what, array in each.items()}
        np.savez(self.folder / "restored.npz", **arrays)  # type: ignore[arg-type]  # names are no options of numpy's
        pictures = []
        if self.plane:
            drawn = self._restorations(example)
            every = [dots for each in drawn for dots in (each.visible, each.true)]
            pictures.append(self._save("restored", draw.restorations(drawn, self.caption, extent_of(every))))
        features = {
            f"{name} {feature}" if len(example) > 1 else feature: (
                each["true"][..., i][each["hidden"]].astype(np.float64),
                each["predicted"][..., i][each["hidden"]].astype(np.float64),
            )
            for name, each in example.items()
            for i, feature in enumerate(self.schema.modalities[name].features)
        }
        shown = dict(list(features.items())[:MOST_FEATURES])
        pictures.append(self._save("restored_features", draw.told(shown, self.caption)))
        rows = [[name, value] for name, value in explained(example).items()]
        text = (
            "Some tokens of val were hidden as in training; the model tells their features from the others: "
            "grey what it saw, circles the hidden tokens, crosses what it told of them, joined by a line; areas grow "
            "with pt. It predicts an average, so where neighbours say little, crosses lie near the middle. The second "
            "picture has every feature as the network sees it, transformed and standardised."
        )
        table = Table(["modality", "share of the variance explained"], rows)
        return Section("Hidden tokens restored", text, [table], pictures, short="restored")

    def _restorations(self, example: dict[str, dict[str, np.ndarray]]) -> list[Restored]:
        """The examples with the most hidden tokens that can still be told apart in a picture."""
        hidden = sum(each["hidden"].sum(axis=1) for each in example.values())
        chosen = np.argsort(-np.where(hidden > 25, 0, hidden), kind="stable")[:EXAMPLES]
        return [
            Restored(
                *(
                    self._told(example, int(row), *which)
                    for which in (("true", "visible"), ("true", "hidden"), ("predicted", "hidden"))
                )
            )
            for row in chosen
        ]

    def _told(self, example: dict[str, dict[str, np.ndarray]], row: int, what: str, where: str) -> Dots:
        raw = {name: self._raw(name, each[what][row]) for name, each in example.items()}
        return dots_of(self.schema, {name: (values, example[name][where][row]) for name, values in raw.items()})

    def _raw(self, name: str, standard: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N F"]:
        """Physical values of standardised ones."""
        inputs = self.model.encoder.inputs[name]
        values = standard * np.asarray(inputs.std[...]) + np.asarray(inputs.mean[...])
        kinds = [feature.transform for feature in self.schema.modalities[name].features.values()]
        return np.stack([inverse(kind, values[..., i]) for i, kind in enumerate(kinds)], axis=-1)

    def _save(self, name: str, figure: Any) -> Picture:
        path = self.folder / f"{name}.png"
        save(figure, path)
        return Picture(path.read_bytes(), draw.CAPTIONS[name], wide=name in draw.WIDE)
