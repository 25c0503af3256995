"""The short pretrainings of benchmarks/embedding.py --ablations: name -> (what is changed, settings)."""

from __future__ import annotations

STEPS = 150


def _on(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in (f"--cfg.augment.{name}.probability", "1"))


_NOT_CONTRASTIVE = ("--cfg.contrastive.weight", "0")

ABLATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "preset": ("as the preset", ()),
    "untrained": ("not trained: random parameters", ("--cfg.train.steps", "1", "--cfg.train.learning_rate", "1e-12")),
    "augmentation": (
        "positives: rotation, smearing, splitting, drop-out instead of re-simulation",
        ("--cfg.positives", "augmentation", *_on("rotation", "smearing", "splitting", "dropout")),
    ),
    "masked": ("masked tokens instead", (*_NOT_CONTRASTIVE, "--cfg.masked.weight", "1")),
    "and_masked": ("and masked tokens", ("--cfg.masked.weight", "1")),
    "vicreg": ("VICReg instead", (*_NOT_CONTRASTIVE, "--cfg.vicreg.weight", "1")),
    "supervised": (
        "with the simulation's labels instead (no self-supervision)",
        (*_NOT_CONTRASTIVE, "--cfg.supervised.weight", "1", "--cfg.supervised.labels", "{jet_class: 1.0}"),
    ),
    "rotation": ("and rotation", _on("rotation")),
    "smearing": ("and smearing", _on("smearing")),
    "no_pairs": ("without pair features", ("--cfg.encoder.pair_features", "false")),
    "dropout": ("and drop-out of tokens", _on("dropout")),
    "splitting": ("and collinear splitting", _on("splitting")),
    "soft": ("and soft radiation", _on("soft")),
    "scale": ("and energy scale (15 %)", (*_on("scale"), "--cfg.augment.scale.sigma", "0.15")),
    "translation": ("and translation", _on("translation")),
    "self_distillation": ("self-distillation instead", (*_NOT_CONTRASTIVE, "--cfg.self_distillation.weight", "1")),
}
