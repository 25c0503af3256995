"""Training on eight simulated devices is training on one, with the state spread as the mesh says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import sharded
from sharded import CONFIG, MESHES, Dense, Stream

from foundation.mesh import MeshConfig
from foundation.step import start

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run `one` here, and one of each mesh in a process with eight devices; two that moved half-way."""
    folder = tmp_path_factory.mktemp("sharded")
    sharded.train(folder / "one", MeshConfig())
    half(folder / "one", folder / "one-then-eight")
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
    }
    command = [sys.executable, sharded.__file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    half(folder / "both", folder / "eight-then-one")
    sharded.train(folder / "eight-then-one", MeshConfig(), resume=True)
    return folder


def half(run: Path, other: Path) -> None:
    """A copy of a run, as if it had been stopped at its middle."""
    shutil.copytree(run, other)
    shutil.rmtree(other / "checkpoints" / str(CONFIG.steps))


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def final(run: Path) -> dict[str, np.ndarray]:
    """Parameters, optimiser state and moving average of the last checkpoint, read as whole arrays."""
    path = run / "checkpoints" / str(CONFIG.steps) / "state"
    with ocp.PyTreeCheckpointer() as checkpointer:
        names = dict(checkpointer.metadata(path).item_metadata.tree)
        return checkpointer.restore(
            path, restore_args={name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
        )


@pytest.mark.parametrize("name", [*MESHES, "one-then-eight", "eight-then-one"])
def test_losses_and_final_state_are_those_of_one_device(runs: Path, name: str) -> None:
    np.testing.assert_allclose(losses(runs / name), losses(runs / "one"), rtol=1e-5)
    found, wanted = final(runs / name), final(runs / "one")
    assert found.keys() == wanted.keys()
    assert any(key.startswith("ema") for key in wanted)
    assert any(key.startswith("optimizer") for key in wanted)
    for key in wanted:
        np.testing.assert_allclose(found[key], wanted[key], rtol=1e-4, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(("name", "parts"), [("data", 1), ("fsdp", 8), ("both", 4)])
def test_state_on_each_device_falls_as_it_should(runs: Path, name: str, parts: int) -> None:
    """Kernels, their moving average and two moments are split; biases and counters stay whole."""
    _, state = start(Dense(), CONFIG)
    sizes = np.asarray([leaf.nbytes for leaf in jax.tree.leaves(state)])
    kernels = sizes[sizes >= 4 * 16 * 256].sum()
    assert kernels > 0.9 * sizes.sum()
    expected = int(kernels / parts + sizes.sum() - kernels)
    found = json.loads((runs / "bytes.json").read_text())[name]
    assert found["before"] == found["after"] == [expected] * 8


def test_a_checkpoint_of_several_devices_holds_each_part_once(runs: Path) -> None:
    stored = {
        name: sum(path.stat().st_size for path in (runs / name / "checkpoints").rglob("d/*"))
        for name in ("one", "data", "fsdp")
    }
    assert stored["data"] < 2 * stored["one"]
    assert stored["fsdp"] < 2 * stored["one"]


def test_fixture_is_not_trivial() -> None:
    first, second = next(stream := Stream()), next(stream)
    assert not np.array_equal(first.globals, second.globals)
    assert first.size % 8
