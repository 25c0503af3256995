"""The settings of `detfm distill`, and where a distill run keeps its students."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.students import StudentConfig
from foundation.errors import ConfigError

STUDENT, REFERENCE = "student", "reference"


@dataclass(frozen=True)
class ScoreConfig:
    """What a student learns of an anomaly model's score.

    Attributes:
        transform: of the teacher's score before it is regressed; monotone, recorded, can be undone. `normal`: rank in
            the training set to a normal distribution; `log`; `none`. Then mean 0 and deviation 1.
        tail_power: an example weighs (density at the mode / density at its score)^power above the mode: 1 gives every
            interval of the score the same say, 0 every example.
        tail_cap: no example weighs more than so many of those at the mode.
        extra_classes: classes of the label that says what is normal to the teacher: their rows are learnt from, too.
        mixed: crossings made of objects of several, for each real one: see `distill_to_fpga.anomaly.mixing`.
        exchanged: share of its objects that such a crossing has of others, at most; uniform from none.
        stretch: half of those are harder, by up to this factor.
    """

    transform: Literal["normal", "log", "none"] = "normal"
    tail_power: float = 0.7
    tail_cap: float = 50.0
    extra_classes: tuple[str, ...] = ()
    mixed: float = 0.0
    exchanged: float = 0.15
    stretch: float = 1.3

    def check(self) -> None:
        """Raises ConfigError naming a setting out of range."""
        if not 0 <= self.tail_power <= 1 or self.tail_cap < 1:
            raise ConfigError(
                f"score.tail_power must lie in [0, 1] and score.tail_cap be at least 1; they are {self.tail_power} "
                f"and {self.tail_cap}"
            )
        if self.mixed < 0 or self.stretch < 1 or not 0 <= self.exchanged <= 1:
            raise ConfigError(
                "score.mixed must be at least 0, score.stretch at least 1 and score.exchanged in [0, 1]; they are "
                f"{self.mixed}, {self.stretch} and {self.exchanged}"
            )


@dataclass(frozen=True)
class StoresConfig:
    """Data beside the teacher's own store.

    Attributes:
        extra: more data of the same schema, whose `train` splits the teacher speaks of, too; their labels stay hidden.
        student: where the student's inputs are, if not in the teacher's store: rows of the same crossings. The teacher
            may see all modalities in full precision, the student what the trigger board receives.
        key: observers of both stores that together name a crossing.
    """

    extra: tuple[str, ...] = ()
    student: str = ""
    key: tuple[str, ...] = ("event_id",)

    def check(self) -> None:
        """Raises ConfigError: settings that do not go together."""
        if self.student and (self.extra or not self.key):
            raise ConfigError("stores.student needs stores.key, and does not go with stores.extra")


@dataclass(frozen=True)
class DistillRunConfig:
    """A student and how it is made.

    Attributes:
        modality: whose tokens the trigger board receives; empty: the schema's first.
        student: the network.
        distill: its training.
        stores: more data, and the student's own.
        ensemble: more finetune runs of the teacher's task: the teacher is the mean of all log-probabilities.
        score: what is learnt of an anomaly model's score; not used with a tagger.
        reference: also train a floating-point student of the same shape: of a tagger on the teacher's labelled examples
            alone, of an anomaly model on the same scores.
        seed: of the initial weights and the order of examples.
    """

    modality: str = ""
    student: StudentConfig = field(default_factory=StudentConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    stores: StoresConfig = field(default_factory=StoresConfig)
    ensemble: tuple[str, ...] = ()
    score: ScoreConfig = field(default_factory=ScoreConfig)
    reference: bool = True
    seed: int = 0
