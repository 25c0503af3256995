"""Lottery tickets: what is dropped stays dropped, what is left starts where it was."""

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from small_students import LAYOUT, adversarial, student
from test_distill import CLASSES, TRAIN

from distill_to_fpga import distill as training
from distill_to_fpga.distill import distill
from distill_to_fpga.graph import run, to_real
from distill_to_fpga.lower import count_luts, lower
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.prune import PruneConfig, factors, masks
from distill_to_fpga.students import StudentConfig, predict_exact
from foundation.errors import ConfigError

MLP = StudentConfig(kind="mlp", tokens=4, hidden=(8, 6))
DEEPSETS = StudentConfig(kind="deepsets", tokens=4, phi=(5, 3), rho=(4,))
CNN = StudentConfig(kind="cnn", tokens=4, image=(2, 2), patch=(1, 1), filters=4, hidden=(3,))
QUICK = DistillConfig(steps=300, batch=128, prune=PruneConfig(rounds=2, sparsity=0.75, rewind=0.4))


def dropped(config, shape, rounds=1):
    return masks(student(shape), config, rounds, None)


def test_weights_are_dropped_smallest_first_and_never_come_back():
    made, config = student(MLP), PruneConfig(rounds=2, sparsity=0.75)
    before = None
    for number, kept in ((1, 0.5), (2, 0.25)):
        found = masks(made, config, number, before)
        every = np.concatenate([mask.ravel() for mask, _ in found])
        assert every.mean() == pytest.approx(kept, abs=0.01)
        sizes = np.concatenate([np.abs(layer.kernel[...]).ravel() for layer in made.dense()])
        assert sizes[every].min() >= sizes[~every].max()
        assert all(bias.all() for _, bias in found)
        if before is not None:
            assert not any((mask & ~old).any() for (mask, _), (old, _) in zip(found, before))
        before = found
        made.dense()[0].kernel[...] = made.dense()[0].kernel[...] * 0.5  # other weights the next time


def test_a_channel_goes_with_all_that_touches_it():
    config = PruneConfig(rounds=1, sparsity=0.5, what="channels")
    for shape in (MLP, DEEPSETS, CNN):
        found = dropped(config, shape)
        for (mask, bias), (after, _) in itertools.pairwise(found):
            assert bias.mean() == pytest.approx(0.5, abs=0.17)
            assert not mask[:, ~bias].any()
            read = after.any(1).reshape(-1, len(bias))
            assert (read == bias).all(), "of every patch"
        assert found[-1][1].all(), "outputs stay"


def test_features_and_tokens_are_dropped_whole():
    rows = dropped(PruneConfig(1, 0.6, "features"), MLP)[0][0].any(1).reshape(4, 3)
    assert (rows == rows[0]).all()
    assert rows[0].sum() == 1
    assert dropped(PruneConfig(1, 0.6, "features"), DEEPSETS)[0][0].any(1).sum() == 1
    tokens = dropped(PruneConfig(1, 0.5, "tokens"), MLP)[0][0].any(1).reshape(4, 3)
    assert (tokens.sum(1) % 3 == 0).all()
    assert tokens.any(1).sum() == 2


def test_factors_are_one_where_nothing_is_dropped():
    made = student(MLP)
    assert all((np.asarray(leaf) == 1).all() for leaf in jax.tree.leaves(nnx.state(factors(made, ()), nnx.Param)))
    assert float(made.dense()[0].kernel[...][0, 0]) != 1


@pytest.fixture(scope="module")
def recorded():
    """A pruned training, and the weights with which each block of steps began and ended."""
    seen, real = [], training._block

    def spy(plan, carry, data, batches, numbers, factor=None):
        before = jax.tree.map(np.array, carry[:2])
        carry, metrics = real(plan, carry, data, batches, numbers, factor)
        seen.append((int(numbers[0]), before, jax.tree.map(np.array, carry[0][0])))
        return carry, metrics

    training._block = spy
    try:
        made = distill(QUICK, MLP, TRAIN, CLASSES, seed=1)
    finally:
        training._block = real
    return made, seen


def kernels(weights) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(weights) if np.ndim(leaf) == 2])


def test_rounds_start_from_the_early_weights(recorded):
    """The state at step 100, moments of the optimiser included; only what is dropped is zero."""
    _, seen = recorded
    assert [first for first, *_ in seen] == [0, 100, 200, 100, 200, 100, 200]
    (early, moments), *again = (before for first, before, _ in seen if first == 100)
    initial = kernels(seen[0][1][0][0])
    for (weights, widths), later in again:
        start, kept = kernels(weights), kernels(early[0])
        assert (start[start != 0] == kept[start != 0]).all()
        assert (start[start != 0] != initial[start != 0]).any()
        for one, other in zip(jax.tree.leaves((widths, later)), jax.tree.leaves((early[1], moments))):
            np.testing.assert_array_equal(one, other)


def test_masks_stay_zero_to_the_end(recorded):
    made, seen = recorded
    zero: np.ndarray | None = None
    for first, (trainable, _), after in seen[3:]:
        if first == 100:
            zero = kernels(trainable[0]) == 0
        assert (kernels(after)[zero] == 0).all()
    assert zero.mean() == pytest.approx(0.75, abs=0.01)
    final = np.concatenate([np.asarray(layer.kernel[...]).ravel() for layer in made.student.dense()])
    assert (final == 0).mean() >= 0.74
    assert [record["step"] for record in made.history] == [100, 200, 300, 200, 300, 200, 300]


def test_no_rounds_change_nothing():
    both = PruneConfig(), PruneConfig(0, 0.5)
    made = [distill(replace(QUICK, steps=100, prune=each), MLP, TRAIN, CLASSES) for each in both]
    outputs = [predict_exact(each.student, TRAIN.integers[:50]) for each in made]
    assert (outputs[0] == outputs[1]).all()


def test_structured_pruning_takes_columns_from_the_graph():
    config = replace(QUICK, steps=100, prune=PruneConfig(1, 0.5, "channels", 0.0))
    made = distill(config, MLP, TRAIN, CLASSES).student
    graph = lower(made, LAYOUT)
    dense = [node.op for node in graph.nodes if node.op.kind == "dense"]
    assert all((op.weight != 0).any(0).sum() <= most for op, most in zip(dense, (4, 3, 2)))  # zeros emit nothing
    assert all((np.asarray(op.bias)[~(op.weight != 0).any(0)] == 0).all() for op in dense[:2])
    whole = distill(replace(config, prune=PruneConfig()), MLP, TRAIN, CLASSES).student
    assert [layer.kernel.shape[1] for layer in whole.dense()] == [8, 6, 2]
    assert count_luts(made, LAYOUT) < 0.6 * count_luts(whole, LAYOUT)
    x = adversarial()
    assert (to_real(graph, "outputs", run(graph, {"particles": x})["outputs"]) == predict_exact(made, x)).all()


@pytest.mark.parametrize(
    ("wrong", "shape", "message"),
    [
        ({"sparsity": 1.0}, MLP, "0 < sparsity < 1"),
        ({"rewind": 1.0}, MLP, "0 <= rewind < 1"),
        ({"what": "tokens"}, DEEPSETS, "for students of kind mlp, not deepsets; of others set student.tokens"),
        ({"what": "features"}, CNN, "for students of kind mlp, deepsets, not cnn"),
    ],
)
def test_what_cannot_be_pruned(wrong, shape, message):
    config = replace(PruneConfig(rounds=1), **wrong)
    with pytest.raises(ConfigError, match=message):
        distill(replace(QUICK, prune=config), shape, TRAIN, CLASSES)
