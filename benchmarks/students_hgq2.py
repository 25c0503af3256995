"""The other side of benchmarks/students.py: HGQ2 trains, da4ml and alkaid count. Called by students.py, with a file of
numbers in and lines of JSON out, in an environment of its own:

    pip install hgq2 da4ml alkaid keras jax jaxtyping threadpoolctl
    python students_hgq2.py train DATA.npz SETTINGS.json     one record per beta of the settings
    python students_hgq2.py cost GRAPH.json ...              what da4ml takes for our graphs
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"
SCALE = 64.0  # counts per standard deviation of the inputs


def train(data: str, settings: dict[str, Any]) -> None:
    """The recipe of HGQ2's documentation: widths of weights `kbi`, saturating, of data `kif`, wrapping; Adam; beta."""
    import alkaid.converter
    import alkaid.trace
    import da4ml.converter
    import da4ml.trace
    from hgq.utils import trace_minmax

    with np.load(data) as file:
        x = {split: file[split].astype(np.float32) / SCALE for split in ("train", "val", "test")}
        if not settings["phi"]:
            x = {split: values.reshape(len(values), -1) for split, values in x.items()}
        y = {split: file[f"y_{split}"] for split in x}
    for beta in settings["betas"]:
        model, seconds = fitted(x, y, beta, settings)
        ebops = float(trace_minmax(model, x["train"]))
        record = {"beta": beta, "ebops": ebops, "seconds": seconds, "seed": settings["seed"]}
        for split in ("val", "test"):
            said = model.predict(x[split], verbose=0, batch_size=4096).argmax(-1)
            record[split] = float((said == y[split]).mean())
        record["da4ml"] = float(da4ml.trace.comb_trace(*da4ml.converter.trace_model(model)).cost)
        adder = (1, 1, -1)  # an adder costs its cells, as in ours
        record["alkaid"] = float(alkaid.trace.trace(*alkaid.converter.trace_model(model, hwconf=adder)).cost)
        print(json.dumps(record), flush=True)


def fitted(x: dict[str, np.ndarray], y: dict[str, np.ndarray], beta: float, settings: dict[str, Any]) -> Any:
    """A trained model and the seconds per step without the first epoch, in which it is compiled."""
    import keras
    from hgq.config import LayerConfigScope, QuantizerConfigScope
    from hgq.layers import QDense, QDenseT, QSum

    keras.utils.set_random_seed(settings["seed"])
    weights = QuantizerConfigScope(
        q_type="kbi", place="weight", overflow_mode="SAT_SYM", round_mode="RND", b0=settings["bits"], i0=1
    )
    flow = QuantizerConfigScope(q_type="kif", place="datalane", overflow_mode="WRAP", round_mode="RND")
    with weights, flow, LayerConfigScope(enable_ebops=True, beta0=beta):
        layers: list[Any] = [keras.layers.Input(x["train"].shape[1:])]
        classes = int(y["train"].max()) + 1
        if settings["tables"]:
            layers += [QDenseT(width) for width in (*settings["hidden"], classes)]
        else:
            layers += [QDense(width, activation="relu") for width in settings["phi"]]
            layers += [QSum(axes=1)] if settings["phi"] else []
            layers += [QDense(width, activation="relu") for width in settings["hidden"]]
            layers += [QDense(classes)]
        model = keras.Sequential(layers)
    batch, steps = settings["batch"], settings["steps"]
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=settings["learning_rate"], warmup_steps=steps // 20
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, jit_compile=True)
    epochs = max(round(steps * batch / len(y["train"])), 1)
    marks: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: marks.append(time.monotonic()))
    model.fit(x["train"], y["train"], batch_size=batch, epochs=epochs, verbose=0, callbacks=[clock])
    per_epoch = np.median(np.diff(marks)) if len(marks) > 1 else float("nan")
    return model, float(per_epoch / max(len(y["train"]) // batch, 1))


def cost(path: str) -> None:
    """da4ml's cost of one of our graphs, after its own interpreter has given the same outputs as ours."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from distill_to_fpga.graph import FixedPointGraph, run

    graph = FixedPointGraph.load(path)
    traced = traced_by_da4ml(graph)
    (port,), (name,) = graph.inputs, graph.outputs
    wire, out = graph.wires[port], graph.wires[graph.outputs[name]]
    x = np.random.default_rng(0).integers(wire.low, wire.high + 1, (500, *wire.shape))
    ours = run(graph, {port: x})[name].reshape(len(x), -1) * 2.0 ** -out.fraction.reshape(-1)
    mismatches = int((ours != traced.predict(x.reshape(len(x), -1).astype(np.float64))).sum())
    print(json.dumps({"graph": path, "luts": float(traced.cost), "mismatches": mismatches}), flush=True)


def traced_by_da4ml(graph: Any) -> Any:
    """The graph once more in da4ml's symbols."""
    from da4ml.trace import FixedVariableArray, HWConfig, comb_trace

    from distill_to_fpga.graph import ops

    values: dict[str, Any] = {}
    for node in graph.nodes:
        wire, inputs = graph.wires[node.name], [values[name] for name in node.inputs]
        if isinstance(node.op, ops.Input):
            sign = wire.signed.astype(int)
            made = FixedVariableArray.from_kif(sign, wire.bits - sign, np.zeros_like(wire.bits), HWConfig(1, -1, -1))
        else:
            made = replayed(node.op, wire, graph.input_wires(node), inputs)
        values[node.name] = made
    first, last = values[graph.inputs[0]], values[next(iter(graph.outputs.values()))]
    return comb_trace(first.reshape(-1), last.reshape(-1))


def replayed(op: Any, wire: Any, before: list[Any], inputs: list[Any]) -> Any:
    from distill_to_fpga.graph import ops

    x = inputs[0]
    match op:
        case ops.Scale():
            offset = np.broadcast_to(op.offset, wire.shape) * 2.0 ** -before[0].fraction.astype(float)
            return (x - offset if np.any(offset) else x) * 2.0 ** np.broadcast_to(op.shift, wire.shape).astype(float)
        case ops.Shift():
            return x * 2.0 ** np.broadcast_to(op.shift, wire.shape).astype(float)
        case ops.Reshape():
            return x.reshape(op.shape)
        case ops.Dense():
            weight = op.weight * 2.0 ** -op.weight_fraction.astype(float)
            return x @ weight + op.bias * 2.0 ** -op.bias_fraction.astype(float)
        case ops.Quantize():
            bits, fraction = (np.broadcast_to(a, wire.shape).astype(int) for a in (op.type.bits, op.type.fraction))
            fraction = np.where(bits > 0, fraction, 0)
            sign = np.where(bits > 0, np.broadcast_to(op.type.signed, wire.shape).astype(int), 0)
            modes = (
                {"saturate": "SAT", "wrap": "WRAP"}[op.type.overflow],
                {"half_up": "RND", "truncate": "TRN"}[op.type.rounding],
            )
            return x.quantize(sign, bits - sign - fraction, fraction, *modes)
        case ops.Relu():
            return x.relu()
        case ops.Sum():
            return np.sum(x, axis=op.axis)
        case ops.Add():
            return x + inputs[1]
        case ops.Sub():
            return x - inputs[1]
        case ops.Mul():
            return x * inputs[1]
    raise TypeError(f"{op.kind} is not replayed")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(sys.argv[2], json.loads(sys.argv[3]))
    else:
        for each in sys.argv[2:]:
            cost(each)
