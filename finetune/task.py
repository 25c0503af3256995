"""What a tagger learns: the settings of a task, and the task resolved against a schema."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from foundation.errors import ConfigError, SchemaError, close_names
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class TaskConfig:
    """What to learn.

    Attributes:
        label: class label of the schema; empty: the first one. `none` for regression alone.
        groups: class to learn -> classes of the schema that make it up; classes in no group are left out.
            Empty: every class that occurs, each by itself.
        regression: labels of kind regression to learn beside it.
        regression_weight: of their loss against the cross-entropy.
        balance: weight the classes so that each counts the same.
    """

    label: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    regression: tuple[str, ...] = ()
    regression_weight: float = 1.0
    balance: bool = False


@dataclass(frozen=True)
class Task:
    """A TaskConfig resolved against a schema.

    Attributes:
        label: class label, or None.
        classes: names of the classes, in output order.
        lookup: class integer of the store -> output class, -1 where left out.
        regression: names of the regression labels.
    """

    label: str | None
    classes: tuple[str, ...]
    lookup: tuple[int, ...]
    regression: tuple[str, ...]

    @staticmethod
    def resolve(schema: DetectorSchema, config: TaskConfig, present: list[str] | None = None) -> Task:
        """Checks the task against the schema. `present` lists the classes that occur, for an empty `groups`.

        Raises:
            SchemaError: a label or class that the schema does not have; names the close ones.
            ConfigError: nothing to learn, or a class in two groups.
        """
        for name in config.regression:
            if name not in schema.regression_labels:
                hint = close_names(name, schema.regression_labels)
                raise SchemaError(f"task.regression: no regression label '{name}' of examples; {hint}")
        label = config.label or next(iter(schema.class_labels), "none")
        if label == "none":
            if not config.regression:
                raise ConfigError(f"nothing to learn: schema '{schema.name}' has no class label; name task.regression")
            return Task(None, (), (), config.regression)
        known = schema.class_names(label)
        groups = config.groups or {name: [name] for name in known if present is None or name in present}
        members = [name for group in groups.values() for name in group]
        for name in members:
            if name not in known:
                raise SchemaError(f"task.groups: label '{label}' has no class '{name}'; {close_names(name, known)}")
            if members.count(name) > 1:
                raise ConfigError(f"task.groups: class '{name}' is in more than one group")
        if len(groups) < 2:
            raise ConfigError(f"a classification needs two classes or more; task.groups gives {list(groups)}")
        lookup = [next((i for i, g in enumerate(groups.values()) if name in g), -1) for name in known]
        return Task(label, tuple(groups), tuple(lookup), config.regression)

    def targets(self, labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Output classes of the store's class integers; -1 where unknown or left out."""
        return np.asarray([*self.lookup, -1], np.int32)[labels]
