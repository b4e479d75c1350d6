"""Registers ``aamc/Queue-v0`` and ``aamc/MOQueue-v0`` with Gymnasium, by being imported.

``gymnasium.make("aamc_environments.gym:aamc/Queue-v0")`` imports it by itself.
"""

from __future__ import annotations

import gymnasium

HORIZON = 256
"""Steps of an episode, unless ``horizon`` says otherwise."""

for _name, _target in {"aamc/Queue-v0": "QueueEnv", "aamc/MOQueue-v0": "MOQueueEnv"}.items():
    gymnasium.register(
        _name,
        entry_point=f"aamc_environments.single:{_target}",
        vector_entry_point="aamc_environments.single:make_streams",
        kwargs={"horizon": HORIZON},
    )
