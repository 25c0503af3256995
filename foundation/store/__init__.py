"""Columns -> a folder of memory-mapped shards with schema, statistics, checksums and provenance; and back."""

from foundation.store.statistics import FeatureStatistics
from foundation.store.store import Store

__all__ = ["FeatureStatistics", "Store"]
