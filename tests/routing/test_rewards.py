import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk.errors import CheckpointError, ConfigError, PluginError, PreferenceError
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward, Scale, fit_reward
from aamc_sdk.storage import write_json
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Outcomes

QUALITY = np.array([[1.0, 0.0], [0.0, 1.0]])
COST = np.array([[1.0, 10.0], [3.0, 30.0]])  # means 2 and 20
LATENCY = np.array([[100.0, 400.0], [100.0, 600.0]])  # means 100 and 500
OUTCOMES = Outcomes(QUALITY, COST, LATENCY)
UNKNOWN = np.full((2, 2), np.nan)


@pytest.fixture
def reward():
    made = LinearReward()
    made.fit(OUTCOMES)
    return made


def test_it_keeps_the_contract():
    assert_conforms("reward", "linear", Plugins())


def test_scales_are_the_range_of_the_candidates_means(reward):
    assert reward.cost == Scale(2.0, 20.0)
    assert reward.latency == Scale(100.0, 500.0)


def test_scales_can_be_set():
    made = Plugins().make("reward", "linear", None, {"cost_usd": [0, 40], "latency_ms": [0.0, 1000.0]})
    made.fit(OUTCOMES)
    assert made.vector(OUTCOMES)[0, 0].tolist() == [1.0, 1 - 1 / 40, 0.9]
    made.fit(Outcomes(QUALITY, COST, UNKNOWN))
    assert (made.cost, made.latency.known) == (Scale(0.0, 40.0), False)


@pytest.mark.parametrize("given", [[1], [2, 1], [1, 1], [-1, 1], [0, float("inf")], [0, 1, 2], 5, "0,1", ["a", "b"]])
def test_a_scale_that_is_no_range_is_refused(given):
    with pytest.raises(ConfigError, match="cost_usd"):
        Plugins().make("reward", "linear", None, {"cost_usd": given})


def test_unknown_values_do_not_count_in_a_mean():
    assert Scale.of(np.array([2.0, 8.0])) == Scale(2.0, 8.0)
    assert Scale.of(np.array([2.0, np.nan])) == Scale(2.0, 2.0)
    assert not Scale.of(np.array([np.nan])).known


def test_objectives_follow_the_design_by_hand(reward):
    vector = reward.vector(OUTCOMES)
    assert vector[0, 1].tolist() == [0.0, pytest.approx(10 / 18), pytest.approx(100 / 400)]
    assert vector[1, 1].tolist() == [1.0, pytest.approx(-10 / 18), pytest.approx(-100 / 400)]  # never clipped


def test_means_that_differ_by_rounding_are_equal():
    assert Scale.of(np.array([0.1 + 0.2, 0.3])).goodness(np.array([0.3, 0.1 + 0.2])).tolist() == [0, 0]
    assert Scale.of(np.array([0.3, 0.3001])).goodness(np.array([0.3])).tolist() == [1]


def test_slopes_and_offsets_follow_the_scales(reward):
    slopes, offsets = reward.affine
    figures = np.stack((QUALITY, COST, LATENCY), axis=-1)
    assert slopes * figures + offsets == pytest.approx(reward.vector(OUTCOMES))
    assert reward.affine is reward.affine
    with pytest.raises(ValueError, match="read-only"):
        slopes[0] = 2
    reward.fit(Outcomes(QUALITY, 2 * COST, LATENCY))
    assert reward.affine[0][1] == pytest.approx(slopes[1] / 2)


def test_what_is_not_known_has_no_slope():
    made = LinearReward()
    made.fit(Outcomes(QUALITY, np.ones((2, 2)), UNKNOWN))
    assert np.array(made.affine).tolist() == [[1, 0, 0], [0, 0, 0]]


def test_a_subclass_with_another_formula_has_no_slopes():
    class Squared(LinearReward):
        def vector(self, outcomes):
            return super().vector(outcomes) ** 2

    class Steep(Scale):
        def goodness(self, values):
            return super().goodness(values) ** 2

    assert Squared().affine is None
    steep = LinearReward()
    steep.cost = Steep(0.0, 1.0)
    assert steep.affine is None


def test_equal_means_give_no_cheapness():
    made = LinearReward()
    made.fit(Outcomes(QUALITY, np.ones((2, 2)), LATENCY))
    assert made.vector(OUTCOMES)[..., 1].tolist() == [[0, 0], [0, 0]]


def test_the_scalar_is_the_weighted_sum(reward):
    preferences = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    scalar = reward.scalar(OUTCOMES, preferences)
    assert scalar[0, 1] == pytest.approx(0.3 * 10 / 18 + 0.2 / 4)
    assert scalar[1].tolist() == QUALITY[1].tolist()


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_an_objective_without_weight_may_be_unknown_or_infinite(reward, unknown):
    outcomes = Outcomes(QUALITY, np.full((2, 2), unknown), np.full((2, 2), unknown))
    assert reward.scalar(outcomes, np.array([[1.0, 0.0, 0.0]] * 2)).tolist() == QUALITY.tolist()
    assert not np.isfinite(reward.scalar(outcomes, np.array([[0.9, 0.1, 0.0]] * 2))).any()


@given(st.floats(0, 1))
def test_the_reward_of_an_expectation_is_the_expected_reward(chance):
    made = LinearReward()
    made.fit(OUTCOMES)
    preferences = np.tile((0.5, 0.3, 0.2), (1, 1))
    first, second = OUTCOMES.take([0]), OUTCOMES.take([1])
    mixed = Outcomes(*(chance * getattr(first, n) + (1 - chance) * getattr(second, n) for n in ("quality", "cost_usd", "latency_ms")))
    expected = chance * made.scalar(first, preferences) + (1 - chance) * made.scalar(second, preferences)
    assert made.scalar(mixed, preferences) == pytest.approx(expected)


def test_latencys_weight_is_dropped_where_it_is_unknown():
    made = LinearReward()
    made.fit(Outcomes(QUALITY, COST, UNKNOWN))
    assert made.weights(np.array([0.6, 0.2, 0.2])).tolist() == [pytest.approx(0.75), pytest.approx(0.25), 0.0]
    assert np.isfinite(made.scalar(Outcomes(QUALITY, COST, UNKNOWN), np.tile((0.6, 0.2, 0.2), (2, 1)))).all()


def test_a_preference_wholly_on_an_unknown_latency_is_an_error():
    made = LinearReward()
    made.fit(Outcomes(QUALITY, COST, UNKNOWN))
    with pytest.raises(PreferenceError, match="only latency"):
        made.weights(np.array([0.0, 0.0, 1.0]))


@pytest.mark.parametrize("latency", [LATENCY, UNKNOWN])
def test_scales_survive_saving_and_loading(tmp_path, latency):
    made, loaded = LinearReward(), LinearReward()
    made.fit(Outcomes(QUALITY, COST, latency))
    made.save(tmp_path)
    loaded.load(tmp_path)
    assert loaded.cost == made.cost
    assert loaded.latency.known == made.latency.known


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cost_usd": [1], "latency_ms": ["a", 2]}', '{"cost_usd": [1, 2, 3], "latency_ms": [1, 2]}'])
def test_a_damaged_file_is_a_checkpoint_error(tmp_path, content):
    (tmp_path / "reward.json").write_text(content)
    with pytest.raises(CheckpointError):
        LinearReward().load(tmp_path)


@pytest.mark.parametrize("scale", [None, "x", [0.5], [0.5, "x"], [True, 1.0], [1.0, 0.5], [-1.0, 1.0], [0.0, 1e300], [None, 1.0]])
def test_scales_that_are_no_range_are_refused(tmp_path, scale) -> None:
    write_json(tmp_path / "reward.json", {"cost_usd": scale, "latency_ms": [None, None]})
    with pytest.raises(CheckpointError, match=r"reward\.json is damaged: .*; restore the file, or train again$"):
        LinearReward().load(tmp_path)


@pytest.mark.parametrize(
    ("method", "returned", "problem"),
    [
        ("vector", np.zeros((2, 2, 2)), r"vector of \(2, 2\) outcomes must return an array of shape \(2, 2, 3\), not an array of shape \(2, 2, 2\)"),
        ("weights", np.zeros((2, 2)), r"weights of \(2, 2\) outcomes must return an array of shape \(2, 3\), not an array of shape \(2, 2\)"),
        ("scalar", None, r"scalar of \(2, 2\) outcomes must return an array of shape \(2, 2\), not None"),
    ],
)
def test_a_reward_whose_results_have_another_shape_is_named_when_it_is_fitted(reward, monkeypatch, method, returned, problem):
    fit_reward(reward, OUTCOMES)
    monkeypatch.setattr(reward, method, lambda *arguments: returned)
    with pytest.raises(PluginError, match=f"^LinearReward failed: TypeError: {problem}"):
        fit_reward(reward, OUTCOMES)


@pytest.mark.parametrize("method", ["vector", "weights", "scalar"])
def test_a_reward_that_is_nan_for_known_outcomes_is_named_when_it_is_fitted(monkeypatch, method):
    original = getattr(LinearReward, method)
    monkeypatch.setattr(LinearReward, method, lambda *arguments: np.nan * original(*arguments))
    with pytest.raises(PluginError, match=f"^LinearReward failed: ValueError: {method} must return numbers for known outcomes, not NaN$"):
        fit_reward(LinearReward(), OUTCOMES)


@pytest.mark.parametrize("name", ["quality", "cost_usd", "latency_ms"])
@pytest.mark.parametrize("unknown", [UNKNOWN, np.array([[np.nan, 1.0], [np.nan, 1.0]]), np.array([[np.nan, 1.0], [1.0, 1.0]])])
def test_a_reward_may_be_nan_for_unknown_outcomes(name, unknown):
    fit_reward(LinearReward(), attrs.evolve(OUTCOMES, **{name: unknown}))
