"""The table of jet classes: which Pythia processes make them, and which partons a jet must contain to carry the label.

Every process is a 2 -> 2 scattering, so that one knob, `bias_power`, makes rare high-pt events common: Pythia then
samples the cross section times pTHat^power (PhaseSpace:bias2Selection). The event weights that would undo this are
ignored on purpose: the jet pt spectrum is imposed afterwards, the same for every class (see `chunks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundation.errors import ConfigError, close_names

LIGHT_QUARKS_AND_BOTTOM = "1 2 3 4 5"
W_TO_QUARKS = ("24:onMode = off", f"24:onIfAny = {LIGHT_QUARKS_AND_BOTTOM}")
Z_TO_QUARKS = ("23:onMode = off", f"23:onIfAny = {LIGHT_QUARKS_AND_BOTTOM}")


@dataclass(frozen=True)
class Process:
    """One jet class.

    Attributes:
        label: the JetClass branch (arXiv:2202.03772) that is true for these jets.
        index: enters the random seeds and the event numbers, so it never changes and is never used again.
        settings: Pythia settings that switch the process and its decays on.
        systems: each is one group of partons that a jet must contain entirely, written as (PDG id of the mother,
            number of its daughter quarks) pairs: a top quark is ((6, 1), (24, 2)), its bottom quark and the two
            quarks of its W. Empty: every outgoing parton of the hard scattering is a group of its own.
        bias_power: see above; chosen so that the selected jets are about flat in pt.
    """

    label: str
    index: int
    settings: tuple[str, ...]
    systems: tuple[tuple[tuple[int, int], ...], ...] = ()
    bias_power: float = 5.0


def _higgs(label: str, index: int, decay: str) -> Process:
    """HZ production: the Z goes to neutrinos, so that the Higgs boson's is the only large jet of its hemisphere."""
    settings = (
        "HiggsSM:ffbar2HZ = on",
        "25:onMode = off",
        f"25:onIfMatch = {decay}",
        "23:onMode = off",
        "23:onIfAny = 12 14 16",
    )
    return Process(label, index, settings, systems=(((25, 2),),), bias_power=4.0)


PROCESSES: dict[str, Process] = {
    process.label: process
    for process in (
        Process("label_QCD", 0, ("HardQCD:all = on",)),
        Process(
            "label_Tbqq",
            1,
            ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *W_TO_QUARKS),
            systems=(((6, 1), (24, 2)), ((-6, 1), (-24, 2))),
        ),
        Process(
            "label_Wqq",
            2,
            ("WeakBosonAndParton:qqbar2Wg = on", "WeakBosonAndParton:qg2Wq = on", *W_TO_QUARKS),
            systems=(((24, 2),), ((-24, 2),)),
        ),
        Process(
            "label_Zqq",
            3,
            # gmZmode = 2: the Z alone, without the photon's contribution and its low-mass tail.
            (
                "WeakBosonAndParton:qqbar2gmZg = on",
                "WeakBosonAndParton:qg2gmZq = on",
                "WeakZ0:gmZmode = 2",
                *Z_TO_QUARKS,
            ),
            systems=(((23, 2),),),
        ),
        _higgs("label_Hbb", 4, "5 -5"),
        _higgs("label_Hcc", 5, "4 -4"),
        _higgs("label_Hgg", 6, "21 21"),
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
