"""What every component gets from its base class."""

import pytest
from tiny import TinyRouter

from aamc_sdk.errors import ConfigError


def test_a_part_that_announces_no_export_refuses_one_by_name(tmp_path):
    with pytest.raises(ConfigError, match="TinyRouter cannot be exported as 'onnx'; its forms: none"):
        TinyRouter(None, None).export(tmp_path, "onnx")
    assert not list(tmp_path.iterdir())
