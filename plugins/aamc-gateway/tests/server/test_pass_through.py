"""APIs that pass through: the models, budgets and tenants of keys hold for them too."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import tracemalloc
from typing import Any

import pytest
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.settings import Limits
from aamc_gateway.requests.forms import read_form
from aamc_gateway.server.http import pass_through
from aamc_models.testing import Script, StubServer
from server.conftest import key

from aamc_sdk.interfaces import WireReply

CHAT = [{"role": "user", "content": "hi"}]


def form(*fields: str) -> bytes:
    """Return a form whose fields have these names and the value of another model."""
    parts = (f"--x\r\nContent-Disposition: form-data; {field}\r\n\r\n{model}\r\n" for field, model in zip(fields, ("cheap", "dear"), strict=False))
    return ("".join(parts) + "--x--\r\n").encode()


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "text/plain"])
@pytest.mark.parametrize("body", [b' {"model": "dear", "prompt": "x"}', b'\r\n{"model": "dear"}'])
def test_json_gets_the_named_model_in_whatever_form_it_comes(serve: Any, stub: StubServer, content_type: str, body: bytes) -> None:
    running = serve(cheap=Script(), dear=Script())
    own = key(running, "only", models=["cheap"])
    assert running.ask("/v1/images/generations", body, x_aamc_model="cheap", content_type=content_type, **own).status == 200
    assert stub.requests[-1].body["model"] == "cheap"
    assert running.ask("/v1/images/generations", body, content_type=content_type, **own).status == 403


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"])
@pytest.mark.parametrize("content_type", [None, "", "application/json; charset=utf-16", "text/plain", "application/octet-stream"])
def test_json_in_another_encoding_is_refused(serve: Any, stub: StubServer, encoding: str, content_type: str | None) -> None:
    running = serve(cheap=Script(), dear=Script())
    given = {} if content_type is None else {"content_type": content_type}
    answer = running.ask("/v1/images/generations", ' \n{"model": "dear"}'.encode(encoding), x_aamc_model="cheap", **given)
    assert (answer.status, len(stub.requests)) == (400, 0)
    assert "not valid JSON" in answer.json["error"]["message"]


def test_a_body_without_a_content_type_is_a_json_object(serve: Any, stub: StubServer) -> None:
    running = serve(cheap=Script())
    statuses = [running.ask("/v1/audio/x", body, x_aamc_model="cheap").status for body in (b"RIFF", b"[1]", b'{"a": 1}', None)]
    assert (statuses, [each.raw for each in stub.requests]) == ([400, 400, 200, 200], [b'{"a":1}', b""])


def test_a_body_that_names_its_model_is_written_by_the_provider_alone(serve: Any, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(cheap=Script())
    monkeypatch.setattr(pass_through, "orjson", None)
    body = b'{"model": "dear", "aamc": {"user": "u"}, "prompt": "x", "model": "cheap"}'
    assert running.ask("/v1/images/generations", body, content_type="application/json").status == 200
    assert stub.requests[-1].raw == b'{"model":"cheap","prompt":"x"}'


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-7", "text/plain"])
def test_the_server_gets_the_json_that_was_checked(serve: Any, stub: StubServer, content_type: str) -> None:
    running = serve(cheap=Script())
    body = b'{"previous_response_id": "theirs", "input": "caf\xc3\xa9", "previous_response_id": null}'
    assert running.ask("/v1/responses/compact", body, x_aamc_model="cheap", content_type=content_type).status == 200
    (sent,) = stub.requests
    assert (sent.raw, sent.headers["content-type"]) == ('{"previous_response_id":null,"input":"caf\u00e9"}'.encode(), "application/json")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/images/generations"])
@pytest.mark.parametrize(
    "field", ["Model", "MAX_TOKENS", "Max_Output_Tokens", "N", "\u017ftream", "uSER", "Conversation", "Previous_Response_Id", "Fallbacks"]
)
def test_a_field_that_some_servers_would_take_for_a_checked_one_is_refused(serve: Any, stub: StubServer, path: str, field: str) -> None:
    running = serve(cheap=Script())
    body = {"model": "cheap", "messages": CHAT, "input": "hi", "max_tokens": 9, "topK": 1, field: 5}
    answer = running.ask(path, body)
    assert (answer.status, len(stub.requests)) == (400, 0)
    assert f"the field {field!r} as {field.casefold()}" in answer.json["error"]["message"]
    del body[field]
    assert (running.ask(path, body).status, len(stub.requests)) == (200, 1)


def test_json_that_the_gateway_cannot_read_is_refused(serve: Any, stub: StubServer) -> None:
    running = serve(cheap=Script())
    answer = running.ask("/v1/images/generations", b'{"model": "dear", "seed": NaN}', x_aamc_model="cheap", content_type="application/json")
    assert (answer.status, len(stub.requests)) == (400, 0)
    assert "not valid JSON" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "fields",
    [
        ('name="model"', 'name="model"'),
        ('name="model"', "name=model"),
        ("name=model",),
        ('name="model"', 'Name="model"; filename="x"'),
        ('name="model"; filename="x"',),
        ('name="n"', 'name="n"'),
        ('name="n"; filename="n"',),
        ("name*=utf-8''%6dodel",),
        ('name*0="mo"; name*1="del"',),
        ('name="prompt"\r\nContent-Disposition: form-data; name="model"',),
        ('name="prompt";\r\n name="model"',),
        ('name="user"', 'name="user"'),
    ],
)
def test_a_form_has_each_checked_field_once(serve: Any, stub: StubServer, fields: tuple[str, ...]) -> None:
    running = serve(cheap=Script(), dear=Script())
    answer = running.ask("/v1/audio/transcriptions", form(*fields), x_aamc_model="cheap", content_type="multipart/form-data; boundary=x")
    assert (answer.status, len(stub.requests)) == (400, 0)
    assert "the fields model, user and n at most once each and not as files" in answer.json["error"]["message"]


@pytest.mark.parametrize("fields", [("Model",), ("model", "N"), ("model", "uSER"), ("model", "Max_Tokens"), ("model", "MODEL")])
def test_a_field_of_a_form_has_the_spelling_of_a_checked_one(serve: Any, stub: StubServer, fields: tuple[str, ...]) -> None:
    running = serve(cheap=Script())
    body = form(*(f'name="{name}"' for name in fields))
    answer = running.ask("/v1/images/edits", body, x_aamc_model="cheap", content_type="multipart/form-data; boundary=x")
    assert (answer.status, len(stub.requests)) == (400, 0)
    assert f"the field {fields[-1]!r} as {fields[-1].lower()}" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"model=dear"),
        ("multipart/form-data", form('name="model"')),
        ("multipart/mixed; boundary=x", form("name=model")),
        ("multipart/form-data; boundary=x", form('name="prompt"').replace(b"\r\n", b"\n")),
        ("application/vnd.api+json", b'\xef\xbb\xbf{"model": "dear"}'),
    ],
)
def test_a_body_that_a_server_may_read_otherwise_is_refused(serve: Any, stub: StubServer, content_type: str, body: bytes) -> None:
    running = serve(cheap=Script(), dear=Script())
    answer = running.ask("/v1/audio/transcriptions", body, x_aamc_model="cheap", content_type=content_type)
    assert (answer.status, len(stub.requests)) == (400, 0)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=x; boundary*=utf-8''y",
        "multipart/form-data; boundary =y; boundary=x",
        "application/x-www-form-urlencoded; boundary=x",
    ],
)
def test_a_server_gets_the_content_type_by_which_a_form_was_checked(serve: Any, stub: StubServer, content_type: str) -> None:
    running = serve(cheap=Script(), dear=Script())
    assert running.ask("/v1/images/edits", form('name="model"'), content_type=content_type).status == 200
    assert stub.requests[-1].headers["content-type"] == 'multipart/form-data; boundary="x"'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"--x" * 1_000_000, 400),
        (b"--x\r\n" + b"\r\n" * 1_000_000 + b"--x--", 400),
        (b"--x\r\n" + b"a:\r\n" * 1_000_000 + b"\r\nb\r\n--x--", 400),
        (form('name="prompt"').removesuffix(b"--x--\r\n") * 1001 + b"--x--", 413),
    ],
    ids=["boundaries", "empty lines", "header lines", "parts"],
)
def test_a_form_of_too_many_pieces_is_refused_without_a_list_of_them(body: bytes, status: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            read_form(body, "multipart/form-data; boundary=x")
        assert (refused.value.status, tracemalloc.get_traced_memory()[1] < 1_000_000) == (status, True)
    finally:
        tracemalloc.stop()


def test_only_the_field_of_a_form_gets_the_name_on_the_server(serve: Any, stub: StubServer) -> None:
    running = serve(fields={"cheap": {"model": "upstream"}}, cheap=Script())
    file = b'[tool]\nname = "model"\nContent-Disposition: form-data; name="model"\r\n\r\ncheap\r\n'
    upload = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.toml"\r\nContent-Type: text/plain\r\n\r\n' + file + b"\r\n"
    answer = running.ask("/v1/audio/transcriptions", upload + form('name="model"'), content_type="multipart/form-data; boundary=x")
    assert answer.status == 200
    assert stub.requests[-1].raw == upload + form('name="model"').replace(b"cheap", b"upstream")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images/generations", "/v1/audio/transcriptions"])
def test_the_same_headers_of_a_request_reach_the_provider_on_every_path(serve: Any, stub: StubServer, path: str) -> None:
    sent = {
        "anthropic-beta": "a-1",
        "anthropic-version": "2023-06-01",
        "idempotency-key": "k",
        "openai-beta": "o-1",
        "traceparent": f"00-{1:032x}-{1:016x}-01",
        "tracestate": "vendor=1",
    }
    body = {"model": "good", "messages": CHAT}
    assert serve(good=Script()).ask(path, body, cookie="c", content_type="application/json", **sent).status == 200
    (received,) = stub.requests
    assert {name: received.headers.get(name) for name in (*sent, "cookie")} == {**sent, "cookie": None}


def test_a_page_that_passes_through_has_no_rights_in_a_browser(serve: Any) -> None:
    answer = serve(cheap=Script()).ask("/v1/images/generations", {"model": "cheap", "prompt": "x"})
    assert (answer.headers["content-security-policy"], answer.headers["x-content-type-options"]) == ("sandbox", "nosniff")


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/messages/batches"])
def test_a_batch_needs_a_key_of_all_models(serve: Any, stub: StubServer, path: str) -> None:
    running = serve(cheap=Script(), dear=Script())
    own, free = key(running, "only", models=["cheap"]), key(running, "all")
    answer = running.ask(path, {"input_file_id": "file-1"}, x_aamc_model="cheap", **own)
    assert (answer.status, len(stub.requests)) == (403, 0)
    assert "requests of a batch may name any" in answer.json["error"]["message"]
    assert running.ask(path, {"input_file_id": "file-1"}, x_aamc_model="cheap", **free).status == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/images/generations"])
@pytest.mark.parametrize("field", ["models", "fallbacks"])
def test_a_server_may_fall_back_to_other_models_for_a_key_of_all_models(serve: Any, stub: StubServer, path: str, field: str) -> None:
    running = serve(cheap=Script(), dear=Script())
    own, free = key(running, "only", models=["cheap"]), key(running, "all")
    body = {"model": "cheap", "messages": CHAT, "max_tokens": 9, field: ["dear"]}
    answer = running.ask(path, body, **own)
    assert (answer.status, len(stub.requests)) == (403, 0)
    assert f"may use some models only, and {field!r} lets some servers answer by others" in answer.json["error"]["message"]
    assert running.ask(path, body, **free).status == 200


@pytest.mark.parametrize("field", ["models", "fallbacks[0]"])
def test_a_form_names_other_models_only_with_a_key_of_all_models(serve: Any, stub: StubServer, field: str) -> None:
    running = serve(cheap=Script(), dear=Script())
    own, free = key(running, "only", models=["cheap"]), key(running, "all")
    body, sent = form(f'name="{field}"'), {"x_aamc_model": "cheap", "content_type": "multipart/form-data; boundary=x"}
    assert (running.ask("/v1/images/edits", body, **sent, **own).status, len(stub.requests)) == (403, 0)
    assert running.ask("/v1/images/edits", body, **sent, **free).status == 200


def test_what_passes_through_needs_a_model_of_the_pool(serve: Any, stub: StubServer) -> None:
    running = serve(cheap=Script())
    answer = running.ask("/v1/audio/speech", {"model": "aamc/auto", "input": "hi"})
    assert (answer.status, len(stub.requests)) == (404, 0)
    assert (
        answer.json["error"]["message"] == "/v1/audio/speech passes through to one model, so 'aamc/auto' cannot answer it; name a model of the pool"
    )


USER_FORM = b'--x\r\nContent-Disposition: form-data; name="user"\r\n\r\nanna\r\n' + form('name="model"')


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/v1/images/generations", {"model": "cheap", "prompt": "a cat", "user": "anna"}, "application/json"),
        ("/v1/images/generations", {"model": "cheap", "prompt": "a cat", "user": "bert", "aamc": {"user": "anna"}}, "application/json"),
        ("/v1/audio/speech", {"input": "hi", "metadata": {"user_id": "anna"}, "aamc": {}}, "application/json"),
        ("/v1/images/edits", USER_FORM, "multipart/form-data; boundary=x"),
    ],
)
def test_the_limits_of_users_hold_for_what_passes_through(serve: Any, stub: StubServer, path: str, body: Any, content_type: str) -> None:
    running = serve({"access": {"users": {"anna": {"requests_per_minute": 1}}}}, cheap=Script())
    statuses = [running.ask(path, body, x_aamc_model="cheap", content_type=content_type).status for _ in range(2)]
    assert (statuses, len(stub.requests)) == ([200, 429], 1)
    assert b"aamc" not in stub.requests[-1].raw
    assert running.log().decisions[-1].candidate == "cheap"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}),
        ("responses", {"input": "hi"}),
        ("embeddings", {"input": "hi"}),
        ("route", {"text": "hi", "model": "aamc/auto"}),
        ("images/generations", {"prompt": "a cat"}),
    ],
)
def test_a_user_that_is_no_text_is_refused(serve: Any, stub: StubServer, path: str, fields: Any) -> None:
    running = serve({"access": {"users": {"*": {"requests_per_minute": 1}}}}, cheap=Script())
    for user in (5, 0, True, 1.5, ["anna"], {"id": "anna"}, {}):
        refused = running.ask(f"/v1/{path}", {"model": "cheap", **fields, "user": user}, content_type="application/json")
        message = f" must be a text such as 'anna', not {user!r} of the type {type(user).__name__}"
        assert (refused.status, refused.json["error"]["message"], len(stub.requests)) == (400, f"user{message}", 0)
        refused = running.ask(f"/v1/{path}", {"model": "cheap", **fields, "metadata": {"user_id": user}}, content_type="application/json")
        assert (refused.status, refused.json["error"]["message"], len(stub.requests)) == (400, f"metadata.user_id{message}", 0)
    assert running.ask(f"/v1/{path}", {"model": "cheap", **fields, "user": None}, content_type="application/json").status == 200


def test_a_batch_fits_no_budget(serve: Any) -> None:
    running = serve(good=Script())
    answer = running.ask("/v1/batches", {"model": "good"}, **key(running, "rich", limits=Limits(usd_total=100.0)))
    assert (answer.status, answer.json["error"]["message"].partition("is unknown: ")[2]) == (402, "send the requests of a batch one by one")


def test_of_responses_only_what_generates_nothing_is_free(serve: Any, stub: StubServer) -> None:
    running = serve(good=Script())
    own = key(running, "poor", limits=Limits(usd_total=1e-9))
    assert running.ask("/v1/responses/compact", {"model": "good", "input": "hi"}, **own).status == 402
    for path in ("/v1/responses/input_tokens", "/v1/responses/resp-1/cancel"):
        assert running.ask(path, {"model": "good", "input": "hi"}, **own).status == 200
    assert [received.path for received in stub.requests] == ["/v1/responses/input_tokens", "/v1/responses/resp-1/cancel"]


@pytest.mark.parametrize("background", [True, "true"])
def test_an_answer_in_the_background_fits_no_budget(serve: Any, stub: StubServer, background: Any) -> None:
    running = serve(fields={"good": {"apis": ["responses"]}}, good=Script())
    own, free = key(running, "rich", limits=Limits(usd_total=100.0)), key(running, "free")
    answer = running.ask("/v1/responses", {"model": "good", "input": "hi", "background": background}, **own)
    assert (answer.status, len(stub.requests)) == (402, 0)
    assert answer.json["error"]["message"].partition(": ")[2].startswith("leave out background, as")
    for given, fields in ((own, {}), (own, {"background": False}), (free, {"background": background})):
        assert running.ask("/v1/responses", {"model": "good", "input": "hi", **fields}, **given).status == 200


def test_counting_tokens_counts_as_a_request_and_asks_an_allowed_model(serve: Any, stub: StubServer) -> None:
    running = serve(fields={name: {"provider": "anthropic"} for name in ("dear", "cheap")}, dear=Script(), cheap=Script())
    own = key(running, "only", models=["cheap"], limits=Limits(requests_per_minute=2))
    statuses = [running.ask("/v1/messages/count_tokens", {"model": "aamc/auto", "messages": CHAT}, **own).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert [received.body["model"] for received in stub.requests] == ["cheap"] * 2


def test_tokens_are_estimated_where_the_server_cannot_count(serve: Any, stub: StubServer) -> None:
    running = serve(fields={"good": {"provider": "anthropic"}}, good=Script(fault="status", status=500))
    answer = running.ask("/v1/messages/count_tokens", {"model": "good", "messages": CHAT})
    assert (answer.status, len(stub.requests)) == (200, 1)
    assert answer.json["input_tokens"] > 0


def test_an_object_is_looked_up_at_the_server_that_has_it_without_a_model(serve: Any, stub: StubServer) -> None:
    """The stub's answer on any path has the id stub-1."""
    fields = {name: {"apis": ["chat", "responses"], "headers": {"x-whose": name}} for name in ("cheap", "dear")}
    running = serve(fields=fields, cheap=Script(), dear=Script())
    own, other, narrow = key(running, "a", tenant="acme"), key(running, "b", tenant="other"), key(running, "n", tenant="acme", models=["cheap"])
    assert running.ask("/v1/files?model=dear", b"x", content_type="text/plain", **own).status == 200
    asked: tuple[tuple[str, str, Any], ...] = (
        ("GET", "/v1/files/stub-1", None),
        ("GET", "/v1/files/stub-1/content?limit=1", None),
        ("POST", "/v1/batches", {"input_file_id": "stub-1"}),
        ("POST", "/v1/responses/stub-1/cancel", None),
    )
    for method, path, body in asked:
        assert running.ask(path, body, method=method, **own).status == 200, path
        assert (stub.requests[-1].path, stub.requests[-1].headers["x-whose"]) == (path, "dear")
    calls = len(stub.requests)
    assert [running.ask("/v1/files/stub-1", method="GET", **who).status for who in (other, narrow)] == [404, 403]
    unknown = running.ask("/v1/files/file-7", method="GET", **key(running, "root", admin=True))
    assert (unknown.status, unknown.json["error"]["message"].partition(":")[0]) == (400, "the request must name a model")
    assert len(stub.requests) == calls
    assert running.ask("/v1/files/stub-1?model=cheap", method="GET", **own).status == 200
    assert stub.requests[-1].headers["x-whose"] == "cheap"  # the request says whose server


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_the_background_is_looked_up_without_a_model(serve: Any, stub: StubServer, stream: bool) -> None:
    running = serve(fields={"good": {"apis": ["responses"]}}, good=Script(), other=Script())
    answer = running.ask("/v1/responses", {"model": "aamc/auto", "input": "hi", "background": True, "store": True, "stream": stream})
    made = answer.events[-1]["response"]["id"] if stream else answer.json["id"]
    assert running.ask(f"/v1/responses/{made}", method="GET").status == 200
    assert stub.requests[-1].path == f"/v1/responses/{made}"


def test_what_a_tenant_s_key_made_does_not_exist_for_the_keys_of_others(serve: Any, stub: StubServer) -> None:
    running = serve(good=Script())
    own, sibling, other = key(running, "a", tenant="acme"), key(running, "a2", tenant="acme"), key(running, "b", tenant="other")
    plain, admin = key(running, "plain"), key(running, "root", admin=True)
    assert running.ask("/v1/files?model=good", b"x", content_type="text/plain", **own).json["id"] == "stub-1"
    calls = len(stub.requests)
    for path, method in (
        ("/v1/files/stub-1", "GET"),
        ("/v1/files/stub-1", "DELETE"),
        ("/v1/files/stub-1/content", "GET"),
        ("/v1/batches/stub-1", "GET"),
    ):
        for stranger in (other, plain):
            refused = running.ask(f"{path}?model=good", method=method, **stranger)
            assert (refused.status, "another tenant" in refused.json["error"]["message"]) == (404, True)
    assert running.ask("/v1/batches?model=good", {"input_file_id": "stub-1"}, **other).status == 404
    assert len(stub.requests) == calls
    for allowed in (own, sibling, admin):
        assert running.ask("/v1/files/stub-1/content?model=good", method="GET", **allowed).status == 200
    assert running.ask("/v1/batches?model=good", {"input_file_id": "stub-1"}, **sibling).status == 200


LISTS_AND_UNKNOWN = (("files", 403), ("batches", 403), ("messages/batches", 403), ("files/file-7", 404), ("responses/resp-7/input_items", 404))


def test_lists_and_unknown_objects_are_for_admins_once_a_key_has_a_tenant(serve: Any, stub: StubServer) -> None:
    running = serve(good=Script())
    plain, admin = key(running, "plain"), key(running, "root", admin=True)
    for path, _ in LISTS_AND_UNKNOWN:
        assert running.ask(f"/v1/{path}?model=good", method="GET", **plain).status == 200
    tenant = key(running, "a", tenant="acme")
    running.gateway.access._tenants_checked = -math.inf  # a worker looks again after two seconds
    for path, status in LISTS_AND_UNKNOWN:
        for who in (tenant, plain):
            refused = running.ask(f"/v1/{path}?model=good", method="GET", **who)
            assert (refused.status, "admin key" in refused.json["error"]["message"]) == (status, status == 403)
        assert running.ask(f"/v1/{path}?model=good", method="GET", **admin).status == 200
    assert running.ask("/v1/responses/input_tokens", {"model": "good", "input": "hi"}, **tenant).status == 200


def test_what_keys_without_a_tenant_made_is_for_all_of_them_and_for_no_tenant(serve: Any) -> None:
    running = serve(good=Script())
    plain, other = key(running, "plain"), key(running, "plain2")
    made = running.ask("/v1/files?model=good", b"x", content_type="text/plain", **plain).json["id"]
    tenant = key(running, "a", tenant="acme")
    running.gateway.access._tenants_checked = -math.inf
    assert [running.ask(f"/v1/files/{made}?model=good", method="GET", **who).status for who in (plain, other, tenant)] == [200, 200, 404]


def test_the_files_of_a_batch_are_its_tenant_s_also_where_an_admin_looks_first(serve: Any) -> None:
    """The stub's answer on any path has the id stub-1."""
    running = serve(good=Script())
    own, plain, admin = key(running, "a", tenant="acme"), key(running, "plain"), key(running, "root", admin=True)
    owners = running.gateway.owners
    asyncio.run_coroutine_threadsafe(owners.note(Caller(key_id="k", tenant="acme"), "good", ["batch-1"]), running.loop).result(30)
    assert running.ask("/v1/batches/batch-1?model=good", method="GET", **admin).json["id"] == "stub-1"
    assert [running.ask("/v1/files/stub-1?model=good", method="GET", **who).status for who in (own, plain)] == [200, 404]


@pytest.mark.parametrize("path", ["batches/batch-1", "files/file-1", "responses/resp-1"])
def test_an_object_of_a_model_that_has_left_the_pool_is_not_found_and_the_message_says_why(serve: Any, path: str) -> None:
    running, owner = serve(good=Script()), Caller(key_id="k")
    asyncio.run_coroutine_threadsafe(running.gateway.owners.note(owner, "gone", [path.partition("/")[2]]), running.loop).result(30)
    refused = running.ask(f"/v1/{path}", method="GET")
    assert refused.status == 404
    assert "the model 'gone' keeps this object, and is no longer in the gateway's pool" in refused.json["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_continued_and_read_by_keys_of_its_tenant_only(serve: Any, stub: StubServer, stream: bool) -> None:
    running = serve(fields={"good": {"apis": ["responses"]}}, good=Script())
    own, sibling, other = key(running, "a", tenant="acme"), key(running, "a2", tenant="acme"), key(running, "b", tenant="other")
    answer = running.ask("/v1/responses", {"model": "good", "input": "hi", "stream": stream}, **own)
    made = answer.events[-1]["response"]["id"] if stream else answer.json["id"]
    again = {"model": "good", "input": "go on", "previous_response_id": made}
    assert [running.ask("/v1/responses", again, **who).status for who in (own, sibling, other)] == [200, 200, 404]
    assert [running.ask("/v1/responses/compact", again, **who).status for who in (sibling, other)] == [200, 404]
    assert [running.ask(f"/v1/responses/{made}?model=good", method="GET", **who).status for who in (sibling, other)] == [200, 404]


def test_a_conversation_is_made_and_used_by_keys_of_its_tenant_only(serve: Any, stub: StubServer) -> None:
    running = serve(fields={"good": {"apis": ["responses"]}}, good=Script())
    own, sibling, other = key(running, "a", tenant="acme"), key(running, "a2", tenant="acme"), key(running, "b", tenant="other")
    made = running.ask("/v1/conversations?model=good", {"metadata": {}}, **own).json["id"]
    assert stub.requests[-1].path == "/v1/conversations"
    for conversation in (made, {"id": made}):
        asked = {"model": "good", "input": "go on", "conversation": conversation}
        assert [running.ask("/v1/responses", asked, **who).status for who in (own, sibling, other)] == [200, 200, 404]
    items = f"/v1/conversations/{made}/items?model=good"
    assert [running.ask(items, method="GET", **who).status for who in (own, other)] == [200, 404]
    assert [running.ask(f"/v1/conversations/{made}?model=good", method="DELETE", **who).status for who in (other, own)] == [404, 200]


def test_a_response_whose_stream_breaks_belongs_to_its_tenant_too(serve: Any, stub: StubServer) -> None:
    running = serve(fields={"good": {"apis": ["responses"]}}, good=Script(fault="cut"))
    own, other, plain = key(running, "a", tenant="acme"), key(running, "b", tenant="other"), key(running, "plain")
    answer = running.ask("/v1/responses", {"model": "good", "input": "hi", "stream": True}, **own)
    made = answer.events[0]["response"]["id"]
    assert b"was cut" in answer.body
    statuses = [running.ask(f"/v1/responses/{made}?model=good", method="DELETE", **who).status for who in (other, plain, own)]
    assert statuses == [404, 404, 200]


def test_an_id_in_the_content_of_a_file_belongs_to_nobody(serve: Any) -> None:
    """The stub's answer on any path has the id stub-1."""
    running = serve(good=Script())
    own = key(running, "a", tenant="acme")
    asyncio.run_coroutine_threadsafe(running.gateway.owners.note(Caller(key_id="k", tenant="acme"), "good", ["file-1"]), running.loop).result(30)
    assert running.ask("/v1/files/file-1/content?model=good", method="GET", **own).json["id"] == "stub-1"
    assert running.ask("/v1/files/stub-1?model=good", method="GET", **own).status == 404


def test_a_json_list_passes_through(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(good=Script())

    async def listed(*_: Any) -> WireReply:
        return WireReply(status=200, headers={"content-type": "application/json"}, body=b'["a", "b"]')

    monkeypatch.setattr(running.gateway.upstreams["good"].wire, "send", listed)
    looked_up = running.ask("/v1/batches/b?model=good", method="GET")
    made = running.ask("/v1/images/generations", {"model": "good", "prompt": "a cat"})
    assert [(answer.status, answer.json) for answer in (looked_up, made)] == [(200, ["a", "b"])] * 2


def test_an_answer_to_head_has_the_headers_of_get(serve: Any, stub: StubServer) -> None:
    running = serve(good=Script())
    head, get = (running.ask("/v1/files/f?model=good", method=method) for method in ("HEAD", "GET"))
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", get.headers["content-length"])
    assert int(get.headers["content-length"]) == len(get.body) > 0


def test_an_answer_without_content_has_no_length(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(good=Script())

    async def nothing(*_: Any) -> WireReply:
        return WireReply(status=204, headers={}, body=b"")

    monkeypatch.setattr(running.gateway.upstreams["good"].wire, "send", nothing)
    answer = running.ask("/v1/files/f?model=good", method="DELETE")
    assert (answer.status, answer.headers.keys() & {"content-length", "content-type", "transfer-encoding"}) == (204, set())


COUNT = b'{"model": "good", "messages": [{"role": "user", "content": "x"}]}'


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/files/file-1/content?model=good HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"POST /v1/messages/count_tokens HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n%s" % (len(COUNT), COUNT),
    ],
    ids=["file", "count_tokens"],
)
def test_the_upstream_call_of_a_look_up_ends_when_the_client_leaves(serve: Any, monkeypatch: pytest.MonkeyPatch, request_: bytes) -> None:
    running = serve(None, {"good": {"provider": "anthropic"}}, good=Script())
    asked, left = threading.Event(), threading.Event()

    async def hang(*_: Any) -> None:
        asked.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()

    monkeypatch.setattr(running.gateway.upstreams["good"].wire, "send", hang)
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(request_)
        assert asked.wait(10)
    assert left.wait(1.0)
    lines = running.ask("/metrics", method="GET").body.decode().splitlines()
    assert [line for line in lines if line.startswith("aamc_requests_total") and 'status="499"' in line]
