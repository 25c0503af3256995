"""Settings of whole events: what is refused before anything is generated, and how the work is divided."""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext

import pytest

from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.simulate.conditions_config import Change, ConditionsConfig
from foundation.simulate.config import SimulateConfig, check
from foundation.simulate.event_processes import EVENT_PROCESSES, process_settings
from foundation.simulate.events_config import (
    CalorimeterConfig,
    EnrichmentConfig,
    EventsConfig,
    PileupConfig,
    TrackerConfig,
)
from foundation.simulate.plan import enriched_bin, event_blocks, plan_events


def events(**settings) -> SimulateConfig:
    return SimulateConfig(sample="events", events=EventsConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"processes": {"ttbarr": 5}}, "ttbar"),
        ({"processes": {}}, "known: zero_bias, qcd"),
        ({"processes": {"qcd": 0}}, "at least 1"),
        ({"processes": {"qcd": 5}, "parameters": {"qcd": {"ptmin": 3}}}, "known: pt_min"),
        ({"parameters": {"haa4b": {"m_a": 70}}}, r"a mass = 125 GeV .* not above .* 70 \+ 70"),
        ({"parameters": {"haa4b": {"m_a": 9}}}, "m_a = 9 GeV is not above"),
        ({"parameters": {"wprime": {"m_x": 3450}}}, "m_resonance = 3500 GeV"),
        ({"parameters": {"hidden_valley": {"r_inv": 1.5}}}, "out of range"),
        ({"parameters": {"wprime": {"m_x": math.inf}}}, "out of range"),
        ({"processes": {"wprime": 5}, "parameters": {"wprime": {"m_resonance": 2e4}}}, "wprime: above the threshold"),
        ({"processes": {"leptoquark": 5}, "parameters": {"leptoquark": {"m_lq": 7e3}}}, r"7000 \+ 7000 GeV are needed"),
        ({"processes": {"qcd": 5}, "parameters": {"qcd": {"pt_min": 8e3}}}, "qcd: above the threshold"),
        ({"processes": {"z_ee": 5}, "parameters": {"z_ee": {"m_min": 14e3}}}, "z_ee: above the threshold"),
        ({"calorimeter": CalorimeterConfig(hadron_loss=math.nan)}, "hadron_loss: nan"),
        ({"pileup": PileupConfig(mean=300)}, "0 to 200"),
        ({"pileup": PileupConfig(pool=0)}, "pool of at least one"),
        ({"pileup": PileupConfig(mean=-1)}, "out of range"),
        ({"collections": ("towers",)}, "tower"),
        ({"tracker": TrackerConfig(hadron_efficiency=1.2)}, "tracker.hadron_efficiency"),
        ({"calorimeter": CalorimeterConfig(tower_lsb=0)}, "tower_lsb must be positive"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_generated(settings, message):
    with pytest.raises(ConfigError, match=message):
        check(events(**settings))


def test_conditions_do_not_raise_the_pile_up_beyond_what_the_overlay_is_made_for():
    cfg = events(pileup=PileupConfig(mean=150))
    for size, refused in ((0.3, False), (3.0, True)):
        run = ConditionsConfig(run_seconds=10, changes=(Change("pileup", size),))
        changed = dataclasses.replace(cfg, conditions=run)
        with pytest.raises(ConfigError, match=r"150, times 4 by cond.* 0 to 200") if refused else nullcontext():
            check(changed)


@pytest.mark.parametrize("name", [name for name in EVENT_PROCESSES if name != "zero_bias"])
def test_the_beams_must_reach_the_threshold_of_every_process(name):
    cfg = events(processes={name: 5})
    check(dataclasses.replace(cfg, beam_energy=13_000.0))
    with pytest.raises(ConfigError, match=rf"{name}: above the threshold: .* beam_energy is 50 GeV"):
        check(dataclasses.replace(cfg, beam_energy=50.0))


@pytest.mark.parametrize("preset", ["zerobias", "signals", "ttbar_pu200"])
def test_the_shipped_presets_are_whole_events(preset):
    cfg = load_config(SimulateConfig, f"simulate/{preset}")
    check(cfg)
    assert cfg.sample == "events"
    assert plan_events(cfg).rows == sum(cfg.events.processes.values())


def test_every_process_has_its_own_index_and_complete_settings():
    assert len({process.index for process in EVENT_PROCESSES.values()}) == len(EVENT_PROCESSES)
    for name in EVENT_PROCESSES:
        assert not any("{" in setting for setting in process_settings(name, {}))
    assert "37:m0 = 321" in process_settings("wprime", {"m_x": 321})


def test_processes_are_spread_evenly_over_the_blocks():
    cfg = events(processes={"zero_bias": 350, "ttbar": 7, "qcd": 2})
    plan = plan_events(cfg)
    assert event_blocks(cfg) == len(plan.blocks) == 4
    for name, count in cfg.events.processes.items():
        rows = [task.rows for task in plan.tasks if task.name == name]
        assert sum(rows) == count
        assert max(rows) - min(rows) <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pthat_edges": (20.0, 50.0), "crossings": (5, 5, 5)}, r"\[5, 5, 5\] for 2 bins"),
        ({"pthat_edges": (20.0, 50.0)}, "for 2 bins"),
        ({"crossings": (5,)}, "for 0 bins"),
        ({"pthat_edges": (50.0, 20.0), "crossings": (5,)}, "must ascend"),
        ({"pthat_edges": (20.0, 8e3), "crossings": (5,)}, "below half of beam_energy"),
        ({"pthat_edges": (20.0,), "crossings": (0,)}, "at least 1"),
        ({"pthat_edges": (20.0,), "crossings": (5,), "pool": 0}, "pool = 0"),
    ],
)
def test_impossible_enrichment_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        check(events(enrichment=EnrichmentConfig(**settings)))


def test_enrichment_needs_plain_zero_bias_to_weigh_against():
    enrichment = EnrichmentConfig(pthat_edges=(20.0,), crossings=(5,))
    check(events(enrichment=enrichment))
    for changed in ({"processes": {"ttbar": 5}}, {"pileup": PileupConfig(mean=0)}):
        with pytest.raises(ConfigError, match=r"processes.zero_bias and events.pileup.mean"):
            check(events(enrichment=enrichment, **changed))


def test_enriched_crossings_are_spread_over_the_blocks_beside_the_plain_ones():
    cfg = load_config(SimulateConfig, "simulate/zerobias_enriched")
    check(cfg)
    bins = len(cfg.events.enrichment.bins)
    plan = plan_events(cfg)
    assert plan.rows == 10_000 + bins * 2_500
    assert all(block[0].name == "zero_bias" for block in plan.blocks)
    assert {task.rows for task in plan.tasks} == {100}
    assert sorted({enriched_bin(task.name) for task in plan.tasks} - {None}) == list(range(bins))
