"""How far the estimates are from what Yosys counts: docs/estimates.md.

python benchmarks/estimates.py [--quick] [--only NAME ...] [--graphs GRAPH.json ...] [--da4ml PYTHON] [--plot FILE]

Networks of several families with weights of few signed digits, and the graphs given; each becomes RTL, which Yosys
counts. `--da4ml` is the interpreter of an environment with da4ml 0.6 (see students_hgq2.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from harness import publish

from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, Wire, run
from distill_to_fpga.graph.simplify import simplify
from distill_to_fpga.rtl import export_rtl
from distill_to_fpga.vectors import make_vectors

CLOCK_NS = 5.0
QUICK = ("mlp_16_16_5", "deepsets_8x3", "squares_16_8")


class Network:
    """Random networks as training leaves them: sparse, few digits, channels of different widths."""

    def __init__(self, name: str, seed: int, kept: float, most_digits: int = 2, measured: bool = False):
        self.g, self.rng = GraphBuilder(name), np.random.default_rng(seed)
        self.kept, self.most_digits, self.measured = kept, most_digits, measured

    def dense(self, x: Wire, outputs: int) -> Wire:
        shape = (x.shape[-1], outputs)
        digits = self.rng.integers(1, self.most_digits, shape, endpoint=True)
        weight = sum((digits > i) * self.rng.choice([-1, 1], shape) << self.rng.integers(0, 6, shape) for i in range(3))
        weight = weight * (self.rng.random(shape) < self.kept)
        return self.g.dense(x, weight, 5, self.rng.integers(-32, 32, outputs), 5)

    def cut(self, x: Wire, bits: int, signed: bool = False) -> Wire:
        """To about `bits` bits, from what the wire reaches down, or from two places under what it can reach."""
        last = x.shape[-1]
        widths = np.clip(self.rng.integers(bits - 1, bits + 2, last), 1, None)
        reach = (np.maximum(x.high, -x.low) * 2.0**-x.fraction).reshape(-1, last).max(0) / 4
        if self.measured and len(self.g.nodes) > 2:
            reach = self.reached(x).reshape(-1, last).max(0)
        integer = np.ceil(np.log2(np.maximum(reach, 1e-3))).astype(int)
        return self.g.quantize(x, signed, widths, widths - signed - integer, "half_up", "saturate")

    def reached(self, x: Wire) -> np.ndarray:
        """99th percentile of the magnitude of each element, for inputs of a spread of 64 counts."""
        graph = FixedPointGraph("probe", 1, tuple(self.g.nodes), {"out": x.name})
        given = graph.wires[graph.inputs[0]]
        normal = np.random.default_rng(0).normal(0, 64, (1000, *given.shape)).round()
        found = run(graph, {given.name: np.clip(normal, given.low, given.high).astype(int)})["out"]
        return np.quantile(np.abs(found), 0.99, axis=0) * 2.0**-x.fraction

    def layers(self, x: Wire, sizes: tuple[int, ...], bits: int) -> Wire:
        for size in sizes:
            x = self.cut(self.g.relu(self.dense(x, size)), bits)
        return x

    def inputs(self, shape: tuple[int, ...], bits: int = 10) -> Wire:
        return self.cut(self.g.scale(self.g.input("x", shape, signed=True, bits=bits), shift=-6), 7, signed=True)

    def finish(self, x: Wire) -> FixedPointGraph:
        self.g.output(x, "outputs")
        return simplify(self.g.build())


def mlp(name: str, sizes: tuple[int, ...], seed: int, kept: float, bits: int, best: bool = False) -> FixedPointGraph:
    n = Network(name, seed, kept)
    x = n.dense(n.layers(n.inputs(sizes[:1]), sizes[1:-1], bits), sizes[-1])
    return n.finish(n.g.reshape(n.g.argmax(x), (1,)) if best else x)


def deepsets(name: str, tokens: int, phi: tuple[int, ...], rho: tuple[int, ...], seed: int, kept: float, bits: int):
    n = Network(name, seed, kept, measured=True)  # sums over tokens stay far below what they can reach
    x = n.g.sum(n.layers(n.inputs((tokens, 3)), phi, bits), axis=0)
    return n.finish(n.dense(n.layers(n.cut(x, bits + 2), rho, bits), 5))


def squares(name: str, sizes: tuple[int, ...], seed: int, kept: float, bits: int, residual: bool = False):
    """AXOL1TL's score: the sum of squares of a few latents, or of what an autoencoder leaves."""
    n = Network(name, seed, kept)
    x = n.inputs(sizes[:1])
    z = n.cut(n.dense(n.layers(x, sizes[1:-1], bits), sizes[-1]), bits + 1, signed=True)
    z = n.cut(n.g.sub(x, n.dense(z, sizes[0])), bits, signed=True) if residual else z
    score = n.g.reshape(n.g.sum(n.g.mul(z, z), axis=0), (1,))
    return n.finish(n.g.quantize(score, False, 12, 2, "half_up", "saturate"))


def graphs() -> dict[str, FixedPointGraph]:
    made = [
        mlp("mlp_16_16_5", (16, 16, 5), 1, 0.4, 4),
        mlp("mlp_16_32_16_5", (16, 32, 16, 5), 2, 0.4, 5),
        mlp("mlp_16_64_32_32_5", (16, 64, 32, 32, 5), 3, 0.35, 5),
        mlp("argmax_16_24_16_8", (16, 24, 16, 8), 4, 0.4, 5, best=True),
        deepsets("deepsets_8x3", 8, (8, 8), (12,), 5, 0.5, 4),
        deepsets("deepsets_16x3", 16, (8, 8), (16,), 6, 0.5, 4),
        squares("squares_16_8", (16, 16, 8), 7, 0.4, 4),
        squares("squares_57_28_15_8", (57, 28, 15, 8), 8, 0.3, 5),
        squares("residual_16_8", (16, 16, 4), 9, 0.4, 5, residual=True),
    ]
    return {graph.name: graph for graph in made}


def measure(name: str, graph: FixedPointGraph, da4ml: str | None) -> dict:
    with tempfile.TemporaryDirectory(prefix="detfm-estimates-") as folder:
        vectors = make_vectors(graph, count=50)
        cost = export_rtl(graph, Path(folder, "p"), vectors=vectors, clock_ns=CLOCK_NS, synthesis=True)
        graph.save(Path(folder, "graph.json"))
        other = None
        if da4ml is not None:
            script = Path(__file__).with_name("students_hgq2.py")
            command = [da4ml, str(script), "cost", str(Path(folder, "graph.json"))]
            said = subprocess.run(command, capture_output=True, text=True, check=False)
            if said.returncode == 0:
                other = json.loads(said.stdout.splitlines()[-1])["luts"]
            else:  # an operation that is not replayed there
                print(f"{name}: da4ml: {said.stderr.strip().splitlines()[-1]}", flush=True)
    return {
        "graph": name,
        "yosys": cost.synthesis.luts,
        "flip_flops": cost.synthesis.flip_flops,
        "registers": cost.register_bits,
        "ours": cost.estimate.total("luts"),
        "alkaid": cost.alkaid_luts,
        "da4ml": other,
        "cycles": cost.latency_cycles,
        "cycles_ours": cost.estimate.latency_cycles,
        "seconds": cost.synthesis.seconds,
        "layers": {layer.name: layer.luts for layer in cost.estimate.layers if layer.luts},
    }


def table(records: list[dict]) -> str:
    heads = [
        "graph",
        "Yosys",
        "detfm",
        "ratio",
        "alkaid",
        "ratio",
        "da4ml",
        "ratio",
        "FF",
        "bits",
        "cycles",
        "estimate",
    ]
    rows = [heads, ["---"] * len(heads)]
    for r in records:
        cells = [r["graph"], f"{r['yosys']:,}"]
        for key in ("ours", "alkaid", "da4ml"):
            cells += ["", ""] if r[key] is None else [f"{r[key]:,.0f}", f"{r[key] / r['yosys']:.2f}"]
        rows.append([*cells, f"{r['flip_flops']:,}", f"{r['registers']:,}", f"{r['cycles']}", f"{r['cycles_ours']}"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def plot(records: list[dict], path: str) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for key, label, marker in (("ours", "detfm", "o"), ("alkaid", "alkaid", "^"), ("da4ml", "da4ml", "s")):
        known = [(r["yosys"], r[key] / r["yosys"]) for r in records if r[key] is not None]
        if known:
            axis.semilogx(*zip(*known), marker, label=f"{label} (estimate)", alpha=0.8)
    axis.axhline(1.0, color="grey", linewidth=0.8)
    axis.set(xlabel="LUTs counted by Yosys", ylabel="estimate / Yosys")
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", help="networks of these names")
    parser.add_argument("--records", nargs="*", default=[], type=Path, help="what earlier runs printed, kept")
    parser.add_argument("--graphs", nargs="*", default=[], type=Path)
    parser.add_argument("--da4ml")
    parser.add_argument("--plot")
    args = parser.parse_args()
    only = QUICK if args.quick else args.only
    chosen = {name: graph for name, graph in graphs().items() if only is None or name in only}
    chosen |= {path.stem: FixedPointGraph.load(path) for path in args.graphs}
    lines = [line for path in args.records for line in path.read_text().splitlines() if line.startswith('{"graph"')]
    records = [json.loads(line) for line in lines]
    for name, graph in chosen.items():
        if name in [record["graph"] for record in records]:
            continue
        records.append(measure(name, graph, args.da4ml))
        print(json.dumps(records[-1]), flush=True)
    print(table(sorted(records, key=lambda r: r["yosys"])))
    if args.plot:
        plot(records, args.plot)
    figures: dict[str, float | int | None] = {"graphs": len(records)}
    for key in ("ours", "alkaid", "da4ml"):
        ratios = [r[key] / r["yosys"] for r in records if r[key] is not None]
        figures[f"{key}_to_yosys"] = float(np.mean(ratios)) if ratios else None
        figures[f"{key}_to_yosys_spread"] = float(np.std(ratios)) if ratios else None
    figures["cycles_off_by"] = max(abs(r["cycles"] - r["cycles_ours"]) for r in records)
    publish("estimates", figures, {"ours_to_yosys": "1 within 0.1"})


if __name__ == "__main__":
    main()
