"""Length classes: every row has one, the least that holds it, whatever its numbers of tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foundation.schema import DetectorSchema
from foundation.store.lengths import choose_edges, length_class

FEATURES = {"a": {"expression": "a"}}
SCHEMA = DetectorSchema.load(
    {
        "modalities": {
            "tracks": {"features": FEATURES, "max_tokens": 50},
            "muons": {"features": FEATURES, "max_tokens": 3},
        }
    }
)
ROWS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=30)


@given(ROWS, ROWS)
def test_every_row_fits_its_class_and_no_lower_one(sample, rows):
    edges = choose_edges(_counts(sample), SCHEMA)
    assert edges["tracks"][-1] == 50
    assert edges["muons"][-1] == 3
    assert len(edges["tracks"]) == len(edges["muons"]) <= 32
    assert all(list(each) == sorted(each) and each[0] > 0 for each in edges.values())
    counts = _counts(rows)
    found = length_class(edges, counts, len(rows))
    for row, chosen in enumerate(found):
        fits = [all(counts[m][row] <= edges[m][k] for m in edges) for k in range(len(edges["tracks"]))]
        assert chosen == fits.index(True)


def _counts(rows):
    table = np.array(rows, np.int64).reshape(-1, 2)
    return {"tracks": table[:, 0], "muons": table[:, 1]}


def test_classes_are_where_the_rows_are():
    counts = np.random.default_rng(0).poisson(20, 5000)
    edges = choose_edges({"tracks": counts, "muons": np.zeros(5000, int)}, SCHEMA)["tracks"]
    padding = np.array(edges)[np.searchsorted(edges, counts)].sum() / counts.sum()
    assert padding < 1.12, "by at most the step of padded lengths"
