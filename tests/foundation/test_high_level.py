"""High-level observables: values known by hand, symmetries, infrared and collinear safety, agreement with FastJet's."""

from __future__ import annotations

import numpy as np
import pytest
from example import batch, schema
from few_jets import ingest_few
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.batch import TokenBatch, Tokens
from foundation.high_level import HighLevelConfig, energy_correlations, high_level, observables, shape, wrapped
from foundation.store import Store

SAFE = ("sum_pt", "mass", "width", "e2", "C2", "D2")


def jets(seed: int, count: int = 5, tokens: int = 9) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    pt = rng.exponential(20, size=(count, tokens)) + 0.5
    mask = np.arange(tokens) < rng.integers(4, tokens + 1, size=(count, 1))
    eta, phi = rng.normal(0.5, 0.3, size=(2, count, tokens))
    return pt * mask, eta * mask, phi * mask, mask


def close(one: dict, other: dict, names=(*SAFE, "tau21", "tau32"), **tolerance) -> None:
    for name in names:
        np.testing.assert_allclose(one[name], other[name], err_msg=name, **{"rtol": 1e-6, "atol": 1e-6} | tolerance)


def test_two_tokens_by_hand():
    """Equal pt of 50 GeV, 0.4 apart in phi: m = 2 * 50 sin(0.2), each 0.2 from the axis, z = 1/2."""
    row = [np.asarray([[50.0, 50.0, 0.0]]), np.zeros((1, 3)), np.asarray([[0.2, -0.2, 0.0]])]
    found = shape(*row, np.asarray([[True, True, False]]))
    expected = {"sum_pt": 100, "mass": 100 * np.sin(0.2), "width": 0.2, "pt_dispersion": 0.5**0.5, "fraction1": 0.5}
    expected |= {"fraction3": 0, "tau21": 0, "e2": 0.25 * 0.4, "C2": 0, "D2": 0}
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-7), name
    assert np.isnan(found["tau32"][0])  # 0 / 0


def test_energy_correlations_are_sums_over_pairs_and_triples():
    pt, eta, phi, _ = jets(0, count=1, tokens=6)
    z = pt / pt.sum()
    r = np.hypot(eta[0][:, None] - eta[0], phi[0][:, None] - phi[0])
    e2 = sum(z[0, i] * z[0, j] * r[i, j] for i in range(6) for j in range(i))
    e3 = sum(
        z[0, i] * z[0, j] * z[0, k] * r[i, j] * r[j, k] * r[i, k] for i in range(6) for j in range(i) for k in range(j)
    )
    found = energy_correlations(z, eta, phi)
    assert (found[0][0], found[1][0]) == (pytest.approx(e2), pytest.approx(e3))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(-2, 2))
def test_a_turn_about_the_beam_and_a_boost_along_it_change_nothing(seed, turn, boost):
    pt, eta, phi, mask = jets(seed)
    close(shape(pt, eta, phi, mask), shape(pt, eta + boost * mask, wrapped(phi + turn) * mask, mask), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_a_collinear_split_and_a_soft_token_change_nothing_that_is_safe(seed, share):
    """Not the multiplicity, the dispersion, the fractions, and ratios of N-subjettiness with cheap axes."""
    pt, eta, phi, mask = jets(seed)
    hardest = np.argmax(pt, axis=1)[:, None]
    part = np.take_along_axis(pt, hardest, 1)
    pt_split = pt.copy()
    np.put_along_axis(pt_split, hardest, share * part, 1)
    extra = [(1 - share) * part, *(np.take_along_axis(each, hardest, 1) for each in (eta, phi))]
    soft = [np.full_like(part, 1e-9), np.full_like(part, 0.1), np.full_like(part, 0.1)]
    more = [np.concatenate(columns, axis=1) for columns in zip((pt_split, eta, phi), extra, soft)]
    before, after = shape(pt, eta, phi, mask), shape(*more, np.pad(mask, ((0, 0), (0, 2)), constant_values=True))
    close(before, after, SAFE, atol=1e-5, rtol=1e-4)
    assert (after["pt_dispersion"] < before["pt_dispersion"]).all()


def test_prongs_show_in_the_ratios_of_subjettiness():
    """Jets of one, two and three clusters of tokens, 0.03 wide and 0.4 apart."""
    rng, found = np.random.default_rng(0), []
    for prongs in (1, 2, 3):
        centre = 0.4 * np.asarray([[0, 0], [1, 0], [0.5, 0.9]])[rng.integers(0, prongs, size=(40, 12))]
        eta, phi = np.moveaxis(centre + 0.03 * rng.normal(size=(40, 12, 2)), -1, 0)
        found.append(shape(rng.uniform(5, 20, size=(40, 12)), eta, phi, np.ones((40, 12), bool)))
    one, two, three = ({name: np.median(each[name]) for name in ("tau21", "tau32")} for each in found)
    assert two["tau21"] < 0.3 < one["tau21"]
    assert three["tau32"] < 0.3 < two["tau32"]


def test_columns_of_every_modality_and_the_globals():
    spec = schema(("particles", "muons"), with_globals=True)
    b = batch(spec)
    found = observables(b, spec, HighLevelConfig(leading=2))
    tokens = {name: (np.asarray(t.values), np.asarray(t.mask)) for name, t in b.modalities.items()}
    pt, mask = tokens["particles"][0][..., 0], tokens["particles"][1]
    np.testing.assert_array_equal(found["particles.count"], mask.sum(axis=1))
    ordered = -np.sort(-np.where(mask, pt, -np.inf), axis=1)
    np.testing.assert_allclose(found["particles.1.pt"], np.where(mask.sum(1) > 1, ordered[:, 1], np.nan), rtol=1e-6)
    np.testing.assert_allclose(
        found["particles.mean.pt"], [np.log(row[real]).mean() for row, real in zip(pt, mask)], rtol=1e-5
    )
    np.testing.assert_allclose(found["particles.min.pt"], [np.log(row[real]).min() for row, real in zip(pt, mask)])
    np.testing.assert_array_equal(found["globals.met"], np.asarray(b.globals)[:, 0])
    np.testing.assert_array_equal(found["muons.0.pt"], tokens["muons"][0][:, 0, 0])  # no pt coordinate: file order
    assert "muons.mass" not in found
    assert "particles.mass" in found
    few = observables(b, spec, HighLevelConfig(leading=0, moments=False, shape=False, globals=False))
    assert set(few) == {"particles.count", "muons.count"}


def test_examples_without_tokens_have_no_observables_but_zero():
    spec = schema()
    b = batch(spec)
    tokens = b.modalities["particles"]
    empty = TokenBatch(
        {"particles": Tokens(0 * tokens.values, np.zeros_like(tokens.mask))}, b.globals, b.labels, b.weights, b.index
    )
    found = observables(empty, spec, HighLevelConfig(leading=1))
    assert not any(np.isinf(column).any() for column in found.values())
    assert (found["particles.count"] == 0).all()
    assert np.isnan(found["particles.0.pt"]).all()
    assert np.isnan(found["particles.tau21"]).all()


@pytest.fixture(scope="module")
def store(sample, tmp_path_factory) -> Store:
    return Store.open(ingest_few(sample, tmp_path_factory.mktemp("few"), 400))


def test_cheap_axes_agree_with_those_of_fastjet(store, sample):
    """The sample's tau_N are of all constituents and their kt axes; here are the 32 leading ones."""
    import uproot

    names, values = high_level(store, "train", HighLevelConfig())
    entry = store.source("train")[:, 1]
    with uproot.open(sample) as file:
        truth = {n: file["tree"][f"jet_tau{n}"].array(library="np", entry_stop=400)[entry] for n in (1, 2, 3)}
    for name, reference, least in (
        ("width", truth[1], 0.95),
        ("tau21", truth[2] / truth[1], 0.85),
        ("tau32", truth[3] / truth[2], 0.75),
    ):
        found = values[:, names.index(f"particles.{name}")]
        known = np.isfinite(found) & np.isfinite(reference)
        assert np.corrcoef(found[known], reference[known])[0, 1] > least, name


def test_rows_come_in_the_order_asked_for(store):
    names, everything = high_level(store, "val", HighLevelConfig())
    rows = np.asarray([3, 0, 7])
    again, some = high_level(store, "val", HighLevelConfig(), rows, at_once=2)
    assert names == again
    np.testing.assert_allclose(some, everything[rows], rtol=1e-6, atol=1e-6)
    assert high_level(store, "val", HighLevelConfig(), rows[:0])[1].shape == (0, len(names))
