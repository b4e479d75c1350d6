"""Checks of environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from aamc_sdk.routing import encode
from aamc_sdk.testing.checks.components import OPTION_CHECKS, require_same
from aamc_sdk.testing.findings import SignatureError, checks_in, require, require_type, skip
from aamc_sdk.testing.sample_data import POOL, make_request
from aamc_sdk.testing.subject import Subject, equal, splits
from aamc_sdk.types import Dataset, Floats, normalized_text

_STREAMS, _STEPS, _LONG = 8, 20, 1000
_INFO = ("vector_reward", "quality", "cost_usd", "latency_ms", "row", "masked")


def _prepared(subject: Subject) -> Any:
    environment = subject.make()
    environment.prepare({"train": subject.train_set, "validation": subject.validation_set, "test": subject.test_set})
    return environment


def _new_streams(subject: Subject, **arguments: Any) -> Any:
    """Return streams of the training split."""
    streams = _prepared(subject).vector(_STREAMS, "train", request=make_request(subject.train_set), **arguments)
    if missing := [name for name in ("reset", "step", "request", "close", "num_envs") if not hasattr(streams, name)]:
        raise SignatureError(f"vector must return streams (aamc_sdk.interfaces.RoutingStreams), not {streams!r:.80}, which has no {missing[0]}")
    return subject.opened(streams)


def _streams(subject: Subject, **arguments: Any) -> Any:
    """Return streams of the training split that have been reset."""
    streams = _new_streams(subject, **arguments)
    streams.reset(seed=0)
    return streams


def _allowed(streams: Any) -> Any:
    """Return the first allowed action of each stream."""
    return streams.request().mask.argmax(axis=1)


def check_reset_and_step_return_what_gymnasiums_do(subject: Subject) -> None:
    """``reset`` returns an observation and info, and ``step`` those with a reward and two flags between them."""
    streams = _streams(subject)
    _require_values(streams.reset(seed=0), "reset", ("observation", "info"))
    _require_values(streams.step(_allowed(streams)), "step", ("observation", "reward", "terminated", "truncated", "info"))


def _require_values(found: object, method: str, names: Sequence[str]) -> None:
    if not (isinstance(found, tuple) and len(found) == len(names)):
        given = f"{len(found)} values" if isinstance(found, tuple) else type(found).__name__
        raise SignatureError(f"{method} must return ({', '.join(names)}), not {given}")


def check_a_split_becomes_a_table(subject: Subject) -> None:
    """``dataset`` returns the split's queries with outcomes for each candidate."""
    dataset = _prepared(subject).dataset("train")
    require_type(dataset, Dataset, "dataset must return aamc_sdk.Dataset")
    require(list(dataset.queries) == list(subject.train_set.queries), "dataset must have the split's queries, in their order")
    require(dataset.outcomes is not None, "dataset must have outcomes, for routers that learn from tables")
    quality = dataset.outcomes.known_quality
    require(quality.shape == (len(dataset), len(POOL)), f"outcomes must be {(len(dataset), len(POOL))}, not {quality.shape}")
    known = quality[np.isfinite(quality)]
    require(((known >= 0) & (known <= 1)).all(), "quality must lie in 0 to 1")


def check_splits_are_kept_apart(subject: Subject) -> None:
    """``dataset`` and ``vector`` give each split its own queries: at most half of the test queries are training queries too."""
    environment = _prepared(subject)
    train = {normalized_text(query.text) for query in environment.dataset("train").queries}
    streams = subject.opened(environment.vector(_STREAMS, "test"))
    streams.reset(seed=0)
    for method, queries in (("dataset", environment.dataset("test").queries), ("vector", streams.request().queries)):
        shared = np.mean([normalized_text(query.text) in train for query in queries])
        require(shared <= 0.5, f"{method}('test') gives training queries ({shared:.0%}), so the test would be of what was learned")


def check_info_belongs_to_the_query_that_was_asked(subject: Subject) -> None:
    """``info["row"]`` is the row of the present query in ``dataset``; a call that costs something there costs something here."""
    environment, streams = _prepared(subject), _streams(subject)
    dataset = environment.dataset("train")
    for _ in range(_STEPS):
        asked, actions = [normalized_text(query.text) for query in streams.request().queries], _allowed(streams)
        info = streams.step(actions)[-1]
        _require_info(info, len(dataset))
        named = [normalized_text(dataset.queries[row].text) for row in info["row"]]
        require(named == asked, "info['row'] must be the row of the query that the step answered, not of the next one")
        free = np.asarray(info["cost_usd"]) == 0
        priced = dataset.outcomes.cost_usd[info["row"], actions] > 0
        require(not (free & priced).any(), "info['cost_usd'] is 0 for calls that cost something in dataset")


def check_shapes_of_a_step(subject: Subject) -> None:
    """Observations, rewards and info have one row a stream; streams never terminate."""
    streams = _streams(subject)
    require(streams.num_envs == _STREAMS, f"num_envs must be {_STREAMS}, not {streams.num_envs}")
    observation, _ = streams.reset(seed=0)
    for _ in range(_STEPS):
        require(observation.dtype == np.float32, f"observations must be float32, not {observation.dtype}")
        require(equal(observation, encode(streams.request(), subject.reward).flat(), 1e-4), "observations must be features.encode(request()).flat()")
        preferences = streams.request().preferences.copy()
        observation, reward, terminated, truncated, info = streams.step(_allowed(streams))
        for name, array in {"reward": reward, "terminated": terminated, "truncated": truncated}.items():
            require(np.shape(array) == (_STREAMS,), f"{name} must be ({_STREAMS},), not {np.shape(array)}")
        require(np.isfinite(reward).all(), "reward must be finite")
        require(not np.any(terminated), "streams never terminate, they are only truncated")
        _require_info(info, len(subject.train_set))
        expected = (subject.reward.weights(preferences) * info["vector_reward"]).sum(axis=1)
        require(equal(reward, expected, 1e-5), "reward must be info['vector_reward'] weighted by the services' reward and the request's preferences")


def _require_info(info: dict[str, Any], rows: int) -> None:
    for name in _INFO:
        require(name in info, f"info lacks {name!r}")
        shape = (_STREAMS, 3) if name == "vector_reward" else (_STREAMS,)
        require(np.shape(info[name]) == shape, f"info[{name!r}] must be {shape}, not {np.shape(info[name])}")
    within = (info["row"] >= 0) & (info["row"] < rows)
    require(within.all(), f"info['row'] must be rows of the split, 0 to {rows - 1}, not {info['row'][~within]}")


def check_the_same_seed_gives_the_same_trajectory(subject: Subject) -> None:
    """Two runs with the same seed have the same observations and rewards."""
    first, second = (_trajectory(_streams(subject, seed=3)) for _ in range(2))
    require(equal(first, second), "two runs with the same seed differ")


def _trajectory(streams: Any, seed: int | None = 7) -> Floats:
    """Return observations and rewards of all steps, ``[steps, n, width + 1]``."""
    seen = []
    observation, _ = streams.reset(seed=seed)
    for _ in range(_STEPS):
        observation, reward, *_ = streams.step(_allowed(streams))
        seen.append(np.column_stack((observation, reward)))
    return np.stack(seen)


def check_reset_follows_its_seed(subject: Subject) -> None:
    """``reset`` with a seed starts the trajectory of that seed, whatever was played before; another seed gives another one."""
    streams = _streams(subject, seed=3)
    first, again, other = _trajectory(streams), _trajectory(streams), _trajectory(streams, seed=8)
    require(equal(first, again), "reset with the same seed gives another trajectory the second time: make the generator anew in reset")
    require(not equal(first, other), "reset ignores its seed: seeds 7 and 8 give the same trajectory")
    first, other = (_trajectory(_new_streams(subject, seed=seed), seed=None) for seed in (3, 4))
    require(not equal(first, other), "vector ignores its seed, which reset without one follows: seeds 3 and 4 give the same trajectory")


def check_a_given_request_is_played(subject: Subject) -> None:
    """``vector`` plays the request that it is given, which has the estimator's expectations, and makes none of its own."""
    request = make_request(subject.train_set)
    marked = attrs.evolve(request, expected=attrs.evolve(request.expected, quality=np.linspace(0, 1, len(request))[:, None] * np.ones(len(POOL))))
    streams = subject.opened(_prepared(subject).vector(_STREAMS, "train", request=marked))
    streams.reset(seed=0)
    present = streams.request()
    row = {normalized_text(query.text): row for row, query in enumerate(subject.train_set.queries)}
    rows = [row[normalized_text(query.text)] for query in present.queries]
    kept = equal(present.expected.known_quality, marked.expected.known_quality[rows])
    require(kept, "request() must have the expected quality of the request given to vector: routers would practise on estimates that they never get")


def check_streams_of_one_number_share_their_randomness(subject: Subject) -> None:
    """Streams of the same number have the same queries, and the same outcomes for the same actions."""
    numbers = np.arange(_STREAMS) // 2
    preferences = np.tile((1.0, 0.0, 0.0), (_STREAMS, 1))
    seen = _trajectory(_streams(subject, seed=1, streams=numbers, preferences=preferences))
    require(equal(seen[:, ::2], seen[:, 1::2]), "two streams of the same number differ under the same actions")


def check_streams_in_one_state_go_on_alike(subject: Subject) -> None:
    """Streams of the same number whose ``state`` is equal have the same outcomes for the same actions, whatever was decided before."""
    numbers, preferences = np.arange(_STREAMS) // 2, np.tile((0.6, 0.2, 0.2), (_STREAMS, 1))
    streams = _streams(subject, seed=1, streams=numbers, preferences=preferences)
    if not hasattr(streams, "state"):
        skip("its streams show no state (aamc_sdk.interfaces.StatefulStreams)")
    for step in range(_STEPS):
        actions = _allowed(streams)
        if step % 2:
            actions[1::2] = len(POOL) - 1 - streams.request().mask[1::2, ::-1].argmax(axis=1)  # the last allowed candidate
        state = streams.state
        require(np.shape(state)[:1] == (_STREAMS,) and np.ndim(state) == 2, f"state must be ({_STREAMS}, D), not {np.shape(state)}")
        alike = (state[::2] == state[1::2]).all(axis=1) & (actions[::2] == actions[1::2])
        observation, reward, *_ = streams.step(actions)
        seen = np.column_stack((observation, reward))
        require(equal(seen[::2][alike], seen[1::2][alike]), "two streams of the same number and state differ under the same action")


def check_given_preferences_are_kept(subject: Subject) -> None:
    """Given preferences stay the same on every step."""
    preferences = np.random.default_rng(0).dirichlet((1, 1, 1), _STREAMS)
    streams = _streams(subject, preferences=preferences)
    for _ in range(3):
        require(equal(streams.request().preferences, preferences), "request() must have the preferences given to vector")
        streams.step(_allowed(streams))


def check_masked_actions_are_reported(subject: Subject) -> None:
    """``info["masked"]`` marks the masked actions, which have the quality 0."""
    streams = _streams(subject)
    for step in range(_STEPS):
        mask = streams.request().mask
        actions = np.full(_STREAMS, step % mask.shape[1])
        info = streams.step(actions)[-1]
        gained = info["quality"][~mask[:, step % mask.shape[1]]]
        require((gained == 0).all(), f"a masked action must count as the worst outcome, with quality 0, not {gained}")
        require(np.array_equal(info["masked"], ~mask[:, step % mask.shape[1]]), "info['masked'] must mark the masked actions")


def check_requests_have_hindsight(subject: Subject) -> None:
    """``request`` returns one row a stream, with an allowed candidate and hindsight."""
    streams = _streams(subject)
    request = streams.request()
    require(len(request) == _STREAMS, f"request must have {_STREAMS} rows, not {len(request)}")
    require(request.mask.any(axis=1).all(), "each row of request needs an allowed candidate")
    require(request.hindsight is not None, "request must have hindsight, for privileged routers")


def check_data_stays_as_it_was(subject: Subject) -> None:
    """The environment changes no array of its splits, which others are trained and compared on."""
    streams = _streams(subject)
    for _ in range(_STEPS):
        streams.step(_allowed(streams))
    streams.close()
    require_same(splits()[0], subject.train_set, "the split 'train'", "the environment")


def check_streams_that_are_cut_off_show_their_end(subject: Subject) -> None:
    """A truncated stream restarts in the same step, and ``info["final_obs"]`` has its last observation."""
    streams = _streams(subject)
    first, _ = streams.reset(seed=0)
    for _ in range(_LONG):
        _, _, terminated, truncated, info = streams.step(_allowed(streams))
        require(not terminated.any(), "streams never terminate, they are only truncated")
        if truncated.any():
            require(np.array_equal(info.get("_final_obs"), truncated), "info['_final_obs'] must mark the truncated streams")
            final = np.stack(list(info["final_obs"][truncated]))
            require(final.shape == first[truncated].shape, "info['final_obs'] must hold an observation for each truncated stream")
            return
    skip(f"no stream was truncated within {_LONG} steps")


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
