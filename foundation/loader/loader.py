"""Batches of static shape from a store: deterministic, resumable at once, shardable over processes."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Int

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, DataError
from foundation.loader.plan import SIZE_STEP, Descriptor, epoch, in_order, make_buckets
from foundation.store import Store

PREFETCH = 4  # batches read ahead
EPOCHS_KEPT = 2  # shuffles kept: reading ahead crosses from one epoch to the next
ENDLESS = 2**40  # steps


class Loader:
    """Endless padded batches of one split, as numpy.

    Batch k is a pure function of (store, arguments, k): `batch_at(k)` is the k-th `next`, and restoring costs nothing.
    Each epoch holds every row exactly once. The last batch of a bucket is filled up with rows of index -1, weight 0,
    no tokens. There are at most `buckets` different shapes, hence as many compilations.

    Args:
        store: where from.
        split: which split.
        batch_tokens: padded tokens per global batch, all modalities together.
        buckets: how many padded lengths at most.
        seed: of the shuffle.
        shuffle: anew in every epoch; without it rows come bucket by bucket, ascending.
        subset: rows of the split to use (few labels, one class, ...); default: all.
        batch_size: rows per global batch, instead of `batch_tokens`.
        process_index, process_count: this process gets the `process_index`-th part of every global batch.

    Raises:
        DataError: no such split, or no rows to use.
        ConfigError: sizes that cannot be; a batch size that the processes cannot share equally.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        *,
        batch_tokens: int = 16384,
        buckets: int = 4,
        seed: int,
        shuffle: bool = True,
        subset: Int[np.ndarray, " n"] | None = None,
        batch_size: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
    ):
        self.store, self.split, self.seed, self.shuffle = store, split, seed, shuffle
        self.process_index, self.process_count = process_index, process_count
        rows = np.arange(store.length(split)) if subset is None else np.asarray(subset, np.int64)
        _check(store, split, rows, batch_tokens, buckets, batch_size, process_index, process_count)
        lengths = [store.tokens_lengths(split, modality)[rows] for modality in store.schema.modalities]
        multiple = math.lcm(SIZE_STEP, process_count)
        self.plan = make_buckets(
            lengths, rows, most=buckets, batch_tokens=batch_tokens, batch_size=batch_size, multiple=multiple
        )
        self.rows = len(rows)
        self.batches_per_epoch = sum(bucket.batches for bucket in self.plan)
        self.step = 0
        self._ahead: Any = None  # grain's iterator over batches
        self._epochs: OrderedDict[int, list[Descriptor]] = OrderedDict()
        self._lock = Lock()

    @property
    def shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        """Per bucket: rows of a batch of this process, padded length per modality."""
        return [(bucket.size // self.process_count, bucket.lengths) for bucket in self.plan]

    @property
    def padding(self) -> float:
        """Fraction of the padded token slots that holds no token."""
        real = sum(self.store.tokens_lengths(self.split, m)[b.rows].sum() for m in self.modalities for b in self.plan)
        return 1 - real / sum(b.batches * b.size * sum(b.lengths) for b in self.plan)

    @property
    def modalities(self) -> list[str]:
        return list(self.store.schema.modalities)

    def state(self) -> dict[str, int]:
        """What `restore` needs; goes into a checkpoint."""
        return {"step": self.step}

    def restore(self, state: dict[str, int]) -> None:
        """The next batch will be number `state["step"]`."""
        self.step = int(state["step"])
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> TokenBatch:
        if self._ahead is None:
            self._ahead = self._read_ahead()
        batch = next(self._ahead)
        self.step += 1
        return batch

    def batch_at(self, step: int) -> TokenBatch:
        """Batch number `step`, counted from 0 through all epochs."""
        number, place = divmod(int(step), self.batches_per_epoch)
        return self._read(self._epoch(number if self.shuffle else 0)[place])

    def one_pass(self) -> Iterator[TokenBatch]:
        """Every row exactly once, bucket by bucket, ascending within each, and then the end: for evaluation.

        `batch.index` says which row is which; rows of index -1 only fill up. Does not move `step`.
        """
        for descriptor in in_order(self.plan):
            yield self._read(descriptor)

    def _epoch(self, number: int) -> list[Descriptor]:
        with self._lock:
            if number not in self._epochs:
                self._epochs[number] = epoch(self.plan, self.seed, number) if self.shuffle else in_order(self.plan)
                while len(self._epochs) > EPOCHS_KEPT:
                    self._epochs.popitem(last=False)
            return self._epochs[number]

    def _read(self, descriptor: Descriptor) -> TokenBatch:
        bucket = self.plan[descriptor.bucket]
        share = bucket.size // self.process_count
        rows = descriptor.rows[self.process_index * share : (self.process_index + 1) * share]
        return self.store.read(self.split, rows, dict(zip(self.modalities, bucket.lengths)))

    def _read_ahead(self) -> Any:
        import grain  # two seconds to import, and only training needs it

        steps: Any = grain.MapDataset.range(self.step, self.step + ENDLESS).map(self.batch_at)
        return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=PREFETCH)))


def _check(
    store: Store,
    split: str,
    rows: np.ndarray,
    batch_tokens: int,
    most: int,
    batch_size: int | None,
    process_index: int,
    process_count: int,
) -> None:
    if len(rows) == 0:
        raise DataError(f"{store.path}: no rows of split '{split}' to load")
    if rows.min() < 0 or rows.max() >= store.length(split) or len(np.unique(rows)) != len(rows):
        raise DataError(f"{store.path}: `subset` must be different rows of '{split}', 0 to {store.length(split) - 1}")
    if batch_tokens < 1 or most < 1 or (batch_size is not None and batch_size < 1):
        raise ConfigError(f"batch_tokens {batch_tokens}, buckets {most}, batch_size {batch_size} must be positive")
    if not 0 <= process_index < process_count:
        raise ConfigError(f"process_index {process_index} is not one of {process_count} processes")
    if batch_size is not None and batch_size % process_count:
        raise ConfigError(f"batch_size {batch_size} cannot be shared equally by {process_count} processes")
