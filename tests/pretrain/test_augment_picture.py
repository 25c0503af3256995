"""`detfm inspect --augment`: which augmentations are drawn, and what the pictures say of them."""

from pathlib import Path

import jax
import matplotlib.image
import numpy as np
import pytest
from few_jets import ingest_few

from foundation.cli import main
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema
from foundation.store import Store
from pretrain.augment.compare import COPIES, changes_of, copies, pair_of
from pretrain.augment.picture import draw, panel_of, summary

SAMPLE = Path(__file__).parents[2] / "samples" / "jets.root"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return ingest_few(SAMPLE, tmp_path_factory.mktemp("jets"), 60)


def write(folder: Path, text: str) -> str:
    (folder / "cfg.yaml").write_text(text)
    return str(folder / "cfg.yaml")


def test_a_picture_of_what_the_settings_switch_on(store, tmp_path, capsys):
    off = ", ".join(f"{n}: {{probability: 0}}" for n in ("splitting", "smearing", "dropout", "rotation", "translation"))
    cfg = write(tmp_path, f"augment: {{{off}, dead_region: {{probability: 0.1, eta: 0.2, phi: 0.2}}}}")
    out = tmp_path / "picture.png"
    assert main(["inspect", str(store), "--augment", "--event", "3", "--cfg", cfg, "--out", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert matplotlib.image.imread(out).std() > 0.05
    data = Store.open(store)
    changes = changes_of(data.schema, cfg)
    assert list(changes) == ["dead_region"]
    before, after = pair_of(copies(data, 3, "train"), data.schema, changes["dead_region"])
    pt = before.tokens["particles"][:, 0]
    np.testing.assert_array_equal(pt[~before.other["particles"]], after.tokens["particles"][:, 0])
    assert before.other["particles"].any()
    assert not after.other["particles"].any()
    panel = panel_of(data.schema)
    assert summary(before, data.schema, panel).startswith(f"{len(pt)} tokens\n$\\Sigma$ $p_{{T}}$ {pt.sum():,.4g} GeV")
    titles = [ax.get_title("left") for ax in draw({"dead_region": (before, after)}, data.schema, panel, "").axes]
    assert titles == ["dead region", ""]


def test_copies_of_the_event_come_first_and_have_slots_to_spare(store):
    data = Store.open(store)
    batch = copies(data, 3, "train")
    assert np.all(np.asarray(batch.index)[:COPIES] == 3)
    assert not np.asarray(batch.modalities["particles"].mask).all(axis=1).any()
    assert all(len(leaf) == len(batch.index) for leaf in jax.tree.leaves(batch))


def test_without_settings_every_augmentation_that_the_schema_can_carry():
    jets = changes_of(DetectorSchema.load("data/jets"))
    assert {"pileup", "dead_cells", "eta_flip", "rotation", "anomaly: added", "anomaly: pt"} <= jets.keys()
    assert not {"phi_rotation", "vertex", "modality_dropout", "anomaly: met"} & jets.keys()
    events = changes_of(DetectorSchema.load("data/l1events"))
    assert {"phi_rotation", "vertex", "modality_dropout", "anomaly: met"} <= events.keys()
    assert "rotation" not in events


def test_what_cannot_be_drawn_is_said(store, tmp_path, capsys):
    assert main(["inspect", str(SAMPLE), "--augment"]) == 2
    assert "is not a store; --augment draws a row of one" in capsys.readouterr().err
    assert main(["inspect", str(store), "--cfg", "quickstart/pretrain"]) == 2
    assert "--cfg is read with --augment only" in capsys.readouterr().err
    cfg = write(tmp_path, "augment: {phi_rotation: {probability: 0.5}}")
    assert main(["inspect", str(store), "--augment", "--cfg", cfg]) == 2
    assert "augment.phi_rotation: no modality of schema 'jets' has an azimuth" in capsys.readouterr().err
    waves = {"name": "w", "modalities": {"adc": {"features": {"adc": {"expression": "a"}}}}}
    with pytest.raises(ConfigError, match="nothing to draw"):
        panel_of(DetectorSchema.load(waves))
