"""`detfm verify`: prove exported firmware bit-exact against its golden model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser

from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import Vectors
from distill_to_fpga.verify.mutation import COUNT, mutate
from distill_to_fpga.verify.result import VerifyResult, describe, remarks, table
from distill_to_fpga.verify.session import examine
from distill_to_fpga.verify.subject import STUDENT, opened
from foundation.command import Command
from foundation.progress import console
from foundation.runs import PROVENANCE, write_json

RESULT = "verify.json"


def verify_export(
    path: str | Path,
    extra_vectors: Vectors | None = None,
    count: int | None = 10_000,
    seed: int = 1,
    require: Collection[str] = (),
) -> VerifyResult:
    """Runs the golden model, the student and all firmware of a project, export run or bundle on the same vectors and
    compares every output bit. Nothing is written to `path`.

    The vectors: those shipped (whose stored outputs are compared, too), `extra_vectors`, corners, integers out of
    range, and random ones. What has a clock gets a new vector at every cycle.

    Args:
        count: vectors at least; None: as many as run in a minute, and 100,000 at least.
        require: executors that must be run.

    Raises:
        RunError: it is none of the three, or an executor that is required is not there.
        DataError: a file of it is missing or changed (each is named), or an archive is unsafe.
        ToolError: no firmware could be run, or what is required could not: says what to install; or it does not build.
    """
    with opened(path) as subject:
        if extra_vectors is not None:
            subject = replace(subject, vectors=subject.vectors + extra_vectors)
        return examine(subject, count=count, seed=seed, require=require)


def verify(path: str | Path, count: int | None = None, seed: int = 1, require: Collection[str] = ()) -> VerifyResult:
    """`verify_export`, printed; an export run keeps the outcome as `verify.json`.

    Raises:
        MismatchError: a bit differs (names the first wire where), or the latency is not the one stated.
        RunError, DataError, ToolError: as `verify_export`.
    """
    result = verify_export(path, count=count, seed=seed, require=require)
    if (Path(path) / PROVENANCE).is_file():
        write_json(Path(path) / RESULT, describe(result))
    result.check(path)
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in result.kinds.items())
    console.print(f"{path}: bit-exact, 0 mismatches in {result.vectors:,} vectors ({kinds})", highlight=False)
    console.print(table(result))
    console.print(*remarks(result), sep="\n", highlight=False, markup=False)
    return result


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", help="a bundle, an export run, or a project folder")
    parser.add_argument("--count", type=int, help="vectors at least; else what runs in a minute, 100,000 at least")
    parser.add_argument("--seed", type=int, default=1, help="of the random vectors, and of what --mutate flips")
    parser.add_argument(
        "--require", nargs="+", choices=[STUDENT, *TARGETS], default=[], help="an error if one of these is not run"
    )
    parser.add_argument("--mutate", action="store_true", help="check the check: flip one bit of a weight, see it fail")


COMMAND = Command(
    run=lambda args: (
        mutate(args.path, count=args.count or COUNT, seed=args.seed, require=args.require)
        if args.mutate
        else verify(args.path, count=args.count, seed=args.seed, require=args.require)
    ),
    arguments=arguments,
    description="Compares the student, the golden model and the firmware of every target (C++ compiled by g++, Verilog "
    "simulated by Verilator, ...) bit for bit, on the shipped, corner and random vectors, and measures the latency. "
    "Example: detfm verify runs/firmware --count 1000000",
)
