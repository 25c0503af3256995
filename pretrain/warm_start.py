"""Warm start: the weights of an earlier encoder, where the new one has a place for them.

Order of what a pretraining begins with: a checkpoint of its own (`--resume`), else an earlier encoder (`--start`), else
fresh parameters. Heads and decoders of the objectives always start fresh: an encoder is what runs leave behind.

Where the schemas differ, a modality of the same name and features takes its embedding *and its statistics* (the mean
and deviation that its inputs are standardised with: the weights were learnt behind them, so the same example gives the
same embedding), a new modality starts fresh with the statistics of the new store, one that is gone is left out. So do
the globals. A modality of the same name but other features is refused.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundation.errors import ConfigError, SchemaError
from foundation.models import Encoder, EncoderConfig, load_encoder
from foundation.models.inputs import difference, feature_difference
from foundation.models.published import STAGE, set_variables, variables
from foundation.runs import Run
from foundation.schema import DetectorSchema

FREE = ("dropout", "precision", "remat")  # settings of an encoder that no variable depends on


@dataclass(frozen=True)
class Taken:
    """What a warm start took over.

    Attributes:
        modalities: whose embedding and statistics are the earlier encoder's.
        fresh: modalities that it did not know.
        dropped: modalities of it that the store has not.
        globals: whether the embedding of the example-level features was taken.
        shifted: features whose mean in the new store lies more than 3 of the old deviations away: `modality.feature`.
    """

    modalities: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]
    globals: bool
    shifted: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"took {', '.join(self.modalities)}"]
        parts += [f"fresh {', '.join(self.fresh)}"] if self.fresh else []
        parts += [f"left out {', '.join(self.dropped)}"] if self.dropped else []
        parts += [] if self.globals else ["globals fresh"]
        if self.shifted:
            parts += [f"far from the data it was trained on: {', '.join(self.shifted)} (units? another detector?)"]
        return "; ".join(parts)


def warm_start(encoder: Encoder, start: str | Path) -> Taken:
    """Fills `encoder` in place from a pretrain run or a published folder.

    Raises:
        RunError: `start` is neither, did not finish, or is damaged.
        ConfigError: the encoders are of different sizes; names the settings.
        SchemaError: no modality in common, or one of the same name with other features; names the first difference.
    """
    origin = Run.open(start, "pretrain", STAGE)
    earlier = load_encoder(origin.path)
    check_sizes(earlier.config, encoder.config, start)
    same = _same_modalities(earlier.schema, encoder.schema, start)
    same_globals = not feature_difference(earlier.schema.globals, encoder.schema.globals)
    fresh = tuple(name for name in encoder.schema.modalities if name not in same)
    dropped = tuple(name for name in earlier.schema.modalities if name not in same)
    other = {*fresh, *dropped}
    own = variables(encoder)
    taken = {name: array for name, array in variables(earlier).items() if not _is_of(name, other, not same_globals)}
    set_variables(encoder, taken, start)
    return Taken(same, fresh, dropped, same_globals, _shifted(own, taken, encoder.schema, same))


def check_sizes(earlier: EncoderConfig, now: EncoderConfig, start: str | Path) -> None:
    """Raises ConfigError naming the settings of the encoder that differ and decide its variables."""
    names = [field.name for field in dataclasses.fields(EncoderConfig) if field.name not in FREE]
    pairs = {name: (getattr(earlier, name), getattr(now, name)) for name in names}
    flags = {name: before for name, (before, after) in pairs.items() if before != after}
    if flags:
        different = ", ".join(f"{name} {pairs[name][0]} there and {pairs[name][1]} here" for name in flags)
        advice = " ".join(f"--cfg.encoder.{name} {value}" for name, value in flags.items())
        raise ConfigError(f"{start} cannot start this encoder: {different}\n  to take it as it is: {advice}")


def _same_modalities(earlier: DetectorSchema, now: DetectorSchema, start: str | Path) -> tuple[str, ...]:
    found = [name for name in now.modalities if name in earlier.modalities]
    if not found:
        there, here = list(earlier.modalities), list(now.modalities)
        raise SchemaError(f"{start} knows none of this store's modalities: {there} there, {here} here")
    for name in found:
        text = difference(earlier.modalities[name], now.modalities[name])
        if text:
            raise SchemaError(
                f"modality '{name}' of {start} has other features than the store's: {text}\n"
                "  ingest the data with its schema.yaml, or rename the modality to start it fresh"
            )
    return tuple(found)


def _is_of(variable: str, modalities: set[str], globals_: bool) -> bool:
    """Whether a variable belongs to one of these modalities, or to the globals."""
    first, second = [*variable.split("/"), ""][:2]
    return second in modalities or (globals_ and first.startswith("global_"))


def _shifted(
    own: dict[str, np.ndarray], taken: dict[str, np.ndarray], schema: DetectorSchema, modalities: tuple[str, ...]
) -> tuple[str, ...]:
    found = []
    for name in modalities:
        mean, std = taken[f"inputs/{name}/mean"], taken[f"inputs/{name}/std"]
        far = np.abs(own[f"inputs/{name}/mean"] - mean) > 3 * std
        found += [f"{name}.{feature}" for feature, each in zip(schema.modalities[name].features, far) if each]
    return tuple(found)
