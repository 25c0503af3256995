"""A published encoder: the same weights, a true card, nothing of the machine it was made on, and every change named."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from flax import nnx
from synthetic_store import write_jets

from foundation.embedding import input_statistics
from foundation.errors import ConfigError, RunError
from foundation.models import Encoder, EncoderConfig, load_encoder, save_encoder
from foundation.models.published import STAGE, check_files, data_of, variables
from foundation.runs import Run
from foundation.store import Store
from pretrain.config import PretrainConfig
from pretrain.publish import PublishConfig, publish

CONFIG = PretrainConfig(encoder=EncoderConfig(width=8, layers=1, heads=2))
CARD = PublishConfig(name="jets-8", licence="CC-BY-4.0", authors=("A. Physicist",), limits="Only for tests.")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A pretrain run as it looks when it has finished."""
    folder = tmp_path_factory.mktemp("published")
    store = write_jets(folder / "store", 60, 2, features=3, labels=2)
    encoder = Encoder(store.schema, input_statistics(store), CONFIG.encoder, rngs=nnx.Rngs(5))
    made = Run.create(folder / "run", "pretrain", config=CONFIG, schema=store.schema, inputs={"store": store.path})
    save_encoder(made.path, encoder)
    rows = [{"step": 1, "loss": 0.9}, {"step": 2, "loss": 0.25}, {"step": 2, "effective_rank": 5.5}]
    (made.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made.write("metrics.json", {"parameters": 1234, "probe_accuracy": 0.75})
    return made


@pytest.fixture(scope="module")
def published(run) -> Run:
    return publish(run.path, cfg=CARD, out=run.path.parent / "out")


def test_the_weights_are_those_of_the_run(run, published):
    ours, theirs = variables(load_encoder(run.path)), variables(load_encoder(published.path))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)
    with np.load(published.path / "weights.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["blocks/0/feed/up/kernel"], ours["blocks/0/feed/up/kernel"])


def test_the_card_says_what_the_run_knows(run, published):
    text = (published.path / "README.md").read_text()
    store = Store.open(run.input("store"))
    for expected in (
        "# jets-8", "CC-BY-4.0", "A. Physicist", "Only for tests.", store.checksum, "| train | 60 |", "accuracy | 0.75",
        "loss | 0.25", "masked (1)", "`f0`", "c0", "detfm finetune FOLDER --store STORE", "8 numbers per example",
    ):  # fmt: skip
        assert expected in text, expected
    assert published.config(PretrainConfig) == CONFIG
    assert published.provenance["data"]["splits"]["train"]["rows"] == 60


def test_it_names_no_folder_of_this_machine(run, published):
    home = str(run.path.parent)
    assert home in (run.path / "provenance.json").read_text()
    for path in published.path.iterdir():
        if path.suffix != ".npz":
            assert home not in path.read_text(), path.name


def test_without_a_licence_the_card_says_so(run, tmp_path, capsys):
    found = publish(run.path, cfg=PublishConfig(), out=tmp_path / "out")
    assert "nobody but its authors may use these weights" in (found.path / "README.md").read_text()
    assert "no licence is stated" in capsys.readouterr().err
    assert found.provenance["name"] == "run"


@pytest.mark.parametrize("name", ["weights.npz", "encoder.yaml", "schema.yaml", "config.yaml", "README.md"])
def test_a_changed_file_is_named(published, tmp_path, name):
    copy = shutil.copytree(published.path, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(RunError, match=f"{name} differs"):
        load_encoder(copy)


def test_a_lost_file_and_a_changed_provenance_are_named(published, tmp_path):
    copy = shutil.copytree(published.path, tmp_path / "copy")
    assert check_files(copy) == 7
    (copy / "README.md").unlink()
    with pytest.raises(RunError, match=r"README\.md is gone"):
        load_encoder(copy)
    shutil.copy(published.path / "README.md", copy)
    path = copy / "provenance.json"
    path.write_text(path.read_text().replace("CC-BY-4.0", "CC0"))
    with pytest.raises(RunError, match=r"provenance\.json: damaged"):
        load_encoder(copy)
    path.write_text("{")
    with pytest.raises(RunError, match=r"provenance\.json: damaged"):
        Run.open(copy, STAGE)


def test_an_unfinished_run_and_another_stage_are_refused(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    with pytest.raises(RunError, match="did not finish"):
        publish(copy, cfg=CARD, out=tmp_path / "out")
    with pytest.raises(RunError, match="not a run folder"):
        publish(run.input("store"), cfg=CARD, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_else_is_overwritten(run, tmp_path):
    with pytest.raises(ConfigError, match="inside the run"):
        publish(run.path, cfg=CARD, out=run.path / "out")
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError):
        publish(run.path, cfg=CARD, out=out, overwrite=True)
    assert (out / "thesis.tex").is_file()
    again = publish(run.path, cfg=CARD, out=tmp_path / "again")
    with pytest.raises(RunError, match="overwrite"):
        publish(run.path, cfg=CARD, out=again.path)
    other = dataclasses.replace(CARD, licence="MIT")
    publish(run.path, cfg=other, out=again.path, overwrite=True)
    assert again.provenance["card"]["licence"] == "MIT"
    assert not list(tmp_path.glob(".*"))


def test_a_run_whose_store_is_gone_can_still_be_published(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    record = json.loads((copy / "provenance.json").read_text())
    record["inputs"]["store"] |= {"path": str(tmp_path / "gone"), "relative": "gone"}
    (copy / "provenance.json").write_text(json.dumps(record))
    found = publish(copy, cfg=CARD, out=tmp_path / "out")
    text = (found.path / "README.md").read_text()
    assert record["inputs"]["store"]["sha256"] in text
    assert "not at hand" in text


def test_it_comes_without_data(run, published):
    with pytest.raises(RunError, match="--store"):
        data_of(published, None)
    assert data_of(published, run.input("store")) == run.input("store")
    assert data_of(run, None) == run.input("store")
