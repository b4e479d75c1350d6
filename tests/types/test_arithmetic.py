from __future__ import annotations

import math

import numpy as np
import pytest

from aamc_sdk.types import last_number, sigmoid, wilson_interval


def test_the_sigmoid_undoes_the_logit_and_never_overflows() -> None:
    chance = np.array([0.001, 0.3, 0.5, 0.99])
    assert sigmoid(np.log(chance / (1 - chance))) == pytest.approx(chance)
    assert sigmoid(np.array([-1e9, 1e9, -np.inf, np.inf])).tolist() == [0, 1, 0, 1]


def test_wilsons_interval_agrees_with_published_figures() -> None:
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert all(math.isnan(bound) for bound in wilson_interval(math.nan, 0))


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("6 x 7 = 42.", 42.0),
        ("at -3 degrees", -3.0),
        ("\u22123", -3.0),
        ("1,234.5 USD", 1234.5),
        ("1,000,000", 1e6),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("12-15", 15.0),
        (r"\boxed{7} by 2 steps", 7.0),
        (r"\boxed{\frac{1}{2}} holds, see step 7", 0.5),
        (r"\boxed{\text{about } 12 \text{ m}^{2}} or \boxed{x = \text{12}}", 12.0),
        (r"it is -\dfrac{3}{4}", -0.75),
        (r"$2\frac{1}{2}$ hours", 2.5),
        (r"$1 \frac{1}{2}$", 1.5),
        (r"\boxed{\frac{-1}{2}}", -0.5),
        (r"\boxed{\frac12}", 0.5),
        (r"\cfrac { 1.5 } { 2 }", 0.75),
        (r"\frac{1,000}{4}", 250.0),
        ("it is 3/4", 0.75),
        ("on 3/4/2024", 2024.0),
        (r"\boxed{1{,}000} or 1\,000", 1000.0),
        (r"\frac{1}{0}", None),
        ("1e999", None),
        (r"\boxed{\frac{a}{b}}", None),
        (r"\boxed{", None),
        ("none", None),
    ],
)
def test_the_last_number_of_an_answer_counts(answer: str, number: float | None) -> None:
    assert last_number(answer) == number
