"""Arrow arrays -> awkward arrays, column by column: lists, fields of structs, nulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

EXACT = 2**53  # whole numbers up to this are exact in float64


@dataclass(frozen=True)
class Leaf:
    """One column of numbers or strings.

    Attributes:
        name: as the user writes it: `jets.pt`.
        number: among all leaves of the file.
        fields: the structs' fields to go through, the first being the top column.
        typename: for people.
        lists: depth of lists.
        nullable: whether its numbers may be null.
    """

    name: str
    number: int
    fields: tuple[str, ...]
    typename: str
    lists: int
    nullable: bool


def leaves(schema: pa.Schema) -> Iterator[Leaf]:
    """All columns of a file, in its order, numbered as Parquet numbers them."""
    number = 0
    for top in schema:
        for fields, kind, lists, nullable in _descend(top, (top.name,), 0, False):
            name = "[" * lists + str(kind) + "]" * lists
            yield Leaf(".".join(fields), number, fields, name, lists, nullable)
            number += 1


def _descend(
    field: pa.Field, fields: tuple[str, ...], lists: int, nullable: bool
) -> Iterator[tuple[tuple[str, ...], pa.DataType, int, bool]]:
    kind, nullable = field.type, nullable or field.nullable
    if is_list(kind):
        yield from _descend(kind.value_field, fields, lists + 1, False)
    elif kinds.is_struct(kind):
        for inner in kind:
            yield from _descend(inner, (*fields, inner.name), lists, nullable)
    elif kinds.is_map(kind):
        for inner in (kind.key_field, kind.item_field):
            yield from _descend(inner, (*fields, inner.name), lists + 1, False)
    else:
        yield fields, kind, lists, nullable


def is_list(kind: pa.DataType) -> bool:
    return kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)


def combined(batches: Sequence[pa.RecordBatch], leaf: Leaf, as_float: bool) -> ak.Array:
    """The column, out of all batches."""
    top = [batch.column(batch.schema.get_field_index(leaf.fields[0])) for batch in batches]
    array = top[0] if len(top) == 1 else pa.chunked_array(top).combine_chunks()
    return ak.Array(_layout(array, leaf.fields[1:], as_float))


def _layout(array: pa.Array, fields: tuple[str, ...], as_float: bool) -> ak.contents.Content:
    kind = array.type
    if is_list(kind):
        content = _layout(array.flatten(), fields, as_float)  # without what lies under a null: those lists are empty
        if not kinds.is_fixed_size_list(kind):
            return _listed(_numbers(array.value_lengths().fill_null(0)), content)
        if array.null_count == 0:
            return ak.contents.RegularArray(content, kind.list_size, zeros_length=len(array))
        return _listed(np.where(_valid(array), kind.list_size, 0), content)
    if kinds.is_struct(kind):
        names = [field.name for field in kind]
        return _layout(array.flatten()[names.index(fields[0])], fields[1:], as_float)
    if kinds.is_map(kind):
        inner = array.keys if fields[0] == kind.key_field.name else array.items
        counts = np.where(_valid(array), np.diff(_numbers(array.offsets)), 0)
        first, last = (array.offsets[i].as_py() for i in (0, len(array)))
        return _listed(counts, _layout(inner.slice(first, last - first), fields[1:], as_float))
    if kinds.is_dictionary(kind):
        return _layout(array.dictionary_decode(), fields, as_float)
    return _values(array, as_float)


def _listed(counts: np.ndarray, content: ak.contents.Content) -> ak.contents.Content:
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)


def _values(array: pa.Array, as_float: bool) -> ak.contents.Content:
    kind = array.type
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return _text(array.cast(pa.large_string()).fill_null(""))
    if kinds.is_null(kind):
        return ak.contents.NumpyArray(np.full(len(array), np.nan))
    if kinds.is_decimal(kind):
        array = array.cast(pa.float64())
    elif kinds.is_temporal(kind):
        array = array.cast(pa.int64()) if kind.bit_width == 64 else array.cast(pa.int32())
    elif not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)):
        raise ValueError(f"values of type {kind} cannot be used; leave the column out")
    if not kinds.is_floating(array.type) and (as_float or array.null_count):
        return ak.contents.NumpyArray(_with_nan(array))
    numbers = _numbers(array)
    return ak.contents.NumpyArray(numbers.astype(np.float32) if numbers.dtype == np.float16 else numbers)


def _text(array: pa.Array) -> ak.contents.Content:
    """Strings of a large_string array without nulls."""
    _, offsets, letters = array.buffers()
    index = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1] if len(array) else [0]
    content = np.frombuffer(letters, np.uint8) if letters else np.empty(0, np.uint8)
    inner = ak.contents.NumpyArray(content, parameters={"__array__": "char"})
    return ak.contents.ListOffsetArray(ak.index.Index64(np.asarray(index)), inner, parameters={"__array__": "string"})


def _with_nan(array: pa.Array) -> np.ndarray:
    """float64, NaN where null. Raises ValueError for whole numbers that float64 cannot hold."""
    filled = _numbers(array.fill_null(False if kinds.is_boolean(array.type) else 0))
    if filled.dtype.kind in "iu" and len(filled) and (filled.max() > EXACT or filled.min() < -EXACT):
        raise ValueError("a column of whole numbers beyond 2^53 has nulls; fill them in the file")
    return np.where(_valid(array), filled.astype(np.float64), np.nan)


def _valid(array: pa.Array) -> np.ndarray:
    return np.ones(len(array), bool) if array.null_count == 0 else _numbers(array.is_valid())


def _numbers(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)
