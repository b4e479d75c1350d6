"""The servers of a vLLM Semantic Router file, as endpoints of candidates."""

from __future__ import annotations

import pytest
from aamc_bandit.semantic_router.model_candidates import read_endpoints

from aamc_sdk.errors import ConfigError

ONE = {"name": "one", "address": "10.0.0.1", "port": 8000, "weight": 2}
TWO = {"name": "two", "address": "fd00::1", "port": 8001}


def test_one_server_is_an_endpoint_and_several_are_deployments():
    models = {"a": {"preferred_endpoints": ["one"]}, "b": {"preferred_endpoints": ["one", "two"]}, "c": {}}
    found = read_endpoints({"vllm_endpoints": [ONE, TWO], "model_config": models})
    both = [{"base_url": "http://10.0.0.1:8000/v1", "weight": 2.0}, {"base_url": "http://[fd00::1]:8001/v1"}]
    assert found["a"] == {"provider": "openai", "model": "a", "base_url": "http://10.0.0.1:8000/v1"}
    assert {"provider": "openai", "model": "b", "deployments": both} == found["b"]
    assert "c" not in found


def test_the_weight_of_a_models_only_server_has_no_effect():
    found = read_endpoints({"vllm_endpoints": [{**ONE, "weight": 0}], "model_config": {"a": {"preferred_endpoints": ["one"]}}})
    assert found["a"]["base_url"] == "http://10.0.0.1:8000/v1"


def test_a_server_may_list_its_models():
    found = read_endpoints({"vllm_endpoints": [{**ONE, "models": ["a"]}], "model_config": {"a": {}}})
    assert found["a"]["base_url"] == "http://10.0.0.1:8000/v1"


@pytest.mark.parametrize("key", ["endpoints", "backend_refs"])
def test_a_model_may_describe_its_servers_itself(key):
    servers = [{"name": "x", "endpoint": "host.example:443", "protocol": "https"}]
    found = read_endpoints({"providers": {"models": [{"name": "a", key: servers}]}})
    assert found["a"]["base_url"] == "https://host.example:443/v1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_config": {"a": {"preferred_endpoints": ["lost"]}}}, "names the endpoint 'lost'"),
        ({"vllm_endpoints": [{"name": "one"}], "model_config": {"a": {"preferred_endpoints": ["one"]}}}, "must have address and port"),
        ({"vllm_endpoints": "one", "model_config": {}}, "must be a list"),
        ({"model_config": {"a": {"preferred_endpoints": 8000}}}, r"model_config\[a\]: preferred_endpoints must be a list of endpoints, not 8000"),
        ({"vllm_endpoints": [ONE], "model_config": {"a": {"preferred_endpoints": [["one"]]}}}, r"names the endpoint \['one'\]"),
        ({"vllm_endpoints": [{**ONE, "weight": "high"}], "model_config": {"a": {"preferred_endpoints": ["one"]}}}, "'one' .* weight .* not 'high'"),
        (
            {"vllm_endpoints": [{**ONE, "weight": 0}, TWO], "model_config": {"a": {"preferred_endpoints": ["one", "two"]}}},
            "endpoint 'one' of the model 'a' must have a weight above 0, not 0: it would never be called; leave out the endpoint or its weight",
        ),
        ({"vllm_endpoints": [{**ONE, "models": 7}], "model_config": {"a": {}}}, "models of the endpoint 'one' must be a list, not 7"),
    ],
)
def test_a_server_that_cannot_be_called_is_an_error(content, message):
    with pytest.raises(ConfigError, match=message):
        read_endpoints(content)
