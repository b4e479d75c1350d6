import numpy as np
import pytest
import yaml

from aamc_sdk import Component, Pool, hookimpl
from aamc_sdk.errors import PluginError, PoolError, UnknownComponentError
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import default_pool, expected_cost, find_pool, pool_from_dict, pool_to_dict, read_pool
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Query


def test_the_default_pool_keeps_the_contract():
    assert_conforms("model_pool", "default", Plugins())


def test_the_default_pool_is_what_the_claim_names():
    pool = default_pool()
    assert len(pool) >= 6
    assert {"SLM-Medium", "LLM-XLarge"} <= set(pool.names)
    assert any("tools" in candidate.abilities for candidate in pool)
    cost = expected_cost([Query("hello")], pool)[0]
    assert pool.names[int(np.argmax(cost))] == "LLM-XLarge"


def test_a_pool_survives_being_written_and_read(tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump(pool_to_dict(default_pool())))
    assert read_pool(path) == default_pool()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "must have a list 'candidates'"),
        ({"model_list": [], "general_settings": {}}, "at least one named entry (it has: general_settings, model_list)"),
        ({"candidates": []}, "at least one named entry"),
        ({"candidates": {"name": "a"}}, "must have a list 'candidates'"),
        ({"candidates": ["a"]}, "candidate 1 must be a mapping with a 'name'"),
        ({"candidates": [{"name": "a"}, {"prices": {}}]}, "candidate 2 must be a mapping with a 'name'"),
        ({"candidates": [{"name": 5}]}, "candidate 1: name must be text, not 5; write it in quotes"),
        ({"candidates": [{"name": "a", "prices": 5}]}, "candidate 1 (a): prices must be keys and values such as {input: 1}, not 5"),
        ({"candidates": [{"name": "a", "latency": "x"}]}, "candidate 1 (a): latency must be keys and values such as {network_ms: 1}, not 'x'"),
        ({"candidates": [{"name": "a"}, {"name": "a"}]}, "twice in the pool: a"),
        ({"candidates": [{"name": ""}]}, "pool.yaml, candidate 1: a candidate's name must not be empty"),
        ({"candidates": [{"name": "a", "price": 1}]}, "no option 'price'; did you mean 'prices'?"),
        ({"candidates": [{"name": "a", "prices": {"input": -1, "output": 1}}]}, "price input must be USD from 0"),
        ({"candidates": [{"name": "a", "prices": {"input": "1", "output": 1}}]}, ", candidate 1 (a): prices.input must be a number"),
        ({"candidates": [{"name": "a", "prices": {"input": 1}}]}, ", candidate 1 (a): prices.output is missing"),
        ({"candidates": [{"name": "a", "prices": 3}]}, "pool.yaml, candidate 1 (a)"),
        ({"candidates": [{"name": "a", "latency": {"service": 1}}]}, "did you mean 'service_ms'?"),
        ({"candidates": [{"name": "a", "abilities": "code"}]}, "abilities must be a list"),
        ({"candidates": [{"name": "a", "context_window": 0}]}, "context window of 'a' must be a whole number of at least 1 token"),
    ],
)
def test_a_bad_pool_is_a_one_line_error_that_names_the_candidate(content, message):
    with pytest.raises(PoolError) as caught:
        pool_from_dict(content, "pool.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_pool_is_a_pool_error(tmp_path):
    for name, content in (("missing.yaml", None), ("broken.yaml", "candidates: ["), ("list.yaml", "[]")):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(PoolError, match=name):
            read_pool(tmp_path / name)


def broken_pool():
    return ["a", "b"]


class Offering:
    @hookimpl
    def aamc_model_pools(self):
        return [Component("broken", f"{__name__}:broken_pool", "")]


def test_a_pool_is_found_by_name_or_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("candidates: [{name: only}]")
    plugins = Plugins()
    assert find_pool("default", plugins) == default_pool()
    assert find_pool(str(path), plugins).names == ("only",)
    assert find_pool(pool_to_dict(default_pool()), plugins) == default_pool()
    with pytest.raises(PoolError, match="pool must have a list 'candidates'"):
        find_pool({"models": []}, plugins)
    assert isinstance(find_pool("default", plugins), Pool)
    with pytest.raises(UnknownComponentError, match="did you mean 'default'"):
        find_pool("defualt", plugins)
    with pytest.raises(UnknownComponentError, match=r"a file is given by its path, such as pool\.yaml"):
        find_pool("nope", plugins)
    with pytest.raises(PoolError, match="cannot read"):
        find_pool("missing.yaml", plugins)
    with pytest.raises(PoolError, match=r"is a folder; name a pool file in it, such as .*pool\.yaml"):
        find_pool(str(tmp_path), plugins)


def test_a_function_that_returns_no_pool_is_an_error(monkeypatch):
    plugins = Plugins({"offering": Offering()}, discover=False)
    monkeypatch.setattr(plugins, "load", lambda kind, name: broken_pool)
    with pytest.raises(PoolError, match=r"must return an aamc_sdk\.Pool, not \['a', 'b'\]"):
        find_pool("broken", plugins)


def test_a_function_that_fails_is_an_error_that_names_the_pool(monkeypatch):
    plugins = Plugins({"offering": Offering()}, discover=False)
    monkeypatch.setattr(plugins, "load", lambda kind, name: lambda: {}["models"])
    with pytest.raises(PluginError, match=r"^model pool 'broken' cannot be made: KeyError: 'models'$"):
        find_pool("broken", plugins)
    monkeypatch.setattr(plugins, "load", lambda kind, name: lambda: Pool([]))
    with pytest.raises(PoolError, match=r"^model pool 'broken' cannot be made: a pool must have at least one candidate"):
        find_pool("broken", plugins)
