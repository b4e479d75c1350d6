"""The gateway behind nginx with the block of ``docs/how-to/deploy.md``."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.testing import GatewayProcess, free_port, stub_candidate
from aamc_models.testing import Script, StubServer
from forked_gateway import ForkedGateway
from service_processes import program

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "deploy.md"
ADMIN = "admin-key-of-this-test-0123456789"
CHAT = {"model": "aamc/auto", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer({"good": Script()}) as started:
        yield started


@contextmanager
def behind_nginx(folder: Path, stub: StubServer, **environment: str) -> Iterator[int]:
    """Start a gateway and nginx before it; yield nginx's port."""
    nginx, port = program("nginx"), free_port()
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    with ForkedGateway(folder, [stub_candidate("good", f"{stub.url}/v1")], environment=environment) as gateway:
        for documented, here in (("listen 443 ssl", f"listen 127.0.0.1:{port}"), ("http://127.0.0.1:8000", gateway.url)):
            assert documented in block
            block = block.replace(documented, here)
        server = "\n".join(line for line in block.splitlines() if "ssl_certificate" not in line)
        places = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file = folder / "nginx.conf"
        main = f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}"
        file.write_text(f"{main}\nhttp {{ access_log off; {places}\n{server}\n}}\n", encoding="utf-8")
        process = subprocess.Popen([nginx, "-c", str(file), "-p", str(folder), "-e", str(folder / "nginx.log")])
        try:
            wait_for(process, gateway, port)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def wait_for(process: subprocess.Popen[bytes], gateway: GatewayProcess, port: int) -> None:
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, (gateway.folder / "nginx.log").read_text(encoding="utf-8")
        try:
            assert ask(port, "/healthz", method="GET")[0] == 200
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return


def ask(port: int, path: str, body: Any = None, method: str = "POST", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = {"host": "gw.example.com", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def test_a_gateway_without_keys_refuses_what_comes_through_the_documented_proxy(tmp_path: Path, stub: StubServer) -> None:
    with behind_nginx(tmp_path, stub) as port:
        for host in ("gw.example.com", "127.0.0.1"):
            assert ask(port, "/admin/decisions", method="GET", host=host)[0] == 403
            assert ask(port, "/v1/chat/completions", CHAT, host=host)[0] == 403
        assert ask(port, "/dashboard/login", {"key": "any"})[0] == 403
    assert stub.counts("good").calls == 0


def test_people_sign_in_and_clients_ask_through_the_documented_proxy(tmp_path: Path, stub: StubServer) -> None:
    assert not os.environ.get("AAMC_ADMIN_KEY")
    with behind_nginx(tmp_path, stub, AAMC_ADMIN_KEY=ADMIN) as port:
        status, headers, _ = ask(port, "/dashboard/login", {"key": ADMIN}, origin="http://gw.example.com", x_forwarded_proto="https")
        assert (status, "Secure" in headers["set-cookie"]) == (200, False)
        assert ask(port, "/admin/overview", method="GET", cookie=headers["set-cookie"].partition(";")[0])[0] == 200
        refused = ask(port, "/dashboard/login", {"key": ADMIN}, origin="http://other.example.com")
        assert (refused[0], "its Host 'gw.example.com'; if a proxy changes Host" in refused[2]) == (403, True)
        large = {**CHAT, "messages": [{"role": "user", "content": "word " * 1_000_000}]}
        for body, last in ((CHAT, "}"), (large, "}"), ({**CHAT, "stream": True}, "data: [DONE]")):
            status, _, answer = ask(port, "/v1/chat/completions", body, authorization=f"Bearer {ADMIN}")
            assert (status, answer.strip().endswith(last)) == (200, True)
