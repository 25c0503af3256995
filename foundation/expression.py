"""Expressions over columns, as schemas write them: `log(hypot(part_px, part_py))`. A whitelist, never Python's eval.

The same text is evaluated over numpy or awkward columns at ingest and over jax arrays inside jit on the device.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foundation.errors import SchemaError, close_names
from foundation.expression_functions import FUNCTIONS

LONGEST = 2000  # characters; bounds what the parser can be made to do
DEEPEST = 100  # nested operations; keeps Python's stack out of sight

CONSTANTS = {"pi": float(np.pi)}
BINARY: dict[type[ast.operator], Callable[[Any, Any, Any], Any]] = {
    ast.Add: lambda xp, a, b: a + b,
    ast.Sub: lambda xp, a, b: a - b,
    ast.Mult: lambda xp, a, b: a * b,
    ast.Div: lambda xp, a, b: a / b,
    ast.FloorDiv: lambda xp, a, b: a // b,
    ast.Mod: lambda xp, a, b: a % b,
    ast.Pow: lambda xp, a, b: _power(a, b),
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


def _power(a: Any, b: Any) -> Any:
    """a ** b; of integers as floats, so that `9**9**9` overflows instead of filling the memory."""
    value = (float(a) if isinstance(a, int) else a) ** b
    if isinstance(value, complex):
        raise ValueError("a fractional power of a negative number")
    return value


@dataclass
class Shared:
    """Values of sub-expressions that several expressions have in common, kept for one set of columns.

    Attributes:
        texts: which to keep, as written in the source.
        values: text -> value.
    """

    texts: frozenset[str]
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """What an expression is evaluated over: the columns, numpy or jax.numpy, and what was computed before."""

    columns: Mapping[str, Any]
    xp: Any
    shared: Shared | None


Evaluator = Callable[[Scope], Any]


@functools.lru_cache(maxsize=4096)
def parsed(text: str) -> Expression:
    """`Expression(text)`, read once. Raises SchemaError as that does."""
    return Expression(text)


class Expression:
    """A parsed expression.

    Accepted: numbers, `pi`, column names (`Jet.PT` names the column so called; `column('any name')` the rest),
    `+ - * / // % **`, comparisons, `& | ~ and or not`, constant subscripts such as `nn_inputs[..., 3]` or `x[:, 0]`,
    and the functions of `FUNCTIONS`. `sum(x)`, `max(x)`, `min(x)` and `count(x)` run over the tokens of an example and
    `index(x)` numbers them; `concatenate(x, y, ...)` makes one list of several, a number per example being one token;
    `pt(px, py)`, `eta(px, py, pz)`, `phi(px, py)`, `px(pt, phi)`, `py(pt, phi)`, `pz(pt, eta)`,
    `energy(pt, eta, mass)`, `mass(pt, eta, energy)`, `delta_phi(a, b)` and `delta_r(eta_a, phi_a, eta_b, phi_b)` are
    the usual ones. A subscript never selects examples, so it begins with `:` or `...`.

    Attributes:
        text: as written.
        names: the columns it reads.
        functions: the functions it calls.
        parts: the text of every operation in it.

    Raises:
        SchemaError: anything else; says what, and at which character.
    """

    def __init__(self, text: str):
        self.text = text
        self.parts: list[str] = []
        self._found: set[str] = set()
        self._called: set[str] = set()
        self._depth = 0
        self._source = text.strip()
        if len(text) > LONGEST:
            raise SchemaError(f"expression of {len(text)} characters; at most {LONGEST} are read")
        try:
            with warnings.catch_warnings(action="ignore"):  # `1and x` and the like are refused or harmless, never news
                tree = ast.parse(self._source, mode="eval")
            self._evaluator = self._compile(tree.body)
        except SyntaxError as error:
            raise SchemaError(f"expression '{text}': {error.msg} at character {error.offset}") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise SchemaError(f"expression '{text[:80]}': cannot be read ({error})") from error
        self.names: frozenset[str] = frozenset(self._found)
        self.functions: frozenset[str] = frozenset(self._called)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, columns: Mapping[str, Any], functions: Any = np, shared: Shared | None = None) -> Any:
        """The value over `columns`: numpy, jagged, awkward or (with `functions=jax.numpy`) jax arrays that broadcast.

        With `shared`, sub-expressions that it names are computed once and kept there.

        Non-finite results (a logarithm of zero, say) are returned, not warned about: the caller counts them.

        Raises:
            SchemaError: a column is missing, or the operation is not defined for the columns' types or shapes.
        """
        missing = sorted(self.names - columns.keys())
        if missing:
            raise SchemaError(f"expression '{self.text}': no column '{missing[0]}'; {close_names(missing[0], columns)}")
        try:
            with np.errstate(all="ignore"):
                return self._evaluator(Scope(columns, functions, shared))
        except (TypeError, ValueError, IndexError, ArithmeticError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise SchemaError(f"expression '{self.text}' cannot be evaluated: {reason}") from error

    def _refuse(self, node: ast.AST, what: str) -> SchemaError:
        return SchemaError(f"expression '{self.text}': {what} at character {getattr(node, 'col_offset', 0) + 1}")

    def _compile(self, node: ast.expr) -> Evaluator:
        """The evaluator of a node, which looks first among the values that other expressions left."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._refuse(node, f"nested deeper than {DEEPEST} operations")
        evaluator = self._compile_node(node)
        self._depth -= 1
        if isinstance(node, (ast.Constant, ast.Name, ast.Attribute)):
            return evaluator
        text = ast.get_source_segment(self._source, node) or self._source
        self.parts.append(text)

        def evaluate(scope: Scope) -> Any:
            shared = scope.shared
            if shared is None or text not in shared.texts:
                return evaluator(scope)
            if text not in shared.values:
                shared.values[text] = evaluator(scope)
            return shared.values[text]

        return evaluate

    def _compile_node(self, node: ast.expr) -> Evaluator:
        match node:
            case ast.Constant(value=bool() | str() | bytes() | complex() | None):
                raise self._refuse(node, f"only numbers are accepted, not {node.value!r},")
            case ast.Constant(value=int() | float() as number):
                return lambda scope: number
            case ast.Name(id=name) if name in CONSTANTS:
                return lambda scope: CONSTANTS[name]
            case ast.Name() | ast.Attribute():
                return self._column(self._dotted(node))
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp(op=op) if type(op) in BINARY:
                left, right, apply = self._compile(node.left), self._compile(node.right), BINARY[type(op)]
                return lambda scope: apply(scope.xp, left(scope), right(scope))
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
        return lambda scope: scope.columns[name]

    def _dotted(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        raise self._refuse(node, "a dot is only accepted inside a column's name")

    def _unary(self, node: ast.UnaryOp) -> Evaluator:
        operand = self._compile(node.operand)
        if isinstance(node.op, ast.USub):
            return lambda scope: -operand(scope)
        if isinstance(node.op, ast.UAdd):
            return operand
        # `~` is logical too: on a flag stored as an integer the bitwise one would be true everywhere
        return lambda scope: scope.xp.logical_not(operand(scope))

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
        index = where if isinstance(where, tuple) else (where,)
        if not (index[0] is Ellipsis or index[0] == slice(None)) or index.count(Ellipsis) > 1:
            raise self._refuse(node, "the first axis is the example: begin the subscript with `:` or `...`")
        axes = len(index) - (index[0] == slice(None) and Ellipsis in index)  # a leading `...` is at least the examples
        return lambda scope: _subscripted(value(scope), where, axes)

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
        self._called.add(name)
        count, function = FUNCTIONS[name]
        if node.keywords or (len(node.args) != count if count is not None else not node.args):
            raise self._refuse(node, f"{name} takes {count or 'one or more'} positional argument(s)")
        arguments = [self._compile(argument) for argument in node.args]
        return lambda scope: function(scope.xp, *(argument(scope) for argument in arguments))


def _comparison(test: Callable[[Any, Any], Any], left: Evaluator, right: Evaluator) -> Evaluator:
    return lambda scope: test(left(scope), right(scope))


def _fold(function: str, parts: list[Evaluator]) -> Evaluator:
    def evaluate(scope: Scope) -> Any:
        result = parts[0](scope)
        for part in parts[1:]:
            result = getattr(scope.xp, function)(result, part(scope))
        return result

    return evaluate


def _subscripted(value: Any, where: Any, axes: int) -> Any:
    """`value[where]`. Raises IndexError if the subscript would reach the first axis, whose entries are the examples."""
    if getattr(value, "ndim", 0) < axes:
        raise IndexError(f"the subscript needs {axes} axes and there are {getattr(value, 'ndim', 0)}")
    return value[where]


def common_parts(texts: Iterable[str]) -> frozenset[str]:
    """The operations that occur more than once in these expressions, for `Shared`."""
    counts = Counter(part for text in texts for part in parsed(text).parts)
    return frozenset(part for part, count in counts.items() if count > 1)
