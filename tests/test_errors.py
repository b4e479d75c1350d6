"""Suggestions for misspelt names."""

import math

import pytest

from aamc_sdk.errors import CheckpointError, ConfigError, PluginError
from aamc_sdk.messages import (
    checkpoint_errors,
    component_errors,
    error_text,
    file_errors,
    nearest,
    one_of,
    split_advice,
    unknown_name,
    whole_number_hint,
)

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
        ("timeout_s", ("idle_timeout_s", "timeout_seconds"), "timeout_seconds"),
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


def test_a_message_names_at_most_a_hundred_names() -> None:
    names = [f"m{number:03}" for number in range(2000)]
    assert one_of(names) == ", ".join(names[:100]) + " and 1,900 more"
    message = unknown_name("there is no model", "m1998x", names, "there are")
    assert message.startswith("there is no model 'm1998x'; did you mean 'm1998'? (there are: m000, m001, ")


def test_an_error_without_a_message_is_named_by_its_type() -> None:
    assert error_text(ValueError("no such row")) == "ValueError: no such row"
    assert error_text(TimeoutError()) == "TimeoutError"
    with pytest.raises(PluginError, match=r"^router 'mine' failed: TimeoutError$"), component_errors("router 'mine' failed"):
        raise TimeoutError


@pytest.mark.parametrize(
    ("value", "hint"),
    [(1e5, "; write 100000"), ("1e5", "; write 100000"), ("7", "; write 7"), *((other, "") for other in (-1, 0, True, 0.5, math.inf, "x", None))],
)
def test_a_whole_number_in_another_form_is_written_in_digits(value: object, hint: str) -> None:
    assert whole_number_hint(value) == hint


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("it is away", ("it is away", "")),
        ("it is away; start it", ("it is away", "start it")),
        ("nobody answered (a: late; b: away)", ("nobody answered (a: late; b: away)", "")),
        ("nobody answered (a: late; b: away); try again (or wait; or not)", ("nobody answered (a: late; b: away)", "try again (or wait; or not)")),
        ("odd :)", ("odd :)", "")),
    ],
)
def test_the_advice_of_a_message_stands_after_the_last_semicolon_outside_parentheses(message: str, expected: tuple[str, str]) -> None:
    assert split_advice(message) == expected


@pytest.mark.parametrize(
    ("path", "message", "expected"),
    [
        ("a.yaml", "no router is named 'x'", "a.yaml: no router is named 'x'"),
        ("a.yaml", "no estimator is named 't'", "no estimator is named 't'"),
        ("a.yaml", "a.yaml: the router is wrong", "a.yaml: the router is wrong"),
        (None, "no router is named 'x'", "no router is named 'x'"),
    ],
)
def test_an_error_in_a_file_names_it_unless_it_names_a_value_that_another_place_gives(path: str | None, message: str, expected: str) -> None:
    with pytest.raises(ConfigError) as found, file_errors(path, ["t", ""]):
        raise ConfigError(message)
    assert str(found.value) == expected


@pytest.mark.parametrize("error", [KeyError("scale"), ValueError("not a number"), IndexError("short")])
def test_an_error_of_decoding_says_what_is_damaged_and_what_to_do(error: Exception) -> None:
    with pytest.raises(CheckpointError) as found, checkpoint_errors("best.npz", "train again", IndexError):
        raise error
    assert str(found.value) == f"best.npz is damaged ({error!r}); train again"


def test_errors_that_tell_of_no_damage_pass() -> None:
    with pytest.raises(CheckpointError, match=r"^made for another pool$"), checkpoint_errors("best.npz", "train again"):
        raise CheckpointError("made for another pool")
    with pytest.raises(IndexError), checkpoint_errors("best.npz", "train again"):
        raise IndexError
