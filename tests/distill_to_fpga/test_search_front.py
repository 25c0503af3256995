"""The front by its definition, and its table and pictures."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_crossings import schema

from distill_to_fpga.search.results import front_of, front_table, pareto, write_results
from distill_to_fpga.search.space import SearchConfig
from foundation.runs import Run

values = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4).map(float)
)


@given(values, st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_front_is_what_no_other_beats(table, more):
    more = more[: table.shape[1]]

    def beats(a, b) -> bool:
        pairs = [(x, y) if m else (y, x) for x, y, m in zip(a, b, more)]
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    expected = [not any(beats(other, mine) for other in table) for mine in table]
    assert pareto(table, more).tolist() == expected
    assert any(expected)


def record(number: int, auc: float, luts: int, kind: str = "mlp", error: str = "") -> dict:
    figures = {} if error else {"auc": auc, "luts": luts, "ebops": luts, "latency_ns": 20.0, "noise_loss": 0.01}
    settings = {"student.kind": kind, "student.hidden": [number + 1]}
    return {"number": number, "seed": number, "settings": settings, "figures": figures, "error": error, "seconds": 1.0}


RECORDS = [
    record(0, 0.9, 1000),
    record(1, 0.8, 100, "deepsets"),
    record(2, 0.85, 2000),
    record(3, 0.95, 5000),
    record(4, 0.0, 0, error="DataError: what went wrong"),
]


def test_trials_that_failed_are_not_on_the_front():
    assert [r["number"] for r in front_of(RECORDS, ("auc", "luts"))] == [3, 0, 1]
    assert [r["number"] for r in front_of(RECORDS, ("luts",))] == [1]
    assert front_of(RECORDS[4:], ("auc",)) == []


@pytest.fixture
def written(tmp_path) -> Run:
    run = Run.create(tmp_path / "search", "search", config=SearchConfig(), schema=schema())
    write_results(run, SearchConfig(), RECORDS, {"auc": 0.97})
    return run


def test_every_trial_is_in_the_table_with_its_reason(written):
    table = pq.read_table(written.path / "trials.parquet").to_pylist()
    assert [row["number"] for row in table] == [0, 1, 2, 3, 4]
    assert [row["front"] for row in table] == [True, True, False, True, False]
    assert (table[4]["state"], table[4]["error"]) == ("failed", "DataError: what went wrong")
    assert table[4]["auc"] is None
    assert json.loads(table[2]["student.hidden"]) == [3]
    found = written.read("metrics.json")
    assert (found["trials"], found["complete"]) == (5, 4)
    assert found["failed"] == {"4": "DataError: what went wrong"}
    assert [row["number"] for row in found["front"]] == [3, 0, 1]


def test_page_picture_and_terminal_show_the_front(written):
    assert (written.path / "front_luts.png").read_bytes().startswith(b"\x89PNG")
    page = (written.path / "report.html").read_text()
    assert "what went wrong" in page
    assert "the test set was not looked at" in page
    assert front_table(written).row_count == 3
