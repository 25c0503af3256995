"""Tokenizers of real jets: what codes keep, what a run holds, what generation writes and reads back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few_jets import ingest_few
from flax import nnx

from foundation.batch import TokenBatch
from foundation.command import load_config
from foundation.errors import ConfigError, RunError, SchemaError
from foundation.models import EncoderConfig
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest
from foundation.train import TrainConfig
from pretrain.command import pretrain
from pretrain.config import MonitorConfig, PretrainConfig
from pretrain.generate import GenerateConfig, generate
from pretrain.generator import load_generator
from pretrain.objectives import ContrastiveConfig, MaskedConfig, NextTokenConfig
from pretrain.tokenizer import NONE, Tokenizer, TokenizerConfig, VqvaeConfig, load_tokenizer
from pretrain.tokenizer.command import tokenize
from pretrain.tokenizer.quantizers import Vqvae

FEATURES = {"particles": ["pt", "deta", "dphi", "charge"]}


@pytest.fixture(scope="module")
def store(sample: Path, tmp_path_factory) -> Path:
    return ingest_few(sample, tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def tokenizer_run(store: Path) -> Path:
    cfg = TokenizerConfig(codes=200, features=FEATURES)
    return tokenize(store, cfg=cfg, out=store.parent / "tokenizer").path


@pytest.fixture(scope="module")
def tokenizer(tokenizer_run: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_run)


@pytest.fixture(scope="module")
def jets(store: Path) -> TokenBatch:
    return Store.open(store).read("train", np.arange(60))


@pytest.fixture(scope="module")
def again(tokenizer: Tokenizer, jets: TokenBatch):
    """Codes of the jets, and the values made of them."""
    graph, state = nnx.split(tokenizer)
    codes = jax.jit(lambda s, b: nnx.merge(graph, s).encode(b))(state, jets)
    values = jax.jit(lambda s, c, g: nnx.merge(graph, s).decode(c, g))(state, codes, jets.globals)
    return np.asarray(codes["particles"]), np.asarray(values["particles"])


def test_codes_are_where_tokens_are(tokenizer, jets, again):
    codes, values = again
    mask = jets.modalities["particles"].mask
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes[~mask], NONE)
    assert codes[mask].min() >= 0
    assert codes.max() < tokenizer.codes["particles"] == 200
    assert np.all(values[~mask] == 0)


def test_a_round_trip_is_physical(jets, again):
    _, values = again
    mask, schema = jets.modalities["particles"].mask, DetectorSchema.load("data/jets")
    at = {name: values[mask][:, i] for i, name in enumerate(schema.modalities["particles"].features)}
    true = {name: jets.modalities["particles"].values[mask][:, i] for i, name in enumerate(at)}
    assert np.median(np.abs(np.log(at["pt"] / true["pt"]))) < 0.3
    for name in ("deta", "dphi"):
        assert np.abs(at[name] - true[name]).std() < 0.5 * true[name].std()
    assert np.mean(at["charge"] == true["charge"]) > 0.9  # discrete, described
    for name in ("charge", "isPhoton"):  # discrete, one of them not described
        assert set(np.unique(at[name])) <= set(np.unique(true[name]))
    jet_pt = np.broadcast_to(jets.globals[:, :1], mask.shape)[mask]
    np.testing.assert_allclose(at["pt_rel"], at["pt"] / jet_pt, rtol=1e-5)  # recomputed
    np.testing.assert_allclose(at["delta_r"], np.hypot(at["deta"], at["dphi"]), rtol=1e-4)
    assert np.corrcoef(np.log(at["energy"]), np.log(true["energy"]))[0, 1] > 0.8  # by the average of the code


def test_the_run_says_how_good_the_codes_are(tokenizer_run):
    found = Run.open(tokenizer_run, "tokenize").read("metrics.json")["particles"]
    assert 0.5 < found["used"] <= 1
    assert 50 < found["perplexity"] <= 200
    assert 0.8 < found["response"]["mass"]["response"] < 1.1
    assert 0 < found["response"]["mass"]["resolution"] < 0.3
    assert found["error"]["deta"] < 0.06
    assert found["share_exact"]["charge"] > 0.9
    assert "pt" not in found["share_exact"]


def test_nothing_of_a_loaded_tokenizer_is_trained_and_other_schemas_are_refused(tokenizer, tokenizer_run):
    assert not jax.tree.leaves(nnx.state(tokenizer, nnx.Param))
    schema = DetectorSchema.load("data/jets")
    particles = schema.modalities["particles"]
    fewer = replace(particles, features={n: f for n, f in particles.features.items() if n != "d0"})
    with pytest.raises(SchemaError, match=r"does not fit 'jets': the list of features of modality 'particles'"):
        load_tokenizer(tokenizer_run, replace(schema, modalities={"particles": fewer}))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"features": {"particles": ["pT"]}}, "no feature 'pT'; did you mean 'pt'"),
        ({"codes_of": {"muons": 4}}, "no modality 'muons'"),
        ({"codes": 100_000}, "different tokens cannot make 100000 clusters"),
        ({"codes": 1}, "at least 2"),
    ],
)
def test_settings_that_cannot_be_are_named(store, settings, says):
    with pytest.raises(ConfigError, match=says):
        tokenize(store, cfg=load_config(TokenizerConfig, settings), out=store.parent / "refused", overwrite=True)


def test_a_vqvae_learns_and_revives_dead_codes():
    """The codebook starts far from all tokens, where without revival one code would be used."""
    x = jax.random.normal(jax.random.key(0), (16, 32, 2))
    weights = jnp.ones((16, 32)).at[0].set(0)
    model = Vqvae(2, 32, VqvaeConfig(width=16, code_width=2), rngs=nnx.Rngs(0))
    model.codebook[...] = model.codebook[...] * 0.01 + 3.0
    graph, params = nnx.split(model)
    optimizer = optax.adam(2e-2)

    @jax.jit
    def step(params, state):
        (_, terms), grads = jax.value_and_grad(lambda p: nnx.merge(graph, p).loss(x, weights), has_aux=True)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, terms

    state, history = optimizer.init(params), []
    for _ in range(200):
        params, state, terms = step(params, state)
        history.append({name: float(value) for name, value in terms.items()})
    assert history[0]["unused"] > 0.9
    assert history[-1]["unused"] < 0.5
    assert history[-1]["reconstruction"] < 0.3 * history[0]["reconstruction"]


@pytest.mark.slow
def test_a_vqvae_with_context_is_trained_as_a_run(store):
    cfg = TokenizerConfig(
        kind="vqvae",
        codes=16,
        vqvae=VqvaeConfig(width=8, heads=2, layers=1),
        train=TrainConfig(steps=3, log_every=1),
        batch_tokens=1024,
        buckets=1,
    )
    out = store.parent / "vqvae"
    run = tokenize(store, cfg=cfg, out=out)
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 3
    loaded = load_tokenizer(run.path, run.schema)
    jets = Store.open(store).read("val", np.arange(4))
    assert not jax.tree.leaves(nnx.state(loaded, nnx.Param))
    assert np.isfinite(np.asarray(loaded.decode(loaded.encode(jets), jets.globals)["particles"])).all()
    (run.path / "metrics.json").unlink()
    with pytest.raises(RunError, match="did not finish"):
        load_tokenizer(run.path)


@pytest.mark.slow
def test_what_is_generated_can_be_ingested(store, tokenizer_run):
    cfg = PretrainConfig(
        encoder=EncoderConfig(width=8, layers=1, heads=2),
        masked=MaskedConfig(weight=0.0),
        contrastive=ContrastiveConfig(weight=0.0),
        next_token=NextTokenConfig(weight=1.0, tokenizer=str(tokenizer_run)),
        train=TrainConfig(steps=2, evaluate_every=0),
        monitor=MonitorConfig(batches=0, report_rows=0),
        batch_tokens=1024,
        buckets=1,
    )
    run = pretrain(store, cfg=cfg, out=store.parent / "next")
    assert run.provenance["inputs"]["next_token_tokenizer"]["path"] == str(tokenizer_run)
    made = generate(run.path, cfg=GenerateConfig(count=20, batch=12), out=store.parent / "generated")
    metrics = made.read("metrics.json")
    for quantity in ("mass", "pt", "multiplicity"):
        found = metrics[f"particles/{quantity}"]
        assert found["halves"]["wasserstein"] > 0
        assert (found["restored"]["wasserstein"] == 0) == (quantity == "multiplicity")  # which a round trip keeps
        assert found["generated"]["wasserstein"] > 0
    assert (made.path / "observables.png").stat().st_size > 10_000
    rows = []
    for kind in ("root", "parquet"):
        read = Store.open(
            ingest([made.path / f"generated.{kind}"], schema=made.path / "generated.yaml", out=made.path / kind)
        )
        rows.append(sum(read.length(split) for split in read.splits))
        jets = read.read("train", np.arange(read.length("train"))).modalities["particles"]
        jet_pt = read.read("train", np.arange(read.length("train"))).globals[:, :1]
        pt, pt_rel = jets.values[..., 0], jets.values[..., 4]
        np.testing.assert_allclose((pt_rel * jet_pt)[jets.mask], pt[jets.mask], rtol=1e-4)
    assert rows == [20, 20]
    without = Run.create(store.parent / "without", "pretrain", config=PretrainConfig(), schema=run.schema)
    with pytest.raises(RunError, match="trained without next_token"):
        load_generator(without)
