"""Flows and servers: cases worked out by hand, and what must hold for any pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import one_after_another, random_plan

from distill_to_fpga.partition.critical import critical_path, parts
from distill_to_fpga.partition.links import loads
from distill_to_fpga.partition.pipeline import Flow, Need, Pipeline, Server, build
from distill_to_fpga.partition.simulate import simulate
from foundation.errors import DataError

ALL = np.array([4, 4, 4, 4]), np.array([0, 0, 0, 4])
STEP = np.arange(1, 5)


def layers_and_link(needs_all: bool) -> Pipeline:
    """Four tokens through a layer 3 clocks deep, links of 50 bits a clock for beats of 100, 10 clocks long, and a layer
    2 clocks deep."""
    last, freed = ALL if needs_all else (STEP, STEP)
    flows = (
        Flow("a", 0, 4, 1, 2),
        Flow("a to chip 1", 1, 4, 100, 10, (Need(0, STEP, STEP),), 100),
        Flow("b", 2, 4, 1, 1, (Need(1, last, freed),), chip=1),
    )
    return Pipeline(flows, (Server("a"), Server("links", 50, True), Server("b")), (2,))


@pytest.mark.parametrize(
    ("needs_all", "begun", "latency"), [(False, [15, 17, 19, 21], 23), (True, [21, 22, 23, 24], 26)]
)
def test_a_stream_and_a_barrier_by_hand(needs_all, begun, latency):
    pipeline = layers_and_link(needs_all)
    times = pipeline.uncontended(np.zeros(1, np.int64))
    assert times[0][1].tolist() == [[3, 4, 5, 6]]  # delivered by the first layer
    assert times[1][1].tolist() == [[15, 17, 19, 21]]  # 3 + 2 + 10, then every 2 clocks
    assert times[2][0].tolist() == [begun]
    assert pipeline.latency() == latency
    found = simulate(pipeline, np.array([0, 8, 16, 24]))
    assert (found.done - found.arrivals).tolist() == [latency] * 4
    assert found.begun[0, 2].tolist() == [begun[0], begun[-1]]
    assert pipeline.work == (4.0, 8.0, 4.0)
    assert simulate(pipeline, np.zeros(6, np.int64)).interval == 8.0  # the links are the bottleneck


def test_what_the_latency_is_made_of_by_hand():
    steps = critical_path(layers_and_link(needs_all=True))
    assert [(step.flow, step.part, step.end - step.begin) for step in steps] == [
        ("a", "logic", 3),
        ("a to chip 1", "serialisation", 6),  # three beats before the last
        ("a to chip 1", "serialisation", 2),
        ("a to chip 1", "hops", 10),
        ("b", "tokens", 3),
        ("b", "logic", 2),
    ]
    assert parts(steps) == {"logic": 5, "tokens": 3, "serialisation": 8, "hops": 10}


def test_two_transfers_on_the_same_links_wait_for_each_other():
    """All beats are ready at once; alone each flow takes 4 clocks, together the first goes first."""
    shared = (Server("x"), Server("links", 1, True))
    flows = [Flow("a", 1, 2, 2), Flow("b", 1, 2, 2)]
    pipeline = Pipeline((*flows, Flow("end", 0, 1, 1, -1, (_both(0), _both(1)))), shared, (2,))
    assert pipeline.latency() == 4
    found = simulate(pipeline, np.zeros(1, np.int64))
    assert found.begun[0].tolist() == [[0, 2], [4, 6], [8, 8]]
    assert found.latency == 8
    assert pipeline.work[1] == 8.0


def _both(producer: int) -> Need:
    return Need(producer, np.array([2]), np.array([2]))


def test_what_waits_is_counted():
    """A fast layer before slow links: beats come every clock and leave every third."""
    step = np.arange(1, 7)
    flows = (Flow("a", 0, 6), Flow("links", 1, 6, 3, 0, (Need(0, step, step),)))
    pipeline = Pipeline(flows, (Server("a"), Server("links", 1, True)), (1,))
    waiting = pipeline.waiting(pipeline.uncontended(np.zeros(1, np.int64)))
    assert waiting.tolist() == [4]  # all six are there after clock 6, when two have left
    assert simulate(pipeline, np.zeros(1, np.int64)).most.tolist() == [4]


def test_flows_that_wait_for_each_other_are_told():
    flow = Flow("a", 0, 1, needs=(Need(0, np.array([1]), np.array([1])),))
    with pytest.raises(DataError, match="stands still"):
        simulate(Pipeline((flow,), (Server("a"),), (0,)), np.zeros(1, np.int64))


CHAIN = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(0, 20)), min_size=1, max_size=6)


@given(CHAIN)
@settings(deadline=None, max_examples=20)
def test_latency_of_lone_beats_is_the_sum_of_the_stages_and_throughput_the_least(chain):
    rates, sizes, latencies = map(list, zip(*chain))
    pipeline = one_after_another(rates, sizes, latencies)
    expected = sum(-(-size // rate) + latency for rate, size, latency in chain)
    assert pipeline.latency() == expected
    slow = -(-max(size / rate for rate, size, _ in chain) // 1)
    found = simulate(pipeline, np.arange(6) * int(slow))
    assert (found.done - found.arrivals <= expected).all()
    assert found.latency == expected
    many = simulate(pipeline, np.zeros(20, np.int64))
    assert many.interval == pytest.approx(max(pipeline.work), abs=1 / 5)


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(20, 400), st.integers(0, 6))
@settings(deadline=None, max_examples=20)
def test_any_plan_keeps_its_crossings_and_is_never_faster_than_without_contention(seed, links, bits, hop):
    plan = random_plan(seed)
    joined = dict.fromkeys(loads(plan), links)
    pipeline = build(plan, joined, bits, hop)
    arrivals = np.arange(4) * 7
    found, times = simulate(pipeline, arrivals), pipeline.uncontended(arrivals)
    alone = pipeline.done(times)
    assert (np.diff(found.done) >= 0).all()  # in order, each once
    assert (found.done >= alone).all()
    assert (found.most >= 0).all()
    if len({flow.server for flow in pipeline.flows}) == len(pipeline.flows):
        assert (found.done == alone).all()
        assert (found.most <= pipeline.waiting(times)).all()
        for flow, (begun, _) in enumerate(times):
            assert (found.begun[:, flow, 0] == begun[:, 0]).all()
            assert (found.begun[:, flow, 1] == begun[:, -1]).all()
    steps = critical_path(pipeline)
    assert steps[0].begin == 0
    assert steps[-1].end == pipeline.latency() == sum(parts(steps).values())
    assert [step.end for step in steps[:-1]] == [step.begin for step in steps[1:]]
    saturated = simulate(pipeline, np.zeros(5, np.int64))
    assert saturated.done[-1] >= 5 * max(pipeline.work)
    more = build(plan, dict.fromkeys(joined, links + 1), bits, hop)
    assert more.latency() <= pipeline.latency()
    assert max(more.work) <= max(pipeline.work)


@given(st.integers(0, 10_000), st.integers(10, 200), st.sampled_from([0, 10]))
@settings(deadline=None, max_examples=10)
def test_more_links_are_never_slower_though_transfers_share_them(seed, bits, apart):
    plan, arrivals = random_plan(seed), np.arange(3) * apart
    latencies = [simulate(build(plan, dict.fromkeys(loads(plan), n), bits, 3), arrivals).latency for n in (1, 2, 4, 64)]
    assert latencies == sorted(latencies, reverse=True)
