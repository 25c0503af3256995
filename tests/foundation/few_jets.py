"""A store of the sample's first few jets, for tests that need real ones."""

from __future__ import annotations

from pathlib import Path

import uproot

from foundation.store.ingest import ingest


def ingest_few(sample: Path, folder: Path, jets: int = 300) -> Path:
    """The first `jets` of the sample, in `folder/few.root` and, ingested, in the store `folder/store`."""
    with uproot.open(sample) as file, uproot.recreate(folder / "few.root") as few:
        columns = file["tree"].arrays(entry_stop=jets)
        few.mktree("tree", {name: columns[name].type.content for name in columns.fields})
        few["tree"].extend({name: columns[name] for name in columns.fields})
    return ingest([folder / "few.root"], schema="data/jets", out=folder / "store")
