"""Learning on points of a plane: eight groups of like questions, each of which another candidate answers best."""

import numpy as np
import pytest
from aamc_lexical.config import LearningConfig
from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.trained_estimator import TrainedEstimator
from aamc_lexical.training.cross_fitting import FittedParts, TrainingResult, smoothing_experts, with_quality
from aamc_lexical.training.training_rows import Rows, TrainingRows

from aamc_sdk import Candidate, Dataset, Outcomes, Pool, Query
from aamc_sdk.interfaces import Training

ANGLES = np.arange(8) * np.pi / 4
CENTRES = 10 * np.column_stack((np.cos(ANGLES), np.sin(ANGLES)))
BEST = np.array([0, 1, 2, 1, 0, 2, 1, 2])
"""Which of three candidates answers a group's questions nearly always; the others do one time in four."""


def learn(rows: int, signal: bool = True) -> tuple[TrainingResult, np.ndarray, np.ndarray]:
    """Return what was learned, the points and the groups' numbers."""
    generator = np.random.default_rng(0)
    group = generator.integers(8, size=rows)
    points = CENTRES[group] + generator.normal(size=(rows, 2))
    chances = np.where(np.equal.outer(BEST[group], np.arange(3)), 0.95, 0.25) if signal else np.full((rows, 3), 0.5)
    quality = (generator.random((rows, 3)) < chances).astype(float)
    pool = Pool(Candidate(name) for name in "abc")
    dataset = Dataset([Query(str(row)) for row in range(rows)], pool=pool, outcomes=Outcomes(quality, np.ones_like(quality), np.ones_like(quality)))
    config = LearningConfig()
    data = TrainingRows.of(config, Training(dataset=dataset), seed=0)

    def fit(some: Rows, name: str) -> FittedParts:
        experts = smoothing_experts(config, points[some], data.targets.take(some), HeadWeights({}), 0)
        return FittedParts(heads=HeadWeights({}), experts=experts, embed=lambda wanted: points[wanted])

    everything = fit(data.rows, "all")
    bare = TrainedEstimator(encoder="plane", heads=everything.heads)
    result = with_quality(bare, everything, data, config.folds, fit, lambda candidates: np.full((len(candidates), 1), np.nan))
    return result, points, group


@pytest.fixture(scope="module")
def learned() -> tuple[TrainingResult, np.ndarray, np.ndarray]:
    return learn(800)


def test_near_the_best_candidate_of_each_group_is_found(learned):
    result, points, group = learned
    assert (result.learned.blend(points).argmax(axis=1) == BEST[group]).mean() > 0.95


def test_out_of_fold_quality_finds_it_too(learned):
    result, _, group = learned
    assert (result.out_of_fold.argmax(axis=1) == BEST[group]).mean() > 0.95


def test_far_from_all_groups_the_candidates_means_are_expected(learned):
    blend = learned[0].learned.blend
    assert blend(100 * CENTRES) == pytest.approx(np.tile(blend.means, (8, 1)), abs=0.05)


def test_groups_that_teach_nothing_about_each_other_are_not_trusted_far_away(learned):
    near, far, _ = learned[0].learned.blend.shrinkage.slopes
    assert near[1] > 0.9
    assert far[1] < 0.3


def test_where_there_is_nothing_to_learn_little_but_the_means_is_expected():
    result, points, _ = learn(200, signal=False)
    blend = result.learned.blend
    assert np.abs(blend(points) - blend.means).max() < 0.02


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("other", "groups"), [(" sort\tLIST  {}", None), ("Sort list {}, please", np.arange(60) // 2)])
def test_two_spellings_or_near_duplicates_of_a_question_are_never_on_both_sides_of_a_fold(seed, other, groups):
    texts = [spelling.format(number) for number in range(30) for spelling in ("Sort list {}", other)]
    generator = np.random.default_rng(seed)
    points, quality = generator.normal(size=(60, 2)), generator.integers(2, size=(60, 3)).astype(float)
    outcomes = Outcomes(quality, np.ones_like(quality), np.ones_like(quality))
    dataset = Dataset([Query(text) for text in texts], Pool(map(Candidate, "abc")), outcomes, question_groups=groups)
    config, fitted = LearningConfig(folds=2), []
    data = TrainingRows.of(config, Training(dataset=dataset), seed=seed)

    def fit(some: Rows, name: str) -> FittedParts:
        fitted.append(some)
        experts = smoothing_experts(config, points[some], data.targets.take(some), HeadWeights({}), 0)
        return FittedParts(heads=HeadWeights({}), experts=experts, embed=lambda wanted: points[wanted])

    everything = fit(data.rows, "all")
    with_quality(
        TrainedEstimator(encoder="", heads=everything.heads),
        everything,
        data,
        config.folds,
        fit,
        lambda pool: np.full((len(pool), 1), np.nan),
    )
    assert len(fitted) > 2
    for some in fitted:
        assert set(some // 2 * 2) | set(some // 2 * 2 + 1) == set(some)
