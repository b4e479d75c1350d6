"""The README's Python code runs as it stands."""

import re
from pathlib import Path

import aamc_experiments
import pytest

pytestmark = pytest.mark.one_python

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs_and_its_second_evaluation_gives_the_same_metrics(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(README), "exec"), names)
    assert names["again"] == names["metrics"]


def test_every_exported_name_is_importable_and_an_unknown_one_is_an_attribute_error():
    assert all(getattr(aamc_experiments, name) is not None for name in aamc_experiments.__all__)
    assert set(aamc_experiments.__all__) <= set(dir(aamc_experiments))
    with pytest.raises(AttributeError, match="no attribute 'Experimnt'"):
        _ = aamc_experiments.Experimnt
