"""The smallest system: against every other division of small networks, and against what no system can beat."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import attention_network

from distill_to_fpga.partition.config import ChipConfig, GoalConfig, LinksConfig, PartitionConfig
from distill_to_fpga.partition.network import Layer, Network, Resources, Source
from distill_to_fpga.partition.search import least_chips, search
from distill_to_fpga.partition.stages import Cutter, Limits
from distill_to_fpga.partition.system import Violation
from foundation.errors import ConfigError

SMALL = ChipConfig("XC7VX690T", utilisation=0.01)  # 4,332 LUTs, 36 DSPs
CFG = PartitionConfig(chip=SMALL)
ROOMY = replace(CFG, chip=replace(SMALL, utilisation=0.02))


def chain(luts: list[int], tokens: int = 1, cuts: int = 1, bits: int = 8) -> Network:
    layers = [Layer("input", tokens, bits)]
    for number, each in enumerate(luts):
        layers.append(
            Layer(f"l{number}", tokens, bits, (Source(layers[-1].name),), Resources(float(each)), depth=1, cuts=cuts)
        )
    return Network("chain", tuple(layers), (layers[-1].name,))


def fewest_by_trying(luts: list[int], most: int) -> int:
    """Stages of consecutive layers that fit a chip, over all divisions."""
    for count in range(len(luts)):
        for cuts in combinations(range(1, len(luts)), count):
            if all(sum(luts[a:b]) <= most for a, b in pairwise((0, *cuts, len(luts)))):
                return count + 1
    raise AssertionError


@given(st.lists(st.integers(1, 4332), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_no_division_into_stages_has_fewer_chips(luts):
    stages = Cutter(chain(luts), CFG, 1, 1, Limits(96)).stages()
    assert not isinstance(stages, Violation)
    assert [stage.last for stage in stages[:-1]] == [stage.first for stage in stages[1:]]
    assert all(sum(luts[stage.first : stage.last]) <= 4332 for stage in stages)
    assert len(stages) == fewest_by_trying(luts, 4332) >= least_chips(chain(luts), CFG, 1)


@pytest.mark.parametrize(
    ("luts", "tokens", "cuts", "beats", "parts"),
    [
        (16_000, 1, 4, 1, (1, 4)),
        (4_000, 4, 1, 1, (4, 1)),
        (16_000, 4, 4, 1, (4, 4)),
        (16_000, 4, 4, 4, (1, 4)),
    ],
)
def test_a_layer_larger_than_a_chip_is_divided(luts, tokens, cuts, beats, parts):
    """LUTs for each token of a clock; a chip has 4,332. One lane, of four beats, cannot be grouped."""
    (stage,) = Cutter(chain([luts], tokens, cuts), CFG, beats, 1, Limits(96)).stages()
    assert (stage.groups, stage.slices) == parts


def test_a_layer_that_fits_no_chip_is_named():
    found = search(chain([16_000]), CFG).best
    assert found.system is None
    assert str(found.violations[0]) == (
        "LUTs of layer 'l0' (token groups: 1, slices: 1): 1.6e+04 needed, 4,332 allowed (3.69 times)"
    )


def test_links_divide_a_network_where_logic_would_not():
    """Of 100 kb a crossing between the two layers 25 ns carry 64 links' worth; within a chip it costs nothing."""
    network = chain([10, 10], bits=100_000)
    few = replace(CFG, links=LinksConfig(per_chip=200))
    assert search(network, few).best.system.chips == 1
    assert "links" in str(search(network, replace(CFG, links=LinksConfig(per_chip=100))).best.violations[0])


def test_copies_take_turns_where_a_layer_needs_several_clocks():
    """20 tokens of one lane: 20 clocks of 5 ns are four crossings; two lanes are two."""
    network = chain([1500, 1500], tokens=20)
    assert search(network, replace(CFG, lanes=1)).best.copies == 4
    assert search(network, replace(CFG, lanes=2)).best.copies == 2
    with pytest.raises(ConfigError, match="faster than it takes them"):
        search(network, replace(CFG, lanes=1, copies=3))
    assert search(network, replace(CFG, copies=4)).best.system.chips == 4
    best = search(network, CFG).best
    assert best.system.chips == 4
    assert best.system.latency_clocks == min(
        each.system.latency_clocks for each in search(network, CFG).tried if each.system.chips == 4
    )


def test_a_shorter_latency_costs_chips_and_one_too_short_is_told():
    network = chain([1500, 1500], tokens=20)
    slow, fast = (search(network, replace(CFG, goal=GoalConfig(latency_us=t))).best for t in (0.4, 0.25))
    assert slow.system.microseconds(slow.simulation.latency) <= 0.4
    assert fast.system.microseconds(fast.simulation.latency) <= 0.25
    assert not slow.violations
    assert not fast.violations
    never = search(network, replace(CFG, goal=GoalConfig(latency_us=0.2))).best
    assert [each.limit for each in never.violations] == ["latency in us"]
    assert never.violations[0].needed > 0.2
    few = search(network, replace(CFG, goal=GoalConfig(chips=3))).best
    assert str(few.violations[0]) == "chips of the system: 4 needed, 3 allowed (1.33 times)"


@pytest.fixture(scope="module")
def attention() -> Network:
    return attention_network(tokens=8, bits=960, cuts=4)


def test_the_system_found_keeps_its_limits_as_simulated(attention):
    best = search(attention, ROOMY).best
    assert not best.violations
    system = best.system
    assert system.chips >= best.copies * least_chips(attention, ROOMY, best.beats)
    assert best.simulation.latency >= system.latency_clocks
    assert best.simulation.interval == pytest.approx(system.between, rel=0.02)
    assert system.most_mhz >= 40.0 - 1e-6
    assert system.most_mhz == pytest.approx(best.copies * 200 / max(system.pipeline.work))
    for use in system.use(best.simulation.most):
        assert use.luts <= 8664
        assert use.dsps <= 72
        assert max(use.sent, use.received) <= ROOMY.links.per_chip


def test_more_links_never_need_a_larger_system(attention):
    found = [
        search(attention, replace(ROOMY, links=LinksConfig(per_chip=n), goal=GoalConfig(chips=16))).best
        for n in (3, 4, 16)
    ]
    sizes = [each.system.chips if not each.violations else np.inf for each in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == np.inf
    assert 4 == sizes[-1] < sizes[1]
