import attrs
import numpy as np
import pytest
from aamc_lexical.quality.blend import Blend
from aamc_lexical.quality.experts import ClusterExpert
from aamc_lexical.quality.shrinkage import FAMILIAR, MIN_SLOPE, STANDARD_ERRORS, DistanceShrinkage, HeldOutPredictions, level_and_contrast
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

NAN = np.nan
SOMEWHAT = DistanceShrinkage(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.8], [0.5, 0.4], [MIN_SLOPE, MIN_SLOPE]]))


def evidence(rows: int, holds: float, noise: float, seed: int = 0, distance: float = 1.0, observed: float = 1.0) -> HeldOutPredictions:
    """Return predictions of which a share holds, and noisy outcomes."""
    generator = np.random.default_rng(seed)
    means = np.tile([0.4, 0.5, 0.6], (rows, 1))
    deviation = 0.1 * generator.normal(size=(rows, 3))
    quality = means + holds * deviation + noise * generator.normal(size=(rows, 3))
    quality[generator.random((rows, 3)) >= observed] = NAN
    return HeldOutPredictions(means + deviation, means, quality, distance * generator.uniform(0.5, 1.5, size=(rows, 1)))


def test_level_and_contrast_are_those_computed_by_hand():
    level, contrast = level_and_contrast(np.array([[1.0, 3.0], [2.0, 2.0]]))
    assert level.tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert contrast.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_what_holds_is_trusted_wholly():
    assert evidence(500, holds=1.0, noise=0.0).certain_slopes() == pytest.approx([1.0, 1.0])
    assert evidence(500, holds=1.3, noise=0.05).certain_slopes() == pytest.approx([1.0, 1.0])


def test_what_is_but_luck_is_hardly_trusted():
    slopes = np.array([evidence(200, holds=0.0, noise=0.4, seed=seed).certain_slopes() for seed in range(40)])
    assert (slopes == MIN_SLOPE).mean() > 0.9  # each is above the interval's lower end in 1 of 40


def test_the_same_share_is_trusted_more_when_more_was_seen():
    few, many = (evidence(rows, holds=0.7, noise=0.3).certain_slopes() for rows in (100, 10_000))
    assert (few < many).all()
    assert many == pytest.approx([0.7, 0.7], abs=0.15)


def test_the_errors_are_those_of_the_textbook_where_outcomes_are_independent():
    rows, noise = 4000, 0.3
    found = evidence(rows, holds=0.6, noise=noise)
    level, contrast = level_and_contrast(found.prediction - found.means)
    slopes = [float((part * (found.quality - found.means)).sum() / (part**2).sum()) for part in (level, contrast)]
    errors = [noise / np.sqrt((part**2).sum()) for part in (level, contrast)]
    expected = [slope - STANDARD_ERRORS * error for slope, error in zip(slopes, errors, strict=True)]
    assert found.certain_slopes() == pytest.approx(expected, abs=0.01)


def test_one_observed_candidate_a_question_is_enough():
    assert evidence(20_000, holds=0.8, noise=0.1, observed=1 / 3).certain_slopes() == pytest.approx([0.8, 0.8], abs=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (5, 1)])
def test_no_deviation_at_all_is_no_error(shape: tuple[int, int]):
    half = np.full(shape, 0.5)
    assert HeldOutPredictions(half, half, half, np.zeros((shape[0], 1))).certain_slopes().tolist() == [MIN_SLOPE, MIN_SLOPE]


def test_trust_falls_from_near_to_far_and_ends_as_far_again():
    near, far = evidence(2000, holds=1.0, noise=0.1, distance=1.0), evidence(2000, holds=0.5, noise=0.1, distance=3.0)
    shrinkage = DistanceShrinkage.fit(near, far)
    assert shrinkage.slopes[0] == pytest.approx([1.0, 1.0], abs=0.1)
    assert shrinkage.slopes[1] == pytest.approx([0.5, 0.5], abs=0.1)
    assert shrinkage.slopes[2].tolist() == [MIN_SLOPE, MIN_SLOPE]
    assert shrinkage.distances[0] == pytest.approx([1.4, 3.0, 4.6], rel=0.05)


def test_groups_that_fare_better_by_luck_are_not_trusted_more():
    shrinkage = DistanceShrinkage.fit(evidence(500, holds=0.3, noise=0.1), evidence(500, holds=1.0, noise=0.1, distance=3.0))
    assert (shrinkage.slopes[1] <= shrinkage.slopes[0]).all()


def test_trust_of_familiar_questions_falls_to_zero_between_two_quantiles_of_either_distance():
    near = evidence(2000, holds=1.0, noise=0.1)
    near = attrs.evolve(near, distance=np.column_stack((near.distance, 10 * near.distance[::-1])))
    shrinkage = DistanceShrinkage.of_familiar(near, list(FAMILIAR))
    for ends, distance, quantiles in zip(shrinkage.distances, near.distance.T, FAMILIAR.values(), strict=True):
        assert ends == pytest.approx(np.quantile(distance, quantiles))
    assert shrinkage.slopes == pytest.approx(np.array([[1.0, 1.0], [0.0, 0.0]]), abs=0.1)
    familiar, *strange = shrinkage(np.array([[0.9, 0.1]] * 3), np.full((3, 2), 0.5), np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 90.0]]))
    assert familiar == pytest.approx([0.9, 0.1], abs=0.05)
    assert np.array(strange).tolist() == [[0.5, 0.5]] * 2


def test_a_distance_that_all_questions_share_leaves_trust_as_it_is():
    shrinkage = DistanceShrinkage.of_familiar(attrs.evolve(evidence(2000, holds=1.0, noise=0.1), distance=np.zeros((2000, 1))), ["neighbours"])
    assert shrinkage(np.array([[0.9, 0.1]]), np.full((1, 2), 0.5), np.zeros((1, 1)))[0] == pytest.approx([0.9, 0.1], abs=0.05)


def test_without_distances_all_questions_are_near():
    near = evidence(500, holds=0.8, noise=0.1)
    shrunken = DistanceShrinkage.fit(near, None)(near.prediction, near.means, np.zeros((500, 1)))
    slopes = near.certain_slopes()
    level, contrast = level_and_contrast(near.prediction - near.means)
    assert shrunken == pytest.approx(near.means + slopes[0] * level + slopes[1] * contrast)


@given(arrays(float, (4, 3), elements=st.floats(0, 1)), arrays(float, 3, elements=st.floats(0, 1)))
def test_what_is_trusted_wholly_stays_as_it_is(prediction: np.ndarray, means: np.ndarray):
    whole = DistanceShrinkage(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 1.0], [0.5, 0.5], [MIN_SLOPE, MIN_SLOPE]]))
    assert whole(prediction, np.tile(means, (4, 1)), np.zeros((4, 1))) == pytest.approx(prediction)


@given(arrays(float, (1, 3), elements=st.floats(0, 1)), arrays(float, 3, elements=st.floats(0, 1)), st.floats(0, 5), st.floats(0, 5))
def test_the_farther_a_question_the_nearer_to_the_means(prediction: np.ndarray, means: np.ndarray, here: float, beyond: float):
    gaps = [np.abs(level_and_contrast(SOMEWHAT(prediction, means[None], np.array([[at]])) - means)) for at in sorted((here, here + beyond))]
    assert (gaps[1] <= gaps[0] + 1e-9).all()


@given(arrays(float, (2, 2), elements=st.floats(0.3, 0.7)), arrays(float, 2, elements=st.floats(0.3, 0.7)), st.floats(0, 10))
def test_questions_as_far_keep_their_order_by_the_gap_between_two_candidates(prediction: np.ndarray, means: np.ndarray, distance: float):
    shrunken = SOMEWHAT(prediction, np.tile(means, (2, 1)), np.full((2, 1), distance))
    before, after = (np.diff(values[:, 1] - values[:, 0]).item() for values in (prediction, shrunken))
    assert before * after >= -1e-9


def test_a_blend_says_the_means_far_from_its_clusters():
    centres, wild = np.zeros((1, 2)), np.array([[0.9, 0.1]])
    blend = Blend({"clusters": ClusterExpert(centres, wild)}, np.array([[1.0, 0.0]] * 2), np.array([0.5, 0.5]), SOMEWHAT)
    near, far = blend(np.array([[0.5, 0.0], [100.0, 0.0]]))
    assert near == pytest.approx([0.5 + 0.8 * 0.4, 0.5 - 0.8 * 0.4])
    assert far == pytest.approx([0.5 + MIN_SLOPE * 0.4, 0.5 - MIN_SLOPE * 0.4])


def test_questions_that_are_as_alike_as_those_of_training_are_familiar_whatever_rounding_adds():
    alike = np.random.default_rng(0).uniform(0.0, 1e-7, (2000, 1))
    near = attrs.evolve(evidence(2000, holds=1.0, noise=0.1), distance=alike)
    shrinkage = DistanceShrinkage.of_familiar(near, ["neighbours"])
    prediction, means = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
    assert np.allclose(shrinkage(prediction, means, np.array([[3e-7]])), shrinkage(prediction, means, np.zeros((1, 1))))
    assert np.allclose(means, shrinkage(prediction, means, np.array([[0.2]])))


def test_copies_of_a_question_are_no_further_evidence():
    once = evidence(100, holds=0.5, noise=0.5)
    thrice = HeldOutPredictions(
        *(np.repeat(part, 3, axis=0) for part in (once.prediction, once.means, once.quality, once.distance)), np.repeat(np.arange(100), 3)
    )
    assert thrice.certain_slopes() == pytest.approx(once.certain_slopes())
    assert (attrs.evolve(thrice, group=np.arange(300)).certain_slopes() > once.certain_slopes()).all()
