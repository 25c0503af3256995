"""Who computes what and who sends what to whom: by hand, and for any plan."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import attention_network, random_plan

from distill_to_fpga.partition.config import ChipConfig, LinksConfig, PartitionConfig
from distill_to_fpga.partition.links import allocate, loads, used
from distill_to_fpga.partition.network import Layer, Network, Resources, Source
from distill_to_fpga.partition.pipeline import Flow, Need, window
from distill_to_fpga.partition.plan import OUTSIDE, WHOLE, Piece, Plan, Span, Stage, wanted
from distill_to_fpga.partition.system import System, memory, with_products
from foundation.errors import ConfigError

CFG = PartitionConfig()


def one_stage(groups: int, slices: int, beats: int = 2) -> Plan:
    return Plan(attention_network(), (Stage(0, 6, groups, slices),), beats, 1)


def sent(plan: Plan) -> dict[tuple[int, int], int]:
    """Bits of a crossing between chips."""
    return {pair: bits for pair, (bits, _) in loads(plan).items()}


def test_token_groups_exchange_keys_and_values_alone():
    """Tokens 0 and 1 on chip 0, 2 and 3 on chip 1: two tokens of 32 bits, twice, each way. The sum over tokens is on
    chip 1, to which chip 0 also sends two tokens of the attention's result."""
    plan = one_stage(groups=2, slices=1)
    assert sent(plan) == {
        (0, 1): 2 * 2 * 32 + 2 * 32,
        (1, 0): 2 * 2 * 32,
        (OUTSIDE, 0): 32,
        (OUTSIDE, 1): 32,
        (1, OUTSIDE): 32,
    }
    assert {t.chip for t in plan.transfers if plan.network.layers[plan.pieces[t.piece].layer].name == "query"} == set()


def test_slices_exchange_channels_of_what_needs_all_of_them():
    """Queries, keys and values need every channel of the embedding; attention only its own heads."""
    plan = one_stage(groups=1, slices=2)
    assert sent(plan) == {
        (0, 1): 4 * 16, (1, 0): 4 * 16, (OUTSIDE, 0): 64, (OUTSIDE, 1): 64, (0, OUTSIDE): 16, (1, OUTSIDE): 16,
    }  # fmt: skip
    names = {plan.network.layers[plan.pieces[t.piece].layer].name for t in plan.transfers if t.chip != OUTSIDE}
    assert names == {"input", "embed"}


def test_a_layer_that_cannot_be_cut_is_computed_by_every_slice():
    layers = (
        Layer("input", 2, 8),
        Layer("norm", 2, 8, (Source("input"),), Resources(10.0)),
        Layer("dense", 2, 8, (Source("norm"),), Resources(100.0), Resources(4.0), cuts=4),
    )
    plan = Plan(Network("n", layers, ("dense",)), (Stage(0, 2, 1, 2),), 1, 1)
    assert [plan.resources(chip).luts for chip in (0, 1)] == [2 * (10 + 50 + 4)] * 2  # two lanes
    assert sent(plan)[0, OUTSIDE] == 8  # half the channels of two tokens
    assert (0, 1) not in sent(plan)


def test_what_several_layers_need_is_sent_once():
    plan = Plan(attention_network(), (Stage(0, 1), Stage(1, 6)), 4, 1)
    assert sent(plan) == {(OUTSIDE, 0): 64, (0, 1): 4 * 32, (1, OUTSIDE): 32}


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_every_token_and_channel_is_computed_and_all_that_is_needed_arrives(seed):
    plan = random_plan(seed)
    layers = plan.network.layers
    for position, numbers in plan.of_layer.items():
        area = sum(plan.pieces[n].tokens.size * plan.pieces[n].channels.size for n in numbers)
        copies = (
            1
            if layers[position].cuts > 1
            else len({plan.pieces[n].chip for n in numbers}) / len({plan.pieces[n].tokens for n in numbers})
        )
        assert area == layers[position].tokens * copies
        assert all(plan.pieces[n].beats <= plan.beats for n in numbers)
    there = {(t.piece, t.chip): t for t in plan.transfers}
    for piece, sources in zip(plan.pieces, plan.needs, strict=True):
        covered: dict[str, Fraction | int] = {}
        for number, source in sources:
            sender = plan.pieces[number]
            tokens, channels = wanted(source, piece, layers[sender.layer])
            tokens, channels = sender.tokens.common(tokens), sender.channels.common(channels)
            covered[source.layer] = covered.get(source.layer, 0) + tokens.size * channels.size
            if sender.chip != piece.chip:
                transfer = there[number, piece.chip]
                assert transfer.tokens.common(tokens) == tokens
                assert transfer.channels.common(channels) == channels
        for source in layers[piece.layer].sources:
            tokens, channels = wanted(source, piece, layers[plan.network.position(source.layer)])
            assert covered[source.layer] == tokens.size * channels.size


@given(
    st.integers(0, 20), st.integers(1, 20), st.integers(1, 5), st.integers(0, 20), st.integers(1, 20), st.integers(1, 5)
)
def test_a_window_waits_for_its_own_tokens_and_frees_what_nothing_else_needs(a, n, lanes, b, m, slower):
    producer, consumer = Span(a, a + n), Piece(0, 0, Span(b, b + m), WHOLE, slower)
    last, freed = window(consumer, False, producer, lanes)
    beats = [range(a + i * lanes, min(a + (i + 1) * lanes, a + n)) for i in range(-(-n // lanes))]
    for i in range(consumer.beats):
        done = range(b, min(b + (i + 1) * slower, b + m))
        needed = [k for k, tokens in enumerate(beats) if set(tokens) & set(done)]
        assert last[i] >= max(needed, default=-1) + 1
        later = set(range(done.stop, b + m))
        assert not any(set(tokens) & later for tokens in beats[: freed[i]])
    assert freed[-1] == len(beats)


def test_links_carry_the_traffic_and_the_spare_ones_go_to_the_slowest():
    plan = Plan(attention_network(bits=9600), (Stage(0, 1), Stage(1, 6)), 4, 1)
    tight = replace(CFG, links=LinksConfig(per_chip=2, gbps=25.0, efficiency=0.96))  # 120 bits in a clock
    assert CFG.clocks_between(1) == 5.0
    assert allocate(plan, tight)[0, 1] == 64  # 4 tokens of 9600 bits in 5 clocks: what it takes, not what there is
    wide = allocate(plan, replace(tight, links=replace(tight.links, per_chip=70)))
    assert wide[0, 1] == 70  # a beat of 9600 bits would like 80
    free = allocate(plan, replace(tight, links=replace(tight.links, per_chip=500)))
    assert free[0, 1] == 80


@given(st.integers(0, 10_000), st.integers(1, 30))
@settings(deadline=None, max_examples=20)
def test_no_more_links_than_there_are_unless_the_traffic_needs_them(seed, per_chip):
    plan = random_plan(seed)
    cfg = replace(CFG, links=LinksConfig(per_chip=per_chip))
    least = allocate(plan, replace(CFG, links=LinksConfig(per_chip=1)))
    found = allocate(plan, cfg)
    for more, fewest in zip(used(found), used(least), strict=True):
        assert all(more[c] <= max(per_chip, fewest[c]) for c in more if c != OUTSIDE)
    bits = CFG.links.bits_per_clock(5.0) * CFG.clocks_between(1)
    assert all(count * bits >= sent(plan)[pair] for pair, count in found.items())


def test_products_are_in_dsps_first_and_wide_ones_do_not_share():
    """An XCVU13P has 12,288 DSPs, of which 8,601.6 may be used."""
    luts, flip_flops, dsps = with_products(np.array([[100.0, 70.0, 20_000.0]]), CFG, 8)[0]
    assert dsps == pytest.approx(8601.6)
    assert luts == pytest.approx(100 + 91 * (20_000 - 2 * 8601.6))
    assert flip_flops == pytest.approx(70 + 0.7 * (luts - 100))
    assert with_products(np.array([[0.0, 0.0, 100.0]]), CFG, 9)[0, 2] == 100
    none = replace(CFG, chip=ChipConfig(products_per_dsp=0))
    assert with_products(np.array([[0.0, 0.0, 10.0]]), none, 8).tolist() == [[910, pytest.approx(637), 0]]


def test_memory_by_hand():
    one = np.array([1])
    queue, kept, flow = Need(0, one, one), Need(0, one, one, kept=True), Flow("x", 0, 1, bits=100)
    assert memory(queue, flow, 1).flip_flops == 100
    assert memory(queue, flow, 32).luts == 100
    assert memory(queue, flow, 33).block_rams == 2  # 72 bits wide, 512 deep
    assert memory(queue, flow, 513).block_rams == 4
    assert memory(kept, flow, 8).flip_flops == 800


def test_keys_and_values_of_two_crossings_are_kept():
    """While one crossing's queries are answered, the keys and values of the next come in."""
    system = System(Plan(attention_network(), (Stage(0, 6),), 4, 1), replace(CFG, chip=ChipConfig(clock_ns=6.25)))
    assert system.between == 4.0
    needs = [need for flow in system.pipeline.flows for need in flow.needs]
    kept = [n for need, n in zip(needs, system.waiting.tolist(), strict=True) if need.kept]
    assert len(kept) == 2
    assert all(4 < each <= 9 for each in kept)
    assert system.violations(system.waiting, system.latency_clocks) == ()


def test_a_broken_limit_is_named_with_the_factor():
    tight = PartitionConfig(chip=ChipConfig("XC7VX690T", utilisation=0.01), links=LinksConfig(per_chip=1, gbps=1.0))
    system = System(Plan(attention_network(bits=320), (Stage(0, 6, 2),), 2, 1), tight)
    found = [str(each) for each in system.violations(system.waiting, 10_000)]
    # 6,010 of the layers, 28 products that no DSP takes at 91 each, three queues of 320 bits
    assert "LUTs of chip 1: 9,518 needed, 4,332 allowed (2.20 times)" in found
    assert "latency in us of the system: 50 needed, 12 allowed (4.17 times)" in found
    assert any(text.startswith("links sent of chip 0") for text in found)


@pytest.mark.parametrize(
    ("layers", "outputs"),
    [
        ((Layer("a", 1, 1, (Source("b"),)),), ("a",)),
        ((Layer("a", 1, 1), Layer("a", 1, 1, (Source("a"),))), ("a",)),
        ((Layer("a", 1, 1),), ("a",)),
        ((Layer("a", 1, 1), Layer("b", 1, 1, (Source("a"),))), ("c",)),
    ],
)
def test_a_network_in_no_order_is_refused(layers, outputs):
    with pytest.raises(ConfigError):
        Network("n", layers, outputs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"copies": -1},
        {"chip": ChipConfig(utilisation=1.5)},
        {"chip": ChipConfig(device="XCVU13")},
        {"links": LinksConfig(per_chip=0)},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError):
        PartitionConfig(**wrong)
