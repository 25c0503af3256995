"""`detfm inspect --event`: the numbers that go into the pictures, and that every kind of modality is drawn."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from detector import columns, write
from detector import schema as toy
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from foundation.cli import main
from foundation.errors import ConfigError, DataError
from foundation.inspect.command import event_display
from foundation.inspect.display import draw, headline, missing
from foundation.inspect.event import Event, file_event, kinematics, species, store_event
from foundation.inspect.transverse import TRACKER, _track
from foundation.inspect.views import kind_of, reach_of
from foundation.schema import DetectorSchema
from foundation.store.ingest import ingest
from foundation.store.store import Store


def modality(names: str, coordinates: str = "", **more):
    units = {"pt": "GeV", "energy": "GeV", "phi": "rad", "time": "ns", "x": "mm", "y": "mm", "z": "mm"}
    features = {n: {"expression": f"a_{n}", "unit": units.get(n, "")} for n in names.split()}
    return {"features": features, "coordinates": {c: c for c in (coordinates or names).split()}, **more}


def detector(**modalities) -> DetectorSchema:
    return DetectorSchema.load({"name": "toy", "modalities": modalities})


@pytest.fixture
def collision() -> Event:
    """Cells of a calorimeter, charged tracks, jets across the seam of phi, missing pt, an image, hits, a waveform."""
    rng = np.random.default_rng(5)
    schema = detector(
        ecal=modality("energy eta phi time"),
        tracks=modality("pt eta phi charge", "pt eta phi"),
        jets=modality("pt eta phi"),
        met=modality("pt phi"),
        image=modality("energy", grid={"shape": [3, 4], "row": "a_phi", "column": "a_eta"}, max_tokens=12),
        hits=modality("x y z energy"),
        pulse=modality("adc", " "),
        muons=modality("pt eta phi"),
    )

    def cloud(n, scale=5.0):
        return [rng.exponential(scale, n), rng.uniform(-2, 2, n), rng.uniform(-3, 3, n)]

    tokens = {
        "ecal": np.stack([*cloud(50), rng.normal(0, 5, 50)], 1),
        "tracks": np.stack([*cloud(20), rng.choice([-1, 1], 20)], 1),
        "jets": np.array([[50.0, 0.5, 3.1], [20.0, -1.0, -0.3]]),
        "met": np.array([[30.0, 3.5]]),
        "image": rng.exponential(1, (12, 1)),
        "hits": rng.normal(size=(40, 4)),
        "pulse": rng.normal(size=(100, 1)),
        "muons": np.zeros((0, 3)),
    }
    return Event(schema, {n: v.astype(np.float32) for n, v in tokens.items()}, observers={"run": 3, "event": 17})


def axes_of(figure: Figure):
    return {ax.get_title("left"): ax for ax in figure.axes if ax.get_title("left")}


def test_each_kind_of_modality_gets_its_view(collision):
    kinds = {name: kind_of(collision, name) for name in collision.tokens}
    assert kinds == {
        "ecal": "map",
        "tracks": "map",
        "jets": "map",
        "met": "arrow",
        "image": "image",
        "hits": "space",
        "pulse": "wave",
        "muons": "map",
    }
    shown = axes_of(draw(collision))
    assert set(shown) == {"transverse view", "ecal", "tracks", "jets", "image", "hits: x–y", "hits: z–r", "pulse"}


def test_tokens_are_where_the_event_has_them(collision):
    shown = axes_of(draw(collision))
    (dots,) = [c for c in shown["ecal"].collections if isinstance(c, PathCollection)]
    ecal = collision.tokens["ecal"]
    where = np.asarray(dots.get_offsets())
    np.testing.assert_allclose(where[np.argsort(where[:, 0])], ecal[np.argsort(ecal[:, 1]), 1:3], atol=1e-6)
    drawn = sum(len(c.get_offsets()) for c in shown["tracks"].collections if isinstance(c, PathCollection))
    assert drawn == len(collision.tokens["tracks"])
    areas = dots.get_sizes()
    transverse = ecal[:, 0] / np.cosh(ecal[:, 1])
    assert np.argmax(areas) == 0  # the largest is drawn first, below the others
    np.testing.assert_allclose(
        np.sort(areas - 5) / (areas.max() - 5), np.sort(transverse) / transverse.max(), rtol=1e-5
    )


def test_axes_have_units_and_the_range_of_the_detector(collision):
    shown = axes_of(draw(collision))
    for name in ("ecal", "tracks", "jets"):
        assert shown[name].get_ylabel() == r"$\phi$ [rad]"
        assert shown[name].get_xlim() == (-2.6, 2.6)  # the same for all, so that they can be compared
        np.testing.assert_allclose(shown[name].get_ylim(), (-np.pi, np.pi))
    assert shown["hits: x–y"].get_xlabel() == "x [mm]"
    assert reach_of(collision) == 2.6


def test_a_jet_at_the_seam_is_on_both_sides(collision):
    jets = axes_of(draw(collision))["jets"]
    centres = [patch.center for patch in jets.patches if hasattr(patch, "center")]
    seam = [phi for eta, phi in centres if eta == pytest.approx(0.5)]
    assert min(seam) == pytest.approx(3.1 - 2 * np.pi, abs=1e-5)
    assert [t.get_text() for t in jets.texts if t.get_text().isdigit()] == ["50", "20"]


def test_missing_momentum_is_wrapped_and_taken_from_tokens_or_globals(collision):
    pt, phi = missing(collision)["met"]
    assert (pt, phi) == (pytest.approx(30), pytest.approx(3.5 - 2 * np.pi, abs=1e-6))
    schema = DetectorSchema.load(
        {
            "modalities": {"a": modality("pt eta phi")},
            "globals": {"puppi_met_pt": {"expression": "p"}, "puppi_met_phi": {"expression": "q"}},
        }
    )
    event = Event(schema, {"a": np.zeros((0, 3))}, np.array([40.0, 1.0]))
    assert missing(event) == {"puppi_met": (40.0, pytest.approx(1.0))}
    event = Event(schema, {"a": np.zeros((0, 3))}, np.array([0.0, 1.0]))
    assert missing(event) == {}, "no momentum has no direction"


def test_the_sum_of_energies_is_no_missing_momentum():
    names = ("MET_sumet", "MET_phi", "MET_pt")
    schema = DetectorSchema.load(
        {"modalities": {"a": modality("pt eta phi")}, "globals": {n: {"expression": "p"} for n in names}}
    )
    assert missing(Event(schema, {"a": np.zeros((0, 3))}, np.array([900.0, 1.0, 40.0]))) == {"MET": (40.0, 1.0)}


def test_four_vectors_are_completed():
    schema = detector(a=modality("px py pz energy"), b=modality("energy eta phi"))
    values = np.array([[3.0, -4.0, 5.0, 10.0]], np.float32)
    found = kinematics(schema.modalities["a"], values)
    assert (found["pt"][0], found["phi"][0]) == (5.0, pytest.approx(np.arctan2(-4, 3)))
    assert found["eta"][0] == pytest.approx(np.arcsinh(1.0))
    found = kinematics(schema.modalities["b"], np.array([[10.0, 2.0, 7.0]], np.float32))
    assert found["et"][0] == pytest.approx(10 / np.cosh(2))
    assert found["phi"][0] == pytest.approx(7 - 2 * np.pi, abs=1e-6)


def test_tracks_bend_by_charge_and_momentum():
    """A track of pt leaves the tracker turned by asin(r / 2R), R = pt / 0.3 B, to the right if positive."""
    ax = Figure().add_subplot()
    for charge in (1.0, -1.0, 0.0):
        _track(ax, 2.0, 0.0, charge, "k", 1.0, TRACKER)
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in ax.lines]
    radius = 2.0 / (0.3 * 3.8) / 1.1
    angle = np.arcsin(1 / (2 * radius))
    assert ends[0] == pytest.approx((np.cos(angle), -np.sin(angle)))
    assert ends[1] == pytest.approx((np.cos(angle), np.sin(angle)))
    assert ends[2] == pytest.approx((1.0, 0.0))


def test_kinds_of_particles_only_where_most_tokens_are_of_one():
    schema = detector(a=modality("pt isPhoton isMuonPlus isMuonMinus", "pt"))
    values = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]], np.float32)
    found = species(schema.modalities["a"], values)
    assert {kind: list(yes) for kind, yes in found.items()} == {
        "Photon": [True, False, False],
        "Muon": [False, True, True],
    }
    assert species(schema.modalities["a"], values * [1, 0, 1, 0]) == {}


def test_the_headline_names_the_event(collision):
    text = headline(collision, 30)
    assert "run 3, event 17" in text
    assert "no muons" in text
    assert "\n" in text


def test_an_event_without_tokens_is_drawn(collision):
    empty = Event(collision.schema, {n: v[:0] for n, v in collision.tokens.items() if n != "image"})
    assert "no token" in draw(empty).axes[0].texts[0].get_text()


def test_a_row_of_a_store_and_of_its_file_are_the_same(tmp_path):
    path = write(tmp_path / "a.root", columns(200))
    store = Store.open(ingest([path], schema=toy(), out=tmp_path / "s"))
    from_store = store_event(store, 5, "val")
    entry = int(store.source("val")[5, 1])
    from_file = file_event(str(path), toy(), entry)
    assert f"entry {entry}" in from_store.where
    assert from_store.labels == from_file.labels
    assert from_store.observers == from_file.observers
    for name, values in from_file.tokens.items():
        np.testing.assert_array_equal(from_store.tokens[name], values)


def test_the_command(tmp_path, capsys):
    path = write(tmp_path / "a.root", columns(100))
    store = ingest([path], schema=toy(), out=tmp_path / "s")
    out = tmp_path / "event.png"
    assert main(["inspect", str(store), "--event", "3", "--split", "test", "--out", str(out)]) == 0
    assert matplotlib.image.imread(out).shape[0] > 300
    assert main(["inspect", str(store), "--event", "5000"]) == 2
    assert "there is no row 5000" in capsys.readouterr().err
    with pytest.raises(DataError, match="no split 'tset'"):
        event_display(store, 0, out, split="tset")
    with pytest.raises(ConfigError, match="--schema"):
        event_display(path, 0, out)
    with pytest.raises(DataError, match="no entry 100"):
        event_display(path, 100, out, schema=toy())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "name", "entry"),
    [
        ("cms_events", "cms_events/cms_ispy_events.npz", 4),
        ("l1ugt", "l1ugt/cms_l1_ugt.h5", 60000),
        ("l1calo_image", "l1calo/HInv.hdf5", 5),
        ("p2l1", "p2l1/TTbar_PU200_Barrel.npz", 0),
        ("deepjet", "deepjet/ntuple_ttbar.root", 4),
        ("hgcal", "hgcal/rechits_0.npy", 0),
        ("trackml", "trackml/event000001000_g000.npz", 0),
    ],
)
def test_real_events_are_drawn(shared_data, tmp_path, preset, name, entry):
    out = event_display(shared_data / name, entry, tmp_path / "e.png", schema=f"data/{preset}")
    image = matplotlib.image.imread(out)[..., :3]
    assert (image < 0.5).any(axis=2).mean() > 0.005  # something was drawn
