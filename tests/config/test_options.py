import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk.config import configure, describe_options, load_yaml, option, parse_yaml, set_option, unstructure
from aamc_sdk.errors import ConfigError, PluginError


@attrs.frozen(kw_only=True)
class Options:
    """Options of every type."""

    rate: float = option(0.1, "a rate", above=0, at_most=1)
    steps: int = option(10, "steps", at_least=1)
    on: bool = option(False, "a switch")
    name: str = option("adam", "a choice", choices=("adam", "sgd"))
    limit: float | None = option(None, "a limit, or none", at_least=0)
    hidden: Sequence[int] = option((64, 64), "widths")
    words: list[str] = option([], "words")  # noqa: RUF009  # option copies it for each instance
    weights: Mapping[str, float] = option({}, "weights by name")
    mode: typing.Literal["fast", "slow"] = option("fast", "a mode")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"steps": 2}, "paper": {"steps": 1000, "rate": 3e-4}}


@attrs.frozen(kw_only=True)
class Untyped:
    """An option without a type."""

    steps = option(10, "steps")


def test_an_option_without_a_type_is_an_error_of_its_plugin():
    for use in (lambda: configure(Untyped, {"steps": 1}), lambda: describe_options(type("Thing", (), {"Config": Untyped}))):
        with pytest.raises(PluginError, match=r"the option 'steps' of .*Untyped has no type; write steps: int = option"):
            use()


def make(options, preset=None):
    return configure(Options, options, preset=preset, where="thing")


def test_defaults_need_no_options():
    assert make({}) == Options()


def test_options_win_over_the_preset_and_the_preset_over_defaults():
    assert make({}, "paper").steps == 1000
    assert make({"steps": 7}, "paper") == Options(steps=7, rate=3e-4)
    assert make({}, "no-such-preset") == Options()


def test_a_whole_number_is_a_number():
    assert make({"rate": 1}).rate == 1.0
    assert isinstance(make({"rate": 1}).rate, float)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "false"}, "on must be true or false, not 'false'"),
        ({"on": 1}, "on must be true or false, not 1"),
        ({"steps": 3.7}, "steps must be a whole number, not 3.7"),
        ({"steps": 3.0}, "steps must be a whole number, not 3.0; write 3"),
        ({"steps": 1e5}, "steps must be a whole number, not 100000.0; write 100000"),
        ({"steps": True}, "steps must be a whole number, not true"),
        ({"steps": "1e5"}, "steps must be a whole number, not '1e5'; write 100000"),
        ({"rate": "0.1"}, "rate must be a number, not '0.1'"),
        ({"rate": True}, "rate must be a number, not true"),
        ({"rate": None}, "rate must be a number, not null"),
        ({"name": 3}, "name must be one of adam, sgd, not 3"),
        ({"limit": "none"}, "limit: write null instead of 'none'"),
        ({"limit": "None"}, "limit: write null instead of 'None'"),
        ({"limit": "many"}, "limit must be a number, not 'many'"),
        ({"rate": "none"}, "rate must be a number, not 'none'"),
        ({"hidden": 64}, "hidden must be a list"),
        ({"hidden": "64"}, "hidden must be a list"),
        ({"hidden": [64, 2.5]}, "hidden must be a whole number, not 2.5"),
        ({"words": "word"}, "words must be a list"),
        ({"words": {"a": 1}}, "words must be a list"),
        ({"weights": 3}, "weights must be keys and values"),
        ({"weights": ["a"]}, "weights must be keys and values"),
        ({"weights": {"a": "b"}}, "weights.a must be a number, not 'b'"),
        ({"mode": "medium"}, "mode: medium not in literal"),
    ],
)
def test_nothing_is_coerced(options, message):
    with pytest.raises(ConfigError, match=r"^thing: ") as caught:
        make(options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "rate must be above 0, not 0.0"),
        ({"rate": 1.5}, "rate must be at most 1, not 1.5"),
        ({"rate": float("nan")}, "rate must be a finite number, not nan"),
        ({"limit": float("inf")}, "limit must be a finite number, not inf"),
        ({"limit": -1.0}, "limit must be at least 0, not -1.0"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"name": "adem"}, "name must be one of adam, sgd, not 'adem'; did you mean 'adam'?"),
        ({"name": True}, "name must be one of adam, sgd, not True"),
    ],
)
def test_a_value_out_of_its_range_is_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        make(options)
    assert str(caught.value) == f"thing: {message}"


@attrs.frozen(kw_only=True)
class Limits:
    """Options that one option groups."""

    days: float | None = option(None, "days", above=0)
    max_gb: float | None = option(None, "a size", above=0)


@attrs.frozen(kw_only=True)
class GroupedOptions:
    """Options of which one is a group."""

    limits: Limits = option(Limits(), "limits")  # noqa: RUF009  # it is frozen


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (30, "limits must be keys and values such as {days: 1}, not 30"),
        (None, "limits must be keys and values such as {days: 1}, not None"),
        ([1], "limits must be keys and values such as {days: 1}, not [1]"),
        ({"day": 30}, "limits has no option 'day'; did you mean 'days'? (it has: days, max_gb)"),
        ({"days:30": None}, "limits has no option 'days:30'; did you mean 'days'? (it has: days, max_gb)"),
        ({"days": "30"}, "limits.days must be a number, not '30'"),
        ({"days": -1}, "limits: days must be above 0, not -1.0"),
    ],
)
def test_a_group_of_options_is_checked_like_the_options(value, message):
    assert configure(GroupedOptions, {"limits": {"days": 2}}).limits == Limits(days=2.0)
    with pytest.raises(ConfigError) as caught:
        configure(GroupedOptions, {"limits": value}, where="thing")
    assert str(caught.value) == f"thing: {message}"


@attrs.frozen(kw_only=True)
class ListedOptions:
    """Options of which one is a list of groups."""

    windows: Sequence[Limits] = option([], "windows")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([5], "each of windows must be keys and values such as {days: 1}, not 5"),
        ([{"days": 1}, None], "each of windows must be keys and values such as {days: 1}, not None"),
        ([{"day": 1}], "each of windows has no option 'day'; did you mean 'days'? (it has: days, max_gb)"),
    ],
)
def test_each_group_of_a_list_is_checked_like_the_options(value, message):
    assert configure(ListedOptions, {"windows": [{"days": 2}]}).windows == (Limits(days=2.0),)
    with pytest.raises(ConfigError) as caught:
        configure(ListedOptions, {"windows": value}, where="thing")
    assert str(caught.value) == f"thing: {message}"


@attrs.frozen(kw_only=True)
class NamedOptions:
    """Options of which one is a mapping of groups."""

    tenants: Mapping[str, Limits] = option({}, "tenants")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"acme": 5}, "tenants.acme must be keys and values such as {days: 1}, not 5"),
        ({"acme": {"day": 1}}, "tenants.acme has no option 'day'; did you mean 'days'? (it has: days, max_gb)"),
        ({"acme": {"days": "1"}}, "tenants.acme.days must be a number, not '1'"),
        ({"acme": {"days": 1}, "d": {"days": -1}}, "tenants.d: days must be above 0, not -1.0"),
    ],
)
def test_an_error_in_a_group_of_a_mapping_names_its_key(value, message):
    with pytest.raises(ConfigError) as caught:
        configure(NamedOptions, {"tenants": value}, where="thing")
    assert str(caught.value) == f"thing: {message}"


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"thing has no option 'step'; did you mean 'steps'\? \(it has: hidden, limit"):
        make({"step": 3})
    with pytest.raises(ConfigError, match="no option 1"):
        make({1: 2})
    with pytest.raises(ConfigError, match="options must be keys and values"):
        make(["steps"])


def test_a_preset_that_sets_an_unknown_option_is_named():
    config = attrs.make_class("Config", {"steps": option(1, "steps")})
    config.__annotations__ = {"steps": int}
    config.presets = {"quick": {"stepz": 2}}
    with pytest.raises(ConfigError, match=r"preset 'quick': thing has no option 'stepz'; did you mean 'steps'"):
        configure(config, {}, preset="quick", where="thing")


def test_a_preset_is_checked_like_any_option():
    @attrs.frozen(kw_only=True)
    class Wrong:
        steps: int = option(1, "steps", at_least=1)
        presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"steps": 0}}

    with pytest.raises(ConfigError, match="at least 1"):
        configure(Wrong, {}, preset="quick", where="wrong")


def test_a_default_is_not_shared_between_instances():
    Options().words.append("mine")
    assert Options().words == []


def test_plain_values_make_the_same_options_again():
    options = make({"hidden": [1, 2], "weights": {"a": 0.5}, "limit": 2})
    assert make(unstructure(options)) == options


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "+1e-4", ".1e-3", "0.0001"])
def test_yaml_reads_every_way_to_write_a_float(text):
    assert parse_yaml(text, "here") == pytest.approx(1e-4)
    assert isinstance(parse_yaml(text, "here"), float)


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("true", True), ("e4", "e4"), ("1e", "1e"), ("", None), ("[1, a]", [1, "a"])])
def test_yaml_reads_the_rest_as_it_stands(text, value):
    assert parse_yaml(text, "here") == value


def test_yaml_merges_mappings():
    text = "cheap: &cheap {provider: openai, model: a}\ndear: {<<: *cheap, model: b}"
    assert parse_yaml(text, "here")["dear"] == {"provider": "openai", "model": "b"}
    nested = "a:\n  base: &base {x: 1}\n  mid: &mid {<<: *base, x: 2}\ntop: {<<: *mid}"
    assert parse_yaml(nested, "here")["top"] == {"x": 2}
    with pytest.raises(ConfigError, match="key 'x' is set twice"):
        parse_yaml("a: &a {y: 1}\nb: {<<: *a, x: 1, x: 2}", "here")


def test_yaml_bounds_what_aliases_repeat():
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    for last in ("candidates: *a8", "merged: {<<: [{x: *a8}, {y: *a7}]}"):
        with pytest.raises(ConfigError, match="here: its aliases repeat more than 100,000 values"):
            parse_yaml("\n".join(["a0: &a0 [x]", *levels, last]), "here")
    assert len(parse_yaml("\n".join(["a0: &a0 [x]", *levels[:4]]), "here")["a4"]) == 10
    with pytest.raises(ConfigError, match="aliases"):
        parse_yaml("a: &a [*a]", "here")
    assert len(parse_yaml(f"[{'x, ' * 100_001}]", "here")) == 100_001


@pytest.mark.parametrize("text", ["[" * 5_000, "{a: " * 3_000])
def test_yaml_that_is_nested_too_deeply_is_refused(text):
    with pytest.raises(ConfigError, match="here has lists or mappings that are nested too deeply"):
        parse_yaml(text, "here")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_being_written_and_read(number):
    assert parse_yaml(repr(number), "here") == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' is set twice, the second time in line 3"),
        ("a: [1, 2", "not valid YAML in line 1"),
        ("a: b: c", "not valid YAML in line 1"),
        ("2024-13-45", "not valid YAML: month must be in 1..12"),
        ("? [1]\n: 2", "a key must be a plain value; in line 1 it is [1]"),
        ("!!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("\x00", "not valid YAML"),
    ],
)
def test_bad_yaml_is_a_one_line_error_that_says_where(text, message):
    with pytest.raises(ConfigError, match=r"^here") as caught:
        parse_yaml(text, "here")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_yaml_file_holds_keys_and_values(tmp_path):
    path = tmp_path / "run.yaml"
    for content, result in (("router: {name: ppo}", {"router": {"name": "ppo"}}), ("# nothing", {})):
        path.write_text(content)
        assert load_yaml(path) == result
    path.write_text("[1]")
    with pytest.raises(ConfigError, match=r"must hold keys and values, not \[1\]"):
        load_yaml(path)


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_yaml_file_is_refused(tmp_path, text):
    path = tmp_path / "serve.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"serve\.yaml is empty; write keys and values into it, or leave the file out$"):
        load_yaml(path)


def test_a_yaml_file_that_cannot_be_read_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_yaml(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        load_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Größe".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: it is not text in UTF-8; check the path"):
        load_yaml(tmp_path / "latin.yaml")


def test_the_error_of_a_relative_path_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_yaml(Path("pool.yaml"))
    assert str(caught.value) == f"cannot read pool.yaml: No such file or directory; check the path, which is relative to {Path.cwd()}"


def test_set_changes_one_option_and_reads_its_value_as_yaml():
    options = {"router": {"name": "ppo", "steps": 3}}
    set_option(options, "router.learning_rate=1e-4")
    set_option(options, "seed=7")
    set_option(options, "environment.load=0.5")
    set_option(options, "router.note=a=b")
    assert options == {
        "router": {"name": "ppo", "steps": 3, "learning_rate": 1e-4, "note": "a=b"},
        "seed": 7,
        "environment": {"load": 0.5},
    }


@pytest.mark.parametrize("assignment", ["router", "=3", ".a=3", "a..b=3", "seed.x=3", "a=[1"])
def test_a_bad_assignment_is_refused(assignment):
    with pytest.raises(ConfigError):
        set_option({"seed": 7}, assignment)
