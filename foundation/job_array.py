"""A SLURM job array of the points of a sweep, from a script of configs/cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from foundation.command import PRESET_FOLDERS


def array_script(name: str, folder: Path, count: int, variables: Mapping[str, Path]) -> Path:
    """Writes FOLDER/NAME, a copy of configs/cluster/NAME with `count` tasks and the defaults of variables filled in.

    Args:
        variables: name of a line `NAME=${NAME:-default}` of the script -> path, which is made absolute.
    """
    template = next(shipped / "cluster" / name for shipped in PRESET_FOLDERS if (shipped / "cluster" / name).is_file())
    lines = template.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#SBATCH --array="):
            lines[number] = f"#SBATCH --array=0-{count - 1}"
        for variable, path in variables.items():
            if line.startswith(f"{variable}=${{{variable}:-"):
                lines[number] = f"{variable}=${{{variable}:-{path.absolute()}}}{line.partition('}')[2]}"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    script.write_text("\n".join(lines) + "\n")
    return script
