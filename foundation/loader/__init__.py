"""Stores -> TokenBatch, endlessly: length buckets under one token budget, deterministic and resumable."""

from foundation.loader.loader import Loader
from foundation.loader.pairs import Pairs
from foundation.loader.sampling import Sampling
from foundation.loader.source import Source

__all__ = ["Loader", "Pairs", "Sampling", "Source"]
