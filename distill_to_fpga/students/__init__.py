"""Students: networks small enough for a trigger board, from hardware integers to logits."""

from distill_to_fpga.students.config import StudentConfig
from distill_to_fpga.students.freeze import freeze, quantize_after_training
from distill_to_fpga.students.persist import load_student, save_student
from distill_to_fpga.students.student import (
    DeepSetsStudent,
    MLPStudent,
    Student,
    build_student,
    input_scaling,
    predict,
    predict_exact,
)

__all__ = [
    "DeepSetsStudent",
    "MLPStudent",
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
]
