import numpy as np
import pytest
from aamc_lexical.heads.head_metrics import scores
from aamc_lexical.heads.targets import Targets
from aamc_lexical.quality.blend import Blend, blend_weights, blended, blended_by_others
from aamc_lexical.quality.candidate_similarity import CandidateSimilarity, own_shares
from aamc_lexical.quality.cross_validation import Questions, fold_of
from aamc_lexical.quality.experts import (
    PSEUDO_COUNT,
    QUERIES_PER_BATCH,
    ClusterExpert,
    NeighbourExpert,
    candidate_means,
    group_means,
)
from aamc_lexical.quality.shrinkage import DistanceShrinkage

from aamc_sdk import Dataset, Estimates, Query

NAN = np.nan


def test_means_leave_missing_cells_out():
    assert candidate_means(np.array([[1.0, NAN, NAN], [0.0, 0.4, NAN]])).tolist() == [0.5, 0.4, 0.5]


def test_a_group_shrinks_towards_the_mean_by_pseudo_counts():
    quality = np.array([[1.0], [1.0], [0.0], [0.0]])
    means = group_means(np.array([[1.0, 1.0, 0.0, 0.0]]), quality)
    assert means.item() == pytest.approx((2 + PSEUDO_COUNT * 0.5) / (2 + PSEUDO_COUNT))


def test_neighbours_average_the_nearest_by_angle():
    angles = np.linspace(0, np.pi / 2, 10)
    rows = np.column_stack((np.cos(angles), np.sin(angles)))
    quality = (np.arange(10) < 2).astype(float)[:, None]
    expert = NeighbourExpert.fit(rows, quality, k=100)
    assert int(expert.k) == 2
    assert expert(np.array([[3.0, 0.0]])).item() == pytest.approx((2 + PSEUDO_COUNT * 0.2) / (2 + PSEUDO_COUNT))


def test_all_rows_as_near_as_the_last_neighbour_count_whatever_their_order():
    rows = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 7)
    quality = np.array([[1.0, NAN], [0.0, 0.5], [1.0, 0.2]] + [[0.0, 0.0]] * 7)
    query = np.array([[2.0, 0.0]])
    means = candidate_means(quality)
    expected = (np.array([2.0, 0.7]) + PSEUDO_COUNT * means) / (np.array([3, 2]) + PSEUDO_COUNT)  # two are asked for, three are alike
    for order in (np.arange(10), np.arange(10)[::-1]):
        expert = NeighbourExpert.fit(rows[order], quality[order], k=2)
        assert expert(query)[0] == pytest.approx(expected, rel=1e-6)


def test_many_queries_are_answered_as_each_alone():
    generator = np.random.default_rng(0)
    expert = NeighbourExpert.fit(generator.normal(size=(200, 4)), generator.random((200, 2)), k=20)
    queries = generator.normal(size=(2 * QUERIES_PER_BATCH + 7, 4))
    assert expert(queries) == pytest.approx(np.concatenate([expert(queries[row : row + 1]) for row in range(len(queries))]))
    assert expert(queries[:0]).shape == (0, 2)


def test_clusters_find_well_separated_groups():
    features = np.repeat(np.array([[10.0, 0.0], [0.0, 10.0]]), 30, axis=0) + np.random.default_rng(0).normal(size=(60, 2))
    quality = np.repeat([[1.0], [0.0]], 30, axis=0)
    near, far = ClusterExpert.fit(features, quality, 2, seed=0)(np.array([[10.0, 0.0], [0.0, 10.0]]))[:, 0]
    assert near == pytest.approx((30 + PSEUDO_COUNT / 2) / (30 + PSEUDO_COUNT))
    assert far == pytest.approx((PSEUDO_COUNT / 2) / (30 + PSEUDO_COUNT))


def test_stacking_finds_the_mixture_that_made_the_outcomes():
    generator = np.random.default_rng(0)
    first, second, useless = generator.random((3, 200, 2))
    quality = 0.7 * first + 0.3 * second
    quality[::3, 1] = NAN
    weights = blend_weights(np.stack((first, second, useless)), quality)
    assert weights == pytest.approx(np.array([[0.7, 0.3, 0.0]] * 2), abs=1e-4)


def test_levels_and_contrasts_have_weights_of_their_own():
    generator = np.random.default_rng(0)
    hard, apart = 0.3 + 0.2 * generator.random((200, 1)), 0.2 * generator.random((200, 3))
    one, other = hard + 0.2 * generator.random((200, 3)), 0.5 * generator.random((200, 1)) + apart
    quality = blended(np.stack((one, other)), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert quality == pytest.approx(one.mean(axis=1, keepdims=True) + other - other.mean(axis=1, keepdims=True))
    assert blend_weights(np.stack((one, other)), quality) == pytest.approx(np.array([[1.0, 0.0], [0.0, 1.0]]), abs=1e-4)


def test_no_row_has_a_say_in_the_weights_that_blend_it():
    generator = np.random.default_rng(0)
    predictions, quality, fold = generator.random((3, 60, 2)), generator.random((60, 2)), np.arange(60) % 3
    before = blended_by_others(predictions, quality, fold)
    changed = np.where((fold == 0)[:, None], 1 - quality, quality)
    after = blended_by_others(predictions, changed, fold)
    assert np.array_equal(after[fold == 0], before[fold == 0])
    assert not np.allclose(after[fold == 1], before[fold == 1])


def test_stacking_takes_the_mean_where_an_expert_only_adds_noise():
    generator = np.random.default_rng(1)
    quality = generator.integers(2, size=(400, 2)).astype(float)
    noise, mean = generator.random((400, 2)), np.full((400, 2), 0.5)
    assert blend_weights(np.stack((noise, mean)), quality)[:, 1].min() > 0.9


def test_a_blend_stays_within_bounds():
    shrinkage = DistanceShrinkage(np.arange(3.0)[None], np.ones((3, 2)))
    blend = Blend({"wild": lambda embedding: np.full((len(embedding), 1), 5.0)}, np.array([[1.0, 0.0]] * 2), np.array([0.5]), shrinkage)
    assert blend(np.zeros((2, 3))).tolist() == [[1.0], [1.0]]


def test_folds_are_even_and_keep_equal_texts_together():
    fold = fold_of(Questions(np.tile(np.arange(20), 2)), 5, seed=0)
    assert np.array_equal(fold[:20], fold[20:])
    assert np.bincount(fold).tolist() == [8] * 5


def test_near_duplicates_share_a_fold_and_no_other_row_changes_its_own():
    alone, group = np.arange(100), np.arange(100)
    group[50:60] = group[:10]
    questions = Questions(alone, group)
    before, fold = fold_of(Questions(alone), 5, seed=0), fold_of(questions, 5, seed=0)
    assert fold[50:60].tolist() == fold[:10].tolist() == before[:10].tolist()
    assert np.array_equal(np.delete(fold, np.s_[50:60]), np.delete(before, np.s_[50:60]))
    part = fold_of(questions.take(np.arange(5, 60)), 5, seed=0)
    assert part[45:50].tolist() != part[:5].tolist()
    assert part[50:].tolist() == part[:5].tolist()


def test_a_dataset_says_which_questions_are_near_duplicates_else_spellings_of_one_are():
    queries = [Query(text) for text in ("One", "two", "one ", "One!")]
    assert Questions.of(Dataset(queries)).group.tolist() == Questions.of(Dataset(queries)).number.tolist() == [0, 1, 0, 2]
    dataset = Dataset(queries, question_groups=np.array([3, 7, 3, 3])).take(np.array([3, 1, 0]))
    found = Questions.of(dataset)
    assert (found.number.tolist(), found.group.tolist()) == ([0, 1, 2], [3, 7, 3])


def test_a_twin_counts_more_than_a_stranger():
    descriptions, prices = np.eye(3), np.log(np.array([[1.0, 1.0], [2.0, 2.0], [50.0, 50.0]]))
    weights = CandidateSimilarity(descriptions, prices, np.ones(3), bandwidth=0.5).weights(descriptions[:1], prices[:1])
    assert weights.sum() == pytest.approx(1)
    assert weights[0].argmax() == 0
    assert weights[0, 0] > 0.7


def test_where_nothing_is_known_of_a_candidate_all_known_ones_count_alike():
    nothing = np.full((1, 3), NAN)
    weights = CandidateSimilarity(np.eye(3), np.zeros((3, 2)), np.ones(3), bandwidth=0.5).weights(nothing, nothing[:, :2])
    assert weights[0] == pytest.approx([1 / 3] * 3)


def test_leaving_one_out_prefers_near_where_like_candidates_do_alike():
    descriptions = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    quality = np.tile([0.9, 0.9, 0.1, 0.1], (50, 1))
    assert CandidateSimilarity.fit(descriptions, np.zeros((4, 2)), quality, quality).bandwidth == 0.25


def test_own_outcomes_count_by_the_empirical_bayes_rule():
    rng = np.random.default_rng(0)
    counts, noise, spread = np.array([5, 50, 500] * 200), 0.2, 0.02
    errors = np.full((500, len(counts)), NAN)
    for column, count in enumerate(counts):
        errors[:count, column] = rng.normal(rng.normal(0, spread**0.5), noise**0.5, count)
    assert own_shares(errors, noise) == pytest.approx(counts / (counts + noise / spread), abs=0.03)


def test_candidates_without_noise_or_without_outcomes():
    assert own_shares(np.array([[0.3, NAN], [0.1, NAN]]), 0.0).tolist() == pytest.approx([1.0, 0.0])


def test_a_newcomer_with_few_outcomes_is_expected_nearer_to_its_twin_than_they_say():
    rng = np.random.default_rng(1)
    descriptions = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0]])
    truth = np.tile([0.8, 0.8, 0.3, 0.3], (400, 1))
    quality = (rng.random(truth.shape) < truth).astype(float)
    quality[4:, 1] = NAN
    quality[:4, 1] = [0, 0, 1, 0]
    predictions = np.where(np.arange(4) == 1, 0.25, truth)
    expected = predictions[:1] @ CandidateSimilarity.fit(descriptions, np.zeros((4, 2)), predictions, quality).known_weights.T
    assert 0.25 < expected[0, 1] < 0.8
    assert expected[0, [0, 2, 3]] == pytest.approx([0.8, 0.3, 0.3], abs=0.03)


def test_scores_are_those_computed_by_hand():
    estimates = Estimates(np.array([0.5, 0.1]), np.array([[0.9, 0.1], [0.8, 0.2]]), ("a", "b"), np.array([0.9, 0.6]))
    targets = Targets(np.array([0.7, NAN]), np.array([0, 1]), np.array([1.0, 0.0]), np.array([[1.0], [NAN]]), ("a", "b"), ("m",))
    assert scores(estimates, np.array([[0.6], [0.0]]), targets) == pytest.approx(
        {
            "complexity_mae": 0.2,
            "complexity_rmse": 0.2,
            "category_accuracy": 0.5,
            "category_f1": 1 / 3,
            "tool_use_accuracy": 0.5,
            "tool_use_auc": 1.0,
            "quality_brier": 0.16,
        }
    )
