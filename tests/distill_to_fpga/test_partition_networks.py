"""Encoders and graphs as layers of hardware: nothing is left out, and costs are the estimator's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_graphs import network as dense_graph
from flax import nnx
from random_graphs import random_graph

from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder
from distill_to_fpga.partition.config import NumbersConfig, PartitionConfig
from distill_to_fpga.partition.costs import Costs, dense_sample
from distill_to_fpga.partition.encoder import encoder_network
from distill_to_fpga.partition.graphs import graph_network
from distill_to_fpga.partition.network import Network
from distill_to_fpga.partition.plan import Plan, Stage
from distill_to_fpga.partition.system import System
from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.models import EncoderConfig, count_parameters
from foundation.models.saved import blank_encoder
from foundation.schema import DetectorSchema
from pretrain.config import PretrainConfig

SCHEMA = DetectorSchema.load(
    {
        "name": "two kinds",
        "modalities": {
            "jets": {"max_tokens": 5, "features": {n: {"expression": n} for n in ("pt", "eta", "phi")},
                     "coordinates": {"pt": "pt", "eta": "eta", "phi": "phi"}},
            "muons": {"max_tokens": 2, "features": {"m_pt": {"expression": "m_pt"}}},
        },
        "globals": {"met": {"expression": "met"}, "ht": {"expression": "ht"}},
    }
)  # fmt: skip
CHEAP = NumbersConfig(weight_bits=2, zeros=0.9)  # quickly estimated
COSTS = Costs(CHEAP, 5.0)
SMALL = EncoderConfig(width=8, layers=2, heads=2, hidden=2)


def described(config: EncoderConfig, costs: Costs = COSTS) -> Network:
    return encoder_network("encoder", config, SCHEMA, costs)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        EncoderConfig(width=8, layers=1, heads=4, hidden=3, pair_features=True, pair_width=5, counts=True),
        EncoderConfig(width=10, flat=(29, 10)),
    ],
)
def test_every_parameter_of_the_encoder_is_a_constant_of_a_layer(config):
    encoder = nnx.eval_shape(lambda: blank_encoder(SCHEMA, config))
    assert described(config).constants == count_parameters(encoder)


@pytest.mark.parametrize("name", ["500k", "2m"])
def test_the_size_presets_are_as_large_as_they_say(name):
    config = load_config(PretrainConfig, f"pretrain/{name}").encoder
    found = encoder_network(name, config, DetectorSchema.load("data/jets"), COSTS)
    assert found.constants == pytest.approx({"500k": 500e3, "2m": 2e6}[name], rel=0.15)
    assert found.tokens == 129


def test_tokens_of_all_modalities_and_the_summary():
    assert described(SMALL).tokens == 8
    assert described(SMALL, Costs(replace(CHEAP, tokens=3), 5.0)).tokens == 4
    with pytest.raises(ConfigError, match="at most 7"):
        described(SMALL, Costs(replace(CHEAP, tokens=8), 5.0))
    with pytest.raises(ConfigError, match="not a multiple"):
        described(EncoderConfig(width=8, heads=3))


def test_attention_alone_needs_all_tokens_and_products_grow_with_their_square():
    layers = {layer.name: layer for layer in described(SMALL).layers}
    waiting = {name for name, layer in layers.items() if any(s.tokens == "all" for s in layer.sources)}
    assert waiting == {"block0.attend", "block1.attend", "pool"}
    assert layers["block0.attend"].lane.products == 2 * 8 * 8 + 8  # one query a clock; 8 tokens, 8 channels
    assert layers["block0.attend"].cuts == 2
    pairs = described(EncoderConfig(width=8, layers=1, heads=2, pair_features=True)).layers
    with_pairs = {layer.name: layer for layer in pairs}["block0.attend"]
    assert [source.layer for source in with_pairs.sources][-1] == "coordinates"
    assert with_pairs.shared.luts > 0


@pytest.mark.parametrize(("bits", "zeros"), [(4, 0.5), (3, 0.0)])
def test_a_dense_layer_costs_what_the_estimator_says_of_one_like_it(bits, zeros):
    rng = np.random.default_rng(5)
    shape = (40, 16)
    weight = rng.integers(1, 2 ** (bits - 1), shape) * rng.choice([-1, 1], shape) * (rng.random(shape) >= zeros)
    g = GraphBuilder("one")
    g.output(g.quantize(g.dense(g.input("x", shape[:1], True, 8), weight, bits), True, 8, 0))
    whole = estimate(g.build())
    costs = Costs(NumbersConfig(weight_bits=bits, zeros=zeros), 5.0)
    lane, clocks = costs.dense(*shape)
    assert lane.luts == pytest.approx(whole.total("luts"), rel=0.1)
    assert abs(clocks - (whole.latency_cycles - 1)) <= 1


def test_luts_per_weight_fall_with_bits_and_with_zeros():
    cost = {(bits, zeros): dense_sample(bits, 8, zeros)[0] for bits, zeros in ((2, 0.9), (2, 0.5), (4, 0.9))}
    assert cost[2, 0.9] < min(cost[2, 0.5], cost[4, 0.9])


def tokens_graph() -> FixedPointGraph:
    """Six tokens through two shared layers, summed, and a head."""
    rng = np.random.default_rng(0)
    g = GraphBuilder("tokens")
    x = g.input("particles", (6, 4), True, 8)
    for a, b in ((4, 8), (8, 8)):
        x = g.quantize(g.relu(g.dense(x, rng.integers(-7, 8, (a, b)), 3)), False, 6, 2)
    g.output(g.dense(g.quantize(g.sum(x, 0), False, 8, 2), rng.integers(-7, 8, (8, 3)), 3))
    return g.build()


@pytest.mark.parametrize("graph", [tokens_graph(), dense_graph((8, 12, 3)), *(random_graph(s) for s in range(4))])
def test_a_graph_on_one_chip_costs_and_takes_what_the_estimator_says(graph):
    network, known = graph_network(graph, 5.0), estimate(graph, 5.0)
    assert network.total(1).luts == pytest.approx(known.total("luts"))
    assert network.constants == known.total("weights")
    system = System(Plan(network, (Stage(0, len(network.computed)),), 1, 1), PartitionConfig())
    links = 2 * (20 + 1)  # in and out: a clock to send, 100 ns under way
    assert system.latency_clocks <= links + known.latency_cycles - 1
    if graph.name != "fuzz":  # a chain
        assert system.latency_clocks == links + known.latency_cycles - 1


def test_token_groups_of_a_graph_exchange_nothing_before_the_sum():
    network = graph_network(tokens_graph(), 5.0)
    assert [layer.tokens for layer in network.layers] == [6] * 7 + [1] * 3
    plan = Plan(network, (Stage(0, 6, groups=3), Stage(6, 9)), 1, 1)
    between = {(plan.pieces[t.piece].chip, t.chip) for t in plan.transfers}
    assert between == {(-1, 0), (-1, 1), (-1, 2), (0, 3), (1, 3), (2, 3), (3, -1)}
