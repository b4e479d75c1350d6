"""What every component gets from its base class."""

import pytest
from tiny import TinyRouter

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Budget


def test_a_part_that_announces_no_export_refuses_one_by_name(tmp_path):
    with pytest.raises(ConfigError, match="TinyRouter cannot be exported as 'onnx'; its forms: none"):
        TinyRouter(None, None).export(tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [{"steps": -1}, {"cost_usd": float("nan")}, {"seconds": -0.5}, {"cost_usd": None}])
def test_a_budget_that_limits_nothing_is_refused(limit):
    with pytest.raises(ConfigError, match=f"{next(iter(limit))} of a budget must be at least 0"):
        Budget(**limit)
