"""Two processes of one core each against one: run by benchmarks/pretrain.py, prints the efficiency.

In every round the first process trains alone while the second waits, then both train together on twice the rows, as
`detfm pretrain` does on a cluster: jax.distributed, gradients added between them in every step.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import harness  # noqa: F401  first: it puts this folder behind the packages

ROUNDS = 3
PROCESS, COORDINATOR = "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"


def work(steps: int) -> None:
    import jax
    import numpy as np
    import pretrain_model
    from jax.experimental.multihost_utils import sync_global_devices
    from pretrain_model import SIZES, TRAIN, Trainer, timed

    from foundation.distributed import initialize
    from foundation.mesh import Layout, MeshConfig
    from foundation.train import start, train_step

    initialize()
    first = jax.process_index() == 0
    with tempfile.TemporaryDirectory() as folder:
        data = pretrain_model.store(Path(folder), 400)
        batch = next(pretrain_model.loader(data, SIZES["cpu"], 1))
    alone = Trainer(pretrain_model.model(data, SIZES["cpu"]))
    layout = Layout.of(MeshConfig())
    graph, state = start(pretrain_model.model(data, SIZES["cpu"]), TRAIN, layout)
    rows = layout.batch(batch)

    def together() -> None:
        nonlocal state
        for _ in range(steps):
            state, _ = train_step(state, rows, np.uint32(0), graph=graph, config=TRAIN, layout=layout)
        jax.block_until_ready(state)

    single = [jax.device_put(batch, jax.local_devices()[0])] * steps
    together()
    if first:
        alone.seconds(single)
    found = []
    for number in range(ROUNDS):
        sync_global_devices(f"alone {number}")
        seconds = alone.seconds(single) * steps if first else 0.0
        sync_global_devices(f"together {number}")
        found.append(seconds / timed(together))
    if first:
        print(json.dumps(statistics.median(found)))


def main() -> None:
    if PROCESS in os.environ:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[int(os.environ[PROCESS])]})
        work(2 if "--quick" in sys.argv else 6)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environments = [os.environ | {COORDINATOR: address, "JAX_NUM_PROCESSES": "2", PROCESS: str(i)} for i in range(2)]
    processes = [subprocess.Popen([sys.executable, *sys.argv], env=environment) for environment in environments]
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise SystemExit("a process failed; its message is above")


if __name__ == "__main__":
    main()
