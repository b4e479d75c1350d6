from __future__ import annotations

import math

import numpy as np
import pytest

from aamc_sdk.types import sigmoid, wilson_interval


def test_the_sigmoid_undoes_the_logit_and_never_overflows() -> None:
    chance = np.array([0.001, 0.3, 0.5, 0.99])
    assert sigmoid(np.log(chance / (1 - chance))) == pytest.approx(chance)
    assert sigmoid(np.array([-1e9, 1e9, -np.inf, np.inf])).tolist() == [0, 1, 0, 1]


def test_wilsons_interval_agrees_with_published_figures() -> None:
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert all(math.isnan(bound) for bound in wilson_interval(math.nan, 0))
