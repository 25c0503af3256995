"""Students that begin as others ended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_students import learnable, scatter_widths, student

from distill_to_fpga.distill import distill
from distill_to_fpga.inputs import layout_of
from distill_to_fpga.lower import count_luts
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.students import StudentConfig, freeze, predict_exact
from distill_to_fpga.students.settings import AttentionConfig, TablesConfig
from foundation.errors import ConfigError

SHAPE = StudentConfig(kind="deepsets", tokens=4, phi=(8, 4), rho=(8,))
SHAPES = {
    "digits": SHAPE,
    "bits of a channel": replace(SHAPE, weight_format="bits", weight_granularity="channel"),
    "tables": StudentConfig(kind="lut", tokens=4, tables=TablesConfig((3,), units=4)),
    "attention": StudentConfig(kind="attention", tokens=4, rho=(4,), attention=AttentionConfig(4, 1, 2, 3, 3)),
}
STAND_STILL = DistillConfig(steps=1, batch=64)  # the first step of a warm-up has learning rate 0
CLASSES = ("signal", "background")


TRAIN, TEST = learnable(3000, 1), learnable(2000, 2)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_without_a_step_it_is_the_start(shape):
    built = scatter_widths(student(shape), seed=2, low=0.0)
    built.classes, built.regressions = (*CLASSES, "pt"), ()
    start = freeze(built, TRAIN.integers)
    train = replace(TRAIN, teacher=np.zeros((3000, 3), np.float32))
    made = distill(STAND_STILL, shape, train, start.classes, seed=7, start=start).student
    assert len(np.unique(predict_exact(start, TEST.integers))) > 20
    assert (predict_exact(made, TEST.integers) == predict_exact(start, TEST.integers)).all()
    other = distill(STAND_STILL, shape, train, start.classes, seed=7).student
    assert (predict_exact(other, TEST.integers) != predict_exact(start, TEST.integers)).any()


def test_widths_of_single_weights_become_those_of_their_channel():
    fine = freeze(scatter_widths(student(replace(SHAPE, weight_format="bits")), seed=2, low=0.0), TRAIN.integers)
    fine.classes, fine.regressions = ("a", "b", "c"), ()
    coarse = replace(SHAPE, weight_format="bits", weight_granularity="channel")
    train = replace(TRAIN, teacher=np.zeros((3000, 3), np.float32))
    made = distill(STAND_STILL, coarse, train, fine.classes, start=fine).student
    assert (predict_exact(made, TEST.integers) == predict_exact(fine, TEST.integers)).all()


@pytest.mark.slow
def test_budget_by_budget_and_from_floating_point():
    """Each is trained for so few steps that it must have learnt from the one before."""
    first = distill(DistillConfig(steps=600, batch=128), replace(SHAPE, quantized=False), TRAIN, CLASSES, seed=4)
    found, board = first.student, layout_of(TRAIN.integers)
    for budget in (2000, 1000):
        config = DistillConfig(steps=400, batch=128, lut_budget=budget)
        found = distill(config, SHAPE, TRAIN, CLASSES, seed=4, start=found).student
        assert count_luts(found, board) == pytest.approx(budget, rel=0.1)
        assert (predict_exact(found, TEST.integers).argmax(1) == TEST.labels).mean() > 0.85


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (replace(SHAPE, phi=(8, 5)), r"student.phi is \(8, 5\), that of the start \(8, 4\)"),
        (replace(SHAPE, weight_format="bits"), "student.weight_format is bits, that of the start digits"),
        (StudentConfig(kind="trees", tokens=4), "trees are grown at once, from nothing"),
    ],
)
def test_another_shape_is_refused(shape, message):
    with pytest.raises(ConfigError, match=f"--start: .*{message}"):
        distill(STAND_STILL, shape, TRAIN, CLASSES, start=student(SHAPE))


def test_other_outputs_are_refused():
    with pytest.raises(ConfigError, match=r"the outputs are \['signal', 'background'\], those of the start .*'pt'\]"):
        distill(STAND_STILL, SHAPE, TRAIN, CLASSES, start=student(SHAPE))
