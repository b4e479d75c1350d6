import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from aamc_agents.tool import AgentError
from aamc_agents.web_fetch import _is_public, text_of

PAGE = "<html><style>p {}</style><body><h1>Pears</h1><p>12 are\n left.</p><script>alert(1)</script></body></html>"

WITHOUT_TEXT = {"/silent": b"<html><script>alert(1)</script></html>", "/blank": b" "}
ENCODED = {
    "/meta": '<html><head><meta charset="iso-8859-1"></head>Grüße'.encode("latin-1"),
    "/http-equiv": "<META http-equiv='Content-Type' content='text/html; charset=windows-1252'>Grüße".encode("cp1252"),
    "/both": "<meta charset=iso-8859-1>Grüße".encode(),
    "/utf-16": '<meta charset="UTF-16LE">Grüße'.encode(),
    "/undeclared": "<p>Grüße <code>charset=iso-8859-1</code>".encode(),
}
PACKED = {
    "/gzip": ("gzip", gzip.compress(b"plain")),
    "/not-gzip": ("GZIP", b"plain"),
    "/bomb": ("gzip", gzip.compress(b"x" * 50_000_000)),
    "/twice": ("gzip, gzip", gzip.compress(gzip.compress(b"plain"))),
    "/deflate": ("deflate", zlib.compress(b"plain")),
}


def reply(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
    path, port = request.path, request.server.server_port
    targets = {"/on": "/page", "/out": "http://169.254.169.254/", "/other": f"http://localhost:{port}/page", "/round": "/round"}
    if path in targets:
        return 302, {"Location": targets[path]}, b""
    if path in ("/unchanged", "/choices"):
        return 304 if path == "/unchanged" else 300, {}, b""
    if path == "/slow":
        time.sleep(1)
    if path in ENCODED:
        return 200, {"Content-Type": "text/html" + "; charset=utf-8" * (path == "/both")}, ENCODED[path]
    if path in PACKED:
        return 200, {"Content-Type": "text/plain", "Content-Encoding": PACKED[path][0]}, PACKED[path][1]
    if path in WITHOUT_TEXT:
        return 200, {"Content-Type": "text/html" if path == "/silent" else "text/plain"}, WITHOUT_TEXT[path]
    if path.startswith("/charset/"):
        return 200, {"Content-Type": f"text/plain; charset={path.rpartition('/')[2]}"}, b"plain"
    kind = {"/page": "text/html; charset=utf-8", "/capitals": "TEXT/HTML", "/mixed": "text/HTML", "/image": "image/png"}.get(path, "text/plain")
    content = {"/page": PAGE, "/capitals": PAGE, "/mixed": PAGE, "/long": "x" * 5000, "/host": request.headers["Host"]}.get(path, "plain")
    return 404 if path == "/gone" else 200, {"Content-Type": kind}, content.encode()


@pytest.fixture(scope="module")
def site(serve) -> Iterator[str]:
    with serve(reply) as address:
        yield address


@pytest.fixture
def fetch(say, site: str) -> Callable[..., str]:
    def fetch(path: str, **options: object) -> str:
        return say("web-fetch", f"See http://{site}{path}.", **{"allow": [site], "private_addresses": True, **options})

    return fetch


def test_a_page_of_an_allowed_host_is_read_as_text(fetch, site: str) -> None:
    assert fetch("/page") == "Pears\n12 are left."
    assert fetch("/plain") == "plain"
    assert fetch("/host") == site


def test_nothing_is_fetched_unless_a_host_is_allowed(fetch, site: str) -> None:
    with pytest.raises(AgentError, match=rf"host {site} is not allowed; add it to the option allow \(now: none\)"):
        fetch("/page", allow=[])
    with pytest.raises(AgentError, match=rf"\(now: 127.0.0.1, x{site}\)"):
        fetch("/page", allow=["127.0.0.1", f"x{site}"])


def test_addresses_of_a_private_network_are_refused_even_for_allowed_hosts(fetch, say) -> None:
    with pytest.raises(AgentError, match=r"127\.0\.0\.1 is an address of this machine or a private network"):
        fetch("/page", private_addresses=False)
    for host in (
        "localhost",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "224.0.0.1",
        "2130706433",
        "127.1",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a00:1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[::127.0.0.1]",
    ):
        with pytest.raises(AgentError, match="private network"):
            say("web-fetch", f"http://{host}/", allow=[host.strip("[]")])


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450:4001:80f::200e", "64:ff9b::808:808"])  # 6to4: never public from Python 3.13 on
def test_public_addresses_are_not_refused(address: str) -> None:
    assert _is_public(address)


def test_redirects_are_followed_only_to_allowed_hosts(fetch, site: str) -> None:
    assert fetch("/on") == "Pears\n12 are left."
    with pytest.raises(AgentError, match=r"169\.254\.169\.254 is not allowed"):
        fetch("/out")
    with pytest.raises(AgentError, match=r"localhost:\d+ is not allowed"):
        fetch("/other")
    assert fetch("/other", allow=[site, site.replace("127.0.0.1", "localhost")]) == "Pears\n12 are left."


@pytest.mark.parametrize(
    ("path", "options", "error"),
    [
        ("/round", {"redirects": 2}, "redirects more than 2 times"),
        ("/slow", {"seconds": 0.3}, "took longer than 0.3 s"),
        ("/gone", {}, "answers 404"),
        ("/unchanged", {}, "answers 304"),
        ("/choices", {}, "answers 300"),
        ("/image", {}, "is not text but 'image/png'"),
        ("/silent", {}, "/silent. has no text"),
        ("/blank", {}, "/blank. has no text"),
    ],
)
def test_what_cannot_be_read_is_said(fetch, path: str, options: dict[str, object], error: str) -> None:
    with pytest.raises(AgentError, match=error):
        fetch(path, **options)


@pytest.mark.parametrize("charset", ["klingon", "undefined", "idna", "punycode", "base64", "rot13"])
def test_an_unknown_charset_is_read_as_utf_8(fetch, charset: str) -> None:
    assert fetch(f"/charset/{charset}") == "plain"


@pytest.mark.parametrize(
    ("path", "text"), [*((path, "Grüße") for path in ENCODED if path != "/undeclared"), ("/undeclared", "Grüße charset=iso-8859-1")]
)
def test_a_page_without_a_charset_in_its_header_may_declare_it_itself(fetch, path: str, text: str) -> None:
    assert fetch(path) == text


@pytest.mark.parametrize("path", ["/capitals", "/mixed"])
def test_a_media_type_may_have_capitals(fetch, path: str) -> None:
    assert fetch(path) == "Pears\n12 are left."


def test_the_time_of_the_conversion_counts_and_does_not_block_others(fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_agents.web_fetch.text_of", lambda page: time.sleep(1.5))
    with pytest.raises(AgentError, match=r"took longer than 0.5 s"):
        fetch("/page", seconds=0.5)


def test_a_long_page_is_cut_off(fetch) -> None:
    assert fetch("/long", max_bytes=100) == "x" * 100


def test_a_compressed_page_is_expanded_up_to_the_maximum_only(fetch) -> None:
    assert fetch("/gzip") == "plain"
    assert fetch("/gzip", max_bytes=3) == "pla"
    tracemalloc.start()
    try:
        assert fetch("/bomb", max_bytes=1000) == "x" * 1000
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/twice", "is encoded as 'gzip, gzip'; only gzip can be read"),
        ("/deflate", "is encoded as 'deflate'"),
        ("/not-gzip", "is not gzip, as it claims"),
    ],
)
def test_other_encodings_are_refused(fetch, path: str, error: str) -> None:
    with pytest.raises(AgentError, match=error):
        fetch(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Hello", "no web address"),
        ("ftp://example.org/", "no web address"),
        ("http://me:secret@example.org/", "has no user in it"),
        ("http://127.0.0.1:9/", "cannot be fetched: ConnectError"),
        ("http://nowhere.invalid/", "nowhere.invalid has no address"),
        ("http://[::1/", "InvalidURL"),
        ("http://xn--/", "IDNAError: Malformed A-label"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(say, text: str, error: str) -> None:
    with pytest.raises(AgentError, match=error):
        say("web-fetch", text, allow=["example.org", "127.0.0.1:9", "nowhere.invalid"], private_addresses=True)


def test_only_what_is_seen_of_a_page_counts() -> None:
    assert text_of("<p>a</p><style>b</style></style>c<script>d<p>e</script>f") == "a\ncf"


def test_nothing_is_lost_of_deeply_nested_elements() -> None:
    assert text_of("<p>start</p>" + "<div>" * 400 + "inner" + "</div>" * 400 + "<p>end</p>") == "start\ninner\nend"
    with pytest.raises(AgentError, match="nested too deeply"):
        text_of("<div>" * 2000 + "inner")


@pytest.mark.parametrize("rest", ["<tr><td>b" * 20_000, "<td>" + "<br>" * 20_000 + "b"], ids=["rows", "lines"])
def test_a_table_whose_text_would_fill_the_memory_is_refused(rest: str) -> None:
    with pytest.raises(AgentError, match="the page has a table of 20,001 lines and"):
        text_of("<table><tr><td>" + "a" * 100_000 + rest)
    assert len(text_of("<table><tr><td>" + "a" * 400 + rest)) < 10_000_000


@pytest.mark.parametrize("length", ["100000em", f"{'9' * 400}em"])
@pytest.mark.parametrize("name", ["margin-top", "margin-bottom", "padding-left", "-webkit-padding-start"])
def test_no_style_fills_the_memory_with_white_space(name: str, length: str) -> None:
    tracemalloc.start()
    try:
        page = f"<p style='display: none'>a</p><div style='{name}: {length}'>" + f"<p style='{name}: {length}'>b</p>" * 100
        assert text_of(page) == "\n".join("b" * 100)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("<!-- a -->", ""),
        ("a <!-- b --> c", "a c"),
        ("\n<?xml version='1.0' encoding='utf-8'?><html>a</html>", "a"),
        ("<?xml\nversion='1.0' encoding='utf-8'?><html>a</html>", "a"),
    ],
)
def test_a_page_need_not_have_elements(page: str, text: str) -> None:
    assert text_of(page) == text
