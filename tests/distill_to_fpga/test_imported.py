"""Reports of Vivado and Vitis HLS: read exactly, labelled by their step, refused by name where they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from tool_reports import CSYNTH_RPT, CSYNTH_XML, SUMMARY_RPT, timing, utilization

from distill_to_fpga.imported.command import beside, comparison, exported, report
from distill_to_fpga.imported.figures import PLACED, ROUTED, SYNTHESIS, VITIS
from distill_to_fpga.imported.read import read_reports
from foundation.cli import main
from foundation.errors import DataError, RunError
from foundation.runs import Run
from foundation.schema import DetectorSchema

SCHEMA = DetectorSchema.load({"name": "jets", "modalities": {"particles": {"features": {"pt": {"expression": "pt"}}}}})
OF_VITIS = {
    "luts": 14250, "flip_flops": 5123, "dsps": 4, "block_rams": 1.5, "latency_cycles": 11, "interval": 1,
}  # fmt: skip


def folder(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_utilisation_and_timing_of_the_same_step_are_one(tmp_path):
    folder(tmp_path, a_dot_rpt=utilization(), b_dot_rpt=timing("-0.125", failing=17))
    (found,) = read_reports(tmp_path)
    assert (found.label, found.design) == (ROUTED, "detfm_student_v1")
    assert (found.device, found.tool) == ("xcvu13p-flga2577-2-e", "Vivado 2023.2")
    assert found.figures == {
        "luts": 10182, "flip_flops": 7801, "dsps": 12, "block_rams": 1.5, "ultra_rams": 0,
        "slack_ns": -0.125, "failing": 17, "clock_ns": 5.0, "least_clock_ns": 5.125,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "label"),
    [("Synthesized", SYNTHESIS), ("Optimized", SYNTHESIS), ("Fully Placed", PLACED), ("Physopt postPlace", PLACED),
     ("Routed", ROUTED), ("Physopt postRoute", ROUTED)],
)  # fmt: skip
def test_the_state_of_the_design_is_the_label(tmp_path, state, label):
    folder(tmp_path, util_dot_rpt=utilization(state=state))
    assert read_reports(tmp_path)[0].label == label


def test_without_a_state_the_name_of_the_file_says_the_step(tmp_path):
    folder(tmp_path, synth_timing_dot_rpt=timing(state=""), top_timing_summary_routed_dot_rpt=timing("0.1", state=""))
    assert [each.label for each in read_reports(tmp_path)] == [SYNTHESIS, ROUTED]
    (tmp_path / "synth_timing.rpt").rename(tmp_path / "timing.rpt")
    with pytest.raises(
        DataError, match=r"timing\.rpt does not say whether .* name the file with synth, place or route"
    ):
        read_reports(tmp_path)


def test_no_constrained_path_is_told_and_gives_no_slack(tmp_path):
    folder(tmp_path, timing_dot_rpt=timing("NA"))
    (found,) = read_reports(tmp_path)
    assert "slack_ns" not in found.figures
    assert found.notes == ("no path is constrained: the slack says nothing",)


@pytest.mark.parametrize(
    "files",
    [
        {"csynth_dot_xml": CSYNTH_XML},
        {"csynth_dot_xml": CSYNTH_XML, "student_csynth_dot_rpt": CSYNTH_RPT.format(top="student", luts=1)},
        {"student_csynth_dot_rpt": CSYNTH_RPT.format(top="student", luts=14250)},
        {"csynth_dot_rpt": SUMMARY_RPT},
        {
            "csynth_dot_rpt": SUMMARY_RPT,
            "student_csynth_dot_rpt": CSYNTH_RPT.format(top="student", luts=14250),
            "dense_1_csynth_dot_rpt": CSYNTH_RPT.format(top="dense_1", luts=99),
        },
    ],
    ids=["xml", "xml and text", "text", "summary", "all texts"],
)
def test_every_form_of_a_c_synthesis_says_the_same_of_the_top_function(tmp_path, files):
    folder(tmp_path, **files)
    (found,) = read_reports(tmp_path)
    assert (found.label, found.design, found.device) == (VITIS, "student", "xcvu13p-flga2577-2-e")
    assert {name: found.figures[name] for name in OF_VITIS} == OF_VITIS
    assert found.tool.startswith("Vitis HLS 2023.2") or found.tool == "Vitis HLS 2023.2"
    if files.keys() != {"csynth_dot_rpt"}:
        assert (found.figures["clock_ns"], found.figures["least_clock_ns"]) == (5.0, 3.512)


def test_a_latency_that_vitis_does_not_know_is_left_out(tmp_path):
    text = CSYNTH_XML.replace("<Worst-caseLatency>11<", "<Worst-caseLatency>undef<")
    folder(tmp_path, csynth_dot_xml=text)
    assert "latency_cycles" not in read_reports(tmp_path)[0].figures


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no report"),
        ({"power_dot_rpt": "| Total On-Chip Power (W) | 0.432 |\n"}, "holds no report: .*; these are none: power.rpt"),
        ({"util_dot_rpt": utilization()[:900]}, "util.rpt: no row 'CLB LUTs'"),
        ({"util_dot_rpt": utilization().replace("10182", "10l82")}, "util.rpt: 'CLB LUTs' is '10l82'"),
        ({"util_dot_rpt": utilization().replace("| Design       : ", "| Top : ")}, "no line '| Design : NAME'"),
        ({"util_dot_rpt": "report_utilization\nUtilization by Hierarchy\n"}, "is hierarchical"),
        ({"timing_dot_rpt": timing().split("    -------")[0]}, "timing.rpt: no row below 'WNS"),
        ({"csynth_dot_xml": CSYNTH_XML[:400]}, "csynth.xml is not XML"),
        ({"csynth_dot_xml": "<profile></profile>"}, "no AreaEstimates/Resources"),
        ({"csynth_dot_xml": CSYNTH_XML.replace("14250", "many")}, "'LUT' is 'many'"),
        ({"a_csynth_dot_rpt": CSYNTH_RPT.format(top="a", luts=14250).split("* Summary:\n+")[0]}, "a column BRAM_18K"),
        ({"a_csynth_dot_rpt": CSYNTH_RPT.format(top="a", luts=1).split("+ Latency")[0]}, "no table in the section"),
        ({"csynth_dot_rpt": SUMMARY_RPT.split("    |+ student")[0]}, "no module in the table"),
        (
            {f"{n}_csynth_dot_rpt": CSYNTH_RPT.format(top=n, luts=14250) for n in ("a", "b")},
            "which of a_csynth.rpt, b_csynth.rpt is of the top function",
        ),
        ({"a_dot_rpt": utilization(), "b_dot_rpt": utilization(9)}, r"a.rpt and .*b.rpt both give LUTs"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_files_name(tmp_path, files, message):
    folder(tmp_path, **files)
    with pytest.raises(DataError, match=message):
        read_reports(tmp_path)


def export(path: Path, name: str = "student") -> Run:
    run = Run.create(path, "export", config={"name": name, "version": 1}, schema=SCHEMA)
    counted = {
        "label": "synthesis (Yosys)",
        "luts": 10935,
        "flip_flops": 8001,
        "dsps": 0,
        "block_rams": 0,
        "version": "0.23",
    }
    rtl = {"pipeline": {"latency_cycles": 12, "register_bits": 9123}, "synthesis": counted, "estimate": {"luts": 1}}
    run.write("metrics.json", {"luts": 11409, "latency_cycles": 12, "clock_ns": 5.0, "targets": {"rtl": rtl}})
    return run


def test_each_column_has_its_label_and_its_own_figures(tmp_path):
    run = export(tmp_path / "firmware")
    reports = folder(
        tmp_path / "reports", vitis__csynth_dot_xml=CSYNTH_XML, synth_util_dot_rpt=utilization(12000, "Synthesized"),
        route_util_dot_rpt=utilization(), route_timing_dot_rpt=timing(),
    )  # fmt: skip
    table = comparison(beside(run, [each for each in read_reports(reports) if each.design != "student"]))
    assert table.header == [
        "", "estimate", "exact (RTL as written)", "synthesis (Yosys)", "synthesis (Vivado)", "post-route (Vivado)",
    ]  # fmt: skip
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert rows["LUTs"] == [11409, None, 10935, 12000, 10182]
    assert rows["LUTs, of the estimate"] == [1, None, 0.958, 1.052, 0.892]
    assert rows["flip-flops"] == [None, 9123, 8001, 7801, 7801]
    assert rows["latency (clocks)"] == [12, 12, None, None, None]
    assert rows["worst negative slack (ns)"] == [None, None, None, None, 0.312]
    assert rows["least clock period (ns)"][-1] == 4.688
    several = beside(run, read_reports(reports))
    assert "synthesis (Vitis): student" in several
    assert "post-route (Vivado): detfm_student_v1" in several


def test_the_page_and_the_terminal_show_them(tmp_path, capsys):
    run = export(tmp_path / "firmware")
    reports = folder(tmp_path / "reports", util_dot_rpt=utilization(), timing_dot_rpt=timing())
    out = tmp_path / "page.html"
    assert main(["report", str(run.path), "--import", str(reports), "--out", str(out)]) == 0
    page, shown = out.read_text(), capsys.readouterr().err
    assert page.index("<h2>Imported: firmware") < page.index("<h2>Overview")
    for text in ("post-route (Vivado)", "synthesis (Yosys)", "10,182", "11,409", "0.312", "Vivado 2023.2"):
        assert text in page, text
    assert "10,182" in shown
    assert main(["report", str(run.path), "--import", str(tmp_path / "none"), "--out", str(tmp_path / "b.html")]) == 2
    assert "no such folder of reports" in capsys.readouterr().err
    assert not (tmp_path / "b.html").exists()


def test_reports_belong_to_one_export_run(tmp_path):
    one, other = export(tmp_path / "one"), export(tmp_path / "other", "tagger")
    reports = folder(tmp_path / "reports", util_dot_rpt=utilization(design="detfm_tagger_v1_payload"))
    found = read_reports(reports)
    assert exported([one], found) == one
    assert exported([one, other], found) == other
    again = export(tmp_path / "again", "tagger")
    with pytest.raises(RunError, match="are of detfm_tagger_v1_payload; name the one export run"):
        exported([other, again], found)
    store = Run.create(tmp_path / "store", "ingest", config={}, schema=SCHEMA)
    with pytest.raises(RunError, match="not none"):
        report([store.path], tmp_path / "page.html", imported=reports)
