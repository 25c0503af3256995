from __future__ import annotations

import time

import awkward as ak
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foundation.errors import SchemaError
from foundation.expression import Expression, Shared, common_parts
from foundation.expression_functions import FILE_ONLY, FUNCTIONS
from foundation.jagged import Jagged, from_column


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
        ("log10(x) + round(y)", [4.0, 4 + np.log10(2)]),
        ("isfinite(y / (x - 1))", [False, True]),
        ("where(isfinite(log(x - 1)), 1, 0)", [0.0, 1.0]),
        ("px(y, 0) + py(y, pi / 2) + pz(y, 0)", [8.0, 9.0]),
        ("energy(4, 0, 3) + 0 * x", [5.0, 5.0]),
        ("mass(4 * x, 0, 5 * x)", [3.0, 6.0]),
        ("delta_r(0, 3, 4 * x, -3)", np.hypot([4, 8], 2 * np.pi - 6)),
    ],
)
def test_values_on_every_array_library(text, expected):
    x, y = np.array([1.0, 2.0]), np.array([4.0, 4.5])
    np.testing.assert_allclose(evaluate(text, x=x, y=y), expected, rtol=1e-12)
    np.testing.assert_allclose(ak.to_numpy(evaluate(text, x=ak.Array(x), y=ak.Array(y))), expected, rtol=1e-12)
    compiled = jax.jit(lambda x, y: evaluate(text, jnp, x=x, y=y))
    np.testing.assert_allclose(compiled(x, y), expected, rtol=1e-5)


ROWS = [[5.0, 2.0, 1.0], [], [4.0], [3.0, 3.0]]
ARGUMENTS = {name: ["t / 5", "1 + t", "j / 20", "t"][:count] for name, (count, _) in FUNCTIONS.items()}
CALLS = [f"{name}({', '.join(arguments)})" for name, arguments in ARGUMENTS.items() if name not in FILE_ONLY]


@pytest.mark.parametrize(
    "text", ["t / j", "t / sum(t)", "log(t) - log(j)", "where(t > 2, t, j)", "(t > 2) & ~(t == 3)", *CALLS]
)
def test_every_kind_of_array_agrees(text):
    """What ingest computes over jagged or awkward columns is what the device recomputes over padded tokens [B, N] and
    globals [B, 1], and what numpy gives for either. Of every function."""
    jet = np.array([10.0, 7.0, 4.0, 6.0])
    padded = np.array([row + [0.0] * (3 - len(row)) for row in ROWS])
    mask = np.array([[k < len(row) for k in range(3)] for row in ROWS])

    def tokens(value):
        """One value per token; of values per example, each token's example's."""
        return ak.flatten(ak.broadcast_arrays(value, ak.Array(ROWS))[0])

    awkward = tokens(evaluate(text, t=ak.Array(ROWS), j=ak.Array(jet)))
    jagged = evaluate(text, t=from_column(ak.Array(ROWS)), j=jet)
    flat = tokens(jagged.awkward() if isinstance(jagged, Jagged) else jagged)
    np.testing.assert_allclose(flat, awkward, rtol=1e-14)
    for functions, as_array in ((np, np.asarray), (jnp, jnp.asarray)):
        value = evaluate(text, functions, t=as_array(padded), j=as_array(jet)[:, None])
        found = np.broadcast_to(np.asarray(value), mask.shape)[mask]
        np.testing.assert_allclose(found, awkward, rtol=1e-5, atol=1e-6)


def test_over_tokens():
    for tokens in (ak.Array(ROWS), from_column(ak.Array(ROWS))):
        np.testing.assert_array_equal(evaluate("sum(t)", t=tokens), [8, 0, 4, 6])
        np.testing.assert_array_equal(evaluate("count(t)", t=tokens), [3, 0, 1, 2])
        np.testing.assert_array_equal(evaluate("max(t) - min(t)", t=tokens), [4, np.nan, 0, 0])
        np.testing.assert_array_equal(evaluate("where(count(t) > 0, max(t), 0)", t=tokens), [5, 0, 4, 3])
        np.testing.assert_array_equal(evaluate("sum(t > 2)", t=tokens), [1, 0, 1, 2])
    for name in ("sum", "max", "min", "count", "index"):
        with pytest.raises(SchemaError, match="this is one number"):
            evaluate(f"{name}(met)", met=np.ones(3))


def test_common_parts_are_computed_once():
    texts = ["log(hypot(x, y))", "hypot(x, y) / 2", "x + 1"]
    assert common_parts(texts) == {"hypot(x, y)"}
    shared = Shared(common_parts(texts))
    x = np.array([3.0])
    assert evaluate_shared(texts[0], shared, x=x, y=np.array([4.0])) == np.log(5)
    assert shared.values.keys() == {"hypot(x, y)"}
    shared.values["hypot(x, y)"] = np.array([6.0])
    assert evaluate_shared(texts[1], shared, x=x, y=x) == 3


def evaluate_shared(text, shared, **columns):
    return Expression(text).evaluate(columns, np, shared)


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


@pytest.mark.parametrize(
    "text", ["x[0]", "x[1:]", "x[0, :]", "x[-1]", "x[..., ...]", "met[..., 0]", "met[:, 0]", "x[:, 0][..., 0]"]
)
def test_a_subscript_never_selects_examples(text):
    """What an example holds would otherwise depend on the chunk that it was read in."""
    columns = {"x": from_column(np.arange(6.0).reshape(2, 3)), "met": np.arange(2.0)}
    with pytest.raises(SchemaError, match=r"example|axes"):
        evaluate(text, **columns)


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
        ("-" * 110 + "x", "deeper|recursion"),
        ("x[" * 300 + "0" + "]" * 300, "expression"),
        ("x.y().z", "dot"),
        ("{x}", "Set"),
        ("x << 400", "not accepted"),
        ("await x", "expression"),
        ("open('/etc/passwd')", "no function"),
        ("column(x)", "no function"),
        ("column('a', 'b')", "no function"),
        ("x[:, y]", "subscript"),
        ("x['a']", "subscript"),
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


NASTY = ("__class__", "__import__('os')", "lambda: x", "[x for x in x]", "{**x}", "x.__init__.__globals__", "f'{x}'")
NASTY += (
    "9**9**9",
    "2**x**x",
    "1e999",
    "10**400",
    "x[::0]",
    "x[99999]",
    "x[..., -1]",
    "x//0",
    "0%0",
    "(-8)**0.5",
    "1j",
)
NASTY += (
    "'a'*10**9",
    "x:=1",
    "*x",
    "**x",
    "yield x",
    "await x",
    "x if x else x",
    "eval('1')",
    "\0",
    "\n",
    "\t#",
    "é",
    "σ",
)
PIECES = st.one_of(st.sampled_from(NASTY), st.text(alphabet="x1.+*-/()[]:,'<>=~&|^% logsum\\@!", max_size=12))
NESTED = st.tuples(st.sampled_from(["(", "-", "~", "log(", "x[", "x+(", "not ", "1<"]), st.integers(1, 1500))


@given(st.lists(PIECES, max_size=6), NESTED)
@example(["x"], ("-", 99))
@example(["x"], ("(", 1500))
@example(["9**9**9"], ("-", 1))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_value_or_a_schema_error_and_quickly(pieces, nested):
    opening, depth = nested
    body = "".join(pieces)
    closing = {"(": ")", "[": "]"}.get(opening[-1], "")
    for text in (
        body,
        opening * (depth % 20) + body + closing * (depth % 20),
        opening * depth + body + closing * depth,
    ):
        started = time.process_time()
        try:
            value = Expression(text).evaluate({"x": from_column(ak.Array(ROWS)), "log": np.ones(4)})
            assert np.asarray(getattr(value, "values", value)).dtype.kind in "biufO"  # O: a whole number above 2**63
        except SchemaError:
            pass
        assert time.process_time() - started < 0.5


def test_evaluation_reaches_no_attribute_of_an_array():
    """A dotted name is a column's name, also where the array in a column has such an attribute."""
    with pytest.raises(SchemaError, match=r"no column 'x\.shape'"):
        evaluate("x.shape", x=np.ones(2))
    assert evaluate("x.shape + 1", **{"x.shape": np.ones(2)}).tolist() == [2, 2]
