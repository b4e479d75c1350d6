"""The number in an answer."""

import pytest

from aamc_sdk.types import last_number


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
        ("none", None),
    ],
)
def test_the_last_number_counts(answer, number):
    assert last_number(answer) == number
