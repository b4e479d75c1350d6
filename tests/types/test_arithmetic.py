from __future__ import annotations

import numpy as np
import pytest

from aamc_sdk.types import sigmoid


def test_the_sigmoid_undoes_the_logit_and_never_overflows() -> None:
    chance = np.array([0.001, 0.3, 0.5, 0.99])
    assert sigmoid(np.log(chance / (1 - chance))) == pytest.approx(chance)
    assert sigmoid(np.array([-1e9, 1e9, -np.inf, np.inf])).tolist() == [0, 1, 0, 1]
