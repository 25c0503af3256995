"""`detfm evaluate` and `detfm compare` of finetune runs: what they write, what they refuse, shifts that were put in."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from few_jets import ingest_few

from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.evaluate import EvaluateConfig, evaluate_tagger
from finetune.saved import load_tagger
from finetune.shift import input_shift, performance_shift
from foundation.cli import main
from foundation.embedding import embed
from foundation.metrics_bootstrap import Bootstrap
from foundation.models import EncoderConfig
from foundation.predictions import Predictions
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest
from foundation.train import TrainConfig

pytestmark = pytest.mark.slow
FEW = EvaluateConfig(replicas=20, mass="none", bins={"jet_pt": []})


def changed(source, path, **columns):
    """A copy of a file with some columns replaced."""
    with uproot.open(source) as file, uproot.recreate(path) as made:
        rows = file["tree"].arrays()
        for name, change in columns.items():
            rows[name] = change(rows[name])
        made.mktree("tree", {name: rows[name].type.content for name in rows.fields})
        made["tree"].extend({name: rows[name] for name in rows.fields})
    return path


@pytest.fixture(scope="module")
def line(sample, tmp_path_factory):
    """store -> two taggers of different seeds -> their evaluations; one against jets of larger impact parameters."""
    root = tmp_path_factory.mktemp("line")
    store = ingest_few(sample, root, 600)
    moved = changed(root / "few.root", root / "moved.root", part_d0val=lambda x: 20 * x, jet_pt=lambda x: x * 1.0001)
    other = ingest([moved], schema="data/jets", out=root / "other")
    small = {"encoder": EncoderConfig(width=8, layers=1, heads=2), "buckets": 1, "batch_size": 64}
    for seed in (0, 1):
        cfg = FinetuneConfig(train=TrainConfig(steps=8, seed=seed, learning_rate=5e-3, checkpoint_every=1000), **small)
        finetune(store, cfg=cfg, out=root / f"tagger-{seed}")
    settings = EvaluateConfig(replicas=20, mass="none", bins={"jet_pt": []}, embeddings=True)
    evaluate_tagger(Run.open(root / "tagger-0"), cfg=settings, out=root / "evaluate-0", against=other)
    evaluate_tagger(Run.open(root / "tagger-1"), cfg=FEW, out=root / "evaluate-1")
    return root


def detfm(*words):
    return main([str(word) for word in words])


def test_embeddings_are_written_beside_their_rows(line):
    table = pq.read_table(line / "evaluate-0/embeddings.parquet")
    store = Store.open(line / "store")
    found = np.stack(table["embedding"].to_numpy())
    wanted = embed(load_tagger(Run.open(line / "tagger-0")).encoder, store, "test")
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with uproot.open(line / "few.root") as file:
        pt = file["tree"]["jet_pt"].array(library="np")
    np.testing.assert_allclose(pt[table["source_entry"].to_numpy()], table["jet_pt"].to_numpy())
    with uproot.open(line / "evaluate-0/embeddings.root") as file:
        np.testing.assert_array_equal(file["embeddings"]["embedding"].array(library="np"), found)


def test_the_temperature_is_of_the_validation_rows(line):
    found = json.loads((line / "evaluate-0/metrics.json").read_text())["calibration"]
    store = Store.open(line / "store")
    assert found["fitted_on"].startswith("val of")
    assert found["fitted_examples"] == store.length("val")
    assert found["calibrated"]["nll"] == pytest.approx(found["raw"]["nll"], abs=0.3)


def test_the_shift_that_was_put_in_is_found_and_ranked_first(line):
    shift = json.loads((line / "evaluate-0/metrics.json").read_text())["shift"]
    first = shift["features"][0]
    assert first["feature"] == "particles.d0"
    assert first["ks"] > 3 * first["of_statistics"]
    pt = next(record for record in shift["features"] if record["feature"] == "particles.pt")
    assert pt["ks"] < 0.01
    assert {"domain_auc", "frechet", "p"} <= set(shift["embedding"])
    assert [record["score"] for record in shift["scores"]] == ["QCD", "Tbqq", "Wqq", "Zqq", "Hbb"]
    assert {"accuracy", "auc", "auc/QCD"} <= {record["figure"] for record in shift["performance"]}
    assert (line / "evaluate-0/shift.png").is_file()
    assert (line / "evaluate-0/against/predictions.parquet").is_file()


def test_a_store_against_itself_has_no_shift(line):
    store = Store.open(line / "store")
    records = input_shift(store, store, "test")
    assert {"particles.n", "particles.pt", "jet_pt", "jet_eta"} <= {record["feature"] for record in records}
    assert "event_id" not in {record["feature"] for record in records}
    assert all(record["ks"] == record["wasserstein"] == record["mean_shift"] == 0 for record in records)


def test_what_is_lost_is_the_difference_with_independent_errors():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 4000).astype(np.int32)
    said = {}
    for name, strength in (("here", 2.0), ("there", 1.0)):
        logits = rng.normal(0, 1, (4000, 2))
        logits[np.arange(4000), targets] += strength
        said[name] = Predictions("class", ("a", "b"), logits, targets, np.arange(4000))
    samples = (Bootstrap(4000, 100, 0), Bootstrap(4000, 100, 1))
    records = {r["figure"]: r for r in performance_shift(said["here"], said["there"], samples)}
    lost = records["auc/a"]
    # logit difference is N(s, 2): the AUC of two such classes is Phi(2 s / 2)
    assert lost["here"] == pytest.approx(0.97725, abs=0.006)
    assert lost["there"] == pytest.approx(0.84134, abs=0.015)
    assert lost["low"] < lost["difference"] < lost["high"] < 0


def test_a_comparison_has_paired_differences_and_pictures(line):
    out = line / "compare"
    assert detfm("compare", line / "evaluate-0", line / "evaluate-1", "--cfg.signal", "[Tbqq]", "--out", out) == 0
    found = json.loads((out / "metrics.json").read_text())
    one, other = (json.loads((line / f"evaluate-{i}/metrics.json").read_text()) for i in (0, 1))
    record = next(r for r in found["comparison"] if (r["figure"], r["model"]) == ("auc", "evaluate-1"))
    assert record["value"] == pytest.approx(other["auc"], abs=1e-4)
    assert record["difference"] == pytest.approx(other["auc"] - one["auc"], abs=1e-4)
    assert record["difference_low"] < record["difference"] < record["difference_high"]
    assert (out / "roc.png").is_file()
    assert "| accuracy |" in (out / "compare.md").read_text()
    assert Run.open(out).stage == "compare"


def test_a_model_against_itself_differs_by_nothing(line):
    out = line / "same"
    names = ("--cfg.names", "[a, b]")
    assert detfm("compare", line / "evaluate-1", line / "evaluate-1", *names, "--out", out) == 0
    for record in json.loads((out / "metrics.json").read_text())["comparison"]:
        if record["model"] == "b":
            assert record["difference"] == record["difference_low"] == record["difference_high"] == 0


def test_what_cannot_be_compared_is_refused(line, capsys):
    assert detfm("compare", line / "evaluate-0", line / "tagger-1", "--out", line / "x") == 2
    assert f"detfm evaluate {line / 'tagger-1'}" in capsys.readouterr().err
    assert detfm("compare", line / "evaluate-0", "--out", line / "x") == 2
    assert "two runs or more" in capsys.readouterr().err
    small = line / "evaluate-val"
    evaluate_tagger(Run.open(line / "tagger-1"), cfg=EvaluateConfig("val", replicas=0, mass="none"), out=small)
    assert detfm("compare", line / "evaluate-0", small, "--out", line / "x") == 2
    assert "different rows" in capsys.readouterr().err
    assert not (line / "x").exists()


def test_rows_that_were_trained_on_are_refused(line, capsys):
    spec = DetectorSchema.load("data/jets").to_dict()
    spec["split"] = {"key": "event_id", "fractions": {"test": 0.7, "train": 0.3}}  # other rows are for testing now
    leaking = ingest([line / "few.root"], schema=DetectorSchema.load(spec), out=line / "leaking")
    words = ("evaluate", line / "tagger-0", "--store", leaking, "--cfg.replicas", 0, "--out", line / "leak")
    assert detfm(*words) == 2
    assert "also among the training rows" in capsys.readouterr().err
    assert not (line / "leak").exists()
    assert detfm(*words, "--cfg.allow_leakage", "true") == 0


def test_classes_in_another_order_and_other_inputs_are_refused(line, capsys):
    spec = DetectorSchema.load("data/jets").to_dict()
    classes = spec["labels"]["jet_class"]["classes"]
    spec["labels"]["jet_class"]["classes"] = dict(reversed(classes.items()))
    turned = ingest([line / "few.root"], schema=DetectorSchema.load(spec), out=line / "turned")
    assert detfm("evaluate", line / "tagger-0", "--store", turned, "--out", line / "y") == 2
    assert "in that order" in capsys.readouterr().err
    spec = DetectorSchema.load("data/jets").to_dict()
    spec["modalities"]["particles"]["features"]["d0"]["transform"] = "asinh"
    spec["observers"].pop("jet_eta")
    other = ingest([line / "few.root"], schema=DetectorSchema.load(spec), out=line / "asinh")
    assert detfm("evaluate", line / "tagger-0", "--against", other, "--out", line / "y") == 2
    assert "differs from the model's" in capsys.readouterr().err
    assert detfm("evaluate", line / "tagger-0", "--cfg.bins", "{jet_ptt: []}", "--out", line / "y") == 2
    assert "did you mean 'jet_pt'" in capsys.readouterr().err
    assert not (line / "y").exists()


def test_a_store_without_labels_is_compared_all_the_same(line):
    spec = DetectorSchema.load("data/jets").to_dict()
    spec["labels"] = {}
    data = ingest([line / "moved.root"], schema=DetectorSchema.load(spec), out=line / "unlabelled")
    out = line / "unknown"
    evaluate_tagger(Run.open(line / "tagger-0"), cfg=FEW, out=out, against=data)
    found = json.loads((out / "metrics.json").read_text())
    assert "against" not in found
    assert found["shift"]["performance"] == []
    assert found["shift"]["scores"]
    assert set(pq.read_table(out / "against/predictions.parquet")["target"].to_numpy()) == {-1}
