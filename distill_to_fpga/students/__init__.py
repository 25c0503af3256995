"""Students: networks small enough for a trigger board, from hardware integers to logits."""

from distill_to_fpga.students.config import SCORE, StudentConfig
from distill_to_fpga.students.freeze import freeze, quantize_after_training
from distill_to_fpga.students.persist import load_student, save_student
from distill_to_fpga.students.student import (
    Student,
    build_student,
    predict,
    predict_exact,
    scaling_of,
)
from foundation.hardware_inputs import input_scaling

__all__ = [
    "SCORE",
    "Student",
    "StudentConfig",
    "build_student",
    "freeze",
    "input_scaling",
    "load_student",
    "predict",
    "predict_exact",
    "quantize_after_training",
    "save_student",
    "scaling_of",
]
