"""Normal crossings of known shape, outliers, and small settings of every method."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from flax import nnx

from finetune.anomaly.method import Method
from finetune.anomaly.methods import METHODS, MethodsConfig, build_method
from finetune.anomaly.methods.autoencoder import AutoencoderConfig
from finetune.anomaly.methods.conv_autoencoder import ConvAutoencoderConfig
from finetune.anomaly.methods.flow import FlowConfig
from finetune.anomaly.methods.isolation_forest import IsolationForestConfig
from finetune.anomaly.methods.knn import KNNConfig
from finetune.anomaly.methods.nae import NAEConfig
from finetune.anomaly.methods.svdd import SVDDConfig
from finetune.anomaly.methods.vae import VAEConfig
from finetune.anomaly.vectors import VectorBatches
from foundation.train import TrainConfig, fit

SMALL = MethodsConfig(
    autoencoder=AutoencoderConfig((16,), 2),
    conv_autoencoder=ConvAutoencoderConfig((4, 4), 3, 6),
    vae=VAEConfig((16,), 3, beta=0.3, warmup=50),
    nae=NAEConfig((16,), 3, pretrain=100, buffer=256),
    svdd=SVDDConfig((16,), 4),
    knn=KNNConfig(3, 700),
    flow=FlowConfig(2, (8,), 4),
    isolation_forest=IsolationForestConfig(50, 64),
)
SHAPES = {name: ((6, 4) if name == "conv_autoencoder" else (4,)) for name in METHODS}
MIXED = np.random.default_rng(5).normal(size=(2, 4))  # four numbers that follow from two, and noise


def normal(shape: tuple[int, ...], rows: int, seed: int = 0) -> np.ndarray:
    """Correlated Gaussian vectors of about unit variance; or images, smooth along their rows."""
    rng = np.random.default_rng(seed)
    if len(shape) == 2:
        waves = np.cos(np.linspace(0, 3, shape[1]) + rng.normal(size=(rows, 1)))
        x = rng.normal(size=(rows, shape[0], 1)) * waves[:, None] + 0.1 * rng.normal(size=(rows, *shape))
    else:
        x = rng.normal(size=(rows, 2)) @ MIXED + 0.2 * rng.normal(size=(rows, shape[0]))
    return x.astype(np.float32)


def unusual(shape: tuple[int, ...], rows: int) -> np.ndarray:
    """Vectors in a small cluster off the plane of the normal ones, and about as long; images of unrelated pixels."""
    rng = np.random.default_rng(9)
    if len(shape) == 2:
        return rng.normal(size=(rows, *shape)).astype(np.float32)
    off = np.linalg.svd(MIXED)[2][-1]
    return (3 * off + 0.2 * rng.normal(size=(rows, shape[0]))).astype(np.float32)


def train(method: Method, x: np.ndarray, folder: Path, steps: int, seed: int = 0, **settings) -> Method:
    ones = np.ones(len(x), np.float32)
    method.prepare(x, ones, seed)
    if method.trains:
        config = TrainConfig(steps=steps, learning_rate=5e-3, checkpoint_every=10_000, seed=seed)
        fit(method, VectorBatches(x, ones, 128, seed), config, folder, keep_last=False, **settings)
    return method


def build(name: str, seed: int = 0) -> Method:
    return build_method(name, SHAPES[name], SMALL, rngs=nnx.Rngs(seed))


_score = nnx.jit(lambda method, x: method.scores(x))


def scores(method: Method, x: np.ndarray) -> dict[str, np.ndarray]:
    return jax.device_get(_score(method, x))
