"""What is searched: any setting of `detfm distill`, with the values it may take."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from distill_to_fpga.anomaly.distill import score_shape
from distill_to_fpga.config import DistillRunConfig
from distill_to_fpga.inputs import hardware_layout
from distill_to_fpga.search.measures import MEASURES
from foundation.command import load_config, to_dict
from foundation.errors import ConfigError, close_names
from foundation.evaluation_config import RobustnessConfig
from foundation.schema import DetectorSchema

FIXED = {
    "modality": "the examples are made once for all trials",
    "seed": "every trial has its own",
    "reference": "a trial trains one student",
    "student.quantized": "a floating-point student has no firmware",
}
SCORE_SETTINGS = ("score.transform", "score.tail_power", "score.tail_cap")  # those that change no crossing


@dataclass(frozen=True)
class Dimension:
    """The values of one setting: `choices`, or a range.

    Attributes:
        choices: values, in any number and of any kind that the setting takes.
        low, high: ends of a range, both included; of whole numbers where the setting is one.
        log: whether the logarithm is uniform over the range.
        when: other settings -> values of theirs with which this one has a meaning; else it stays as in `base`.
    """

    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    when: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def ends(self) -> tuple[Any, ...]:
        """All choices, or both ends of the range."""
        return self.choices or (self.low, self.high)


def _default_space() -> dict[str, Dimension]:
    return {
        "student.kind": Dimension(("deepsets", "mlp")),
        "student.tokens": Dimension((4, 8, 16)),
        "student.phi": Dimension(([8], [16, 8], [32, 16]), when={"student.kind": ("deepsets",)}),
        "student.rho": Dimension(([8], [16], [32]), when={"student.kind": ("deepsets",)}),
        "student.hidden": Dimension(([16], [32, 16], [32, 32]), when={"student.kind": ("mlp",)}),
        "distill.lut_budget": Dimension(low=1000.0, high=20_000.0, log=True),
        "distill.alpha": Dimension((0.5, 0.7, 0.9)),
    }


@dataclass(frozen=True)
class SearchConfig:
    """A search.

    Attributes:
        space: setting of `detfm distill`, as `student.tokens` -> its values.
        base: what all trials share.
        objectives: figures that trials are judged by; the first is the vertical axis of the pictures.
        trials: how many, those that fail included.
        sampler: `tpe` (tree-structured Parzen estimators, arXiv:2304.11127; of several objectives: Journal of
            Artificial Intelligence Research 73, 1209), `nsga2` or `nsga3` (genetic algorithms).
        startup: trials drawn at random before the sampler learns (tpe), or size of a generation (nsga2, nsga3).
        seed: of the sampler; that of a student is `base.seed` plus the number of its trial.
        clock_ns: period that latencies are stated at.
        rate_khz: of an anomaly trigger, at which the efficiency kept is measured.
        robustness: what the inputs suffer, in as many rows of `val` at most.
    """

    space: dict[str, Dimension] = field(default_factory=_default_space)
    base: DistillRunConfig = field(default_factory=DistillRunConfig)
    objectives: tuple[str, ...] = ("auc", "luts")
    trials: int = 50
    sampler: Literal["tpe", "nsga2", "nsga3"] = "tpe"
    startup: int = 10
    seed: int = 0
    clock_ns: float = 5.0
    rate_khz: float = 10.0
    robustness: RobustnessConfig = field(default_factory=RobustnessConfig)

    def check(self) -> None:
        """Raises ConfigError: a setting that is none or is not to be searched, values it cannot have, numbers out of
        range. Every value is tried in a student by itself; a pair of them that makes no student fails as a trial."""
        if self.trials < 1 or self.startup < 2 or self.clock_ns <= 0 or self.rate_khz <= 0:
            raise ConfigError("search needs trials >= 1, startup >= 2, and clock_ns and rate_khz above 0")
        self.robustness.check()
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ConfigError("objectives: at least one, each once")
        for name in self.objectives:
            if name not in MEASURES or not MEASURES[name].objective:
                known = [each for each, measure in MEASURES.items() if measure.objective]
                raise ConfigError(f"objectives: no figure '{name}'; {close_names(name, known)}")
        if not self.space:
            raise ConfigError("space is empty: name a setting to search, e.g. student.tokens: {choices: [8, 16]}")
        for name, dimension in self.space.items():
            self._check_dimension(name, dimension)

    def _check_dimension(self, name: str, dimension: Dimension) -> None:
        where = f"space: {name}"
        if name in FIXED:
            raise ConfigError(f"{where} cannot be searched: {FIXED[name]}")
        if name == "ensemble" or name.startswith("stores."):
            raise ConfigError(f"{where} cannot be searched: {FIXED['modality']}")
        if name.startswith("score.") and name not in SCORE_SETTINGS:
            raise ConfigError(f"{where} cannot be searched: {FIXED['modality']}; of score: {', '.join(SCORE_SETTINGS)}")
        ranged = dimension.low is not None or dimension.high is not None
        if ranged == bool(dimension.choices):
            raise ConfigError(f"{where} needs either choices or low and high")
        if ranged:
            low, high = dimension.low, dimension.high
            if low is None or high is None or not low < high or (dimension.log and low <= 0):
                raise ConfigError(f"{where}: low < high are needed, above 0 if log; they are {low} and {high}")
            if not _numeric(name):
                raise ConfigError(f"{where} is no number: give choices")
            if whole(name) and not (float(low).is_integer() and float(high).is_integer()):
                raise ConfigError(f"{where} is a whole number; low and high are {low} and {high}")
        elif len({json.dumps(value) for value in dimension.choices}) < len(dimension.choices):
            raise ConfigError(f"{where} has a choice twice")
        for parent, values in dimension.when.items():
            if not values or parent == name:
                raise ConfigError(f"{where}: when {parent} is what?")
        for value in dimension.ends():
            parents = {parent: values[0] for parent, values in dimension.when.items()}
            try:
                _checked(distill_config(self, {**parents, name: value}))
            except ConfigError as error:
                raise ConfigError(f"{where} = {json.dumps(value)}: {error}") from error

    def check_inputs(self, schema: DetectorSchema) -> None:
        """Raises SchemaError or ConfigError: a choice of tokens or features that the data do not have."""
        modality = self.base.modality or next(iter(schema.modalities))
        dimension = self.space.get("student.features", Dimension((self.base.student.features,)))
        for features in dimension.ends():
            hardware_layout(schema, modality, tuple(features), self.most_tokens())

    def most_tokens(self) -> int:
        """The most tokens that any trial may look at."""
        tokens = self.space["student.tokens"].ends() if "student.tokens" in self.space else ()
        return max(int(each) for each in (*tokens, self.base.student.tokens))


def _checked(cfg: DistillRunConfig) -> None:
    cfg.distill.check()
    cfg.score.check()
    student = cfg.student if not _needs_score(cfg) else score_shape(cfg)
    student.check()


def _needs_score(cfg: DistillRunConfig) -> bool:
    """Whether only a student of an anomaly model can look like this."""
    from distill_to_fpga.students.config import DISTANCES

    return cfg.student.kind in DISTANCES


def whole(name: str) -> bool:
    """Whether a setting of `detfm distill` is a whole number."""
    return int in _types(name)


def _numeric(name: str) -> bool:
    return bool({int, float} & set(_types(name)))


def _types(name: str) -> tuple[Any, ...]:
    """Types that a setting may have. Raises ConfigError: no such setting."""
    kind: Any = DistillRunConfig
    for part in name.split("."):
        fields = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        if part not in fields:
            raise ConfigError(
                f"space: `detfm distill` has no setting '{name}'; at '{part}': {close_names(part, fields)}"
            )
        kind = fields[part]
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def settings_of(cfg: SearchConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values drawn for all dimensions, those that have a meaning together."""
    base = to_dict(cfg.base)

    def has_meaning(name: str) -> bool:
        for parent, wanted in cfg.space[name].when.items():
            if parent in cfg.space and not has_meaning(parent):
                return False
            value = values[parent] if parent in values else _at(base, parent)
            if json.dumps(value) not in {json.dumps(each) for each in wanted}:
                return False
        return True

    return {name: value for name, value in values.items() if has_meaning(name)}


def distill_config(cfg: SearchConfig, settings: Mapping[str, Any]) -> DistillRunConfig:
    """`base` with these settings in it, of one student and no reference.

    Raises:
        ConfigError: a setting that is none, or has the wrong type.
    """
    found = to_dict(dataclasses.replace(cfg.base, reference=False))
    for name, value in settings.items():
        _types(name)
        *parents, last = name.split(".")
        inner = found
        for part in parents:
            inner = inner[part]
        is_whole = whole(name) and isinstance(value, float) and value.is_integer()
        inner[last] = int(value) if is_whole else value
    return load_config(DistillRunConfig, found)


def _at(values: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values
