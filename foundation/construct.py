"""A dataclass of settings from plain values, as YAML and JSON hold them.

jsonargparse takes every value for a word of a command line, which is ten seconds for a schema of a thousand features.
Values that have their declared type as they are need none of that; what does not is left to it, with all that is beside
it in its dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union

Parse = Callable[[type, dict[str, Any], Any], Any]


class NeedsParsing(Exception):
    """A value is not of its declared type as it is."""


def construct(kind: type, values: Any, parse: Parse, base: Any = None) -> Any:
    """`base` with these values in place of its own.

    Args:
        kind: the dataclass; all its fields have defaults.
        values: some of its fields, or of the dataclasses inside it, as plain dicts, lists and scalars.
        parse: called with a dataclass inside `kind`, its values and its base if one of the values needs parsing.
        base: what is not among the values; default: `kind()`.

    Raises:
        NeedsParsing: a value of `kind` itself does.
    """
    base = kind() if base is None else base
    declared = fields(kind)
    if not isinstance(values, dict) or values.keys() - declared.keys():
        raise NeedsParsing
    found = {name: _value(declared[name], value, parse, getattr(base, name)) for name, value in values.items()}
    return dataclasses.replace(base, **found)


@functools.cache
def fields(kind: type) -> dict[str, Any]:
    """Field -> type, of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _value(kind: Any, value: Any, parse: Parse, default: Any = None) -> Any:
    """The value as a `kind`; `default` is what a field has without it."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        base = default if type(default) is kind else kind()
        try:
            return construct(kind, value, parse, base)
        except NeedsParsing:
            return parse(kind, value, base)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if kind in (str, bool, int) and type(value) is kind:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if origin is Literal and isinstance(value, str) and value in inside:
        return value
    if origin is dict and isinstance(value, dict) and inside[0] is str:
        return {key: _value(inside[1], each, parse) for key, each in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        kinds = inside if origin is tuple and ... not in inside else inside[:1] * len(value)
        if len(kinds) == len(value):
            return origin(_value(each_kind, each, parse) for each_kind, each in zip(kinds, value))
    if origin in (Union, types.UnionType):
        return _one_of(inside, value, parse, default)
    raise NeedsParsing


def _one_of(kinds: tuple[Any, ...], value: Any, parse: Parse, default: Any) -> Any:
    """None, or the value of the one other kind. A text may stand for a value of any kind."""
    if value is None and types.NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not types.NoneType]
    if len(others) > 1 or isinstance(value, str) or default is not None:
        raise NeedsParsing
    return _value(others[0], value, parse)
