"""The settings of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.task import TaskConfig
from finetune.trees import TreeConfig
from foundation.models import EncoderConfig, HeadConfig
from foundation.models.lora import LoraConfig
from foundation.models.references import ReferencesConfig
from foundation.optimizer import TrainConfig
from foundation.stopping import StopConfig

Mode = Literal["linear", "frozen", "lora", "full"]
Model = Literal["encoder", "pfn", "pcnn", "particlenet", "part", "part_plain", "lorentznet", "tree"]


@dataclass(frozen=True)
class AdaptConfig:
    """How a pretrained encoder reads data of another schema, beyond what is harmless.

    Attributes:
        fill: features of the encoder that the data lacks, `modality.feature` or `globals.feature`: each is given its
            mean in the pretraining.
        statistics: standardise the inputs with those of the `encoder`, or with those of this `data`, which takes a
            shift between the two out of the encoder's sight.
        shift: tell of every feature whose mean in this data is further from the encoder's than so many of its standard
            deviations.
    """

    fill: tuple[str, ...] = ()
    statistics: Literal["encoder", "data"] = "encoder"
    shift: float = 1.0


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tuning.

    Attributes:
        task: what to learn.
        mode: `linear` (a linear probe on the frozen encoder), `frozen` (the head of `head` on the frozen encoder),
            `lora` (low-rank changes of the encoder's linear layers, and the head), `full` (everything).
        labels: number of labelled training examples, drawn by train.seed; 0 means all.
        trunk: learning rate of a pretrained encoder in mode `full`, relative to the head's.
        layer_decay: in mode `full` of a pretrained encoder of L blocks, block k learns at trunk * layer_decay^(L - k)
            and the layers that read the input at trunk * layer_decay^L.
        unfreeze: fraction of the steps until all of a pretrained encoder learns, in mode `full`: its blocks join one
            after another, the last one first and the layers that read the input at last. 0: all from the first step.
        lora: the adapters of mode `lora`.
        stop: early stopping.
        adapt: how a pretrained encoder reads data of another schema.
        allow_leakage: go on though examples of `val` or `test` are also among the training examples.
        head: of the classes and regression targets (mode `linear` has no hidden layer).
        model: what to train from scratch: our `encoder`, or a reference model of the field: `pfn` (DeepSets), `pcnn`,
            `particlenet`, `part` (Particle Transformer), `part_plain` (without pair features), `lorentznet`; with
            `head.hidden: 0` they are the papers'. `tree`: a boosted tree on high-level observables.
        encoder: sizes of the backbone `encoder`, used only when training from scratch.
        references: sizes of the other networks.
        tree: the boosted tree; of the other settings it uses task, labels, allow_leakage and train.seed.
        train: optimisation.
        batch_size: examples in a batch.
        buckets: number of padded lengths.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    mode: Mode = "full"
    labels: int = 0
    trunk: float = 0.2
    layer_decay: float = 1.0
    unfreeze: float = 0.0
    lora: LoraConfig = field(default_factory=LoraConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    allow_leakage: bool = False
    head: HeadConfig = field(default_factory=HeadConfig)
    model: Model = "encoder"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    references: ReferencesConfig = field(default_factory=ReferencesConfig)
    tree: TreeConfig = field(default_factory=TreeConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=400, checkpoint_every=1000))
    batch_size: int = 128
    buckets: int = 2
