"""Environments for the AAMC SDK: a pool of models under load, and the replay of outcome tables.

Gymnasium has no plugins since 1.0: where it is loaded, importing this package registers its ids;
otherwise :mod:`aamc_environments.gym` does. Nobody who does not use Gymnasium waits for its import.
"""

import sys

if "gymnasium" in sys.modules:
    import aamc_environments.gym  # noqa: F401  # registers the ids
