"""Columns of a chunk -> examples: selection, order, images, labels, keys, and every problem by name and number."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import ConfigError, DataError, SchemaError
from foundation.hashing import bits, hash_rows, mix
from foundation.schema import DetectorSchema, Feature, Grid, Hardware, Label, Modality, Split
from foundation.store import columns as store_columns
from foundation.store.examples import Examples, examples
from foundation.store.policies import Policies

PT = [[5.0, 2.0, 9.0], [], [4.0], [3.0, 3.0, 1.0, 8.0]]
ETA = [[0.1, 0.2, 0.3], [], [0.4], [-0.5, -0.6, -0.7, -0.8]]
ROWS = {"pt": PT, "eta": ETA, "met": [1.0, 2.0, 3.0, 4.0]}


def schema(modality: dict[str, Any] | None = None, features: Any = (), **others: Any) -> DetectorSchema:
    """One modality `t` of pt and eta, with these changes."""
    known = {"pt": Feature("pt", unit="GeV"), "eta": Feature("eta")} | dict(features)
    settings = {"coordinates": {"pt": "pt", "eta": "eta"}} | (modality or {})
    found = DetectorSchema(modalities={"t": Modality(features=known, **settings)}, **others)
    found.check()
    return found


def read(spec: DetectorSchema, content: dict[str, Any], policies: Policies | None = None, rows: int = 4) -> Any:
    content = {k: v if isinstance(v, str) else ak.Array(v) for k, v in content.items()}
    return examples(spec, content, rows, policies)


def lists(found: Examples, feature: int = 0, name: str = "t") -> list[list[float]]:
    tokens = found.modalities[name]
    return ak.to_list(ak.unflatten(tokens.values[:, feature], tokens.counts))


def changed(values: list[list[float]], row: int, place: int, value: float) -> list[list[float]]:
    copied = [list(row) for row in values]
    copied[row][place] = value
    return copied


@pytest.fixture(params=[1 << 15, 2, 5])
def block(request, monkeypatch):
    """However the chunk is cut into blocks, the outcome is the same."""
    monkeypatch.setattr(store_columns, "BLOCK_TOKENS", request.param)


@pytest.mark.usefixtures("block")
def test_tokens_are_selected_ordered_and_cut_and_each_is_counted():
    found, findings = read(schema({"select": "pt > 1.5", "order": "pt", "max_tokens": 2}), ROWS)
    assert lists(found) == [[9, 5], [], [4], [8, 3]]
    np.testing.assert_allclose(lists(found, 1)[3], [-0.8, -0.5], rtol=1e-6)  # of two equal ones the first in the file
    assert findings.tokens["t"] == {"read": 8, "select": 1, "max_tokens": 2}
    assert not findings.problems


def test_an_event_of_ten_thousand_tokens_keeps_the_hardest():
    rng = np.random.default_rng(0)
    pt = [rng.permutation(np.arange(10_000.0)), [7.0], []]
    content = {"pt": pt, "eta": [0 * np.asarray(row) for row in pt]}
    found, findings = read(schema({"order": "pt", "max_tokens": 100}), content, rows=3)
    assert lists(found)[0] == list(np.arange(9_999.0, 9_899, -1))
    assert found.modalities["t"].counts.tolist() == [100, 1, 0]
    assert findings.tokens["t"] == {"read": 10_001, "select": 0, "max_tokens": 9_900}


TOKEN = st.tuples(st.integers(0, 9), st.booleans())


@given(st.lists(st.lists(TOKEN, max_size=9), min_size=1, max_size=8), st.integers(1, 5), st.integers(1, 12))
@settings(deadline=None)
def test_choosing_tokens_is_what_a_plain_loop_does(rows, most, tokens_per_block):
    lengths = [len(row) for row in rows]
    flat = [token for row in rows for token in row]
    columns = {
        "pt": ak.unflatten(np.array([pt for pt, _ in flat], np.float32), lengths),
        "good": ak.unflatten(np.array([good for _, good in flat], bool), lengths),
    }
    spec = DetectorSchema(
        modalities={
            "t": Modality(
                features={"pt": Feature("pt"), "place": Feature("index(pt)")},
                select="good",
                order="pt",
                max_tokens=most,
            )
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_columns, "BLOCK_TOKENS", tokens_per_block)
        found, findings = examples(spec, columns, len(rows))
    expected = []
    for row in rows:
        chosen = [(pt, place) for place, (pt, good) in enumerate(row) if good]
        expected.append(sorted(chosen, key=lambda token: -token[0])[:most])
    assert lists(found) == [[pt for pt, _ in row] for row in expected]
    assert lists(found, 1) == [[place for _, place in row] for row in expected]
    counted = findings.tokens["t"]
    assert counted["read"] - counted["select"] - counted["max_tokens"] == len(found.modalities["t"].values)
    assert counted["select"] == sum(not good for _, good in flat)


def test_no_tokens_and_no_rows():
    found, findings = read(schema(), {"pt": [[], []], "eta": [[], []]}, rows=2)
    assert found.modalities["t"].values.shape == (0, 2)
    assert findings.tokens["t"]["read"] == 0
    empty = ak.Array(PT)[:0]
    none, _ = examples(schema(), {"pt": empty, "eta": empty}, 0)
    assert none.rows == 0 == len(none.keys)


@pytest.mark.usefixtures("block")
def test_features_of_different_lengths_are_named_with_the_row():
    short = [*ETA[:3], ETA[3][:3]]
    with pytest.raises(
        DataError, match=r"modalities\.t: 'features\.pt' has 4 tokens and 'features\.eta' has 3 in row 3"
    ):
        read(schema(), ROWS | {"eta": short})
    with pytest.raises(SchemaError, match=r"features\.sum: .* its lists have 4 and 3 entries in row 3"):
        read(schema(features={"sum": Feature("pt + other")}), ROWS | {"other": short})


def test_an_absent_optional_modality_has_no_tokens_and_is_counted():
    muons = Modality(features={"pt": Feature("m_pt"), "eta": Feature("m_eta / met")}, optional=True)
    group = {"owner": Label("group", "m_owner", modality="m")}
    spec = DetectorSchema(modalities=schema().modalities | {"m": muons}, globals={"met": Feature("met")}, labels=group)
    found, findings = read(spec, ROWS)
    assert findings.absent == {"m": 4}
    assert found.modalities["m"].counts.tolist() == [0] * 4
    assert found.labels["owner"].shape == (0,)
    assert lists(found) == PT
    there, findings = read(spec, ROWS | {"m_pt": PT, "m_eta": ETA, "m_owner": PT})
    assert lists(there, name="m") == PT
    assert not findings.absent
    with pytest.raises(DataError, match=r"optional modality 'm' is there in part: column 'm_owner' is missing"):
        read(spec, ROWS | {"m_pt": PT, "m_eta": ETA})


class TestImages:
    SPEC = DetectorSchema(
        modalities={
            "t": Modality(
                features={"pt": Feature("pt"), "one": Feature("0 * pt + 1")},
                grid=Grid([2, 3], "y", "x"),
                select="pt > 0",
                max_tokens=6,
            )
        }
    )
    CONTENT = {
        "pt": [[1.0, 2.0, 4.0], [], [8.0, 0.0], [16.0]],
        "y": [[0, 1, 1], [], [1.9, 7], [0]],
        "x": [[2, 0, 0], [], [2.0, 9], [1]],
    }

    @pytest.mark.usefixtures("block")
    def test_tokens_fall_into_cells_and_add_up(self):
        found, findings = read(self.SPEC, self.CONTENT)
        image = found.modalities["t"].values.reshape(4, 2, 3, 2)
        assert image[..., 0].tolist() == [
            [[0, 0, 1], [6, 0, 0]],
            [[0, 0, 0], [0, 0, 0]],
            [[0, 0, 0], [0, 0, 8]],
            [[0, 16, 0], [0, 0, 0]],
        ]
        assert image[0, 1, 0, 1] == 2
        expected = {"read": 6, "select": 1, "max_tokens": 0, "outside_grid": 0, "same_cell": 1, "empty_cells": 20}
        assert findings.tokens["t"] == expected
        assert len(found.modalities["t"].values) == 6 - 1 - 1 + 20

    @pytest.mark.parametrize("outside", [-0.5, 3, np.nan])
    def test_a_token_outside_the_grid_is_a_problem(self, outside):
        content = self.CONTENT | {"x": [[2, 0, 0], [], [2, 9], [outside]]}
        found, findings = read(self.SPEC, content, Policies(outside_grid="drop"))
        problem = findings.problems["outside_grid"]
        assert problem.counts == {"modalities.t.grid": 1}
        assert problem.rows.tolist() == [False, False, False, True]
        assert "grid.row" in problem.advice
        assert found.modalities["t"].values[18:].sum() == 0
        assert findings.tokens["t"]["outside_grid"] == 1
        assert findings.removed(Policies(outside_grid="drop")) == {}
        assert findings.removed(Policies())["outside_grid"].sum() == 1


class TestProblems:
    @pytest.mark.usefixtures("block")
    def test_values_that_are_not_finite_are_counted_by_feature_and_row(self):
        content = ROWS | {"pt": changed(PT, 0, 1, np.inf), "eta": changed(changed(ETA, 0, 0, np.nan), 3, 2, np.nan)}
        spec = schema(globals={"met": Feature("1e39 * met * (met > 2)")}, weight="where(met == 2, log(-met), 1)")
        found, findings = read(spec, content)
        problem = findings.problems["nonfinite"]
        where = "modalities.t.features."
        assert problem.counts == {f"{where}pt": 1, f"{where}eta": 2, "globals.met": 2, "weight": 1}
        assert problem.rows.tolist() == [True, True, True, True]
        assert list(findings.problems) == ["nonfinite"]
        assert all(np.isfinite(values).all() for values in (found.globals, found.weights, found.modalities["t"].values))

    def test_what_was_removed_before_is_not_a_problem(self):
        content = ROWS | {"eta": changed(ETA, 3, 2, -999.0)}  # the fill value of a token of pt 1
        assert read(schema({"select": "pt > 2"}), content)[1].problems == {}
        assert "out_of_range" in read(schema(), content)[1].problems

    @pytest.mark.parametrize(("low", "high", "nan"), [(-1.0, 3.0, 0.0), (2.0, 3.0, 2.0), (-3.0, -2.0, -2.0)])
    def test_clipping_uses_the_range(self, low, high, nan):
        spec = schema(features={"x": Feature("x", range=[low, high])})
        x = [[np.inf, -np.inf, np.nan], [], [1e300], [low, high, low, high]]
        found, findings = read(spec, ROWS | {"x": x}, Policies(nonfinite="clip"))
        assert lists(found, 2) == [[high, low, nan], [], [high], [low, high, low, high]]
        assert findings.problems["nonfinite"].counts == {"modalities.t.features.x": 4}
        assert findings.removed(Policies(nonfinite="clip")) == {}

    def test_clipping_without_a_range_is_refused_by_name(self):
        with pytest.raises(ConfigError, match=r"modalities\.t\.features\.pt has no range with two edges"):
            read(schema(), ROWS | {"pt": changed(PT, 0, 0, np.nan)}, Policies(nonfinite="clip"))

    @pytest.mark.usefixtures("block")
    def test_a_row_with_two_problems_is_removed_for_the_first_and_counted_in_both(self):
        spec = schema(labels={"k": Label(expression="k", classes={"a": 0, "b": 1})})
        content = ROWS | {"pt": changed(PT, 0, 0, np.nan), "eta": changed(changed(ETA, 0, 1, 40.0), 2, 0, 40.0)}
        _, findings = read(spec, content | {"k": [7, 7, 0, 1]})
        assert {reason: p.rows.tolist() for reason, p in findings.problems.items()} == {
            "nonfinite": [True, False, False, False],
            "out_of_range": [True, False, True, False],
            "unknown_label": [True, True, False, False],
        }
        removed = findings.removed(Policies("quarantine", "quarantine", "quarantine"))
        assert {reason: np.flatnonzero(rows).tolist() for reason, rows in removed.items()} == {
            "nonfinite": [0],
            "out_of_range": [2],
            "unknown_label": [1],
        }
        kept = findings.removed(Policies("quarantine", "keep", "unlabelled"))
        assert {reason: np.flatnonzero(rows).tolist() for reason, rows in kept.items()} == {"nonfinite": [0]}

    @pytest.mark.parametrize(
        ("feature", "values", "cause"),
        [
            (Feature("eta"), [[40.1, -33.7, 12.0], [], [1.0], [0.0] * 4], "degrees instead of radians"),
            (Feature("eta", hardware=Hardware(0.0435, 8)), [[57, -33, 12.0], [], [1.0], [0.0] * 4], "lsb of 0.0435"),
            (Feature("eta"), [[57, -33, 12.0], [], [1.0], [0.0] * 4], "hardware counts"),
            (Feature("eta"), [[-999.0, 0, 0], [], [1.0], [-999.0] * 4], "every one of them is -999.*`select`"),
            (Feature("eta"), [[22_000.5, 0, 0], [], [1.0], [0.0] * 4], "along the beam"),
        ],
    )
    def test_an_eta_of_forty_is_explained(self, feature, values, cause):
        _, findings = read(schema(features={"eta": feature}), ROWS | {"eta": values})
        problem = findings.problems["out_of_range"]
        assert problem.counts["modalities.t.features.eta"] == int(ak.sum(abs(ak.Array(values)) > 10))
        low, high = float(ak.min(values)), float(ak.max(values))
        assert f"features.eta: values from {low:.6g} to {high:.6g}" in problem.advice
        assert "the range of a coordinate eta is -10 to 10" in problem.advice
        with pytest.raises(AssertionError, match=cause):
            raise AssertionError(problem.advice)

    def test_wrong_units_of_other_quantities_are_explained(self):
        pt = Feature("pt", unit="GeV", range=[0.0, 5000.0])
        _, findings = read(schema(features={"pt": pt}), ROWS | {"pt": changed(PT, 0, 0, 45_000.0)})
        assert (
            "its range is 0 to 5000 GeV; perhaps MeV instead of GeV: divide by 1000"
            in findings.problems["out_of_range"].advice
        )
        _, findings = read(schema(), ROWS | {"pt": changed(PT, 0, 0, -0.5)})
        assert "at least 0 GeV; negative energies" in findings.problems["out_of_range"].advice

    def test_out_of_range_may_be_clipped_or_kept(self):
        content = ROWS | {"eta": changed(ETA, 2, 0, 40.0)}
        clipped, findings = read(schema(), content, Policies(out_of_range="clip"))
        assert lists(clipped, 1)[2] == [10]
        kept, again = read(schema(), content, Policies(out_of_range="keep"))
        assert lists(kept, 1)[2] == [40]
        assert findings.problems["out_of_range"].counts == again.problems["out_of_range"].counts
        assert again.removed(Policies(out_of_range="keep")) == {}

    def test_two_pi_is_within_two_pi(self):
        spec = schema({"coordinates": {"phi": "eta"}})
        edge = np.float32(2 * np.pi)
        assert not read(spec, ROWS | {"eta": [[edge, -edge, 0], [], [0], [0] * 4]})[1].problems
        assert read(spec, ROWS | {"eta": [[6.29, 0, 0], [], [0], [0] * 4]})[1].problems


@pytest.mark.usefixtures("block")
def test_hardware_counts_off_the_grid_and_beyond_the_integer_are_counted():
    spec = schema(features={"x": Feature("x", hardware=Hardware(lsb=0.25, bits=4))})  # -2 to 1.75
    x = [[0.25, -2.0, 1.75], [], [0.3], [2.0, -2.25, 0.1, 9.0]]
    _, findings = read(spec, ROWS | {"x": x})
    assert findings.hardware == {"modalities.t.features.x": {"off_grid": 2, "saturated": 3}}
    assert not findings.problems


@given(st.integers(2, 18), st.booleans(), st.sampled_from([0.25, 0.0435, np.pi / 720, 1.0, 1e-3]), st.data())
@settings(deadline=None)
def test_whole_counts_are_on_the_grid_whatever_the_lsb(width, signed, lsb, data):
    hardware = Hardware(lsb, width, signed)
    counts = data.draw(st.lists(st.integers(hardware.low, hardware.high), min_size=1, max_size=20))
    spec = DetectorSchema(modalities={"t": Modality(features={"x": Feature(f"x * {lsb!r}", hardware=hardware)})})
    _, findings = examples(spec, {"x": ak.Array([np.array(counts, np.float32)])}, 1)
    assert findings.hardware["modalities.t.features.x"] == {"off_grid": 0, "saturated": 0}


class TestLabels:
    def test_multilabel(self):
        spec = schema(labels={"tags": Label("multilabel", classes={"b": "b", "c": "c > 1"})})
        content = ROWS | {"b": [1.0, 0.0, np.nan, 3.0], "c": [0, 2, 2, 0]}
        found, findings = read(spec, content)
        assert found.labels["tags"].tolist() == [[1, 0], [0, 1], [-1, 1], [-1, 0]]
        assert found.labels["tags"].dtype == np.int32
        problem = findings.problems["unknown_label"]
        assert problem.counts == {"labels.tags.classes.b = 3": 1}  # NaN is not known, which is no problem
        assert problem.rows.tolist() == [False, False, False, True]

    def test_text_is_matched_by_patterns_in_order(self):
        label = Label(expression="category", classes={"data": "201?:pp|data", "top": "*ttbar*", "rest": "*MC"})
        spec = schema(labels={"c": label})
        texts = ["2017:pp|data", "2017:pp|ttbar_MC", "2018:pp|VBF_MC", "2018:HI|data"]
        for column in (texts, np.array(texts), np.array(texts, "S")):
            found, findings = read(spec, ROWS | {"category": column})
            assert found.labels["c"].tolist() == [0, 1, 2, -1]
            assert findings.problems["unknown_label"].counts == {"labels.c = '2018:HI|data'": 1}
        with pytest.raises(SchemaError, match=r"labels\.c: 'category' gives no text"):
            read(spec, ROWS | {"category": [1, 2, 3, 4]})
        with pytest.raises(SchemaError, match="gives text"):
            read(schema(labels={"c": Label(expression="k", classes={"a": 0, "b": 1})}), ROWS | {"k": texts})

    def test_the_name_of_the_file_may_be_the_class(self):
        label = Label(expression="file_path", classes={"signal": "*/hh*.root", "background": "*"})
        found, _ = read(schema(labels={"s": label}), ROWS | {"file_path": "/data/hh_4b.root"})
        assert found.labels["s"].tolist() == [0] * 4
        found, _ = read(schema(labels={"s": label}), ROWS | {"file_path": "/data/qcd.root"})
        assert found.labels["s"].tolist() == [1] * 4

    @pytest.mark.usefixtures("block")
    def test_labels_of_tokens_follow_their_tokens(self):
        labels = {
            "kind": Label(expression="kind", classes={"a": 10, "b": 5}, modality="t"),
            "hot": Label(classes={"hot": "pt > 4", "cold": "pt <= 4"}, modality="t"),
            "target": Label("regression", "where(pt == 9, sqrt(-pt), 2 * pt)", modality="t"),
            "owner": Label("group", "owner", modality="t"),
        }
        content = ROWS | {
            "kind": [[10, 5, 5], [], [10], [5, 5, 5, 77]],
            "owner": [[4_000_000_007, -1, 3], [], [0], [8, 9, 8, 9]],
        }
        spec = schema({"order": "pt", "max_tokens": 3}, labels=labels)
        found, findings = read(spec, content)
        assert lists(found) == [[9, 5, 2], [], [4], [8, 3, 3]]
        assert found.labels["kind"].tolist() == [1, 0, 1, 0, -1, 1, 1]
        assert found.labels["hot"].tolist() == [0, 0, 1, 1, 0, 1, 1]
        np.testing.assert_array_equal(found.labels["target"], np.float32([np.nan, 10, 4, 8, 16, 6, 6]))
        assert found.labels["owner"].tolist() == [1, 2, 0, 0, 1, 2, 1]
        assert found.token_labels == dict.fromkeys(labels, "t")
        assert findings.problems["unknown_label"].counts == {"labels.kind = 77": 1}
        assert findings.problems["unknown_label"].rows.tolist() == [False, False, False, True]
        short = content | {"owner": [*content["owner"][:3], [8]]}
        with pytest.raises(DataError, match=r"'features\.pt' has 4 tokens and 'labels\.owner' has 1 in row 3"):
            read(spec, short)

    @given(st.lists(st.lists(st.integers(-2, 4), max_size=8), min_size=1, max_size=6))
    @settings(deadline=None)
    def test_groups_are_numbered_by_first_appearance(self, rows):
        spec = DetectorSchema(
            modalities={"t": Modality(features={"x": Feature("x")})}, labels={"g": Label("group", "x", modality="t")}
        )
        content = {"x": ak.values_astype(ak.Array([*rows, [1]]), np.int64)}
        found, _ = examples(spec, content, len(rows) + 1)
        expected = []
        for row in [*rows, [1]]:
            numbers: dict[int, int] = {}
            expected += [numbers.setdefault(x, len(numbers) + 1) if x > 0 else 0 for x in row]
        assert found.labels["g"].tolist() == expected

    def test_nan_where_nothing_is_known(self):
        spec = schema(labels={"r": Label("regression", "r")}, observers={"o": "r"})
        found, findings = read(spec, ROWS | {"r": [1.0, np.nan, 3.0, np.inf]})
        np.testing.assert_array_equal(found.labels["r"][:3], np.float32([1, np.nan, 3]))
        assert findings.problems["nonfinite"].counts == {"labels.r": 1}  # the infinity
        np.testing.assert_array_equal(found.observers["o"], [1, np.nan, 3, np.inf])


def test_waveforms_are_tokens_and_strides_make_patches():
    samples = np.arange(48).reshape(2, 24).astype(np.int16)
    features = {f"s{k}": Feature(f"adc[:, {k}::8]") for k in range(8)}
    spec = DetectorSchema(
        modalities={
            "patches": Modality(features=features),
            "samples": Modality(features={"adc": Feature("adc"), "time": Feature("25 * index(adc)", unit="ns")}),
        },
        globals={"pedestal": Feature("sum(adc[:, :4]) / 4"), "peak": Feature("max(adc)")},
    )
    for column in (samples, ak.Array(samples), ak.from_regular(ak.Array(samples), axis=1)):
        found, _ = examples(spec, {"adc": column}, 2)
        np.testing.assert_array_equal(found.modalities["patches"].values, samples.reshape(6, 8))
        np.testing.assert_array_equal(found.modalities["samples"].values[:, 1], 25 * np.tile(np.arange(24), 2))
        np.testing.assert_array_equal(found.globals, [[1.5, 23], [25.5, 47]])
    with pytest.raises(DataError, match=r"'features\.s0' has 3 tokens and 'features\.s5' has 2 in row 0"):
        examples(spec, {"adc": samples[:, :21]}, 2)


def test_missing_values_of_formats_that_have_them():
    """A missing number is NaN, a missing list has no tokens; integers that are all there stay exact."""
    content = ROWS | {"pt": [[5.0, None, 9.0], None, [4.0], [3.0, 3.0, 1.0, 8.0]], "n": [2**60, 1, None, 3]}
    found, findings = read(schema(observers={"n": "n"}), content)
    assert found.modalities["t"].counts.tolist() == [3, 0, 1, 4]
    assert findings.problems["nonfinite"].counts == {"modalities.t.features.pt": 1}
    assert np.isnan(found.observers["n"][2])
    whole = ak.Array([2**60 + 1, None, 1, 2, 3])[[0, 2, 3, 4]]
    found, _ = read(schema(observers={"n": "n"}), ROWS | {"n": whole})
    assert found.observers["n"].tolist() == [2**60 + 1, 1, 2, 3]


def test_lists_of_lists_work_through_awkward():
    deep = ak.Array([[[1, 2], [3]], [], [[4]], [[5], [], [6, 7]]])
    spec = DetectorSchema(modalities={"t": Modality(features={"n": Feature("sum(x[:, :1]) + y")})})
    with pytest.raises(SchemaError):  # sums of lists of different lengths
        examples(spec, {"x": deep, "y": ak.Array(PT)}, 4)
    spec = DetectorSchema(modalities={"t": Modality(features={"first": Feature("x[:, 0]")})})
    found, _ = examples(spec, {"x": deep[[0, 2, 3]]}, 3)
    assert lists(found) == [[1, 2], [4], [5]]


class TestKeys:
    def test_content_is_hashed_as_it_always_was(self):
        found, _ = read(schema(globals={"met": Feature("met")}), ROWS)
        keys = np.zeros(4, np.uint64)
        for name in ("eta", "met", "pt"):
            flat = np.concatenate([np.atleast_1d(row) for row in ROWS[name]])
            keys = mix(keys ^ hash_rows(flat, np.array([np.size(row) for row in ROWS[name]]), name))
        np.testing.assert_array_equal(found.keys, keys)

    def test_a_single_number_is_hashed_as_it_always_was(self):
        found, _ = read(schema(split=Split(key="2 * met")), ROWS)
        np.testing.assert_array_equal(found.keys, mix(bits(np.array([2.0, 4, 6, 8]))))

    @pytest.mark.usefixtures("block")
    def test_several_keys_and_lists_count_together(self):
        content = ROWS | {"run": [1, 1, 2, 1], "event": [5, 6, 5, 5], "l": [[1.0, 2.0], [1.0], [], [1.0, 2.0]]}
        both = read(schema(split=Split(key=["run", "event"])), content)[0].keys
        assert both[0] == both[3]
        assert len(set(both.tolist())) == 3
        for key in ("l", ["l"]):
            keys = read(schema(split=Split(key=key)), content)[0].keys
            assert keys[0] == keys[3]
            assert len(set(keys.tolist())) == 3

    def test_texts_are_keys_too(self):
        keys = read(schema(split=Split(key="name")), ROWS | {"name": ["a", "b", "a", ""]})[0].keys
        assert keys[0] == keys[2]
        assert len(set(keys.tolist())) == 3
        same = read(schema(split=Split(key="file_path")), ROWS | {"file_path": "x.root"})[0].keys
        assert len(set(same.tolist())) == 1


class TestTake:
    def test_a_subset_and_its_order(self):
        spec = schema(labels={"k": Label("group", "pt", modality="t")}, observers={"m": "met"})
        found, _ = read(spec, ROWS)
        taken = found.take(np.array([3, 0, 1]))
        assert lists(taken) == [PT[3], PT[0], []]
        assert taken.observers["m"].tolist() == [4, 1, 2]
        assert taken.labels["k"].tolist() == [1, 1, 2, 3, 1, 2, 3]
        assert taken.keys.tolist() == found.keys[[3, 0, 1]].tolist()
        kept = found.take(np.array([True, False, False, True]))
        assert lists(kept) == [PT[0], PT[3]]
        assert kept.labels["k"].tolist() == [1, 2, 3, 1, 1, 2, 3]
        assert found.take(np.ones(4, bool)) is found

    @given(st.lists(st.booleans(), min_size=4, max_size=4))
    @settings(deadline=None)
    def test_parts_join_to_the_whole(self, first):
        found, _ = read(schema(labels={"k": Label("group", "pt", modality="t")}), ROWS)
        mask = np.array(first)
        joined = Examples.concatenate([found.take(mask), found.take(~mask)])
        assert joined.rows == 4
        back = joined.take(np.argsort(np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])))
        assert lists(back) == PT
        np.testing.assert_array_equal(back.labels["k"], found.labels["k"])
