"""Environments for the AAMC SDK: a pool of models under load, and the replay of outcome tables.

Importing this package registers ``aamc/Queue-v0`` and ``aamc/MOQueue-v0`` with Gymnasium.
"""

import gymnasium

HORIZON = 256
"""Steps of a registered environment's episode, unless ``horizon`` says otherwise."""

for _name, _target in {"aamc/Queue-v0": "QueueEnv", "aamc/MOQueue-v0": "MOQueueEnv"}.items():
    gymnasium.register(
        _name,
        entry_point=f"aamc_environments.queue.gymnasium_env:{_target}",
        vector_entry_point="aamc_environments.queue.gymnasium_env:make_streams",
        kwargs={"horizon": HORIZON},
        disable_env_checker=_name.startswith("aamc/MO"),  # it warns of vector rewards
    )
