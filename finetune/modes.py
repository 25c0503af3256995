"""How fast which part of a tagger learns, by the mode of fine-tuning."""

from __future__ import annotations

import dataclasses

import jax
from flax import nnx

from finetune.adapt import encoder_of
from finetune.config import AdaptConfig, FinetuneConfig
from finetune.model import Tagger
from foundation.errors import ConfigError
from foundation.models.lora import ADAPTER
from foundation.optimizer import trained
from foundation.train import LearningRate, TrainConfig

FROZEN = LearningRate("^encoder/", 0.0)


def check_mode(cfg: FinetuneConfig, *, pretrained: bool) -> None:
    """Raises ConfigError: a setting that this mode, or a training from scratch, has no use for."""
    if pretrained and cfg.model != "encoder":
        raise ConfigError(f"model {cfg.model} is trained from scratch: give the store in place of an encoder")
    if cfg.mode == "lora" and not pretrained:
        raise ConfigError("mode lora changes a pretrained encoder; from scratch take mode full")
    if not pretrained and cfg.adapt != AdaptConfig():
        raise ConfigError("adapt is how a pretrained encoder reads other data; from scratch leave it out")
    if not 0 < cfg.layer_decay <= 1:
        raise ConfigError(f"layer_decay is a factor from block to block, more than 0 and at most 1: {cfg.layer_decay}")
    if not 0 <= cfg.unfreeze < 1:
        raise ConfigError(f"unfreeze is a fraction of the steps, at least 0 and less than 1: {cfg.unfreeze}")
    given = [name for name, value in (("layer_decay", cfg.layer_decay != 1), ("unfreeze", cfg.unfreeze > 0)) if value]
    if given and not (pretrained and cfg.mode == "full"):
        where = f"mode {cfg.mode}" if pretrained else "training from scratch"
        raise ConfigError(f"{given[0]} is of mode full on a pretrained encoder, and this is {where}: leave it out")


def training(cfg: FinetuneConfig, tagger: Tagger, *, pretrained: bool) -> TrainConfig:
    """The settings of training with the learning rates of the mode.

    What a mode freezes stays frozen whatever `train.learning_rates` says; those come before its other rates.
    """
    if cfg.mode in ("linear", "frozen"):
        rates = (FROZEN, *cfg.train.learning_rates)
    elif cfg.mode == "lora":
        rates = (LearningRate(f"^encoder/.*{ADAPTER}"), FROZEN, *cfg.train.learning_rates)
    elif pretrained:
        rates = (*cfg.train.learning_rates, *encoder_rates(cfg, len(encoder_of(tagger.encoder).blocks)))
    else:
        rates = cfg.train.learning_rates
    return dataclasses.replace(cfg.train, learning_rates=rates)


def learning(tagger: Tagger, plan: TrainConfig) -> int:
    """How many numbers learn at some time."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(nnx.state(tagger, trained(plan))))


def encoder_rates(cfg: FinetuneConfig, blocks: int) -> tuple[LearningRate, ...]:
    """Of a pretrained encoder in mode `full`: its blocks, the norm behind the last one, the layers before the first."""
    if cfg.layer_decay == 1 and not cfg.unfreeze:
        return (LearningRate("^encoder/", cfg.trunk),)

    def rate(pattern: str, below: int) -> LearningRate:
        """`below`: how many blocks are further from the input."""
        return LearningRate(pattern, cfg.trunk * cfg.layer_decay**below, cfg.unfreeze * (below + 1) / (blocks + 1))

    each = [rate(rf"^encoder/(encoder/)?blocks/{k}/", blocks - 1 - k) for k in range(blocks)]
    return (*each, rate("^encoder/(encoder/)?norm/", 0), rate("^encoder/", blocks))
