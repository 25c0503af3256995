"""An exported tagger gives what JAX gives, at any multiplicity, or is not written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from example import schema, statistics
from flax import nnx
from toy_jets import SIZES, jets, toy_store

from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.deployed import Deployed
from finetune.model import Tagger
from finetune.onnx import OnnxConfig, export, in_float32, refuse_different
from finetune.onnx_check import alone, batches, differences, jitted, of_session, rows_to_check, session
from finetune.predict import predict
from finetune.saved import load_tagger
from finetune.task import Task, TaskConfig
from foundation.errors import ConfigError, ToolError
from foundation.models import Encoder, EncoderConfig, HeadConfig
from foundation.runs import Run
from foundation.store import Store
from foundation.train import TrainConfig

onnx = pytest.importorskip("onnx")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the packages that convert

QUICK = OnnxConfig(rows=60, latency=(1,), embedding=True)


@pytest.fixture(scope="module", autouse=True)
def sizes_may_be_symbols() -> Iterator[None]:
    """The runtime type checker knows no sizes that are free."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return toy_store(tmp_path_factory.mktemp("data"), jets(400))


@pytest.fixture(scope="module")
def tagged(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Classes and quantiles of a regression target, by attention pooling on an encoder with pair features."""
    cfg = FinetuneConfig(
        task=TaskConfig(regression=("ratio",), quantiles=(0.16, 0.5, 0.84)),
        encoder=replace(SIZES, pair_features=True, pair_width=4),
        head=HeadConfig(hidden=8, dropout=0.0, pooling="attention"),
        train=TrainConfig(steps=3, checkpoint_every=100),
        buckets=1,
    )
    return finetune(store.path, cfg=cfg, out=tmp_path_factory.mktemp("run") / "tagger")


@pytest.fixture(scope="module")
def exported(tagged: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return export(tagged.path, cfg=QUICK, out=tmp_path_factory.mktemp("onnx") / "out")


def test_the_file_gives_what_predict_gives(exported: Run, tagged: Run, store: Store) -> None:
    run = of_session(session((exported.path / "tagger.onnx").read_bytes()))
    tagger = load_tagger(tagged)
    assert isinstance(tagger, Tagger)
    deployed = Deployed(tagger)
    rows = np.arange(store.length("test"))
    wanted = predict(tagger, store, "test", rows)
    chances = np.exp(wanted.logits) / np.exp(wanted.logits).sum(axis=1, keepdims=True)
    lengths = dict.fromkeys(store.schema.modalities, 11)  # more than any jet has
    given = deployed.arrays(store.read("test", rows, lengths))
    given["particles"][given["particles_mask"] == 0] = 1e6  # what stands in the place of padding does not matter
    scores, ratio, quantiles, embedding = run(given)
    np.testing.assert_allclose(scores, chances, atol=1e-4)
    np.testing.assert_allclose(ratio, wanted.regressions["ratio"].value, atol=1e-4)
    for i, level in enumerate((0.16, 0.5, 0.84)):
        np.testing.assert_allclose(quantiles[:, i], wanted.regressions["ratio"].quantiles[level], atol=1e-4)
    assert embedding.shape == (len(rows), SIZES.width)
    one = run(alone(given, 0))
    np.testing.assert_allclose(one[0], scores[:1], atol=1e-5)
    assert all(np.isfinite(x).all() for x in run({k: np.zeros_like(a[:1]) for k, a in given.items()}))


def test_it_is_plain_onnx_that_old_runtimes_read(exported: Run, store: Store) -> None:
    model = onnx.load(exported.path / "tagger.onnx")
    assert {(each.domain, each.version) for each in model.opset_import} == {("", 18)}
    assert model.ir_version == 8
    assert not model.functions
    shapes = {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    features = len(store.schema.modalities["particles"].features)
    assert shapes == {
        "particles": ["batch", "n_particles", features],
        "particles_mask": ["batch", "n_particles"],
        "globals": ["batch", 1],
    }
    assert all(
        i.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for i in [*model.graph.input, *model.graph.output]
    )
    assert [o.name for o in model.graph.output] == ["scores", "ratio", "ratio_quantiles", "embedding"]


def test_the_metrics_say_what_was_compared(exported: Run, store: Store) -> None:
    found = exported.read("metrics.json")
    assert found["onnx"]["opset"] == 18
    assert found["rows"] == 60
    assert max(found["largest_difference"].values()) <= 1e-4
    assert max(found["stablehlo"]["largest_difference"].values()) <= 1e-4
    assert found["token_axis"] == "free"
    assert set(found["latency_us"]) == {"onnxruntime", "jax"}


def test_every_multiplicity_is_among_the_rows(store: Store) -> None:
    lengths = store.tokens_lengths("test", "particles")
    rows = rows_to_check(store, "test", 20)
    assert len(rows) == 20
    assert set(lengths[rows]) == set(lengths)
    assert len(rows_to_check(store, "test", 0)) == store.length("test")


def test_the_python_of_the_readme_runs(exported: Run) -> None:
    text = (exported.path / "README.md").read_text()
    assert "pt [GeV], eta [1], phi [rad], d0 [mm]" in text
    program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=exported.path, capture_output=True, text=True, check=True
    )
    differences_told = [float(line.rpartition(" ")[2]) for line in done.stdout.splitlines()]
    assert len(differences_told) == 4
    assert max(differences_told) < 1e-4


def test_a_file_that_differs_is_not_written(tagged: Run, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"ONNX file differs from JAX: '\w+' by .*nothing was written"):
        export(tagged.path, cfg=replace(QUICK, tolerance=1e-12), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_differences_are_seen_with_and_without_padding(exported: Run, tagged: Run, store: Store) -> None:
    deployed = Deployed(load_tagger(tagged), embedding=True)
    ours, names = jitted(deployed), [port.name for port in deployed.outputs]
    given = list(batches(deployed, store, "test", rows_to_check(store, "test", 20)))
    theirs = of_session(session((exported.path / "tagger.onnx").read_bytes()))
    assert not given[-1]["particles_mask"].any()
    assert max(differences(ours, theirs, given, names, free=True).values()) < 1e-4

    def wrong_alone(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [x + 0.25 * (len(x) == 1) for x in theirs(arrays)]

    assert max(differences(ours, wrong_alone, given, names, free=False).values()) < 1e-4
    assert differences(ours, wrong_alone, given, names, free=True)["scores"] == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(ToolError, match="differs"):
        refuse_different("ONNX", {"scores": float("nan")}, 1e-4)


def test_a_missing_package_is_an_install_command(tagged: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ToolError, match=r"pip install 'detfm\[onnx\]'"):
        export(tagged.path, cfg=QUICK, out=tmp_path / "out")


def test_edges_are_refused_and_half_precision_is_left(tmp_path: Path) -> None:
    spec = schema()
    cfg = FinetuneConfig(mode="frozen")
    sizes = EncoderConfig(width=8, layers=1, heads=2, precision="bfloat16")
    encoder = Encoder(spec, statistics(spec), sizes, rngs=nnx.Rngs(0))
    tagger = Tagger(encoder, Task.resolve(spec, cfg.task), cfg, rngs=nnx.Rngs(1))
    single = in_float32(tagger)
    assert not [m for _, m in nnx.iter_modules(single) if str(getattr(m, "dtype", "")) == "bfloat16"]
    object.__setattr__(tagger.task, "kind", "edge")
    with pytest.raises(ConfigError, match="pairs of tokens"):
        Deployed(tagger)
