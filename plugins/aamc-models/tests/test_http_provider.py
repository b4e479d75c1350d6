import asyncio
import base64
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack

import attrs
import numpy as np
import orjson
import pytest
from misbehaving_server import ANSWER, DONE, END, begin, cut, event, events, hang, reply, reset, send, then

from aamc_sdk import MetaController, ModelSpec, Pool
from aamc_sdk.errors import ConfigError, ProviderError
from aamc_sdk.interfaces import WireRequest

CANDIDATE = ModelSpec("small", parameters={"reasoning_effort": "low", "temperature": 1.0})
MESSAGES = [{"role": "user", "content": "3 + 5?"}]
CHAT = WireRequest(api="chat", body={"messages": MESSAGES, "temperature": 0.0})


def sent(provider, request=CHAT):
    return asyncio.run(provider.send(CANDIDATE, request))


def streamed(provider, request=CHAT):
    async def collect():
        return [event async for event in provider.events(CANDIDATE, request)]

    return asyncio.run(collect())


def failed(call, *arguments) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call(*arguments)
    return raised.value


def test_a_request_has_the_models_name_and_the_candidates_parameters_and_the_bodys_own_win(upstream, provider, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    server = upstream(reply(x_request_id="7"))
    answer = sent(provider(base_url=server.url, model="m-1", api_key_env="MY_KEY", headers={"X-Team": "blue"}))
    assert server.asked == [{"reasoning_effort": "low", "temperature": 0.0, "messages": MESSAGES, "model": "m-1"}]
    assert (answer.status, answer.answer, answer.headers["x-request-id"]) == (200, ANSWER, "7")
    assert "post /v1/chat/completions" in server.heads[0]
    assert "authorization: bearer abc" in server.heads[0]
    assert "x-team: blue" in server.heads[0]


def test_headers_take_values_of_environment_variables(upstream, provider, monkeypatch) -> None:
    monkeypatch.setenv("MY_SECRET", "abc\n")
    server = upstream(reply())
    made = provider(base_url=server.url, api_key_env="", headers={"X-Secret": "$MY_SECRET", "X-Other": "$MY_OTHER", "X-Price": "$5"})
    sent(made)
    assert "x-secret: abc" in server.heads[0].splitlines()
    assert "x-price: $5" in server.heads[0]
    assert "x-other" not in server.heads[0]
    assert made.unset_keys() == ["MY_OTHER"]


def test_a_header_without_its_variable_is_not_replaced_by_a_key(upstream, provider, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    server = upstream(reply())
    made = provider(base_url=server.url, api_key_env="MY_KEY", headers={"Authorization": "$MY_OTHER"})
    sent(made)
    assert "authorization" not in server.heads[0]
    assert made.unset_keys() == ["MY_OTHER"]


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        ([reply()], [False, True]),
        ([reply({"error": "busy"}, 503)], [False, True, False]),
        ([hang], [False, True, True]),
        ([reply({"error": "busy"}, 503), reply()], [False, True, False, True]),
        ([], [False, False]),
    ],
    ids=["answered", "refused", "timeout", "repeated", "unreachable"],
)
def test_a_request_tells_when_it_is_sent_and_when_its_server_has_refused_it(upstream, provider, scripts, expected) -> None:
    noted: list[bool] = []
    address = upstream(*scripts).url if scripts else "http://127.0.0.1:9/v1"
    made = provider(base_url=address, retries=int(len(scripts) > 1), timeout_seconds=60.0 if hang not in scripts else 0.5)
    request = attrs.evolve(CHAT, on_sent=noted.append)
    if expected[-1] and hang not in scripts:
        sent(made, request)
    else:
        failed(sent, made, request)
    assert expected == noted


def test_a_refusal_takes_back_no_earlier_attempt_that_may_be_billed(upstream, provider) -> None:
    noted: list[bool] = []
    made = provider(base_url=upstream(reply({"error": "late"}, 504), reply({"error": "busy"}, 429)).url, retries=1)
    assert failed(sent, made, attrs.evolve(CHAT, on_sent=noted.append)).kind == "rate_limit"
    assert noted == [False, True, True, True, True]


@pytest.mark.parametrize(("api", "added"), [("/images/generations", {}), ("completions", {"temperature": 1.0})])
def test_a_candidates_parameters_go_only_to_apis_that_know_them(upstream, provider, api: str, added: dict[str, float]) -> None:
    server = upstream(reply())
    sent(provider(base_url=server.url, model="m-1"), WireRequest(api=api, body={"prompt": "a cat"}))
    assert server.asked == [{"prompt": "a cat", "model": "m-1", **added}]


def test_a_caller_can_add_headers_but_not_replace_the_key(upstream, provider, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    server = upstream(reply())
    headers = {"Authorization": "Bearer stolen", "X-Own": "1", "Host": "elsewhere"}
    sent(provider(base_url=server.url, api_key_env="MY_KEY"), WireRequest(api="chat", body={"messages": MESSAGES}, headers=headers))
    assert "bearer abc" in server.heads[0]
    assert "stolen" not in server.heads[0]
    assert "elsewhere" not in server.heads[0]
    assert "x-own: 1" in server.heads[0]


def test_no_error_shows_a_key_or_a_password(upstream, provider, monkeypatch) -> None:
    error = failed(sent, provider(base_url="http://anna:secret@127.0.0.1:9/v1", api_key_env="", retries=0))
    assert "secret" not in str(error)
    assert "model 'small' at http://127.0.0.1:9/v1 cannot be" in str(error)
    monkeypatch.setenv("MY_KEY", "sk-secret\nx")
    error = failed(sent, provider(base_url=upstream(reply()).url, api_key_env="MY_KEY"))
    assert "secret" not in str(error)
    assert "check base_url, model and key" in str(error)
    assert (error.kind, error.public) == ("failed", "model 'small' failed")  # no mistake of the client


@pytest.mark.parametrize("fields", [{"api_key_env": "MY_KEY"}, {"api_key_env": "", "headers": {"Authorization": "Basic abc"}}], ids=["key", "header"])
def test_an_address_with_a_password_takes_no_key(provider, monkeypatch, fields) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    with pytest.raises(ConfigError, match=r"base_url http://127.0.0.1:9/v1 has a user's name, so no API key can be sent there") as raised:
        provider(base_url="http://anna:secret@127.0.0.1:9/v1", **fields)
    assert "secret" not in str(raised.value)
    deployments = [{"base_url": "http://127.0.0.1:9/v1"}, {"base_url": "http://anna@127.0.0.1:8/v1"}]
    with pytest.raises(ConfigError, match=r"http://127.0.0.1:8/v1 has a user's name"):
        provider(base_url="http://127.0.0.1:9/v1", deployments=deployments, **fields)


def test_an_address_with_a_password_is_used(upstream, provider) -> None:
    server = upstream(reply())
    assert sent(provider(base_url=server.url.replace("//", "//anna:secret@"), api_key_env="")).status == 200
    assert "authorization: basic yw5uytpzzwnyzxq=" in server.heads[0]


ODD = b'{"choices": [{"index": 0, "delta": {"content": "NaN"}, "message": {"content": "NaN"}}], "usage": {"prompt_tokens": NaN, "cost": -Infinity}}'
STRICT = {
    "choices": [{"index": 0, "delta": {"content": "NaN"}, "message": {"content": "NaN"}}],
    "usage": {"prompt_tokens": None, "cost": None},
}


def test_null_takes_the_place_of_numbers_that_json_has_not(upstream, provider) -> None:
    answer = sent(provider(base_url=upstream(reply(ODD)).url))
    assert STRICT == orjson.loads(answer.body) == answer.answer
    first, *others = streamed(provider(base_url=upstream(events(b"event: message\ndata: " + ODD + b"\n\n", END, DONE)).url))
    assert (first[:21], orjson.loads(first[21:])) == (b"event: message\ndata: ", STRICT)
    assert others == [END, DONE]


def test_words_like_those_of_such_numbers_stay_as_they_came(upstream, provider) -> None:
    body = b'{"choices" : [{"message": {"content": "NaN and -Infinity"}}]}'
    assert sent(provider(base_url=upstream(reply(body)).url)).body == body
    piece = b'data: {"choices" : [{"delta": {"content": "NaN"}}]}\n\n'
    assert streamed(provider(base_url=upstream(events(piece, END, DONE)).url)) == [piece, END, DONE]


KEY = "sk-1234567890abcdef"
REPEATED = {"error": {"message": f"Incorrect API key provided: {KEY}.", "type": "invalid_request_error"}}


@pytest.mark.parametrize("script", [reply(REPEATED, 401), reply(REPEATED, 400), reply(REPEATED), reply(f"<p>{KEY}</p>".encode(), kind="text/html")])
@pytest.mark.parametrize("call", [sent, streamed])
def test_a_key_that_a_server_repeats_is_in_no_error(upstream, provider, monkeypatch, script, call) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    made = provider(base_url=upstream(script).url, api_key_env="MY_KEY", retries=0, breaker_failures=1)
    error = failed(call, made)
    stopped = failed(call, made) if error.kind != "request" else error  # its message has the last failure
    assert KEY not in f"{error} {error.public} {error.body!r} {stopped}"
    assert "[API key]" in str(error)


@pytest.mark.parametrize("part", [KEY[:12], KEY[:-1], base64.b64encode(KEY.encode()).decode()])
def test_a_part_of_a_key_or_its_base64_form_is_in_no_error(upstream, provider, monkeypatch, part) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    words = {"error": {"message": f"the key '{part}' is not known; a key looks like sk-12345***cdef"}}
    error = failed(sent, provider(base_url=upstream(reply(words, 400)).url, api_key_env="MY_KEY"))
    assert part not in f"{error} {error.public} {error.body!r}"
    assert "the key '[API key]' is not known; a key looks like sk-12345***cdef" in str(error)


@pytest.mark.parametrize("key", ["a1b2c3d4e5f60718.AbCdEfGhIjKlMnOp", "id-1234567890:s3cr3t~tail%", "eyJhbGciOiJI.eyJzdWIiOiJv.c2lnbmF0dXJl"])
def test_a_key_with_other_signs_than_letters_is_hidden_whole(upstream, provider, monkeypatch, key) -> None:
    monkeypatch.setenv("MY_KEY", key)
    error = failed(sent, provider(base_url=upstream(reply({"error": {"message": f"Incorrect API key {key} given"}}, 400)).url, api_key_env="MY_KEY"))
    assert "Incorrect API key [API key] given" in str(error)


def test_words_that_only_begin_as_the_key_does_stay(upstream, provider, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-ant-api03-1234567890abcdefghij")
    words = {"error": {"message": "keys begin with sk-ant-api03-, see the console"}}
    error = failed(sent, provider(base_url=upstream(reply(words, 400)).url, api_key_env="MY_KEY"))
    assert "keys begin with sk-ant-api03-, see the console" in str(error)


def test_a_key_that_a_server_repeats_in_a_stream_is_in_no_event(upstream, provider, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    failure = b"data: " + json.dumps(REPEATED).encode() + b"\n\n"
    came = streamed(provider(base_url=upstream(events(event("a"), failure)).url, api_key_env="MY_KEY"))
    assert came == [event("a"), failure.replace(KEY.encode(), b"[API key]")]


def test_without_a_key_no_header_of_it_is_sent(upstream, provider, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = upstream(reply())
    sent(provider(base_url=server.url))
    assert "authorization" not in server.heads[0]


def test_events_come_as_they_were_sent(upstream, provider) -> None:
    pieces = (event("a"), event("b"), b": comment\n\n", END, DONE)
    server = upstream(events(b": wait\n\n", *pieces))
    assert b"".join(streamed(provider(base_url=server.url))) == b": wait\n\n" + b"".join(pieces)
    assert server.asked[0]["stream"] is True


def test_comments_before_the_first_event_are_not_collected(upstream, provider) -> None:
    pieces, number = [event("a"), END, DONE], 200_000
    came = streamed(provider(base_url=upstream(events(b": wait\n\n" * number, *pieces)).url))
    assert (came[-3:], len(came) < number) == (pieces, True)


def test_a_stream_without_its_last_empty_line_ends(upstream, provider) -> None:
    async def collect(calling) -> list[bytes]:
        came: list[bytes] = []
        async for each in calling.events(CANDIDATE, CHAT):
            came.append(each)
            assert len(came) <= 3
        return came

    server = upstream(events(event("a"), END, DONE[:-1]))
    assert asyncio.run(collect(provider(base_url=server.url))) == [event("a"), END, DONE]


def test_a_byte_order_mark_before_a_stream_is_left_out(upstream, provider) -> None:
    assert streamed(provider(base_url=upstream(events(b"\xef\xbb\xbf" + event("a"), END, DONE)).url)) == [event("a"), END, DONE]


def test_an_event_may_begin_with_a_comment(upstream, provider) -> None:
    pieces = [b": note\n" + each for each in (event("a"), END, DONE)]
    assert streamed(provider(base_url=upstream(events(*pieces)).url)) == pieces
    error = failed(streamed, provider(base_url=upstream(events(b': note\ndata: {"error": {"message": "busy"}}\n\n')).url, retries=0))
    assert "answered with an error: busy" in str(error)


@pytest.mark.parametrize("end", [cut, reset])
def test_an_answer_without_a_length_is_complete_unless_its_connection_is_lost(upstream, provider, end) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\n\r\n"
    answer = then(send(head + b"sound", chunked=False), lambda *_: time.sleep(0.2), end)
    calling, request = provider(base_url=upstream(answer).url, retries=0), WireRequest(api="/audio/speech", body={"input": "sound"})
    if end is cut:
        assert sent(calling, request).body == b"sound"
    else:
        assert failed(sent, calling, request).kind == "protocol"


@pytest.mark.parametrize("query", ["key=secret", ""])
def test_an_address_with_a_query_is_refused_without_its_secrets(provider, query) -> None:
    with pytest.raises(ConfigError, match=r"base_url must be an address such as .*, not 'http://host/v1\?'$"):
        provider(base_url=f"http://me:secret@host/v1?{query}")


TOO_LONG = {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (reply({"error": {"message": "no such model"}}, 400), "request", "refused: 400 Bad Request: no such model"),
        (reply({"error": {"message": "bad key"}}, 401), "authentication", "refused: 401 Unauthorized: bad key"),
        (reply({"error": {"message": "no credit"}}, 402), "authentication", "refused: 402 Payment Required: no credit"),
        (reply(b"", 405), "configuration", "refused: 405 Method Not Allowed"),
        (reply(b"", 407), "connection", "refused: 407 Proxy Authentication Required"),
        (reply(b"", 421), "connection", "refused: 421 Misdirected Request"),
        (reply({"error": "busy"}, 503), "server", "refused: 503 Service Unavailable: busy"),
        (reply({"error": {"message": "slow down"}}, 429), "rate_limit", "refused: 429 Too Many Requests: slow down"),
        (reply(b"<html>login</html>", kind="text/html"), "protocol", "but with '<html>login</html>'; check the end of base_url"),
        (reply(b"", 302, location="http://127.0.0.1:9/"), "protocol", "refused: 302 Found: redirects to http://127.0.0.1:9/, which"),
        (reply({"error": {"message": "later", "type": "rate_limit_error"}}), "rate_limit", "answered with an error: later"),
        (reply({"error": {"message": "later", "type": "tokens", "code": "rate_limit_exceeded"}}), "rate_limit", "answered with an error: later"),
        (reply({"error": {"message": "later", "code": 429}}), "rate_limit", "answered with an error: later"),
        (reply({"type": "error", "error": {"message": "Overloaded", "type": "overloaded_error"}}), "server", "answered with an error: Overloaded"),
        (reply(TOO_LONG), "request", "answered with an error: too long"),
        (reply({"error": {"message": "no credit", "code": 402}}), "authentication", "answered with an error: no credit"),
        (reply({"error": {"message": "gone", "code": "502"}}), "server", "answered with an error: gone"),
        (reply({"code": "permission-denied", "error": "Content violates usage guidelines."}, 403), "request", "usage guidelines"),
        (reply({"error": {"message": "Your input was flagged", "code": 403}}), "request", "answered with an error: Your input was flagged"),
        (reply({"error": {"message": "Access denied", "code": 403}}, 403), "authentication", "refused: 403 Forbidden: Access denied"),
        (reply({"error": {"message": "no such model", "code": 404}}), "configuration", "answered with an error: no such model"),
        (reply([{"error": {"message": "API key not valid.", "code": 400}}], 400), "authentication", "refused: 400 Bad Request: API key not valid."),
        (reply({"code": "Wrong", "error": "Incorrect API key provided: a***b"}, 400), "authentication", "Bad Request: Incorrect API key provided"),
        (reply({"error": {"message": "'Invalid API key' is no title"}}, 400), "request", "Bad Request: 'Invalid API key' is no title"),
        (reply({"object": "error", "message": "too long", "code": 400}, 400), "request", "refused: 400 Bad Request: too long"),
        (reply({"object": "error", "message": "too long", "code": 400}), "request", "answered with an error: too long"),
        (reply({"detail": [{"loc": ["body", "top_k"], "msg": "Not permitted"}, {"msg": "No"}]}, 400), "request", ": body.top_k: Not permitted; No"),
        (reply({"message": {"detail": [{"loc": ["body", "n"], "msg": "Not permitted"}]}}, 400), "request", ": body.n: Not permitted"),
        (then(begin(), send(b'{"choices": [', chunked=False), cut), "protocol", "cut or broke its answer"),
        (cut, "protocol", "closed the connection before its answer: ServerDisconnectedError"),
        (reset, "protocol", "closed the connection before its answer: ClientOSError"),
        (lambda server, connection, request: connection.sendall(b"SSH-2.0-x\r\n\r\n"), "protocol", "cut or broke its answer"),
    ],
)
@pytest.mark.parametrize("call", [sent, streamed])
def test_a_server_that_fails_is_a_typed_error(upstream, provider, script, kind, text, call) -> None:
    server = upstream(script)
    error = failed(call, provider(base_url=server.url, retries=0))
    assert error.kind == kind
    assert text.replace("JSON object", "") in str(error)
    assert str(error).startswith(f"model 'small' at {server.url} ")


def test_a_refusal_in_a_stream_is_told_to_the_client_and_sent_once_and_opens_no_breaker(upstream, provider) -> None:
    server = upstream(events(b"data: " + json.dumps(TOO_LONG).encode() + b"\n\n", DONE))
    calling = provider(base_url=server.url, breaker_failures=1)
    error = failed(streamed, calling)
    assert (error.status, error.public) == (400, "model 'small' refused the request (400 Bad Request): too long")
    assert (len(server.asked), calling.state().available) == (1, True)


def test_half_a_json_is_a_typed_error(upstream, provider) -> None:
    server = upstream(reply(b'{"choices": [{"mess'))
    assert failed(sent, provider(base_url=server.url, retries=0)).kind == "protocol"


@pytest.mark.parametrize("choices", ["x", None, {}, [{"index": 0, "message": None}], [{"finish_reason": "stop"}], ["x"]])
def test_an_answer_without_choices_is_a_typed_error_not_an_empty_text(upstream, provider, choices) -> None:
    server = upstream(reply({"choices": choices, "usage": []}))
    with pytest.raises(ProviderError, match=r"model 'small' .*answered without choices.*; check the ") as caught:
        asyncio.run(provider(base_url=server.url, retries=0).complete(CANDIDATE, [{"role": "user", "content": "6 x 7?"}]))
    assert caught.value.kind == "protocol"


def test_a_message_with_a_broken_field_is_a_failed_call(upstream) -> None:
    called = ModelSpec("small", endpoint={"provider": "anthropic", "base_url": upstream(reply({"content": [5]})).url, "retries": 0})
    with (
        MetaController.build(router="random", pool=Pool([called])) as controller,
        pytest.raises(ProviderError, match="gave no usable answer"),
    ):
        controller.complete("6 x 7?")


def test_a_document_without_choices_is_no_answer_to_pass_on(upstream, provider) -> None:
    error = failed(sent, provider(base_url=upstream(reply({"status": "ok"})).url, retries=0))
    assert error.kind == "protocol"
    assert "answered without choices but with" in str(error)


@pytest.mark.parametrize(("name", "api", "key"), [("anthropic", "messages", "content"), ("openai", "responses", "output")])
def test_a_chat_completion_from_a_server_of_another_api_is_no_empty_answer(upstream, provider, name, api, key) -> None:
    called = provider(name, base_url=upstream(reply()).url, retries=0)
    error = failed(sent, called, WireRequest(api=api, body={"messages": MESSAGES}))
    assert error.kind == "protocol"
    assert f"answered without {key} but with" in str(error)


def test_an_answer_without_a_finish_reason_has_stopped(upstream, provider) -> None:
    called = provider(base_url=upstream(reply({"choices": [{"message": {"role": "assistant", "content": "42"}}]})).url)

    async def completed():
        try:
            return await called.complete(CANDIDATE, MESSAGES)
        finally:
            await called.close()

    answer = asyncio.run(completed())
    assert (answer.text, answer.finish_reason) == ("42", "stop")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_wrong_certificate_is_the_servers_fault_not_the_requests(provider, tmp_path) -> None:
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other -keyout key.pem -out certificate.pem"
    subprocess.run(made.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")

    def accept(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        error = failed(sent, provider(base_url=f"https://127.0.0.1:{listener.getsockname()[1]}/v1", retries=0))
        accepting.join(30)
    assert (error.kind, error.public) == ("connection", "model 'small' cannot be reached")
    assert "certificate verify failed" in str(error)


def test_where_nobody_listens_is_a_typed_error(provider) -> None:
    error = failed(sent, provider(base_url="http://127.0.0.1:9/v1", retries=0))
    assert error.kind == "connection"
    assert "cannot be reached" in str(error)


@pytest.mark.parametrize(
    ("call", "script", "limit", "text"),
    [
        (sent, hang, "timeout_seconds", "gave no whole answer in 0.2 s"),
        (sent, then(begin(), hang), "idle_timeout_s", "no byte in 0.2 s"),
        (streamed, hang, "first_token_timeout_s", "gave no event in 0.2 s"),
        (streamed, then(begin("text/event-stream", None), send(b": alive\n\n"), hang), "idle_timeout_s", "no byte in 0.2 s"),
        (streamed, then(begin("text/event-stream", None), send(event("a")), hang), "idle_timeout_s", "no byte in 0.2 s"),
    ],
)
def test_a_server_that_hangs_is_a_timeout_and_sees_the_client_leave(upstream, provider, call, script, limit, text) -> None:
    server = upstream(script)
    error = failed(call, provider(base_url=server.url, retries=0, **{limit: 0.2}))
    assert error.kind == "timeout"
    assert text in str(error)
    assert server.left.wait(60)


STREAM_HEAD = begin("text/event-stream", None)


@pytest.mark.parametrize(
    ("streams", "script"), [(False, hang), (False, then(begin(), hang)), (True, hang), (True, then(STREAM_HEAD, send(event("a")), hang))]
)
def test_a_cancelled_call_ends_at_the_server(upstream, provider, streams, script) -> None:
    server = upstream(script)
    calling = provider(base_url=server.url)

    async def call() -> None:
        if not streams:
            await calling.send(CANDIDATE, CHAT)
        async for _ in calling.events(CANDIDATE, CHAT):
            pass

    async def leave() -> None:
        task = asyncio.ensure_future(call())
        await asyncio.to_thread(server.hanging.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left.wait, 10)
        assert calling.state().available

    asyncio.run(leave())


def test_a_closed_stream_ends_at_the_server(upstream, provider) -> None:
    server = upstream(then(begin("text/event-stream", None), send(event("a")), hang))
    calling = provider(base_url=server.url)

    async def leave() -> None:
        stream = calling.events(CANDIDATE, CHAT)
        assert await anext(stream) == event("a")
        await stream.aclose()
        assert await asyncio.to_thread(server.left.wait, 10)

    asyncio.run(leave())


def test_a_stream_that_is_cut_is_an_error_after_what_came(upstream, provider) -> None:
    server = upstream(then(begin("text/event-stream", None), send(event("a")), cut))
    calling = provider(base_url=server.url)

    async def collect(into) -> None:
        async for each in calling.events(CANDIDATE, CHAT):
            into.append(each)

    came: list[bytes] = []
    error = failed(lambda: asyncio.run(collect(came)))
    assert came == [event("a")]
    assert error.kind == "protocol"
    assert len(server.asked) == 1


def test_a_server_that_takes_no_connection_is_not_reached(provider) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        for _ in range(4):  # the kernel keeps few connections that nobody accepts, and drops the others
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        error = failed(sent, provider(base_url=address, connect_timeout_s=0.3, retries=0))
    assert (error.kind, "cannot be reached: no connection in 0.3 s" in str(error)) == ("connection", True)


def test_connections_are_used_again(upstream, provider) -> None:
    ports = set()

    def note(server, connection, request) -> None:
        ports.add(connection.getpeername())

    server = upstream(then(note, reply()), then(note, events(event("a"), END, DONE)), then(note, reply({}, 400)), then(note, reply()))
    calling = provider(base_url=server.url, retries=0)

    async def several() -> None:
        await calling.send(CANDIDATE, CHAT)
        async for _ in calling.events(CANDIDATE, CHAT):
            pass
        with pytest.raises(ProviderError):
            await calling.send(CANDIDATE, CHAT)
        await calling.send(CANDIDATE, CHAT)
        await calling.close()

    asyncio.run(several())
    assert len(ports) == 1


def test_an_answer_beyond_the_limit_is_refused(upstream, provider) -> None:
    server = upstream(reply(b"x" * 300_000))
    error = failed(sent, provider(base_url=server.url, retries=0, max_answer_bytes=100_000))
    assert error.kind == "protocol"
    assert "answered with more than 100,000 bytes" in str(error)
    server = upstream(then(begin("text/event-stream", None), send(event("a")), send(b"data: " + b"x" * 300_000), hang))
    error = failed(streamed, provider(base_url=server.url, retries=0, max_answer_bytes=100_000))
    assert "an event of more than 100,000 bytes" in str(error)


def test_a_huge_answer_comes_whole(upstream, provider) -> None:
    huge = ANSWER | {"padding": "x" * 20_000_000}
    assert len(sent(provider(base_url=upstream(reply(huge)).url)).body) > 20_000_000


def test_a_slow_reader_slows_the_server_down(upstream, provider) -> None:
    sent_all = threading.Event()

    def flood(server, connection, request) -> None:
        then(begin("text/event-stream", None), *[send(event("x" * 60_000)) for _ in range(400)], send(b""))(server, connection, request)
        sent_all.set()

    server = upstream(flood)
    calling = provider(base_url=server.url)

    async def read() -> int:
        stream = calling.events(CANDIDATE, CHAT)
        await anext(stream)
        assert not await asyncio.to_thread(sent_all.wait, 0.5)  # 24 MB do not fit into the buffers of the sockets
        return 1 + sum([1 async for _ in stream])

    assert asyncio.run(read()) == 400


def test_one_provider_works_in_one_event_loop_after_the_other(upstream, provider) -> None:
    calling = provider(base_url=upstream(reply()).url)
    assert [sent(calling).status for _ in range(3)] == [200] * 3


def test_bytes_and_other_apis_pass(upstream, provider) -> None:
    server = upstream(reply(b"\x00\x01", kind="audio/mpeg"))
    request = WireRequest(api="/audio/speech", body=b"--x--", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert sent(provider(base_url=server.url), request).body == b"\x00\x01"
    assert "post /v1/audio/speech" in server.heads[0]
    assert "content-type: multipart/form-data; boundary=x" in server.heads[0]
    sent(provider(base_url=server.url), WireRequest(api="/files/f-1", body={}, method="GET"))
    assert "get /v1/files/f-1" in server.heads[1]


@pytest.mark.parametrize("api", ["unknown", "/../admin"])
def test_an_unknown_api_is_an_error_before_a_call(provider, api) -> None:
    error = failed(sent, provider(base_url="http://127.0.0.1:9/v1"), WireRequest(api=api, body={}))
    assert (error.kind, "has no API" in str(error)) == ("request", True)


@pytest.mark.parametrize("limits", [{}, {"tokens_per_minute": 100}])
def test_a_body_that_is_no_json_is_an_error_before_a_call(provider, limits) -> None:
    error = failed(sent, provider(base_url="http://127.0.0.1:9/v1", **limits), WireRequest(api="chat", body={"n": 2**70}))
    assert (error.kind, "the request is not JSON" in str(error)) == ("request", True)


def test_numbers_of_numpy_are_sent_as_numbers(upstream, provider) -> None:
    server = upstream(reply())
    sent(provider(base_url=server.url), WireRequest(api="chat", body={"temperature": np.float64(0.5), "seed": np.int64(3)}))
    asked = server.asked[0]
    assert (asked["temperature"], asked["seed"]) == (0.5, 3)


MISSING = {"error": {"message": "The model `m-1` does not exist", "type": "invalid_request_error", "code": "model_not_found"}}


def test_a_model_that_its_server_does_not_know_is_a_wrong_configuration(upstream, provider) -> None:
    error = failed(sent, provider(base_url=upstream(reply(MISSING, 404)).url, retries=0))
    assert (error.kind, error.status) == ("configuration", 404)
    assert "does not exist; check the endpoint's model, and the end of its base_url" in str(error)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("model 'llama3' not found", "configuration"),
        ("models/gemini-9 is not found for API version v1beta", "configuration"),
        ("The API deployment for this resource does not exist.", "configuration"),
        ("model: claude-9", "configuration"),
        ("No endpoints found for google/gemma-9.", "configuration"),
        ("Not Found", "configuration"),
        ("failed by the script", "configuration"),
        ("File Not Found", "configuration"),
        ("The model grok-9 does not exist or your team has no access to it. Please reach out to support if that is a mistake.", "configuration"),
        ("File not found: file_011CNha8iCJcU1wXNR6q4V8w", "request"),
        ("", "configuration"),
        ("No endpoints found that support tool use.", "request"),
        ("This model does not support image input", "request"),
        ("Item with id 'msg_1' not found. Items are not persisted when `store` is set to false.", "request"),
    ],
)
def test_only_a_missing_model_is_a_wrong_configuration(upstream, provider, message: str, kind: str) -> None:
    answer = reply({"error": {"message": message, "code": 404}} if message else b"404 page not found", 404)
    error = failed(sent, provider(base_url=upstream(answer).url, retries=0))
    assert error.kind == kind
    assert kind == "configuration" or message in error.public


@pytest.mark.parametrize(
    "request_",
    [
        WireRequest(api="/files/f-1", body={}, method="GET"),
        WireRequest(api="responses", body={"input": "hi", "previous_response_id": "resp_1"}),
        WireRequest(api="responses", body={"input": "hi", "conversation": "conv_1"}),
        WireRequest(api="responses", body={"input": "hi", "prompt": {"id": "pmpt_1"}}),
    ],
)
def test_what_a_request_names_and_its_server_does_not_have_is_the_requests_fault(upstream, provider, request_) -> None:
    error = failed(sent, provider(base_url=upstream(reply(MISSING, 404)).url, retries=0, apis=["chat", "responses"]), request_)
    assert (error.kind, error.status) == ("request", 404)


@pytest.mark.parametrize(
    ("status", "public"),
    [
        (401, "model 'small' refuses the key that it was given (401 Unauthorized)"),
        (404, "model 'small' is not known to its server (404 Not Found)"),
        (500, "model 'small' failed (500 Internal Server Error)"),
        (400, "model 'small' refused the request (400 Bad Request): The model `m-1` does not exist"),
    ],
)
def test_the_public_message_names_neither_address_nor_key(upstream, provider, monkeypatch, status: int, public: str) -> None:
    monkeypatch.setenv("MY_KEY", "abc")
    server = upstream(reply(MISSING, status))
    error = failed(sent, provider(base_url=server.url, api_key_env="MY_KEY", retries=0))
    assert error.public == public
    assert server.url in str(error)


def test_the_public_message_of_a_server_that_is_away_has_no_address(provider) -> None:
    error = failed(sent, provider(base_url="http://127.0.0.1:9/v1", retries=0))
    assert error.public == "model 'small' cannot be reached"


@pytest.mark.parametrize(
    ("api", "kind", "opens"), [("chat", "configuration", True), ("embeddings", "request", False), ("completions", "request", False)]
)
def test_only_a_missing_model_of_conversations_opens_the_breaker(upstream, provider, api: str, kind: str, opens: bool) -> None:
    model = provider(base_url=upstream(*[reply(MISSING, 404)] * 5, reply()).url, retries=0)
    assert {failed(sent, model, WireRequest(api=api, body={"input": "hi"})).kind for _ in range(5)} == {kind}
    assert model.state().available != opens
    if not opens:
        assert sent(model).status == 200
