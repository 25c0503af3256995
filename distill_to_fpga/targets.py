"""The back ends of `detfm export`: what each of them writes, and how what it wrote is run.

A back end translates the graph and nothing else (contract 5 of the architecture). To add one: a subclass of `Target`
in its own package, and its line in `TARGETS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill_to_fpga.board.target import BoardTarget
from distill_to_fpga.conifer_project.target import ConiferTarget
from distill_to_fpga.emulator.target import EmulatorTarget
from distill_to_fpga.hls.target import HlsTarget
from distill_to_fpga.hls4ml_project.target import Hls4mlTarget
from distill_to_fpga.rtl.target import RtlTarget
from distill_to_fpga.target import Target
from foundation.errors import DataError

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (HlsTarget(), RtlTarget(), EmulatorTarget(), BoardTarget(), Hls4mlTarget(), ConiferTarget())
}


def target_of(manifest: Mapping[str, Any]) -> Target:
    """The back end that wrote a project.

    Raises:
        DataError: none of this version's.
    """
    for target in TARGETS.values():
        if manifest["format"] == target.form:
            return target
    known = ", ".join(target.form for target in TARGETS.values())
    raise DataError(f"this detfm writes {known}; the project is a {manifest['format']}: export it again")
