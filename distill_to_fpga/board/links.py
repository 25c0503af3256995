"""Which bit of which word of which link carries which number: the link map, and packing by it.

Axes: V vectors, W words, T frames, L links, S elements of a port.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Int, UInt64

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import container
from foundation.errors import DataError

WORD = 64  # bits of a link's word (lword.data)
Ports = dict[str, Int[np.ndarray, "V S"]]


@dataclass(frozen=True)
class Field:
    """One number in a word.

    Attributes:
        port, element: which.
        word: counted from the first.
        low, width: it is bits `[low + width - 1 : low]`.
        signed: two's complement.
    """

    port: str
    element: int
    word: int
    low: int
    width: int
    signed: bool


@dataclass(frozen=True)
class Packing:
    """Numbers of all ports in 64-bit words; bits that no field has are zero.

    Attributes:
        sizes: port -> number of elements. Those without bits have no field.
    """

    fields: tuple[Field, ...]
    sizes: Mapping[str, int]

    @property
    def words(self) -> int:
        return max((field.word for field in self.fields), default=0) + 1

    def pack(self, ports: Mapping[str, np.ndarray]) -> UInt64[np.ndarray, "V W"]:
        """Words of integers `[V, ...]`; of an integer too wide for its field the low bits."""
        flat = {port: np.asarray(values, np.int64).reshape(len(values), -1) for port, values in ports.items()}
        words = np.zeros((len(next(iter(flat.values()))), self.words), np.uint64)
        for field in self.fields:
            bits = flat[field.port][:, field.element].astype(np.uint64) & np.uint64((1 << field.width) - 1)
            words[:, field.word] |= bits << np.uint64(field.low)
        return words

    def unpack(self, words: UInt64[np.ndarray, "V W"]) -> Ports:
        """The integers again.

        Raises:
            DataError: other than `self.words` words.
        """
        if words.shape[1] != self.words:
            raise DataError(f"{self.words} words hold these numbers; got {words.shape[1]}")
        ports = {port: np.zeros((len(words), size), np.int64) for port, size in self.sizes.items()}
        for field in self.fields:
            bits = words[:, field.word] >> np.uint64(field.low) & np.uint64((1 << field.width) - 1)
            sign = np.int64(1 << field.width - 1) if field.signed else np.int64(0)
            ports[field.port][:, field.element] = (bits.astype(np.int64) ^ sign) - sign
        return ports


Element = tuple[bool, int]  # signed, bits


def packing(ports: Mapping[str, Iterable[Iterable[Element]]]) -> Packing:
    """Lays the objects (rows of elements) of each port one after another, from the lowest bit of the first word on.

    A port begins a word. An object that does not fit into what is left of a word begins the next one; one of more
    than 64 bits fills words, element by element. No element lies in two words.
    """
    fields: list[Field] = []
    sizes: dict[str, int] = {}
    word = 0
    for port, rows in ports.items():
        word, low, element = (word + 1 if fields else 0), 0, 0
        for row in map(list, rows):
            whole = sum(width for _, width in row)
            if low and whole <= WORD < low + whole:
                word, low = word + 1, 0
            for signed, width in row:
                if low + width > WORD:
                    word, low = word + 1, 0
                if width:
                    fields.append(Field(port, element, word, low, width, signed))
                low, element = low + width, element + 1
        sizes[port] = element
    return Packing(tuple(fields), sizes)


def input_packing(graph: FixedPointGraph) -> Packing:
    """Every input element in as many bits as the hardware has of it."""
    rows = {}
    for name in graph.inputs:
        wire = graph.wires[name]
        elements = list(zip(wire.signed.reshape(-1).tolist(), wire.bits.reshape(-1).tolist(), strict=True))
        width = wire.shape[-1] if wire.shape else 1
        rows[name] = [elements[i : i + width] for i in range(0, len(elements), width)]
    return packing(rows)


def output_packing(graph: FixedPointGraph) -> Packing:
    """Every output element as the bit pattern of its port's type: all of a port have one width and one LSB."""
    rows = {}
    for port, name in graph.outputs.items():
        kind = container(graph.wires[name])
        rows[port] = [[(kind.signed, kind.width)]] * graph.wires[name].size
    return packing(rows)


@dataclass(frozen=True)
class Links:
    """Words on links: the first `frames` on the first link, the next on the second, ...

    Attributes:
        words: of one bunch crossing.
        frames: words of one link in a crossing: 9 at 360 MHz.
    """

    words: int
    frames: int

    @property
    def count(self) -> int:
        """Links needed."""
        return ceil(self.words / self.frames)

    def place(self, word: int) -> tuple[int, int]:
        """Link and frame of a word."""
        return divmod(word, self.frames)

    def spread(self, words: UInt64[np.ndarray, "V W"]) -> UInt64[np.ndarray, "V T L"]:
        """Frames of all links; words that nothing uses are zero."""
        filled = np.zeros((len(words), self.count * self.frames), np.uint64)
        filled[:, : self.words] = words
        return filled.reshape(-1, self.count, self.frames).transpose(0, 2, 1)

    def gather(self, frames: UInt64[np.ndarray, "V T L"]) -> UInt64[np.ndarray, "V W"]:
        """The words again."""
        return frames.transpose(0, 2, 1).reshape(len(frames), -1)[:, : self.words]
