"""Every preset through ingest: what the store gives back is what the file holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from preset_reading import read

from foundation.store import Store
from foundation.store.ingest import ingest

FILES = {
    "l1jets": ["l1jets/ggHHbbbb_PU200.root"],
    "deepjet": ["deepjet/ntuple_ttbar.root"],
    "jetclass_npz": ["jets/jetclass_500.npz"],
    "toplandscape": ["jets/toplandscape_2000.npz"],
    "hls4ml150p": ["jets/hls4ml150p_2000.npz"],
    "axol1tl": ["l1ugt/cms_l1_ugt.h5"],
    "l1ugt": ["l1ugt/cms_l1_ugt.h5"],
    "l1calo": ["l1calo/Region_ZeroBias.hdf5", "l1calo/HInv.hdf5"],
    "l1calo_image": ["l1calo/Region_ZeroBias.hdf5", "l1calo/HInv.hdf5"],
    "p2l1": ["p2l1/TTbar_PU200_Barrel.npz", "p2l1/TTbar_PU200_HGCal.npz"],
    "cms_events": ["cms_events/cms_ispy_events.npz"],
    "nanoaod": ["files/nano_dy.root", "files/nano_dy_empty.root", "files/nano_dimuon.parquet"],
    "nanoaod_2012": ["files/cms_run2012b_singlemu.parquet"],
    "scouting": ["files/scouting_nano.root"],
    "delphes": ["files/delphes.root"],
    "hgcal": ["hgcal/rechits_0.npy", "hgcal/rechits_1.npy", "hgcal/rechits_2.npy"],
    "trackml": ["trackml/event000001000_g000.npz", "trackml/event000001001_g000.npz"],
}


@pytest.mark.slow
@pytest.mark.parametrize("preset", FILES)
def test_the_store_gives_back_what_the_file_holds(preset, shared_data, tmp_path):
    paths = [shared_data / name for name in FILES[preset]]
    store = Store.open(ingest(paths, schema=f"data/{preset}", out=tmp_path / "store", processes=1))
    readings = {str(path): read(preset, path) for path in paths if "empty" not in path.name}
    assert sum(store.length(split) for split in store.splits) == sum(r.examples.rows for r in readings.values())
    for name in store.schema.modalities:  # of transformed values: no logarithm of 0
        assert np.isfinite(store.statistics(name).mean).all(), name
        assert np.isfinite(store.statistics(name).std).all(), name
    names = [source["path"] for source in store.sources()]
    for split in store.splits:
        rows = np.linspace(0, store.length(split) - 1, min(store.length(split), 20)).astype(int)
        if len(rows):
            compare(store, split, np.unique(rows), readings, names)


def compare(store, split, rows, readings, names):
    """Rows of a split with the examples that they come from, bit for bit."""
    batch = store.read(split, rows)
    source = store.source(split)[rows]
    for position, (number, entry) in enumerate(source):
        (reading,) = [r for path, r in readings.items() if Path(path) == Path(names[number])]
        made = reading.examples
        assert reading.splits()[split][entry]
        for name, tokens in made.modalities.items():
            stored = batch.modalities[name]
            end = tokens.counts[: entry + 1].sum()
            expected = tokens.values[end - tokens.counts[entry] : end]
            stored = batch.modalities[name]
            np.testing.assert_array_equal(
                np.asarray(stored.values[position])[np.asarray(stored.mask[position])], expected
            )
        np.testing.assert_array_equal(batch.globals[position], made.globals[entry])
        for name in set(made.labels) - set(made.token_labels):
            np.testing.assert_array_equal(batch.labels[name][position], made.labels[name][entry])
        for name, modality in made.token_labels.items():
            counts = made.modalities[modality].counts
            end = counts[: entry + 1].sum()
            real = np.asarray(batch.modalities[modality].mask[position])
            expected = made.labels[name][end - counts[entry] : end]
            np.testing.assert_array_equal(np.asarray(batch.labels[name][position])[real], expected)
