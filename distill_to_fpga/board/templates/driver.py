"""Runs the vectors of tb/data through a card with PYNQ and compares every output with the golden model's.

python driver.py overlay.bit          # overlay.hwh beside it, both made by build_overlay.tcl
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LINKS = json.loads((ROOT / "links.json").read_text())
BATCH = 4096  # inferences of one transfer


def vectors(side):
    """Port -> integers [vectors, elements] of tb/data; side: "inputs" or "outputs"."""
    return {port: np.loadtxt(ROOT / "tb/data" / f"{port}.txt", np.int64, ndmin=2) for port in LINKS[side]["sizes"]}


def pack(side, ports):
    """Words [vectors, words], as LINKS.md lays them out."""
    words = np.zeros((len(next(iter(ports.values()))), LINKS[side]["words"]), np.uint64)
    for field in LINKS[side]["fields"]:
        value = ports[field["port"]][:, field["element"]].astype(np.uint64) & np.uint64((1 << field["width"]) - 1)
        words[:, field["word"]] |= value << np.uint64(field["low"])
    return words


def transfer(dma, allocate, words):
    """Outputs [vectors, words] of inputs [vectors, words]; a transfer is many inferences, tlast its end."""
    made = []
    for first in range(0, len(words), BATCH):
        some = words[first : first + BATCH]
        given = allocate(some.shape, np.uint64)
        found = allocate((len(some), LINKS["outputs"]["words"]), np.uint64)
        given[:] = some
        dma.recvchannel.transfer(found)
        dma.sendchannel.transfer(given)
        dma.sendchannel.wait()
        dma.recvchannel.wait()
        made.append(np.array(found))
    return np.concatenate(made)


def main(bitfile):
    from pynq import Overlay, allocate

    dma = Overlay(bitfile).axi_dma
    found = transfer(dma, allocate, pack("inputs", vectors("inputs")))
    wrong = (found != pack("outputs", vectors("outputs"))).any(axis=1)
    print(f"{len(found)} inferences, {wrong.sum()} differ")
    return int(wrong.any())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
