"""What fits: the resources of the trigger's FPGAs, shares of them, and time in bunch crossings."""

from __future__ import annotations

from dataclasses import dataclass

CROSSING_NS = 25.0


@dataclass(frozen=True)
class Device:
    """An FPGA's resources, as its maker's product tables give them.

    Attributes:
        luts: six-input LUTs.
        block_rams: blocks of 36 kb.
        source: AMD's document.
    """

    name: str
    luts: int
    flip_flops: int
    dsps: int
    block_rams: int
    source: str


DEVICES = (
    Device("XCVU13P", 1_728_000, 3_456_000, 12_288, 2_688, "DS890"),
    Device("XCVU9P", 1_182_240, 2_364_480, 6_840, 2_160, "DS890"),
    Device("XC7VX690T", 433_200, 866_400, 3_600, 1_470, "DS180"),
)


def crossings(latency_ns: float) -> float:
    """Latency in bunch crossings of 25 ns."""
    return latency_ns / CROSSING_NS


def shares(luts: int, flip_flops: int | None = None) -> dict[str, dict[str, float]]:
    """Device -> resource -> share of what there is, 0 to 1 where it fits."""
    wanted = {"luts": luts} if flip_flops is None else {"luts": luts, "flip_flops": flip_flops}
    return {d.name: {name: value / getattr(d, name) for name, value in wanted.items()} for d in DEVICES}


def share_table(columns: dict[str, tuple[int, int | None]]) -> str:
    """Markdown: share of each device's LUTs and flip-flops, for each labelled count (LUTs, flip-flops or None)."""
    head = ["device", "LUT", "FF", "DSP", "BRAM (36 kb)", *columns]
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    for device in DEVICES:
        cells = [device.name, *(f"{n:,}" for n in (device.luts, device.flip_flops, device.dsps, device.block_rams))]
        for luts, flip_flops in columns.values():
            registers = "" if flip_flops is None else f", {flip_flops / device.flip_flops:.2%} of FF"
            cells.append(f"{luts / device.luts:.2%} of LUT{registers}")
        rows.append(" | ".join(cells))
    table = "\n".join(f"| {row} |" for row in rows)
    return f"{table}\n\nTotals of the devices: AMD DS890 (UltraScale+), DS180 (7 series). No DSP or BRAM is used."
