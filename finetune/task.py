"""What a tagger learns: the settings of a task, and the task resolved against a schema."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from finetune.decorrelate import DecorrelateConfig
from foundation.errors import ConfigError, SchemaError, close_names
from foundation.predictions import Kind
from foundation.schema import DetectorSchema, Label

TOGETHER = "together"  # the one class of pairs of tokens


@dataclass(frozen=True)
class TaskConfig:
    """What to learn.

    Attributes:
        label: label of the schema; empty: the first class label of examples. `none` for regression alone. Its kind
            decides: a class or multi-label of examples, a class of each token of a modality, or a group of tokens,
            whose pairs then belong together or not (edges).
        groups: class to learn -> classes of the schema that make it up; classes in no group are left out (of a
            multi-label: a group applies where any of its classes does). Empty: every class that occurs, each by itself.
        regression: labels of kind regression to learn beside it; all of examples, or all of tokens of its modality.
        regression_weight: of their loss against that of the classes.
        quantiles: levels between 0 and 1 to learn of each regression target, e.g. [0.16, 0.5, 0.84]; they never cross.
            Empty: one value, by Huber loss.
        balance: weight the classes so that each counts the same; of multi-labels and edges: yes and no.
        class_weights: class to learn -> factor of its loss, on top of `balance`; 1 where not named. Of edges:
            `together`.
        pairs: edges learn from every pair of tokens of an example if there are so many or fewer at its padded length;
            else from as many drawn at random, half of them among those that belong together.
        decorrelate: makes the score independent of a quantity, the jet's mass say.
    """

    label: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    regression: tuple[str, ...] = ()
    regression_weight: float = 1.0
    quantiles: tuple[float, ...] = ()
    balance: bool = False
    class_weights: dict[str, float] = field(default_factory=dict)
    pairs: int = 4096
    decorrelate: DecorrelateConfig = field(default_factory=DecorrelateConfig)


@dataclass(frozen=True)
class Task:
    """A TaskConfig resolved against a schema.

    Attributes:
        label: its name, or None.
        classes: names of the classes, in output order.
        lookup: class integer (of a multi-label: column) of the store -> output class, -1 where left out.
        regression: names of the regression labels.
        kind: what is predicted, as `foundation.predictions.Predictions` says it.
        modality: whose tokens are labelled; empty: the examples.
        quantiles: ascending levels of each regression target; empty: one value.
    """

    label: str | None
    classes: tuple[str, ...]
    lookup: tuple[int, ...]
    regression: tuple[str, ...]
    kind: Kind = "class"
    modality: str = ""
    quantiles: tuple[float, ...] = ()

    @staticmethod
    def resolve(schema: DetectorSchema, config: TaskConfig, present: list[str] | None = None) -> Task:
        """Checks the task against the schema. `present` lists the classes that occur, for an empty `groups`.

        Raises:
            SchemaError: a label or class that the schema does not have; names the close ones.
            ConfigError: nothing to learn, settings that contradict each other or are out of range.
        """
        spot = _regression_modality(schema, config.regression)
        quantiles = _quantiles(config)
        label = label_of(schema, config)
        if label is None:
            if not config.regression:
                raise ConfigError(
                    f"nothing to learn: schema '{schema.name}' has no class label of examples; name task.regression, "
                    f"or as task.label one of {list(schema.labels)}"
                )
            task = Task(None, (), (), config.regression, "none", spot or "", quantiles)
        else:
            spec = _checked_label(schema, label)
            if config.regression and spot != spec.modality:
                raise ConfigError(
                    f"task.label '{label}' is of {_whose(spec.modality)}, task.regression of {_whose(spot or '')}: one "
                    "tagger learns one of the two; train them in two runs"
                )
            if spec.kind == "group" and config.regression:
                raise ConfigError(
                    "task.regression beside edges (a group label) is not possible; train it in a run of its own"
                )
            classes, lookup = _classes(label, spec, config, present)
            kind = _kind(spec)
            task = Task(label, classes, lookup, config.regression, kind, spec.modality, quantiles)
        task.check(config)
        config.decorrelate.check(schema, task.kind, task.classes)
        return task

    def check(self, config: TaskConfig) -> None:
        """Raises ConfigError for settings that do not go with this task."""
        for name, weight in config.class_weights.items():
            if name not in self.classes:
                raise ConfigError(f"task.class_weights: no class '{name}' is learnt; {close_names(name, self.classes)}")
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"task.class_weights.{name} must be 0 or more; it is {weight}")
        if config.pairs < 2:
            raise ConfigError(f"task.pairs is a number of pairs, 2 or more; it is {config.pairs}")

    def targets(self, labels: Int[np.ndarray, "n *c"]) -> Int[np.ndarray, "n *C"]:
        """Output classes of the store's class integers; -1 where unknown or left out. Of multi-labels 1, 0 and -1."""
        if self.kind != "multilabel":
            return np.asarray([*self.lookup, -1], np.int32)[labels]
        columns = [labels[:, [i for i, to in enumerate(self.lookup) if to == c]] for c in range(len(self.classes))]
        return np.stack([np.where((c == 1).any(1), 1, np.where((c < 0).any(1), -1, 0)) for c in columns], 1).astype(
            np.int32
        )

    @property
    def point(self) -> int:
        """Which quantile is the value: the one nearest to the median."""
        return int(np.argmin(np.abs(np.asarray(self.quantiles) - 0.5))) if self.quantiles else 0


def label_of(schema: DetectorSchema, config: TaskConfig) -> str | None:
    """The label that the settings mean; None for regression alone."""
    of_tokens = any(schema.labels[name].modality for name in config.regression if name in schema.labels)
    default = "none" if of_tokens else next(iter(schema.class_labels), "none")
    label = config.label or default
    return None if label == "none" else label


def _checked_label(schema: DetectorSchema, label: str) -> Label:
    if label not in schema.labels:
        raise SchemaError(
            f"task.label: schema '{schema.name}' has no label '{label}'; {close_names(label, schema.labels)}"
        )
    spec = schema.labels[label]
    if spec.kind == "regression":
        raise SchemaError(f"task.label: '{label}' is a regression label: name it in task.regression, and label: none")
    return spec


def _kind(spec: Label) -> Kind:
    if spec.kind == "group":
        return "edge"
    if spec.kind == "multilabel":
        return "multilabel"
    return "token_class" if spec.modality else "class"


def _classes(
    label: str, spec: Label, config: TaskConfig, present: list[str] | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the output classes, and the output of each class of the store."""
    if spec.kind == "group":
        if config.groups:
            raise ConfigError(f"task.groups merges classes, and label '{label}' is a group of tokens, which has none")
        return (TOGETHER,), ()
    known = list(spec.classes)
    groups = config.groups or {name: [name] for name in known if present is None or name in present}
    members = [name for group in groups.values() for name in group]
    for name in members:
        if name not in known:
            raise SchemaError(f"task.groups: label '{label}' has no class '{name}'; {close_names(name, known)}")
        if members.count(name) > 1:
            raise ConfigError(f"task.groups: class '{name}' is in more than one group")
    if empty := [name for name, group in groups.items() if not group]:
        raise ConfigError(f"task.groups: '{empty[0]}' names no class of label '{label}'; known: {', '.join(known)}")
    least = 1 if spec.kind == "multilabel" else 2
    if len(groups) < least:
        few = "one class" if least == 1 else "two classes"
        raise ConfigError(f"a classification needs {few} or more; task.groups gives {list(groups)}")
    lookup = [next((i for i, g in enumerate(groups.values()) if name in g), -1) for name in known]
    return tuple(groups), tuple(lookup)


def _regression_modality(schema: DetectorSchema, names: tuple[str, ...]) -> str | None:
    """Whose tokens the regression labels are of; empty: of examples; None without any."""
    numbers = {name: label.modality for name, label in schema.labels.items() if label.kind == "regression"}
    for name in names:
        if name not in numbers:
            raise SchemaError(f"task.regression: no regression label '{name}'; {close_names(name, numbers)}")
        if numbers[name] != numbers[names[0]]:
            raise ConfigError(
                f"task.regression: '{names[0]}' is of {_whose(numbers[names[0]])}, '{name}' of "
                f"{_whose(numbers[name])}: train them in two runs"
            )
    return numbers[names[0]] if names else None


def _quantiles(config: TaskConfig) -> tuple[float, ...]:
    for level in config.quantiles:
        if not 0 < level < 1:
            raise ConfigError(f"task.quantiles lie between 0 and 1, e.g. [0.16, 0.5, 0.84]; one is {level}")
    if len(set(config.quantiles)) < len(config.quantiles):
        raise ConfigError(f"task.quantiles holds a level twice: {list(config.quantiles)}")
    if config.quantiles and not config.regression:
        raise ConfigError("task.quantiles are those of regression targets, and task.regression names none")
    return tuple(sorted(config.quantiles))


def _whose(modality: str) -> str:
    return f"the tokens of '{modality}'" if modality else "examples"
