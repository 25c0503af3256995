"""Columns -> a folder of memory-mapped shards with schema, statistics, checksums and provenance; and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foundation.store.statistics import FeatureStatistics

if TYPE_CHECKING:
    from foundation.store.store import Store

__all__ = ["FeatureStatistics", "Store"]


def __getattr__(name: str) -> Any:
    """`Store` is imported when asked for: it needs jax, and the processes that ingest do not."""
    if name == "Store":
        from foundation.store.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
