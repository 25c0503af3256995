"""One example with names on it: of a store, or read from a file as a schema says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Float

from foundation.errors import DataError
from foundation.io import open_reader
from foundation.schema import DetectorSchema, Label, Modality
from foundation.store.examples import examples
from foundation.store.index import shard_name
from foundation.store.store import Store


@dataclass(frozen=True)
class Event:
    """One example.

    Attributes:
        schema: what its numbers are.
        tokens: modality -> [N, F], raw physical values.
        globals: [G].
        labels: label -> value, as text.
        groups: modality -> [N], number of the group (the particle, say) of each token, 0 for none.
        observers: name -> value.
        where: where it came from.
    """

    schema: DetectorSchema
    tokens: dict[str, np.ndarray]
    globals: np.ndarray = field(default_factory=lambda: np.zeros(0))
    labels: dict[str, str] = field(default_factory=dict)
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    observers: dict[str, Any] = field(default_factory=dict)
    where: str = ""


def store_event(store: Store, number: int, split: str = "") -> Event:
    """Row `number` of a split (default: the first that has rows). Reads that row only, however large the store.

    Raises:
        DataError: no such split or row.
    """
    split = split or next((s for s in store.splits if store.length(s)), "")
    rows = store.length(split)
    if not 0 <= number < rows:
        raise DataError(f"{store.path}: split '{split}' has {rows:,} rows; there is no row {number}, they go from 0 on")
    batch = store.read(split, np.array([number]))
    tokens = {n: np.asarray(t.values)[0][np.asarray(t.mask)[0].astype(bool)] for n, t in batch.modalities.items()}
    labels = {
        name: label_text(label, np.asarray(batch.labels[name])[0])
        for name, label in store.schema.labels.items()
        if not label.modality
    }
    groups = {
        label.modality: np.asarray(batch.labels[name])[0][: len(tokens[label.modality])]
        for name, label in store.schema.labels.items()
        if label.kind == "group"
    }
    observers = {name: _one(store, split, number, f"observer.{name}") for name in store.schema.observers}
    file, entry = _one(store, split, number, "source")
    origin = Path(store.sources()[int(file)]["path"]).name
    where = f"{Path(store.path).name}, {split} row {number} ({origin}, entry {int(entry)})"
    return Event(store.schema, tokens, np.asarray(batch.globals)[0], labels, groups, observers, where)


def _one(store: Store, split: str, number: int, name: str) -> Any:
    """Row `number` of an array of one entry per row."""
    ends = np.cumsum(store.index(split).rows.sum(axis=1))
    shard = int(np.searchsorted(ends, number, side="right"))
    place = number - (int(ends[shard - 1]) if shard else 0)
    path = store.path / split / shard_name(shard) / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)[place]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); `detfm inspect --verify` checks the store") from error


def file_event(path: str, schema: DetectorSchema, number: int) -> Event:
    """Entry `number` of a file, as the schema says; values that ingest would refuse are drawn all the same.

    Raises:
        DataError: no such entry, or a column is missing.
    """
    reader = open_reader(path, schema.tree, schema.layout)
    try:
        if not 0 <= number < reader.num_rows:
            raise DataError(f"{path} has {reader.num_rows:,} entries; there is no entry {number}, they go from 0 on")
        chunk = next(reader.chunks(schema.columns(), 1, number, number + 1))
    finally:
        reader.close()
    columns = {name: chunk[name] for name in chunk.fields}
    columns |= {"file_path": ak.Array([path]), "file_entry": ak.Array(np.array([number]))}
    found, _ = examples(schema, columns, 1)
    tokens = {name: tokens.values for name, tokens in found.modalities.items()}
    labels = {n: label_text(x, found.labels[n][0]) for n, x in schema.labels.items() if not x.modality}
    groups = {x.modality: found.labels[n] for n, x in schema.labels.items() if x.kind == "group"}
    observers = {name: values[0] for name, values in found.observers.items()}
    return Event(schema, tokens, found.globals[0], labels, groups, observers, f"{Path(path).name}, entry {number}")


def label_text(label: Label, value: Any) -> str:
    """A stored label as people read it."""
    if label.kind == "class":
        return list(label.classes)[int(value)] if int(value) >= 0 else "unknown"
    if label.kind == "multilabel":
        return " + ".join(c for c, yes in zip(label.classes, np.atleast_1d(value)) if yes == 1) or "none"
    return f"{float(value):.4g} {label.unit}".strip() if np.isfinite(value) else "unknown"


def kinematics(modality: Modality, values: Float[np.ndarray, "N F"]) -> dict[str, np.ndarray]:
    """Coordinates of every token that can be had: those of the schema, and pt, eta, phi made from px, py, pz or E."""
    found = {c: values[:, modality.index(f)].astype(np.float64) for c, f in modality.coordinates.items()}
    with np.errstate(all="ignore"):
        if {"px", "py"} <= found.keys():
            found.setdefault("pt", np.hypot(found["px"], found["py"]))
            found.setdefault("phi", np.arctan2(found["py"], found["px"]))
            if "pz" in found:
                found.setdefault("eta", np.arcsinh(found["pz"] / np.maximum(found["pt"], 1e-9)))
        if {"energy", "eta"} <= found.keys() and "pt" not in found:
            found["et"] = found["energy"] / np.cosh(found["eta"])
    if "phi" in found:
        found["phi"] = (found["phi"] + np.pi) % (2 * np.pi) - np.pi
    return found


def charges(modality: Modality, values: Float[np.ndarray, "N F"]) -> np.ndarray | None:
    """The charge of every token, if there is a feature of that name."""
    name = next((f for f in modality.features if f.lower() in ("charge", "q")), None)
    return None if name is None else values[:, modality.index(name)].astype(np.float64)


def species(modality: Modality, values: Float[np.ndarray, "N F"]) -> dict[str, np.ndarray]:
    """Kind of particle -> which tokens are of it, from features `isPhoton`, `isMuon`, ... (charges taken together)."""
    found: dict[str, np.ndarray] = {}
    for name in modality.features:
        if len(name) > 2 and name.startswith("is") and (name[2].isupper() or name[2] == "_"):
            kind = name[2:].strip("_").removesuffix("Plus").removesuffix("Minus")
            yes = values[:, modality.index(name)] == 1
            found[kind] = found[kind] | yes if kind in found else yes
    if len(found) < 2 or np.any(list(found.values()), axis=0).mean() < 0.5:  # tags of a few, not kinds of all
        return {}
    return found


def run_event(observers: Mapping[str, Any]) -> str:
    """`run 1, lumi 2, event 3` of the observers that are called so."""
    names = {"run": ("run", "runnumber"), "lumi": ("luminosityblock", "lumi", "lumiblock", "ls")}
    names |= {"event": ("event", "event_id", "event_no", "eventnumber", "evt")}
    parts = []
    for title, accepted in names.items():
        value = next((v for n, v in observers.items() if n.lower() in accepted), None)
        if isinstance(value, (int, float, np.integer, np.floating)) and np.isfinite(value):
            parts.append(f"{title} {int(value)}")
    return ", ".join(parts)
