"""Jagged arrays do what awkward does, on flat contents."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.jagged import Jagged, Rows, from_column

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=8)
SUBSCRIPTS = st.sampled_from(
    [np.s_[..., 1], np.s_[..., -1], np.s_[..., 1:], np.s_[:, :2], np.s_[:, 1:, 0], np.s_[:, :, 2], np.s_[:, ::-1, 1]]
    + [np.s_[:, -2:], np.s_[:, ::2]]
)


def ragged(lengths: list[int], inner: tuple[int, ...] = (), dtype: type = np.float64) -> ak.Array:
    values = np.arange(sum(lengths) * int(np.prod(inner)), dtype=dtype).reshape(-1, *inner)
    return ak.unflatten(ak.Array(values), lengths)


def plain(value):
    return ak.to_list(value.awkward() if isinstance(value, Jagged) else value)


@given(LENGTHS, SUBSCRIPTS)
@settings(deadline=None, max_examples=50)
def test_subscripts_are_awkwards(lengths, where):
    array = ragged(lengths, (3,))
    assert plain(from_column(array)[where]) == ak.to_list(array[where])


@given(
    st.integers(1, 4),
    st.integers(0, 5),
    st.sampled_from([np.s_[:, 0], np.s_[:, -1], np.s_[:, ::2], np.s_[:, 1:3], np.s_[:, 9:]]),
)
@settings(deadline=None, max_examples=50)
def test_lists_of_equal_length_are_boxes(rows, length, where):
    box = np.arange(rows * length).reshape(rows, length)
    try:
        expected = box[where]
    except IndexError:
        with pytest.raises(IndexError):
            from_column(box)[where]
        return
    assert plain(from_column(box)[where]) == expected.tolist()


@given(LENGTHS, st.sampled_from(["sum", "max", "min", "count"]), st.sampled_from([np.float32, np.int32, np.uint8]))
@settings(deadline=None, max_examples=50)
def test_reductions_are_awkwards(lengths, name, dtype):
    array = ragged(lengths, dtype=dtype)
    found = from_column(array).reduce(name)
    np.testing.assert_array_equal(found, ak.fill_none(getattr(ak, name)(array, axis=1), np.nan))


@given(LENGTHS)
@settings(deadline=None, max_examples=50)
def test_arithmetic_broadcasts_rows_to_tokens_and_tokens_to_their_numbers(lengths):
    tokens, triples, rows = ragged(lengths), ragged(lengths, (3,)), np.arange(len(lengths)) + 0.5
    flat, boxes = from_column(tokens), from_column(triples)
    assert plain(np.hypot(flat * rows, 2 - flat)) == ak.to_list(np.hypot(tokens * rows, 2 - tokens))
    each = zip(rows, ak.to_list(tokens), ak.to_list(triples))
    expected = [[[row + x / (1 + t) for x in triple] for t, triple in zip(ts, box)] for row, ts, box in each]
    assert plain(rows + boxes / (1 + flat)) == expected
    assert plain(~(flat > rows)) == ak.to_list(~(tokens > rows))
    assert plain(flat.index()) == ak.to_list(ak.local_index(tokens, axis=1))


def test_what_does_not_fit_is_refused():
    one, other = from_column(ragged([1, 2, 3])), from_column(ragged([1, 3, 2]))
    with pytest.raises(ValueError, match="lists have 2 and 3 entries in row 1"):
        one + other
    with pytest.raises(TypeError, match="ndarray of 1 axes"):
        one + np.ones(6)
    with pytest.raises(TypeError):
        np.add.reduce(one)
    with pytest.raises(ValueError, match="2 and 3 entries in row 11"):
        Jagged(one.values, Rows(one.rows.offsets, 10)) + other


def test_columns_of_every_form():
    missing = from_column(ak.Array([[1, None], None, [3]]))
    np.testing.assert_array_equal(missing.values, [1, np.nan, 3])
    assert missing.rows.counts.tolist() == [2, 0, 1]
    assert plain(from_column(ak.Array([[], []]))) == [[], []]
    masked = ragged([2, 3, 0, 4])[np.array([True, False, True, True])]
    assert plain(from_column(masked)) == ak.to_list(masked)
    assert isinstance(from_column(ak.Array(np.ones((2, 3)))), Jagged)
    assert from_column(np.ones((2, 3, 4))).values.shape == (6, 4)
    assert from_column(ak.Array([1, 2])).dtype == np.int64
    for untouched in (ak.Array(["a", "b"]), ak.Array([[[1], [2, 3]]])):
        assert from_column(untouched) is untouched
