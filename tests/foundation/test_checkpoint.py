"""Checkpoints on disk: sealed, damage named, the one before used; what is written is what was given."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foundation.checkpoint import Checkpoints, load_model, save_model
from foundation.errors import TrainingError

STEPS = (10, 20)


def state(step: int) -> dict[str, jax.Array]:
    return {"kernel": jnp.arange(3000.0).reshape(50, 60) + step, "step": jnp.asarray(step)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints."""
    run = tmp_path_factory.mktemp("written")
    with Checkpoints(run) as checkpoints:
        for step in STEPS:
            checkpoints.save(step, state(step), {"step": 7 * step})
    return run


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "run")
    return tmp_path / "run"


def restored(run: Path) -> int:
    """The step restored, whose content is checked."""
    with Checkpoints(run) as checkpoints:
        found, loader = checkpoints.restore(state(0))
    step = int(found["step"])
    assert loader == {"step": 7 * step}
    np.testing.assert_array_equal(found["kernel"], state(step)["kernel"])
    return step


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "truncated": truncate,
    "flipped": flip_a_bit,
    "missing": Path.unlink,
    "empty": partial(Path.write_bytes, data=b""),
}


def sealed_files(run: Path) -> list[Path]:
    """Every file with content that a seal answers for: not the two that orbax writes after all else."""
    top = run / "checkpoints" / "20"
    files = [path for path in sorted(top.rglob("*")) if path.is_file() and path.stat().st_size]
    return [path for path in files if path.parent != top or path.name == "seal.json"]


def test_the_newest_is_restored(run: Path) -> None:
    assert restored(run) == 20


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_of_any_file_is_named_and_the_one_before_is_used(run, how, capsys):
    count = len(sealed_files(run))
    assert count > 8
    for number in range(count):
        folder = run.with_name(f"{how}{number}")
        shutil.copytree(run, folder)
        path = sealed_files(folder)[number]
        DAMAGE[how](path)
        assert restored(folder) == 10
        warning = capsys.readouterr().err
        assert warning.count("\n") == 1
        for part in ("warning", "checkpoints/20", path.name, "step 10 is used"):
            assert part in warning


def test_half_written_checkpoint_is_not_used(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "checkpoints" / "20" / "loader")
    assert restored(run) == 10
    assert "loader" in capsys.readouterr().err


def test_a_damaged_step_can_be_written_again(run: Path) -> None:
    flip_a_bit(next((run / "checkpoints/20/state/d").iterdir()))
    with Checkpoints(run) as checkpoints:
        checkpoints.restore(state(0))
        checkpoints.save(15, state(15), {"step": 105})
        checkpoints.save(20, state(20), {"step": 140})
    assert restored(run) == 20
    assert (run / "checkpoints/20.damaged").is_dir()


def test_all_damaged_is_an_error_that_names_them(run: Path) -> None:
    for step in STEPS:
        truncate(next((run / f"checkpoints/{step}/state/d").iterdir()))
    for _ in range(2):  # and stays one: nothing is put aside
        with pytest.raises(TrainingError) as error:
            restored(run)
        assert all(f"checkpoints/{step}: state/d/" in str(error.value) for step in STEPS)


def test_a_step_that_died_while_being_written_is_written_again(run: Path) -> None:
    (run / "checkpoints/30.orbax-checkpoint-tmp/state").mkdir(parents=True)
    assert restored(run) == 20
    with Checkpoints(run) as checkpoints:
        checkpoints.save(30, state(30), {"step": 210})
    assert restored(run) == 30


def test_saving_does_not_see_the_buffers_of_the_next_step(tmp_path: Path) -> None:
    """The next step donates the arrays and writes into them while the checkpoint is still being written."""
    spoil = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 1, tree), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        large = {"kernel": jnp.arange(3_000_000.0)}
        checkpoints.save(1, large, {"step": 0})
        for _ in range(3):
            large = spoil(large)
        jax.block_until_ready(large)
        found, _ = checkpoints.restore(large)
    np.testing.assert_array_equal(found["kernel"], np.arange(3_000_000.0, dtype=np.float32))


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    model = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    save_model(tmp_path, model)
    path = next((tmp_path / "model/d").iterdir())
    flip_a_bit(path)
    with pytest.raises(TrainingError, match=path.name):
        load_model(tmp_path, model)
