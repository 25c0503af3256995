from __future__ import annotations

import contextlib

import awkward as ak
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import SchemaError
from foundation.expression import Expression


def evaluate(text, functions=np, **columns):
    return Expression(text).evaluate(columns, functions)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + 2 * y - 1", [8.0, 10.0]),
        ("-x ** 2", [-1.0, -4.0]),
        ("x < 2 and not y < 4", [True, False]),
        ("1 < x <= 2", [False, True]),
        ("(x > 1) | (y > 4)", [False, True]),
        ("~(x > 1)", [True, False]),
        ("where(x > 1, y, -y)", [-4.0, 4.5]),
        ("clip(y, 0, 4.2)", [4.0, 4.2]),
        ("hypot(3 * x, 4 * x)", [5.0, 10.0]),
        ("delta_phi(3 + 0 * x, -3)", [6 - 2 * np.pi] * 2),
        ("y // 2 + y % 2", [2.0, 2.5]),
    ],
)
def test_values_on_every_array_library(text, expected):
    x, y = np.array([1.0, 2.0]), np.array([4.0, 4.5])
    np.testing.assert_allclose(evaluate(text, x=x, y=y), expected, rtol=1e-12)
    np.testing.assert_allclose(ak.to_numpy(evaluate(text, x=ak.Array(x), y=ak.Array(y))), expected, rtol=1e-12)
    compiled = jax.jit(lambda x, y: evaluate(text, jnp, x=x, y=y))
    np.testing.assert_allclose(compiled(x, y), expected, rtol=1e-5)


def test_ragged_and_padded_agree():
    """What ingest computes over awkward columns is what the device recomputes over padded tokens and globals [B, 1]."""
    rows = [[5.0, 2.0, 1.0], [4.0], [3.0, 3.0]]
    jet = np.array([10.0, 4.0, 6.0])
    padded = np.array([row + [0.0] * (3 - len(row)) for row in rows])
    mask = padded > 0
    for text in ("pt / jet", "pt / sum(pt)", "log(pt) - log(jet)", "where(pt > 2, pt, jet)"):
        ragged = ak.flatten(evaluate(text, pt=ak.Array(rows), jet=ak.Array(jet)))
        device = evaluate(text, jnp, pt=jnp.asarray(padded), jet=jnp.asarray(jet)[:, None])
        np.testing.assert_allclose(np.asarray(device)[mask], ragged, rtol=1e-5)


def test_subscripts():
    x = ak.from_regular(ak.Array(np.arange(24.0).reshape(2, 3, 4)), axis=1)
    np.testing.assert_array_equal(evaluate("x[..., 3]", x=x), [[3, 7, 11], [15, 19, 23]])
    np.testing.assert_array_equal(evaluate("x[:, 0, -1]", x=x), [3, 15])
    np.testing.assert_array_equal(evaluate("sum(x[..., 0])", x=x), [12, 48])
    np.testing.assert_array_equal(evaluate("x[:, 1:, 0]", x=x), [[4, 8], [16, 20]])


@given(st.floats(0.1, 100), st.floats(-3.1, 3.1), st.floats(-4, 4))
def test_four_vector_helpers_invert(pt, phi, eta):
    components = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    assert evaluate("pt(px, py)", **components) == pytest.approx(pt, rel=1e-9)
    assert evaluate("phi(px, py)", **components) == pytest.approx(phi, abs=1e-9)
    assert evaluate("eta(px, py, pz)", **components) == pytest.approx(eta, abs=1e-9)


def test_names():
    assert Expression("log(Jet.PT) + column('odd name/x') * pi").names == {"Jet.PT", "odd name/x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('true')", "at character 1"),
        ("x.__class__()", "no function"),
        ("1 + lg(x)", r"no function 'lg' \(did you mean 'log'.*at character 5"),
        ("x if y else z", "where"),
        ("[i for i in x]", "ListComp"),
        ("(lambda: 1)()", "no function"),
        ("x[y]", "subscript"),
        ("'text'", "only numbers"),
        ("True", "only numbers"),
        ("log(x, y)", "1 positional"),
        ("log(x=1)", "1 positional"),
        ("x @ y", "not accepted"),
        ("x is y", "Is is not accepted"),
        ("f'{x}'", "not accepted"),
        ("x := 1", "syntax"),
        ("log(x", "never closed at character 4"),
        ("", "syntax"),
        ("1+" * 5000 + "1", "characters"),
        ("(" * 900 + "1" + ")" * 900, "expression"),
    ],
)
def test_everything_else_is_refused(text, message):
    with pytest.raises(SchemaError, match=message):
        Expression(text)


def test_numbers_stay_bounded():
    with pytest.raises(SchemaError, match="cannot be evaluated"):
        evaluate("9 ** 9 ** 9 ** 9")


def test_a_missing_column_is_named_with_the_close_ones():
    with pytest.raises(SchemaError, match=r"no column 'jet_ptt'; did you mean 'jet_pt'"):
        evaluate("log(jet_ptt)", jet_pt=np.ones(1), other=np.ones(1))


@given(st.text(alphabet="x1.+*-/()[]:,'<>=~&| logsum", max_size=30))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(SchemaError):
        Expression(text)
