"""A real file through a preset, as ingest reads it: reader, layout, expressions, strict policies."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np

from foundation.hashing import uniform
from foundation.io import open_reader
from foundation.schema import DetectorSchema
from foundation.store.examples import Examples, Findings, Policies, examples


@dataclass
class Reading:
    """All examples of one file.

    Attributes:
        findings: one per chunk.
    """

    schema: DetectorSchema
    examples: Examples
    findings: list[Findings]

    def __getitem__(self, name: str) -> dict[str, ak.Array]:
        """Feature -> [rows, tokens] of one modality."""
        tokens = self.examples.modalities[name]
        features = self.schema.modalities[name].features
        return {f: ak.unflatten(tokens.values[:, i], tokens.counts) for i, f in enumerate(features)}

    def counts(self, name: str) -> np.ndarray:
        return self.examples.modalities[name].counts

    def label(self, name: str) -> ak.Array:
        """Of tokens: [rows, tokens]."""
        return ak.unflatten(self.examples.labels[name], self.counts(self.schema.labels[name].modality))

    def globals(self, name: str) -> np.ndarray:
        return self.examples.globals[:, list(self.schema.globals).index(name)]

    def codes(self, modality: str, feature: str) -> tuple[np.ndarray, np.ndarray]:
        """Stored float32 values of a hardware feature, and the integers they are."""
        spec = self.schema.modalities[modality].features[feature].hardware
        values = self.examples.modalities[modality].values[:, self.schema.modalities[modality].index(feature)]
        return values, np.rint(values.astype(np.float64) / spec.lsb).astype(np.int64)

    def splits(self) -> dict[str, np.ndarray]:
        """Split -> which rows, as ingest divides them."""
        place = uniform(self.examples.keys)
        edges = np.cumsum([0.0, *self.schema.split.fractions.values()])
        edges[-1] = 1.0
        return {s: (place >= a) & (place < b) for s, a, b in zip(self.schema.split.fractions, edges, edges[1:])}


def read(schema: str | DetectorSchema, path: Path, policies: Policies | None = None, rows: int = 20_000) -> Reading:
    """Raises AssertionError if a value has a problem that the policies call an error."""
    schema = schema if isinstance(schema, DetectorSchema) else DetectorSchema.load(f"data/{schema}")
    required = schema.required_columns()
    parts, findings = [], []
    with closing(open_reader(path, schema.tree, schema.layout)) as reader:
        reader.require(required)
        columns = [c for c in schema.columns() if c in required or c in reader.columns]
        for chunk in reader.chunks(columns, rows):
            content = {name: chunk[name] for name in columns}
            content |= {"file_path": str(path), "file_entry": np.arange(len(chunk))}
            made, found = examples(schema, content, len(chunk), policies)
            if policies is None:
                assert {r: dict(p.counts) for r, p in found.problems.items() if p.rows.any()} == {}
            parts.append(made)
            findings.append(found)
    return Reading(schema, Examples.concatenate(parts), findings)


def assert_hardware_exact(reading: Reading) -> None:
    """Every hardware value is its integer times the LSB, to the last bit of float32, and the integer fits its bits."""
    checked = 0
    for name, modality in reading.schema.modalities.items():
        for feature, spec in modality.features.items():
            if spec.hardware is None:
                continue
            values, codes = reading.codes(name, feature)
            np.testing.assert_array_equal((codes * spec.hardware.lsb).astype(np.float32), values, err_msg=feature)
            assert codes.min(initial=0) >= spec.hardware.low, feature
            assert codes.max(initial=0) <= spec.hardware.high, feature
            checked += len(values) > 0
    assert checked
    assert not any(sum(c.values()) for found in reading.findings for c in found.hardware.values())


def assert_split(reading: Reading, groups: np.ndarray, tolerance: float) -> None:
    """Rows of one group share a split, and the fractions are those of the schema."""
    number = np.zeros(len(groups), int)
    for position, rows in enumerate(reading.splits().values()):
        number[rows] = position
        fraction = list(reading.schema.split.fractions.values())[position]
        assert abs(rows.mean() - fraction) < tolerance
    _, group = np.unique(groups, return_inverse=True, axis=0)
    lowest = np.full(group.max() + 1, 99)
    np.minimum.at(lowest, group.ravel(), number)
    np.testing.assert_array_equal(lowest[group.ravel()], number)


def descending(values: ak.Array) -> bool:
    return bool(ak.all(values[:, 1:] <= values[:, :-1]))


def four_momentum(tokens: dict[str, ak.Array], eta: str = "eta", phi: str = "phi") -> dict[str, ak.Array]:
    """E, px, py, pz in float64 of tokens that have pt, directions, and an energy or a mass (else massless)."""
    pt, eta_, phi_ = (ak.values_astype(tokens[name], np.float64) for name in ("pt", eta, phi))
    momentum = {"px": pt * np.cos(phi_), "py": pt * np.sin(phi_), "pz": pt * np.sinh(eta_)}
    if "energy" in tokens:
        return {"E": ak.values_astype(tokens["energy"], np.float64)} | momentum
    return {"E": np.hypot(pt * np.cosh(eta_), tokens.get("mass", 0))} | momentum


def mass_of_sum(momentum: dict[str, ak.Array]) -> np.ndarray:
    """Invariant mass of all tokens of an event together; GeV."""
    e, px, py, pz = (ak.to_numpy(ak.sum(momentum[name], axis=1)) for name in ("E", "px", "py", "pz"))
    return np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0))


def pair_mass(tokens: dict[str, ak.Array]) -> np.ndarray:
    """Invariant mass of the two leading tokens, of opposite charge, where there are such; GeV."""
    rows = ak.num(tokens["pt"]) >= 2
    pair = {name: values[rows][:, :2] for name, values in tokens.items()}
    opposite = ak.prod(pair["charge"], axis=1) < 0
    return mass_of_sum(four_momentum({name: values[opposite] for name, values in pair.items()}))
