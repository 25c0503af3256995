"""The table of whole-event processes: Pythia settings with masses that can be tuned, and their kinematic limits.

Numbers in braces are parameters: `events.parameters: {wprime: {m_x: 300}}` changes one. Masses in GeV.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from foundation.errors import ConfigError, close_names


@dataclass(frozen=True)
class EventProcess:
    """One kind of whole event.

    Attributes:
        name: as the configuration and the column `process_NAME` call it.
        index: enters the random seeds, the event numbers and the column `process`: never changed, never used again.
        comment: for people.
        settings: Pythia settings with parameters in braces; empty for zero bias, which has no hard collision.
        parameters: name -> default value.
        decays: (parent, children): the children's masses must be less than the parent's. Parameters or numbers.
        least: masses or transverse momenta of what the collision makes first; the beams must have their sum. Likewise.
    """

    name: str
    index: int
    comment: str
    settings: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    decays: tuple[tuple[str | float, tuple[str | float, ...]], ...] = ()
    least: tuple[str | float, ...] = ()


_TOP_MASS, _HIGGS_MASS, _W_MASS = 173.0, 125.0, 80.4
_BOTTOM_MASS, _TAU_MASS, _CHARM_MASS = 4.8, 1.777, 1.5
_W_TO_LEPTONS = ("24:onMode = off", "24:onIfAny = 11 13")
_NARROW_A = (  # the light pseudoscalar, as narrow as no detector resolves
    "36:m0 = {m_a}",
    "36:mWidth = 0.001",
    "36:doForceWidth = on",
    "36:mMin = 0",
    "36:oneChannel = 1 1.0 100 5 -5",
)
_DARK_SECTOR = (  # two colours, one flavour: dark quarks that shower and become mesons, all of one mass
    "4900101:m0 = {m_quark}",
    "4900111:m0 = {m_meson}",
    "4900113:m0 = {m_meson}",
    "4900211:m0 = {m_meson}",
    "4900213:m0 = {m_meson}",
    "HiddenValley:Ngauge = 2",
    "HiddenValley:nFlav = 1",
    "HiddenValley:spinFv = 0",
    "HiddenValley:FSR = on",
    "HiddenValley:fragment = on",
)


def _z_to(name: str, index: int, lepton: int, leptons: str) -> EventProcess:
    # The mass window keeps the photon's low-mass tail out; gmZmode = 0 has the interference in it.
    mass = ("PhaseSpace:mHatMin = {m_min}",)
    settings = ("WeakSingleBoson:ffbar2gmZ = on", "23:onMode = off", f"23:onIfAny = {lepton}", *mass)
    comment = f"Z (and virtual photon) to {leptons}"
    return EventProcess(name, index, comment, settings, {"m_min": 60.0}, least=("m_min",))


EVENT_PROCESSES: dict[str, EventProcess] = {
    process.name: process
    for process in (
        EventProcess("zero_bias", 0, "no hard collision: the pile-up alone"),
        EventProcess(
            "qcd",
            1,
            "QCD two-jet events above a transverse momentum",
            ("HardQCD:all = on", "PhaseSpace:pTHatMin = {pt_min}"),
            {"pt_min": 30.0},
            least=("pt_min", "pt_min"),
        ),
        EventProcess(
            "ttbar",
            2,
            "top quark pairs, all decays",
            ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"),
            least=(_TOP_MASS, _TOP_MASS),
        ),
        EventProcess(
            "w_lnu",
            3,
            "W to an electron or a muon",
            ("WeakSingleBoson:ffbar2W = on", *_W_TO_LEPTONS),
            least=(_W_MASS,),
        ),
        _z_to("z_ee", 4, 11, "electrons"),
        _z_to("z_mumu", 5, 13, "muons"),
        _z_to("z_tautau", 6, 15, "taus"),
        EventProcess(
            "haa4b",
            7,
            "Higgs boson from gluon fusion, to two light pseudoscalars, to four bottom quarks",
            ("HiggsSM:gg2H = on", "25:m0 = 125", "25:onMode = off", "25:addChannel = 1 1.0 100 36 36", *_NARROW_A),
            {"m_a": 15.0},
            ((_HIGGS_MASS, ("m_a", "m_a")), ("m_a", (_BOTTOM_MASS, _BOTTOM_MASS))),
            (_HIGGS_MASS,),
        ),
        EventProcess(
            "vbf_hinv",
            8,
            "Higgs boson from vector-boson fusion, to four neutrinos: what is invisible to the detector",
            (
                "HiggsSM:ff2Hff(t:ZZ) = on",
                "HiggsSM:ff2Hff(t:WW) = on",
                "25:m0 = 125",
                "25:onMode = off",
                "25:onIfMatch = 23 23",
                "23:onMode = off",
                "23:onIfAny = 12 14 16",
            ),
            least=(_HIGGS_MASS,),
        ),
        EventProcess(
            "wprime",
            9,
            "W' to X Y, each a boosted two-prong jet, as in the LHC Olympics R&D set (arXiv:2101.08320)",
            (
                "NewGaugeBoson:ffbar2Wprime = on",
                "34:m0 = {m_resonance}",
                "34:oneChannel = 1 1.0 100 37 35",
                "37:m0 = {m_x}",
                "37:mWidth = 1",
                "37:doForceWidth = on",
                "37:oneChannel = 1 0.5 100 2 -1",
                "37:addChannel = 1 0.5 100 4 -3",
                "35:m0 = {m_y}",
                "35:mWidth = 1",
                "35:doForceWidth = on",
                "35:oneChannel = 1 0.5 100 1 -1",
                "35:addChannel = 1 0.5 100 2 -2",
            ),
            {"m_resonance": 3500.0, "m_x": 500.0, "m_y": 100.0},
            (("m_resonance", ("m_x", "m_y")), ("m_x", (10.0,)), ("m_y", (10.0,))),
            ("m_resonance",),
        ),
        EventProcess(
            "leptoquark",
            10,
            "a pair of scalar leptoquarks, each to a charm quark and a tau",
            (
                "LeptoQuark:gg2LQLQbar = on",
                "LeptoQuark:qqbar2LQLQbar = on",
                "42:m0 = {m_lq}",
                "42:0:products = 4 15",
            ),
            {"m_lq": 1000.0},
            (("m_lq", (_CHARM_MASS, _TAU_MASS)),),
            ("m_lq", "m_lq"),
        ),
        EventProcess(
            "hidden_valley",
            11,
            "semi-visible jets: a Z' to dark quarks, whose mesons decay to quarks or, with probability r_inv, to"
            " dark matter (arXiv:1503.00009)",
            (
                "HiddenValley:ffbar2Zv = on",
                "4900023:m0 = {m_z}",
                "4900023:mWidth = {width_z}",
                "4900023:doForceWidth = on",
                "4900023:onMode = off",
                "4900023:onIfAny = 4900101",
                *_DARK_SECTOR,
                "51:m0 = 0.1",
                "53:m0 = 0.1",
                "51:isResonance = off",
                "53:isResonance = off",
                "HiddenValley:alphaOrder = 1",
                "HiddenValley:Lambda = {lambda}",
                "HiddenValley:pTminFSR = {pt_min}",
                "4900111:oneChannel = 1 {r_vis} 91 3 -3",
                "4900111:addChannel = 1 {r_inv} 0 51 -51",
                "4900113:oneChannel = 1 {r_vis} 91 1 -1",
                "4900113:addChannel = 1 {r_inv} 0 53 -53",
            ),
            {"m_z": 2000.0, "m_meson": 20.0, "r_inv": 0.3, "lambda": 10.0},
            (("m_z", ("m_meson", "m_meson")), ("m_meson", (1.0,))),
            ("m_z",),
        ),
        EventProcess(
            "high_multiplicity",
            12,
            "a heavy scalar to two scalars, to four pseudoscalars, to eight bottom quarks",
            (
                "HiggsBSM:gg2H2 = on",
                "Higgs:useBSM = on",
                "35:m0 = {m_resonance}",
                "35:mWidth = 1",
                "35:doForceWidth = on",
                "35:onMode = off",
                "35:addChannel = 1 1.0 100 25 25",
                "25:m0 = {m_h}",
                "25:mWidth = 0.01",
                "25:doForceWidth = on",
                "25:oneChannel = 1 1.0 100 36 36",
                *_NARROW_A,
            ),
            {"m_resonance": 1000.0, "m_h": 125.0, "m_a": 50.0},
            (("m_resonance", ("m_h", "m_h")), ("m_h", ("m_a", "m_a")), ("m_a", (_BOTTOM_MASS, _BOTTOM_MASS))),
            ("m_resonance",),
        ),
        EventProcess(
            "suep",
            13,
            "soft unclustered energy: a heavy scalar to dark quarks that shower with a large, constant coupling to many"
            " light mesons (arXiv:1612.00850; a shower that is nearly isotropic, not a thermal spectrum)",
            (
                "HiggsBSM:gg2H2 = on",
                "Higgs:useBSM = on",
                "35:m0 = {m_resonance}",
                "35:mWidth = 0.1",
                "35:doForceWidth = on",
                "35:onMode = off",
                "35:addChannel = 1 1.0 100 4900101 -4900101",
                *_DARK_SECTOR,
                "HiddenValley:alphaOrder = 0",
                "HiddenValley:alphaFSR = {alpha}",
                "HiddenValley:pTminFSR = {m_quark}",
                "4900111:oneChannel = 1 1.0 91 3 -3",
                "4900113:oneChannel = 1 1.0 91 1 -1",
            ),
            {"m_resonance": 400.0, "m_meson": 2.0, "alpha": 10.0},
            (("m_resonance", ("m_meson", "m_meson")), ("m_meson", (1.2,))),
            ("m_resonance",),
        ),
    )
}


def derived(name: str, values: Mapping[str, float]) -> dict[str, float]:
    """The parameters with what follows from them: a dark quark is half its meson, as confinement wants."""
    quark = {"m_quark": values["m_meson"] / 2} if "m_meson" in values else {}
    if name != "hidden_valley":
        return {**values, **quark}
    return {**values, **quark} | {
        "r_vis": 1 - values["r_inv"],
        "width_z": 0.01 * values["m_z"],
        "pt_min": 1.1 * values["lambda"],
    }


def process_settings(name: str, changed: Mapping[str, float]) -> tuple[str, ...]:
    """The Pythia settings of a process, with its default parameters but for those changed."""
    process = EVENT_PROCESSES[name]
    values = derived(name, {**process.parameters, **changed})
    return tuple(setting.format(**values) for setting in process.settings)


def check_processes(
    names: Mapping[str, int], parameters: Mapping[str, Mapping[str, float]], beam_energy: float
) -> None:
    """Refuses unknown processes and parameters, and masses that no decay or that the beams do not give, before anything
    is generated.

    Raises:
        ConfigError: names what is known.
    """
    if not names:
        raise ConfigError(f"events.processes: at least one is needed; known: {', '.join(EVENT_PROCESSES)}")
    for name in (*names, *parameters):
        if name not in EVENT_PROCESSES:
            hint = close_names(name, EVENT_PROCESSES)
            raise ConfigError(f"events: unknown process '{name}'; {hint}\n  known: {', '.join(EVENT_PROCESSES)}")
    for name, count in names.items():
        if count < 1:
            raise ConfigError(f"events.processes.{name}: {count} events; at least 1 is needed")
    for name, changed in parameters.items():
        known = EVENT_PROCESSES[name].parameters
        for parameter in changed:
            if parameter not in known:
                raise ConfigError(
                    f"events.parameters.{name}: no parameter '{parameter}'; known: {', '.join(known) or 'none'}"
                )
        _check_values(name, {**known, **changed})
    for name in names:
        _check_threshold(name, parameters.get(name, {}), beam_energy)


def _check_values(name: str, values: Mapping[str, float]) -> None:
    for parameter, value in values.items():
        if not 0 <= value < math.inf or (parameter == "r_inv" and value > 1):
            raise ConfigError(f"events.parameters.{name}.{parameter}: {value} is out of range")
    for parent, children in EVENT_PROCESSES[name].decays:
        mass, products = _value(parent, values), [_value(child, values) for child in children]
        if mass <= sum(products):
            raise ConfigError(
                f"events.parameters.{name}: {_text(parent)} = {mass:g} GeV is not above the mass of its decay products,"
                f" {' + '.join(f'{product:g}' for product in products)} GeV"
            )


def _check_threshold(name: str, changed: Mapping[str, float], beam_energy: float) -> None:
    process = EVENT_PROCESSES[name]
    values = [_value(each, {**process.parameters, **changed}) for each in process.least]
    if sum(values) >= beam_energy:
        raise ConfigError(
            f"events.processes.{name}: above the threshold: {' + '.join(f'{value:g}' for value in values)} GeV are"
            f" needed, beam_energy is {beam_energy:g} GeV"
        )


def _text(name: str | float) -> str:
    return name if isinstance(name, str) else "a mass"


def _value(name: str | float, values: Mapping[str, float]) -> float:
    return values[name] if isinstance(name, str) else name
