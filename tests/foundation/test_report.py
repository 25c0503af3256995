"""The page: complete, escaped, self-contained; runs in the order of the line, with what became of their inputs."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from foundation import metrics, plots
from foundation.cli import main
from foundation.errors import RunError
from foundation.evaluation_tables import rejection_text
from foundation.page import Code, Picture, Section, Settings, Table, format_value, render
from foundation.report import figure_section, report, run_section, runs_of, write_report
from foundation.runs import Run, write_json
from foundation.schema import DetectorSchema

SCHEMA = DetectorSchema.load(
    {
        "name": "jets",
        "comment": "Jets & <tracks>",
        "modalities": {"particles": {"features": {"pt": {"expression": "x"}}}},
        "labels": {"flavour": {"expression": "y", "classes": {"b": 0, "light": 1}}},
    }
)


class Page(HTMLParser):
    """Text, tags and attributes of a page; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def line(tmp_path):
    """store -> pretrain -> finetune -> evaluate, as the stages leave them, made in no particular order of names."""
    data = tmp_path / "jets.root"
    data.write_bytes(b"root file")
    store = Run.create(
        tmp_path / "z-store", "ingest", config={"chunk_rows": 50000}, schema=SCHEMA, inputs={"file": data}
    )
    splits = {"train": {"rows": 700, "classes": {"flavour": {"b": 300, "light": 400}}}}
    splits["test"] = {"rows": 200, "classes": {"flavour": {"b": 90, "light": 110}}}
    store.write(
        "manifest.json", {"splits": splits, "accounting": {"read": 905, "cut": 5, "quarantined": {"nonfinite": 0}}}
    )
    pretrain = Run.create(
        tmp_path / "y-pretrain",
        "pretrain",
        config={"train": {"steps": 40}},
        schema=SCHEMA,
        inputs={"store": store.path},
    )
    rows = [{"step": i, "loss": 3 / i, "loss/masked": 2 / i} for i in range(1, 41)]
    rows += [{"step": 20, "probe_accuracy": 0.61}, {"step": 40, "probe_accuracy": 0.66}]
    (pretrain.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pretrain.write("metrics.json", {"parameters": 21824, "probe_accuracy": 0.66})
    finetune = Run.create(
        tmp_path / "finetune",
        "finetune",
        config={"mode": "full"},
        schema=SCHEMA,
        inputs={"encoder": pretrain.path, "store": store.path},
    )
    finetune.write("metrics.json", {"labels": 700})
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    first = 1 / (1 + np.exp(rng.normal(1.5 * (2 * labels - 1), 1)))
    found = metrics.classification(labels, np.stack([first, 1 - first], axis=1), ["b", "light"])
    evaluate = Run.create(
        tmp_path / "a-evaluate", "evaluate", config={"split": "test"}, schema=SCHEMA, inputs={"model": finetune.path}
    )
    evaluate.write("metrics.json", {"split": "test", "rows": 400, **found})
    curve = metrics.roc(labels == 0, first)
    plots.save(plots.roc_curves({"b": curve}), evaluate.path / "roc.png")
    return [store, pretrain, finetune, evaluate]


def test_runs_come_in_the_order_of_the_line_with_what_they_were_made_from(line):
    assert [run.stage for run in runs_of([line[3].path])] == ["ingest", "pretrain", "finetune", "evaluate"]
    assert [run.stage for run in runs_of([line[1].path, line[1].path])] == ["ingest", "pretrain"]
    assert [run.path for run in runs_of([line[0].path.parent])] == [run.path for run in line]


def test_an_evaluation_comes_right_after_its_model(line):
    later = Run.create(
        line[0].path.parent / "a-student", "distill", config={}, schema=SCHEMA, inputs={"teacher": line[2].path}
    )
    again = Run.create(
        line[0].path.parent / "student-eval", "evaluate", config={}, schema=SCHEMA, inputs={"model": later.path}
    )
    again.write("metrics.json", {"reference": {"auc": 0.9, "auc/b": 0.9}, "auc": 0.7, "auc/b": 0.7})
    runs = runs_of([again.path, line[3].path])
    assert [run.path.name for run in runs] == [
        "z-store",
        "y-pretrain",
        "finetune",
        "a-evaluate",
        "a-student",
        "student-eval",
    ]
    page = Page(report([again.path], line[0].path.parent / "report.html").read_text())
    assert "student-eval" in page.text
    assert "AUC 0.7" in page.text  # the student's own, not that of the reference beside it
    assert "AUC 0.9" not in page.text


def test_the_page_holds_each_stage_with_settings_figures_inputs_and_pictures(line, tmp_path):
    out = report([line[3].path], tmp_path / "pages" / "report.html")
    page = Page(out.read_text())
    found = line[3].read("metrics.json")
    for expected in (
        "Jets & <tracks>", "ingest: z-store", "evaluate: a-evaluate", "train.steps 40", "parameters 21,824",
        f"accuracy {found['accuracy']:.4g}", "train 700 300 400", "test 200 90 110", "read 905", "1/εB at εS = 0.5",
        line[0].provenance["inputs"]["file"]["sha256"], line[1].provenance["inputs"]["store"]["sha256"],
    ):  # fmt: skip
        assert expected in page.text, expected
    rejection = found["rejection/b"][1]
    assert " ".join(rejection_text(rejection).split()) in page.text
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [picture["alt"] for picture in pictures] == ["Loss", "Probe on the frozen embedding", "ROC"]
    assert all(picture["src"].startswith("data:image/png;base64,iVBOR") for picture in pictures)


def test_the_page_needs_nothing_from_outside_and_runs_no_script(line, tmp_path):
    text = report([line[3].path], tmp_path / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:image/png|#s\d)", text)
    assert not re.findall(r"url\(|@import|<script|<link|https?://", text)
    policy = dict(Page(text).tags)["meta"]
    assert policy is not None
    assert "default-src 'none'" in text


def test_everything_is_escaped():
    evil = "<script>alert('x')</script>&\""
    section = Section(
        evil, evil, [Table([evil], [[evil], [Code(evil)]], evil), Settings({evil: evil}, evil)],
        [Picture(plots.png(plots.loss_curves([])), evil)], command=evil, short=evil,
    )  # fmt: skip
    text = render(evil, [section], {evil: evil})
    page = Page(text)
    assert "<script" not in text
    assert page.text.count("alert('x')") == 16  # each place once, but for the pictures' alternative text
    assert next(attributes["alt"] for tag, attributes in page.tags if tag == "img") == evil


def test_an_input_that_changed_or_went_is_told(line):
    def states(run):
        return [row[3] for table in run_section(run).details if isinstance(table, Table) for row in table.rows]

    assert states(line[0]) == ["a file, not read again"]
    assert states(line[2]) == ["same", "same"]
    write_json(line[0].path / "manifest.json", line[0].read("manifest.json") | {"version": 2})
    assert states(line[2]) == ["same", "has changed"]
    line[1].path.rename(line[1].path.with_name("moved"))
    assert states(line[2]) == ["not there", "has changed"]
    assert [run.stage for run in runs_of([line[3].path])] == ["ingest", "finetune", "evaluate"]


def test_an_unfinished_stage_says_so(line):
    (line[2].path / "metrics.json").unlink()
    assert "has not finished" in run_section(line[2]).text
    assert "has not finished" not in run_section(line[1]).text


def test_figures_of_another_model_inside_get_their_own_table_and_missing_ones_their_reason():
    inner = {
        "auc": 0.9,
        "auc/b": 0.9,
        "rejection/b": [{"signal_efficiency": 0.5, "value": None, "reason": "no background passes"}],
    }
    values = {
        "auc": None,
        "reasons": {"auc": "only one class"},
        "verify": {"mismatches": 0},
        "reference": inner,
        "layers": [{"name": "dense", "bits": 8}, {"name": "relu"}],
        "x": [0] * 99,
    }
    tables = figure_section("Figures", values).tables
    assert tables[0] == Settings({"auc": "– (only one class)", "verify.mismatches": 0})
    assert (tables[1].caption, tables[1].header, tables[1].rows) == (
        "layers",
        ["name", "bits"],
        [["dense", 8], ["relu", None]],
    )
    assert tables[2] == Settings({"auc": 0.9}, "reference")
    assert list(tables[3].rows[0]) == ["b", 0.9, "no background passes"]


def test_an_existing_page_and_a_folder_without_runs_are_refused(line, tmp_path, capsys):
    out = tmp_path / "report.html"
    out.write_text("mine")
    assert main(["report", str(line[1].path), "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="not a run folder"):
        report([tmp_path / "empty"], tmp_path / "new.html")
    assert not (tmp_path / "new.html").exists()
    assert main(["report", str(line[1].path), "--out", str(out), "--overwrite", "--title", "My jets"]) == 0
    assert "<h1>My jets</h1>" in out.read_text()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345, "12,345"), (0.73124, "0.7312"), (1.2e-5, "1.2e-05"), (200000.0, "200,000"), (True, "yes"), (None, "–"),
        ([], "–"), ("", "–"), ([16, 16], "16, 16"), (3.0, "3"), ("text", "text"),
    ],
)  # fmt: skip
def test_values_are_shown_as_people_read_them(value, shown):
    assert format_value(value) == shown


def test_a_failed_write_leaves_the_old_page(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, "First", [])
    with pytest.raises(IndexError):
        write_report(path, "Second", [Section("bad", tables=[Table(["a", "b"], [["one cell only"]])])])
    assert "First" in path.read_text()
