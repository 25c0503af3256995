"""How many links join two chips: as many as the traffic needs, then more where they make it faster."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping

from distill_to_fpga.partition.config import PartitionConfig
from distill_to_fpga.partition.pipeline import Links
from distill_to_fpga.partition.plan import OUTSIDE, Plan

Pair = tuple[int, int]  # sender, receiver


def loads(plan: Plan) -> dict[Pair, tuple[int, int]]:
    """Pair of chips -> bits of a crossing, and bits of one beat of everything that the one sends the other."""
    found: dict[Pair, tuple[int, int]] = {}
    for transfer in plan.transfers:
        piece = plan.pieces[transfer.piece]
        beat = plan.bits(transfer)
        bits, beats = found.get((piece.chip, transfer.chip), (0, 0))
        found[piece.chip, transfer.chip] = bits + beat * -(-int(transfer.tokens.size) // piece.lanes), beats + beat
    return found


def allocate(plan: Plan, cfg: PartitionConfig) -> Links:
    """Links between any two chips: the least that carries the traffic; then one by one to those whose beats take
    longest, while both ends have any left and a beat takes more than a clock. The least may be more than there are."""
    bits_per_clock, between = cfg.links.bits_per_clock(cfg.chip.clock_ns), cfg.clocks_between(plan.copies)
    load = loads(plan)
    found = {pair: max(math.ceil(bits / (bits_per_clock * between)), 1) for pair, (bits, _) in load.items()}
    sent, received = used(found)
    slow = [(-beat / (count * bits_per_clock), pair) for pair, count in found.items() if (beat := load[pair][1])]
    heapq.heapify(slow)
    while slow:
        clocks, pair = heapq.heappop(slow)
        full = any(chip != OUTSIDE and taken[chip] >= cfg.links.per_chip for chip, taken in zip(pair, (sent, received)))
        if full or -clocks <= 1:
            continue
        found[pair] += 1
        sent[pair[0]] += 1
        received[pair[1]] += 1
        heapq.heappush(slow, (-load[pair][1] / (found[pair] * bits_per_clock), pair))
    return found


def used(links: Mapping[Pair, int]) -> tuple[Counter[int], Counter[int]]:
    """Transmitters and receivers that each chip takes."""
    sent: Counter[int] = Counter()
    received: Counter[int] = Counter()
    for (sender, receiver), count in links.items():
        sent[sender] += count
        received[receiver] += count
    return sent, received
