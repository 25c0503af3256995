"""What has to be computed: layers of tokens, what each of them costs, and what it needs of which others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from foundation.errors import ConfigError

REGISTERS_PER_LUT = 0.7  # flip-flops of pipelined adder networks: Yosys, docs/estimates.md


@dataclass(frozen=True)
class Resources:
    """What logic takes.

    Attributes:
        luts: without those of products.
        flip_flops: registers.
        products: of two variables, computed in every clock; a chip builds them of DSPs while it has any, then of LUTs.
    """

    luts: float = 0.0
    flip_flops: float = 0.0
    products: float = 0.0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.luts + other.luts, self.flip_flops + other.flip_flops, self.products + other.products)

    def __mul__(self, factor: float) -> Resources:
        return Resources(self.luts * factor, self.flip_flops * factor, self.products * factor)

    @staticmethod
    def logic(luts: float, products: float = 0.0) -> Resources:
        """Of LUTs with the registers that pipeline them."""
        return Resources(luts, REGISTERS_PER_LUT * luts, products)


@dataclass(frozen=True)
class Source:
    """What a layer needs of an earlier one.

    Attributes:
        layer: its name.
        tokens: `own`: for each token the same one; `all`: every token needs all of them first.
        channels: `own`: a slice of the layer needs the same slice; `all`: every channel.
    """

    layer: str
    tokens: Literal["own", "all"] = "own"
    channels: Literal["own", "all"] = "all"


@dataclass(frozen=True)
class Layer:
    """A layer, or an input: a layer without sources.

    Attributes:
        name: unique.
        tokens: that it yields.
        bits: of each of them, all channels together.
        sources: what it needs.
        lane: cost of taking one token in every clock; a slice costs its share.
        shared: what every slice costs besides.
        depth: clocks from a token's entering to its leaving.
        cuts: into how many equal slices of channels (heads) it can be cut; 1: not at all.
        keeps: holds what it needs of all tokens in registers, two crossings of it: keys and values.
        constants: trained numbers in it.
    """

    name: str
    tokens: int
    bits: int
    sources: tuple[Source, ...] = ()
    lane: Resources = field(default_factory=Resources)
    shared: Resources = field(default_factory=Resources)
    depth: int = 0
    cuts: int = 1
    keeps: bool = False
    constants: int = 0

    def sliced(self, slices: int) -> Resources:
        """Of one lane of the largest of so many slices."""
        return self.lane * (-(-self.cuts // slices) / self.cuts) + self.shared


@dataclass(frozen=True)
class Network:
    """Layers in an order in which they can be computed.

    Attributes:
        name: for people.
        layers: inputs and layers.
        outputs: names of the layers whose tokens leave the system.
        product_bits: widths of the two operands of a product.
        method: where the costs come from.
        unrolled: every layer takes all of its tokens in every clock, because its circuit is made so (a graph).
    """

    name: str
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    product_bits: int = 8
    method: str = ""
    unrolled: bool = False

    def __post_init__(self) -> None:
        known: set[str] = set()
        for layer in self.layers:
            missing = {source.layer for source in layer.sources} - known
            if missing or layer.name in known or layer.tokens < 1 or layer.bits < 0:
                raise ConfigError(
                    f"network '{self.name}': layer '{layer.name}' repeats a name, is empty or needs what "
                    f"does not come before it: {sorted(missing)}"
                )
            known.add(layer.name)
        if not self.outputs or set(self.outputs) - known or not self.computed:
            raise ConfigError(f"network '{self.name}' needs layers and outputs that are among them")

    @property
    def computed(self) -> tuple[int, ...]:
        """Positions of the layers that are no inputs."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.sources)

    @property
    def tokens(self) -> int:
        """The most that a layer has."""
        return max(layer.tokens for layer in self.layers)

    @property
    def constants(self) -> int:
        return sum(layer.constants for layer in self.layers)

    def position(self, name: str) -> int:
        return next(i for i, layer in enumerate(self.layers) if layer.name == name)

    def beats(self, lanes: int) -> int:
        """Clocks that the longest layer needs for its tokens."""
        return 1 if self.unrolled else -(-self.tokens // lanes)

    def total(self, beats: int) -> Resources:
        """Of the whole network, undivided, if every layer takes its tokens in so many clocks."""
        return add(self.layers[i].sliced(1) * -(-self.layers[i].tokens // beats) for i in self.computed)


def add(parts: Iterable[Resources]) -> Resources:
    return sum(parts, Resources())
