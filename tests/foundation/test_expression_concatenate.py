"""`concatenate`: one list of tokens from several, and from numbers per example."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import SchemaError
from foundation.expression import Expression
from foundation.jagged import Jagged, Rows, from_column

ROWS = st.lists(st.tuples(st.lists(st.integers(-9, 9), max_size=4), st.lists(st.floats(-9, 9, width=32), max_size=3)))


def jagged(lists, dtype):
    offsets = np.cumsum([0, *map(len, lists)])
    return Jagged(np.array([x for values in lists for x in values], dtype), Rows(offsets))


@given(ROWS)
def test_tokens_follow_each_other_in_every_row(rows):
    met = np.arange(len(rows), dtype=np.float32) + 100
    a, b = jagged([r[0] for r in rows], np.int32), jagged([r[1] for r in rows], np.float32)
    value = Expression("concatenate(met, a, b)").evaluate({"met": met, "a": a, "b": b})
    assert isinstance(value, Jagged)
    expected = [[np.float32(m), *map(np.float32, x), *map(np.float32, y)] for m, (x, y) in zip(met, rows)]
    assert ak.to_list(value.awkward()) == expected
    if rows:  # awkward columns, as strings or deeper lists bring them, give the same
        columns = {"met": met, "a": a.awkward(), "b": b.awkward()}
        assert ak.to_list(Expression("concatenate(met, a, b)").evaluate(columns)) == expected


def test_a_number_per_example_becomes_one_token():
    value = Expression("concatenate(met)").evaluate({"met": np.float32([1, 2])})
    np.testing.assert_array_equal(value.rows.counts, [1, 1])
    np.testing.assert_array_equal(value.values, [1, 2])


def test_what_does_not_go_into_one_list_is_refused():
    box, met = from_column(ak.from_numpy(np.zeros((2, 3, 4), np.float32))), np.zeros(2)
    with pytest.raises(SchemaError, match="do not go into one list"):
        Expression("concatenate(met, box)").evaluate({"met": met, "box": box})
    with pytest.raises(SchemaError, match="a constant is written as"):
        Expression("concatenate(0, met)").evaluate({"met": met})
    with pytest.raises(SchemaError, match="takes one or more"):
        Expression("concatenate()")
