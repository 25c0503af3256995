"""The comparison itself: piece after piece of vectors through the golden model and every executor."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from distill_to_fpga.rtl.simulate import Timing, timing
from distill_to_fpga.target import Executed
from distill_to_fpga.vectors import Vectors, make_vectors, out_of_range, random_vectors
from distill_to_fpga.verify.compare import Difference, Words, first_difference, output_words
from distill_to_fpga.verify.executors import Executor, firmware, student
from distill_to_fpga.verify.result import GOLDEN, SHIPPED, VerifyResult
from distill_to_fpga.verify.subject import Subject
from foundation.errors import MissingToolError

FIRST = 10_000  # vectors of the first piece, which measures the rates
LEAST = 100_000  # vectors where no number is asked for, however long they take
BUDGET = 60.0  # s of running; builds not counted
WORTH = 1_000  # vectors; for fewer, the rest of the minute is left alone
PIECE_WORDS = 1 << 24  # of inputs and outputs in memory
STRANGE = 64  # vectors out of range


def examine(
    subject: Subject, *, count: int | None = None, seed: int = 1, require: Collection[str] = ()
) -> VerifyResult:
    """Runs everything that a subject has on the same vectors: shipped, corners, integers out of range, random.

    Args:
        count: vectors at least; None: as many as run in a minute, and 100,000 at least.
        require: executors that must be run.

    Raises:
        RunError: one that is required is not there.
        MissingToolError: what one that is required needs is not installed; or no firmware could be run at all.
        ToolError: firmware does not build.
    """
    subject.check_has(require)
    with tempfile.TemporaryDirectory(prefix="detfm-verify-") as build:
        session = Session(subject, list(executors(subject, Path(build))))
        for vectors in pieces(session, count, seed):
            session.take(vectors)
            session.check_run(require)
            if session.differences:
                break
    return session.result()


def executors(subject: Subject, build: Path) -> Iterator[Executor]:
    if subject.student is not None:
        yield student(subject.student, subject.graph)
    for name, root in subject.projects.items():
        yield firmware(name, root, subject.graph, build / name)


def pieces(session: Session, count: int | None, seed: int) -> Iterator[Vectors]:
    """What is asked for, or what the rates so far let run in the time that is left."""
    graph = session.subject.graph
    first = session.subject.vectors + out_of_range(graph, STRANGE, seed)
    yield first + make_vectors(graph, None, (FIRST if count is None else min(count, FIRST)) - len(first), seed)
    ports = [*graph.inputs, *graph.outputs.values()]
    most = max(PIECE_WORDS // sum(graph.wires[name].size for name in ports), 1)
    while True:
        seed += 1
        wanted = (LEAST if count is None else count) - session.vectors
        if count is None:
            fits = int((BUDGET - session.running) * session.vectors / session.running)
            wanted = max(wanted, fits if fits > WORTH else 0)
        if wanted <= 0:
            return
        yield random_vectors(graph, min(wanted, most), seed)


class Session:
    """Counts over the pieces so far."""

    def __init__(self, subject: Subject, executors: Sequence[Executor]):
        self.subject, self.executors = subject, list(executors)
        self.mismatches: dict[str, int] = {}
        self.differences: dict[str, Difference] = {}
        self.not_run = dict(subject.absent)
        self.seconds: dict[str, float] = {GOLDEN: 0.0}
        self.timings: dict[str, Timing] = {}
        self.kinds: Counter[str] = Counter()
        self.words = 0

    @property
    def vectors(self) -> int:
        return self.kinds.total()

    @property
    def running(self) -> float:
        """Seconds of running, builds not counted."""
        return sum(self.seconds.get(name, 0.0) for name in (GOLDEN, *self.mismatches))

    def take(self, vectors: Vectors) -> None:
        """One piece through everything."""
        start = time.perf_counter()
        golden = output_words(self.subject.graph, vectors)
        self.seconds[GOLDEN] += time.perf_counter() - start
        for executor in tuple(self.executors):
            try:
                self._compare(executor, vectors, golden, executor.execute(vectors.inputs))
            except MissingToolError as error:
                self.executors.remove(executor)
                self.not_run[executor.name] = str(error)
        if not self.vectors:
            stored = self.subject.stored
            self._count(SHIPPED, vectors, golden[: len(stored)], stored)
        self.kinds.update(vectors.counts())
        self.words += golden.size

    def _compare(self, executor: Executor, vectors: Vectors, golden: Words, made: Executed) -> None:
        name, (built, ran) = executor.name, made.seconds
        self.seconds.setdefault(f"{name} build", built)
        self.seconds[name] = self.seconds.get(name, 0.0) + ran
        if made.stream is not None and executor.latency is not None and name not in self.timings:
            self.timings[name] = timing(*made.stream, golden, executor.latency)
        self._count(name, vectors, golden, made.words, executor)

    def _count(
        self, name: str, vectors: Vectors, golden: Words, found: Words, executor: Executor | None = None
    ) -> None:
        wrong = int((found != golden).sum())
        self.mismatches[name] = self.mismatches.get(name, 0) + wrong
        if wrong:
            trace = executor.trace if executor is not None else lambda inputs: None
            self.differences[name] = first_difference(
                name, self.subject.graph, vectors, golden, found, trace, self.vectors
            )

    def check_run(self, require: Collection[str]) -> None:
        """Raises MissingToolError: one that must be run could not be, or no firmware could."""
        for name in require:
            if name in self.not_run:
                raise MissingToolError(f"--require {name}: {self.not_run[name]}")
        if not any(executor.name in self.subject.projects for executor in self.executors):
            raise MissingToolError("\n".join(self.not_run[name] for name in self.subject.projects))

    def result(self) -> VerifyResult:
        return VerifyResult(
            self.vectors,
            dict(self.kinds),
            self.words,
            self.mismatches,
            self.differences,
            self.not_run,
            self.seconds,
            self.timings,
        )
