"""jetclass: the exact branches of JetClass, all ten classes; on the shipped sample, which has its branch names."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from preset_reading import four_momentum, mass_of_sum, read

from foundation.errors import DataError
from foundation.schema import DetectorSchema

# branches of a JetClass file (arXiv:2202.03772; zenodo.org/records/6619768), in its order
PARTICLES = ["px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr", "charge"]
PARTICLES += ["isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
CLASSES = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]
JETS = ["pt", "eta", "phi", "energy", "nparticles", "sdmass", "tau1", "tau2", "tau3", "tau4"]
GENERATED = ["eta", "phi", "pid", "pt"]


def jetclass_branches(jets=200, seed=7):
    """Jets of isotropic light particles around random axes, one of the ten classes each."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(10, 140, jets)
    total = counts.sum()
    axis = {"eta": rng.uniform(-2, 2, jets), "phi": rng.uniform(-np.pi, np.pi, jets)}
    side = np.where(axis["eta"] > 0, 1, -1)
    deta, dphi, pt = rng.normal(0, 0.2, total), rng.normal(0, 0.2, total), rng.exponential(5, total) + 0.5
    eta = np.repeat(axis["eta"], counts) + deta * np.repeat(side, counts)
    phi = np.repeat(axis["phi"], counts) + dphi
    kind = rng.integers(0, 5, total)
    flat = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "energy": pt * np.cosh(eta)}
    flat |= {"deta": deta, "dphi": dphi, "d0val": rng.normal(0, 2, total), "d0err": rng.exponential(1, total)}
    flat |= {"dzval": rng.normal(0, 2, total), "dzerr": rng.exponential(1, total)}
    flat["charge"] = np.where(np.isin(kind, [0, 3, 4]), rng.choice([-1, 1], total), 0)
    flat |= {name: kind == i for i, name in enumerate(PARTICLES[-5:])}
    branches = {f"part_{n}": ak.unflatten(np.asarray(flat[n], np.float32), counts) for n in PARTICLES}
    numbers = rng.integers(0, 10, jets)
    branches |= {f"label_{name}": (numbers == i).astype(np.float32) for i, name in enumerate(CLASSES)}
    sums = {n: ak.to_numpy(ak.sum(branches[f"part_{n}"], axis=1)) for n in ("px", "py", "energy")}
    jet = {"pt": np.hypot(sums["px"], sums["py"]), "energy": sums["energy"], "nparticles": counts} | axis
    branches |= {f"jet_{n}": np.asarray(jet.get(n, rng.uniform(0, 1, jets)), np.float32) for n in JETS}
    return branches | {f"aux_genpart_{n}": np.zeros(jets, np.float32) for n in GENERATED}, numbers


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    branches, numbers = jetclass_branches()
    path = tmp_path_factory.mktemp("jetclass") / "HToBB_000.root"
    with uproot.recreate(path) as file:
        tree = {name: (values.type.content if isinstance(values, ak.Array) else values.dtype)
                for name, values in branches.items()}  # fmt: skip
        file.mktree("tree", tree).extend(branches)
    return path, branches, numbers


def test_every_branch_and_class(generated):
    path, branches, numbers = generated
    jets = read("jetclass", path)
    assert jets.schema.class_names("jet_class") == CLASSES
    np.testing.assert_array_equal(jets.examples.labels["jet_class"], numbers)
    counts = ak.to_numpy(ak.num(branches["part_px"]))
    np.testing.assert_array_equal(jets.counts("particles"), np.minimum(counts, 128))
    assert jets.findings[0].tokens["particles"]["max_tokens"] == np.maximum(counts - 128, 0).sum() > 0
    particles = jets["particles"]
    assert len(particles) == 17  # as the paper's table 2 counts them

    def expected(values):
        return ak.to_numpy(ak.flatten(ak.values_astype(values, np.float32)[:, :128]))

    pt = np.hypot(branches["part_px"], branches["part_py"])
    for feature, values in {
        "pt": pt,
        "pt_rel": pt / branches["jet_pt"],
        "energy_rel": branches["part_energy"] / branches["jet_energy"],
        "delta_r": np.hypot(branches["part_deta"], branches["part_dphi"]),
        "d0": np.tanh(branches["part_d0val"]),
        "dzerr": ak.where(branches["part_dzerr"] > 1, 1, branches["part_dzerr"]),
        "isMuon": branches["part_isMuon"],
    }.items():
        np.testing.assert_allclose(ak.flatten(particles[feature]), expected(values), rtol=2e-6, err_msg=feature)


def test_constituents_have_the_mass_of_the_jet(generated):
    """(pt, deta, dphi, energy) are four-vectors up to a boost along the beam and a turn: masses stay."""
    path, branches, _ = generated
    jets = read("jetclass", path)
    short = ak.to_numpy(ak.num(branches["part_px"])) <= 128
    e, px, py, pz = (
        ak.to_numpy(ak.sum(branches[f"part_{n}"], axis=1)).astype(float) for n in ("energy", "px", "py", "pz")
    )
    true = np.sqrt(e**2 - px**2 - py**2 - pz**2)
    massless = {name: values for name, values in jets["particles"].items() if name != "energy"}
    mass = mass_of_sum(four_momentum(massless, "deta", "dphi"))
    np.testing.assert_allclose(mass[short], true[short], rtol=1e-3)


@pytest.fixture(scope="module")
def shipped(sample):
    """The sample through the preset with the classes that the sample has."""
    schema = DetectorSchema.load("data/jetclass").to_dict()
    there = uproot.open(sample)["tree"].keys()
    classes = schema["labels"]["jet_class"]["classes"]
    schema["labels"]["jet_class"]["classes"] = {n: column for n, column in classes.items() if column in there}
    return read(DetectorSchema.load(schema), sample)


def test_the_shipped_sample_has_jetclass_names(shipped, sample):
    tree = uproot.open(sample)["tree"].arrays(["part_px", "label_Hbb", "jet_energy"])
    np.testing.assert_array_equal(shipped.counts("particles"), np.minimum(ak.num(tree["part_px"]), 128))
    hbb = shipped.schema.class_names("jet_class").index("Hbb")
    np.testing.assert_array_equal(shipped.examples.labels["jet_class"] == hbb, tree["label_Hbb"] == 1)
    assert ak.max(ak.sum(shipped["particles"]["energy_rel"], axis=1)) < 1.001


@pytest.mark.parametrize(("name", "mass"), [("Wqq", 80.4), ("Zqq", 91.2), ("Hbb", 125), ("Tbqq", 173)])
def test_heavy_particles_show_their_mass(shipped, name, mass):
    chosen = shipped.examples.labels["jet_class"] == shipped.schema.class_names("jet_class").index(name)
    groomed = shipped.examples.observers["jet_sdmass"][chosen]
    histogram, edges = np.histogram(groomed, bins=np.arange(40, 240, 6))
    peak = edges[histogram.argmax()] + 3
    assert peak == pytest.approx(mass, abs=0.12 * mass)  # smeared, and a little is lost


def test_a_class_that_the_file_lacks_is_named(sample):
    assert "label_Hcc" not in uproot.open(sample)["tree"]
    with pytest.raises(DataError, match=r"no branch 'label_H\w+'; did you mean 'label_"):
        read("jetclass", sample)
