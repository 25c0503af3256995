"""Whether settings are in range and a schema can carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from foundation.errors import ConfigError, close_names
from foundation.schema import DetectorSchema
from pretrain.augment.anomalous_settings import AnomalousConfig
from pretrain.augment.columns import has
from pretrain.augment.config import AugmentConfig
from pretrain.augment.settings import Rotation, Translation
from pretrain.augment.steps import ANOMALIES, STEPS, Step

MOST = {"probability": 1.0, "fraction": 1.0, "soft_fraction": 1.0, "z_min": 0.5}
POSITIVE = {("dead_cells", "eta"), ("dead_cells", "phi"), ("vertex", "radius"), ("vertex", "half_length")}
WHOLE = {"count", "interactions", "pool_rows"}  # at least 1


def steps_of(config: AugmentConfig, schema: DetectorSchema) -> dict[str, Any]:
    """Name -> settings of what acts on examples of a schema.

    An augmentation whose settings were left as they are acts where it can and does no harm: rotation and translation
    need directions relative to a jet axis. One whose settings were changed acts, or is refused.

    Raises:
        ConfigError: a setting is out of range, names a modality that the schema lacks, or asks for what the schema
            cannot carry.
    """
    found = {}
    for name, step in STEPS.items():
        settings = getattr(config, name)
        _check_ranges(f"augment.{name}", name, settings)
        _check_names(f"augment.{name}", settings, schema, step)
        if settings.probability == 0:
            continue
        able = bool(step.carriers(schema, settings))
        if settings == type(settings)():
            if able and harmless(settings, schema):
                found[name] = settings
        elif not able:
            _refuse(f"augment.{name}", "probability", schema, step)
        else:
            found[name] = settings
    _check_missing("augment.met_from", config.met_from, schema)
    return found


def anomalies_of(config: AnomalousConfig, schema: DetectorSchema) -> dict[str, Any]:
    """Name -> settings of the anomalies that examples of a schema can get; those left as they are where it can.

    Raises:
        ConfigError: as `steps_of`, or there is none.
    """
    found = {}
    for name, step in ANOMALIES.items():
        settings = getattr(config, name)
        _check_ranges(f"anomalous.{name}", name, settings)
        if settings.share > 0 and step.carriers(schema, settings):
            found[name] = settings
        elif settings.share > 0 and settings != type(settings)():
            _refuse(f"anomalous.{name}", "share", schema, step)
    if not found:
        raise ConfigError(
            f"anomalous: schema '{schema.name}' can carry none of the anomalies whose share is above 0; "
            f"there are {', '.join(ANOMALIES)}"
        )
    _check_missing("anomalous.met_from", config.met_from, schema)
    return found


def harmless(settings: Any, schema: DetectorSchema) -> bool:
    """Rotation and translation are of jets: only directions relative to a jet axis can bear them unasked."""
    relative = any(modality.relative for modality in schema.modalities.values())
    return relative or not isinstance(settings, (Rotation, Translation))


def _refuse(where: str, switch: str, schema: DetectorSchema, step: Step) -> None:
    raise ConfigError(
        f"{where}: no modality of schema '{schema.name}' has {step.needs}; give {where}.{switch} the value 0"
    )


def _check_ranges(where: str, name: str, settings: Any) -> None:
    values: dict[str, Any] = {f.name: getattr(settings, f.name) for f in fields(settings)}
    values |= {f"sigmas.{key}": value for key, value in values.pop("sigmas", {}).items()}
    for setting, value in values.items():
        if isinstance(value, (tuple, str)):
            continue
        most, least = MOST.get(setting), 1 if setting in WHOLE else 0
        if value < least or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"between 0 and {most:g}"
            raise ConfigError(f"{where}.{setting} must be {bounds}; it is {value}")
        if (name, setting) in POSITIVE and value == 0:
            raise ConfigError(f"{where}.{setting} must be above 0")
    if "low" in values and not 0 < values["low"] <= values["high"]:
        raise ConfigError(f"{where}: low {values['low']} and high {values['high']} must be positive and in this order")


def _check_names(where: str, settings: Any, schema: DetectorSchema, step: Step) -> None:
    """Raises for a modality that is not there, or that the augmentation can do nothing with."""
    able = step.carriers(schema, settings)
    for setting in ("modalities", "calorimeters", "sigmas"):
        for name in getattr(settings, setting, ()):
            _check_modality(f"{where}.{setting}", name, schema)
            if name not in able:
                raise ConfigError(f"{where}.{setting}: modality '{name}' has not {step.needs}")


def _check_missing(where: str, names: tuple[str, ...], schema: DetectorSchema) -> None:
    needed: Mapping[str, Step] = ANOMALIES
    if names and not needed["met"].carriers(schema, None):
        raise ConfigError(f"{where}: schema '{schema.name}' has no {needed['met'].needs.removeprefix('a ')}")
    for name in names:
        _check_modality(where, name, schema)
        if not has(schema.modalities[name], "pt", "phi") or schema.modalities[name].relative:
            raise ConfigError(f"{where}: modality '{name}' has no pt and phi about the beam")


def _check_modality(where: str, name: str, schema: DetectorSchema) -> None:
    if name not in schema.modalities:
        hint = close_names(name, schema.modalities)
        raise ConfigError(f"{where}: schema '{schema.name}' has no modality '{name}'; {hint}")
