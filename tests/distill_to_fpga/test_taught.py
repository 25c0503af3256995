"""What taggers teach: several of them, more data than they were given, and inputs that the student does not see."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax, softmax
from small_crossings import PLACES, crossings, schema, write_store

from distill_to_fpga.config import DistillRunConfig, StoresConfig
from distill_to_fpga.inputs import hardware_integers, hardware_layout
from distill_to_fpga.taught import Taggers, mean_of_log_probabilities, vectors
from finetune.config import FinetuneConfig
from finetune.model import Tagger, outputs
from finetune.saved import save_tagger
from finetune.task import Task, TaskConfig
from foundation.cli import main
from foundation.embedding import apply, input_statistics
from foundation.errors import ConfigError, DataError
from foundation.models import Encoder, EncoderConfig
from foundation.runs import Run
from foundation.store import Store

COUNT = 1200


def tagger_run(folder: Path, store: Store, seed: int, labels: int = 100, **task) -> Run:
    """A finetune run of an untrained tagger, which is as good as any to see what is done with its words."""
    config = FinetuneConfig(task=TaskConfig(**task), labels=labels)
    config = replace(config, train=replace(config.train, seed=seed))
    encoder = Encoder(
        store.schema, input_statistics(store), EncoderConfig(width=16, layers=1, heads=2), rngs=nnx.Rngs(seed)
    )
    tagger = Tagger(encoder, Task.resolve(store.schema, config.task), config, rngs=nnx.Rngs(seed + 1))
    inputs = {"store": store.path}
    run = Run.create(folder, "finetune", config=config, schema=store.schema, inputs=inputs, seeds={"train": seed})
    save_tagger(run.path, tagger)
    return run


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("taught")
    store = write_store(root / "data", crossings(COUNT), schema())
    for seed in (1, 2):
        tagger_run(root / f"teacher-{seed}", store, seed)
    return root


def loaded(line: Path, **settings) -> Taggers:
    embeds = settings.pop("embeds", False)
    return Taggers.load(Run.open(line / "teacher-1"), DistillRunConfig(**settings), embeds=embeds)


def layout_of(taggers: Taggers):
    return hardware_layout(taggers.board.schema, "objects", (), PLACES)


def test_the_mean_of_log_probabilities_is_a_geometric_mean():
    random = np.random.default_rng(0)
    each = [random.normal(size=(20, 4)).astype(np.float32) * 3 for _ in range(3)]
    said = mean_of_log_probabilities([e + 100 * i for i, e in enumerate(each)], 3)  # a constant is no opinion
    product = np.prod([softmax(e[:, :3], axis=1) for e in each], axis=0) ** (1 / 3)
    np.testing.assert_allclose(softmax(said[:, :3], axis=1), product / product.sum(1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(said[:, 3], np.mean([e[:, 3] for e in each], axis=0) + 100, rtol=1e-5)


def test_an_ensemble_speaks_with_one_voice_and_knows_the_labels_of_all(line):
    alone = [Taggers.load(Run.open(line / f"teacher-{seed}"), DistillRunConfig()) for seed in (1, 2)]
    both = loaded(line, ensemble=(str(line / "teacher-2"),))
    layout = layout_of(both)
    words = [each.train(layout).teacher for each in alone]
    expected = np.mean([log_softmax(w.astype(np.float64), axis=1) for w in words], axis=0)
    found = both.train(layout)
    np.testing.assert_allclose(found.teacher, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(words[0], words[1])
    given = set(alone[0].labelled) | set(alone[1].labelled)
    assert set(np.flatnonzero(found.labels >= 0)) == given == set(both.given())
    assert len(given) > 100


def test_teachers_of_different_tasks_are_refused(line, tmp_path):
    other = tagger_run(tmp_path / "other", loaded(line).data, 3, groups={"signal": ["signal"], "data": ["data"]})
    with pytest.raises(ConfigError, match=r"ensemble: .*other has outputs \['signal', 'data'\]"):
        loaded(line, ensemble=(str(other.path),))


def test_more_data_comes_without_labels(line, tmp_path):
    teachers = loaded(line, embeds=True)
    extra = write_store(tmp_path, crossings(500, seed=7), schema())
    layout = layout_of(teachers)
    own, more = teachers.train(layout), teachers.train(layout, (str(extra.path),))
    count = len(own.labels)
    assert len(more.labels) == count + extra.length("train")
    assert (more.labels[count:] == -1).all()
    np.testing.assert_array_equal(more.labels[:count], own.labels)
    np.testing.assert_array_equal(more.integers[count:], hardware_integers(extra, layout, "train")[0])
    said = apply(teachers.taggers[0], outputs, extra, "train")
    np.testing.assert_allclose(more.teacher[count:], said, rtol=1e-5)
    assert more.embedding.shape == (len(more.labels), 16)
    blind = write_store(tmp_path / "blind", crossings(300), schema("pt"))
    with pytest.raises(DataError, match="has other modalities"):
        teachers.train(layout, (str(blind.path),))


def test_the_teacher_may_see_what_the_student_does_not(line, tmp_path):
    """The student's store has the same crossings in another order, a part of them, and only pt."""
    columns = crossings(COUNT)
    kept = np.random.default_rng(5).permutation(COUNT)[:900]
    board = write_store(tmp_path / "board", {name: values[kept] for name, values in columns.items()}, schema("pt"))
    alone, pair = loaded(line, embeds=True), loaded(line, stores=StoresConfig(student=str(board.path)), embeds=True)
    layout = layout_of(pair)
    assert list(layout.features) == ["pt"]
    whole, found = alone.train(layout_of(alone)), pair.train(layout)
    ours, theirs = (np.asarray(s.observer("train", "event_id")).tolist() for s in (alone.data, board))
    rows = [row for row, event in enumerate(ours) if event in set(theirs)]
    assert len(found.labels) == len(rows) < len(whole.labels)
    np.testing.assert_array_equal(found.integers, whole.integers[rows][..., :1])
    np.testing.assert_array_equal(found.labels, whole.labels[rows])
    np.testing.assert_allclose(found.teacher, whole.teacher[rows], rtol=1e-5)
    np.testing.assert_allclose(found.embedding, apply(alone.taggers[0], vectors, alone.data, "train")[rows], rtol=1e-5)
    np.testing.assert_array_equal(pair.given(), np.flatnonzero(found.labels >= 0))


def test_settings_that_do_not_go_together():
    for wrong in ({"key": ()}, {"extra": ("x",)}):
        with pytest.raises(ConfigError, match=r"needs stores\.key, and does not go with stores\.extra"):
            StoresConfig(student="y", **wrong).check()


@pytest.mark.slow
def test_the_whole_command(line, tmp_path):
    """Two teachers, an embedding, more data, pruning; the evaluation says what noise takes."""
    extra = write_store(tmp_path / "more", crossings(500, seed=7), schema())
    config = {
        "student": {"kind": "mlp", "tokens": PLACES, "hidden": [8], "scaling": "place"},
        "distill": {
            "steps": 200,
            "batch": 64,
            "embedding_weight": 0.5,
            "relational_weight": 0.5,
            "prune": {"rounds": 1, "sparsity": 0.5, "rewind": 0.5},
        },
        "ensemble": [str(line / "teacher-2")],
        "stores": {"extra": [str(extra.path)]},
    }
    (tmp_path / "cfg.yaml").write_text(json.dumps(config))
    student, found = tmp_path / "student", tmp_path / "evaluation"
    assert main(["distill", str(line / "teacher-1"), "--cfg", str(tmp_path / "cfg.yaml"), "--out", str(student)]) == 0
    run = Run.open(student)
    assert {"teacher", "teacher_2", "store"} <= set(run.provenance["inputs"])
    assert run.config(DistillRunConfig).distill.prune.rounds == 1
    lines = [json.loads(line) for line in (student / "metrics.jsonl").read_text().splitlines()]
    assert [each["step"] for each in lines] == [100, 200, 200]
    assert {"embedding", "relational", "teacher"} <= set(lines[0])
    assert run.read("metrics.json")["student"]["nonzero_weights"] <= 0.51 * (PLACES * 2 * 8 + 8 * 2)
    assert main(["evaluate", str(student), "--cfg.replicas", "5", "--out", str(found)]) == 0
    records = json.loads((found / "metrics.json").read_text())["robustness"]
    assert {"inputs", "how", "auc", "accuracy", "reference auc", "reference accuracy"} == set(records[0])
    assert {"noise", "pile-up", "scale", "dead feature", "dead token"} < {each["inputs"] for each in records}
    assert main(["report", str(found), "--out", str(tmp_path / "report.html")]) == 0
    assert "of empty places filled" in (tmp_path / "report.html").read_text()
