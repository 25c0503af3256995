"""What a student keeps when its inputs are not those it was trained on: noise, dead channels, more pile-up.

Small and pruned networks lose this first, and accuracy on clean inputs does not show it. All students that are compared
get the same disturbed inputs: what happens to a feature in a place follows from the seed, the feature's name and the
place, whatever else a student looks at.

Axes: B examples, K tokens, H hardware features.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import spearmanr

from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.objective import Examples
from distill_to_fpga.students import Student, predict, predict_exact
from foundation.calibration import probabilities
from foundation.evaluation_config import RobustnessConfig
from foundation.metrics import classification, regression
from foundation.schema import DetectorSchema

Inputs = Int[np.ndarray, "B K H"]
Figures = Callable[[Int[np.ndarray, "B K H"]], dict[str, float]]  # of one student, from its inputs
BETTER_SMALL = ("resolution",)


@dataclass(frozen=True)
class Disturbed:
    """Inputs after something has happened to them.

    Attributes:
        kind: `none`, `noise`, `dead feature`, `dead token`, `pile-up` or `scale`.
        text: how much of it.
        integers: within the types of the hardware.
    """

    kind: str
    text: str
    integers: Inputs


def disturbances(
    integers: Inputs, layout: HardwareLayout, energies: Sequence[str], cfg: RobustnessConfig
) -> Iterator[Disturbed]:
    """The inputs as they are, then disturbed in every way of the settings, one at a time.

    Args:
        energies: names of the features that an energy scale multiplies.
    """
    yield Disturbed("none", "as they are", integers)
    for size in cfg.noise:
        yield Disturbed("noise", f"{size:g} LSB", noisy(integers, layout, size, cfg.seed))
    for share in cfg.pile_up:
        yield Disturbed("pile-up", f"{share:.0%} of empty places filled", piled_up(integers, share, cfg.seed))
    for factor in cfg.scale if set(energies) & set(layout.features) else ():
        yield Disturbed("scale", f"energies x {factor:g}", scaled(integers, layout, energies, factor))
    for column, name in enumerate(layout.features):
        yield Disturbed("dead feature", name, _without(integers, (slice(None), column)))
    chosen = np.unique(np.linspace(0, layout.tokens - 1, min(layout.tokens, cfg.most_tokens)).astype(int))
    for place in chosen:
        yield Disturbed("dead token", str(place), _without(integers, (int(place), slice(None))))


def noisy(integers: Inputs, layout: HardwareLayout, size: float, seed: int) -> Inputs:
    """A normal error of `size` LSBs on every value of a token that is there; rounded, saturated.

    Empty places stay empty, and features of one bit, which are flags and nothing measured, stay as they are.
    """
    moved = integers.astype(np.float64)
    for column, name in enumerate(layout.features):
        if layout.bits[column] == 1:
            continue
        for place in range(layout.tokens):
            random = np.random.default_rng([seed, zlib.crc32(name.encode()), place])
            moved[:, place, column] = integers[:, place, column] + size * random.normal(size=len(integers))
    moved = np.clip(np.floor(moved + 0.5), layout.low, layout.high).astype(np.int32)
    return np.where(integers.any(-1, keepdims=True), moved, 0).astype(np.int32)


def piled_up(integers: Inputs, share: float, seed: int) -> Inputs:
    """A share of the empty places filled with what another example has there: more tokens, where they are soft.

    What falls on a full board is lost, as in the trigger: the tokens that are there stay.
    """
    filled, present = integers.copy(), np.asarray(integers.any(-1))
    for place in range(integers.shape[1]):
        random = np.random.default_rng([seed, place])
        donors, empty = np.flatnonzero(present[:, place]), ~present[:, place]
        hit = random.random(len(integers)) < share
        if len(donors):
            drawn = donors[random.integers(0, len(donors), len(integers))]
            filled[hit & empty, place] = integers[drawn[hit & empty], place]
    return filled


def scaled(integers: Inputs, layout: HardwareLayout, energies: Sequence[str], factor: float) -> Inputs:
    """Energies times a factor, rounded and saturated: a calibration that is off."""
    which = np.isin(list(layout.features), list(energies))
    moved = np.floor(np.where(which, integers * factor, integers) + 0.5)
    return np.clip(moved, layout.low, layout.high).astype(np.int32)


def _without(integers: Inputs, where: Any) -> Inputs:
    """A token or a feature stuck at zero in all examples."""
    silent = integers.copy()
    silent[(slice(None), *where)] = 0
    return silent


def energy_features(schema: DetectorSchema, modality: str) -> tuple[str, ...]:
    """The features of a modality whose unit is an energy's; not their logarithms."""
    return tuple(name for name, each in schema.modalities[modality].features.items() if each.unit.endswith("eV"))


def robustness(
    students: Mapping[str, Figures],
    integers: Inputs,
    layout: HardwareLayout,
    energies: Sequence[str],
    cfg: RobustnessConfig,
) -> list[dict[str, Any]]:
    """A record for each disturbance: `inputs`, `how`, and the figures of every student.

    Of dead tokens there are two: the mean of all tried, and the worst for each figure. The figures of a student named
    `x` are called `x FIGURE`, those of one named `` as they are.

    Args:
        students: name -> what measures it; all of them look at `integers`.
        integers: of as many examples as the figures expect.
    """
    records: list[dict[str, Any]] = []
    for each in disturbances(integers, layout, energies, cfg):
        found = {f"{name} {k}".strip(): v for name, of in students.items() for k, v in of(each.integers).items()}
        records.append({"inputs": each.kind, "how": each.text, **found})
    single = [record for record in records if record["inputs"] == "dead token"]
    records = [record for record in records if record["inputs"] != "dead token"]
    names = [name for name in records[0] if name not in ("inputs", "how")]
    for text, pick in ((f"mean of {len(single)}", np.mean), ("worst", None)):
        values = {name: [record[name] for record in single] for name in names}
        chosen = {n: float(pick(v)) if pick else (max(v) if _small(n) else min(v)) for n, v in values.items()}
        records.append({"inputs": "dead token", "how": text, **chosen})
    return records


def losses(records: Sequence[Mapping[str, Any]], figure: str) -> dict[str, float]:
    """How much of a figure is lost, mean over the disturbances of a kind: `noise_loss`, `dead_loss`, `shift_loss`.

    Above 0 it is worse than undisturbed. `dead` are features and tokens, `shift` pile-up and scale.
    """
    sign = -1 if _small(figure) else 1
    best = records[0][figure]
    kinds = {"noise": ("noise",), "dead": ("dead feature", "dead token"), "shift": ("pile-up", "scale")}
    found = {}
    for name, of in kinds.items():
        values = [record[figure] for record in records if record["inputs"] in of and record["how"] != "worst"]
        if values:
            found[f"{name}_loss"] = float(sign * (best - np.mean(values)))
    return found


def _small(figure: str) -> bool:
    return figure.split()[-1] in BETTER_SMALL


def outputs_of(student: Student, integers: Inputs) -> Float[np.ndarray, "B O"]:
    """Exact, if the student is quantised."""
    return (predict_exact if student.config.quantized else predict)(student, integers).astype(np.float64)


def tagger_figures(student: Student, truth: Examples) -> Figures:
    """AUC (mean of the classes) and accuracy, and the resolution of the regressions, if there are any."""

    def figures(integers: Inputs) -> dict[str, float]:
        outputs, count = outputs_of(student, integers), len(student.classes)
        found: dict[str, float] = {}
        if count:
            scores = probabilities(outputs[:, :count], exclusive=True)
            known = classification(np.asarray(truth.labels), scores, student.classes, None, ())
            found |= {name: known[name] for name in ("auc", "accuracy") if known[name] is not None}
        if student.regressions:
            pairs = zip(np.asarray(truth.targets).T, outputs[:, count:].T)
            found["resolution"] = float(np.mean([regression(true, said)["resolution"] for true, said in pairs]))
        return found

    return figures


def score_figures(
    student: Student,
    integers: Inputs,
    teacher: Float[np.ndarray, " B"],
    normal: Any,
    signals: Mapping[str, Any],
    passing: float,
) -> Figures:
    """Rank correlation with the teacher; what passes of the normal crossings and of each signal.

    The threshold is fixed on undisturbed inputs, as it would be in the trigger: noise that raises the rate shows.

    Args:
        integers: undisturbed.
        teacher: its score of the undisturbed crossings.
        normal, signals: which crossings are.
        passing: share of the normal crossings that passes undisturbed, at most.
    """
    threshold = np.quantile(outputs_of(student, integers)[normal, 0], 1 - passing, method="higher")

    def figures(disturbed: Inputs) -> dict[str, float]:
        said = outputs_of(student, disturbed)[:, 0]
        constant = np.ptp(said[normal]) == 0
        found = {"spearman": 0.0 if constant else float(spearmanr(teacher[normal], said[normal])[0])}
        found["passes"] = float((said[normal] > threshold).mean())
        return found | {
            f"efficiency/{name}": float((said[which] > threshold).mean()) for name, which in signals.items()
        }

    return figures
