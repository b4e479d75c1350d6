"""Command ``data fetch``, against a real server."""

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aamc_sdk.storage import locked
from aamc_sdk.testing import run_command

ROWS = b"".join(json.dumps({"id": f"q{n}", "question": f"question {n}?", "golden_answers": [str(n)]}).encode() + b"\n" for n in range(5000))


class Host:
    """A server of one content for every file; it may break off connections."""

    def __init__(self) -> None:
        self.content, self.break_after, self.ranges, self.paths = ROWS, 0, [], []
        self.etag, self.date, self.refuses_ranges_from = '"v1"', "", 0
        self.errors: list[int] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.paths.append(self.path)
                if "absent" in self.path or self.path.startswith("/gone"):
                    self.send_error(404)
                    return
                if host.errors:
                    self.send_response(host.errors.pop(0))
                    self.send_header("Retry-After", "0")
                    self.end_headers()
                    return
                begin, content = 0, host.content
                asked = self.headers.get("Range")
                if asked and host.refuses_ranges_from and len(host.ranges) >= host.refuses_ranges_from - 1:
                    self.send_error(416)
                    return
                if asked and self.headers.get("If-Range") == (host.date or host.etag):
                    begin = int(asked.removeprefix("bytes=").rstrip("-"))
                    host.ranges.append(begin)
                self.send_response(206 if begin else 200)
                if host.etag:
                    self.send_header("ETag", host.etag)
                if host.date:
                    self.send_header("Last-Modified", host.date)
                self.send_header("Content-Length", str(len(content) - begin))
                self.end_headers()
                end = begin + host.break_after if host.break_after else len(content)
                self.wfile.write(content[begin:end])

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.server.shutdown()
    made.server.server_close()


def fetch(host: Host, folder: Path, *names: str, base: str = "") -> tuple[int, str, str]:
    return run_command("data", "fetch", *names, "--split", "train", "--out", str(folder), "--host", host.url + base, "--json")


def test_a_file_is_downloaded_once_and_its_checksum_recorded(host: Host, tmp_path: Path) -> None:
    status, out, _ = fetch(host, tmp_path, "nq", "hotpotqa")
    assert status == 0
    assert [file["new"] for file in json.loads(out)["files"]] == [True, True]
    assert (tmp_path / "nq" / "train.jsonl").read_bytes() == ROWS
    recorded = json.loads((tmp_path / "checksums.json").read_text())["files"]
    assert recorded["hotpotqa/train.jsonl"] == {"sha256": sha256(ROWS).hexdigest(), "bytes": len(ROWS)}
    assert [file["new"] for file in json.loads(fetch(host, tmp_path, "nq", "hotpotqa")[1])["files"]] == [False, False]
    assert host.paths == ["/nq/train.jsonl", "/hotpotqa/train.jsonl"]


def test_an_interrupted_download_goes_on_where_it_stopped(host: Host, tmp_path: Path) -> None:
    host.break_after = 50_000
    status, out, _ = fetch(host, tmp_path, "nq")
    assert status == 1
    assert "run the same command again" in out
    assert not (tmp_path / "nq" / "train.jsonl").exists()
    stopped = (tmp_path / "nq" / "train.part").stat().st_size
    assert stopped == 150_000  # three attempts
    host.break_after, host.ranges = 0, []
    assert fetch(host, tmp_path, "nq")[0] == 0
    assert host.ranges == [stopped]
    assert sorted(path.name for path in (tmp_path / "nq").iterdir()) == ["train.jsonl"]
    assert (tmp_path / "nq" / "train.jsonl").read_bytes() == ROWS


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_a_server_without_a_strong_etag_goes_on_by_the_files_date(host: Host, tmp_path: Path, etag: str) -> None:
    host.etag, host.date, host.break_after = etag, "Sun, 29 Nov 2026 10:00:00 GMT", 50_000
    assert fetch(host, tmp_path, "nq")[0] == 1
    host.break_after, host.ranges = 0, []
    assert fetch(host, tmp_path, "nq")[0] == 0
    assert host.ranges == [150_000]
    assert (tmp_path / "nq" / "train.jsonl").read_bytes() == ROWS


def test_a_file_that_changed_on_the_server_starts_again(host: Host, tmp_path: Path) -> None:
    host.break_after = 50_000
    fetch(host, tmp_path, "nq")
    host.break_after, host.etag, host.content = 0, '"v2"', b"{}\n" * 70_000
    assert fetch(host, tmp_path, "nq")[0] == 0
    assert (tmp_path / "nq" / "train.jsonl").read_bytes() == host.content


def test_a_beginning_that_the_server_refuses_is_dropped_at_the_last_attempt_too(host: Host, tmp_path: Path) -> None:
    host.break_after = 50_000
    fetch(host, tmp_path, "nq")
    host.ranges, host.refuses_ranges_from = [], 3
    status, out, _ = fetch(host, tmp_path, "nq")
    assert (status, "run the same command again" in out) == (1, True)
    host.break_after, host.refuses_ranges_from = 0, 0
    assert fetch(host, tmp_path, "nq")[0] == 0
    assert (tmp_path / "nq" / "train.jsonl").read_bytes() == ROWS


def test_a_file_that_differs_from_its_checksum_is_refused(host: Host, tmp_path: Path) -> None:
    fetch(host, tmp_path, "nq")
    file = tmp_path / "nq" / "train.jsonl"
    file.write_bytes(ROWS + b"{}\n")
    status, out, _ = fetch(host, tmp_path, "nq")
    assert status == 1
    assert "has changed since it was fetched" in out
    assert file.read_bytes() == ROWS + b"{}\n"
    file.unlink()
    host.content = ROWS[:-1]
    assert "has changed since it was first fetched" in fetch(host, tmp_path, "nq")[1]
    assert not file.exists()


def test_two_processes_do_not_fetch_into_one_folder(host: Host, tmp_path: Path) -> None:
    with locked(tmp_path):
        status, out, _ = fetch(host, tmp_path, "nq")
    assert (status, "another process is writing" in out) == (1, True)
    assert fetch(host, tmp_path, "nq")[0] == 0


def test_a_busy_server_is_asked_again(host: Host, tmp_path: Path) -> None:
    host.errors = [503, 429, 500]
    status, out, _ = fetch(host, tmp_path, "nq")
    assert status == 1
    assert "the server answers 500 Internal Server Error" in out
    assert "run the same command again later" in out
    host.errors = [503, 429]
    status, _, said = fetch(host, tmp_path, "nq")
    assert status == 0
    assert "fetching nq/train.jsonl, MiB" in said
    assert (tmp_path / "nq" / "train.jsonl").read_bytes() == ROWS


@pytest.mark.parametrize(("content", "fault"), [(b"\n<!DOCTYPE html><title>Sign in</title>", "a web page"), (b"\n", "empty")])
def test_a_page_or_nothing_in_place_of_the_data_is_refused(host: Host, tmp_path: Path, content: bytes, fault: str) -> None:
    host.content = content
    status, out, _ = fetch(host, tmp_path, "nq")
    assert (status, f"train.jsonl is {fault}, not a dataset" in out) == (1, True)
    host.content = ROWS
    assert fetch(host, tmp_path, "nq")[0] == 0


def test_what_cannot_be_fetched_is_said(host: Host, tmp_path: Path) -> None:
    status, out, _ = fetch(host, tmp_path, "nq", base="/gone")
    assert status == 1
    assert "404" in out
    assert "did you mean 'nq'" in fetch(host, tmp_path, "nqq")[1]
    status, out, _ = run_command("data", "fetch", "popqa", "--split", "train", "--out", str(tmp_path), "--json")
    assert status == 1
    assert "no split 'train'" in out
    status, out, _ = run_command("data", "fetch", "nq", "--out", str(tmp_path), "--host", "http://127.0.0.1:9", "--json")
    assert status == 1
    assert "run the same command again" in out
