"""The vectorised streams as a ``VecEnv`` of Stable-Baselines3 (install ``aamc-environments[sb3]``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from aamc_environments.streams import Streams
from aamc_sdk.routing import Array32


class StreamsVecEnv(VecEnv):
    """Streams of :meth:`aamc_sdk.interfaces.Environment.vector` for Stable-Baselines3, thousands at once."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        super().__init__(streams.num_envs, streams.single_observation_space, streams.single_action_space)

    def reset(self) -> Array32:
        """Restart all streams."""
        seed = self._seeds[0]
        self._reset_seeds()
        return self.streams.reset(seed=seed)[0]

    def step_async(self, actions: np.ndarray) -> None:
        """Set the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; infos hold the vector reward and, for a truncated stream, its final observation."""
        observations, rewards, _, truncations, info = self.streams.step(self._actions)
        infos: list[dict[str, Any]] = [{"vector_reward": reward} for reward in info["vector_reward"]]
        if truncations.any():
            for end, final in zip(infos, info["final_obs"], strict=True):
                end |= {"terminal_observation": final, "TimeLimit.truncated": True}
        return observations, rewards.astype(np.float32), truncations, infos

    def close(self) -> None:
        """Close the streams."""
        self.streams.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, the same for all streams."""
        return [getattr(self.streams, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of all streams."""
        setattr(self.streams, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the streams once; its result stands for each."""
        result = getattr(self.streams, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for each stream."""
        return [False for _ in self._get_indices(indices)]
