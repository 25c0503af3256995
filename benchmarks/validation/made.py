"""Samples that the studies need, made once and kept in a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import awkward as ak
import uproot

from foundation.command import to_dict
from foundation.simulate import SimulateConfig
from foundation.simulate.engine import simulate
from foundation.simulate.write import read_metadata


def sample(name: str, cfg: SimulateConfig, folder: Path) -> ak.Array:
    """The rows of `folder`/NAME.root, which is made if it is not there with these settings."""
    path = folder / f"{name}.root"
    found = read_metadata(path) if path.exists() else None
    if found is None or found["settings"] != json.loads(json.dumps(to_dict(cfg))):
        simulate(cfg, path, processes=os.cpu_count() or 1, overwrite=True)
    with uproot.open(path) as file:
        return file["tree"].arrays()
