"""JAX function -> ONNX, with a free number of examples and of tokens. jax2onnx does the conversion.

jax2onnx traces through replacements of jax.numpy that lose free sizes. So the function is traced first, by JAX itself,
and what jax2onnx sees is the plain list of primitives: calls taken apart, and a loop without a carry as all its steps
at once. Primitives that it does not know, or not with free sizes, are written as others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from jax import export, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from foundation.errors import ToolError, missing_extra

OPSET = 18  # onnxruntime 1.14 and later
IR_VERSION = 8  # of the file, as of the onnx release that brought the opset
CALLS = {  # primitives that only call another list of primitives, and the parameter that holds it
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}

UNCONVERTIBLE = (NotImplementedError, ValueError, TypeError, AttributeError, KeyError, jax.errors.JAXTypeError)

Arrays = Sequence[Any]


def symbols(shapes: Sequence[tuple[int | str, ...]]) -> list[jax.ShapeDtypeStruct]:
    """Float arrays of these shapes, a text standing for a free size (the same text for the same size)."""
    scope = export.SymbolicScope()
    names = dict.fromkeys(size for shape in shapes for size in shape if isinstance(size, str))
    known: dict[Any, Any] = {name: export.symbolic_shape(name, scope=scope)[0] for name in names}
    return [jax.ShapeDtypeStruct(tuple(known.get(n, n) for n in shape), np.float32) for shape in shapes]


def plain(closed: ClosedJaxpr) -> Callable[..., list[Any]]:
    """A traced function as one that applies its primitives one by one."""
    return lambda *arrays: _apply(closed.jaxpr, closed.consts, arrays)


def _apply(jaxpr: Jaxpr, consts: Arrays, arrays: Arrays) -> list[Any]:
    known: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arrays], strict=True))

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        given = [value(atom) for atom in equation.invars]
        known |= dict(zip(equation.outvars, _primitive(equation, given), strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _primitive(equation: Any, given: list[Any]) -> Arrays:
    name, parameters = equation.primitive.name, equation.params
    if name in CALLS:
        return _call(parameters[CALLS[name]], given)
    if name == "scan":
        return _loop(parameters, given)
    if name == "stack":
        axis = parameters["axis"]
        return [lax.concatenate([lax.expand_dims(each, (axis,)) for each in given], axis)]
    if name == "pad":
        return [_padded(given[0], given[1], parameters["padding_config"])]
    if name == "rem":  # of floats: truncated, as C's fmod
        quotient = given[0] / given[1]
        return [given[0] - given[1] * lax.sign(quotient) * lax.floor(lax.abs(quotient))]
    found = equation.primitive.bind(*given, **parameters)
    return found if equation.primitive.multiple_results else [found]


def _padded(array: Any, value: Any, padding: Sequence[tuple[int, int, int]]) -> Any:
    for axis, (before, after, between) in enumerate(padding):
        if min(before, after) < 0 or between:
            raise ToolError("jax2onnx cannot convert this model: it cuts or spreads an array (lax.pad)")
        sizes = [(*array.shape[:axis], count, *array.shape[axis + 1 :]) for count in (before, after)]
        parts = [lax.broadcast(value, sizes[0]), array, lax.broadcast(value, sizes[1])]
        wanted = [part for part, count in zip(parts, (before, 1, after)) if count]
        array = lax.concatenate(wanted, axis) if len(wanted) > 1 else array
    return array


def _call(inner: Any, given: Arrays) -> list[Any]:
    return _apply(inner.jaxpr, inner.consts, given) if isinstance(inner, ClosedJaxpr) else _apply(inner, [], given)


def _loop(parameters: dict[str, Any], given: list[Any]) -> list[Any]:
    """A scan: all steps at once if they do not depend on each other, else one after another if they can be counted."""
    fixed, carried = parameters["num_consts"], parameters["num_carry"]
    consts, carry, rows = given[:fixed], given[fixed : fixed + carried], given[fixed + carried :]
    body = plain(parameters["jaxpr"])
    if not carried:
        return list(jax.vmap(lambda *row: tuple(body(*consts, *row)))(*rows))
    steps = range(int(parameters["length"]))
    made: list[list[Any]] = []
    for step in reversed(steps) if parameters["reverse"] else steps:
        after = body(*consts, *carry, *(row[step] for row in rows))
        carry = after[:carried]
        made.append(after[carried:])
    made = made[::-1] if parameters["reverse"] else made
    return [*carry, *(lax.concatenate([lax.expand_dims(e, (0,)) for e in each], 0) for each in zip(*made))]


def used(closed: ClosedJaxpr) -> list[bool]:
    """Which inputs a traced function reads."""
    needed = {atom for atom in closed.jaxpr.outvars if not isinstance(atom, Literal)}
    for equation in reversed(closed.jaxpr.eqns):
        if needed & set(equation.outvars):
            needed |= {atom for atom in equation.invars if not isinstance(atom, Literal)}
    return [variable in needed for variable in closed.jaxpr.invars]


def to_onnx(
    function: Callable[..., Any],
    inputs: dict[str, tuple[int | str, ...]],
    outputs: Sequence[str],
    name: str,
) -> tuple[bytes, list[str]]:
    """The file, and the inputs that it takes: those that the function reads.

    Raises:
        ToolError: the extra `onnx` is not installed, or jax2onnx does not know a primitive of the function; names it.
    """
    try:
        import jax2onnx
        import onnx
    except ImportError as error:
        raise missing_extra(error.name or "jax2onnx", "onnx", "detfm onnx") from error
    every = symbols(list(inputs.values()))
    try:
        flat = jax.make_jaxpr(plain(jax.make_jaxpr(function)(*every)))(*every)
        kept = [i for i, needed in enumerate(used(flat)) if needed]
        names = [list(inputs)[i] for i in kept]

        def of_kept(*arrays: Any) -> list[Any]:
            filled = dict(zip(kept, arrays))
            return plain(flat)(*(filled.get(i) for i in range(len(every))))

        with _quiet():
            model = jax2onnx.to_onnx(
                of_kept,
                [every[i] for i in kept],
                model_name=name,
                opset=OPSET,
                return_mode="proto",
                input_names=names,
                output_names=list(outputs),
            )
    except UNCONVERTIBLE as error:
        told = str(error).strip().splitlines()[0]
        raise ToolError(f"jax2onnx {version('jax2onnx')} cannot convert this model: {told}") from error
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    foreign = sorted({each.domain for each in model.opset_import if each.domain not in ("", "ai.onnx")})
    if foreign or model.functions:
        raise ToolError(f"jax2onnx made operators that onnxruntime does not bring: {', '.join(foreign) or 'functions'}")
    return model.SerializeToString(), names


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes of the packages on sizes that they do not know."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "onnx_ir.serde", "jax2onnx")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
