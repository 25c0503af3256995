"""What a TTree's branches or an RNTuple's fields hold, as columns of numbers and strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from foundation.io.divide import spans
from foundation.io.files import reason

MANY = 64  # columns from which a single chunk is read branch by branch
INNER = "_collection"  # RNTuple's own collections, whose fields have names at the top as well


@dataclass(frozen=True, eq=False)
class RootColumn:
    """One column.

    Attributes:
        name: as the user writes it.
        source: the branch or field.
        key: of the branch: its name, or its path where the name is not its own; of a field: its path.
        fields: to take of the records that the source holds.
        typename: in C++.
        problem: why it cannot be read, or "".
    """

    name: str
    source: Any
    key: str
    fields: tuple[str, ...]
    typename: str
    problem: str = ""

    @property
    def edges(self) -> np.ndarray:
        """Entries where its baskets or clusters begin, and the end."""
        if hasattr(self.source, "entry_offsets"):
            return np.asarray(self.source.entry_offsets, np.int64)
        clusters = self.source.ntuple.cluster_summaries
        return np.array([0, *(c.num_first_entry + c.num_entries for c in clusters)], np.int64)


def columns_of(table: Any) -> dict[str, RootColumn]:
    """Name -> column, in file order, without branches and fields that only group others.

    A nested branch goes by its own name (`Event.Number`), by its path (`Event/Event.Number`) where others share it.
    A record's fields follow after a dot.
    """
    found = _fields(table) if not hasattr(table, "branches") else _branches(table)
    return {column.name: column for column in found}


def misplaced(column: RootColumn) -> str:
    """What is wrong with the list of a column's baskets or clusters, or ""."""
    try:
        edges = column.edges
    except Exception as error:
        return f"has a damaged list of baskets ({reason(error)})"
    ends = (int(edges[0]), int(edges[-1]))
    if (np.diff(edges) < 0).any() or ends != (0, column.source.num_entries):
        return f"has a damaged list of baskets: they go from entry {ends[0]} to {ends[1]}, not all of them forward"
    return ""


def pieces(
    table: Any, columns: Sequence[RootColumn], rows: int, start: int, stop: int
) -> Iterator[dict[RootColumn, ak.Array]]:
    """Entries [start, stop) of some columns, `rows` at a time, all columns together; no basket is read twice."""
    if not hasattr(table, "branches"):
        paths = {column.key for column in columns}
        for first, last in spans(start, stop, rows):
            # a filter on fields, for names of projected fields also match those of the collection behind them
            records = table.arrays(filter_field=lambda f: f.path in paths, entry_start=first, entry_stop=last)
            yield {c: records[tuple(c.key.split("."))] for c in columns}
        return
    # uproot searches a tree of nested branches anew for every name: 20 s for the thousand columns of a Delphes file
    many = len(columns) > MANY and stop - start <= rows
    own = {id(c.source) for c in columns if c.key == c.source.name and not many}
    chunks = table.iterate(
        filter_branch=lambda b: id(b) in own,
        entry_start=start,
        entry_stop=stop,
        step_size=rows,
        library="ak",
        how=dict,
    )
    for first, last in spans(start, stop, rows):
        arrays = next(chunks) if own else {}
        for column in columns:
            if column.key not in arrays:  # its name is not its own: uproot would mix them up
                arrays[column.key] = column.source.array(entry_start=first, entry_stop=last, library="ak")
        yield {c: arrays[c.key][c.fields] if c.fields else arrays[c.key] for c in columns}


def _branches(tree: Any) -> Iterator[RootColumn]:
    entries = [(path, b) for path, b in tree.iteritems(recursive=True, full_paths=True) if not b.branches]
    names = Counter(branch.name for _, branch in entries)
    for path, branch in entries:
        name = branch.name if names[branch.name] == 1 else path
        typename = str(branch.typename)
        fields, problem = _records(branch)
        if not problem and branch.num_entries != tree.num_entries:
            problem = f"holds {branch.num_entries:,} entries, the tree {tree.num_entries:,}: the file is damaged"
        for path_of_field in fields:
            full = ".".join((name, *path_of_field))
            yield RootColumn(full, branch, name, path_of_field, typename, problem)


def _records(branch: Any) -> tuple[list[tuple[str, ...]], str]:
    """Paths of the fields of the records in a branch, [()] if it holds none, and why it cannot be read."""
    try:
        interpretation = branch.interpretation
        if type(interpretation).__name__ in ("AsDtype", "AsJagged") and _plain(interpretation):
            return [()], ""
        form = interpretation.awkward_form(branch.file)
    except Exception:
        return [()], f"is of type {branch.typename or 'unknown'}, which has no form as an array"
    paths = [path for path in form.columns() if "@" not in path]  # @ marks bookkeeping that arrays are without
    return [tuple(part for part in path.split(".") if part) for path in paths] or [()], ""


def _plain(interpretation: Any) -> bool:
    """Whether it is numbers, or lists of numbers."""
    content = getattr(interpretation, "content", interpretation)
    return type(content).__name__ == "AsDtype" and content.to_dtype.names is None


def _fields(ntuple: Any) -> Iterator[RootColumn]:
    names = ntuple.keys()
    groups = {name.rpartition(".")[0] for name in names}
    for name in names:
        inner = name.startswith(INNER) and name.rpartition(".")[2] in names
        if name not in groups and not inner and not (name.startswith(INNER) and "." not in name):
            yield RootColumn(name, ntuple[name], name, (), str(ntuple[name].typename) or "list")
