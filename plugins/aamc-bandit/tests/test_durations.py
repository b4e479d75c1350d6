"""Go durations, and what stands for an interval that cannot be used."""

from __future__ import annotations

import pytest
from aamc_bandit.thompson.autosave import DEFAULT_S, auto_save_seconds, parse_duration
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("0", 0),
        ("0s", 0),
        ("-5s", -5),
        ("+5s", 5),
        ("1h15m30.5s", 4530.5),
        (".5m", 30),
        ("1.s", 1),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3µs", 3e-6),  # the micro sign
        ("3μs", 3e-6),  # the Greek letter
        ("7ns", 7e-9),
    ],
)
def test_a_duration_is_read_as_go_does(text, seconds) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ["", "banana", "5", "5 s", "s", "-", "--5s", "1d", "5S", ".s", "5s!", "1e3s", "\u0665s"])
def test_what_go_refuses_is_refused(text) -> None:
    with pytest.raises(ConfigError, match="a number with a unit"):
        parse_duration(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_parts_add_up(hours, minutes, seconds) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), (" 5m ", 300), ("24h", 86400), ("1ms", 0.001), ("", DEFAULT_S), ("   ", DEFAULT_S)])
def test_a_usable_interval_counts_and_none_means_30_seconds(text, seconds, caplog) -> None:
    assert auto_save_seconds(text) == seconds
    assert caplog.records == []


@pytest.mark.parametrize("text", ["0s", "0", "-5s", "banana", "48h", "9999999999h", "24h1ns"])
def test_an_interval_that_cannot_be_used_is_30_seconds_and_is_reported(text, caplog) -> None:
    assert auto_save_seconds(text) == 30
    assert repr(text) in caplog.text
