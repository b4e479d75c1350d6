from __future__ import annotations

import json
import logging

import attrs
import numpy as np
import pytest
import yaml
from aamc_environments.queue import QueueEnvironment, QueueOptions, read_world, sample_queries, standalone

from aamc_sdk import Dataset, Labels, ModelSpec, Pool, Preference, Prices, Query
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.routing import default_pool
from aamc_sdk.types import sigmoid

WORLD = {
    "categories": {"easy": {"share": 3}, "hard": {"complexity": 0.8}},
    "candidates": {
        "small": {"success": {"easy": 0.9, "hard": 0.2}, "slope": 4.0, "price": 1.0},
        "large": {"success": {"easy": 0.95, "hard": 0.8}, "slope": 1.0, "price": 100.0},
    },
    "tool_penalty": 2.0,
}


def written(tmp_path, **changes):
    path = tmp_path / "world.yaml"
    path.write_text(yaml.safe_dump(WORLD | changes))
    return str(path)


def pool_of(*names, price=1.0, abilities=()):
    return Pool([ModelSpec(name, prices=Prices(price, price), abilities=abilities) for name in names])


def odds(chance):
    return chance / (1 - chance)


def test_success_at_half_complexity_is_the_matrix(tmp_path):
    skills = read_world(written(tmp_path)).skills(pool_of("large", "small"))
    chance = sigmoid(skills.of(np.array([0.5, 0.5]), skills.index(["easy", "hard"]), np.zeros(2)))
    np.testing.assert_allclose(chance, [[0.95, 0.9], [0.8, 0.2]])


def test_complexity_and_missing_tools_lower_the_log_odds(tmp_path):
    skills = read_world(written(tmp_path)).skills(pool_of("small"))
    chance = sigmoid(skills.of(np.array([1.0, 0.5]), skills.index(["easy", "easy"]), np.array([0.0, 1.0])))
    np.testing.assert_allclose(odds(chance[:, 0]), odds(0.9) * np.exp([-2.0, -2.0]))


def test_tools_do_not_hurt_a_candidate_that_has_them(tmp_path):
    skills = read_world(written(tmp_path)).skills(pool_of("small", abilities=["tools"]))
    chance = sigmoid(skills.of(np.array([0.5]), skills.index(["easy"]), np.array([1.0])))
    np.testing.assert_allclose(chance, 0.9)


def test_an_unknown_candidate_is_placed_by_its_price_and_that_is_said(tmp_path, caplog):
    world = read_world(written(tmp_path))
    with caplog.at_level(logging.WARNING):
        skills = world.skills(pool_of("newcomer", price=10.0))
    known = world.skills(pool_of("small", "large"))
    np.testing.assert_allclose(skills.log_odds[0], known.log_odds.mean(axis=0), atol=1e-12)
    assert skills.slope == 2.5
    assert "newcomer" in caplog.text


def test_a_free_unknown_candidate_is_placed_on_the_lowest_rung(tmp_path):
    world = read_world(written(tmp_path))
    np.testing.assert_allclose(world.skills(pool_of("newcomer", price=0.0)).log_odds, world.skills(pool_of("small")).log_odds)


def test_an_unknown_candidate_without_a_price_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"knows no candidate 'smal'; did you mean 'small'.* give it an output price in the pool, or add it to env"):
        read_world(written(tmp_path)).skills(Pool([ModelSpec("smal")]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": {"small": {"success": {"easy": 1.5, "hard": 0.5}}}}, "'easy' must be between 0 and 1"),
        ({"candidates": {"small": {"success": {"easy": 0.5}}}}, "small must have a chance of success for each category"),
        ({"candidates": {"small": {"success": {"easy": 0.5, "hard": "x"}}}}, "must be a number"),
        ({"candidates": {}}, "at least one category and one candidate"),
        ({"tool_penalti": 1}, "did you mean 'tool_penalty'"),
        ({"categories": {"easy": {"share": 0}, "hard": {"share": 0}}}, "positive share"),
    ],
)
def test_a_bad_world_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        read_world(written(tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_a_missing_world_is_refused():
    with pytest.raises(ConfigError, match=r"cannot read nowhere\.yaml"):
        read_world("nowhere.yaml")


def test_queries_of_an_unknown_category_or_without_labels_are_refused(queue):
    labels = Labels(complexity=np.array([0.5]), category=np.array(["maths"]), tool_use=np.array([0.0]))
    with pytest.raises(DataError, match="no category 'maths'; did you mean 'math'"):
        queue.prepare({"train": Dataset([Query("a")], labels=labels)})
    with pytest.raises(DataError, match="use --environment replay"):
        queue.prepare({"train": Dataset([Query("a")])})
    with pytest.raises(DataError, match="the train split lacks some"):
        queue.prepare({"train": Dataset([Query("a")], labels=attrs.evolve(labels, complexity=np.array([np.nan])))})


def test_sampled_outcomes_agree_with_the_truth(queue):
    outcomes = queue.dataset("train").outcomes
    np.testing.assert_array_equal(outcomes.quality, queue.dataset("train").outcomes.quality)
    truth = queue.vector(1, "train").setup.request.expected.quality
    error = np.sqrt((truth * (1 - truth)).sum(axis=0)) / len(truth)
    assert (abs(outcomes.quality.mean(axis=0) - truth.mean(axis=0)) < 4 * error).all()
    unloaded = np.array([candidate.latency.total_ms for candidate in default_pool()])
    np.testing.assert_allclose(outcomes.latency_ms.mean(axis=0), unloaded, rtol=0.1)


# What the default world promises, at the default preference and load.


def measure(environment, choose):
    """Return success, cost and latency of a policy over 256 streams of 160 queries."""
    n = 256
    streams = environment.vector(n, "train", preferences=np.tile(Preference().array, (n, 1)), seed=11)
    streams.reset()
    figures = []
    for _ in range(160):
        info = streams.step(choose(streams.request()))[-1]
        figures.append([info[key].mean() for key in ("quality", "cost_usd", "latency_ms")])
    return np.mean(figures, axis=0)


def always(name):
    return lambda request: np.full(len(request), request.pool.index(name))


def by_rule(request):
    names = ("SLM-Small", "SLM-Medium", "LLM-XLarge")
    small, medium, large = (request.pool.index(name) for name in names)
    return np.select([request.estimates.complexity < 1 / 3, request.estimates.complexity < 2 / 3], [small, medium], large)


def greedy(reward, error):
    """Greedy on success probabilities whose log-odds are wrong by a normal error."""
    generator = np.random.default_rng(0)

    def choose(request):
        truth = request.hindsight.quality
        wrong = odds(truth) * np.exp(error * generator.standard_normal(truth.shape))
        expected = type(request.hindsight)(wrong / (1 + wrong), request.hindsight.cost_usd, request.hindsight.latency_ms)
        return reward.scalar(expected, request.preferences).argmax(axis=1)

    return choose


def test_every_queue_is_stable_if_one_candidate_takes_all(queue):
    latency_ms = queue.vector(1, "train").setup.request.expected.latency_ms.mean(axis=0)
    slowest = max(mean_ms - candidate.latency.network_ms for candidate, mean_ms in zip(default_pool(), latency_ms, strict=True)) / 1000
    assert queue.arrivals("train").per_second * slowest == pytest.approx(0.6)


def test_the_default_pool_spans_small_to_very_large():
    pool = default_pool()
    assert len(pool) >= 6
    assert {"SLM-Medium", "LLM-XLarge"} <= set(pool.names)
    assert {"code", "tools"} <= set().union(*(candidate.abilities for candidate in pool))


def test_the_default_world_leaves_something_to_learn(queue):
    reward = queue.services.reward
    large, medium, rule, oracle, modest = (
        measure(queue, choose) for choose in (always("LLM-XLarge"), always("SLM-Medium"), by_rule, greedy(reward, 0), greedy(reward, 0.5))
    )
    assert large[0] >= 0.92
    assert medium[0] <= large[0] - 0.10
    claim = (rule[0] > 0.9, rule[0] >= large[0] - 0.02, rule[1] <= 0.3 * large[1], rule[2] < large[2])
    assert not all(claim)
    assert oracle[0] >= large[0] - 0.005
    assert oracle[1] <= 0.2 * large[1]
    assert modest[0] >= large[0] - 0.005
    assert modest[1] <= 0.3 * large[1]
    assert modest[2] < large[2]


@pytest.mark.parametrize("moved", [-0.15, 0.15])
def test_other_mixes_of_complexity_keep_the_promise(moved):
    environment = standalone(queries=2000)
    dataset = environment.dataset("train")
    labels = Labels(np.clip(dataset.labels.complexity + moved, 0, 1), dataset.labels.category, dataset.labels.tool_use)
    environment.prepare({"train": Dataset(dataset.queries, labels=labels)})
    environment.services.reward.fit(environment.dataset("train").outcomes)
    large, modest = (measure(environment, choose) for choose in (always("LLM-XLarge"), greedy(environment.services.reward, 0.5)))
    assert modest[0] >= large[0] - 0.02
    assert modest[1] <= 0.3 * large[1]


def test_sampled_queries_have_the_shares_and_means_of_their_categories():
    categories = {"easy": {"share": 3, "complexity": 0.2, "tool_use": 0.1}, "hard": {"complexity": 0.8, "tool_use": 0.4}}
    dataset = sample_queries(read_world(WORLD | {"categories": categories}), 20_000, 0)
    labels, tokens = dataset.labels, [query.prompt_tokens for query in dataset.queries]
    for name, share, complexity, tool_use in (("easy", 0.75, 0.2, 0.1), ("hard", 0.25, 0.8, 0.4)):
        rows = labels.category == name
        found = [rows.mean(), labels.complexity[rows].mean(), labels.tool_use[rows].mean()]
        assert found == pytest.approx([share, complexity, tool_use], abs=0.02)
        assert labels.complexity[rows].var() == pytest.approx(complexity * (1 - complexity) / 5, rel=0.05)  # of a beta distribution
    assert (np.mean(tokens), np.min(tokens) >= 1) == (pytest.approx(60, rel=0.01), True)


def test_a_world_is_a_name_a_file_or_the_content_of_one(tmp_path):
    content = {"categories": {"a": {"share": 2}}, "candidates": {"m": {"success": {"a": 0.5}}}}
    (tmp_path / "world.yaml").write_text(json.dumps(content))
    world = read_world(content)
    assert world == read_world(str(tmp_path / "world.yaml"))
    assert world.shares == {"a": 2}
    for nonsense in (3, "", None, []):
        with pytest.raises(ConfigError, match="world must be default, a YAML file or the content of one, not"):
            read_world(nonsense)
    with pytest.raises(ConfigError, match="the world has no option 'category'; did you mean 'categories'"):
        read_world({"category": {}})


def test_generated_queries_have_the_categories_that_occur_in_the_world():
    content = {"categories": {"a": {"share": 2}, "b": {"share": 0}}, "candidates": {"m": {"success": {"a": 0.5, "b": 0.5}}}}
    assert QueueEnvironment.category_shares(QueueOptions(world=content)) == {"a": 2}
