"""Expectation propagation and the preference model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from aamc_gmtrouter.embedding import Reduction, hashed_words
from aamc_gmtrouter.history import UserHistory, UserJudgement
from aamc_gmtrouter.taste import PreferenceModel
from aamc_gmtrouter.taste.ep import infer
from aamc_gmtrouter.taste.population import _CURVATURE, MATRICES, Observations, Population, _Layout
from scipy.stats import norm


def test_one_observation_has_the_closed_form() -> None:
    found = infer(np.array([[[2.0]]]), np.array([[0.5]]), np.array([[1.0]]))
    z = 0.5 / np.sqrt(3)
    assert found.evidence[0] == pytest.approx(norm.logcdf(z), abs=1e-6)
    assert 2.0 * found.alpha[0, 0] == pytest.approx(2.0 * norm.pdf(z) / norm.cdf(z) / np.sqrt(3), abs=1e-4)  # Rasmussen and Williams, (3.85)


def test_the_posterior_mean_is_near_that_of_importance_sampling() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(6, 3))
    y = np.sign(features @ np.array([1.0, -1.0, 0.5]))
    found = infer((features @ features.T)[None], np.zeros((1, 6)), y[None])
    samples = draw.normal(size=(200_000, 3))
    weight = norm.cdf(samples @ features.T * y).prod(axis=1)
    assert features.T @ found.alpha[0] == pytest.approx(weight @ samples / weight.sum(), abs=0.03)
    assert found.evidence[0] == pytest.approx(np.log(weight.mean()), abs=0.03)


def test_slopes_are_the_derivatives_of_the_evidence() -> None:
    draw = np.random.default_rng(1)
    features, offset = draw.normal(size=(2, 5, 3)), draw.normal(size=(2, 5))
    kernel, y = features @ features.swapaxes(1, 2), np.sign(draw.normal(size=(2, 5)))
    found, step, direction = infer(kernel, offset, y), 1e-4, draw.normal(size=(2, 5))
    along = [infer(kernel, offset + sign * step * direction, y).evidence.sum() for sign in (1, -1)]
    assert (along[0] - along[1]) / (2 * step) == pytest.approx((found.slope * direction).sum(), rel=1e-3)
    scaled = [infer(kernel * (1 + sign * step), offset, y).evidence.sum() for sign in (1, -1)]
    assert (scaled[0] - scaled[1]) / (2 * step) == pytest.approx(found.kernel_slope(kernel), rel=1e-3)


def test_padding_changes_nothing() -> None:
    kernel, offset, y = np.array([[[1.0, 0.5], [0.5, 1.0]]]), np.array([[0.1, -0.2]]), np.array([[1.0, -1.0]])
    wide = np.zeros((1, 3, 3))
    wide[:, :2, :2] = kernel
    padded = infer(wide, np.array([[0.1, -0.2, 0.0]]), np.array([[1.0, -1.0, 0.0]]))
    assert padded.alpha[0] == pytest.approx([*infer(kernel, offset, y).alpha[0], 0.0], abs=1e-6)


def test_a_group_s_variance_is_the_mean_of_its_squared_weights_and_posterior_variances() -> None:
    draw = np.random.default_rng(2)
    shapes = [(4, 6, 3), (4, 6, 5), (4, 6, 3), (4, 3), (4, 6, 2)]
    seen = Observations(*(draw.normal(size=shape) for shape in shapes), rating=draw.integers(2, size=(4, 6)), y=draw.integers(-1, 2, size=(4, 6)))
    layout = _Layout.of(seen, matrix_variance=0.01)
    weights, logs = np.split(draw.normal(size=sum(size for _, size in layout.groups()) + 3), [-3])

    def offset(given: np.ndarray) -> np.ndarray:
        return layout.population(np.concatenate((given, logs))).offset(seen)

    features = np.array([offset(one) for one in np.eye(len(weights))])  # offsets are linear in the weights
    found = layout.updated_variances(seen, np.concatenate((weights, logs)))
    curvature = _CURVATURE / (1 + 0.5 * np.einsum("uii->ui", layout.population(np.concatenate((weights, logs))).covariance(seen)))
    information = ((seen.y != 0) * curvature * features**2).sum(axis=(1, 2))
    for name, place in layout.places().items():
        variance = found[place]
        expected = 0.01 if name in MATRICES else np.mean(weights[place] ** 2 + 1 / (information[place] + 1 / variance))
        assert variance == pytest.approx(np.full(len(variance), expected), rel=1e-3), name


def model() -> PreferenceModel:
    """Return a model of three candidates in the plane, without a common taste."""
    traits = {"a": np.array([1.0, 0.0]), "b": np.array([-1.0, 0.0]), "c": np.array([0.0, 1.0])}
    return PreferenceModel(
        Reduction(np.zeros((3, 2)), np.ones(3), np.eye(2)), list(traits), attrs.evolve(Population.empty(2, 3), kernel=np.array([1.0, 0.1])), traits
    )


def judgement(better: str, worse: str | None, turn: str, sign: float = 1.0) -> UserJudgement:
    return UserJudgement(turn, turn, None, better, worse, sign, None)


def test_without_ratings_every_model_has_the_common_utility() -> None:
    own = model()
    assert own.utility(own.user_vector(UserHistory()), np.zeros(2), own.features(["a", "b", "c"])).tolist() == [0.0, 0.0, 0.0]


def test_the_influence_of_past_turns_adds_up_to_the_difference_of_utilities() -> None:
    own = model()
    user = own.user_vector(UserHistory((judgement("a", "b", "t1"), judgement("c", None, "t2"), judgement("b", None, "t3", -1.0))))
    features = own.features(["a", "b", "c"])
    utility = own.utility(user, np.zeros(2), features)
    assert sum(own.influence(user, features, 0, 1).values()) == pytest.approx(utility[0] - utility[1])
    assert utility[0] > utility[1]
    for sign in (1.0, -1.0):
        assert own.margin(user, judgement("a", "b", "later", sign)) == pytest.approx(sign * (utility[0] - utility[1]))
        assert own.margin(user, judgement("a", None, "later", sign)) == pytest.approx(sign * (utility[0] + user.rating))


def test_the_ratings_of_a_lenient_user_say_little_about_models() -> None:
    draw, own = np.random.default_rng(0), model()
    users = []
    for _ in range(60):  # they differ in leniency alone
        signs, names = np.where(draw.normal(draw.normal(0.0, 2.0), 1.0, 12) > 0, 1.0, -1.0), draw.choice(["a", "b", "c"], 12)
        users.append(UserHistory(tuple(judgement(name, None, f"t{n}", sign) for n, (name, sign) in enumerate(zip(names, signs, strict=True)))))
    own.fit(users)
    user = own.user_vector(UserHistory(tuple(judgement("a", None, f"t{n}") for n in range(6))))
    utility = own.utility(user, np.zeros(2), own.features(["a", "b", "c"]))
    assert np.ptp(utility) < 0.5
    assert own.margin(user, judgement("b", None, "later")) > 1.0  # the next answer is rated good, whatever the model
    assert own.population.leniency[0] == pytest.approx(4.0, rel=0.5)


def test_comparisons_say_nothing_about_leniency() -> None:
    own, pairs = model(), [("a", "b"), ("b", "c"), ("a", "c")]
    own.fit([UserHistory(tuple(judgement(*pair, f"t{n}") for n, pair in enumerate(pairs))) for _ in range(4)])
    assert own.population.leniency.tolist() == [0.0]


def test_a_new_model_is_judged_by_its_description() -> None:
    own = model()
    own.traits["new"] = np.array([0.9, 0.1])
    utility = own.utility(own.user_vector(UserHistory((judgement("a", "b", "t1"),))), np.zeros(2), own.features(["new", "b"]))
    assert utility[0] > utility[1]


def test_texts_in_any_language_have_hashed_embeddings() -> None:
    found = hashed_words(["Sort a list", "リストを並べ替える", "", "sort a LIST"])
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 0, 1])
    assert (found[0] == found[3]).all()


def test_wide_embeddings_are_reduced_and_missing_ones_are_zero() -> None:
    draw = np.random.default_rng(0)
    reduction = Reduction.fitted({"description": draw.normal(size=(5, 100)), "query": draw.normal(size=(50, 100))}, 8)
    assert reduction("query", draw.normal(size=(3, 100))).shape == (3, 8)
    assert not reduction("context", np.full((1, 100), np.nan)).any()
    assert model().query(None).tolist() == [0.0, 0.0]


def test_threads_may_drop_the_oldest_contexts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_gmtrouter.taste.model.MAX_CONTEXTS", 3000)
    known, interval = model(), sys.getswitchinterval()

    def learn(names: Sequence[str]) -> None:
        known.learn_contexts(names, lambda texts: np.ones((len(texts), 2)))

    learn([f"context {n}" for n in range(3000)])
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda thread: [learn([f"context {thread} {n}"]) for n in range(250)], range(8)))
    finally:
        sys.setswitchinterval(interval)
