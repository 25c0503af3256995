"""A plan as flows of beats through servers: what `simulate` runs, and its timing where no two flows share a server.

A flow is one piece of a layer, or one transfer. Its beats begin in order, crossing after crossing, each once the beats
that it needs have been delivered and its server is free. The pieces have a server each; the transfers between two chips
share the links between them. Axes: X crossings, B beats of a flow (each its own number), E needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from distill_to_fpga.partition.plan import OUTSIDE, Piece, Plan, Span, Transfer

Beats = Int[np.ndarray, " B"]
Clocks = Int[np.ndarray, "X _"]


@dataclass(frozen=True, eq=False)
class Need:
    """What a flow waits for.

    Attributes:
        producer: position of the flow that delivers it.
        last: for each of its own beats, how many beats of the producer must be there.
        freed: for each, how many of them are no longer needed once it has begun.
        kept: they stay in registers of the consumer, where it reads all of them at once; else in a queue before it.
    """

    producer: int
    last: Beats
    freed: Beats
    kept: bool = False


@dataclass(frozen=True, eq=False)
class Flow:
    """Beats that one server handles.

    Attributes:
        server: position among the servers.
        beats: of a crossing.
        size: of a beat, in units of the server's rate.
        latency: clocks from the end of its handling to its delivery.
        needs: what it waits for; without any, all beats are there when the crossing arrives.
        bits: of a beat, where it is delivered.
        chip: where it waits for what it needs.
    """

    name: str
    server: int
    beats: int
    size: int = 1
    latency: int = 0
    needs: tuple[Need, ...] = ()
    bits: int = 1
    chip: int = 0


@dataclass(frozen=True)
class Server:
    """What handles one beat after another: `rate` units in a clock; a piece of logic, or links between two chips."""

    name: str
    rate: int = 1
    link: bool = False


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Flows, each after those that it needs; a crossing is done when all of `ends` have delivered it."""

    flows: tuple[Flow, ...]
    servers: tuple[Server, ...]
    ends: tuple[int, ...]

    @cached_property
    def work(self) -> tuple[float, ...]:
        """Clocks that each server needs for one crossing."""
        found = [0.0] * len(self.servers)
        for flow in self.flows:
            found[flow.server] += flow.beats * flow.size / self.servers[flow.server].rate
        return tuple(found)

    def uncontended(self, arrivals: Int[np.ndarray, " X"]) -> list[tuple[Clocks, Clocks]]:
        """When the beats of each flow begin and are delivered, if every flow had its server to itself: exact then, and
        never later than with contention."""
        times: list[tuple[Clocks, Clocks]] = []
        for flow in self.flows:
            ready = np.repeat(arrivals[:, None], flow.beats, axis=1)
            for need in flow.needs:
                delivered = np.concatenate([arrivals[:, None], times[need.producer][1]], axis=1)
                ready = np.maximum(ready, delivered[:, need.last])
            rate = self.servers[flow.server].rate
            queue = np.arange(ready.size) * flow.size
            start = np.maximum.accumulate(ready.reshape(-1) * rate - queue) + queue
            delivered = -(-(start + flow.size) // rate) + flow.latency
            times.append((start.reshape(ready.shape) // rate, delivered.reshape(ready.shape)))
        return times

    def done(self, times: Sequence[tuple[Clocks, Clocks]]) -> Int[np.ndarray, " X"]:
        """Clock in which each crossing is done."""
        return np.max([times[end][1][:, -1] for end in self.ends], axis=0)

    def waiting(self, times: Sequence[tuple[Clocks, Clocks]]) -> Int[np.ndarray, " E"]:
        """Of each need of each flow, in order: beats of the producer that wait at a time, at most."""
        found = []
        for flow, (begun, _) in zip(self.flows, times, strict=True):
            for need in flow.needs:
                delivered = np.sort(times[need.producer][1], axis=None)
                crossing = np.arange(len(begun))[:, None] * self.flows[need.producer].beats
                freed = np.concatenate([[0], (crossing + need.freed).reshape(-1)[:-1]])
                there = np.searchsorted(delivered, begun.reshape(-1), side="right")
                found.append(int((there - freed).max()))
        return np.array(found, np.int64)

    def latency(self) -> int:
        """Clocks of one crossing alone, without contention."""
        return int(self.done(self.uncontended(np.zeros(1, np.int64)))[0])


Links = Mapping[tuple[int, int], int]  # sender, receiver -> links


def build(plan: Plan, links: Links, bits_per_clock: int, hop: int) -> Pipeline:
    """The pipeline of a plan.

    Args:
        links: between the chips that send each other anything.
        bits_per_clock: payload of a link.
        hop: clocks from a word's entering a link to its leaving.
    """
    order = _in_order(plan)
    place = {item: number for number, item in enumerate(order)}
    sent = {(transfer.piece, transfer.chip): transfer for transfer in plan.transfers}
    needs = dict(zip(plan.pieces, plan.needs, strict=True))
    servers = [Server(_ends(*pair), count * bits_per_clock, True) for pair, count in links.items()]
    server_of = {pair: number for number, pair in enumerate(links)}
    flows, ends = [], []
    for item in order:
        if isinstance(item, Transfer):
            pair = (plan.pieces[item.piece].chip, item.chip)
            flows.append(_link(plan, item, server_of[pair], hop, place))
            if item.chip == OUTSIDE:
                ends.append(len(flows) - 1)
        else:
            servers.append(Server(f"{_name(plan, item)} on {chip_name(item.chip)}"))
            before = [
                (sent.get((number, item.chip), plan.pieces[number]), plan.pieces[number].lanes, source.tokens == "all")
                for number, source in needs[item]
            ]
            flows.append(_logic(plan, item, len(servers) - 1, before, place))
    return Pipeline(tuple(flows), tuple(servers), tuple(ends))


def _in_order(plan: Plan) -> list[Piece | Transfer]:
    """Transfers right after the piece that sends them; inputs have no flow of their own."""
    sent: dict[int, list[Transfer]] = {}
    for transfer in plan.transfers:
        sent.setdefault(transfer.piece, []).append(transfer)
    found: list[Piece | Transfer] = []
    for number, piece in enumerate(plan.pieces):
        found += [] if piece.chip == OUTSIDE else [piece]
        found += sent.get(number, [])
    return found


def _logic(
    plan: Plan,
    piece: Piece,
    server: int,
    before: Sequence[tuple[Piece | Transfer, int, bool]],
    place: Mapping[Piece | Transfer, int],
) -> Flow:
    """The flow of a piece; `before`: what delivers what it needs, with how many lanes, and whether all of it first."""
    layer, needs = plan.network.layers[piece.layer], []
    for item, lanes, needs_all in before:
        last, freed = window(piece, needs_all, item.tokens, lanes)
        needs.append(Need(place[item], last, freed, layer.keeps and needs_all))
    bits = max(int(piece.lanes * layer.bits * piece.channels.size), 1)
    return Flow(_name(plan, piece), server, piece.beats, 1, layer.depth - 1, tuple(needs), bits, piece.chip)


def _link(plan: Plan, transfer: Transfer, server: int, hop: int, place: Mapping[Piece | Transfer, int]) -> Flow:
    piece = plan.pieces[transfer.piece]
    beats = -(-int(transfer.tokens.size) // piece.lanes)
    needs: tuple[Need, ...] = ()
    if piece.chip != OUTSIDE:
        skipped = int(transfer.tokens.start - piece.tokens.start) // piece.lanes
        there = np.arange(1, beats + 1) + skipped
        freed = np.append(there[:-1], piece.beats)
        needs = (Need(place[piece], there, freed),)
    name = f"{_name(plan, piece)} to {chip_name(transfer.chip)}"
    bits = plan.bits(transfer)
    return Flow(name, server, beats, bits, hop, needs, bits, piece.chip)


def window(consumer: Piece, needs_all: bool, tokens: Span, lanes: int) -> tuple[Beats, Beats]:
    """For each beat of a consumer: how many beats of a producer must be there, and how many are free once it began.

    Args:
        tokens, lanes: of the producer.
    """
    total = -(-int(tokens.size) // lanes)
    if needs_all:
        return np.full(consumer.beats, total), np.append(np.zeros(consumer.beats - 1, np.int64), total)
    ends = int(consumer.tokens.start) + np.arange(1, consumer.beats + 1) * consumer.lanes
    used = np.minimum(ends, int(min(consumer.tokens.stop, tokens.stop))) - int(tokens.start)
    return np.clip(-(-used // lanes), 0, total), np.append(np.clip(used // lanes, 0, total)[:-1], total)


def chip_name(chip: int) -> str:
    return "outside" if chip == OUTSIDE else f"chip {chip}"


def _ends(sender: int, receiver: int) -> str:
    return f"links {chip_name(sender)} to {chip_name(receiver)}"


def _name(plan: Plan, piece: Piece) -> str:
    return plan.network.layers[piece.layer].name
