from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_students import LAYOUT, jets

from distill_to_fpga.budget import first_price, next_price
from distill_to_fpga.distill import distill
from distill_to_fpga.inputs import layout_of
from distill_to_fpga.lower import count_luts, inexact_in_float32, lower
from distill_to_fpga.objective import DistillConfig, Examples, losses
from distill_to_fpga.students import StudentConfig, predict, predict_exact
from foundation.errors import ConfigError, DataError, TrainingError

SHAPE = StudentConfig(kind="deepsets", tokens=4, phi=(8, 4), rho=(8,))
FLOAT = replace(SHAPE, quantized=False)
QUICK = DistillConfig(steps=600, batch=128, lut_budget=2000)
LABELS_ONLY = replace(QUICK, alpha=0.0)
CLASSES = ("signal", "background")


def learnable(count: int, seed: int) -> Examples:
    """Signal is what has a large sum of |deta|; the teacher knows by how much, the labels are 10% wrong."""
    x = jets(count, seed)
    score = (np.abs(x[..., 1]).sum(1) - 15) / 6.0
    flipped = np.random.default_rng(seed).random(count) < 0.1
    teacher = np.stack([score, -score], 1).astype(np.float32)
    return Examples(x, ((score < 0) ^ flipped).astype(np.int32), teacher)


TRAIN, TEST = learnable(3000, 1), learnable(2000, 2)


def accuracy(student, mode="exact") -> float:
    outputs = (predict_exact if mode == "exact" else predict)(student, TEST.integers)
    return (outputs[:, :2].argmax(1) == TEST.teacher.argmax(1)).mean()


@pytest.fixture(scope="module")
def budgeted():
    return distill(QUICK, SHAPE, TRAIN, CLASSES, validation=TEST, seed=4)


def test_a_student_learns_within_its_budget(budgeted):
    assert accuracy(budgeted.student) > 0.9
    assert budgeted.history[0]["luts"] > 4000
    assert count_luts(budgeted.student, layout_of(TRAIN.integers)) == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize("weights", ["digits", "bits"])
def test_ebops_are_a_budget_too(weights):
    made = distill(
        replace(QUICK, lut_budget=None, ebops_budget=1000), replace(SHAPE, weight_format=weights), TRAIN, CLASSES
    )
    assert accuracy(made.student) > 0.85
    assert 700 < float(made.student.ebops()) < 1400
    assert made.history[-1]["ebops"] == pytest.approx(float(made.student.ebops()), rel=0.2)


def test_history_says_what_happened(budgeted):
    assert [record["step"] for record in budgeted.history] == [100, 200, 300, 400, 500, 600]
    last = budgeted.history[-1]
    assert set(last) >= {"loss", "teacher", "cross_entropy", "ebops", "luts", "beta", "validation_accuracy"}
    assert last["loss"] < budgeted.history[0]["loss"]
    assert last["validation_accuracy"] > 0.8  # labels, of which 10% are wrong


def test_the_trained_student_is_exact(budgeted):
    graph = lower(budgeted.student, LAYOUT)
    assert inexact_in_float32(graph) == {}
    assert (predict(budgeted.student, TEST.integers) == predict_exact(budgeted.student, TEST.integers)).all()


def test_pruning_happens(budgeted):
    kernels = [np.asarray(layer.kernel[...]) for layer in budgeted.student.dense()]
    zeros = sum((k == 0).sum() for k in kernels) / sum(k.size for k in kernels)
    assert 0.01 < zeros < 0.95


def test_same_seed_same_student_and_other_seed_another(budgeted):
    again, other = (distill(QUICK, SHAPE, TRAIN, CLASSES, validation=TEST, seed=seed) for seed in (4, 5))
    states = [nnx.to_flat_state(nnx.state(made.student)) for made in (budgeted, again)]
    assert all((np.asarray(a[...]) == np.asarray(b[...])).all() for (_, a), (_, b) in zip(*states))
    assert again.history == budgeted.history
    assert (predict_exact(other.student, TEST.integers) != predict_exact(again.student, TEST.integers)).any()


def test_the_teacher_beats_a_wrong_teacher_and_few_labels():
    """All examples with a teacher and no label at all; the same with shuffled logits; 40 labels and no teacher."""
    taught = Examples(TRAIN.integers, np.full(3000, -1, np.int32), TRAIN.teacher)
    misled = replace(taught, teacher=np.random.default_rng(0).permutation(TRAIN.teacher))
    few = Examples(TRAIN.integers[:40], TRAIN.labels[:40])
    right, wrong = (accuracy(distill(QUICK, FLOAT, x, CLASSES).student, "float") for x in (taught, misled))
    from_few = accuracy(distill(LABELS_ONLY, FLOAT, few, CLASSES).student, "float")
    assert right > 0.95
    assert right > from_few + 0.02
    assert right > wrong + 0.2


@pytest.mark.parametrize("shrink", [0.15, 0.6])
def test_the_cost_is_to_fall_to_the_budget_over_the_fraction_that_shrink_says(shrink):
    config = DistillConfig(steps=1000, lut_budget=100, shrink=shrink)

    def excess(cost: float, number: int) -> float:
        start = next_price(config, first_price(config), jnp.asarray(800.0), jnp.asarray(0, jnp.int32))
        return float(next_price(config, start, jnp.asarray(float(cost)), jnp.asarray(number, jnp.int32)).excess)

    halfway = np.sqrt(800 * 100)
    assert excess(halfway, round(500 * shrink)) == pytest.approx(0, abs=1e-5)
    assert excess(100, round(1000 * shrink)) == pytest.approx(0, abs=1e-5)
    assert excess(110, 999) == pytest.approx(np.log(1.1), abs=1e-5)


def test_a_rising_price_shrinks_the_student():
    config = replace(QUICK, lut_budget=None, beta_start=1e-8, beta_end=1e-4)
    made = distill(config, SHAPE, TRAIN, CLASSES)
    betas, luts = ([record[name] for record in made.history] for name in ("beta", "luts"))
    assert betas == sorted(betas)
    assert betas[-1] == pytest.approx(1e-4)
    assert luts[-1] < 0.75 * luts[0]
    assert accuracy(made.student) > 0.85


def test_regression_alone():
    target = (TRAIN.integers[..., 0].sum(1, keepdims=True) / 400).astype(np.float32)
    hidden = np.where(np.arange(3000)[:, None] % 3 == 0, np.nan, target).astype(np.float32)
    train = Examples(TRAIN.integers, np.full(3000, -1, np.int32), np.zeros((3000, 0), np.float32), hidden)
    made = distill(QUICK, FLOAT, train, (), ("pt_sum",)).student
    residual = predict(made, TRAIN.integers) - target
    assert residual.std() < 0.3 * target.std()


def test_losses_by_hand():
    outputs = jnp.asarray([[1.0, -1.0, 0.5], [0.0, 0.0, 9.0]])
    examples = Examples(
        np.zeros((2, 1, 1), np.int32),
        jnp.asarray([0, -1]),
        jnp.asarray([[1.0, -1.0], [2.0, 0.0]]),
        jnp.asarray([[0.0], [np.nan]]),
        jnp.asarray([3.0, 1.0]),
    )
    terms = losses(outputs, examples, DistillConfig(alpha=0.25, temperature=2.0, regression_weight=10.0), 2)
    assert terms["cross_entropy"] == pytest.approx(1.5 * 0.75 * np.log1p(np.exp(-2)) / 2, rel=1e-5)
    p = 1 / (1 + np.exp(-1))  # the teacher of the unlabelled example at temperature 2, against 1/2
    divergence = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    assert terms["teacher"] == pytest.approx(0.5 * 4 * divergence / 2, rel=1e-5)
    assert terms["regression"] == pytest.approx(10 * 1.5 * 0.125 / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.full(3000, 2, np.int32)}, "label 2 among the examples, but there are 2 classes"),
        ({"teacher": np.zeros((3000, 3), np.float32)}, r"teacher must have shape \(3000, 2\), got \(3000, 3\)"),
        ({"targets": np.ones((3000, 1), np.float32)}, r"targets must have shape \(3000, 0\)"),
        ({"teacher": None, "labels": np.full(3000, -1, np.int32)}, "nothing to learn from"),
        ({"integers": TRAIN.integers[:, :3]}, r"expected integers \[B > 0, 4, F\]"),
    ],
)
def test_examples_that_do_not_fit(change, message):
    with pytest.raises(DataError, match=message):
        distill(QUICK, SHAPE, replace(TRAIN, **change), CLASSES)


def test_a_student_with_regressions_needs_targets():
    with pytest.raises(DataError, match="has 1 regression outputs"):
        distill(QUICK, SHAPE, TRAIN, CLASSES, ("pt",))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"alpha": 1.5}, {"temperature": 0.0}, {"lut_budget": 0}, {"shrink": 0.9}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        distill(replace(QUICK, **wrong), SHAPE, TRAIN, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "budget"), [("digits", 1500), ("bits", 2500)])
def test_a_budget_in_luts_is_met_within_five_percent(weights, budget):
    made = distill(
        replace(QUICK, steps=2000, lut_budget=budget),
        replace(SHAPE, weight_format=weights),
        TRAIN,
        CLASSES,
        layout=LAYOUT,
    )
    assert count_luts(made.student, LAYOUT) == pytest.approx(budget, rel=0.05)
    assert accuracy(made.student) > 0.9


def test_two_budgets_are_refused():
    with pytest.raises(ConfigError, match="lut_budget and ebops_budget are both given"):
        distill(replace(QUICK, ebops_budget=100), SHAPE, TRAIN, CLASSES)


def test_a_loss_that_is_not_a_number_stops_with_its_step():
    teacher = TRAIN.teacher.copy()
    teacher[:] = np.nan
    with pytest.raises(TrainingError, match=r"NaN at step 0 .*teacher nan"):
        distill(QUICK, FLOAT, replace(TRAIN, teacher=teacher), CLASSES)


def test_the_loop_is_compiled_once():
    """A carry that changes its type from call to call (a weak float, say) would triple the time of a short training."""
    from distill_to_fpga.distill import _block

    before = _block._cache_size()
    distill(replace(LABELS_ONLY, steps=300), FLOAT, Examples(TRAIN.integers[:99], TRAIN.labels[:99]), CLASSES)
    assert _block._cache_size() == before + 1
