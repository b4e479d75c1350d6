"""Agent ``web-fetch``: reads a page from a list of allowed hosts, which is empty by default."""

from __future__ import annotations

import asyncio
import codecs
import ipaddress
import re
import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, AgentTimeoutError, Tool, ToolConfig, check_extra, subject
from aamc_sdk import Candidate, Services, option

if TYPE_CHECKING:
    import httpx

_ADDRESS = re.compile(r"https?://[^\s<>\"')]+")
_TEXTS = ("text/", "application/json", "application/xml", "application/xhtml+xml")
_META_CHARSET = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"^\s*<\?xml\s[^>]*\?>")
_ONLY_PYTHONS = ("idna", "punycode", "raw-unicode-escape", "unicode-escape")
"""Encodings that are no charsets. Decoding 500 kB of punycode takes half a minute."""
_META_BYTES = 1024
"""Bytes of a page in which it may declare its charset (HTML standard, section 4.2.5.4)."""
_ENDS_IN_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""Translation to IPv4 (NAT64, RFC 6052) and the deprecated IPv4-compatible addresses."""
_MAX_TABLE = 10_000_000
"""Maximum characters of a table as text: each of its lines is as long as the longest cells, so a page of 500 kB could take gigabytes."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""Translation with a network's own layout (RFC 8215), which only the network can tell."""


@attrs.frozen(kw_only=True)
class WebFetchConfig(ToolConfig):
    """Allowed hosts, limits and billing."""

    allow: list[str] = option([], "Allowed hosts, each with its port unless it is the scheme's default; none if empty.")  # noqa: RUF009  # an attrs field
    private_addresses: bool = option(False, "Whether hosts may have addresses of this machine or a private network.")
    max_bytes: int = option(500_000, "Maximum bytes of a page; the rest is cut off.", at_least=1)
    seconds: float = option(10.0, "Timeout of a page in seconds, including redirects.", above=0.0)
    redirects: int = option(3, "Maximum number of redirects; each must lead to an allowed host.", at_least=0)


class WebFetch(Tool):
    """Reads the page whose address is in the last output, else in the task.

    A host's address is looked up once, checked, and then used for the connection, so that a name that changes its address cannot
    lead into a private network. Proxies from the environment are ignored.
    """

    Config = WebFetchConfig
    config: WebFetchConfig
    deterministic: ClassVar[bool] = False
    spec = Candidate("web-fetch", "Fetches a web page by its address and gives its text; only from hosts that are allowed.")

    def __init__(self, config: WebFetchConfig, services: Services) -> None:
        check_extra("agent web-fetch", "aamc-agents[web]", "httpx", "inscriptis", "lxml")
        super().__init__(config, services)

    async def act(self, state: TaskState) -> str:
        """Return the page's text."""
        import httpx

        addresses = _ADDRESS.findall(subject(state)) or _ADDRESS.findall(state.task.text)
        if not addresses:
            raise AgentError(f"no web address in {subject(state)!r:.80}")
        try:
            text = await asyncio.wait_for(self._fetch(addresses[0].rstrip(".,;:!?")), self.config.seconds)
        except asyncio.TimeoutError:
            raise AgentTimeoutError(f"{addresses[0]} took longer than {self.config.seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last one is that of a host's name
            raise AgentError(f"{addresses[0]} cannot be fetched: {type(error).__name__}: {error}") from error
        if not text.strip():
            raise AgentError(f"{addresses[0]} has no text")
        return text

    async def _fetch(self, address: str) -> str:
        import httpx

        url = httpx.URL(address)
        async with httpx.AsyncClient(trust_env=False, timeout=self.config.seconds) as client:
            for _ in range(self.config.redirects + 1):
                self._check_listed(url)
                answer = await self._get(client, url)
                if isinstance(answer, str):
                    return answer
                url = answer
        raise AgentError(f"{address} redirects more than {self.config.redirects} times")

    def _check_listed(self, url: httpx.URL) -> None:
        named = url.host if url.port is None else f"{url.host}:{url.port}"
        if url.scheme not in ("http", "https") or url.userinfo:
            raise AgentError(f"{url} is refused: an address begins with http:// or https:// and has no user in it")
        if named not in self.config.allow:
            raise AgentError(f"host {named} is not allowed; add it to the option allow (now: {', '.join(self.config.allow) or 'none'})")

    async def _get(self, client: httpx.AsyncClient, url: httpx.URL) -> str | httpx.URL:
        """Return the page's text, or the target of its redirect."""
        headers, tls = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "gzip"}, {"sni_hostname": url.host}
        at = url.copy_with(host=await self._address(url))
        async with client.stream("GET", at, headers=headers, extensions=tls) as response:
            if response.has_redirect_location:
                return url.join(response.headers["location"])
            if not response.is_success:
                raise AgentError(f"{url} answers {response.status_code}")
            kind = response.headers.get("content-type", "text/plain").lower()
            if not kind.startswith(_TEXTS):
                raise AgentError(f"{url} is not text but {kind!r:.60}")
            content = await _content(response, self.config.max_bytes)
            if "html" not in kind:
                return _decoded(content, response.charset_encoding or "utf-8")
            declared = _META_CHARSET.search(content[:_META_BYTES])
            charset = declared[1].decode("ascii") if declared else "utf-8"
            if charset.lower().startswith("utf-16"):  # a page whose tag can be read as ASCII is not UTF-16; the standard takes it for UTF-8
                charset = "utf-8"
            page = _decoded(content, response.charset_encoding or charset)
            return await asyncio.to_thread(text_of, page)  # a large page takes seconds

    async def _address(self, url: httpx.URL) -> str:
        """Return the first address of a host after a check of all its addresses."""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise AgentError(f"{url.host} has no address: {error}") from error
        addresses = [str(entry[4][0]) for entry in found]
        private = [address for address in addresses if not _is_public(address)]
        if private and not self.config.private_addresses:
            raise AgentError(f"{url.host} is refused: {private[0]} is an address of this machine or a private network")
        return addresses[0]


async def _content(response: httpx.Response, max_bytes: int) -> bytes:
    """Return the first bytes of a page. httpx's own decoding would expand a whole piece, and each of several encodings, without a limit."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise AgentError(f"{response.url} is encoded as {encoding!r:.60}; only gzip can be read")
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    content = b""
    async for piece in response.aiter_raw():
        try:
            content += gzip.decompress(piece, max_bytes - len(content)) if encoding == "gzip" else piece
        except zlib.error as error:
            raise AgentError(f"{response.url} is not gzip, as it claims: {error}") from error
        if len(content) >= max_bytes or gzip.eof:
            break
    return content[:max_bytes]


def _is_public(address: str) -> bool:
    return all(each.is_global and not each.is_multicast and each not in _LOCAL_NAT64 for each in _with_embedded(ipaddress.ip_address(address)))


def _with_embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Yield an address, and the IPv4 addresses in it to which a network may translate it."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        yield from filter(None, (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())))
        if any(address in network for network in _ENDS_IN_IPV4):
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _decoded(content: bytes, charset: str) -> str:
    """Return the text of bytes; a charset that Python does not know, or cannot decode, or that only Python knows, is taken for UTF-8."""
    try:
        if codecs.lookup(charset).name in _ONLY_PYTHONS:
            charset = "utf-8"
        return content.decode(charset, errors="replace")
    except (LookupError, UnicodeError):  # "undefined" raises the latter
        return content.decode("utf-8", errors="replace")


def text_of(page: str) -> str:
    """Return an HTML page's visible text, one line for each line on the screen.

    Raises:
        AgentError: Its elements are nested too deeply, or a table is too large.
    """
    from inscriptis.html_engine import Inscriptis  # type: ignore[import-untyped]  # it has no types
    from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]  # likewise
    from inscriptis.model.css import CssParse  # type: ignore[import-untyped]  # likewise
    from inscriptis.model.tag import CustomHtmlTagHandlerMapping  # type: ignore[import-untyped]  # likewise
    from inscriptis.model.tag.table_tag import table_end_handler  # type: ignore[import-untyped]  # likewise
    from lxml import etree, html  # type: ignore[import-untyped]  # likewise

    def end_table(state: Any) -> None:
        rows = [[cell for cell in row.columns if cell.normalize_blocks()] for row in state.current_table[-1].rows]
        height = sum(max((len(cell.blocks) for cell in row), default=0) for row in rows)
        width = sum(max(len(line) for cell in column if cell for line in cell.blocks) for column in zip_longest(*rows))
        if height * width > _MAX_TABLE:
            raise AgentError(f"the page has a table of {height:,} lines and {width:,} columns of text, which is too large")
        table_end_handler(state)

    def apply_style(style: str, element: Any) -> None:
        """Apply a style without its margins and padding: a page of 160 kB could take gigabytes of white space, which is stripped anyway."""
        spacing = element.margin_before, element.margin_after, element.padding_inline
        with suppress(OverflowError):  # a length may be infinite
            CssParse.attr_style(style, element)
        element.margin_before, element.margin_after, element.padding_inline = spacing

    config = ParserConfig(custom_html_tag_handler_mapping=CustomHtmlTagHandlerMapping({}, {"table": end_table}))
    config.attribute_handler.attribute_mapping = {**config.attribute_handler.attribute_mapping, "style": apply_style}
    try:
        tree = html.document_fromstring(_XML_DECLARATION.sub("", page), html.HTMLParser(huge_tree=True))  # others leave out what follows 255 levels
        lines = Inscriptis(tree, config).get_text().splitlines()
    except etree.ParserError:  # there is no element
        return ""
    except RecursionError:
        raise AgentError("the page's elements are nested too deeply") from None
    return "\n".join(line.strip() for line in lines if line.strip())
