"""``aamc keys``."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from aamc_gateway.access.access import Access
from aamc_gateway.access.callers import Refused
from aamc_gateway.access.commands import REMOVABLE
from aamc_gateway.access.settings import AccessSettings, Limits
from aamc_gateway.access.shared import SharedState, open_shared
from click.testing import CliRunner

from aamc_sdk.cli import aamc, main
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def keys(*arguments: str) -> str:
    result = CliRunner().invoke(aamc, ["keys", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def listed(store: str = "sqlite:aamc-gateway.db") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(keys("list", "--json", "--store", store))["keys"]
    return found


def test_a_key_is_shown_once(folder: Path) -> None:
    secret = keys("add", "ci").strip()
    assert secret.startswith("sk-aamc-")
    assert (folder / "aamc-gateway.db.gateway").exists()
    table = keys("list")
    assert "(UTC)" in table
    shown = table + keys("list", "--json")
    assert secret not in shown
    assert secret[-43:] not in shown
    assert listed()[0]["id"] in secret


def test_a_key_gets_what_the_options_say() -> None:
    options = ["--tenant", "acme", "--user", "anna", "--models", "cheap,strong", "--usd-per-day", "2", "--requests-per-minute", "60"]
    made = json.loads(keys("add", "ci", *options, "--expires", "30d", "--admin", "--json"))
    assert made["admin"] is True
    (found,) = listed()
    assert (found["tenant"], found["user"], found["models"], found["state"]) == ("acme", "anna", ["cheap", "strong"], "active")
    assert found["limits"]["usd_per_day"] == 2.0
    assert found["limits"]["requests_per_minute"] == 60
    assert found["expires"] - found["created"] == pytest.approx(30 * 86400, abs=60)
    assert found["spent_usd"] == {"day": 0.0}


def test_spending_under_the_gateway_s_default_limits_is_listed() -> None:
    secret = keys("add", "ci").strip()
    assert listed()[0]["spent_usd"] == {}

    async def spend() -> None:
        store = open_store("sqlite:aamc-gateway.db", get_plugin_manager())
        shared = open_shared(store)
        access = Access(AccessSettings(limits=Limits(usd_per_day=50.0)), shared)
        admission = await access.admit(await access.caller([(b"x-api-key", secret.encode())]), max_cost_usd=1.0)
        admission.settle(0.25)
        await shared.close()
        store.close()

    asyncio.run(spend())
    assert (listed()[0]["limits"], listed()[0]["spent_usd"]) == (None, {"day": 0.25, "month": 0.25, "total": 0.25})


def test_small_and_large_spending_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spent(shared: SharedState, counters: Sequence[str], *, held: bool) -> Sequence[float]:
        assert not held
        return [0.0, 0.00001234, 1234.567][: len(counters)]

    keys("add", "ci", "--usd-per-day", "2", "--usd-per-month", "20", "--usd-total", "2000")
    monkeypatch.setattr(SharedState, "read", spent)
    shown = keys("list").split()
    assert [each for each in ("0,", "1.23e-05,", "1234.57") if each in shown] == ["0,", "1.23e-05,", "1234.57"]


def test_a_rotated_key_has_another_secret_and_the_same_id() -> None:
    first = keys("add", "ci").strip()
    second = keys("rotate", "ci", "--grace", "1h").strip()
    assert first != second
    assert first[:20] == second[:20]


def test_the_limits_of_a_key_change_and_its_secret_and_spending_stay() -> None:
    secret = keys("add", "ci", "--usd-per-day", "1", "--requests-per-minute", "60").strip()
    (before,) = listed()

    async def spend(usd: float) -> None:
        with closing(open_store("sqlite:aamc-gateway.db", get_plugin_manager())) as store:
            shared = open_shared(store)
            try:
                access = Access(AccessSettings(), shared)
                admission = await access.admit(await access.caller([(b"x-api-key", secret.encode())]), max_cost_usd=usd)
                admission.settle(usd)
            finally:
                await shared.close()

    asyncio.run(spend(0.75))
    with pytest.raises(Refused):
        asyncio.run(spend(0.75))
    changed = json.loads(keys("set", "ci", "--usd-per-day", "2", "--parallel-requests", "3", "--expires", "30d", "--json"))
    asyncio.run(spend(0.75))
    (found,) = listed()
    assert {name: limit for name, limit in found["limits"].items() if limit is not None} == {
        "usd_per_day": 2.0,
        "requests_per_minute": 60,
        "parallel_requests": 3,
    }
    assert (found["id"], found["created"], found["spent_usd"]) == (before["id"], before["created"], {"day": 1.5, "month": 1.5, "total": 1.5})
    assert (changed["limits"], changed["expires"]) == (found["limits"], found["expires"])
    assert found["expires"] - found["created"] == pytest.approx(30 * 86400, abs=60)
    keys("set", found["id"], "--expires", "60d")
    assert listed()[0]["limits"] == found["limits"]


def test_a_limit_of_a_key_can_be_removed_again() -> None:
    keys("add", "ci", "--usd-per-day", "1", "--requests-per-minute", "60", "--expires", "30d")
    keys("set", "ci", "--remove", "usd-per-day", "--remove", "expires", "--parallel-requests", "3")
    (found,) = listed()
    assert {name: limit for name, limit in found["limits"].items() if limit is not None} == {"requests_per_minute": 60, "parallel_requests": 3}
    assert found["expires"] is None
    removed = json.loads(keys("set", "ci", "--remove", "requests-per-minute", "--remove", "parallel-requests", "--json"))
    assert removed["limits"] is None  # so the gateway's default limits hold


def test_each_limit_of_a_key_can_be_removed() -> None:
    assert {name.replace("-", "_") for name in REMOVABLE} == {field.name for field in attrs.fields(Limits)} | {"expires"}


def test_a_revoked_key_is_listed_as_such() -> None:
    keys("add", "ci")
    assert json.loads(keys("revoke", "ci", "--json"))["state"] == "revoked"
    assert [key["state"] for key in listed()] == ["revoked"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["add", "ci", "--store", "memory:"], 1, "keys cannot be kept with memory:"),
        (["revoke", "nobody"], 1, "there is no active key of the name or id 'nobody'"),
        (["revoke", ""], 1, "there is no active key of the name or id ''"),
        (["revoke", "second"], 1, "the key 'second' is revoked; aamc keys list shows the active ones"),
        (["add", "ci", "--expires", "soon"], 2, "'soon' is not a duration such as 30m, 12h, 30d or 4w"),
        (["add", "ci", "--expires", "0d"], 2, "'0d' is not a duration such as 30m, 12h, 30d or 4w"),
        (["add", "ci", "--expires", "99999999999d"], 2, "'99999999999d' from now is after the year 9999; give a shorter duration"),
        (["add", "ci", "--usd-per-day", "-1"], 2, "-1"),
        (["set", "first"], 2, "Name at least one limit, such as --usd-per-day 10, or --expires, or --remove usd-per-day."),
        (["set", "first", "--usd-per-day", "1", "--remove", "usd-per-day"], 2, "--usd-per-day and --remove usd-per-day contradict each other"),
        (["set", "first", "--remove", "usd"], 2, "'usd' is not one of 'usd-per-day'"),
        (["set", "second", "--usd-per-day", "1"], 1, "the key 'second' is revoked"),
        (["set", "first", "--usd-per-day", "nan"], 2, "nan"),
        (["add", ""], 1, "the name of a key must not be empty"),
        (["add", "a\u202eb"], 1, "the name of a key must be of printable characters, not 'a\\u202eb'"),
        (["add", "\u200d"], 1, "the name of a key must be of printable characters, not '\\u200d'"),
        (["add", "a\nb"], 1, "the name of a key must be of printable characters, not 'a\\nb'"),
        (["add", "x" * 600], 1, "the name of a key must have at most 512 bytes in UTF-8, not 600"),
        (["add", "ci", "--tenant", ""], 1, "the tenant of a key must not be empty"),
        (["add", "ci", "--user", ""], 1, "the user of a key must not be empty"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    keys("add", "first")
    keys("add", "second")
    keys("revoke", "second")
    with pytest.raises(SystemExit) as ended:
        main(["keys", *arguments])
    assert ended.value.code == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "ci"], ["rotate", "ci"], ["set", "ci", "--usd-total", "1"]])
def test_a_log_that_does_not_exist_is_not_made(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", *arguments, "--store", "sqlite:typo.db"])
    assert ended.value.code == 1
    assert "there is no store at typo.db" in capsys.readouterr().err
    assert not list(folder.glob("typo.db*"))


@pytest.mark.parametrize("store_url", ["sqlite", "redis", "postgres"], indirect=True)
def test_keys_and_their_spending_move_to_another_store(store_url: str) -> None:
    secret = keys("add", "ci", "--tenant", "acme", "--user", "ann", "--usd-total", "2", "--store", "sqlite:old.db").strip()
    keys("add", "gone", "--store", "sqlite:old.db")
    keys("revoke", "gone", "--store", "sqlite:old.db")
    limits = {"tenants": {"acme": Limits(usd_per_month=3.0)}, "users": {"ann": Limits(usd_per_day=5.0)}}

    async def spend(url: str, usd: float) -> None:
        store = open_store(url, get_plugin_manager())
        shared = open_shared(store)
        access = Access(AccessSettings(**limits), shared)  # type: ignore[arg-type]  # by name
        try:
            admission = await access.admit(await access.caller([(b"x-api-key", secret.encode())]), max_cost_usd=usd)
            admission.settle(usd)
        finally:
            await shared.close()
            store.close()

    asyncio.run(spend("sqlite:old.db", 1.5))
    before = listed("sqlite:old.db")
    keys("export", "keys.json", "--store", "sqlite:old.db")
    assert secret[-43:] not in Path("keys.json").read_text()
    for new in (2, 0):
        assert json.loads(keys("import", "keys.json", "--store", store_url, "--json")) == {"schema": 1, "keys": 2, "new": new}
        assert listed(store_url) == before
    with pytest.raises(Refused, match=r"the key 'ci' has 0\.5 USD left"):
        asyncio.run(spend(store_url, 0.6))
    keys("set", "ci", "--usd-total", "100", "--store", store_url)
    with pytest.raises(Refused, match=r"the tenant 'acme' has 1\.5 USD left"):
        asyncio.run(spend(store_url, 1.6))
    limits["tenants"] = {}
    with pytest.raises(Refused, match=r"this user has 3\.5 USD left"):
        asyncio.run(spend(store_url, 3.6))
    asyncio.run(spend(store_url, 3.4))


def test_an_import_adds_to_any_spending_that_the_gateway_counts() -> None:
    keys("add", "rich")
    keys("add", "other")
    keys("export", "keys.json")
    document = json.loads(Path("keys.json").read_text())
    rich, other = (key["id"] for key in document["keys"])
    for spent in ({rich: 1e16}, {rich: 1e16, other: 2.0}):
        document["spent_usd"] = {f"key/{key}|usd|total": usd for key, usd in spent.items()}
        Path("keys.json").write_text(json.dumps(document))
        keys("import", "keys.json")
    assert [key["spent_usd"] for key in listed()] == [{"total": 1e16}, {"total": 2.0}]


def test_an_import_of_keys_that_cannot_be_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    keys("add", "ci")
    keys("export", "keys.json")
    keys("add", "ci", "--store", "sqlite:new.db")
    Path("other.json").write_text('{"decision": {}}')
    Path("bad.json").write_text("{")
    for name, message in (("keys", "there is another key named 'ci'"), ("other", "decision"), ("bad", "give a file of aamc keys export")):
        with pytest.raises(SystemExit) as ended:
            main(["keys", "import", f"{name}.json", "--store", "sqlite:new.db"])
        assert ended.value.code == 1
        assert message in capsys.readouterr().err
    assert len(listed("sqlite:new.db")) == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"schema": 99, "keys": []}, "keys.json has schema 99, not 1: another version made it"),
        ({}, "this is not a file of aamc keys export"),
        ({"schema": 1}, "this is not a file of aamc keys export"),
        ({"schema": 1, "keys": [], "more": 1}, "more"),
        (
            {"schema": 1, "keys": [{"id": "0" * 12, "name": "ci", "digest": "cut off", "created": 0.0}]},
            "digits, not 'cut off'",
        ),
        ({"schema": 1, "keys": [{"id": "0" * 12, "name": "ci", "digest": "0" * 64, "created": 0.0, "expires": math.nan}]}, "NaN is not a number"),
    ],
)
def test_an_import_of_another_file_makes_no_store(document: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("keys.json").write_text(json.dumps(document))
    with pytest.raises(SystemExit) as ended:
        main(["keys", "import", "keys.json", "--store", "sqlite:new.db"])
    assert (ended.value.code, [*Path.cwd().glob("new.db*")]) == (1, [])
    assert message in capsys.readouterr().err
