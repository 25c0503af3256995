"""Every function of the four packages runs under beartype and jaxtyping here: a wrong shape or type fails the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from foundation.compilation_cache import forget_compiled, keep_compiled

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Here programs run for less time than they take to compile: half of it goes without LLVM's optimisations.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("DETFM_CACHE", str(Path(__file__).parent.parent / ".pytest_cache" / "detfm"))
keep_compiled()

PACKAGES = ["foundation", "pretrain", "finetune", "distill_to_fpga"]
install_import_hook(PACKAGES, "runtime_types.checked")

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True, scope="module")
def _programs_are_forgotten() -> Iterator[None]:
    """A worker compiles thousands of programs, more than one process may keep."""
    yield
    forget_compiled()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real detector data (see its README); a test that asks for it is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not here: {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def sample() -> Path:
    """The shipped sample of simulated jets."""
    return ROOT / "samples" / "jets.root"
