"""Data of another calibration, or of another year, is told from the training set, and what differs is named."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from finetune.anomaly.config import AnomalyConfig
from finetune.anomaly.drift import Watch, cumulative, drift, record, warnings
from finetune.anomaly.fit import anomaly_fit
from finetune.anomaly.score import ScoreConfig, anomaly_score
from foundation.batch import TokenBatch, Tokens
from foundation.schema import DetectorSchema
from foundation.store.ingest import IngestConfig, ingest

HARDWARE = {"lsb": 0.5, "bits": 8, "signed": False}
SCHEMA = DetectorSchema.load(
    {
        "modalities": {
            "jets": {
                "max_tokens": 3,
                "features": {
                    "pt": {"expression": "pt", "unit": "GeV", "hardware": HARDWARE},
                    "eta": {"expression": "eta"},
                },
            }
        }
    }
)


def watched(rows, seed, pt_scale=1.0, weights=None):
    rng = np.random.default_rng(seed)
    mask = np.arange(3) < rng.integers(0, 4, rows)[:, None]
    values = np.stack([pt_scale * rng.exponential(15, (rows, 3)) + 1, rng.normal(size=(rows, 3))], -1)
    values = (values * mask[..., None]).astype(np.float32)
    watch = Watch(SCHEMA, rows)
    for start in range(0, rows, 1000):
        part = slice(start, start + 1000)
        size = len(mask[part])
        worth = np.ones(rows, np.float32)[part] if weights is None else weights[part]
        batch = TokenBatch({"jets": Tokens(values[part], mask[part])}, np.zeros((size, 0), np.float32), {}, worth,
                           np.arange(size, dtype=np.int32))  # fmt: skip
        watch.see(batch, values[part, :, 0].sum(axis=1))
    return watch, values, mask


def test_counts_are_those_of_the_data():
    watch, values, mask = watched(3000, 0, 8.0)
    assert watch.rows == 3000
    assert watch.empty == int((~mask.any(axis=1)).sum()) > 0
    saturated = int((values[..., 0] >= 127.25).sum())
    assert watch.counts() == {"jets.pt": saturated}
    assert watch.shares() == {"jets.pt": saturated / mask.sum()}


@pytest.mark.parametrize("seed", range(1, 8))
def test_a_second_sample_of_the_same_origin_is_no_drift(seed):
    recorded = record(watched(4000, 0)[0])
    watch, *_ = watched(2500, seed)
    assert not warnings(watch, recorded, drift(watch, recorded))


def test_a_scale_of_ten_percent_is_found_and_only_pt_is_named():
    recorded = record(watched(20_000, 0)[0])
    watch, *_ = watched(20_000, 1, 1.1)
    records = drift(watch, recorded)
    named = {each["feature"] for each in records if each["drifted"]}
    assert "jets.pt" in named
    assert not any("eta" in each or each.endswith(".n") for each in named)
    assert "drift: not like the training set in" in warnings(watch, recorded, records)[0]


def test_weights_count():
    """Rows of weight 0 might as well not be there."""
    points = np.array([1.0, 2.0, 3.0])
    values, weights = np.array([3.0, 1.0, 2.0, 9.0]), np.array([1.0, 1.0, 2.0, 0.0])
    np.testing.assert_allclose(cumulative(values, weights, points), [0.25, 0.75, 1.0])


def test_the_sample_is_bounded():
    watch = Watch(SCHEMA, 10**9)
    assert watch.every == 50_000


@pytest.fixture(scope="module")
def years(shared_data, tmp_path_factory):
    """The global trigger's rows of 2017, the same with jets 10% harder, and the data of 2023, as files."""
    folder = tmp_path_factory.mktemp("years")
    with h5py.File(shared_data / "l1ugt" / "cms_l1_ugt.h5") as file:
        category = file["category"][:]
        for name, wanted, scale in (("2017", b"2017:pp:unspecified", 1.0), ("harder", b"2017:pp:unspecified", 1.1),
                                    ("2023", b"2023:pp:data", 1.0)):  # fmt: skip
            with h5py.File(folder / f"{name}.h5", "w") as out:
                for column, values in file.items():
                    kept = values[:][category == wanted]
                    if column == "jet" and scale != 1:
                        kept[..., 0] = np.minimum(np.round(kept[..., 0] * scale * 2) / 2, 511.5)
                    out[column] = kept
    return folder


@pytest.mark.slow
def test_years_and_scales_of_the_global_trigger_are_told_apart(years, tmp_path):
    store = ingest([years / "2017.h5"], schema="data/l1ugt", cfg=IngestConfig(), out=tmp_path / "store")
    run = anomaly_fit(store, cfg=AnomalyConfig(method="mahalanobis"), out=tmp_path / "run")
    found = {
        name: anomaly_score(run.path, [years / f"{name}.h5"], cfg=ScoreConfig(root=False), out=tmp_path / name)
        .read("metrics.json")["splits"]["data"]
        for name in ("2017", "harder", "2023")
    }  # fmt: skip
    assert not found["2017"]["warnings"]
    named = {each["feature"] for each in found["harder"]["drift"] if each["drifted"]}
    assert named
    assert all(each.startswith("jets") or each == "score" for each in named)
    assert "jets.pt (" in found["harder"]["warnings"][0]
    later = {each["feature"] for each in found["2023"]["drift"] if each["drifted"]}
    assert "met.n" in later  # 2023's data has no missing energy
    assert any(text.startswith("saturated: jets.pt") for text in found["2023"]["warnings"])
