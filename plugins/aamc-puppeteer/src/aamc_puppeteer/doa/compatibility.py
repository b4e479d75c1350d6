"""Lets programs written for the Dynamic Orchestrator Agent framework run unchanged where ``doa_framework`` is not installed.

It is off unless asked for: ``python -m aamc_puppeteer.doa PROGRAM`` runs a program with it, and :func:`install` switches it on.
"""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from importlib.util import find_spec

FRAMEWORK, HERE = "doa_framework", "aamc_puppeteer.doa"


def install() -> bool:
    """Make ``import doa_framework`` import this interface; return whether it does. An installed ``doa_framework`` is left alone."""
    if FRAMEWORK not in sys.modules and find_spec(FRAMEWORK) is not None:
        return False
    package = import_module(HERE)
    names = [HERE, *(module.name for module in pkgutil.walk_packages(package.__path__, f"{HERE}.") if not module.name.endswith("__main__"))]
    for name in names:
        sys.modules.setdefault(FRAMEWORK + name.removeprefix(HERE), import_module(name))
    return sys.modules[FRAMEWORK] is package
