"""A plan with its links and memories: what every chip takes of what it has, and which limits that breaks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from distill_to_fpga.estimate import PRODUCT_LUTS
from distill_to_fpga.partition.config import PartitionConfig
from distill_to_fpga.partition.links import allocate, loads, used
from distill_to_fpga.partition.network import REGISTERS_PER_LUT
from distill_to_fpga.partition.pipeline import Flow, Links, Need, Pipeline, build, chip_name
from distill_to_fpga.partition.plan import OUTSIDE, Plan

SHIFT_REGISTER, BLOCK_WIDTH, BLOCK_DEPTH = 32, 72, 512  # bits of a LUT; of a block of 36 kb
LOGIC = ("luts", "flip_flops", "dsps")  # of `RESOURCES`, what `with_products` counts
RESOURCES = {"luts": "LUTs", "flip_flops": "flip-flops", "dsps": "DSPs", "block_rams": "block RAMs (36 kb)"}


@dataclass(frozen=True)
class Violation:
    """A limit that is not kept.

    Attributes:
        limit: what is limited, in its unit.
        where: a chip, a layer, a server, or the system.
    """

    limit: str
    where: str
    needed: float
    allowed: float

    @property
    def factor(self) -> float:
        return self.needed / self.allowed if self.allowed else math.inf

    def __str__(self) -> str:
        return (
            f"{self.limit} of {self.where}: {self.needed:,.4g} needed, {self.allowed:,.4g} allowed "
            f"({self.factor:.2f} times)"
        )


@dataclass(frozen=True)
class Use:
    """Resources of one chip that are taken; links by direction."""

    luts: float = 0.0
    flip_flops: float = 0.0
    dsps: float = 0.0
    block_rams: float = 0.0
    sent: int = 0
    received: int = 0


def allowed(cfg: PartitionConfig, name: str) -> float:
    """What a plan may take of a resource of each chip."""
    return cfg.chip.utilisation * getattr(cfg.chip.resources, name)


def with_products(logic: Float[np.ndarray, "C 3"], cfg: PartitionConfig, bits: int) -> Float[np.ndarray, "C 3"]:
    """LUTs, flip-flops and DSPs of logic with products: those are in DSPs while a chip has any, the others in LUTs.

    Args:
        logic: LUTs, flip-flops and products of each of C chips.
        bits: of the operands; two products share a DSP only up to 8.
    """
    luts, flip_flops, products = logic.T
    per_dsp = min(cfg.chip.products_per_dsp, 1) if bits > 8 else cfg.chip.products_per_dsp
    in_dsps = np.minimum(products, per_dsp * allowed(cfg, "dsps"))
    more = math.ceil(PRODUCT_LUTS * bits**2) * (products - in_dsps)
    return np.stack([luts + more, flip_flops + REGISTERS_PER_LUT * more, in_dsps / max(per_dsp, 1)], axis=1)


@dataclass(frozen=True, eq=False)
class System:
    """A plan on real chips."""

    plan: Plan
    cfg: PartitionConfig

    @cached_property
    def links(self) -> Links:
        return allocate(self.plan, self.cfg)

    @cached_property
    def pipeline(self) -> Pipeline:
        clock = self.cfg.chip.clock_ns
        return build(
            self.plan, self.links, self.cfg.links.bits_per_clock(clock), math.ceil(self.cfg.links.hop_ns / clock)
        )

    @property
    def chips(self) -> int:
        return self.plan.copies * self.plan.chips

    @property
    def between(self) -> float:
        """Clocks between the crossings of a copy."""
        return self.cfg.clocks_between(self.plan.copies)

    @cached_property
    def latency_clocks(self) -> int:
        """Of a crossing without contention: the least there can be."""
        return self.pipeline.latency()

    def microseconds(self, clocks: float) -> float:
        return clocks * self.cfg.chip.clock_ns / 1e3

    def arrivals(self, count: int) -> Int[np.ndarray, " X"]:
        """Clocks in which the crossings of a copy wait at its inputs."""
        return np.ceil(np.arange(count) * self.between - 1e-6).astype(np.int64)

    @property
    def most_mhz(self) -> float:
        """Crossings in a microsecond that all copies together can take: as fast as the busiest server."""
        return self.plan.copies / self.microseconds(max(self.pipeline.work))

    @property
    def under_way(self) -> int:
        """Crossings in a copy at a time."""
        return math.ceil(self.latency_clocks / self.between)

    @cached_property
    def waiting(self) -> Int[np.ndarray, " E"]:
        """Beats that wait before each need, without contention, once the pipeline is full."""
        return self.pipeline.waiting(self.pipeline.uncontended(self.arrivals(self.under_way + 2)))

    def use(self, waiting: Int[np.ndarray, " E"]) -> tuple[Use, ...]:
        """What each chip of a copy takes.

        Args:
            waiting: beats before each need, which take memory.
        """
        needs = np.array([astuple(self.plan.resources(chip)) for chip in range(self.plan.chips)])
        logic = with_products(needs, self.cfg, self.plan.network.product_bits).tolist()
        sent, received = used(self.links)
        found = []
        for chip, ((luts, flip_flops, dsps), more) in enumerate(zip(logic, self._memory(waiting), strict=True)):
            links = sent[chip], received[chip]
            found.append(Use(luts + more.luts, flip_flops + more.flip_flops, dsps, more.block_rams, *links))
        return tuple(found)

    def _memory(self, waiting: Int[np.ndarray, " E"]) -> list[Use]:
        found = [Use()] * self.plan.chips
        needs = ((flow, need) for flow in self.pipeline.flows for need in flow.needs)
        for (flow, need), depth in zip(needs, waiting.tolist(), strict=True):
            more = memory(need, self.pipeline.flows[need.producer], depth)
            old = found[flow.chip]
            found[flow.chip] = Use(
                old.luts + more.luts, old.flip_flops + more.flip_flops, 0, old.block_rams + more.block_rams
            )
        return found

    def violations(self, waiting: Int[np.ndarray, " E"], latency_clocks: int) -> tuple[Violation, ...]:
        """Limits that are not kept, the worst first.

        Args:
            waiting: beats before each need.
            latency_clocks: of a crossing.
        """
        goal = self.cfg.goal
        found = [*self._chips(waiting), *self._servers(), *self.lacking_links()]
        found.append(Violation("latency in us", "the system", self.microseconds(latency_clocks), goal.latency_us))
        found.append(self.size())
        return tuple(sorted((each for each in found if each.factor > 1), key=lambda each: -each.factor))

    def size(self) -> Violation:
        """Chips against those that there are; broken or not."""
        return Violation("chips", "the system", self.chips, self.cfg.goal.chips)

    def _chips(self, waiting: Int[np.ndarray, " E"]) -> Iterator[Violation]:
        for chip, use in enumerate(self.use(waiting)):
            for name, text in RESOURCES.items():
                yield Violation(text, chip_name(chip), getattr(use, name), allowed(self.cfg, name))

    def lacking_links(self) -> Iterator[Violation]:
        """Of links alone, for which nothing but the plan need be known."""
        for way, taken in zip(("sent", "received"), used(self.links), strict=True):
            for chip, count in sorted(taken.items()):
                if chip != OUTSIDE and count > self.cfg.links.per_chip:
                    yield Violation(f"links {way}", chip_name(chip), count, self.cfg.links.per_chip)

    def _servers(self) -> Iterator[Violation]:
        for server, work in zip(self.pipeline.servers, self.pipeline.work, strict=True):
            yield Violation("clocks for a crossing", server.name, work, self.between)

    def gbps(self) -> dict[tuple[int, int], float]:
        """Payload between two chips, in Gb/s."""
        seconds = self.between * self.cfg.chip.clock_ns
        return {pair: bits / seconds for pair, (bits, _) in loads(self.plan).items()}


def memory(need: Need, producer: Flow, depth: int) -> Use:
    """What beats that wait take: registers of one or of those kept; LUTs as shift registers; blocks of 36 kb."""
    if need.kept or depth <= 1:
        return Use(flip_flops=depth * producer.bits)
    if depth <= SHIFT_REGISTER:
        return Use(luts=producer.bits)
    return Use(block_rams=math.ceil(producer.bits / BLOCK_WIDTH) * math.ceil(depth / BLOCK_DEPTH))


def outside_links(links: Links) -> int:
    """Links that bring the crossings to a copy."""
    return sum(count for (sender, _), count in links.items() if sender == OUTSIDE)
