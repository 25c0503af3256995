"""l1calo and l1calo_image: regions as tokens and as CICADA's 18 x 14 image."""

from __future__ import annotations

import awkward as ak
import h5py
import numpy as np
import pytest
from preset_reading import assert_hardware_exact, assert_split, descending, read

from foundation.schema import DetectorSchema

FILES = {"zero_bias": "l1calo/Region_ZeroBias.hdf5", "HInv": "l1calo/HInv.hdf5"}


@pytest.fixture(scope="module", params=FILES)
def sample(request):
    return request.param


@pytest.fixture(scope="module")
def path(shared_data, sample):
    return shared_data / FILES[sample]


@pytest.fixture(scope="module")
def raw(path):
    """Et in counts, eta, phi; [events, 576, 3]."""
    with h5py.File(path) as file:
        return file["l1Region_cyl"][:]


@pytest.fixture(scope="module")
def tokens(path):
    return read("l1calo", path)


@pytest.fixture(scope="module")
def images(path):
    return read("l1calo_image", path)


def test_regions(tokens, raw):
    np.testing.assert_array_equal(tokens.counts("regions"), (raw[..., 0] > 0).sum(axis=1))
    np.testing.assert_allclose(ak.sum(tokens["regions"]["et"], axis=1), raw[..., 0].sum(axis=1) / 2)
    assert_hardware_exact(tokens)
    assert descending(tokens["regions"]["et"])
    assert tokens.codes("regions", "et")[1].max() <= 1023
    assert_split(tokens, np.arange(len(raw)), 0.04)


def test_the_file_name_is_the_label(tokens, sample):
    assert set(tokens.examples.labels["sample"]) == {tokens.schema.class_names("sample").index(sample)}


def test_the_image_holds_every_region_once(images, raw):
    for found in images.findings:
        counts = found.tokens["image"]
        assert counts["outside_grid"] == counts["same_cell"] == counts["max_tokens"] == 0
    assert set(images.counts("image")) == {252}
    pixels = images.examples.modalities["image"].values.reshape(-1, 18, 14)
    np.testing.assert_allclose(pixels.sum(axis=(1, 2)), raw[..., 0].sum(axis=1) / 2, rtol=1e-6)
    np.testing.assert_array_equal((pixels > 0).sum(axis=(1, 2)), (raw[..., 0] > 0).sum(axis=1))
    assert_hardware_exact(images)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_any_other_division_in_phi_puts_two_regions_into_one_pixel(path, shift):
    schema = DetectorSchema.load("data/l1calo_image").to_dict()
    row = schema["modalities"]["image"]["grid"]["row"]
    schema["modalities"]["image"]["grid"]["row"] = row.replace("pi + 3", f"pi + {shift}")
    shifted = read(DetectorSchema.load(schema), path)
    assert sum(found.tokens["image"]["same_cell"] for found in shifted.findings) > 1000


def test_rows_are_phi_and_columns_are_eta(images, raw):
    """A pixel's place, computed from the largest deposit of each event and its centre in a plain table."""
    pixels = images.examples.modalities["image"].values.reshape(-1, 18, 14)
    eta_edges = [0.0, 0.435, 0.783, 1.131, 1.479, 1.827, 2.3, 3.0]
    leading = raw[:, 0]
    for event in range(0, len(raw), 37):
        et, eta, phi = leading[event]
        ring = np.searchsorted(eta_edges, abs(eta)) - 1
        column = 7 + ring if eta > 0 else 6 - ring
        row = int(np.rint((phi + np.pi / 36) / (np.pi / 9))) % 18  # row 0 is centred at -5 degrees
        assert pixels[event, row, column] == et / 2


def test_the_detector_is_symmetric(images, sample):
    filled = (images.examples.modalities["image"].values.reshape(-1, 18, 14) > 0).mean(axis=0)
    rings = filled.mean(axis=0)
    np.testing.assert_allclose(rings, rings[::-1], atol=0.03)
    sectors = filled.mean(axis=1)
    assert np.ptp(sectors[1:]) < 0.15 * sectors.mean()  # no direction in phi is preferred,
    assert sectors[0] < 0.9 * sectors[1:].mean()  # but one tower of row 0 is missing from the files


def test_pile_up_alone_tells_the_samples_apart(shared_data):
    total = {s: read("l1calo", shared_data / f).examples.observers["total_et"] for s, f in FILES.items()}
    assert np.median(total["zero_bias"]) > 3 * np.median(total["HInv"])
