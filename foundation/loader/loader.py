"""Batches of static shape from stores: deterministic, resumable at once, shardable over processes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, SchemaError
from foundation.loader.buckets import SIZE_STEP
from foundation.loader.plan import Descriptor, Plan
from foundation.loader.sampling import Sampling
from foundation.loader.source import Source
from foundation.schema import DetectorSchema, Feature
from foundation.store import Store

TOGETHER = 4  # batches that one grain record stands for: handing over each by itself costs as much as reading it
PREFETCH = 4  # records read ahead
THREADS = 2  # that read them
ENDLESS = 2**40  # steps


class Loader:
    """Endless padded batches, as numpy.

    Batch k is a pure function of (stores, arguments, k): `batch_at(k)` is the k-th `next`, and restoring costs nothing.
    Each epoch holds every row exactly once (unless `sampling` or weights of several sources say otherwise). The last
    batch of a bucket is filled up with rows of index -1, weight 0, no tokens. There are at most `buckets` different
    shapes, hence as many compilations. Memory does not grow with the number of rows.

    Args:
        store: where from.
        split: which split.
        batch_tokens: padded tokens per global batch, all modalities together.
        buckets: how many padded lengths at most.
        seed: of the shuffle.
        shuffle: anew in every epoch; without it rows come bucket by bucket, ascending.
        subset: rows of the split to use (few labels, one class, ...); default: all.
        batch_size: rows per global batch, instead of `batch_tokens`.
        sampling: every row once, or drawn by class or weight.
        ahead: read in threads before it is asked for; without it nothing is imported for that, which takes a second.
        process_index, process_count: this process gets the `process_index`-th part of every global batch.

    Raises:
        DataError: no such split, or no rows to use.
        ConfigError: sizes that cannot be; a batch size that the processes cannot share equally.
    """

    def __init__(self, store: Store, split: str, *, subset: Int[np.ndarray, " n"] | None = None, **arguments: Any):
        self._start([Source(store, split, subset=subset)], **arguments)

    @staticmethod
    def mix(sources: Sequence[Source], **arguments: Any) -> Loader:
        """Batches that hold rows of several sources, by weight; `index` counts through the sources' splits in order.

        An epoch has as many rows as all sources together; a source of greater weight than its size comes repeatedly,
        one of lesser weight in part, successive epochs going on where the last one ended.

        Args:
            sources: stores of equal modalities, globals and labels.
            arguments: as of `Loader`.

        Raises:
            SchemaError: two stores describe their examples differently; says what differs.
        """
        loader = Loader.__new__(Loader)
        loader._start(list(sources), **arguments)
        return loader

    def _start(
        self,
        sources: list[Source],
        *,
        seed: int,
        batch_tokens: int = 16384,
        buckets: int = 4,
        shuffle: bool = True,
        batch_size: int | None = None,
        sampling: Sampling | None = None,
        ahead: bool = True,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        _check_sources(sources)
        _check(batch_tokens, buckets, batch_size, process_index, process_count)
        sampling = sampling or Sampling()
        sampling.check()
        if not shuffle and sampling.kind != "each":
            raise ConfigError(f"sampling '{sampling.kind}' draws at random, and shuffle is off: choose one")
        self.sources, self.seed, self.shuffle = sources, seed, shuffle
        self.process_index, self.process_count = process_index, process_count
        self.most, self.batch_tokens, self.batch_size = buckets, batch_tokens, batch_size
        self.plan = Plan(
            sources,
            most=buckets,
            batch_tokens=batch_tokens,
            batch_size=batch_size,
            multiple=math.lcm(SIZE_STEP, process_count),
            seed=seed,
            sampling=sampling,
        )
        self.step, self.ahead = 0, ahead
        self._first = np.concatenate([[0], np.cumsum([source.store.length(source.split) for source in sources])])
        self._ahead: Any = None  # grain's iterator over lists of batches
        self._ready: deque[TokenBatch] = deque()

    @property
    def rows(self) -> int:
        """Rows of all sources."""
        return sum(source.rows for source in self.sources)

    @property
    def batches_per_epoch(self) -> int:
        return self.plan.batches_per_epoch

    @property
    def shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        """Per bucket: rows of a batch of this process, padded length per modality."""
        return [(b.shape.size // self.process_count, b.shape.lengths) for b in self.plan.buckets]

    @property
    def padding(self) -> float:
        """Fraction of the padded token slots of an epoch that holds no token (every row coming once)."""
        slots = sum(bucket.batches * bucket.shape.size * sum(bucket.shape.lengths) for bucket in self.plan.buckets)
        return 1 - sum(source.tokens for source in self.sources) / slots

    @property
    def modalities(self) -> list[str]:
        return list(self.sources[0].store.schema.modalities)

    def state(self) -> dict[str, int]:
        """What `restore` needs; goes into a checkpoint."""
        return {"step": self.step}

    def restore(self, state: dict[str, int]) -> None:
        """The next batch will be number `state["step"]`."""
        self.step = int(state["step"])
        self._ready.clear()
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> TokenBatch:
        if not self.ahead:
            self.step += 1
            return self.batch_at(self.step - 1)
        if self._ahead is None:
            self._ahead = self._read_ahead(self.step)
        if not self._ready:
            self._ready.extend(next(self._ahead))
        self.step += 1
        return self._ready.popleft()

    def batch_at(self, step: int) -> TokenBatch:
        """Batch number `step`, counted from 0 through all epochs."""
        return self._read(self.plan.batch(int(step)) if self.shuffle else self.plan.ordered(int(step)))

    def one_pass(self) -> Iterator[TokenBatch]:
        """Every row exactly once, bucket by bucket, ascending within each, and then the end: for evaluation.

        `batch.index` says which row is which; rows of index -1 only fill up. Does not move `step`.

        Raises:
            ConfigError: this loader draws its rows (`sampling`).
        """
        if self.plan.worth is not None:
            raise ConfigError("one pass takes each row once, and this loader draws: make one without `sampling`")
        for step in range(self.batches_per_epoch):
            yield self._read(self.plan.ordered(step))

    def _read(self, descriptor: Descriptor) -> TokenBatch:
        shape = self.plan.buckets[descriptor.bucket].shape
        share = len(descriptor.rows) // self.process_count
        mine = slice(self.process_index * share, (self.process_index + 1) * share)
        lengths = dict(zip(self.modalities, shape.lengths))
        sources, rows = descriptor.sources[mine], descriptor.rows[mine]
        if len(self.sources) == 1:
            return self.sources[0].store.read(self.sources[0].split, rows, lengths)
        return self._gathered(sources, rows, lengths)

    def _gathered(self, sources: np.ndarray, rows: np.ndarray, lengths: dict[str, int]) -> TokenBatch:
        """Of several stores: each reads the whole batch with its own rows alone, and each row is taken from its own."""
        parts = []
        for number, source in enumerate(self.sources):
            own = np.where(sources == number, rows, -1)
            parts.append(source.store.read(source.split, own, lengths))
        owner = np.maximum(sources, 0)

        def take(*leaves: np.ndarray) -> np.ndarray:
            found = leaves[0].copy()
            for number, leaf in enumerate(leaves[1:], start=1):
                found[owner == number] = leaf[owner == number]
            return found

        whole = jax.tree.map(take, *parts)
        index = np.where(rows >= 0, rows + self._first[owner], -1).astype(np.int32)
        return TokenBatch(whole.modalities, whole.globals, whole.labels, whole.weights, index)

    def _read_ahead(self, start: int) -> Any:
        import grain  # two seconds to import, and only training needs it

        def read(step: int) -> list[TokenBatch]:
            return [self.batch_at(each) for each in range(step, step + TOGETHER)]

        steps: Any = grain.MapDataset.range(start, start + ENDLESS, TOGETHER).map(read)
        return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=PREFETCH)))


def _check_sources(sources: list[Source]) -> None:
    if not sources:
        raise ConfigError("a loader needs at least one source")
    for source in sources:
        source.check()
        if source.weight is not None and source.weight <= 0:
            raise ConfigError(f"{source.store.path}: the weight of a source must be positive; it is {source.weight}")
    first = sources[0].store
    for source in sources[1:]:
        different = _difference(first.schema, source.store.schema)
        if different:
            raise SchemaError(f"{first.path} and {source.store.path} cannot be mixed: {different}")


def _difference(one: DetectorSchema, other: DetectorSchema) -> str:
    """What of two schemas' examples differs, or an empty string."""
    first, second = _described(one), _described(other)
    for what in {**first, **second}:
        if first.get(what) != second.get(what):
            return f"{what} is {first.get(what, 'absent')} in one and {second.get(what, 'absent')} in the other"
    return "" if list(first) == list(second) else f"the order is {list(first)} in one and {list(second)} in the other"


def _described(schema: DetectorSchema) -> dict[str, Any]:
    """What decides the shape and meaning of a batch's arrays."""
    found: dict[str, Any] = {f"modality '{n}'": _features(m.features) for n, m in schema.modalities.items()}
    found |= {"the list of globals": _features(schema.globals)}
    return found | {f"label '{n}'": (v.kind, list(v.classes), v.modality) for n, v in schema.labels.items()}


def _features(features: Mapping[str, Feature]) -> list[str]:
    """Names and units."""
    return [f"{name} [{feature.unit}]" if feature.unit else name for name, feature in features.items()]


def _check(batch_tokens: int, most: int, batch_size: int | None, process_index: int, process_count: int) -> None:
    if batch_tokens < 1 or most < 1 or (batch_size is not None and batch_size < 1):
        raise ConfigError(f"batch_tokens {batch_tokens}, buckets {most}, batch_size {batch_size} must be positive")
    if not 0 <= process_index < process_count:
        raise ConfigError(f"process_index {process_index} is not one of {process_count} processes")
    if batch_size is not None and batch_size % process_count:
        raise ConfigError(f"batch_size {batch_size} cannot be shared equally by {process_count} processes")
