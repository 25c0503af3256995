"""conifer's own model of the trees, through its public `make_model`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from distill_to_fpga.conifer_project.trees import Leaf, Split, Tree, read_trees
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import Container, container, union
from foundation.errors import missing_extra

ONE = Container(False, 1, 1)  # conifer multiplies scores by a normalisation of 1, of their own type
LEAF = -2  # conifer's feature of a leaf


def input_type(graph: FixedPointGraph) -> Container:
    """conifer has one for all features."""
    return union(*(container(graph.wires[name]) for name in graph.inputs))


def score_type(graph: FixedPointGraph) -> Container:
    """Of all scores, leaves and partial sums: sums wrap on the way."""
    return union(ONE, *(container(graph.wires[wire]) for wire in graph.outputs.values()))


def model(graph: FixedPointGraph, out: Path, part: str, clock_ns: float) -> Any:
    """conifer's model for Vitis HLS, ready to be written to `out`.

    Raises:
        MissingToolError: conifer is not installed.
        GraphError: the network is not one of trees.
    """
    if importlib.util.find_spec("conifer") is None:
        raise missing_extra("conifer", "trees", "A conifer project")
    from conifer.model import make_model

    config = {
        "backend": "xilinxhls",
        "output_dir": str(out),
        "project_name": graph.name,
        "input_precision": input_type(graph).cpp,
        "threshold_precision": input_type(graph).cpp,
        "weight_precision": "ap_uint<1>",
        "score_precision": score_type(graph).with_modes("truncate", "wrap"),
        "xilinx_part": part,
        "clock_period": clock_ns,
        "unroll": True,
    }
    return make_model(ensemble(graph), config)


def ensemble(graph: FixedPointGraph) -> dict[str, Any]:
    """The dictionary that conifer's converters make. Its `n_classes: 2` has one score, so that two scores need a third,
    of nothing."""
    outputs = read_trees(graph)
    outputs += [()] * (len(outputs) == 2)
    count = sum(graph.wires[name].size for name in graph.inputs)
    rounds = max([1, *map(len, outputs)])
    padded = [[*trees, *[Leaf(0.0)] * (rounds - len(trees))] for trees in outputs]
    trees = [[flattened(of_score[i], count) for of_score in padded] for i in range(rounds)]
    return {
        "n_classes": max(2, len(outputs)),
        "n_features": count,
        "n_trees": rounds,
        "max_depth": max(depth(tree) for of_score in padded for tree in of_score),
        "init_predict": [0.0] * len(outputs),
        "norm": 1,
        "library": "detfm",
        "splitting_convention": "<",
        "trees": trees,
    }


def depth(tree: Tree) -> int:
    return 1 + max(depth(tree.below), depth(tree.above)) if isinstance(tree, Split) else 0


def flattened(tree: Tree, features: int) -> dict[str, list]:
    """Nodes as lists, each after its parent; a split reads its feature by a row of `weight`."""
    fields = ("feature", "weight", "threshold", "value", "children_left", "children_right")
    lists: dict[str, list] = {field: [] for field in fields}

    def add(node: Tree) -> int:
        place = len(lists["feature"])
        feature, threshold = (node.feature, node.threshold) if isinstance(node, Split) else (LEAF, 0)
        weight = [int(i == feature) for i in range(features)]
        value = node.value if isinstance(node, Leaf) else 0.0
        for field, entry in zip(fields, (feature, weight, threshold, value, -1, -1)):
            lists[field].append(entry)
        if isinstance(node, Split):
            lists["children_left"][place], lists["children_right"][place] = add(node.below), add(node.above)
        return place

    add(tree)
    return lists
