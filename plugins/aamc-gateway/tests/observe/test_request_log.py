"""Log lines: what is in them, and what must not be."""

from __future__ import annotations

import json
import logging
import math

import pytest
from aamc_gateway.observe.request_figures import CallFigures, RequestFigures
from aamc_gateway.observe.request_log import JsonFormatter, RepetitionFilter, TextFormatter, configure_logs, log_request, redacted
from aamc_gateway.server.http.error_answers import tell_operator
from aamc_gateway.server.settings import LogSettings

from aamc_sdk.errors import StoreAwayError

KEY = "sk-aamc-0123456789ab-AkICxP6U7_YSRkGcEmPwteamJN46W3ny8IvVOdcUFgc"


def test_the_line_of_a_request_says_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    figures = RequestFigures(
        request_id="r1", route="/v1/messages", decision_id="d1", candidate="cheap", began=1_800_000_000.0, ended=1_800_000_000.25
    )
    figures.calls, figures.cost_usd, figures.key_id = [CallFigures("cheap", 1.0)], 0.002, "k1"
    log_request(figures)
    line = json.loads(capsys.readouterr().err)
    assert line["time"] == "2027-01-15T08:00:00.250+00:00"
    wanted = {"request_id": "r1", "decision_id": "d1", "model": "cheap", "status": 200, "cost_usd": 0.002, "ms": 250.0, "key_id": "k1", "calls": 1}
    assert {name: line[name] for name in wanted} == wanted
    figures.cost_usd = math.nan
    log_request(figures)
    assert json.loads(capsys.readouterr().err)["cost_usd"] is None


@pytest.mark.parametrize(
    "text",
    [
        f"calling with {KEY} failed",
        f"headers {{'authorization': 'Bearer {KEY}'}}",
        "x-api-key: sk-ant-api03-abcdefghijklmnop-qrstuvwxyz",
        "using sk-proj-abcdefghijklmnopqrstuvwxyz",
        "redis://user:hunter2secret@host:6379/0 is away",
        "Basic dXNlcjpodW50ZXIyc2VjcmV0",
    ],
)
def test_keys_and_passwords_are_redacted(text: str) -> None:
    found = redacted(text)
    assert "[redacted]" in found
    for secret in (KEY, KEY[-20:], "abcdefghijklmnop", "hunter2secret", "dXNlcjpodW50ZXIyc2VjcmV0"):
        assert secret not in found


def test_usual_lines_stay_as_they_are() -> None:
    for text in ("the key 'ci' (0123456789ab) is revoked", "a request of /v1/chat/completions failed", "decision 9bfc7acb30d1df67a10ec8f8785b1944"):
        assert redacted(text) == text


def test_an_absent_store_that_every_request_meets_is_one_line_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(4):
        tell_operator(f"request {number}", StoreAwayError("the disk is full"))
    tell_operator("request 4", StoreAwayError("the file is locked"))
    tell_operator("request 5", ValueError())
    tell_operator("request 6", ValueError())
    caplog.records[3].created = caplog.records[0].created + 11
    repetitions = RepetitionFilter()
    assert [repetitions.filter(record) for record in caplog.records] == [True, False, False, True, True, True, True]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told[3] == "request 3 failed: the disk is full (2 such lines before were left out)"
    assert told[4] == "request 4 failed: the file is locked"


def test_repetitions_of_two_causes_are_left_out_and_counted_apart(caplog: pytest.LogCaptureFixture) -> None:
    for cause in ("the disk is full", "the server is away", "the disk is full", "the server is away", "the server is away", "the disk is full"):
        tell_operator("a request", StoreAwayError(cause))
    caplog.records[4].created = caplog.records[5].created = caplog.records[0].created + 11
    repetitions = RepetitionFilter()
    written = [record.getMessage() for record in caplog.records if repetitions.filter(record)]
    assert written == [
        "a request failed: the disk is full",
        "a request failed: the server is away",
        "a request failed: the server is away (1 such lines before were left out)",
        "a request failed: the disk is full (1 such lines before were left out)",
    ]


def test_a_log_that_is_configured_leaves_out_repetitions(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logs(LogSettings())
        for number in range(3):
            tell_operator(f"request {number}", StoreAwayError("the disk is full"))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert capsys.readouterr().err.count("the disk is full") == 1


def _record(prompt: str, note: str = "") -> logging.LogRecord:
    try:
        int(f"{prompt} with {KEY}")
    except ValueError as error:
        error.args = (f"{error}{note}",)
        information = (type(error), error, error.__traceback__)
    return logging.LogRecord("aamc", logging.ERROR, __file__, 1, "a request of %s failed", ("/v1/messages",), information)


def test_json_lines_tell_an_error_s_type_and_places_without_its_message() -> None:
    text = JsonFormatter().format(_record("my secret diary"))
    line = json.loads(text)
    assert (line["error"], line["level"], line["message"]) == ("ValueError", "error", "a request of /v1/messages failed")
    assert line["trace"][-1].endswith(" _record")
    assert "diary" not in text
    assert KEY not in text


def test_text_lines_hide_keys_in_tracebacks() -> None:
    text = TextFormatter().format(_record("something"))
    assert "ValueError" in text
    assert KEY[-20:] not in text


def test_no_error_steers_the_terminal_by_its_traceback() -> None:
    lines = TextFormatter().format(_record("something", note="\x1b]0;title\x07")).splitlines()
    assert "Traceback" in lines[1]
    assert lines[-1].endswith(r"\x1b]0;title\x07")


def test_all_logs_of_the_process_take_the_form(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    try:
        configure_logs(LogSettings(format="json"))
        logging.getLogger("uvicorn.error").error("%s", KEY)  # a server of another test may have silenced warnings
        line = json.loads(capsys.readouterr().err)
        assert (line["logger"], line["message"]) == ("uvicorn.error", "sk-aamc[redacted]")
    finally:
        logging.basicConfig(handlers=kept, level=level, force=True)
