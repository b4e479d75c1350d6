"""Shows tox the interpreters that pyenv keeps but has not activated; their shims on PATH fail."""

from __future__ import annotations

import os
from pathlib import Path

from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Let tox try pyenv's interpreters where an environment asks for another Python."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    state.conf.options.discover += [str(python) for python in sorted(kept.glob("3.*/bin/python"))]
