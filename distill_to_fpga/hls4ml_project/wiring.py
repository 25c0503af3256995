"""A layer that hls4ml does not have, by its Extension API: elements picked by index, which is wires in hardware.

Imported once hls4ml is known to be installed.
"""

from __future__ import annotations

from typing import Any

from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate
from hls4ml.model.layers import Layer, layer_map, register_layer
from hls4ml.model.types import Source

from distill_to_fpga.hls4ml_project.layers import WIRING
from distill_to_fpga.hls4ml_project.model import BACKENDS


class Wiring(Layer):
    """Attributes `places`, indices into the flattened input, and `target_shape`."""

    def initialize(self) -> None:
        self.add_output_variable(self.get_attr("target_shape"))
        vitis = self.model.config.get_config_value("Backend") == "Vitis"
        kinds = "input_t *inp, output_t *out" if vitis else "const input_t &inp, output_t &out"
        moves = [f"    out[{i}] = inp[{k}];" for i, k in enumerate(self.get_attr("places"))]
        start = f"template<typename input_t, typename output_t>\nvoid {self.name}({kinds}) {{"
        pragma = ["    #pragma HLS INLINE"] if vitis else []
        self.set_attr("wiring_codegen", Source("\n".join(["", start, *pragma, *moves, "}", ""])))


class WiringCall(FunctionCallTemplate):
    """The line in the top function."""

    def __init__(self) -> None:
        super().__init__(Wiring, include_header=[])

    def format(self, node: Any) -> str:
        params = self._default_function_params(node)
        space = node.model.config.get_writer_config()["Namespace"]
        return "{0}::{name}<{input_t}, {output_t}>({input}, {output});".format(space, **params)


def register() -> None:
    """Makes the layer known to hls4ml, once in a process."""
    if WIRING not in layer_map:
        register_layer(WIRING, Wiring)
        for backend in BACKENDS:
            get_backend(backend).register_template(WiringCall)
