"""The smallest system that keeps all limits.

One free number decides most: how many clocks each layer takes for the tokens of a crossing. Fewer clocks are more lanes
of logic and a shorter latency; more clocks are more copies of a smaller pipeline. All of them are tried, the stages of
each by dynamic programming, and the systems found are simulated, the smallest first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass

import numpy as np

from distill_to_fpga.partition.config import PartitionConfig
from distill_to_fpga.partition.network import Network
from distill_to_fpga.partition.plan import Plan
from distill_to_fpga.partition.simulate import Simulation, simulate
from distill_to_fpga.partition.stages import Cutter, Limits
from distill_to_fpga.partition.system import LOGIC, RESOURCES, System, Violation, allowed, with_products
from foundation.errors import ConfigError

ATTEMPTS = 4  # to tighten resources that a plan breaks
LINKS = tuple(sorted({n for i in range(9) for n in (2**i, 3 * 2**i)}))  # of a chip that a plan is made for
MORE_COPIES = (1.0, 1.25, 1.5, 2.0)  # than the fewest: each has more time for its links
LEAST_CROSSINGS = 8
NAMES = {text: name for name, text in RESOURCES.items()}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A system that was tried.

    Attributes:
        beats: clocks that each layer takes for the tokens of a crossing.
        system: None where the network cannot be cut so.
        violations: limits that it breaks, the worst first: without contention, or as simulated.
        simulation: of crossings at the rate asked; None where it was not simulated.
    """

    beats: int
    copies: int
    system: System | None
    violations: tuple[Violation, ...]
    simulation: Simulation | None = None

    @property
    def worst(self) -> float:
        return max((violation.factor for violation in self.violations), default=1.0)


@dataclass(frozen=True, eq=False)
class Found:
    """What the search found.

    Attributes:
        best: the smallest system that keeps all limits; else the one that misses them least.
        tried: all, by beats.
    """

    best: Candidate
    tried: tuple[Candidate, ...]


def search(network: Network, cfg: PartitionConfig) -> Found:
    """Tries systems of all numbers of beats.

    Raises:
        ConfigError: `lanes` or `copies` are fixed to what cannot be: a copy would get crossings faster than it takes
            them.
    """
    tried: list[Candidate] = []
    least = math.inf
    for beats in _beats(network, cfg):
        copies = max(math.ceil(beats / cfg.clocks_between(1)), 1)
        if cfg.copies and cfg.copies < copies:
            continue
        if (cfg.copies or copies) * least_chips(network, cfg, beats) >= least:
            continue
        candidate = _cut(network, cfg, beats, copies, least)
        tried.append(candidate)
        if candidate.system is not None and not candidate.violations:
            least = min(least, candidate.system.chips)
    if not tried:
        raise ConfigError(
            f"copies {cfg.copies}, lanes {cfg.lanes}: a copy would get crossings faster than it takes them"
        )
    return _simulated(tried)


def least_chips(network: Network, cfg: PartitionConfig, beats: int) -> int:
    """No plan of one copy has fewer chips: all logic, spread without any loss."""
    total, most = np.array([astuple(network.total(beats))]), np.array([allowed(cfg, name) for name in LOGIC])
    chips = 1
    while (with_products(total / chips, cfg, network.product_bits) > most).any():
        chips += 1
    return chips


def _beats(network: Network, cfg: PartitionConfig) -> list[int]:
    """Numbers of clocks to try, the most first."""
    if network.unrolled or cfg.lanes:
        return [network.beats(max(cfg.lanes, 1))]
    return sorted({network.beats(lanes) for lanes in range(1, network.tokens + 1)}, reverse=True)


def _cut(network: Network, cfg: PartitionConfig, beats: int, fewest: int, known: float) -> Candidate:
    """The best system of so many beats, of the fewest copies or some more; no larger than the `known` one can be."""
    found: Candidate | None = None
    for copies in [cfg.copies] if cfg.copies else sorted({math.ceil(fewest * more) for more in MORE_COPIES}):
        if found is not None and copies * least_chips(network, cfg, beats) >= min(known, _size(found)):
            break
        candidate = _of_copies(network, cfg, beats, copies, known)
        found = candidate if found is None or _order(candidate) < _order(found) else found
    assert found is not None
    return found


def _of_copies(network: Network, cfg: PartitionConfig, beats: int, copies: int, known: float) -> Candidate:
    """The system made for the most links that turns out to need no more than there are."""
    found: Candidate | None = None
    for links in [cfg.links.per_chip, *(n for n in reversed(LINKS) if n < cfg.links.per_chip)]:
        candidate = _attempt(network, cfg, beats, copies, links, known)
        if candidate.system is None:
            return found or candidate
        found = candidate if found is None or _order(candidate) < _order(found) else found
        if not any(violation.limit.startswith("links") for violation in candidate.violations):
            break
    assert found is not None
    return found


def _attempt(network: Network, cfg: PartitionConfig, beats: int, copies: int, links: int, known: float) -> Candidate:
    """Stages for limits that are tightened until the plan, with all that waits in it, keeps the true ones. One of more
    chips than there are is not looked at any further once a system is `known`."""
    limits, best = Limits(links), None
    for _ in range(ATTEMPTS):
        stages = Cutter(network, cfg, beats, copies, limits).stages()
        if isinstance(stages, Violation):
            return best or Candidate(beats, copies, None, (stages,))
        system = System(Plan(network, stages, beats, copies), cfg)
        if system.chips > cfg.goal.chips and known < math.inf:
            return best or Candidate(beats, copies, None, (system.size(),))
        violations = tuple(system.lacking_links()) or system.violations(system.waiting, system.latency_clocks)
        candidate = Candidate(beats, copies, system, violations)
        best = candidate if best is None or _order(candidate) < _order(best) else best
        broken = dict(_broken(violations))
        if not broken:
            break
        limits = limits.tightened(broken)
    assert best is not None
    return best


def _size(candidate: Candidate) -> float:
    """Chips of a system that keeps all limits."""
    return candidate.system.chips if candidate.system is not None and not candidate.violations else math.inf


def _broken(violations: tuple[Violation, ...]) -> Iterator[tuple[str, float]]:
    """Resources that a chip lacks, and how much; the worst comes last."""
    for violation in reversed(violations):
        if violation.limit in NAMES:
            yield NAMES[violation.limit], violation.factor


def _simulated(tried: list[Candidate]) -> Found:
    """The first that keeps the limits in the simulation, too."""
    systems = [each for each in tried if each.system is not None]
    if not systems:
        return Found(min(tried, key=lambda each: each.worst), tuple(tried))
    seen: dict[int, Candidate] = {}
    for each in sorted(systems, key=_order):
        if each.violations and seen:
            break
        seen[each.beats] = run(each)
        if not seen[each.beats].violations:
            break
    best = min(seen.values(), key=_order)
    return Found(best, tuple(seen.get(each.beats, each) for each in tried))


def _order(candidate: Candidate) -> tuple[float, float]:
    """The smallest that keeps all limits first, then the fastest; then those that miss them least."""
    system = candidate.system
    if system is None or candidate.violations:
        return (math.inf, candidate.worst)
    return (system.chips, system.latency_clocks)


def run(candidate: Candidate) -> Candidate:
    """The candidate with what the simulation says of it."""
    system = candidate.system
    assert system is not None
    crossings = system.cfg.crossings or max(3 * system.under_way, LEAST_CROSSINGS)
    simulation = simulate(system.pipeline, system.arrivals(crossings))
    violations = system.violations(simulation.most, simulation.latency)
    return Candidate(candidate.beats, candidate.copies, system, violations, simulation)
