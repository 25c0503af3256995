"""Expressions over columns, as schemas write them: `log(hypot(part_px, part_py))`. A whitelist, never Python's eval.

The same text is evaluated over numpy or awkward columns at ingest and over jax arrays inside jit on the device.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foundation.errors import SchemaError, close_names

LONGEST = 2000  # characters; bounds what the parser can be made to do
Evaluator = Callable[[Mapping[str, Any], Any], Any]

CONSTANTS = {"pi": float(np.pi)}
BINARY: dict[type[ast.operator], Callable[[Any, Any, Any], Any]] = {
    ast.Add: lambda xp, a, b: a + b,
    ast.Sub: lambda xp, a, b: a - b,
    ast.Mult: lambda xp, a, b: a * b,
    ast.Div: lambda xp, a, b: a / b,
    ast.FloorDiv: lambda xp, a, b: a // b,
    ast.Mod: lambda xp, a, b: a % b,
    ast.Pow: lambda xp, a, b: (float(a) if isinstance(a, int) else a) ** b,  # no unbounded integers from `9**9**9`
    ast.BitAnd: lambda xp, a, b: a & b,
    ast.BitOr: lambda xp, a, b: a | b,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}


def _is_awkward(*values: Any) -> bool:
    return any(type(value).__module__.startswith("awkward") for value in values)


def _where(xp: Any, condition: Any, yes: Any, no: Any) -> Any:
    if _is_awkward(condition, yes, no):
        import awkward as ak

        return ak.where(condition, yes, no)
    return xp.where(condition, yes, no)


def _sum(xp: Any, tokens: Any) -> Any:
    """Over tokens. Awkward: [B, var] -> [B], which broadcasts to tokens; arrays: [B, N] -> [B, 1], likewise."""
    if _is_awkward(tokens):
        import awkward as ak

        return ak.sum(tokens, axis=1)
    return xp.sum(tokens, axis=1, keepdims=True)


def _eta(xp: Any, px: Any, py: Any, pz: Any) -> Any:
    return xp.arcsinh(pz / xp.hypot(px, py))


def _delta_phi(xp: Any, first: Any, second: Any) -> Any:
    """first - second wrapped to [-pi, pi)."""
    return xp.remainder(first - second + np.pi, 2 * np.pi) - np.pi


def _plain(name: str) -> Callable[..., Any]:
    return lambda xp, *arguments: getattr(xp, name)(*arguments)


# name -> (number of arguments, function of (xp, *arguments)); all built from ufuncs, so awkward dispatches
FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    **{name: (1, _plain(name)) for name in ("log", "log1p", "exp", "sqrt", "abs", "sign")},
    **{name: (1, _plain(name)) for name in ("sin", "cos", "sinh", "cosh", "tanh", "floor")},
    **{name: (2, _plain(name)) for name in ("hypot", "arctan2", "minimum", "maximum")},
    "asinh": (1, _plain("arcsinh")),
    "atan2": (2, _plain("arctan2")),
    "clip": (3, lambda xp, x, low, high: xp.minimum(xp.maximum(x, low), high)),
    "where": (3, _where),
    "sum": (1, _sum),
    "pt": (2, _plain("hypot")),
    "phi": (2, lambda xp, px, py: xp.arctan2(py, px)),
    "eta": (3, _eta),
    "delta_phi": (2, _delta_phi),
}


class Expression:
    """A parsed expression.

    Accepted: numbers, `pi`, column names (`Jet.PT` names the column so called; `column('any name')` the rest),
    `+ - * / // % **`, comparisons, `& | ~ and or not`, constant subscripts such as `nn_inputs[..., 3]` or `x[:, 0]`,
    and the functions of `FUNCTIONS`. `sum(x)` runs over tokens; `pt(px, py)`, `eta(px, py, pz)`, `phi(px, py)` and
    `delta_phi(a, b)` are the usual ones.

    Attributes:
        text: as written.
        names: the columns it reads.

    Raises:
        SchemaError: anything else; says what, and at which character.
    """

    def __init__(self, text: str):
        self.text = text
        self._found: set[str] = set()
        if len(text) > LONGEST:
            raise SchemaError(f"expression of {len(text)} characters; at most {LONGEST} are read")
        try:
            with warnings.catch_warnings(action="ignore"):  # `1and x` and the like are refused or harmless, never news
                tree = ast.parse(text.strip(), mode="eval")
            self._evaluator = self._compile(tree.body)
        except SyntaxError as error:
            raise SchemaError(f"expression '{text}': {error.msg} at character {error.offset}") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise SchemaError(f"expression '{text[:80]}': cannot be read ({error})") from error
        self.names: frozenset[str] = frozenset(self._found)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, columns: Mapping[str, Any], functions: Any = np) -> Any:
        """The value over `columns`: numpy, awkward or (with `functions=jax.numpy`) jax arrays that broadcast.

        Non-finite results (a logarithm of zero, say) are returned, not warned about: the caller counts them.

        Raises:
            SchemaError: a column is missing, or the operation is not defined for the columns' types or shapes.
        """
        missing = sorted(self.names - columns.keys())
        if missing:
            raise SchemaError(f"expression '{self.text}': no column '{missing[0]}'; {close_names(missing[0], columns)}")
        try:
            with np.errstate(all="ignore"):
                return self._evaluator(columns, functions)
        except (TypeError, ValueError, IndexError, ArithmeticError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise SchemaError(f"expression '{self.text}' cannot be evaluated: {reason}") from error

    def _refuse(self, node: ast.AST, what: str) -> SchemaError:
        return SchemaError(f"expression '{self.text}': {what} at character {getattr(node, 'col_offset', 0) + 1}")

    def _compile(self, node: ast.expr) -> Evaluator:
        match node:
            case ast.Constant(value=bool() | str() | bytes() | complex() | None):
                raise self._refuse(node, f"only numbers are accepted, not {node.value!r},")
            case ast.Constant(value=int() | float() as number):
                return lambda columns, xp: number
            case ast.Name(id=name) if name in CONSTANTS:
                return lambda columns, xp: CONSTANTS[name]
            case ast.Name() | ast.Attribute():
                return self._column(self._dotted(node))
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp(op=op) if type(op) in BINARY:
                left, right, apply = self._compile(node.left), self._compile(node.right), BINARY[type(op)]
                return lambda columns, xp: apply(xp, left(columns, xp), right(columns, xp))
            case ast.BoolOp():
                combine = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
                return _fold(combine, [self._compile(value) for value in node.values])
            case ast.Compare():
                return self._compare(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
            case ast.IfExp():
                raise self._refuse(node, "write `where(condition, a, b)` instead of `a if condition else b`")
        raise self._refuse(node, f"{type(node).__name__} is not accepted")

    def _column(self, name: str) -> Evaluator:
        self._found.add(name)
        return lambda columns, xp: columns[name]

    def _dotted(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        raise self._refuse(node, "a dot is only accepted inside a column's name")

    def _unary(self, node: ast.UnaryOp) -> Evaluator:
        operand = self._compile(node.operand)
        if isinstance(node.op, ast.USub):
            return lambda columns, xp: -operand(columns, xp)
        if isinstance(node.op, ast.UAdd):
            return operand
        # `~` is logical too: on a flag stored as an integer the bitwise one would be true everywhere
        return lambda columns, xp: xp.logical_not(operand(columns, xp))

    def _compare(self, node: ast.Compare) -> Evaluator:
        parts = [node.left, *node.comparators]
        values = [self._compile(part) for part in parts]
        tests: list[Evaluator] = []
        for position, op in enumerate(node.ops):
            if type(op) not in COMPARE:
                raise self._refuse(node, f"comparison {type(op).__name__} is not accepted")
            tests.append(_comparison(COMPARE[type(op)], values[position], values[position + 1]))
        return _fold("logical_and", tests)

    def _subscript(self, node: ast.Subscript) -> Evaluator:
        value, where = self._compile(node.value), self._index(node.slice)
        return lambda columns, xp: value(columns, xp)[where]

    def _index(self, node: ast.expr | None) -> Any:
        match node:
            case ast.Tuple():
                return tuple(self._index(part) for part in node.elts)
            case ast.Slice():
                bounds = (node.lower, node.upper, node.step)
                return slice(*(None if part is None else self._index(part) for part in bounds))
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() as number):
                return number
            case ast.Constant(value=value) if value is Ellipsis:
                return Ellipsis
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
                return -number
        raise self._refuse(node or ast.Constant(0), "a subscript may hold integers, `:` and `...` only")

    def _call(self, node: ast.Call) -> Evaluator:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name == "column" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            return self._column(str(node.args[0].value))
        if name not in FUNCTIONS:
            raise self._refuse(node, f"no function '{name}' ({close_names(name, FUNCTIONS)})")
        count, function = FUNCTIONS[name]
        if node.keywords or len(node.args) != count:
            raise self._refuse(node, f"{name} takes {count} positional argument(s)")
        arguments = [self._compile(argument) for argument in node.args]
        return lambda columns, xp: function(xp, *(argument(columns, xp) for argument in arguments))


def _comparison(test: Callable[[Any, Any], Any], left: Evaluator, right: Evaluator) -> Evaluator:
    return lambda columns, xp: test(left(columns, xp), right(columns, xp))


def _fold(function: str, parts: list[Evaluator]) -> Evaluator:
    def evaluate(columns: Mapping[str, Any], xp: Any) -> Any:
        result = parts[0](columns, xp)
        for part in parts[1:]:
            result = getattr(xp, function)(result, part(columns, xp))
        return result

    return evaluate
