"""Enriched zero bias: with its weights, crossings with a forced hard collision are plain zero bias again."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.schema import DetectorSchema
from foundation.simulate.config import SimulateConfig
from foundation.simulate.engine import simulate
from foundation.simulate.events_config import EnrichmentConfig, EventsConfig, PileupConfig
from foundation.simulate.plan import plan_events, run_task
from foundation.store.examples import examples

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pythia8mc") is None, reason="needs pip install 'detfm[sim]' (missing: pythia8mc)"
)

EDGES = (20.0, 40.0, 80.0)
# Without diffraction Pythia starts in a tenth of the time.
PILEUP = PileupConfig(mean=4, pool=150, settings=("SoftQCD:nonDiffractive = on",))
SMALL = SimulateConfig(
    sample="events",
    seed=3,
    events=EventsConfig(
        processes={"zero_bias": 120, "ttbar": 2},
        pileup=PILEUP,
        collections=("jet",),
        enrichment=EnrichmentConfig(EDGES, (40,), pool=30),
    ),
)


def made(cfg: SimulateConfig) -> dict[str, np.ndarray]:
    """The scalars of all rows of a sample."""
    chunks = [run_task(cfg, task) for task in plan_events(cfg).tasks]
    names = ("weight", "pthat_max", "enriched", "process", "event_id", "ht", "npu")
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in names}


@pytest.fixture(scope="module")
def small() -> dict[str, np.ndarray]:
    return made(SMALL)


@settings(deadline=None, max_examples=30)
@given(
    mean=st.floats(0.5, 200),
    parts=st.lists(st.floats(1e-4, 0.05), min_size=1, max_size=3),
    plain=st.integers(50, 400),
    forced=st.integers(1, 400),
    seed=st.integers(0, 99),
)
def test_weighted_counts_are_poisson_whatever_was_forced(mean, parts, plain, forced, seed):
    """The weight is the natural density over that of the mixture: moments of n_j come out as nature's."""
    from foundation.simulate.enrichment import crossing_weights

    rng, scale = np.random.default_rng(seed), 50  # times as many crossings as the weights are told; a common factor
    rates = mean * np.array(parts)
    counts = [rng.poisson(rates, (plain * scale, len(parts)))]
    for j in range(len(parts)):
        more = rng.poisson(rates, (forced * scale, len(parts)))
        more[:, j] += 1
        counts.append(more)
    n = np.concatenate(counts)
    weights = crossing_weights(n, np.full(len(n), mean), plain, (forced,) * len(parts), np.array(parts))
    assert (weights > 0).all()
    most = (plain + forced * len(parts)) / plain
    assert weights[n.sum(axis=1) == 0] == pytest.approx(most)
    for values, expected in ((np.ones(len(n)), 1.0), (n[:, 0], rates[0]), (n[:, 0] > 0, 1 - np.exp(-rates[0]))):
        terms = weights * values
        assert terms.mean() == pytest.approx(expected, abs=5 * terms.std() / np.sqrt(len(n)) + 1e-9)


def test_weights_stand_for_the_crossings_generated(small):
    zero_bias = small["process"] == 0
    weights = small["weight"][zero_bias].astype(np.float64)
    assert len(weights) == 120 + 3 * 40
    assert weights.sum() == pytest.approx(len(weights), abs=5 * weights.std() * np.sqrt(len(weights)))
    soft = zero_bias & (small["pthat_max"] < EDGES[0])
    assert soft.sum() > 50
    assert small["weight"][soft] == pytest.approx(240 / 120)
    assert (small["weight"][zero_bias & ~soft] < 240 / 120).all()
    assert small["weight"][~zero_bias].tolist() == [1.0, 1.0]


def test_the_forced_collision_is_from_its_bin_and_counts_as_pile_up(small):
    highs = (*EDGES[1:], np.inf)
    for number, (low, high) in enumerate(zip(EDGES, highs), start=1):
        hardest = small["pthat_max"][small["enriched"] == number]
        assert len(hardest) == 40
        assert (hardest >= low).all()
        assert np.median(hardest) < high
    forced = small["enriched"] > 0
    assert (small["npu"][forced] >= 1).all()
    assert small["npu"][forced].mean() == pytest.approx(PILEUP.mean + 1, abs=1)
    assert len(set(small["event_id"].tolist())) == len(forced)


@pytest.mark.slow
def test_cross_sections_fall_and_are_kept_in_the_file_and_the_file_is_the_same_again(tmp_path):
    files = []
    for number, processes in enumerate((1, 2)):
        out = tmp_path / f"{number}" / "sample.root"
        simulate(SMALL, out, processes)
        files.append(out.read_bytes())
    assert files[0] == files[1]
    with uproot.open(out) as file:
        kept = json.loads(file["enrichment"])
        assert kept["pthat_edges"] == list(EDGES)
        assert sorted(kept["sigma_mb"], reverse=True) == kept["sigma_mb"]
        assert kept["probability"] == pytest.approx(np.array(kept["sigma_mb"]) / kept["sigma_all_mb"])
        assert 0.003 < kept["probability"][0] < 0.03


@pytest.mark.slow
def test_the_rate_of_ht_is_that_of_a_large_plain_sample():
    """Closure: above every cut on HT, weighted enriched zero bias gives the rate of plain zero bias."""
    events = dataclasses.replace(SMALL.events, processes={"zero_bias": 600})
    enrichment = EnrichmentConfig(EDGES, (300,), pool=150)
    pileup = dataclasses.replace(PILEUP, mean=20, pool=400)
    mixed = made(dataclasses.replace(SMALL, events=dataclasses.replace(events, pileup=pileup, enrichment=enrichment)))
    # One crossing forced, of thousands: the same pile-up, and plain zero bias but for that.
    enrichment = EnrichmentConfig(EDGES, (1,), pool=300)
    events = dataclasses.replace(events, processes={"zero_bias": 2_500}, pileup=pileup, enrichment=enrichment)
    plain = made(dataclasses.replace(SMALL, seed=4, events=events))
    compared = 0
    for cut in (40, 60, 90, 130, 180):
        rates = []
        for sample in (mixed, plain):
            weights = np.where(sample["ht"] > cut, sample["weight"].astype(np.float64), 0)
            total = sample["weight"].astype(np.float64).sum()
            rates.append((weights.sum() / total, np.sqrt((weights**2).sum()) / total, (weights > 0).sum()))
        (ours, error, passed), (theirs, their_error, _) = rates
        assert ours == pytest.approx(theirs, abs=4 * np.hypot(error, their_error) + 1e-12)
        compared += passed > 30 and theirs > 0
    assert compared >= 3


def test_files_without_weights_are_plain_zero_bias():
    schema = DetectorSchema.load("data/l1events_image")
    columns: dict[str, Any] = {name: np.zeros(2, np.int64) for name in ("process", "npu", "event_id")}
    columns |= {f"region_{name}": ak.Array([[1], [1, 2]]) for name in ("iphi", "ieta", "hw_et")}
    old, _ = examples(schema, columns, 2)
    assert old.weights.tolist() == [1, 1]
    new, _ = examples(schema, columns | {"weight": np.array([0.5, 2.0])}, 2)
    assert new.weights.tolist() == [0.5, 2]
    assert new.observers["enriched"].tolist() == [0, 0]
