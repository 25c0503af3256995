"""An encoder reads data of another schema by a rule that changes nothing, or refuses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx
from toy_jets import SIZES, changed, jets, toy_pretrained, toy_store

from finetune.adapt import Adapted, Plan, adapt, reading
from finetune.command import finetune
from finetune.config import AdaptConfig, FinetuneConfig
from finetune.predict import predict
from finetune.saved import load_tagger
from finetune.task import TaskConfig
from foundation.batch import TokenBatch, Tokens
from foundation.embedding import embed, input_statistics
from foundation.errors import SchemaError
from foundation.models import Encoder, EncoderConfig
from foundation.schema import DetectorSchema
from foundation.train import TrainConfig

PLAIN = AdaptConfig()


def encoder(spec, pairs=False):
    sizes = EncoderConfig(width=8, layers=1, heads=2, pair_features=pairs, pair_width=4)
    return Encoder(spec, statistics(spec), sizes, rngs=nnx.Rngs(0))


def edited(spec, edit):
    mapping = spec.to_dict()
    edit(mapping)
    return DetectorSchema.load(mapping)


def particles(mapping):
    return mapping["modalities"]["particles"]["features"]


def with_values(b, values, globals_=None):
    tokens = Tokens(jnp.asarray(values), b.modalities["particles"].mask)
    around = b.globals if globals_ is None else globals_
    return TokenBatch(b.modalities | {"particles": tokens}, around, b.labels, b.weights, b.index)


def test_equal_inputs_need_no_plan():
    spec = schema(with_globals=True)
    other = edited(spec, lambda m: particles(m)["pt"].update(expression="another_column"))
    model = encoder(spec)
    assert reading(model, other, PLAIN) is model


def test_mev_is_read_as_gev():
    spec = schema(with_globals=True)
    other = edited(spec, lambda m: (particles(m)["pt"].update(unit="MeV"), m["globals"]["met"].update(unit="TeV")))
    model, b = encoder(spec, pairs=True), batch(spec)
    scale = np.array([1000, 1, 1, 1], np.float32)
    there = with_values(b, b.modalities["particles"].values * scale, b.globals / 1000)
    backbone = reading(model, other, PLAIN)
    assert isinstance(backbone, Adapted)
    np.testing.assert_allclose(backbone(there).pooled, model(b).pooled, rtol=1e-4, atol=1e-4)
    assert float(jnp.abs(model(there).pooled - model(b).pooled).max()) > 0.1  # unconverted it would be another jet
    assert Plan.of(spec, other, PLAIN).notes == (
        "particles.pt is converted from MeV to GeV",
        "globals.met is converted from TeV to GeV",
    )


def test_features_in_another_order_are_put_right():
    spec = schema()
    order = ["phi", "charge", "pt", "eta"]

    def edit(mapping):
        features = particles(mapping)
        mapping["modalities"]["particles"]["features"] = {name: features[name] for name in order}

    model, b = encoder(spec), batch(spec)
    values = b.modalities["particles"].values
    there = with_values(b, values[..., [spec.modalities["particles"].index(name) for name in order]])
    backbone = reading(model, edited(spec, edit), PLAIN)
    np.testing.assert_allclose(backbone(there).pooled, model(b).pooled, rtol=1e-5, atol=1e-6)


def test_a_modality_the_data_lacks_has_no_tokens():
    spec, data = schema(("particles", "muons")), schema()
    model, b = encoder(spec), batch(spec)
    muons = b.modalities["muons"]
    nothing = Tokens(jnp.zeros_like(muons.values), jnp.zeros_like(muons.mask))
    without = TokenBatch(b.modalities | {"muons": nothing}, b.globals, b.labels, b.weights, b.index)
    there = TokenBatch({"particles": b.modalities["particles"]}, b.globals, b.labels, b.weights, b.index)
    backbone = reading(model, data, PLAIN)
    found, wanted = backbone(there), model(without)
    np.testing.assert_allclose(found.pooled, wanted.pooled, rtol=1e-4, atol=1e-5)
    assert found.tokens.shape[:2] == b.modalities["particles"].mask.shape  # only those of the data come out
    np.testing.assert_array_equal(found.mask, b.modalities["particles"].mask)
    assert "'muons' of the encoder is not in the data: no tokens" in Plan.of(spec, data, PLAIN).notes


def test_what_the_encoder_does_not_know_is_not_read():
    spec, data = schema(), schema(("muons", "particles"), with_globals=True)
    data = edited(data, lambda m: particles(m).update(ecal={"expression": "ecal"}))
    model, b = encoder(spec), batch(data)
    backbone = reading(model, data, PLAIN)
    values = b.modalities["particles"].values
    own = TokenBatch(
        {"particles": Tokens(values[..., :4], b.modalities["particles"].mask)},
        jnp.zeros((b.size, 0)),
        b.labels,
        b.weights,
        b.index,
    )
    found, wanted = backbone(b), model(own)
    np.testing.assert_allclose(found.pooled, wanted.pooled, rtol=1e-5, atol=1e-6)
    muons = b.modalities["muons"].mask.shape[1]
    np.testing.assert_allclose(found.tokens[:, muons:], wanted.tokens, rtol=1e-5, atol=1e-6)
    assert not found.mask[:, :muons].any()
    assert not np.any(found.tokens[:, :muons])
    notes = " ".join(Plan.of(spec, data, PLAIN).notes)
    assert all(name in notes for name in ("'muons'", "particles.ecal", "globals.met"))


def test_a_missing_feature_is_filled_with_its_mean_only_if_named():
    spec = schema(with_globals=True)

    def edit(mapping):
        del particles(mapping)["charge"], mapping["globals"]["met"]

    data, b = edited(spec, edit), batch(spec)
    with pytest.raises(SchemaError, match=r"needs particles.charge.*\n.*adapt.fill to \[particles.charge\]"):
        reading(encoder(spec), data, PLAIN)
    with pytest.raises(SchemaError, match=r"needs globals.met"):
        reading(encoder(spec), data, AdaptConfig(fill=("particles.charge",)))
    model = encoder(spec)
    backbone = reading(model, data, AdaptConfig(fill=("particles.charge", "globals.met")))
    values = b.modalities["particles"].values
    there = with_values(b, values[..., :3], jnp.zeros((b.size, 0)))
    means = with_values(b, values.at[..., 3].set(0.1), jnp.full((b.size, 1), 0.1))  # what example.statistics says
    np.testing.assert_allclose(backbone(there).pooled, model(means).pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: particles(m)["pt"].update(transform="asinh"), "transform asinh, the encoder was trained on log"),
        (lambda m: particles(m)["pt"].update(unit="mm"), "is in mm, the encoder was trained on GeV"),
        (lambda m: particles(m)["pt"].update(unit=""), "in no unit"),
        (lambda m: m["globals"]["met"].update(unit="rad"), "globals.met of the store is in rad"),
        (lambda m: m["modalities"]["particles"]["coordinates"].update(eta="charge"), "eta is the feature 'charge'"),
        (lambda m: m["modalities"].update(tracks=m["modalities"].pop("particles")), "none of the store's modalities"),
    ],
)
def test_what_would_change_the_meaning_is_refused(edit, words):
    spec = schema(with_globals=True)
    mapping = spec.to_dict()
    edit(mapping)
    if mapping["modalities"].get("particles", {}).get("features", {}).get("pt", {}).get("unit") == "mm":
        mapping["modalities"]["particles"]["coordinates"] = {}
    with pytest.raises(SchemaError, match=words):
        Plan.of(spec, DetectorSchema.load(mapping), PLAIN)


@pytest.mark.parametrize(
    ("fill", "words"), [("particles.chrage", "did you mean 'particles.charge'"), ("particles.pt", "the store has")]
)
def test_fill_of_what_is_there_or_nowhere_is_refused(fill, words):
    with pytest.raises(SchemaError, match=words):
        Plan.of(schema(), schema(), AdaptConfig(fill=(fill,)))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("adapt"), jets())


@pytest.fixture(scope="module")
def millimetres(tmp_path_factory):
    """The same jets in MeV and cm, with phi first and one more feature."""

    def edit(mapping):
        features = particles(mapping)
        features["pt"] |= {"expression": "1000 * pt", "unit": "MeV"}
        features["d0"] |= {"expression": "d0 / 10", "unit": "cm"}
        rest = {name: features[name] for name in ("d0", "eta", "pt")}
        mapping["modalities"]["particles"]["features"] = {"phi": features["phi"], **rest, "z": {"expression": "eta"}}

    return toy_store(tmp_path_factory.mktemp("other"), jets(), changed(edit))


@pytest.mark.slow
def test_an_adapted_tagger_trains_saves_loads_and_embeds(tmp_path, store, millimetres):
    """Step by step the same as one on the data the encoder knows."""
    origin = toy_pretrained(tmp_path / "pretrain", store)
    task = TaskConfig(groups={"wide": ["wide"], "narrow": ["narrow"]})
    cfg = FinetuneConfig(task=task, batch_size=32, buckets=1, train=TrainConfig(steps=3), allow_leakage=True)
    plain = finetune(origin.path, cfg=cfg, out=tmp_path / "plain")
    adapted = finetune(origin.path, store=millimetres.path, cfg=cfg, out=tmp_path / "adapted")
    here, there = load_tagger(plain), load_tagger(adapted)
    assert isinstance(there.encoder, Adapted)
    np.testing.assert_allclose(
        predict(there, millimetres, "test").logits, predict(here, store, "test").logits, atol=2e-3
    )
    np.testing.assert_allclose(embed(there.encoder, millimetres, "test"), embed(here.encoder, store, "test"), atol=2e-2)
    notes = adapted.read("metrics.json")["adapted"]
    assert {"particles.pt is converted from MeV to GeV", "particles.d0 is converted from cm to mm"} <= set(notes)
    assert plain.read("metrics.json")["adapted"] == []


def test_a_shift_is_told_and_can_be_standardised_away(store, tmp_path):
    """Momenta a hundred times as hard: far off for the pretraining's statistics, and not for the data's own."""
    content = jets()
    hard = toy_store(tmp_path, content | {"pt": content["pt"] * 100})
    fresh = Encoder(store.schema, input_statistics(store), SIZES, rngs=nnx.Rngs(0))
    _, notes = adapt(fresh, hard, PLAIN)
    assert [note.split()[0] for note in notes] == ["particles.pt"]
    assert adapt(fresh, hard, AdaptConfig(shift=50.0))[1] == []
    assert adapt(fresh, store, PLAIN)[1] == []
    assert standardised_pt(fresh, store).mean() == pytest.approx(0, abs=0.1)
    assert standardised_pt(fresh, hard).mean() > 3
    backbone, notes = adapt(fresh, hard, AdaptConfig(statistics="data"))
    assert "now standardised with this data's" in notes[0]
    assert standardised_pt(backbone, hard).mean() == pytest.approx(0, abs=0.05)
    assert standardised_pt(backbone, hard).std() == pytest.approx(1, abs=0.05)


def standardised_pt(model, data):
    b = jax.tree.map(jnp.asarray, data.read("train", np.arange(data.length("train"))))
    return np.asarray(model.standardize(b)["particles"][..., 0][b.modalities["particles"].mask])


def test_the_plan_is_part_of_a_compiled_function():
    """Its graph must be hashable, and equal for equal plans."""
    spec = schema()
    other = edited(spec, lambda m: particles(m)["pt"].update(unit="MeV"))
    one, two = (nnx.split(reading(encoder(spec), other, PLAIN))[0] for _ in range(2))
    assert hash(one) == hash(two)
    assert one == two
    assert jax.tree.leaves(nnx.state(reading(encoder(spec), other, PLAIN)))
