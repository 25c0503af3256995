"""Detector conditions: nothing at size zero, what was asked for otherwise, and the truth of it beside each row."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema
from foundation.simulate import DetectorConfig, SimulateConfig
from foundation.simulate.columns import CHARGED_HADRON, NEUTRAL_HADRON, PHOTON
from foundation.simulate.conditions import NO_EFFECTS, draw_moments, effects, uniform_hash
from foundation.simulate.conditions_config import Change, ConditionsConfig, Kind
from foundation.simulate.config import check
from foundation.simulate.detector import Candidates, Particles, respond
from foundation.simulate.write import by_time

EVENTS = 40


@pytest.fixture(scope="module")
def particles() -> Particles:
    """A few thousand pions, photons and neutral hadrons of `EVENTS` events."""
    rng = np.random.default_rng(0)
    n = 4000
    pdgid = rng.choice([211, -211, 22, 130, 11, 13], n)
    pt, eta, phi = rng.exponential(5, n) + 0.6, rng.uniform(-2.9, 2.9, n), rng.uniform(-np.pi, np.pi, n)
    charge = np.select([np.isin(pdgid, [211]), np.isin(pdgid, [-211, 11, 13])], [1.0, -1.0], 0.0)
    return Particles(
        event=np.sort(rng.integers(EVENTS, size=n)),
        pdgid=pdgid,
        charge=charge,
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=pt * np.cosh(eta),
        x=rng.choice([0.0, -0.0, 0.3], n),
        y=np.zeros(n),
        z=rng.normal(0, 5, n),
    )


def seen(particles: Particles, *changes: Change, time: float = 5.0) -> Candidates:
    run = ConditionsConfig(10.0, changes)
    return respond(particles, DetectorConfig(), np.random.default_rng(7), effects(run, np.full(EVENTS, time)))


def directions(candidates: Candidates) -> list[tuple[float, ...]]:
    """Event, azimuth and slope, rounded: the same for a cell whatever its energy."""
    pt = np.hypot(candidates.px, candidates.py)
    columns = candidates.event, np.arctan2(candidates.py, candidates.px), candidates.pz / pt
    return [tuple(row) for row in np.round(np.stack(columns, axis=1), 6)]


def of(candidates: Candidates, kind: int) -> Candidates:
    chosen = candidates.kind == kind
    return Candidates(**{name: column[chosen] for name, column in vars(candidates).items()})


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("change", [{"size": 0.0}, {"size": 0.5, "start": 6.0}, {"size": 0.5, "end": 5.0}])
def test_a_change_of_size_zero_or_at_another_time_changes_no_bit(particles, kind, change):
    without = respond(particles, DetectorConfig(), np.random.default_rng(7))
    with_it = seen(particles, Change(kind, **change))
    for name, column in vars(without).items():
        assert column.tobytes() == vars(with_it)[name].tobytes(), name


def test_gains_scale_what_is_measured_where_they_act(particles):
    before = seen(particles)
    after = seen(particles, Change("hcal_gain", 0.1, eta=(0.0, 10.0)), Change("ecal_gain", 0.2))
    for kind, factor in ((PHOTON, 1.2), (NEUTRAL_HADRON, 1.1)):
        old, new = of(before, kind), of(after, kind)
        # More energy lifts cells over the threshold: those that were above it before are found again.
        where = dict(zip(directions(new), new.energy))
        ratio = np.array([where[direction] for direction in directions(old)]) / old.energy
        inside = (old.pz > 0) | (kind == PHOTON)
        assert np.allclose(ratio[inside], factor, rtol=1e-12)
        assert np.allclose(ratio[~inside], 1, rtol=1e-12)


def test_changes_that_add_up_to_less_than_nothing_leave_nothing(particles):
    lost = [Change("ecal_gain", -0.7, name=name) for name in ("one", "other")]
    assert len(of(seen(particles, *lost), PHOTON).energy) == 0
    fewer = tuple(Change("pileup", -0.7, name=name) for name in ("one", "other"))
    assert effects(ConditionsConfig(10.0, fewer), np.array([5.0])).pileup().tolist() == [0]


def test_dead_channels_are_the_fraction_asked_for_stay_dead_and_grow():
    cells = np.stack([grid.ravel() for grid in np.meshgrid(np.arange(-30, 30), np.arange(72))])
    event, nowhere = np.zeros(cells.shape[1], int), np.zeros(cells.shape[1])
    for size in (0.05, 0.2):
        run = effects(ConditionsConfig(1.0, (Change("hcal_dead", size),)), np.array([0.5]))
        dead = run.dead("hcal", event, nowhere, nowhere, (cells[0], cells[1]))
        assert abs(dead.mean() - size) < 4 * math.sqrt(size / len(dead))
        assert not run.dead("ecal", event, nowhere, nowhere, (cells[0], cells[1])).any()
    ramp = effects(ConditionsConfig(1.0, (Change("hcal_dead", 0.3, end=1.0, profile="ramp"),)), np.linspace(0, 1, 11))
    history = [ramp.dead("hcal", event + i, nowhere, nowhere, (cells[0], cells[1])) for i in range(11)]
    assert not history[0].any()
    assert all((earlier <= later).all() for earlier, later in itertools.pairwise(history))


def test_a_dead_sector_is_empty_and_the_rest_untouched(particles):
    sector = Change("hcal_dead", 1.0, eta=(-3.0, -1.3), phi=(3.0, -2.5))  # straddles pi
    before, after = of(seen(particles), NEUTRAL_HADRON), of(seen(particles, sector), NEUTRAL_HADRON)
    eta, phi = np.arcsinh(before.pz / np.hypot(before.px, before.py)), np.arctan2(before.py, before.px)
    inside = (eta < -1.3) & (eta > -3) & ((phi > 3.0) | (phi < -2.5))
    assert inside.sum() > 20
    assert np.array_equal(before.energy[~inside], after.energy)


def test_lost_tracks_are_some_of_those_found_and_leave_their_energy(particles):
    before, after = seen(particles), seen(particles, Change("track_loss", 0.3))
    kept = np.isin(of(before, CHARGED_HADRON).event, range(EVENTS)).sum()
    assert abs(len(of(after, CHARGED_HADRON).event) / kept - 0.7) < 0.05
    assert of(after, NEUTRAL_HADRON).energy.sum() > of(before, NEUTRAL_HADRON).energy.sum()


def test_a_moved_beam_spot_shows_in_the_impact_parameters(particles):
    exact = dataclasses.replace(DetectorConfig(), d0_constant=0.0, d0_scattering=0.0, magnetic_field=1e-6)
    run = effects(ConditionsConfig(1.0, (Change("beam_spot_x", 0.5), Change("beam_spot_y", -0.2))), np.zeros(EVENTS))
    at_origin = dataclasses.replace(particles, x=np.zeros(len(particles.x)))
    tracks = of(respond(at_origin, exact, np.random.default_rng(1), run), CHARGED_HADRON)
    phi = np.arctan2(tracks.py, tracks.px)
    assert np.allclose(tracks.d0, -0.5 * np.sin(phi) - 0.2 * np.cos(phi), atol=1e-4)


def test_effects_are_those_of_the_event(particles):
    run = effects(ConditionsConfig(40.0, (Change("pileup", 1.0, end=40.0, profile="ramp"),)), np.arange(40.0))
    assert np.allclose(run.pileup(), 1 + np.arange(40) / 40)
    assert np.allclose(run[np.array([20, 3])].pileup(), [1.5, 1 + 3 / 40])
    late = Change("track_loss", 1.0, start=20.0)
    then = effects(ConditionsConfig(40.0, (late,)), np.arange(40.0))
    tracks = of(respond(particles, DetectorConfig(), np.random.default_rng(7), then), CHARGED_HADRON)
    assert set(np.unique(tracks.event)) == set(range(20))


@given(st.floats(-2, 2), st.floats(0, 10), st.floats(0.01, 10), st.floats(0, 20))
@settings(max_examples=50)
def test_profiles(size, start, length, time):
    end, at = start + length, np.array([time])
    step = Change("hcal_gain", size, start, end).value(at)[0]
    ramp = Change("hcal_gain", size, start, end, "ramp").value(at)[0]
    assert step == (size if start <= time < end else 0.0)
    assert ramp == pytest.approx(size * min(max((time - start) / length, 0), 1))
    assert Change("hcal_gain", size, start).value(np.array([1e9]))[0] == size


@given(st.integers(-(2**40), 2**40), st.integers(0, 1000))
def test_hash_is_a_function_into_the_unit_interval(cell, salt):
    value = uniform_hash(np.array([cell]), np.array([3]), salt)[0]
    assert 0 <= value < 1
    assert value == uniform_hash(np.array([cell]), np.array([3]), salt)[0]
    assert value != uniform_hash(np.array([cell]), np.array([4]), salt)[0]


def test_moments_lie_in_their_part_of_the_run_and_rows_are_ordered():
    run = ConditionsConfig(100.0, (Change("track_loss", 0.2, start=30.0),))
    moments = draw_moments(run, (0.2, 0.4), 50, np.random.default_rng(0))
    assert (moments.time >= 20).all()
    assert (moments.time < 40).all()
    columns = moments.columns(np.array([4, 1]))
    assert list(columns) == ["time", "condition_track_loss"]
    assert np.array_equal(columns["condition_track_loss"], np.float32(0.2) * (columns["time"] >= 30))
    ordered = by_time({"time": np.array([3.0, 1.0, 1.0]), "n": np.array([0, 1, 2])})
    assert ordered["n"].tolist() == [1, 2, 0]
    nothing = draw_moments(ConditionsConfig(), (0.0, 1.0), 50, np.random.default_rng(0))
    assert nothing.columns(np.array([1])) == {}
    assert nothing.effects is NO_EFFECTS


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"run_seconds": 0.0, "changes": (Change("hcal_gain", 0.1),)}, "set conditions.run_seconds"),
        ({"run_seconds": -1.0}, "no length"),
        ({"changes": (Change("track_loss", 1.2),)}, "track_loss: size = 1.2 is not a fraction"),
        ({"changes": (Change("hcal_gain", -1.5),)}, "cannot be negative"),
        ({"changes": (Change("hcal_gain", math.nan),)}, "size = nan"),
        ({"changes": (Change("hcal_gain", 0.1, 5.0, 5.0),)}, "starts at 5.0 s and ends at 5.0 s"),
        ({"changes": (Change("hcal_gain", 0.1, profile="ramp"),)}, "needs an end"),
        ({"changes": (Change("hcal_gain", 0.1), Change("hcal_gain", 0.2))}, "name of its own"),
        ({"changes": (Change("hcal_dead", 0.1, eta=(1.0, -1.0)),)}, "is empty"),
        ({"changes": (Change("beam_spot_x", 0.1, eta=(1.0, 2.0)),)}, "whole collisions"),
        ({"changes": (Change("pileup", 0.1),)}, "no pile-up that could change"),
    ],
)
def test_runs_that_cannot_be_are_refused(run, message):
    with pytest.raises(ConfigError, match=message):
        check(dataclasses.replace(SimulateConfig(), conditions=ConditionsConfig(**{"run_seconds": 10.0, **run})))


def test_the_preset_has_a_schema_that_reads_its_truth():
    cfg = load_config(SimulateConfig, "simulate/conditions")
    check(cfg)
    jets, run = (load_config(DetectorSchema, f"data/{name}") for name in ("jets", "jetrun"))
    columns = {"time", *(change.column for change in cfg.conditions.changes)}
    assert set(run.observers) - set(jets.observers) == columns
    assert (run.modalities, run.labels, run.split) == (jets.modalities, jets.labels, jets.split)
