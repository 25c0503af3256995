"""A folder of a tool's reports: which files are reports, and which of several say the same."""

from __future__ import annotations

from pathlib import Path

from distill_to_fpga.imported import vitis, vivado
from distill_to_fpga.imported.figures import Reported, merged
from foundation.errors import DataError

LARGEST = 64 << 20  # bytes; a report is smaller


def read_reports(folder: str | Path) -> list[Reported]:
    """All reports below a folder, or the one in a file: utilisation and timing summary of Vivado, C synthesis of Vitis
    HLS. Other files are left alone.

    Raises:
        DataError: there is none; or one is cut short, edited, or contradicts another. Names the file.
    """
    root = Path(folder)
    if not root.exists():
        raise DataError(f"{root}: no such folder of reports")
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    vivados = [_of_vivado(path) for path in files if path.suffix == ".rpt"]
    found = merged([*(each for each in vivados if each is not None), *_of_vitis(files)])
    if not found:
        passed = [path.name for path in files if path.suffix in (".rpt", ".xml")]
        others = f"; these are none: {', '.join(passed[:8])}" if passed else ""
        raise DataError(
            f"{root} holds no report: expected report_utilization or report_timing_summary of Vivado (*.rpt), or "
            f"csynth.xml, csynth.rpt, TOP_csynth.rpt of Vitis HLS{others}"
        )
    return found


def _of_vivado(path: Path) -> Reported | None:
    text = _text(path)
    if vitis.is_text(text):
        return None
    if vivado.is_utilization(text):
        return vivado.read_utilization(path, text)
    return vivado.read_timing(path, text) if vivado.is_timing(text) else None


def _of_vitis(files: list[Path]) -> list[Reported]:
    """The report of the top function in each folder: csynth.xml, which has all, else its text, else the summary; those
    of the functions within are left alone."""
    found = []
    for folder in dict.fromkeys(path.parent for path in files):
        here = {path.name: path for path in files if path.parent == folder}
        if "csynth.xml" in here:
            found.append(vitis.read_xml(here["csynth.xml"], _text(here["csynth.xml"])))
            continue
        texts = {
            name: path for name, path in here.items() if name.endswith("csynth.rpt") and vitis.is_text(_text(path))
        }
        summary = texts.pop("csynth.rpt", None)
        top = vitis.read_text(summary, _text(summary)) if summary else None
        if top is not None and f"{top.design}_csynth.rpt" in texts:
            texts = {name: path for name, path in texts.items() if name == f"{top.design}_csynth.rpt"}
        if len(texts) == 1:
            (path,) = texts.values()
            found.append(vitis.read_text(path, _text(path)))
        elif top is not None:
            found.append(top)
        elif texts:
            raise DataError(
                f"{folder}: which of {', '.join(sorted(texts))} is of the top function? Name its file itself"
            )
    return found


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; a report has fewer than {LARGEST:,}")
    return path.read_text(errors="replace")
