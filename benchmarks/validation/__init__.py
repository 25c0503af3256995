"""The studies behind docs/physics-validation.md; `benchmarks/physics.py` runs them."""
