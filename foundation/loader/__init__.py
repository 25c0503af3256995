"""Store -> TokenBatch, endlessly: length buckets under one token budget, deterministic and resumable."""

from foundation.loader.loader import Loader

__all__ = ["Loader"]
