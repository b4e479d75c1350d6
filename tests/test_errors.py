"""Suggestions for misspelt names."""

import pytest

from aamc_sdk.errors import nearest

ROUTERS = ("canary", "gbdt", "greedy", "knn", "oracle", "ppo", "rule", "supervised", "thompson")
OPTIONS = ("batch_size", "encoder", "entropy_coef", "epochs", "learning_rate", "prior_mean", "seed")


@pytest.mark.parametrize(
    ("text", "names", "meant"),
    [
        ("thomson", ROUTERS, "thompson"),
        ("tompsn", ROUTERS, "thompson"),
        ("gredy", ROUTERS, "greedy"),
        ("pp0", ROUTERS, "ppo"),
        ("PPO", ROUTERS, "ppo"),
        ("rules", ROUTERS, "rule"),
        ("learning-rate", OPTIONS, "learning_rate"),
        ("lerning_rat", OPTIONS, "learning_rate"),
        ("entropy", OPTIONS, "entropy_coef"),
        ("llm-xlarge", ("LLM-Large", "LLM-XLarge", "SLM"), "LLM-XLarge"),
    ],
)
def test_a_misspelt_name_is_recognised(text: str, names: tuple[str, ...], meant: str) -> None:
    assert nearest(text, names) == f"; did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("banana", ROUTERS),
        ("claude", ROUTERS),
        ("none", ROUTERS),
        ("data", ROUTERS),
        ("model", OPTIONS),
        ("color", OPTIONS),
        ("price", OPTIONS),
        ("rum", ("resume", "routers")),
        ("promote", ("route", "report", "reproduce")),
        ("", OPTIONS),
    ],
)
def test_nothing_is_suggested_for_another_word(text: str, names: tuple[str, ...]) -> None:
    assert nearest(text, names) == ""
