"""What jets are matched to: partons, leptons, neutrinos, heavy hadrons; and the classes that follow from it."""

from __future__ import annotations

import dataclasses
import importlib.util

import awkward as ak
import numpy as np
import pytest

from foundation.command import load_config
from foundation.simulate import SimulateConfig
from foundation.simulate.columns import PARTICLE_FLOATS, PARTICLE_KINDS
from foundation.simulate.plan import Task
from foundation.simulate.processes import PROCESSES
from foundation.simulate.truth import heavy_hadrons, parton_groups

MISSING = [package for package in ("pythia8mc", "fastjet") if importlib.util.find_spec(package) is None]
needs_sim = pytest.mark.skipif(bool(MISSING), reason=f"needs pip install 'detfm[sim]' (missing: {', '.join(MISSING)})")
FAST = ("PartonLevel:MPI = off",)
JETCLASS = [f"label_{name}" for name in ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]]


def records(*events):
    """Events of (id, status, mother1, px); the first entry of each is the system, as in Pythia's records."""
    columns = np.array([p for event in events for p in [(90, -11, 0, 0.0), *event]]).T
    identity, status, mother = columns[:3].astype(np.int32)
    momentum = ak.zip({"px": columns[3], "py": columns[3] * 0, "pz": columns[3] * 0 + 1.0, "e": abs(columns[3]) + 1})
    flat = ak.zip({"id": identity, "status": status, "mother1": mother, "p": momentum}, depth_limit=1)
    return ak.unflatten(flat, [len(event) + 1 for event in events])


HIGGS = [(25, -62, 0, 90.0), (24, -22, 1, 50.0), (-24, -22, 1, 40.0)]
HADRONIC_PLUS = [(2, -23, 2, 20.0), (-1, -23, 2, 30.0)]


def test_a_lepton_must_be_in_the_jet_and_a_neutrino_counts_for_the_truth_only():
    leptonic = [*HIGGS, *HADRONIC_PLUS, (13, 23, 3, 15.0), (-14, 23, 3, 25.0)]
    four_quarks = [*HIGGS, *HADRONIC_PLUS, (3, -23, 3, 15.0), (-4, -23, 3, 25.0)]
    two_leptons = [*HIGGS, (-13, 23, 2, 20.0), (14, 23, 2, 30.0), (13, 23, 3, 15.0), (-14, 23, 3, 25.0)]
    tau = [*HIGGS, *HADRONIC_PLUS, (15, -23, 3, 15.0), (-16, 23, 3, 25.0)]
    batch = records(leptonic, four_quarks, two_leptons, tau)

    plus_hadronic, minus_hadronic = parton_groups(batch, PROCESSES["label_Hqql"])
    assert sorted(plus_hadronic.px[0]) == [15, 20, 30]  # without the neutrino
    assert plus_hadronic.truth_px[0] == 90  # with it
    assert np.isnan(plus_hadronic.px[1:]).all()
    assert np.isnan(minus_hadronic.px).all()
    (quarks,) = parton_groups(batch, PROCESSES["label_H4q"])
    assert sorted(quarks.px[1]) == [15, 20, 25, 30]
    assert np.isnan(quarks.px[[0, 2, 3]]).all()
    assert set(quarks.pdgid) == {25}


def test_the_bottom_quark_belongs_to_its_top_quark():
    event = [(6, -62, 0, 90.0), (-6, -62, 0, -90.0)]
    event += [(5, -23, 1, 40.0), (24, -22, 1, 50.0), (-5, -23, 2, -40.0), (-24, -22, 2, -50.0)]
    event += [(-11, 23, 4, 30.0), (12, 23, 4, 20.0), (1, -23, 6, -20.0), (-2, -23, 6, -30.0)]
    top, antitop = parton_groups(records(event), PROCESSES["label_Tbl"])
    assert sorted(top.px[0]) == [30, 40]
    assert top.truth_px[0] == 90
    assert np.isnan(antitop.px[0]).all()  # its W boson decays to quarks
    top, antitop = parton_groups(records(event), PROCESSES["label_Tbqq"])
    assert np.isnan(top.px[0]).all()
    assert sorted(antitop.px[0]) == [-40, -30, -20]


def test_only_the_partons_of_the_class_count():
    batch = records([(2, 23, 0, 50.0), (21, 23, 0, -50.0)], [(5, 23, 0, 50.0), (-3, 23, 0, -50.0)])
    found = {label: parton_groups(batch, PROCESSES[label]) for label in ("label_QCD", "label_q", "label_g", "label_b")}
    there = {label: [(~np.isnan(g.px[:, 0])).tolist() for g in groups] for label, groups in found.items()}
    assert there["label_QCD"] == [[True, True], [True, True]]
    assert there["label_q"] == [[True, False], [False, True]]
    assert there["label_g"] == [[False, False], [True, False]]
    assert there["label_b"] == [[False, True], [False, False]]


def test_heavy_hadrons_are_the_last_of_their_chain_above_the_least_pt():
    batch = records(
        # An excited B meson and what it comes to, a D meson of it; a soft B meson; bottomonium; a charm diquark.
        [(513, -83, 0, 50.0), (511, -91, 1, 45.0), (411, -91, 2, 20.0), (521, -83, 0, 4.0)],
        [(553, -83, 0, 50.0), (4101, -71, 0, 50.0), (5, -71, 0, 50.0), (4122, -83, 0, -30.0), (211, 91, 0, 30.0)],
    )
    found = heavy_hadrons(batch)
    assert list(zip(found.event, found.flavour)) == [(0, 5), (0, 4), (1, 4)]
    assert abs(found.phi) == pytest.approx([0, 0, np.pi])


def test_the_ten_classes_have_the_names_of_jetclass():
    assert list(load_config(SimulateConfig, "simulate/jetclass").classes) == JETCLASS
    assert set(JETCLASS) < set(PROCESSES)
    assert len({process.index for process in PROCESSES.values()}) == len(PROCESSES)


@needs_sim
@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "mass", "flavours", "pdgids"),
    [
        ("label_Hcc", (110, 130), {4, 5}, {25}),
        ("label_Hgg", (105, 135), {0, 4, 5}, {25}),
        ("label_H4q", (90, 135), {0, 4, 5}, {25}),
        ("label_Hqql", (30, 115), {0, 4, 5}, {25}),  # the neutrino is not in the jet
        ("label_Tbqq", (150, 185), {5}, {6, -6}),
        ("label_Tbl", (60, 150), {5}, {6, -6}),
    ],
)
def test_every_class_makes_its_resonance(label, mass, flavours, pdgids):
    from foundation.simulate.chunks import generate_chunk

    jets = generate_chunk(SimulateConfig(classes=(label,), pythia=FAST), Task(label, 0, 20))
    assert mass[0] < np.median(jets["jet_sdmass"]) < mass[1]
    assert (jets[label] == 1).all()
    assert set(jets["aux_genpart_pid"]) <= pdgids
    assert np.isin(jets["jet_flavour"], list(flavours)).mean() >= 0.9
    response = np.median(jets["jet_pt"] / jets["aux_genpart_pt"])
    assert 0.6 < response < 0.97 if label in ("label_Hqql", "label_Tbl") else 0.95 < response < 1.05
    wanted = {*PARTICLE_FLOATS, *PARTICLE_KINDS, "part_charge", "jet_nparticles", "jet_sdmass", "jet_tau4"}
    wanted |= {f"aux_{name}" for name in ("genpart_pt", "genpart_eta", "genpart_phi", "genpart_pid", "truth_match")}
    assert wanted <= set(jets)


@needs_sim
@pytest.mark.slow
def test_flavour_and_quark_gluon_jets_are_narrow_and_what_they_say():
    from foundation.simulate.chunks import generate_chunk

    cfg = dataclasses.replace(load_config(SimulateConfig, "simulate/flavour"), pythia=FAST)
    for label, flavour in (("label_b", 5), ("label_c", 4), ("label_light", 0)):
        jets = generate_chunk(cfg, Task(label, 0, 20))
        assert set(jets["jet_flavour"]) == {flavour}
        assert ak.max(np.hypot(jets["part_deta"], jets["part_dphi"])) < 0.6  # anti-kt jets are nearly cones of 0.4
    cfg = dataclasses.replace(load_config(SimulateConfig, "simulate/quark_gluon"), pythia=FAST)
    quarks, gluons = (generate_chunk(cfg, Task(label, 0, 60)) for label in ("label_q", "label_g"))
    assert set(np.abs(quarks["aux_genpart_pid"])) <= {1, 2, 3}
    assert set(gluons["aux_genpart_pid"]) == {21}
    assert gluons["jet_nparticles"].mean() > 1.15 * quarks["jet_nparticles"].mean()


@needs_sim
@pytest.mark.slow
def test_a_natural_spectrum_falls_as_the_cross_section_does():
    from foundation.simulate.chunks import generate_chunk

    cfg = SimulateConfig(classes=("label_QCD",), spectrum="natural", substructure=False, pythia=FAST)
    pt = generate_chunk(cfg, Task("label_QCD", 0, 150))["jet_pt"]
    # d(sigma)/d(pt) of about pt^-6 has half of its jets below 573 GeV; a flat spectrum has none of that.
    assert np.median(pt) == pytest.approx(573, abs=20)
    assert (pt >= 500).all()
