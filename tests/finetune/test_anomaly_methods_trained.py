"""What the trained methods promise: densities, divergences, samples, and what each guards against."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from anomaly_toys import build, normal, scores, train
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from finetune.anomaly.methods.flow import Flow, FlowConfig
from finetune.anomaly.methods.nae import NAE, Langevin, NAEConfig, chain, on_sphere
from finetune.anomaly.methods.spline import spline
from finetune.anomaly.methods.svdd import AWAY
from finetune.anomaly.methods.vae import VAE, VAEConfig, kl_to_unit
from finetune.anomaly.vectors import Vectors


def random_flow(width):
    """One that is far from the identity, its slopes still what a grid resolves."""
    flow = Flow((width,), FlowConfig(4, (8,), 5), rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    for coupling in flow.couplings:
        last = coupling.network.layers[-1]
        last.kernel[...] = jnp.asarray(rng.normal(0, 0.15, size=last.kernel.shape), jnp.float32)
        last.bias[...] = jnp.asarray(rng.normal(0, 0.5, size=last.bias.shape), jnp.float32)
    x = rng.normal(size=(500, width)) @ (np.eye(width) + 0.4 * rng.normal(size=(width, width))) + 1
    flow.prepare(x.astype(np.float32), np.ones(500, np.float32), 0)
    return flow


@pytest.mark.parametrize("width", [1, 2])
def test_the_density_of_a_flow_integrates_to_one(width):
    flow, axis = random_flow(width), np.linspace(-9, 11, 20001 if width == 1 else 801).astype(np.float32)
    grid = np.stack(np.meshgrid(*[axis] * width, indexing="ij"), axis=-1).reshape(-1, width)
    density = np.exp(-scores(flow, grid)["score"].astype(np.float64))
    assert density.sum() * (axis[1] - axis[0]) ** width == pytest.approx(1, abs=2e-3)
    assert density.max() / density[np.abs(grid - 1).sum(axis=1).argmin()] != pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_flow_is_invertible_and_its_jacobian_that_of_autodiff(width):
    flow = random_flow(width)
    with jax.enable_x64(True):  # splines as wild as these lose digits of float32 on the way back
        x = jnp.asarray(np.random.default_rng(1).normal(1, 2, size=(40, width)))
        z, log_jacobian = flow.mapped(x)
        np.testing.assert_allclose(flow.unmapped(z), x, atol=1e-4)
        jacobian = jax.vmap(jax.jacfwd(lambda row: flow.mapped(row[None])[0][0]))(x)
        np.testing.assert_allclose(log_jacobian, np.linalg.slogdet(np.asarray(jacobian))[1], atol=1e-5)
    assert np.asarray(log_jacobian).std() > 0.1


def test_a_flow_starts_as_the_gaussian_of_its_training_set():
    flow, x = build("flow"), normal((4,), 500)
    flow.prepare(x, np.ones(500, np.float32), 0)
    covariance = np.cov(x.T, ddof=0)
    shrunk = 0.999 * covariance + 1e-3 * np.trace(covariance) / 4 * np.eye(4)
    wanted = -multivariate_normal(x.mean(axis=0), shrunk).logpdf(x[:20])
    np.testing.assert_allclose(scores(flow, x[:20])["score"], wanted, rtol=1e-3, atol=1e-3)


@given(st.floats(-7, 7), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_spline_rises_and_goes_back(x, seed):
    parameters = jnp.asarray(np.random.default_rng(seed).normal(0, 1, 11), jnp.float32)
    at = jnp.asarray([x, x + 0.1], jnp.float32)
    y, log_slope = spline(at, jnp.stack([parameters] * 2), 5.0)
    assert y[1] > y[0]
    back, minus = spline(y, jnp.stack([parameters] * 2), 5.0, inverse=True)
    np.testing.assert_allclose(back, at, atol=1e-3)
    np.testing.assert_allclose(minus, -log_slope, atol=2e-2)


def test_a_spline_of_zeros_is_the_identity():
    x = jnp.linspace(-6, 6, 50)
    y, log_slope = spline(x, jnp.zeros((50, 11)), 5.0)
    np.testing.assert_allclose(y, x, atol=1e-5)
    np.testing.assert_allclose(log_slope, 0, atol=1e-5)


@pytest.mark.parametrize(("mu", "deviation"), [(0.0, 1.0), (1.5, 0.3), (-0.7, 2.0)])
def test_the_divergence_of_the_vae_is_the_integral_that_defines_it(mu, deviation):
    def integrand(z):
        log_p = norm.logpdf(z, mu, deviation)
        return np.exp(log_p) * (log_p - norm.logpdf(z))

    wanted = quad(integrand, mu - 12 * deviation, mu + 12 * deviation, limit=200)[0]
    found = kl_to_unit(jnp.full((1, 3), mu), jnp.full((1, 3), 2 * np.log(deviation)))
    assert float(found[0]) == pytest.approx(3 * wanted, abs=1e-5)


def test_the_encoder_alone_gives_the_score_of_axol1tl():
    vae, x = VAE((57,), VAEConfig(), rngs=nnx.Rngs(0)), np.ones((20, 57), np.float32)
    layers = [(np.asarray(each.kernel[...]), np.asarray(each.bias[...])) for each in vae.mean_layers]
    assert [kernel.shape for kernel, _ in layers] == [(57, 28), (28, 15), (15, 8)]
    found = x * np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    wanted = scores(vae, found)
    for kernel, bias in layers[:-1]:
        found = np.maximum(found @ kernel + bias, 0)
    mu = found @ layers[-1][0] + layers[-1][1]
    np.testing.assert_allclose(np.square(mu).sum(axis=1), wanted["mu2"], rtol=1e-4, atol=1e-6)


def test_beta_grows_with_the_steps():
    vae, x = VAE((4,), VAEConfig((8,), 2, beta=0.8, warmup=4), rngs=nnx.Rngs(0)), jnp.asarray(normal((4,), 8))
    seen = [float(vae.loss(Vectors(x, jnp.ones(8)), jax.random.key(0))[1]["beta"]) for _ in range(6)]
    np.testing.assert_allclose(seen, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)


def test_svdd_does_not_collapse(tmp_path):
    method = train(build("svdd"), normal((4,), 500), tmp_path, 400)
    assert np.abs(method.center[...]).min() >= AWAY * 0.999
    outputs = np.asarray(method.network(jnp.asarray(normal((4,), 200, 1))))
    assert outputs.var(axis=0).sum() > 1e-6 * np.square(method.center[...]).sum()
    assert np.abs(np.asarray(method.network(jnp.zeros((1, 4))))).max() == 0  # no bias anywhere
    odd = scores(method, 5 * normal((4,), 200, 2))["score"]
    assert np.median(odd) > 5 * np.median(scores(method, normal((4,), 200, 3))["score"])


def test_langevin_chains_end_in_the_density_of_their_energy():
    """Energy x^2 / 2 of temperature T = noise^2 / (2 step): a Gaussian of variance T / (1 - step / 2)."""
    config = Langevin(steps=200, step=0.1, noise=0.3, clip=10.0)
    ends = chain(lambda x: jnp.square(x).sum() / 2, jnp.full((4000, 1), 3.0), config, jax.random.key(0), lambda x: x)
    temperature = config.noise**2 / (2 * config.step)
    assert float(ends.mean()) == pytest.approx(0, abs=0.05)
    assert float(ends.var()) == pytest.approx(temperature / (1 - config.step / 2), rel=0.08)


def test_directions_are_of_unit_length_and_zero_is_finite():
    z = on_sphere(jnp.asarray([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(z, [[0.6, 0.8], [0, 0]], atol=1e-6)


CENTERS = 1.5 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])


def clusters(rows, seed):
    rng = np.random.default_rng(seed)
    return (CENTERS[rng.integers(0, 4, rows)] + 0.3 * rng.normal(size=(rows, 2))).astype(np.float32)


@pytest.mark.slow
def test_normalising_repairs_what_a_plain_autoencoder_restores_too_well(tmp_path):
    """Four clusters, and a grid of points far from all of them: the share that is restored better than the worst
    1% (10%) of the normal ones is where an autoencoder is blind."""
    grid = np.stack(np.meshgrid(*[np.linspace(-4, 4, 120)] * 2), axis=-1).reshape(-1, 2).astype(np.float32)
    grid = grid[np.linalg.norm(grid[:, None] - CENTERS, axis=2).min(axis=1) > 4 * 0.3]
    blind = {}
    for name, pretrain in (("plain", 1200), ("normalised", 300)):
        config = NAEConfig((32, 32), 3, pretrain, buffer=1000)
        method = train(NAE((2,), config, rngs=nnx.Rngs(0)), clusters(3000, 0), tmp_path / name, 1200)
        limits = np.quantile(scores(method, clusters(2000, 1))["score"], [0.9, 0.99])
        blind[name] = [float((scores(method, grid)["score"] < limit).mean()) for limit in limits]
    assert blind["plain"][0] > 0.002
    assert blind["plain"][1] > 0.02
    assert blind["normalised"][0] < 0.2 * blind["plain"][0]
    assert blind["normalised"][1] < 0.5 * blind["plain"][1]
