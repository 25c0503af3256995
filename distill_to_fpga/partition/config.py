"""The settings of `detfm partition`: what a chip and its links can do, and what the system must."""

from __future__ import annotations

from dataclasses import dataclass, field

from distill_to_fpga.devices import CROSSING_NS, DEVICES, Device
from foundation.errors import ConfigError, close_names


@dataclass(frozen=True)
class ChipConfig:
    """Each of the FPGAs.

    Attributes:
        device: one of `distill_to_fpga.devices`.
        clock_ns: period of the logic's clock.
        utilisation: share of every resource that a plan may take.
        products_per_dsp: products of two activations that one DSP computes at each clock: 2 up to 8 bits, which share
            an operand (AMD WP486); 0 builds all of them of LUTs.
    """

    device: str = "XCVU13P"
    clock_ns: float = 5.0
    utilisation: float = 0.7
    products_per_dsp: int = 2

    @property
    def resources(self) -> Device:
        """Raises ConfigError: no such device."""
        found = next((device for device in DEVICES if device.name == self.device), None)
        if found is None:
            raise ConfigError(f"chip.device: {close_names(self.device, [device.name for device in DEVICES])}")
        return found


@dataclass(frozen=True)
class LinksConfig:
    """Point-to-point links; any two chips can be joined by as many as both have left.

    Attributes:
        per_chip: transceivers of a chip, each of which sends on one link and receives on another.
        gbps: line rate of a link in Gb/s.
        efficiency: share of the line rate that is payload: 64b/66b code, framing, checksum.
        hop_ns: from a word's entering a transmitter to its leaving the receiver; the fibre included.
    """

    per_chip: int = 96
    gbps: float = 25.0
    efficiency: float = 0.94
    hop_ns: float = 100.0

    def bits_per_clock(self, clock_ns: float) -> int:
        """Payload of one link in one clock of the logic; bits that do not fill a clock are lost."""
        return int(self.gbps * self.efficiency * clock_ns)


@dataclass(frozen=True)
class NumbersConfig:
    """Of an encoder, which is still in floating point: how it will have been quantised. A graph has its own.

    Attributes:
        weight_bits: of each weight, its sign included.
        zeros: share of the weights that are zero.
        activation_bits: of all that travels, of queries, keys, values and attention weights.
        tokens: of an example, the summary token not counted; 0: as many as the schema allows.
    """

    weight_bits: int = 5
    zeros: float = 0.5
    activation_bits: int = 8
    tokens: int = 0


@dataclass(frozen=True)
class GoalConfig:
    """What the system must do.

    Attributes:
        rate_mhz: of crossings; 40 MHz is one every 25 ns.
        latency_us: from the clock in which a crossing waits at the input links till its result has left an output link.
        chips: there are no more.
    """

    rate_mhz: float = 1e3 / CROSSING_NS
    latency_us: float = 12.0
    chips: int = 1000


@dataclass(frozen=True)
class PartitionConfig:
    """A system of many FPGAs.

    Attributes:
        copies: of the whole pipeline, each of which gets every n-th crossing; 0: found by the search.
        lanes: tokens that each layer takes in one clock; 0: found by the search.
        crossings: that the simulation sends through a copy; 0: three times those under way at a time, and 8 or more.
    """

    chip: ChipConfig = field(default_factory=ChipConfig)
    links: LinksConfig = field(default_factory=LinksConfig)
    numbers: NumbersConfig = field(default_factory=NumbersConfig)
    goal: GoalConfig = field(default_factory=GoalConfig)
    copies: int = 0
    lanes: int = 0
    crossings: int = 0

    def __post_init__(self) -> None:
        positive: dict[str, float] = {
            "chip.clock_ns": self.chip.clock_ns,
            "links.per_chip": self.links.per_chip,
            "links.gbps": self.links.gbps,
            "goal.rate_mhz": self.goal.rate_mhz,
            "goal.latency_us": self.goal.latency_us,
            "goal.chips": self.goal.chips,
            "numbers.activation_bits": self.numbers.activation_bits,
        }
        shares = {"chip.utilisation": self.chip.utilisation, "links.efficiency": self.links.efficiency}
        wrong = [f"{name} is {value}, must be positive" for name, value in positive.items() if value <= 0]
        wrong += [f"{name} is {value}, must lie in (0, 1]" for name, value in shares.items() if not 0 < value <= 1]
        at_least_zero: dict[str, float] = {"copies": self.copies, "lanes": self.lanes, "crossings": self.crossings}
        at_least_zero |= {"links.hop_ns": self.links.hop_ns, "numbers.tokens": self.numbers.tokens}
        at_least_zero |= {"chip.products_per_dsp": self.chip.products_per_dsp}
        wrong += [f"{name} is {value}, must not be negative" for name, value in at_least_zero.items() if value < 0]
        if not 0 <= self.numbers.zeros < 1 or self.numbers.weight_bits < 2:
            wrong.append("numbers.zeros must lie in [0, 1), numbers.weight_bits be 2 or more")
        if wrong:
            raise ConfigError("; ".join(wrong))
        _ = self.chip.resources

    def clocks_between(self, copies: int) -> float:
        """Clocks between two crossings that the same copy gets, to a thousandth."""
        return round(copies * 1e3 / self.goal.rate_mhz / self.chip.clock_ns, 3)
