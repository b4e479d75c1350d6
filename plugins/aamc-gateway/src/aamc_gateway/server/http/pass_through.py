"""APIs that pass through to a named model: batches, files, images, audio, stored responses and conversations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode

import orjson
from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.forwarding.answers.whole_answers import note_objects, send_reply
from aamc_gateway.forwarding.model_handler import serve
from aamc_gateway.requests.bodies import parse_object, read_body, run_by_size
from aamc_gateway.requests.body_checks import check_number, check_spelling
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.requests.forms import Form, is_form, read_form
from aamc_gateway.requests.media import uploaded_media
from aamc_gateway.requests.request_reader import PASSED_HEADERS, sorted_headers, unknown_model
from aamc_gateway.requests.routing_arguments import PREFIX
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.model_endpoints import free_reply
from aamc_sdk.types import Query

PASSED = (
    ("/v1/batches", ("GET", "POST")),
    ("/v1/batches/{rest:path}", ("GET", "POST")),
    ("/v1/messages/batches", ("GET", "POST")),
    ("/v1/messages/batches/{rest:path}", ("GET", "POST", "DELETE")),
    ("/v1/files", ("GET", "POST")),
    ("/v1/files/{rest:path}", ("GET", "DELETE")),
    ("/v1/uploads", ("POST",)),
    ("/v1/uploads/{rest:path}", ("POST",)),
    ("/v1/images/{rest:path}", ("POST",)),
    ("/v1/audio/{rest:path}", ("POST",)),
    ("/v1/moderations", ("POST",)),
    ("/v1/responses/{rest:path}", ("GET", "POST", "DELETE")),
    ("/v1/conversations", ("POST",)),
    ("/v1/conversations/{rest:path}", ("GET", "POST", "DELETE")),
)
"""The paths that pass through, with their methods."""
_SAFE = re.compile(r"/v1(?:/[A-Za-z0-9_.~-]+)+")
_FREE = re.compile(r"/v1/(files|uploads|moderations|conversations|(messages/)?batches/|responses/(input_tokens|[^/]+/cancel)$)")
"""Requests without a price."""
_BATCH = re.compile(r"/v1/(messages/)?batches")
"""Requests whose cost shows later."""
_NUMBER = re.compile("[0-9]{1,9}", re.ASCII)
_IMAGES = "/v1/images/"
_MODEL_HEADER = b"x-aamc-model"
_PASSED_HEADERS = (b"content-type", b"accept", *PASSED_HEADERS)
"""Headers that are passed on with a form or another body that passes through as it came."""
_OBJECT = re.compile(rb"[\x00\t\n\r \xef\xbb\xbf\xfe\xff]*\{")
"""The start of a JSON object in UTF-8, UTF-16 or UTF-32, of which some servers read all, whatever the content type."""


async def pass_through(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Send a request to the model that it names, in its body, in the header ``x-aamc-model`` or by ``?model=``, and return the answer.

    A request that names an object instead goes to the model whose server has it.

    Raises:
        Refused: It names no model, one that is unknown, an object of another tenant, or an unknown header of the gateway.
    """
    own, headers = sorted_headers(scope["headers"], [_MODEL_HEADER], _PASSED_HEADERS)
    raw = await read_body(gateway.large_bodies, scope, receive)
    content_type, nesting = headers.get("content-type", ""), gateway.settings.limits.nesting
    document, form = await run_by_size(len(raw), lambda: _contents(raw, content_type, nesting))
    body = document or {}
    caller: Caller = scope["caller"]
    api = _api(scope)
    await gateway.owners.check(caller, body, api, scope["method"])
    named = _named_model(scope, own.get(_MODEL_HEADER), body, _value(raw, form.model))
    name = await _holder(gateway, body, api) if named is None else _known(gateway, named, scope["path"])
    caller.check_model(name, gateway.upstreams)
    caller.check_fallbacks(body or dict.fromkeys(form.names, True))
    if caller.models and scope["method"] == "POST" and _BATCH.fullmatch(scope["path"]):
        why = f"the key {caller.name!r} may use some models only, and the requests of a batch may name any; send them one by one"
        raise Refused(why, status=403, kind="permission")
    user = gateway.reader.user(body or {"user": _value(raw, form.user)}, caller)
    if document is not None:  # the server gets what was checked: in the bytes that came, a field may be there twice
        if "model" not in body:  # else the provider writes the body, with the model's own name
            raw = orjson.dumps(body)
        headers.pop("content-type", None)  # that of JSON in UTF-8 is the default
    elif form.content_type:  # the client's may have two boundaries, or name a form that is not multipart
        headers["content-type"] = form.content_type
    model, field = gateway.upstreams[name].model.encode(), form.model
    sent = raw if field is None else await run_by_size(len(raw), lambda: raw[: field.start] + model + raw[field.stop :])
    request = ClientRequest(
        dialect="messages" if scope["path"].startswith("/v1/messages") else "chat",
        api=api,
        body=body,
        raw=sent,
        method="GET" if scope["method"] == "HEAD" else scope["method"],  # its answer has the same headers, such as the length
        body_bytes=len(raw),
        has_media=bool(form.files),
        media=uploaded_media(api, form.files),
        caller=caller,
        mode="model",
        model=name,
        query=Query("", user=user, tenant=caller.tenant),
        answers=_images(body, _value(raw, form.n)) if scope["path"].startswith(_IMAGES) else 1,
        priced="nothing" if _FREE.match(scope["path"]) else "unknown" if _BATCH.fullmatch(scope["path"]) else "tokens",
        headers=headers,
    )
    if request.method == "POST":
        await serve(gateway, request, scope, receive, send)
    else:
        await _look_up(gateway, request, receive, send)


def _known(gateway: Gateway, name: str, path: str) -> str:
    """Return a name if it is that of a model of the pool."""
    if name in gateway.upstreams:
        return name
    if name.startswith(PREFIX):
        message = f"{path:.100} passes through to one model, so {name!r:.200} cannot answer it; name a model of the pool"
        raise Refused(message, status=404, kind="model_not_found")
    raise unknown_model(name, gateway.upstreams)


async def _holder(gateway: Gateway, body: Mapping[str, Any], api: str) -> str:
    """Return the model whose server has the object that a request names."""
    name = await gateway.owners.candidate_of(body, api)
    if name is None:
        raise Refused("the request must name a model: in its body, in the header x-aamc-model, or by ?model=")
    if name not in gateway.upstreams:
        message = f"the model {name!r} keeps this object, and is no longer in the gateway's pool; an administrator may add it again"
        raise Refused(message, status=404, kind="not_found")
    return name


async def _look_up(gateway: Gateway, request: ClientRequest, receive: Receive, send: Send) -> None:
    """Answer a request that costs nothing, without a decision: applications ask again and again whether a batch is done."""
    upstream = gateway.upstreams[request.model]
    if request.model not in gateway.upstreams.capable(request.api):
        raise Refused(f"the provider of {request.model!r} has no such API")
    async with gateway.access.admitted(request.caller, request.query.user):
        reply = await free_reply(upstream, request, receive)
    await note_objects(gateway, request, reply)
    await send_reply(send, reply)


def _api(scope: Scope) -> str:
    """Return the path below the base URL, with the query but for ``model``."""
    path: str = scope["path"]
    if not _SAFE.fullmatch(path) or "/." in path:
        raise Refused(f"the path {path!r:.100} cannot be passed on; it may have letters, digits and . _ ~ - only")
    pairs = [(name, value) for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name != "model"]
    query = urlencode(pairs, safe="/", quote_via=quote)
    return path.removeprefix("/v1") + (f"?{query}" if query else "")


def _contents(raw: bytes, content_type: str, nesting: int) -> tuple[dict[str, Any] | None, Form]:
    """Return a body's JSON object, None for another body, such as a file, and its form.

    A body that a server may read as JSON or as a form is read here too, so that it cannot name a model that the gateway does not see.

    Raises:
        Refused: It is not a JSON object, or an unusual form.
    """
    if is_form(content_type):
        return None, read_form(raw, content_type)
    kind = content_type.partition(";")[0].strip().lower()
    if raw and (not kind or kind.endswith(("/json", "+json")) or _OBJECT.match(raw)):
        body = parse_object(raw, nesting)
        check_spelling(body)
        return body, Form()
    return None, Form()


def _images(body: Mapping[str, Any], in_form: str | None) -> int:
    """Return the number of images that a request asks for."""
    asked = body.get("n") if in_form is None else int(in_form) if _NUMBER.fullmatch(in_form) else in_form
    check_number("n", asked)
    return int(asked or 1)


def _value(raw: bytes, field: slice | None) -> str | None:
    """Return the value of a form's field."""
    return None if field is None else raw[field].decode(errors="replace").strip()


def _named_model(scope: Scope, in_header: str | None, body: Mapping[str, Any], in_form: str | None) -> str | None:
    found = None if in_header is None else unquote(in_header)  # as the header of an answer has it
    if found is None and scope["query_string"]:
        found = next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("model", ())), None)
    if found is None and isinstance(named := body.get("model"), str):
        found = named
    return in_form if found is None else found
