"""Training on bandits whose best choices are known."""

import json

import attrs
import numpy as np
import pytest
import torch
from aamc_ppo.initial_parameters import deviation, initial_scales
from aamc_ppo.ppo import (
    PPO,
    PPOConfig,
    combined_factors,
    critic_inputs,
    critic_values,
    differences_in_groups,
    learned_quality,
    policy_function,
    training_loop,
)
from aamc_ppo.rollout import (
    CACHE_READ,
    CONTEXT,
    OBJECTIVES,
    PAIR_WIDTH,
    STATE,
    PolicyInputs,
    Rollout,
    draw_preferences,
    groups_meet,
    known_rewards,
    play,
    policy_query,
)
from aamc_ppo.router import PPORouter
from aamc_ppo.training import StreamSource
from aamc_ppo.trust import TRUST_FACTORS, StreamRewards, choose_trust, compare_factors, error_of_streams, scale_correction

from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, DataError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.routing import encode_candidates, encode_queries
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.storage.training_checkpoint import CHECKPOINT
from aamc_sdk.types import Dataset, Estimates, Outcomes, Query

QUICK = {"total_timesteps": 60_000, "n_streams": 128, "n_steps": 2048, "minibatch": 1024, "temperature": 20.0, "entropy_bonus": 0.01}
TINY = {"validation_steps": 2048, "total_timesteps": 1536, "n_streams": 16, "n_steps": 256, "minibatch": 64, "epochs": 2, "checkpoint_every": 512}


@pytest.mark.parametrize("seed", range(3))
def test_without_expected_quality_it_learns_the_best_choices(bandit, seed):
    env = bandit(seed)
    router = env.router(seed, **QUICK)
    before = env.way_to_optimum(router)
    metrics = router.train(env.training())
    assert before < 0.75
    assert env.way_to_optimum(router) > 0.95
    assert metrics["curve"][-1]["return"] > metrics["curve"][0]["return"]


@pytest.mark.parametrize("seed", [0, 2])  # the rule leaves much to gain there; elsewhere a processor's rounding decides
def test_where_the_plug_in_rule_errs_it_ends_above_it(bandit, seed):
    env = bandit(seed, bias=0.3)
    router = env.router(seed, **QUICK)
    plug_in = env.way_to_optimum(router)
    router.train(env.training())
    assert env.way_to_optimum(router) > plug_in + 0.03


def test_where_the_plug_in_rule_is_right_it_stays(bandit):
    env = bandit(0, bias=0.0)
    router = env.router(0, **QUICK)
    assert env.way_to_optimum(router) == pytest.approx(1)
    router.train(env.training())
    assert env.way_to_optimum(router) > 0.97


def test_it_learns_with_a_discount_too(bandit):
    env = bandit(1)
    router = env.router(1, **QUICK, gamma=0.5)
    router.train(env.training())
    assert env.way_to_optimum(router) > 0.9


@pytest.mark.parametrize("seed", range(2))
def test_it_learns_from_streams_that_share_nothing(bandit, seed):
    env = bandit(seed)
    router = env.router(seed, **QUICK, group_size=1, gamma=0.99, gae_lambda=0.95)
    metrics = router.train(env.training())
    assert env.way_to_optimum(router) > 0.96
    assert metrics["curve"][-1]["explained_variance"] > 0.98


@pytest.mark.parametrize(
    ("recovery", "resets", "options", "gamma"),
    [(0, False, {}, 0.998), (1000, False, {}, 0.999), (1e9, False, {}, 0.9999), (100, True, {}, 0.9999), (500, True, {"gamma": 0.5}, 0.5)],
)
def test_it_looks_ahead_as_far_as_the_streams_need_to_recover(bandit, monkeypatch, recovery, resets, options, gamma):
    env = bandit(0)
    streams = type(env.vector(1, "train"))
    monkeypatch.setattr(streams, "recovery", recovery, raising=False)
    monkeypatch.setattr(streams, "resets", resets, raising=False)
    metrics = env.router(0, **TINY, **options).train(env.training())
    assert metrics["gamma"] == pytest.approx(gamma)


def trained(env, training, **options):
    router = env.router(5, **{**TINY, **options})
    router.train(training)
    return router._policy


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_the_same_seed_gives_the_same_policy_and_another_seed_another(bandit):
    env = bandit(0, bias=0.2)
    assert same(trained(env, env.training()), trained(env, env.training()))
    other = env.router(6, **TINY)
    other.train(env.training())
    assert not same(trained(env, env.training()), other._policy)


class Interrupting(NoProgress):
    """Presses Ctrl-C after some rollouts."""

    def __init__(self, after):
        self.left = after

    def advance(self, steps=1, **figures):
        if "return" in figures:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_stopped_training_resumes_to_the_same_bits(bandit, tmp_path, after):
    env = bandit(0, bias=0.2)
    with pytest.raises(KeyboardInterrupt):
        trained(env, env.training(folder=tmp_path, progress=Interrupting(after)))
    resumed = trained(env, env.training(folder=tmp_path, resume=True))
    assert same(resumed, trained(env, env.training()))


def test_a_finished_training_resumes_to_its_result(bandit, tmp_path):
    env = bandit(0, bias=0.2)
    first = trained(env, env.training(folder=tmp_path))
    assert same(first, trained(env, env.training(folder=tmp_path, resume=True)))


def test_resuming_with_other_options_or_a_damaged_checkpoint_is_refused(bandit, tmp_path):
    env = bandit(0, bias=0.2)
    trained(env, env.training(folder=tmp_path))
    with pytest.raises(CheckpointError, match="other options"):
        trained(env, env.training(folder=tmp_path, resume=True), gamma=0.5)
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:500])
    with pytest.raises(CheckpointError, match="damaged"):
        trained(env, env.training(folder=tmp_path, resume=True))


@pytest.mark.parametrize(
    ("name", "earlier", "why"),
    [
        ("parameter/query_w2", lambda array: array + 0.1, "was saved by an older version"),
        ("parameter/critic_w1", lambda array: array[:-3], "is of another version, whose critic_w1 does not fit"),
        ("adam/critic_w1/exp_avg", None, "is of another version, whose critic_w1 does not fit"),
        ("rate", None, "is of another version, whose rate does not fit"),
        ("scale/input_mean", None, "is of another version, whose input_mean does not fit"),
        ("scale/query_deviation", None, "is of another version, whose query_deviation does not fit"),
    ],
)
def test_a_training_of_another_version_is_not_resumed(bandit, tmp_path, name, earlier, why):
    env = bandit(0, bias=0.2)
    trained(env, env.training(folder=tmp_path))
    arrays = read_arrays(tmp_path / CHECKPOINT)
    about = json.loads(str(arrays["about"]))
    del about["sha256"]  # earlier versions wrote none
    changed = {"about": np.array(json.dumps(about))} | ({} if earlier is None else {name: earlier(arrays[name])})
    write_arrays(tmp_path / CHECKPOINT, {key: array for key, array in arrays.items() if key != name} | changed)
    with pytest.raises(CheckpointError, match=rf"checkpoint\.npz {why}; delete it and train again$"):
        trained(env, env.training(folder=tmp_path, resume=True))


def test_the_utility_of_an_objective_depends_on_no_other_objective(bandit):
    env = bandit(0, bias=0.2)
    policy = trained(env, env.training())
    query = np.random.default_rng(0).random((OBJECTIVES, len(policy["query_w1"])), dtype=np.float32)
    factors = combined_factors(policy, query, np.eye(OBJECTIVES, dtype=np.float32))[:, -PAIR_WIDTH:]
    own, cache_read = factors[:, :OBJECTIVES].diagonal(), factors[:, CACHE_READ]
    assert np.array_equal(factors[:, :OBJECTIVES], np.diag(own))
    assert (own != 1).all()  # they are trained
    assert (cache_read != 0).tolist() == [False, True, False]  # a cost


def test_threads_of_torch_are_set_back(bandit):
    env = bandit(0)
    threads = torch.get_num_threads()
    trained(env, env.training())
    assert torch.get_num_threads() == threads


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no GPU; use --device auto or cpu"):
        PPORouter.check_device("cuda")


def test_progress_reports_return_and_speed(bandit):
    env = bandit(0)
    reported = []

    class Listening(NoProgress):
        def advance(self, steps=1, **figures):
            reported.append((steps, figures))

    trained(env, env.training(progress=Listening()))
    assert sum(steps for steps, _ in reported) == TINY["total_timesteps"]
    assert set(reported[-1][1]) == {"return", "steps_per_s"}


@pytest.mark.parametrize("gaps", [0, 2])
def test_training_rows_with_gaps_are_counted(bandit, gaps):
    env, said = bandit(0), []

    class Listening(NoProgress):
        def say(self, line):
            said.append(line)

    cells = np.ones((4, len(env.pool)))
    quality = cells.copy()
    quality[:gaps, 1] = np.nan
    dataset = Dataset([Query("?")] * 4, outcomes=Outcomes(quality, cells, cells))
    trained(env, attrs.evolve(env.training(progress=Listening()), dataset=dataset))
    told = "2 of the 4 training rows lack the outcome of a candidate, and ppo learns nothing from them; fill the gaps, or"
    assert [line[: len(told)] for line in said] == ([told] if gaps else [])


def test_a_reward_of_nan_is_an_error_that_says_so(bandit):
    env = bandit(0, broken=True)
    with pytest.raises(DataError, match="stream 0 was rewarded with NaN quality"):
        env.router(0, **TINY).train(env.training())


def test_an_unknown_reward_of_weight_0_counts_as_0():
    rewards = known_rewards(np.array([[0.5, 0.4, np.nan]]), np.array([[0.6, 0.4, 0.0]], np.float32))
    assert rewards.tolist() == [[0.5, pytest.approx(0.4), 0.0]]


def test_without_an_environment_there_is_an_error(bandit):
    env = bandit(0)
    with pytest.raises(AamcError, match="--environment"):
        env.router(0).train(attrs.evolve(env.training(), env=None))


def test_rollouts_are_whole_steps_of_all_streams(bandit):
    with pytest.raises(ConfigError, match="multiple of n_streams"):
        bandit(0).router(0, n_streams=100, n_steps=256)


def source_of(env):
    return StreamSource(env.router(0, **TINY).config, env.training(), env, 0)


def test_streams_of_a_group_have_one_preference_and_meet_the_same_queries(bandit):
    streams, observations = source_of(bandit(0)).training(0)
    preferences = streams.preferences.reshape(4, 4, 3)
    assert (preferences == preferences[:, :1]).all()
    assert len(np.unique(preferences[:, 0], axis=0)) == 4
    for actions in np.random.default_rng(0).integers(5, size=(20, 16)):
        observations, *_ = streams.step(actions)
        groups = observations.reshape(4, 4, -1)
        assert (groups == groups[:, :1]).all()
    assert len(np.unique(streams.category)) > 1


def first_rollout(env, **options):
    """Return a training and the rollout of its first policy."""
    source = source_of(env)
    ppo = PPO(env.router(0, **TINY, **options).config, len(source.categories), source.candidates, torch.device("cpu"), 0, source.unknown_quality)
    streams, observations = source.training(0)
    rollout = Rollout.empty(16, PolicyInputs.of(observations, len(source.candidates), env.reward))
    play(policy_function(ppo.policy(), source.candidates, env.reward), streams, observations, rollout, np.random.default_rng(0))
    return ppo, rollout


def test_advantages_and_the_critics_targets_are_differences_in_a_group(bandit):
    ppo, rollout = first_rollout(bandit(0, bias=0.2))
    grouped = ppo._batch(rollout)
    ppo.config = attrs.evolve(ppo.config, group_size=1)
    alone = ppo._batch(rollout)
    for name in ("advantage", "target", "value"):
        expected = differences_in_groups(alone[name].numpy().reshape(16, 16), 4)
        assert grouped[name].numpy() == pytest.approx(expected.ravel(), abs=1e-5)
    groups = grouped["query"].reshape(16, 4, 4, -1)
    assert (groups == groups[:, :, :1]).all()  # the rows of a group's step stand together


def test_rewards_after_a_group_has_met_are_no_part_of_earlier_advantages(bandit):
    ppo, rollout = first_rollout(bandit(0, bias=0.2))
    ppo._batch(rollout)  # measures the scales
    rollout.same_state[7, :8] = True  # two groups of four meet after the eighth step
    before = ppo._batch(rollout)["advantage"].numpy().reshape(16, 16).copy()
    rollout.pooled[8:-1, :, :OBJECTIVES] *= np.linspace(1, 5, 16)[:, None]  # later expected rewards
    changed = ppo._batch(rollout)["advantage"].numpy().reshape(16, 16) != before
    assert not changed[:8, :8].any()
    assert changed[:8, 8:].all()


def test_later_steps_count_with_the_learned_quality_of_candidates_whose_expected_quality_is_unknown(bandit):
    ppo, rollout = first_rollout(bandit(0))
    ppo._batch(rollout)  # measures the scales
    ppo.parameters["quality_b2"].detach()[:] = torch.linspace(0, 1, 5)
    rollout.probabilities[8:] = np.eye(5)[0]
    rollout.probabilities[8:, 2] = np.eye(5)[4]  # the third stream takes the best candidate in the second half
    advantage = ppo._batch(rollout)["advantage"].numpy().reshape(16, 4, 4)
    rollout.probabilities[8:, 2] = np.eye(5)[0]
    changed = advantage - ppo._batch(rollout)["advantage"].numpy().reshape(16, 4, 4)
    assert (changed[:8, 0, 2] > 0.1).all()
    assert (changed[:8, 0, [0, 1, 3]] < -0.03).all()
    assert not changed[:, 1:].any()


def test_the_critic_learns_quality_from_rewards_where_it_is_unknown(bandit):
    env = bandit(0)
    config = env.router(0, **QUICK, gamma=0.5, preference_sampling="fixed", preference="0.9,0.05,0.05").config
    source = StreamSource(config, env.training(), env, 0)
    ppo = PPO(config, len(source.categories), source.candidates, torch.device("cpu"), 0, source.unknown_quality)
    rollouts, errors = range(config.rollouts), []
    for _ in training_loop(ppo, source.training, source.generator, env.reward, rollouts):
        streams, observations = source.training(rollouts.stop)
        rollout = Rollout.empty(1, PolicyInputs.of(observations, 5, env.reward))
        category, policy = streams.category, policy_function(ppo.policy(), source.candidates, env.reward)
        play(policy, streams, observations, rollout, np.random.default_rng(0))
        read = ppo._standardised(critic_inputs(rollout.inputs.query, rollout.inputs.weights, rollout.pooled))[0]
        learned = learned_quality(ppo.parameters, torch.as_tensor(read)).detach().numpy()
        errors.append((rollout.probabilities[0] * (learned - env.truth[category]) ** 2).sum(axis=1).mean())
    assert np.mean(errors[-5:]) < 0.01 < errors[0] / 3


def test_a_truncated_stream_counts_the_value_of_its_final_observation(bandit):
    ppo, rollout = first_rollout(bandit(0, bias=0.2), group_size=1)
    ppo.update(rollout, 1.0, np.random.default_rng(0))  # the critic's first values are all 0
    rollout.truncated[7] = True

    def advantages(final):
        rollout.final[7] = PolicyInputs(*(part[final] for part in rollout.inputs)), rollout.pooled[final]
        return ppo._batch(rollout)["advantage"].numpy().reshape(16, 16).copy()

    differs = (rollout.inputs.query[8] != rollout.inputs.query[3]).any(axis=1)
    changed = advantages(8) != advantages(3)
    assert differs.any()
    assert (changed[:8] == differs).all()
    assert not changed[8:].any()


def test_the_critic_reads_standardised_inputs(bandit):
    ppo, rollout = first_rollout(bandit(0, bias=0.2))
    read = critic_inputs(rollout.inputs.query, rollout.inputs.weights, rollout.pooled)[:-1].reshape(16 * 16, -1)
    batch = ppo._batch(rollout)
    assert batch["critic"].mean(dim=0).numpy() == pytest.approx(0, abs=0.2)  # the last observations count in the scales, and are not learned from
    varied = read.std(axis=0) > 0.06
    assert varied.sum() > 5
    assert batch["critic"].numpy()[:, varied].std(axis=0) == pytest.approx(1, abs=0.1)


def test_the_policy_is_trained_on_standardised_queries_and_plays_queries_as_they_are(bandit):
    ppo, rollout = first_rollout(bandit(0, bias=0.2))
    ppo.update(rollout, 1.0, np.random.default_rng(0))
    trained = {name: tensor.detach().numpy() for name, tensor in ppo.parameters.items()}
    queries, weights = rollout.inputs.query[:-1].reshape(16 * 16, -1), rollout.inputs.weights[:-1].reshape(16 * 16, -1)
    standardised = ppo._batch(rollout)["query"].numpy()
    assert abs(standardised).max() > 1
    assert combined_factors(ppo.policy(), queries, weights) == pytest.approx(combined_factors(trained, standardised, weights), abs=1e-5)


@pytest.mark.parametrize(("remaining", "share"), [(1.0, 1.0), (0.5, 1.0), (0.25, 0.5)])
def test_the_entropy_bonus_falls_to_nothing_in_the_second_half(bandit, remaining, share, monkeypatch):
    ppo, rollout = first_rollout(bandit(0, bias=0.2))
    bonuses, step = [], ppo._gradient_step
    monkeypatch.setattr(ppo, "_gradient_step", lambda batch, scale, bonus, *others: bonuses.append(bonus) or step(batch, scale, bonus, *others))
    ppo.update(rollout, remaining, np.random.default_rng(0))
    assert set(bonuses) == {share * ppo.config.entropy_bonus}


def test_the_discount_looks_ahead_to_the_horizon_or_a_longer_recovery_and_over_all_of_a_period_that_resets():
    config = PPOConfig()
    assert [config.discount(), config.discount(2000.0)] == pytest.approx([0.998, 0.9995])
    assert config.discount(resets=True) == config.discount(1e9) == 0.9999
    assert PPOConfig(gamma=0.9).discount(2000.0, resets=True) == 0.9


def test_the_critic_of_streams_alone_starts_at_their_mean_reward_in_standardised_values(bandit):
    ppo, rollout = first_rollout(bandit(0, bias=0.2), group_size=1, gamma=0.9)
    batch = ppo._batch(rollout)
    expected = (rollout.inputs.weights[:-1] * rollout.pooled[:-1, :, :OBJECTIVES]).sum(axis=2).mean()
    assert ppo.scales["value_mean"] == pytest.approx(10 * expected, rel=1e-5)
    assert not batch["value"].any()
    assert batch["target"].numpy().std() == pytest.approx(1, rel=1e-5)
    assert abs(batch["target"].mean()) < 0.5


@pytest.mark.parametrize(("factor", "grows"), [(1.5, False), (20.0, True)])
def test_the_unit_of_values_grows_with_the_targets_and_values_stay_as_they_are(bandit, factor, grows):
    ppo, rollout = first_rollout(bandit(0, bias=0.2), gamma=0.9)
    expected, differences = rollout.pooled[..., :OBJECTIVES].copy(), np.linspace(-0.01, 0.01, 16)[:, None]
    rollout.pooled[..., :OBJECTIVES] = expected * (1 + differences)
    ppo.update(rollout, 1.0, np.random.default_rng(0))
    states = ppo._standardised(critic_inputs(rollout.inputs.query, rollout.inputs.weights, rollout.pooled))
    unit, values = ppo.scales["value_deviation"], ppo._values(states)
    rollout.pooled[..., :OBJECTIVES] = expected * (1 + factor * differences)
    assert ppo._batch(rollout)["target"].std() < 2
    assert (ppo.scales["value_deviation"] > 2 * unit) == grows
    assert ppo._values(states) == pytest.approx(values, rel=1e-4, abs=1e-7)
    assert all((tensor in ppo.adam.state) != grows for tensor in ppo._critic.values())
    assert all(tensor in ppo.adam.state for tensor in ppo._policy.values())
    batch = ppo._batch(rollout)
    own = differences_in_groups(critic_values(ppo.parameters, batch["critic"]).detach().numpy().reshape(-1, 4), 4)
    assert batch["value"].numpy() == pytest.approx(own.ravel(), abs=1e-5)  # a step's change of values begins at nothing
    ppo.update(rollout, 1.0, np.random.default_rng(0))


def test_figures_that_are_equal_but_for_rounding_keep_their_size():
    alike = differences_in_groups(np.random.default_rng(0).random((50, 4), dtype=np.float32).repeat(3, axis=1), 3)
    assert alike.any()
    assert deviation(alike) == 1
    assert deviation(np.float32([[1, 2], [3, 2]]), axis=(0,)) == pytest.approx([1, 1])


def test_equal_inputs_are_not_scaled_whatever_their_value():
    read = np.empty((129, 64, 3), np.float32)
    read[:] = 0.3, 0.7, 0.1
    read[..., 2] += np.linspace(0, 0.01, 64, dtype=np.float32)
    scales = initial_scales(read, 3, 0.0)
    assert scales["input_deviation"] == pytest.approx([1, 1, 0.05])
    assert scales["query_deviation"] == pytest.approx([1, 1, 0.25])


@pytest.mark.parametrize("words", [200, 4000])
def test_prompts_much_longer_than_those_of_the_training_are_routed_alike(bandit, words):
    env = bandit(0)
    router = env.router(0, **QUICK)
    router.train(env.training())
    env.text = "word " * words
    assert env.way_to_optimum(router) > 0.97


def test_groups_divide_the_streams_and_the_minibatches(bandit):
    with pytest.raises(ConfigError, match=r"kl_limit 0\.05 needs two gradient steps .* epochs 1 with minibatch 256 of n_steps 256 make one"):
        bandit(0).router(0, **{**TINY, "epochs": 1, "minibatch": 256})
    with pytest.raises(ConfigError, match=r"n_streams must be a multiple of group_size \(3\), not 16; change one of them"):
        bandit(0).router(0, **TINY, group_size=3)
    with pytest.raises(ConfigError, match=r"minibatch must be a multiple of group_size \(4\), not 66; change one of them"):
        bandit(0).router(0, **{**TINY, "minibatch": 66})


def test_a_rollout_has_two_decisions_as_the_spread_of_one_advantage_is_unknown(bandit):
    with pytest.raises(ConfigError, match="n_steps must be at least 2"):
        bandit(0).router(0, n_streams=1, n_steps=1)


@pytest.mark.parametrize("strategy", ["mixed", "dirichlet", "uniform", "fixed", "corners"])
def test_drawn_preferences_lie_on_the_simplex(strategy):
    drawn = draw_preferences(strategy, np.array([0.5, 0.3, 0.2]), 1000, np.random.default_rng(0))
    assert drawn.shape == (1000, 3)
    assert drawn.sum(axis=1) == pytest.approx(1)
    assert (drawn >= 0).all()


def test_dirichlet_preferences_cover_the_simplex_evenly():
    drawn = draw_preferences("dirichlet", np.ones(3), 256, np.random.default_rng(0))
    for column in drawn.T:
        shares = np.histogram(column, 1 - np.sqrt(np.linspace(1, 0, 9)))[0]  # eight parts of equal probability
        assert (abs(shares - 32) <= 5).all()


def test_half_of_mixed_preferences_are_for_quality():
    drawn = draw_preferences("mixed", np.ones(3), 2000, np.random.default_rng(0))
    rest = 1 - drawn[1::2, 0]
    assert rest.min() >= 0.01 - 1e-9
    assert np.median(rest) == pytest.approx(0.1, rel=0.05)  # log-uniform from 0.01 to 1
    assert drawn[::2].mean(axis=0) == pytest.approx(np.full(3, 1 / 3), abs=0.01)


def test_the_prompts_length_and_the_state_of_the_pool_are_among_a_querys_features():
    pair = np.random.default_rng(0).random((3, PAIR_WIDTH, 3), dtype=np.float32)
    prompts = [Query("a", prompt_tokens=tokens) for tokens in (1, 16_383, 1_000_000)]
    query = encode_queries(prompts, Estimates.unknown(3), ("chat",))
    found = policy_query(query, pair)
    assert found.shape == (3, 5 + 1 + CONTEXT)
    assert found[:, 5] == pytest.approx([2 / 16_386, 0.5, 1_000_001 / 1_016_385], rel=1e-4)
    assert found[:, 6:] == pytest.approx(pair[:, STATE].mean(axis=2))


def test_a_group_meets_where_all_its_streams_are_in_one_state():
    same = np.array([[False, True, False, True, True, True], [True, True, True, False, False, True]])
    assert groups_meet(same, 3).tolist() == [[False] * 3 + [True] * 3, [True] * 3 + [False] * 3]
    assert not groups_meet(same, 1).any()


def test_strategies_spread_preferences_differently():
    rng = np.random.default_rng(0)
    deviation = {name: draw_preferences(name, np.ones(3) / 3, 20_000, rng).std(axis=0).mean() for name in ("dirichlet", "uniform", "corners")}
    assert deviation["dirichlet"] == pytest.approx((2 / 36) ** 0.5, abs=0.005)  # a Dirichlet(1, 1, 1)'s
    assert deviation["uniform"] < deviation["dirichlet"] < deviation["corners"]


def test_observations_come_apart_as_they_were_put_together(bandit):
    from aamc_sdk.routing import encode

    env = bandit(0, bias=0.1)
    features = encode(env.request(np.array([0, 3]), np.array([0.2, 0.3, 0.5])), env.reward)
    inputs = PolicyInputs.of(features.flat(), len(env.pool), env.reward)
    for part, expected in (
        (inputs.query, policy_query(features.query, features.pair.swapaxes(1, 2))),
        (inputs.weights, features.preference),
        (inputs.pair, features.pair.swapaxes(1, 2)),
        (inputs.mask, features.mask),
    ):
        assert np.array_equal(part, expected)


class Truncating:
    """Two streams whose observations count the steps; the first is truncated after its second step."""

    t = 0

    def step(self, actions):
        self.t += 1
        truncated = np.array([self.t == 2, False])
        final = np.array([np.full(WIDTH, 100.0, np.float32), None], dtype=object)
        info = {"vector_reward": np.full((2, 3), self.t), "final_obs": final, "_final_obs": truncated}
        return np.full((2, WIDTH), self.t, np.float32), None, None, truncated, info


WIDTH = 6 + 3 + PAIR_WIDTH * 2
"""Of an observation with six query features and two candidates."""


def even_odds(reward):
    return lambda observations: (PolicyInputs.of(observations, 2, reward), np.log(np.full((2, 2), 0.5)))


def test_a_rollout_holds_the_steps_and_the_final_observations_of_truncated_streams(bandit):
    policy, start = even_odds(bandit(0).reward), np.zeros((2, WIDTH), np.float32)
    rollout = Rollout.empty(3, policy(start)[0])
    observations = play(policy, Truncating(), start, rollout, np.random.default_rng(0))
    assert observations[:, 0].tolist() == [3, 3]
    assert rollout.inputs.query[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert rollout.reward[:, 1, 0].tolist() == [1, 2, 3]
    assert rollout.truncated.tolist() == [[False, False], [True, False], [False, False]]
    assert rollout.log_probability == pytest.approx(np.log(0.5))
    ((step, (final, pooled)),) = rollout.final.items()
    assert step == 1
    assert final.query[:, 0].tolist() == [100, 2]  # the other stream keeps its present observation
    assert pooled[:, 0].tolist() == [100, 2]


class Stateful(Truncating):
    """The first stream's state is the number of steps, the second one's 2."""

    @property
    def state(self):
        return np.array([[self.t], [2.0]])


def test_a_rollout_notes_where_streams_are_in_one_state(bandit):
    policy, start = even_odds(bandit(0).reward), np.zeros((2, WIDTH), np.float32)
    for streams, expected in ((Stateful(), [False, True, False]), (Truncating(), [False] * 3)):
        rollout = Rollout.empty(3, policy(start)[0])
        play(policy, streams, start, rollout, np.random.default_rng(0))
        assert rollout.same_state.tolist() == [[False, met] for met in expected]


def test_the_trust_is_high_only_where_the_correction_helps(bandit):
    env = bandit(0, bias=0.3)
    router = env.router(0, **QUICK)
    router.train(env.training())

    def streams(n):
        made = env.vector(n, "validation", preferences=np.tile([0.8, 0.1, 0.1], (n, 1)))
        return made, made.reset(seed=1)[0]

    def trust(policy):
        return choose_trust(policy, streams, encode_candidates(env.pool), env.reward, steps=80, rows=env.rows.size)

    helpful, harmful = trust(router._policy), trust(scale_correction(router._policy, -1.0))
    assert helpful.factor > 0
    assert 0 < helpful.ci95[0] < helpful.gain < helpful.ci95[1]
    assert helpful.reward["1"] > helpful.reward["0"] + 0.02
    assert (harmful.factor, harmful.gain, harmful.ci95) == (0, 0, (0, 0))


@pytest.mark.parametrize(
    ("half", "most", "whole", "expected"),
    [(0.10, 0.10, 0.1, 1.0), (0.05, 0.13, 0.1, 0.75), (0.16, 0.13, 0.1, 0.5), (0.2, 0.2, 0.0, 0.75), (0.0, 0.0, 0.1, 1.0), (0.01, 0.01, -0.1, 0.0)],
)
def test_a_smaller_part_of_the_correction_is_trusted_where_it_earns_a_standard_error_more(half, most, whole, expected):
    chance = np.random.default_rng(0).normal(0, 0.1, size=256)
    noise = np.random.default_rng(1).normal(0, 0.1, size=(3, 256))  # a mean gain has a standard error of .009
    rewards = chance + np.vstack((np.zeros(256), noise - noise.mean(axis=1, keepdims=True) + np.array([[half], [most], [whole]])))
    one_each = np.ones(256, np.intp)  # each stream asks a question of its own
    found = compare_factors({f: StreamRewards(by_stream=of, by_row=of, decisions=one_each) for f, of in zip(TRUST_FACTORS, rewards, strict=True)})
    assert found.factor == expected
    assert found.gain == pytest.approx(found.reward[f"{expected:g}"] - found.reward["0"])


def test_gains_that_differ_between_preferences_alone_have_no_error():
    assert error_of_streams(np.array([0.0, 0.4, 0.0, 0.4])) == 0


def test_the_error_of_a_gain_is_that_of_streams_with_the_same_preference():
    chance = np.random.default_rng(0).normal(size=(2000, 2, 64))
    spread = (chance + np.linspace(0, 10, 64)).reshape(2000, 128)  # gains of variance 1 around those of 64 preferences
    assert spread.mean(axis=1).std() == pytest.approx(128**-0.5, rel=0.05)
    assert np.mean([error_of_streams(gain) for gain in spread]) == pytest.approx(128**-0.5, rel=0.05)


def test_with_validation_rows_the_trust_is_chosen_and_reported(bandit):
    env = bandit(0, bias=0.0)
    router = env.router(0, **TINY, learning_rate=0.5, gradient_clip=100.0)  # wild enough to spoil the plug-in rule
    metrics = router.train(env.training(validation=env.dataset("validation")))
    assert list(metrics["reward_by_trust"]) == [f"{factor:g}" for factor in TRUST_FACTORS]
    assert metrics["trust"] == {"factor": 0, "gain": 0, "ci95": [0, 0]}
    assert env.way_to_optimum(router) == pytest.approx(1)


class Listening(NoProgress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.mark.parametrize(
    ("bias", "learned"), [(0.0, "learned nothing beyond the plug-in rule"), (None, "over the plug-in rule on validation streams")]
)
def test_a_training_says_whether_it_learned_anything(bandit, bias, learned):
    env, progress = bandit(0, bias=bias), Listening()
    env.router(0, **{**QUICK, "validation_steps": 8192}).train(env.training(validation=env.dataset("validation"), progress=progress))
    assert [learned in line for line in progress.lines] == [True]


def test_the_trust_factor_is_kept_in_the_checkpoint(bandit, tmp_path):
    env = bandit(0)
    router = env.router(0, **{**QUICK, "validation_steps": 8192})
    metrics = router.train(env.training(validation=env.dataset("validation")))
    router.save(tmp_path)
    loaded = env.router(0, **QUICK)
    loaded.load(tmp_path)
    assert loaded.trust == metrics["trust"]
    assert loaded.trust["factor"] > 0


def test_a_resumed_training_keeps_the_adapted_rate(bandit, tmp_path):
    env = bandit(0, bias=0.2)
    wild = {"learning_rate": 0.05, "kl_limit": 0.001}  # each rollout undoes a step, so the rate is not 1
    router = env.router(5, **{**TINY, **wild})
    with pytest.raises(KeyboardInterrupt):
        router.train(env.training(folder=tmp_path, progress=Interrupting(3)))
    resumed = env.router(5, **{**TINY, **wild})
    metrics = resumed.train(env.training(folder=tmp_path, resume=True))
    assert metrics["curve"][1]["rate"] < 1
    assert same(resumed._policy, trained(env, env.training(), **wild))


def test_a_step_that_takes_the_policy_too_far_is_undone(bandit):
    env = bandit(0, bias=0.2)
    start = env.router(5, **TINY)._initial()
    router = env.router(5, **{**TINY, "kl_limit": 1e-12, "total_timesteps": 256})
    router.train(env.training())
    first = trained(env, env.training(), kl_limit=0, total_timesteps=256)
    assert set(start) == set(router._policy)
    layers = set(start) - {"query_w1", "query_b1"}  # the first layer is divided by the queries' deviation
    moved, free = (max(np.abs(policy[name] - router._initial()[name]).max() for name in layers) for policy in (router._policy, first))
    assert moved == 0
    assert free > 0
