"""A network of adders as one combinational module, for Yosys to count. See firmware_adders.py."""

from __future__ import annotations

from distill_to_fpga.adders import Network, Pair, Term


def verilog(made: Network, name: str) -> str:
    """Inputs and outputs are bits of two vectors, one after another; low bits that an adder lets through are wired."""
    terms, outputs = made.terms, [out for out in made.outputs if out is not None]
    lines, base = [], 0
    for i, term in enumerate(terms):
        bits = bits_of(term)
        *before, value = [f"x[{base} +: {bits}]"] if term.made_of is None else added(terms, i, term.made_of)
        base += bits if term.made_of is None else 0
        kind = "signed " if term.interval[0] < 0 else ""
        lines += [f"  {line};" for line in (*before, f"wire {kind}[{bits - 1}:0] t{i} = {value}")]
    place = 0
    for source, _, sign in outputs:
        bits = bits_of(terms[source]) + (sign < 0)
        lines.append(f"  assign y[{place} +: {bits}] = {'-' if sign < 0 else ''}{extended(terms, source)};")
        place += bits
    head = f"module {name} (input [{base - 1}:0] x, output [{max(place, 1) - 1}:0] y);"
    return "\n".join([head, *lines, "endmodule"]) + "\n"


def added(terms: list[Term], number: int, made_of: Pair) -> list[str]:
    """Declarations, then the value."""
    left, right, shift, sign = made_of
    if shift < 0 < sign:
        left, right, shift = right, left, -shift
    a, b, operator = extended(terms, left), extended(terms, right), "+" if sign > 0 else "-"
    if shift <= 0:  # the finer one is subtracted: every bit changes
        return [f"({a} <<< {-shift}) {operator} {b}"]
    bits = bits_of(terms[number])
    return [
        f"wire [{shift - 1}:0] low{number} = {a}",
        f"wire signed [{bits - shift - 1}:0] up{number} = ({a} >>> {shift}) {operator} {b}",
        f"{{up{number}, low{number}}}",
    ]


def extended(terms: list[Term], number: int) -> str:
    return f"t{number}" if terms[number].interval[0] < 0 else f"$signed({{1'b0, t{number}}})"


def bits_of(term: Term) -> int:
    """Two's complement where it can be negative."""
    low, high = term.interval
    return max(high.bit_length() + (low < 0), (-low - 1).bit_length() + 1 if low < 0 else 1)
