"""Tasks of every kind against a store: what can be learnt, from which rows, with which weights."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from labelled_tokens import SCHEMA, ingest_labelled

from finetune.decorrelate import DecorrelateConfig
from finetune.task import Task, TaskConfig
from finetune.truth import class_counts, learnable, missing, present, scales, unknown
from foundation.errors import ConfigError, SchemaError
from foundation.schema import DetectorSchema
from foundation.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return ingest_labelled(tmp_path_factory.mktemp("labelled"), rows=60)


def resolved(store: Store, **settings) -> Task:
    config = TaskConfig(**settings)
    return Task.resolve(store.schema, config, present(store, config))


@pytest.mark.parametrize(
    ("settings", "kind", "modality", "classes"),
    [
        ({}, "class", "", ("left", "right")),
        ({"label": "tags"}, "multilabel", "", ("busy", "high")),  # `never` applies to no example
        ({"label": "origin", "regression": ("share",)}, "token_class", "hits", ("hard", "pileup")),
        ({"label": "cluster"}, "edge", "hits", ("together",)),
        ({"label": "none", "regression": ("total",)}, "none", "", ()),
        ({"regression": ("share",)}, "none", "hits", ()),
    ],
)
def test_the_kind_of_the_label_decides_what_is_predicted(store, settings, kind, modality, classes):
    task = resolved(store, **settings)
    assert (task.kind, task.modality, task.classes) == (kind, modality, classes)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"label": "origin", "regression": ("total",)}, ConfigError, "tokens of 'hits', task.regression of examples"),
        ({"label": "side", "regression": ("share",)}, ConfigError, "of examples, task.regression of the tokens"),
        ({"label": "cluster", "regression": ("share",)}, ConfigError, "beside edges"),
        ({"regression": ("total", "share")}, ConfigError, "train them in two runs"),
        ({"label": "cluster", "groups": {"a": ["b"]}}, ConfigError, "has none"),
        ({"label": "orgin"}, SchemaError, "did you mean 'origin'"),
        ({"groups": {"left": ["left"], "x": []}}, ConfigError, "'x' names no class"),
        ({"regression": ("total",), "quantiles": (0.5, 1.0)}, ConfigError, "between 0 and 1"),
        ({"regression": ("total",), "quantiles": (0.5, 0.5)}, ConfigError, "twice"),
        ({"quantiles": (0.5,)}, ConfigError, "names none"),
        ({"class_weights": {"rigth": 2.0}}, ConfigError, "did you mean 'right'"),
        ({"class_weights": {"right": -1.0}}, ConfigError, "0 or more"),
        ({"label": "cluster", "pairs": 1}, ConfigError, "2 or more"),
        ({"decorrelate": DecorrelateConfig("met")}, ConfigError, "names the background"),
        ({"decorrelate": DecorrelateConfig("met", ("left", "right"))}, ConfigError, "not all"),
        ({"decorrelate": DecorrelateConfig("met", ("lfet",))}, ConfigError, "did you mean 'left'"),
        ({"decorrelate": DecorrelateConfig("mte", ("left",))}, SchemaError, "did you mean 'met'"),
        ({"decorrelate": DecorrelateConfig("met", ("left",), weight=-1.0)}, ConfigError, "weight > 0"),
        ({"decorrelate": DecorrelateConfig("", ("left",))}, ConfigError, "from which"),
        ({"label": "tags", "decorrelate": DecorrelateConfig("met", ("busy",))}, ConfigError, "class score of examples"),
    ],
)
def test_a_task_that_cannot_be_is_refused(settings, error, words):
    with pytest.raises(error, match=words):
        Task.resolve(DetectorSchema.load(SCHEMA), TaskConfig(**settings))


def test_the_mass_needs_momenta():
    changed = {**SCHEMA, "modalities": {**SCHEMA["modalities"]}}
    changed["modalities"]["hits"] = {**SCHEMA["modalities"]["hits"], "coordinates": {"eta": "eta"}}
    config = TaskConfig(decorrelate=DecorrelateConfig("mass", ("left",)))
    Task.resolve(DetectorSchema.load(SCHEMA), config)
    with pytest.raises(SchemaError, match="the mass needs a modality with coordinates"):
        Task.resolve(DetectorSchema.load(changed), config)


def test_groups_of_tags_apply_where_any_of_them_does():
    config = TaskConfig(label="tags", groups={"any": ["busy", "high"], "never": ["never"]})
    task = Task.resolve(DetectorSchema.load(SCHEMA), config)
    found = task.targets(np.array([[1, 0, 0], [0, 1, -1], [0, 0, 0], [-1, 1, 0], [-1, 0, 1]]))
    np.testing.assert_array_equal(found, [[1, 0], [1, -1], [0, 0], [1, 0], [-1, 1]])


def test_rows_without_what_is_learnt_are_left_out_and_counted(store):
    total = store.labels("train", "total")
    task = resolved(store, regression=("total",))
    np.testing.assert_array_equal(learnable(store, "train", task), np.isfinite(total))
    assert unknown(store, "train", task) == {"side": 0, "total": int(np.isnan(total).sum())}
    assert np.isnan(total).any()
    tokens = resolved(store, label="origin", regression=("share",))
    assert unknown(store, "train", tokens) == {
        "origin": int((store.labels("train", "origin") < 0).sum()),
        "share": int(np.isnan(store.labels("train", "share")).sum()),
    }
    assert min(unknown(store, "train", tokens).values()) > 0


def test_tokens_and_pairs_need_one_that_is_known(tmp_path: Path):
    """Rows 0 to 3: no known token; one grouped token; two of different groups; all of one group."""
    origin = ak.Array([[-1, -1, -1], [0, -1, -1], [1, 0, 1], [1, 1, 1]] * 5)
    cluster = ak.Array([[0, 0, 0], [4, 0, 0], [4, 5, 0], [9, 9, 9]] * 5)
    plain = {name: ak.Array([[1.0, 2.0, 3.0]] * 20) for name in ("pt", "eta", "phi", "share")}
    depth = ak.unflatten(np.random.default_rng(0).normal(size=60), [3] * 20)  # no two rows alike
    store = ingest_labelled(tmp_path, rows=20, origin=origin, cluster=cluster, depth=depth, **plain)
    tokens, edges = resolved(store, label="origin"), resolved(store, label="cluster")
    groups = store.labels("train", "cluster").reshape(-1, 3)
    grouped = (groups > 0).sum(axis=1)
    assert set(grouped) == {0, 1, 2, 3}
    np.testing.assert_array_equal(learnable(store, "train", edges), grouped >= 2)
    known = (store.labels("train", "origin").reshape(-1, 3) >= 0).any(axis=1)
    np.testing.assert_array_equal(learnable(store, "train", tokens), known)
    together = sum(int(a == b > 0) for i, j in ((0, 1), (0, 2), (1, 2)) for a, b in groups[:, [i, j]])
    every = int((grouped * (grouped - 1) // 2).sum())
    np.testing.assert_array_equal(
        class_counts(store, "train", edges, np.arange(len(groups))), [[every - together, together]]
    )
    assert missing(store, edges, np.flatnonzero(grouped == 3)) == ["'not together'"]
    assert missing(store, edges, np.flatnonzero(grouped == 2)) == ["'together'"]


def test_balanced_classes_weigh_alike_and_factors_come_on_top(store):
    rows = np.arange(store.length("train"))
    for settings in ({}, {"label": "origin"}, {"label": "tags"}, {"label": "cluster"}):
        task, counts = resolved(store, **settings), class_counts(store, "train", resolved(store, **settings), rows)
        worth = counts * scales(store, task, TaskConfig(balance=True, **settings), rows)["class_weights"]
        np.testing.assert_allclose(worth, np.broadcast_to(worth.mean(axis=-1, keepdims=True), worth.shape))
        assert worth.sum() == pytest.approx(counts.sum())
    side = resolved(store)
    weights = scales(store, side, TaskConfig(class_weights={"right": 3.0}), rows)["class_weights"]
    np.testing.assert_array_equal(weights, [1, 3])
    edges = resolved(store, label="cluster")
    config = TaskConfig(label="cluster", class_weights={"together": 3.0})
    np.testing.assert_array_equal(scales(store, edges, config, rows)["class_weights"], [[1, 3]])


def test_the_scale_of_a_target_is_that_of_its_known_values(store):
    rows = np.arange(0, store.length("train"), 2)
    lengths = store.tokens_lengths("train", "hits")
    owners = np.repeat(np.arange(len(lengths)), lengths)
    known = store.labels("train", "share")[np.isin(owners, rows)]
    found = scales(store, resolved(store, regression=("share",)), TaskConfig(), rows)
    assert found["target_mean"][0] == pytest.approx(np.nanmean(known), rel=1e-5)
    assert found["target_std"][0] == pytest.approx(np.nanstd(known), rel=1e-5)
