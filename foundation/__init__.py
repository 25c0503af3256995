"""detfm.foundation: what every stage stands on. Imports none of the packages above it."""

__version__ = "0.1.0"
