"""The physics of `detfm simulate`: peaks, multiplicities, spectra, closure, substructure, real jets, views, conditions.

python benchmarks/physics.py [--quick] [--cache FOLDER]

Writes the pictures of docs/physics-validation.md to docs/img. `--quick` makes smaller samples and no pictures.
Samples are kept in the cache, if one is given, and made again only if their settings change.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness import publish
from validation import crossings, dijets, guns, real, run, shipped, views

IMAGES = Path(__file__).parents[1] / "docs" / "img"
GOALS = {
    "W_peak": "80.4 +- 2 GeV",
    "Z_peak": "91.2 +- 2 GeV",
    "H_peak": "125.2 +- 5 GeV",
    "top_peak": "172.6 +- 4 GeV",
    "gluon_quark_multiplicity": "1.3 to 1.6",
    "spectrum_power_300_600": "4.5 to 6",
    "cross_section_600_ratio": "1 within its error",
    "track_pt_closure": "<= 0.03",
    "ecal_resolution_closure": "<= 0.03",
    "hcal_resolution_closure": "<= 0.03",
    "views_parton_difference": "0",
    "rho_nonlinearity": "<= 0.05",
}


def studies(quick: bool, folder: Path | None, cache: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """Name -> study."""
    jets = shipped.read_sample()
    small = 16 if quick else 1  # divides the number of generated events
    found = {
        "masses": lambda: shipped.masses(jets, folder),
        "flavours": lambda: shipped.flavours(jets, folder),
        "substructure": lambda: shipped.substructure(jets, folder),
        "tracks": lambda: guns.tracks(folder),
        "calorimeters": lambda: guns.calorimeters(folder),
        "dijets": lambda: _dijets(6000 // small, folder),
        "views": lambda: views.study(folder, cache, 300 // small),
        "conditions": lambda: run.study(folder, cache, 500 // small),
        "rho": lambda: crossings.density(folder, cache, max(24 // small, 2)),
    }
    if real.SHARED.is_dir():
        found["landscape"] = lambda: real.landscape(folder, cache, 400 // small)
        found["jetclass"] = lambda: real.jetclass(folder, cache, 400 // small)
    if crossings.SHARED.exists():
        found["objects"] = lambda: crossings.objects(folder, cache, 200 // small)
    return found


def _dijets(events: int, folder: Path | None) -> dict[str, float]:
    made = dijets.generate(events)
    return dijets.spectrum(made, folder) | dijets.response(made, folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cache", type=Path, default=None)
    arguments = parser.parse_args()
    folder = None if arguments.quick else IMAGES
    figures: dict[str, float | int | None] = {}
    with tempfile.TemporaryDirectory() as temporary:
        cache = arguments.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        for study in studies(arguments.quick, folder, cache).values():
            figures |= study()
    publish("physics", figures, GOALS)


if __name__ == "__main__":
    main()
