import numpy as np
import pytest
from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.quality.experts import MAX_LANDMARKS, QUERIES_PER_BATCH, BroadExpert, CategoryExpert, KernelExpert, LocalExpert
from aamc_lexical.quality.smoothing import least_squares

NAN = np.nan
SURE = 20.0
"""A logit whose probability is one."""


def circle(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points on a circle and their angles."""
    angles = np.sort(np.random.default_rng(seed).uniform(0, 2 * np.pi, rows))
    return np.column_stack((np.cos(angles), np.sin(angles))), angles


def halves() -> CategoryExpert:
    """Return the means of two categories, divided by the sign of the first coordinate."""
    heads = HeadWeights({"category.weight": np.array([[SURE, 0.0], [-SURE, 0.0]], np.float32), "category.bias": np.zeros(2, np.float32)})
    return CategoryExpert(np.array([[0.9, 0.4], [0.2, 0.4]]), heads)


def test_the_weights_solve_the_normal_equations_for_each_candidates_known_rows():
    generator = np.random.default_rng(0)
    kernel, residual = generator.random((30, 5)), generator.normal(size=(30, 2))
    among = np.exp(-np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0))))
    residual[:10, 1] = NAN
    weights = least_squares(kernel, residual, 2.0 * among)
    for column, rows in ((0, slice(None)), (1, slice(10, None))):
        k, left = kernel[rows], residual[rows, column] - kernel[rows] @ weights[:, column]
        assert np.allclose(k.T @ left, 2.0 * among @ weights[:, column])


def test_with_all_rows_as_landmarks_it_is_the_mean_of_a_gaussian_process():
    points, _ = circle(40)
    quality = np.random.default_rng(1).random((40, 3))
    expert, queries = LocalExpert.fit(points, quality, None, seed=0), circle(7, seed=2)[0]
    squares = ((points[:, None] - points) ** 2).sum(axis=-1)
    kernel = np.exp(-squares / expert.width)
    weights = np.linalg.solve(kernel + LocalExpert.noise * np.eye(40), quality - quality.mean(axis=0))
    expected = quality.mean(axis=0) + np.exp(-((queries[:, None] - points) ** 2).sum(axis=-1) / expert.width) @ weights
    assert expert.width == pytest.approx(LocalExpert.scale * np.median(squares))
    assert expert(3 * queries) == pytest.approx(expected, abs=1e-3)


def test_it_learns_what_the_categories_leave_unexplained():
    points, angles = circle(2000)
    base, queries = halves(), circle(50, seed=3)[0]
    quality = base(points) + 0.1 * np.sign(np.sin(angles))[:, None] * (1.0, -1.0)
    expert = BroadExpert.fit(points, quality, base, seed=0)
    inside = np.abs(queries).min(axis=1) > 0.2  # away from where categories or residuals change
    expected = base(queries) + 0.1 * np.sign(queries[:, 1])[:, None] * (1.0, -1.0)
    assert np.abs(expert(queries) - expected)[inside].max() < 0.06


def test_unlike_the_training_rows_it_is_the_base():
    points, _ = circle(200)
    near = np.column_stack((np.full(200, 10.0), points))  # all in one direction
    far = np.array([[-1.0, 0.0, 0.0]])
    quality = np.random.default_rng(0).random((200, 2))
    assert LocalExpert.fit(near, quality, None, seed=0)(far) == pytest.approx(quality.mean(axis=0)[None], abs=1e-4)


@pytest.mark.parametrize("kind", [BroadExpert, LocalExpert])
def test_few_landmarks_stand_for_many_rows(kind: type[KernelExpert]):
    points, angles = circle(3 * MAX_LANDMARKS)
    quality = np.column_stack((np.sin(angles), np.cos(angles))) / 4 + 0.5
    expert = kind.fit(points, quality, None, seed=0)
    assert len(expert.landmarks) == MAX_LANDMARKS
    assert expert(points) == pytest.approx(quality, abs=0.02)


def test_texts_that_are_all_alike_have_their_mean():
    quality = np.array([[1.0, NAN], [0.0, 1.0]] * 20)
    expert = LocalExpert.fit(np.ones((40, 3)), quality, None, seed=0)
    assert expert(np.ones((1, 3))) == pytest.approx(np.array([[0.5, 1.0]]), abs=1e-3)


def test_many_queries_are_answered_as_each_alone():
    points, _ = circle(2 * QUERIES_PER_BATCH + 7)
    expert = LocalExpert.fit(points, np.random.default_rng(0).random((len(points), 2)), None, seed=0)
    assert expert(points) == pytest.approx(np.concatenate([expert(points[row : row + 1]) for row in range(len(points))]), abs=1e-5)
    assert expert(points[:0]).shape == (0, 2)
