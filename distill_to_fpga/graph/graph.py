"""FixedPointGraph: the frozen student as typed integer arithmetic, and its JSON form."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from distill_to_fpga.graph.ops import OPS, Input, Op
from distill_to_fpga.graph.types import FixedType, GraphError, Wire, ints
from foundation.errors import close_names

FORMAT = "detfm.FixedPointGraph"
FORMAT_VERSION = 1
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
RESERVED = """
    alignas alignof and asm auto bitand bitor bool break case catch char class compl const constexpr continue decltype
    default delete do double else enum explicit export extern false float for friend goto if inline int long mutable
    namespace new noexcept not nullptr operator or private protected public register return short signed sizeof static
    struct switch template this throw true try typedef typeid typename union unsigned using virtual void volatile while
    xor std ap_int ap_uint ap_fixed ap_ufixed
"""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; its wire carries its name."""

    name: str
    op: Op
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FixedPointGraph:
    """A student network as exact integer arithmetic (contract 5).

    Attributes:
        name: of the firmware; a C++ identifier.
        version: of the firmware; the emitted namespace is `detfm_NAME_vVERSION`.
        nodes: in topological order, each assigned once.
        outputs: name of each output port -> wire.
        wires: derived: name -> Wire with its exact type and interval.

    Raises:
        GraphError: a name is repeated or unusable, a wire is used before it is made or by nobody, shapes do not fit,
            or a wire needs more than 62 bits.
    """

    name: str
    version: int
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    wires: Mapping[str, Wire] = field(init=False)

    def __post_init__(self) -> None:
        wires: dict[str, Wire] = {}
        for port in (self.name, *self.outputs):
            check_name(port)
        for node in self.nodes:
            check_name(node.name)
            if node.name in wires or node.name in self.outputs:
                raise GraphError(f"the name '{node.name}' is used twice")
            wires[node.name] = derive(node, wires)
        object.__setattr__(self, "wires", MappingProxyType(wires))
        object.__setattr__(self, "outputs", MappingProxyType(dict(self.outputs)))
        self._check_use()

    def _check_use(self) -> None:
        if not self.inputs or not self.outputs:
            raise GraphError(f"graph '{self.name}' needs at least one input and one output")
        missing = [wire for wire in self.outputs.values() if wire not in self.wires]
        if missing:
            raise GraphError(f"output wire '{missing[0]}' does not exist; {close_names(missing[0], self.wires)}")
        used = {wire for node in self.nodes for wire in node.inputs} | set(self.outputs.values())
        dangling = [name for name in self.wires if name not in used]
        if dangling:
            raise GraphError(f"wire '{dangling[0]}' of graph '{self.name}' is used by nothing")

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input wires, in the order of the firmware's arguments."""
        return tuple(node.name for node in self.nodes if isinstance(node.op, Input))

    def input_wires(self, node: Node) -> list[Wire]:
        return [self.wires[name] for name in node.inputs]

    def to_json(self) -> str:
        """Versioned, exact, readable: one line for each node. Types are derived data, stored to be read and checked."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "name": self.name, "version": self.version}
        lines = [json.dumps(head)[1:-1], f'"outputs": {json.dumps(dict(self.outputs))}']
        nodes = ",\n".join(json.dumps(self._node_dict(node)) for node in self.nodes)
        return "{" + ",\n".join([*lines, f'"nodes": [\n{nodes}\n]']) + "}\n"

    def _node_dict(self, node: Node) -> dict[str, Any]:
        attributes = {f.name: encode(getattr(node.op, f.name)) for f in dataclasses.fields(node.op)}
        wire = {"shape": list(self.wires[node.name].shape), **self.wires[node.name].type.to_dict()}
        head = {"name": node.name, "op": node.op.kind, "inputs": list(node.inputs)}
        return {**head, "attributes": attributes, "wire": wire}

    @classmethod
    def from_json(cls, text: str) -> FixedPointGraph:
        """The graph that `to_json` wrote.

        Raises:
            GraphError: not such a file, another format version, or types that do not follow from the operations.
        """
        try:
            data = json.loads(text)
            if data["format"] != FORMAT or data["format_version"] != FORMAT_VERSION:
                found = f"{data['format']} {data['format_version']}"
                raise GraphError(f"expected {FORMAT} version {FORMAT_VERSION}, found {found}")
            nodes = tuple(decode_node(item) for item in data["nodes"])
            graph = cls(data["name"], data["version"], nodes, data["outputs"])
            for item in data["nodes"]:
                wire = graph.wires[item["name"]]
                if item["wire"] != {"shape": list(wire.shape), **wire.type.to_dict()}:
                    raise GraphError(f"the stored type of wire '{wire.name}' does not follow from its operation")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GraphError(f"not a {FORMAT} in JSON: {type(error).__name__}: {error}") from error
        return graph

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> FixedPointGraph:
        """Read `to_json` text from a file; errors name the file."""
        try:
            return cls.from_json(Path(path).read_text())
        except (OSError, GraphError) as error:
            raise GraphError(f"{path}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedPointGraph) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())


def check_name(name: str) -> None:
    """Names become C++ identifiers; double and trailing underscores, and `_t`, are the compiler's and ours."""
    if not IDENTIFIER.match(name) or "__" in name or name.endswith(("_", "_t")) or name in RESERVED.split():
        raise GraphError(f"'{name}' cannot name a wire: letters, digits and single underscores, no C++ keyword, no _t")


def derive(node: Node, wires: Mapping[str, Wire]) -> Wire:
    """The wire that `node` yields, from the wires before it."""
    for name in node.inputs:
        if name not in wires:
            raise GraphError(f"'{node.name}' uses '{name}', which is not made before it; {close_names(name, wires)}")
    if node.op.arity is not None and len(node.inputs) != node.op.arity:
        raise GraphError(f"{node.op.kind} '{node.name}' takes {node.op.arity} wires, got {len(node.inputs)}")
    return node.op.derive(node.name, *(wires[name] for name in node.inputs))


def encode(value: Any) -> Any:
    if isinstance(value, FixedType):
        return value.to_dict()
    return value.tolist() if isinstance(value, np.ndarray) else value


def decode_node(item: dict[str, Any]) -> Node:
    kind = OPS.get(item["op"])
    if kind is None:
        raise GraphError(f"node '{item['name']}': no operation '{item['op']}'; {close_names(item['op'], OPS)}")
    declared = {f.name: f.type for f in dataclasses.fields(kind)}
    attributes = item["attributes"]
    if set(declared) != set(attributes):
        raise GraphError(f"node '{item['name']}': {kind.kind} takes {sorted(declared)}, got {sorted(attributes)}")
    op = kind(**{name: decode(declared[name], value) for name, value in attributes.items()})
    return Node(item["name"], op, tuple(item["inputs"]))


def decode(annotation: Any, value: Any) -> Any:
    """An attribute from JSON, by the annotation of its field."""
    if annotation == "FixedType":
        return FixedType(**value)
    if annotation == "IntArray":
        return ints(value)
    if annotation == "tuple[int, ...]":
        return tuple(value)
    if not isinstance(value, int):
        raise GraphError(f"expected an integer, got {value!r}")
    return value
