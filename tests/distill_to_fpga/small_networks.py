"""Networks and pipelines small enough to be worked out by hand, and random ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from distill_to_fpga.partition.network import Layer, Network, Resources, Source
from distill_to_fpga.partition.pipeline import Flow, Need, Pipeline, Server
from distill_to_fpga.partition.plan import Plan, Stage


def attention_network(tokens: int = 4, bits: int = 32, cuts: int = 2) -> Network:
    """An embedding, queries, keys and values, attention that keeps the last two, and a sum over tokens."""
    cost = Resources.logic(1000.0)
    layers = [Layer("input", tokens, 16), Layer("embed", tokens, bits, (Source("input"),), cost, depth=2, cuts=cuts)]
    for name in ("query", "key", "value"):
        layers.append(Layer(name, tokens, bits, (Source("embed"),), cost, depth=2, cuts=cuts))
    needs = Source("query", "own", "own"), Source("key", "all", "own"), Source("value", "all", "own")
    products = Resources.logic(2000.0, products=100.0)
    layers.append(Layer("attend", tokens, bits, needs, products, depth=5, cuts=cuts, keeps=True))
    layers.append(Layer("pool", 1, bits, (Source("attend", "all", "own"),), Resources.logic(10.0), depth=1, cuts=cuts))
    return Network("small", tuple(layers), ("pool",))


def random_network(rng: np.random.Generator, layers: int) -> Network:
    """Layers of one or many tokens, each of which needs one or two earlier ones."""
    made = [Layer("input", 6, 24)]
    for number in range(layers):
        tokens = int(rng.choice([1, 4, 6]))
        chosen = rng.choice(len(made), size=min(len(made), int(rng.integers(1, 3))), replace=False)
        sources = []
        for i in sorted(chosen.tolist()):
            same = made[i].tokens == tokens and rng.random() < 0.7
            sources.append(Source(made[i].name, "own" if same else "all", "own" if rng.random() < 0.3 else "all"))
        cost = Resources.logic(float(rng.integers(100, 2000)), float(rng.integers(0, 40)))
        depth, cuts = int(rng.integers(0, 5)), int(rng.choice([1, 2, 6]))
        bits = int(rng.integers(4, 60))
        made.append(
            Layer(
                f"layer{number}", tokens, bits, tuple(sources), cost, depth=depth, cuts=cuts, keeps=rng.random() < 0.3
            )
        )
    used = {source.layer for layer in made for source in layer.sources}
    outputs = tuple(layer.name for layer in made if layer.name not in used)
    return Network("random", tuple(made), outputs)


def random_plan(seed: int, layers: int = 5) -> Plan:
    """A random network in random stages."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(1, layers + 1)))
    count = len(network.computed)
    cuts = sorted({0, count, *rng.integers(0, count + 1, 2).tolist()})
    stages = tuple(
        Stage(first, last, int(rng.integers(1, 4)), int(rng.integers(1, 3))) for first, last in pairwise(cuts)
    )
    return Plan(network, stages, int(rng.choice([1, 2, 3, 6])), 1)


def one_after_another(rates: list[int], sizes: list[int], latencies: list[int], beats: int = 1) -> Pipeline:
    """A chain of flows, each on its own server; beat for beat."""
    step = np.arange(1, beats + 1)
    flows = [
        Flow(f"f{i}", i, beats, size, latency, () if i == 0 else (Need(i - 1, step, step),))
        for i, (size, latency) in enumerate(zip(sizes, latencies, strict=True))
    ]
    servers = tuple(Server(f"s{i}", rate, link=i % 2 == 1) for i, rate in enumerate(rates))
    return Pipeline(tuple(flows), servers, (len(flows) - 1,))
