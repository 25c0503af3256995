"""A function as StableHLO by `jax.export`: a file that needs nothing but jax to be run.

Sizes may be free (symbolic); there is no gradient in it. The file is what `jax.export.Exported.serialize` gives.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from finetune.onnx_graph import symbols
from foundation.errors import ToolError

PLATFORMS = ("cpu", "cuda")
# What a program that has only jax does with the file; also in the README that lies beside it.
LOADER = """\
import jax.export
import numpy as np

inputs = np.load("inputs.npz")
exported = jax.export.deserialize(bytearray(open("tagger.stablehlo", "rb").read()))
outputs = exported.call(*(inputs[name] for name in inputs.files))
"""


def to_stablehlo(function: Callable[..., Any], shapes: Sequence[tuple[int | str, ...]]) -> bytes:
    """The file.

    Raises:
        ToolError: the function needs a size that is free.
    """
    from jax import export

    try:
        made = export.export(jax.jit(function), platforms=PLATFORMS)(*symbols(shapes))
    except (ValueError, TypeError, NotImplementedError) as error:
        told = str(error).strip().splitlines()[0]
        raise ToolError(f"jax.export cannot export this model with free sizes: {told}") from error
    return bytes(made.serialize(vjp_order=0))


def run_alone(file: bytes, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """What a new process with only jax makes of the file.

    Args:
        arrays: inputs, in order.

    Raises:
        ToolError: it failed; with what it said.
    """
    check = (
        "import sys\nassert not {'flax', 'finetune', 'foundation'} & set(sys.modules), 'more than jax was imported'\n"
    )
    save = 'np.savez("outputs.npz", *map(np.asarray, outputs))\n'
    with tempfile.TemporaryDirectory(prefix="detfm-stablehlo-") as folder:
        place = Path(folder)
        (place / "tagger.stablehlo").write_bytes(file)
        np.savez(place / "inputs.npz", allow_pickle=False, **arrays)
        done = subprocess.run(
            [sys.executable, "-c", LOADER + check + save], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ToolError(f"the StableHLO file does not run by itself:\n{done.stderr.strip()[-2000:]}")
        with np.load(place / "outputs.npz", allow_pickle=False) as found:
            return [found[f"arr_{i}"] for i in range(len(found.files))]
