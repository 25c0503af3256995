"""`detfm inspect`: what is inside a file, a store or a run folder."""

from foundation.inspect.command import COMMAND, inspect
from foundation.inspect.store import store_summary

__all__ = ["COMMAND", "inspect", "store_summary"]
