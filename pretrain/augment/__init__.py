"""Augmentations on the device: those that leave the physics of an example as it was, and anomalous ones (negatives)."""

from pretrain.augment.anomalous_settings import AddedObjects, AnomalousConfig, MetShift, Multiplicity, PtShift
from pretrain.augment.apply import anomalous, augment
from pretrain.augment.config import AugmentConfig
from pretrain.augment.settings import (
    DeadCells,
    DeadRegion,
    Dropout,
    EtaFlip,
    ModalityDropout,
    PhiRotation,
    Pileup,
    Rotation,
    Scale,
    Smearing,
    Soft,
    Splitting,
    Translation,
    Vertex,
)

__all__ = [
    "AddedObjects",
    "AnomalousConfig",
    "AugmentConfig",
    "DeadCells",
    "DeadRegion",
    "Dropout",
    "EtaFlip",
    "MetShift",
    "ModalityDropout",
    "Multiplicity",
    "PhiRotation",
    "Pileup",
    "PtShift",
    "Rotation",
    "Scale",
    "Smearing",
    "Soft",
    "Splitting",
    "Translation",
    "Vertex",
    "anomalous",
    "augment",
]
