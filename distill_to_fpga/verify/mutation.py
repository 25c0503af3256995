"""`detfm verify --mutate`: firmware with one wrong bit in one weight must not pass."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.mutate import Flip, mutants
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify.compare import Difference, output_words
from distill_to_fpga.verify.session import examine
from distill_to_fpga.verify.subject import Subject, opened
from foundation.errors import DetfmError, MissingToolError
from foundation.progress import console

COUNT = 2_000  # vectors
MOST = 1_000  # bits tried
SHIPPED = 100  # vectors in the mutant's project


class UnnoticedError(DetfmError):
    """A fault put in on purpose was not found."""


@dataclass(frozen=True)
class Caught:
    """A mutant that verification found.

    Attributes:
        flip: what was wrong with it.
        invisible: bits tried before, which change no output of the golden model itself.
        words, of: output words that differ, and of how many.
        first: where verification says that the fault is.
    """

    target: str
    flip: Flip
    invisible: int
    words: int
    of: int
    first: Difference


def mutate(path: str | Path, count: int = COUNT, seed: int = 1, require: Collection[str] = ()) -> list[Caught]:
    """Flips one bit of one weight in a copy of the graph, writes the copy's firmware with each back end that the path
    has a project of, and verifies it against the unchanged golden model. Nothing is written to `path`.

    A bit that changes no output of the golden model (a weight of a channel that always saturates, say) is passed over.

    Args:
        count: vectors at least.
        require: targets that must be run.

    Raises:
        UnnoticedError: verification passed the wrong firmware, or named another operation; or no bit shows.
        RunError, DataError, ToolError: as `verify_export`.
    """
    with opened(path) as subject:
        subject.check_has(require)
        vectors = subject.vectors + make_vectors(subject.graph, None, count - len(subject.vectors), seed)
        subject = replace(subject, vectors=vectors, student=None, absent={})
        flip, mutant, invisible = visible(subject, seed)
        if invisible:
            say(f"{invisible} bits change no output in {len(vectors):,} vectors: passed over")
        caught, missing = [], {}
        for name in subject.projects:
            try:
                found = _caught(name, subject, flip, mutant, invisible, seed)
            except MissingToolError as error:
                if name in require:
                    raise
                missing[name] = str(error)
                say(f"{name}: not run: {' '.join(str(error).split())}")
                continue
            caught.append(found)
            say(f"{name}: caught {flip}: {found.words:,} of {found.of:,} words differ\n  first: {found.first}")
    if not caught:
        raise MissingToolError("\n".join(missing.values()))
    return caught


def say(text: str) -> None:
    console.print(text, highlight=False, markup=False)


def visible(subject: Subject, seed: int) -> tuple[Flip, FixedPointGraph, int]:
    """The first mutant whose own golden model gives other outputs, and how many went before it that do not."""
    golden, invisible = output_words(subject.graph, subject.vectors), 0
    for flip, mutant in itertools.islice(mutants(subject.graph, seed), MOST):
        if (output_words(mutant, subject.vectors) != golden).any():
            return flip, mutant, invisible
        invisible += 1
    raise UnnoticedError(f"no bit shows: {invisible} mutants give the same outputs in {len(subject.vectors):,} vectors")


def _caught(name: str, subject: Subject, flip: Flip, mutant: FixedPointGraph, invisible: int, seed: int) -> Caught:
    with tempfile.TemporaryDirectory(prefix="detfm-mutant-") as folder:
        project = Path(folder) / "project"
        TARGETS[name].write(mutant, project, Asked(subject.vectors.head(SHIPPED)))
        result = examine(replace(subject, projects={name: project}), count=len(subject.vectors), seed=seed)
    first = result.differences.get(name)
    if first is None:
        raise UnnoticedError(f"{name}: firmware with {flip} passed in {result.vectors:,} vectors: this check is blind")
    if first.traced and first.wire != flip.wire:
        raise UnnoticedError(f"{name}: firmware with {flip} was found, but in the wrong place: {first}")
    return Caught(name, flip, invisible, result.mismatches[name], result.words, first)
