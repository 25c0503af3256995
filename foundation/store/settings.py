"""Settings of `detfm ingest`."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.cluster import ClusterConfig
from foundation.errors import ConfigError
from foundation.expression import Expression
from foundation.store.policies import Policies


@dataclass(frozen=True)
class IngestConfig(Policies):
    """Settings of `detfm ingest`: what to do with values that cannot be used (see `Policies`), and these.

    Attributes:
        select: boolean expression over file columns, or name -> expression; rows where it is false are removed and
            counted, each under the first of the cuts that removes it.
        chunk_rows: rows read and evaluated at a time, at most.
        chunk_bytes: of these rows in memory, at most (but one row at least): with it, long events take no more memory.
        shard_rows: rows per unit of work, which gives one shard per split, at most.
        shard_bytes: of these rows in memory, about, at most.
        cluster: of `--scheduler slurm`.
    """

    select: dict[str, str] | str = ""
    chunk_rows: int = 50_000
    chunk_bytes: int = 32_000_000
    shard_rows: int = 200_000
    shard_bytes: int = 128_000_000
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    @property
    def cuts(self) -> dict[str, str]:
        """Name -> expression, in order."""
        if isinstance(self.select, str):
            return {"select": self.select} if self.select else {}
        return dict(self.select)

    def check(self) -> None:
        """Raises ConfigError for sizes that are not positive, SchemaError for a cut that is no expression."""
        sizes = {n: getattr(self, n) for n in ("chunk_rows", "chunk_bytes", "shard_rows", "shard_bytes")}
        if min(sizes.values()) < 1:
            raise ConfigError(f"{' and '.join(sizes)} must be positive; they are {list(sizes.values())}")
        if empty := [name for name, text in self.cuts.items() if not text]:
            raise ConfigError(f"select: the cut '{empty[0]}' has no expression")
        for text in self.cuts.values():
            Expression(text)
