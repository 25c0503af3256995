"""Which chip computes what, and what chips send each other: one copy of the pipeline.

Consecutive layers form a stage. A stage is divided over `groups` times `slices` chips: each has a group of the tokens
and a slice of the channels of all of its layers. Layers that cannot be cut are computed by every slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from distill_to_fpga.partition.network import Layer, Network, Resources, Source, add

OUTSIDE = -1  # whoever sends the crossings and takes the results


class Span(NamedTuple):
    """A range, end excluded: of tokens, or of channels as shares of all."""

    start: Fraction | int
    stop: Fraction | int

    def meets(self, other: Span) -> bool:
        return max(self.start, other.start) < min(self.stop, other.stop)

    def common(self, other: Span) -> Span:
        return Span(max(self.start, other.start), min(self.stop, other.stop))

    def around(self, other: Span) -> Span:
        return Span(min(self.start, other.start), max(self.stop, other.stop))

    @property
    def size(self) -> Fraction | int:
        return self.stop - self.start


WHOLE = Span(Fraction(0), Fraction(1))


@dataclass(frozen=True)
class Stage:
    """Layers `first` to `last`, that one excluded, of `Network.computed`, on `groups * slices` chips."""

    first: int
    last: int
    groups: int = 1
    slices: int = 1

    @property
    def chips(self) -> int:
        return self.groups * self.slices


@dataclass(frozen=True)
class Piece:
    """A part of a layer on a chip.

    Attributes:
        layer: position in the network.
        lanes: tokens that it takes in one clock.
    """

    layer: int
    chip: int
    tokens: Span
    channels: Span
    lanes: int

    @property
    def beats(self) -> int:
        """Clocks that it is busy with one crossing."""
        return -(-int(self.tokens.size) // self.lanes)


@dataclass(frozen=True)
class Transfer:
    """What a piece sends to another chip, where several layers may use it; or an input to a chip.

    Attributes:
        piece: position among the pieces.
        chip: receiver; `OUTSIDE` for a result.
        tokens: whole beats of the piece.
        channels: of its layer.
    """

    piece: int
    chip: int
    tokens: Span
    channels: Span


@dataclass(frozen=True)
class Plan:
    """One copy of a pipeline.

    Attributes:
        beats: clocks in which each layer takes the tokens of a crossing, at most.
        copies: of this, each of which gets every n-th crossing.
    """

    network: Network
    stages: tuple[Stage, ...]
    beats: int
    copies: int

    @cached_property
    def chips(self) -> int:
        """Of one copy."""
        return sum(stage.chips for stage in self.stages)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Inputs first, which are outside; then by layer, group and slice."""
        layers = self.network.layers
        found = [self._input(i) for i, layer in enumerate(layers) if not layer.sources]
        chip = 0
        for stage in self.stages:
            for position in self.network.computed[stage.first : stage.last]:
                found += list(self._pieces(position, stage, chip))
            chip += stage.chips
        return tuple(found)

    def _input(self, position: int) -> Piece:
        tokens = self.network.layers[position].tokens
        return Piece(position, OUTSIDE, Span(0, tokens), WHOLE, -(-tokens // self.beats))

    def _pieces(self, position: int, stage: Stage, first: int) -> Iterator[Piece]:
        layer = self.network.layers[position]
        for group in range(stage.groups):
            tokens = part(layer.tokens, group, stage.groups)
            for slice_ in range(stage.slices):
                units = part(layer.cuts, slice_, stage.slices) if layer.cuts > 1 else Span(0, 1)
                channels = Span(Fraction(units.start, layer.cuts), Fraction(units.stop, layer.cuts))
                if tokens.size and units.size:
                    lanes = -(-int(tokens.size) // self.beats)
                    yield Piece(position, first + group * stage.slices + slice_, tokens, channels, lanes)

    @cached_property
    def of_layer(self) -> Mapping[int, tuple[int, ...]]:
        """Layer -> positions of its pieces."""
        found: dict[int, list[int]] = {}
        for number, piece in enumerate(self.pieces):
            found.setdefault(piece.layer, []).append(number)
        return {layer: tuple(numbers) for layer, numbers in found.items()}

    @cached_property
    def needs(self) -> tuple[tuple[tuple[int, Source], ...], ...]:
        """For each piece: the pieces that it needs something of, and as which source."""
        return tuple(tuple(self._suppliers(piece)) for piece in self.pieces)

    def _suppliers(self, piece: Piece) -> Iterator[tuple[int, Source]]:
        for source in self.network.layers[piece.layer].sources:
            before = self.network.position(source.layer)
            numbers = self.of_layer[before]
            tokens, channels = wanted(source, piece, self.network.layers[before])
            here = [n for n in numbers if self.pieces[n].tokens.meets(tokens)]
            here = [n for n in here if self.pieces[n].channels.meets(channels)]
            for number in _one_of_equals(here, self.pieces, piece.chip):
                yield number, source

    @cached_property
    def transfers(self) -> tuple[Transfer, ...]:
        """What goes over links; sent once to each chip, whatever needs it there."""
        found: dict[tuple[int, int], tuple[Span, Span]] = {}
        for piece, sources in zip(self.pieces, self.needs, strict=True):
            for number, source in sources:
                sender = self.pieces[number]
                if sender.chip == piece.chip:
                    continue
                tokens, channels = wanted(source, piece, self.network.layers[sender.layer])
                _widen(found, (number, piece.chip), sender.tokens.common(tokens), sender.channels.common(channels))
        for name in self.network.outputs:
            for number in _one_of_equals(list(self.of_layer[self.network.position(name)]), self.pieces, OUTSIDE):
                _widen(found, (number, OUTSIDE), self.pieces[number].tokens, self.pieces[number].channels)
        return tuple(
            Transfer(number, chip, _whole_beats(tokens, self.pieces[number]), channels)
            for (number, chip), (tokens, channels) in sorted(found.items())
        )

    def bits(self, transfer: Transfer) -> int:
        """Of one beat."""
        piece = self.pieces[transfer.piece]
        return max(int(piece.lanes * self.network.layers[piece.layer].bits * transfer.channels.size), 1)

    def resources(self, chip: int) -> Resources:
        """Logic of a chip, without what memories between its layers take."""
        return add(self._logic(piece) for piece in self.pieces if piece.chip == chip)

    def _logic(self, piece: Piece) -> Resources:
        layer = self.network.layers[piece.layer]
        share = float(piece.channels.size)
        return (layer.lane * share + layer.shared) * piece.lanes


def part(total: int, number: int, parts: int) -> Span:
    """The `number`-th of nearly equal parts of `total` things."""
    return Span(number * total // parts, (number + 1) * total // parts)


def wanted(source: Source, piece: Piece, before: Layer) -> tuple[Span, Span]:
    """Tokens and channels of the layer `before` that a piece needs."""
    return (
        piece.tokens if source.tokens == "own" else Span(0, before.tokens),
        piece.channels if source.channels == "own" else WHOLE,
    )


def _one_of_equals(numbers: list[int], pieces: tuple[Piece, ...], chip: int) -> Iterator[int]:
    """Of pieces that compute the same, the one on this chip, or one of them, in turn for the chips that ask."""
    equal: dict[tuple[Span, Span], list[int]] = {}
    for number in numbers:
        equal.setdefault((pieces[number].tokens, pieces[number].channels), []).append(number)
    for same in equal.values():
        yield next((n for n in same if pieces[n].chip == chip), same[chip % len(same)])


def _widen(found: dict[tuple[int, int], tuple[Span, Span]], key: tuple[int, int], tokens: Span, channels: Span) -> None:
    known = found.get(key, (tokens, channels))
    found[key] = known[0].around(tokens), known[1].around(channels)


def _whole_beats(tokens: Span, piece: Piece) -> Span:
    """The tokens of all beats of a piece that have some of these."""
    begin, lanes = piece.tokens.start, piece.lanes
    first = begin + (tokens.start - begin) // lanes * lanes
    last = begin + -(-(tokens.stop - begin) // lanes) * lanes
    return Span(first, min(last, piece.tokens.stop))
