"""Where to cut a network into stages: the fewest chips, then the fewest hops, by dynamic programming.

For every stretch of layers, the smallest number of chips (token groups times slices) whose limits it keeps is found;
the best division of all layers follows from the best divisions of the layers before each cut. Links are counted as if
each pair of chips could share one, and what waits as one crossing: `search` tightens the limits that a plan breaks.

Axes: O ways to divide a stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from distill_to_fpga.partition.config import PartitionConfig
from distill_to_fpga.partition.network import Layer, Network
from distill_to_fpga.partition.plan import Stage
from distill_to_fpga.partition.system import (
    BLOCK_WIDTH,
    LOGIC,
    RESOURCES,
    SHIFT_REGISTER,
    Use,
    Violation,
    allowed,
    with_products,
)

PARTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclass(frozen=True)
class Limits:
    """What a plan may take, tightened where one turned out to break the settings' limits.

    Attributes:
        links: of a chip.
        shares: resource -> share of what the settings allow; 1 if it is not there.
    """

    links: int
    shares: dict[str, float] = field(default_factory=dict)

    def tightened(self, broken: dict[str, float]) -> Limits:
        """Args:
        broken: resource -> needed over allowed.
        """
        shares = dict(self.shares)
        for name, factor in broken.items():
            shares[name] = shares.get(name, 1.0) / (1.02 * factor)
        return Limits(self.links, shares)


class Cutter:
    """Divides a network for one number of beats and copies."""

    def __init__(self, network: Network, cfg: PartitionConfig, beats: int, copies: int, limits: Limits):
        self.network, self.cfg, self.limits = network, cfg, limits
        self.layers = [network.layers[i] for i in network.computed]
        self.place = {layer.name: i for i, layer in enumerate(self.layers)}
        self.named = {layer.name: layer for layer in network.layers}
        self.ways = _ways(network, beats, cfg.goal.chips)
        self.groups = np.array([groups for groups, _ in self.ways])
        self.shares = np.array([[_share(layer, s) for layer in self.layers] for _, s in self.ways])
        self.logic = np.array([[self._logic(layer, *way, beats) for layer in self.layers] for way in self.ways])
        self.budget = limits.links * cfg.links.bits_per_clock(cfg.chip.clock_ns) * cfg.clocks_between(copies)

    def stages(self) -> tuple[Stage, ...] | Violation:
        """The division, or why there is none."""
        count = len(self.layers)
        best: dict[int, tuple[int, int, tuple[Stage, ...]]] = {0: (0, 0, ())}  # layers -> chips, hops, stages
        for first in range(count):
            if first not in best:
                continue
            for last, way, hops in self._stretches(first):
                chips, before, stages = best[first]
                stage = Stage(first, last, *self.ways[way])
                found = (chips + stage.chips, before + hops, (*stages, stage))
                best[last] = min(best.get(last, found), found, key=lambda each: each[:2])
        if count not in best:
            return self._reason(next(i for i in range(count) if i in best and not self._stretches(i)))
        return best[count][2]

    def _stretches(self, first: int) -> list[tuple[int, int, int]]:
        """Ends of stretches that begin there, the smallest way to divide each, and a crossing's hops through it."""
        total, found = np.zeros((len(self.ways), 4)), []
        for last in range(first + 1, len(self.layers) + 1):
            total = total + self.logic[:, last - 1]
            fits = self._fits(total)
            if not fits.any():
                break
            traffic, hops = self._traffic(first, last)
            fits &= traffic <= self.budget
            if fits.any():
                way = int(np.argmax(fits))  # they are in the order of their chips
                found.append((last, way, 1 + int(hops[way])))
        return found

    def _fits(self, total: Float[np.ndarray, "O 4"]) -> Bool[np.ndarray, " O"]:
        need = _used(total, self.cfg, self.network.product_bits)
        ok = np.ones(len(total), bool)
        for name, value in need.items():
            ok &= value <= allowed(self.cfg, name) * self.limits.shares.get(name, 1.0)
        return ok

    def _traffic(self, first: int, last: int) -> tuple[Float[np.ndarray, " O"], Float[np.ndarray, " O"]]:
        """Bits that a chip of the stage receives for a crossing or sends, whatever is more; and exchanges within it."""
        wanted: dict[str, np.ndarray] = {}
        for position in range(first, last):
            for source in self.layers[position].sources:
                share = np.ones(len(self.ways)) if source.channels == "all" else self.shares[:, position]
                share = share / (self.groups if source.tokens == "own" else 1)
                wanted[source.layer] = np.maximum(wanted.get(source.layer, 0.0), share)
        received = sent = hops = np.zeros(len(self.ways))
        for name, share in wanted.items():
            layer = self.named[name]
            inside = first <= self.place.get(name, -1) < last
            own = self.shares[:, self.place[name]] / self.groups if inside else 0.0
            missing = np.maximum(share - own, 0.0) * layer.tokens * layer.bits
            received = received + missing
            sent = sent + missing * inside
            hops = hops + (missing > 0) * inside
        return np.maximum(received, sent), hops

    def _logic(self, layer: Layer, groups: int, slices: int, beats: int) -> tuple[float, float, float, float]:
        """LUTs, flip-flops, products and block RAMs of the largest part of a layer."""
        tokens = -(-layer.tokens // groups)
        lanes = -(-tokens // beats)
        need, waits = layer.sliced(slices) * lanes, self._waiting(layer, slices, lanes, beats)
        return need.luts + waits.luts, need.flip_flops + waits.flip_flops, need.products, waits.block_rams

    def _waiting(self, layer: Layer, slices: int, lanes: int, beats: int) -> Use:
        """Keys and values of two crossings; and of what has to wait for another source, one."""
        luts = flip_flops = block_rams = 0.0
        for source in layer.sources:
            before = self.named[source.layer]
            bits = before.bits * (_share(layer, slices) if source.channels == "own" else 1.0)
            if source.tokens == "all":
                flip_flops += 2 * before.tokens * bits * layer.keeps
            elif len(layer.sources) > 1 and beats <= SHIFT_REGISTER:
                luts += lanes * bits
            elif len(layer.sources) > 1:
                block_rams += math.ceil(lanes * bits / BLOCK_WIDTH)
        return Use(luts, flip_flops, block_rams=block_rams)

    def _reason(self, position: int) -> Violation:
        """The limit that the finest division of a layer breaks least."""
        layer, found = self.layers[position], []
        traffic, _ = self._traffic(position, position + 1)
        need = _used(self.logic[:, position], self.cfg, self.network.product_bits)
        for way, (groups, slices) in enumerate(self.ways):
            where = f"layer '{layer.name}' (token groups: {groups}, slices: {slices})"
            each = [
                Violation(RESOURCES[name], where, float(value[way]), allowed(self.cfg, name))
                for name, value in need.items()
            ]
            links = self.limits.links * float(traffic[way]) / self.budget
            each.append(Violation("links", where, links, self.limits.links))
            found.append(max(each, key=lambda violation: violation.factor))
        return min(found, key=lambda violation: violation.factor)


def _used(total: Float[np.ndarray, "O 4"], cfg: PartitionConfig, bits: int) -> dict[str, Float[np.ndarray, " O"]]:
    """Resource -> what is taken of it, of each way."""
    return dict(zip(LOGIC, with_products(total[:, :3], cfg, bits).T, strict=True)) | {"block_rams": total[:, 3]}


def _share(layer: Layer, slices: int) -> float:
    return -(-layer.cuts // slices) / layer.cuts


def _ways(network: Network, beats: int, chips: int) -> list[tuple[int, int]]:
    """Token groups and slices, those of few chips first; no group without a lane of its own."""
    lanes = max(-(-network.tokens // beats), 1)
    cuts = max(layer.cuts for layer in network.layers)
    found = [(g, s) for g in PARTS if g <= lanes for s in PARTS if s <= cuts and g * s <= chips]
    return sorted(found, key=lambda way: (way[0] * way[1], way[1]))
