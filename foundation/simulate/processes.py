"""The table of jet classes: which Pythia processes make them, and what a jet must contain to carry the label.

Every process is a 2 -> 2 scattering, so that one knob, `bias_power`, makes rare high-pt events common: Pythia then
samples the cross section times pTHat^power (PhaseSpace:bias2Selection). The event weights that would undo this are
ignored on purpose where the jet pt spectrum is imposed afterwards, the same for every class (see `quota`); a natural
spectrum is generated without bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foundation.errors import ConfigError, close_names

LIGHT_QUARKS_AND_BOTTOM = "1 2 3 4 5"
HIGGS_MASS, TOP_MASS, W_MASS, Z_MASS = 125.0, 173.0, 80.4, 91.2  # GeV, to judge what can be reached
GLUON, LIGHT_QUARKS = (21,), (1, 2, 3)
LIGHT, CHARM, BOTTOM = 0, 4, 5  # flavours of a jet
W_TO_QUARKS = ("24:onMode = off", f"24:onIfAny = {LIGHT_QUARKS_AND_BOTTOM}")
W_TO_LEPTONS = ("24:onMode = off", "24:onIfAny = 11 13")
Z_TO_QUARKS = ("23:onMode = off", f"23:onIfAny = {LIGHT_QUARKS_AND_BOTTOM}")
Z_TO_NEUTRINOS = ("23:onMode = off", "23:onIfAny = 12 14 16")
TOP_PAIRS = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")


@dataclass(frozen=True)
class Decay:
    """What a jet must contain of the decay of `mother` (PDG id): so many quarks or gluons, electrons or muons.

    Neutrinos of the same mother need not lie within the jet: they count for its true momentum only.
    """

    mother: int
    quarks: int = 0
    leptons: int = 0


@dataclass(frozen=True)
class Process:
    """One jet class.

    Attributes:
        label: the branch that is true for these jets; of the ten classes of JetClass, its name (arXiv:2202.03772).
        index: enters the random seeds and the event numbers, so it never changes and is never used again.
        comment: for people.
        settings: Pythia settings that switch the process and its decays on.
        systems: each is one resonance with all the decays below it that a jet must contain entirely; the resonance is
            the mother of the first decay, or `resonance`. Empty: every outgoing parton of the hard scattering is a
            system of its own.
        resonance: PDG id, where it has no daughter in the jet itself (a Higgs boson that decays to W bosons).
        partons: |PDG id| of the outgoing partons that count, where `systems` is empty; empty: all.
        flavour: that the hadrons in the jet must have; None: any.
        masses: of the two outgoing particles, GeV.
        bias_power: see above; chosen so that the selected jets are about flat in pt.
    """

    label: str
    index: int
    comment: str
    settings: tuple[str, ...]
    systems: tuple[tuple[Decay, ...], ...] = ()
    resonance: int = 0
    partons: tuple[int, ...] = ()
    flavour: int | None = None
    masses: tuple[float, float] = (0.0, 0.0)
    bias_power: float = 5.0

    def least_energy(self, pt: float) -> float:
        """Collision energy, GeV, without which the two outgoing particles do not come out back to back at this pt."""
        return sum(math.hypot(mass, pt) for mass in self.masses)

    def least_pt(self, radius: float) -> float:
        """About the pt, GeV, below which the decay of the resonance does not fit into a cone of this radius.

        Two massless prongs of equal momentum, the narrowest pair, lie m / pt from their axis each.
        """
        return max(self.masses) / radius if self.systems else 0.0


def _top(label: str, index: int, comment: str, w_decay: Decay, w_settings: tuple[str, ...]) -> Process:
    systems = tuple((Decay(sign * 6, 1), Decay(sign * 24, w_decay.quarks, w_decay.leptons)) for sign in (1, -1))
    bias_power = 6.0 if w_decay.leptons else 5.0  # for the pt that the neutrino takes
    masses = TOP_MASS, TOP_MASS
    return Process(label, index, comment, (*TOP_PAIRS, *w_settings), systems, masses=masses, bias_power=bias_power)


def _higgs(
    label: str,
    index: int,
    comment: str,
    settings: tuple[str, ...],
    *systems: tuple[Decay, ...],
    bias_power: float = 4.0,
) -> Process:
    """HZ production: the Z goes to neutrinos, so that the Higgs boson's is the only large jet of its hemisphere."""
    everything = ("HiggsSM:ffbar2HZ = on", "25:onMode = off", *settings, *Z_TO_NEUTRINOS)
    masses = HIGGS_MASS, Z_MASS
    return Process(label, index, comment, everything, systems, 25, masses=masses, bias_power=bias_power)


def _two_prongs(label: str, index: int, decay: str) -> Process:
    return _higgs(label, index, f"Higgs boson to {label[-2:]}", (f"25:onIfMatch = {decay}",), (Decay(25, 2),))


_TO_W = "25:onIfMatch = 24 -24"

PROCESSES: dict[str, Process] = {
    process.label: process
    for process in (
        Process("label_QCD", 0, "a quark or gluon of QCD two-jet events", ("HardQCD:all = on",)),
        _top("label_Tbqq", 1, "top quark to b and two quarks", Decay(24, 2), W_TO_QUARKS),
        Process(
            "label_Wqq",
            2,
            "W boson to two quarks",
            ("WeakBosonAndParton:qqbar2Wg = on", "WeakBosonAndParton:qg2Wq = on", *W_TO_QUARKS),
            systems=((Decay(24, 2),), (Decay(-24, 2),)),
            masses=(W_MASS, 0.0),
        ),
        Process(
            "label_Zqq",
            3,
            "Z boson to two quarks",
            # gmZmode = 2: the Z alone, without the photon's contribution and its low-mass tail.
            (
                "WeakBosonAndParton:qqbar2gmZg = on",
                "WeakBosonAndParton:qg2gmZq = on",
                "WeakZ0:gmZmode = 2",
                *Z_TO_QUARKS,
            ),
            systems=((Decay(23, 2),),),
            masses=(Z_MASS, 0.0),
        ),
        _two_prongs("label_Hbb", 4, "5 -5"),
        _two_prongs("label_Hcc", 5, "4 -4"),
        _two_prongs("label_Hgg", 6, "21 21"),
        _higgs(
            "label_H4q",
            7,
            "Higgs boson to two W bosons, one of them virtual, to four quarks",
            (_TO_W, *W_TO_QUARKS),
            (Decay(24, 2), Decay(-24, 2)),
        ),
        _higgs(
            "label_Hqql",
            8,
            "Higgs boson to two W bosons, one of them virtual, to two quarks, an electron or muon, and a neutrino",
            (_TO_W, "24:onMode = off", f"24:onIfAny = {LIGHT_QUARKS_AND_BOTTOM} 11 13"),
            (Decay(24, 2), Decay(-24, 0, 1)),
            (Decay(-24, 2), Decay(24, 0, 1)),
            bias_power=5.0,
        ),
        _top("label_Tbl", 9, "top quark to b, an electron or muon, and a neutrino", Decay(24, 0, 1), W_TO_LEPTONS),
        Process(
            "label_q",
            10,
            "an up, down or strange quark of QCD two-jet events",
            ("HardQCD:qg2qg = on", "HardQCD:qq2qq = on"),
            partons=LIGHT_QUARKS,
        ),
        Process(
            "label_g",
            11,
            "a gluon of QCD two-jet events",
            ("HardQCD:gg2gg = on", "HardQCD:qg2qg = on"),
            partons=GLUON,
        ),
        Process(
            "label_light",
            12,
            "a gluon, up, down or strange quark; no bottom or charm hadron in the jet",
            ("HardQCD:gg2gg = on", "HardQCD:qg2qg = on", "HardQCD:qq2qq = on"),
            partons=(*LIGHT_QUARKS, *GLUON),
            flavour=LIGHT,
        ),
        Process(
            "label_c",
            13,
            "a charm quark of charm pair production; a charm hadron in the jet and no bottom hadron",
            ("HardQCD:hardccbar = on",),
            partons=(CHARM,),
            flavour=CHARM,
        ),
        Process(
            "label_b",
            14,
            "a bottom quark of bottom pair production; a bottom hadron in the jet",
            ("HardQCD:hardbbbar = on",),
            partons=(BOTTOM,),
            flavour=BOTTOM,
        ),
    )
}


def find_processes(labels: Sequence[str]) -> list[Process]:
    """The processes of these classes, in the order asked for.

    Raises:
        ConfigError: no class, an unknown class (the known ones are listed), or one named twice.
    """
    if not labels:
        raise ConfigError(f"classes: at least one jet class is needed; known: {', '.join(PROCESSES)}")
    for label in labels:
        if label not in PROCESSES:
            hint = close_names(label, PROCESSES)
            raise ConfigError(f"classes: unknown jet class '{label}'; {hint}\n  known: {', '.join(PROCESSES)}")
        if list(labels).count(label) > 1:
            raise ConfigError(f"classes: '{label}' is named twice")
    return [PROCESSES[label] for label in labels]
