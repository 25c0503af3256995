"""The run-time type checker of the tests: beartype, where an int passes for a float as for mypy (PEP 484)."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
