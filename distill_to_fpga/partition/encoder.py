"""The encoder as layers of hardware: what `foundation.models.encoder` computes, with numbers of few bits.

The summary token is one token more. Layer normalisation and softmax stay what they are; biases, scales and offsets are
constants of the layer that follows. Heads on the embedding are not part of it.
"""

from __future__ import annotations

from itertools import pairwise

from distill_to_fpga.partition.costs import Costs
from distill_to_fpga.partition.network import Layer, Network, Resources, Source
from foundation.errors import ConfigError
from foundation.models import EncoderConfig
from foundation.models.encoder import PAIR_FEATURES
from foundation.schema import DetectorSchema

COORDINATES = 3  # pt, eta, phi


def encoder_network(name: str, config: EncoderConfig, schema: DetectorSchema, costs: Costs) -> Network:
    """An encoder over the modalities of a schema, all tokens in one sequence.

    Raises:
        ConfigError: more tokens are asked for than the schema has, or the heads do not divide the width.
    """
    if config.flat:
        return _flat(name, config, schema, costs)
    if config.width % config.heads:
        raise ConfigError(f"encoder width {config.width} is not a multiple of its {config.heads} heads")
    capacity = sum(modality.capacity for modality in schema.modalities.values())
    if costs.numbers.tokens > capacity:
        raise ConfigError(f"numbers.tokens {costs.numbers.tokens}: the schema '{schema.name}' has at most {capacity}")
    tokens = 1 + (costs.numbers.tokens or capacity)
    layers = _inputs(config, schema, costs, tokens)
    for block in range(config.layers):
        layers += _block(f"block{block}", layers[-1].name, config, costs, tokens, first=block == 0)
    layers += _end(layers[-1].name, config.width, costs, tokens)
    return Network(name, tuple(layers), ("pool",), costs.bits, costs.method)


def _inputs(config: EncoderConfig, schema: DetectorSchema, costs: Costs, tokens: int) -> list[Layer]:
    """The tokens' features, and their embedding: a matrix for each modality and one for the globals."""
    around = max(len(schema.globals), 1) + config.counts * len(schema.modalities)
    features = [*(len(modality.features) for modality in schema.modalities.values()), around]
    logic, depth = costs.dense(sum(features), config.width)
    found = [Layer("input", tokens, max(features) * costs.bits)]
    if config.pair_features:
        found.append(Layer("coordinates", tokens, COORDINATES * costs.bits))
    constants = sum((each + 1) * config.width for each in features)
    return [*found, _layer("embed", tokens, config.width, [Source("input")], logic, depth, costs, constants)]


def _block(name: str, before: str, config: EncoderConfig, costs: Costs, tokens: int, first: bool) -> list[Layer]:
    """Pre-norm transformer block: x + out(attend(norm x)), then x + down(GELU(up(norm x)))."""
    width, hidden, heads = config.width, config.hidden * config.width, config.heads
    pair_width = config.pair_width if config.pair_features else 0
    shared = (PAIR_FEATURES + 1) * pair_width + (pair_width + 1) * heads if pair_width and first else 0
    attended = [Source(f"{name}.query", "own", "own"), *(Source(f"{name}.{n}", "all", "own") for n in ("key", "value"))]
    attended += [Source("coordinates", "all")] if pair_width else []
    logic, depth = costs.attention(tokens, width, heads)
    dense, norm = costs.dense(width, width), costs.norm(width)
    common, own = costs.pairs(tokens, pair_width, heads) if pair_width else (Resources(), Resources())
    attend = Layer(
        f"{name}.attend", tokens, width * costs.bits, tuple(attended), logic + own, common, depth, heads, True, shared
    )

    def layer(part: str, outputs: int, sources: list[Source], made: tuple[Resources, int], constants: int) -> Layer:
        return _layer(f"{name}.{part}", tokens, outputs, sources, *made, costs, constants)

    def normalised(part: str, source: str) -> Layer:
        cost, clocks = norm
        return Layer(
            f"{name}.{part}", tokens, width * costs.bits, (Source(source),), cost, depth=clocks, constants=2 * width
        )

    residual = [Source(before, "own", "own")], [Source(f"{name}.out", "own", "own")]
    return [
        normalised("norm", before),
        *(layer(part, width, [Source(f"{name}.norm")], dense, width**2) for part in ("query", "key", "value")),
        attend,
        layer("out", width, [Source(f"{name}.attend"), *residual[0]], costs.dense(width, width, residual=True),
              width**2 + width),
        normalised("norm_feed", f"{name}.out"),
        layer("up", hidden, [Source(f"{name}.norm_feed")], costs.dense(width, hidden, table=True),
              width * hidden + hidden),
        layer("down", width, [Source(f"{name}.up"), *residual[1]], costs.dense(hidden, width, residual=True),
              width * hidden + width),
    ]  # fmt: skip


def _end(before: str, width: int, costs: Costs, tokens: int) -> list[Layer]:
    """The last normalisation, whose tokens are added up: the embedding is their mean and the summary token."""
    cost, clocks = costs.norm(width)
    norm = Layer(
        "norm",
        tokens,
        width * costs.bits,
        (Source(before),),
        cost + costs.pool(width),
        depth=clocks,
        constants=2 * width,
    )
    return [norm, Layer("pool", 1, width * costs.bits, (Source("norm", "all", "own"),), depth=1, cuts=width)]


def _flat(name: str, config: EncoderConfig, schema: DetectorSchema, costs: Costs) -> Network:
    """Linear layers over all places side by side: one token."""
    placed = sum(m.capacity * len(m.features) for m in schema.modalities.values()) + len(schema.globals)
    layers = [Layer("input", 1, placed * costs.bits)]
    for number, (inputs, outputs) in enumerate(pairwise((placed, *config.flat))):
        made = costs.dense(inputs, outputs, relu=number + 1 < len(config.flat))
        before, constants = [Source(layers[-1].name)], inputs * outputs + outputs
        layers.append(_layer(f"dense{number}", 1, outputs, before, *made, costs, constants))
    return Network(name, tuple(layers), (layers[-1].name,), costs.bits, costs.method)


def _layer(
    name: str,
    tokens: int,
    width: int,
    sources: list[Source],
    lane: Resources,
    depth: int,
    costs: Costs,
    constants: int,
) -> Layer:
    """A layer that can be cut at every channel."""
    return Layer(name, tokens, width * costs.bits, tuple(sources), lane, depth=depth, cuts=width, constants=constants)
