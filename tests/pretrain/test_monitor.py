"""What is measured while an embedding forms: on which rows, the same each time, and a collapse by name."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from synthetic_store import write_jets

from foundation.embedding import embed, input_statistics
from foundation.embedding_quality import effective_rank
from foundation.errors import SchemaError
from foundation.models import EncoderConfig
from foundation.store import Store
from pretrain.command import loader
from pretrain.config import MonitorConfig, PretrainConfig
from pretrain.model import Pretrainer
from pretrain.monitor import Monitor, explained
from pretrain.objectives import ContrastiveConfig
from pretrain.rows import fixed_rows

CONFIG = PretrainConfig(
    encoder=EncoderConfig(width=8, layers=1, heads=2),
    contrastive=ContrastiveConfig(weight=0.0),
    monitor=MonitorConfig(rows=30, k=3, batches=1),
    batch_tokens=512,
    buckets=1,
)
STILL = CONFIG.augment
for _name in STILL.names():
    STILL = dataclasses.replace(STILL, **{_name: dataclasses.replace(getattr(STILL, _name), probability=0.0)})
CONFIG = dataclasses.replace(CONFIG, augment=STILL)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return write_jets(tmp_path_factory.mktemp("monitor") / "store", 120, 3, features=3, labels=2, unbalanced=True)


@pytest.fixture(scope="module")
def model(store) -> Pretrainer:
    return Pretrainer(store.schema, input_statistics(store), CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def monitor(store) -> Monitor:
    return Monitor(store, CONFIG, loader(store, "train", CONFIG))


@pytest.fixture(scope="module")
def seen(monitor, model) -> dict[str, float]:
    return monitor(model)


def test_fixed_rows_are_the_rows_asked_for_in_their_order_in_two_shapes(store):
    rows = {"one": ("train", np.arange(0, 90, 3)), "other": ("train", np.arange(1, 30, 2))}
    found = fixed_rows(store, rows, 700)
    lengths, shapes = store.tokens_lengths("train", "particles"), set()
    for name, (split, each) in rows.items():
        np.testing.assert_array_equal(found[name](lambda b: b.index), each)
        counts, first = found[name](
            lambda b: (b.modalities["particles"].mask.sum(1), b.modalities["particles"].values[:, 0])
        )
        np.testing.assert_array_equal(counts, lengths[each])
        np.testing.assert_array_equal(first, store.read(split, each).modalities["particles"].values[:, 0])
        shapes |= {batch.modalities["particles"].mask.shape for _, batch in found[name].batches}
    assert len(shapes) <= 2
    assert all(size * length <= 700 or size == 1 for size, length in shapes)


def test_it_measures_the_embedding_the_losses_and_what_is_restored(seen, monitor, model, store):
    wanted = {"probe_accuracy", "knn_accuracy", "effective_rank", "uniformity", "spread", "val/loss", "val/loss/masked"}
    assert seen.keys() >= wanted | {"restored/particles"}
    rows = monitor.sets["val"]
    assert seen["effective_rank"] == pytest.approx(
        effective_rank(embed(model.encoder, store, rows.split, rows.rows)), rel=1e-3
    )
    assert all(isinstance(value, float) and np.isfinite(value) for value in seen.values())


def test_it_sees_the_same_rows_with_the_same_random_numbers_each_time(seen, monitor, model):
    assert monitor(model) == seen


def test_without_a_val_split_rows_of_train_stand_in_that_the_probe_is_not_fitted_on(monitor):
    fitted, judged = (set(monitor.sets[name].rows.tolist()) for name in ("train", "val"))
    assert len(fitted) == len(judged) == 30
    assert not fitted & judged


def test_a_collapsed_embedding_is_named_with_what_to_change(monitor, model, capsys):
    norm = model.encoder.norm
    kept = norm.scale[...]
    norm.scale[...] = jnp.zeros_like(kept)
    norm.bias[...] = jnp.ones_like(kept)
    found = monitor(model)
    norm.scale[...], norm.bias[...] = kept, jnp.zeros_like(kept)
    assert found["collapse/complete"] == 1.0
    message = capsys.readouterr().err
    assert "complete collapse" in message
    assert "temperature" in message


def test_a_store_without_labels_is_seen_too(store, model):
    manifest = store.manifest | {"schema": {**store.manifest["schema"], "labels": {}}}
    found = Monitor(Store(store.path, manifest), CONFIG)(model)
    assert "effective_rank" in found
    assert not {"probe_accuracy", "knn_accuracy", "val/loss"} & found.keys()


def test_a_label_that_is_not_there_is_refused(store):
    with pytest.raises(SchemaError, match="no label 'flavor'"):
        Monitor(store, dataclasses.replace(CONFIG, monitor=MonitorConfig(label="flavor")))


def test_explained_is_one_for_the_truth_and_zero_for_the_mean():
    rng = np.random.default_rng(0)
    true, hidden = rng.normal(3, 2, (5, 7, 2)), rng.random((5, 7)) < 0.5
    each = {"true": true, "predicted": true, "hidden": hidden, "visible": ~hidden}
    assert explained({"particles": each}) == {"particles": 1.0}
    mean = np.broadcast_to(true[hidden].mean(axis=0), true.shape)
    assert explained({"particles": each | {"predicted": mean}})["particles"] == pytest.approx(0, abs=1e-12)
    wrong = np.where(hidden[..., None], true, 1e6)  # what was not hidden does not count
    assert explained({"particles": each | {"predicted": wrong}}) == {"particles": 1.0}


def test_each_augmentation_can_act_alone():
    names = CONFIG.augment.names()
    assert {"rotation", "smearing", "dropout"} <= set(names)
    for name in names:
        alone = PretrainConfig().augment.alone(name)
        assert [n for n in names if getattr(alone, n).probability] == [name]
