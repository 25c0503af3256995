"""Settings that one family of students alone has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foundation.errors import ConfigError


@dataclass(frozen=True)
class InteractionConfig:
    """A graph network of linear cost, as JEDI-linear (arXiv:2508.15468).

    Attributes:
        token: widths of the layers of each token before it hears of the others.
        message: width of the layer in which a token meets the sum of all.
        node: widths of the layers of each token after that.
        widths: of activations, `shared` by all tokens, or learnt for each `position`. Shared ones leave the student
            indifferent to the order of tokens; tokens are sorted by pt, and late ones may do with fewer bits, or none.
    """

    token: tuple[int, ...] = (16,)
    message: int = 16
    node: tuple[int, ...] = (16,)
    widths: Literal["shared", "position"] = "shared"

    @property
    def sizes(self) -> tuple[int, ...]:
        return (*self.token, self.message, *self.node)


@dataclass(frozen=True)
class MixerConfig:
    """An MLP-Mixer (arXiv:2105.01601) without normalisation, as on FPGAs (arXiv:2503.03103).

    Attributes:
        width: of every token.
        blocks: each mixes tokens, then features.
        tokens: hidden width of the layers that mix tokens.
        features: hidden width of the layers that mix features.
    """

    width: int = 8
    blocks: int = 1
    tokens: int = 8
    features: int = 8

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.width, self.blocks, self.tokens, self.features)


@dataclass(frozen=True)
class TreesConfig:
    """Gradient-boosted trees (xgboost) over hardware integers.

    They are grown, not trained by gradient: of `distill` they heed `alpha` (0: the labels; else the teacher alone) and
    `lut_budget`, which leaves out the last rounds.

    Attributes:
        rounds: of boosting, each a tree for every output.
        depth: of every tree.
        learning_rate: shrinks each round's trees.
        leaf_weight: smallest weight (sum of second derivatives) of a leaf.
        l2: penalty on the values of the leaves.
        bins: thresholds that each input is offered.
        leaf_fraction: binary places of the leaves.
    """

    rounds: int = 20
    depth: int = 3
    learning_rate: float = 0.3
    leaf_weight: float = 1.0
    l2: float = 1.0
    bins: int = 64
    leaf_fraction: int = 5

    def check(self) -> None:
        """Raises ConfigError naming a setting out of range."""
        if not 1 <= self.depth <= 8 or self.bins < 2 or not 0 < self.learning_rate <= 1:
            raise ConfigError("trees need 1 <= depth <= 8, bins >= 2 and 0 < learning_rate <= 1")
        if not 0 <= self.leaf_fraction <= 16:
            raise ConfigError(f"trees.leaf_fraction must lie in [0, 16]; it is {self.leaf_fraction}")


@dataclass(frozen=True)
class TablesConfig:
    """Layers of look-up tables, a learnt function of one variable for each connection.

    `weight_fraction` of the student are the fractional bits of the functions' results before training.

    Attributes:
        hidden: widths of the hidden layers; none: every output is a sum of functions of single inputs.
        bits: of what goes into a table at most, the sign included. Up to 6 are one LUT for each bit of the result, 7
            are two; what they cost is in the loss, and few inputs keep 7.
        units: hidden units of the perceptron that each function is while it is trained; more are more crooked.
    """

    hidden: tuple[int, ...] = (8,)
    bits: int = 7
    units: int = 8

    def check(self) -> None:
        """Raises ConfigError naming a setting out of range."""
        if not 2 <= self.bits <= 8 or self.units < 1:
            raise ConfigError(f"tables need 2 <= bits <= 8 and units >= 1; they are {self.bits} and {self.units}")


@dataclass(frozen=True)
class AttentionConfig:
    """Linear attention among tokens. Keys times values, twice for every token, are multiplied: the bulk of the logic.

    Attributes:
        width: of every token.
        blocks: each attends, then has a layer of each token's own.
        keys, values: widths of what tokens are asked by, and of what they answer.
        hidden: width of the layer of each token's own.
        normalisation: `power_of_two` divides the answers by powers of two near the numbers of tokens and of keys; with
            `none` they are sums.
    """

    width: int = 8
    blocks: int = 1
    keys: int = 4
    values: int = 4
    hidden: int = 8
    normalisation: Literal["power_of_two", "none"] = "power_of_two"

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.width, self.blocks, self.keys, self.values, self.hidden)
