"""The router in the core's hands: scores, files, other pools, threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from aamc_ppo import plugin
from aamc_ppo.router import PPOConfig

from aamc_sdk import Pool
from aamc_sdk.config import configure
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import assert_conforms

TINY = {"total_timesteps": 2048, "n_streams": 16, "n_steps": 256, "minibatch": 64}
PREFERENCE = np.array([0.5, 0.3, 0.2])


@pytest.fixture
def env(bandit):
    return bandit(0, bias=0.2)


@pytest.fixture
def router(env):
    router = env.router(0, **TINY)
    router.train(env.training())
    return router


def test_untrained_it_is_the_plug_in_rule(env):
    request = env.request(np.arange(4), PREFERENCE)
    assert env.router().score(request).utility == pytest.approx(env.reward.scalar(request.expected, request.preferences), abs=1e-6)


def test_probabilities_follow_from_utilities_and_the_mask(env):
    router = env.router(0, sample=True, **TINY)
    router.train(env.training())
    request = env.request(np.arange(4), PREFERENCE)
    mask = request.mask.copy()
    mask[:, 0] = False
    scores = router.score(attrs.evolve(request, mask=mask))
    assert (scores.probabilities[:, 0] == 0).all()
    assert scores.probabilities.sum(axis=1) == pytest.approx(1)
    allowed = scores.utility[:, 1:]
    assert (scores.probabilities[:, 1:].argmax(axis=1) == allowed.argmax(axis=1)).all()


def test_without_drawing_there_are_no_probabilities(env, router):
    assert router.score(env.request(np.arange(4), PREFERENCE)).probabilities is None


def test_a_batch_of_none_gets_no_scores(env, router):
    assert router.score(env.request(np.arange(0), PREFERENCE)).utility.shape == (0, 5)


def test_one_at_a_time_scores_as_together(env, router):
    together = router.score(env.request(np.arange(4), PREFERENCE)).utility
    alone = [router.score(env.request(np.array([row]), PREFERENCE)).utility[0] for row in range(4)]
    assert np.array(alone) == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize("wait_ms", [0.0, 5.0])  # scored by the folded policy, and by features
def test_many_are_scored_in_parts_as_together(env, monkeypatch, sample, wait_ms):
    router, request = env.router(0, sample=sample, **TINY), env.request(np.arange(4), PREFERENCE)
    request = attrs.evolve(request, wait_ms=np.full(request.mask.shape, wait_ms))
    together = router.score(request)
    monkeypatch.setattr("aamc_ppo.served_policy.CACHED_PAIRS", 15)  # three rows, then one
    apart = router.score(request)
    assert apart.utility == pytest.approx(together.utility, abs=1e-5)
    assert (apart.probabilities is None) is not sample
    assert not sample or apart.probabilities == pytest.approx(together.probabilities, abs=1e-4)


def smaller(env, order):
    """Return the environment's requests with some of its candidates, in another order."""
    other = attrs.evolve(env.request(np.arange(4), PREFERENCE), pool=Pool(env.pool.candidates[m] for m in order))
    return attrs.evolve(other, expected=other.expected.columns(order), wait_ms=other.wait_ms[:, order], mask=other.mask[:, order])


def test_another_pool_of_the_same_candidates_gets_the_same_utilities(env, router):
    whole = router.score(env.request(np.arange(4), PREFERENCE)).utility
    for order in ([4, 2, 0, 1, 3], [3, 1], [2]):
        assert router.score(smaller(env, order)).utility == pytest.approx(whole[:, order], abs=1e-5)


def test_an_unseen_candidate_is_scored(env, router):
    newcomer = attrs.evolve(env.pool.candidates[0], name="new", description="A model for code.")
    request = attrs.evolve(env.request(np.arange(4), PREFERENCE), pool=Pool((newcomer, *env.pool.candidates[1:])))
    assert np.isfinite(router.score(request).utility).all()


def test_a_saved_router_scores_the_same_when_loaded(env, router, tmp_path):
    router.save(tmp_path)
    loaded = env.router(9, **TINY)
    loaded.load(tmp_path)
    request = env.request(np.arange(4), PREFERENCE)
    assert np.array_equal(loaded.score(request).utility, router.score(request).utility)


@pytest.mark.parametrize("name", ["policy.npz", "policy.json"])
def test_a_truncated_file_is_a_checkpoint_error(env, router, tmp_path, name):
    router.save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
    with pytest.raises(CheckpointError, match=name):
        env.router(0, **TINY).load(tmp_path)


def test_a_checkpoint_of_other_sizes_is_refused(env, router, tmp_path):
    router.save(tmp_path)
    with pytest.raises(CheckpointError, match="should have shape"):
        env.router(0, **TINY, hidden=32).load(tmp_path)


def test_a_failed_load_leaves_the_router_as_it_was(env, router, tmp_path):
    request = env.request(np.arange(4), PREFERENCE)
    before = router.score(request).utility
    with pytest.raises(CheckpointError):
        router.load(tmp_path)
    assert np.array_equal(router.score(request).utility, before)


def test_threads_score_as_one(env, router):
    requests = [smaller(env, order) for order in ([0, 1, 2, 3, 4], [4, 3], [2, 0, 1])] * 20
    expected = [router.score(request).utility for request in requests]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda request: router.score(request).utility, requests))
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))


def test_the_paper_preset_has_the_published_values():
    config = configure(PPOConfig, {}, preset="paper")
    published = (config.gamma, config.gae_lambda, config.clip_epsilon, config.n_steps, config.total_timesteps)
    assert published == (0.99, 0.95, 0.2, 2048, 1_000_000)


def test_the_paper_preset_trains_on_hundreds_of_preferences():
    config = configure(PPOConfig, {}, preset="paper")
    draws = config.rollouts / config.rollouts_per_segment
    assert draws * config.n_streams / config.group_size >= 300


def test_unknown_options_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        configure(PPOConfig, {"learning_rat": 0.1}, where="ppo")


def test_a_decision_imports_no_torch():
    code = "import sys, aamc_ppo.router; print('torch' in sys.modules, 'gymnasium' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_it_conforms_to_the_kit():
    assert_conforms("router", "ppo", Plugins({"ppo": plugin}, discover=False), {**TINY, "validation_steps": 64})
