"""``aamc models prices``: LiteLLM's map fills pool files, which keep their comments, order and the user's own prices."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from aamc_sdk import ModelSpec, Prices
from aamc_sdk.routing import read_pool
from aamc_sdk.testing import run_command

MAP = {
    "sample_spec": {"input_cost_per_token": 0.0, "litellm_provider": "one of many"},
    "gpt-x": {
        "input_cost_per_token": 1.5e-07,
        "output_cost_per_token": 6e-07,
        "output_cost_per_image_token": 3e-05,
        "input_cost_per_token_above_100k_tokens": 3e-07,
        "cache_read_input_token_cost": 7.5e-08,
        "max_input_tokens": 128000,
        "supports_function_calling": True,
        "supports_vision": True,
        "litellm_provider": "openai",
    },
    "claude-x": {
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_read_input_token_cost": 3e-07,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "input_cost_per_request": 0.001,
        "litellm_provider": "anthropic",
    },
    "groq/open-x": {
        "input_cost_per_token": 5e-08,
        "output_cost_per_token": 8e-08,
        "cache_creation_input_token_cost": 0.0,
        "cache_creation_input_token_cost_above_1hr": 0.0,
        "off_peak_pricing": {"input_cost_per_token": 2.5e-08},
        "max_input_tokens": 8192,
        "supports_function_calling": True,
        "litellm_provider": "groq",
    },
    "free-x": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "output_cost_per_second": 0.0, "max_input_tokens": 8192},
    "image-x": {"output_cost_per_image": 0.02},
    "half-x": {"input_cost_per_token": 1e-06},
    "embed-x": {"input_cost_per_token": 1e-07, "input_cost_per_image": 0.0001, "mode": "embedding"},
    "song-x": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "output_cost_per_second": 0.04, "litellm_provider": "openai"},
    "lasting-x": {
        "input_cost_per_token": 4e-06,
        "output_cost_per_token": 2e-05,
        "cache_creation_input_token_cost": 5e-06,
        "cache_creation_input_token_cost_above_12hr": 1e-05,
        "litellm_provider": "openai",
    },
    "drawing-x": {
        "input_cost_per_token": 5e-06,
        "output_cost_per_token": 1e-05,
        "output_cost_per_image_token": 3.2e-05,
        "mode": "image_generation",
        "litellm_provider": "openai",
    },
}
POOL = """# our models
candidates:
  - name: small   # the small one
    description: "For short and easy questions."
    latency: {network_ms: 50, service_ms: 7e2}
    endpoint: {provider: openai, base_url: "https://api.openai.com/v1", model: gpt-x}

  # the good one
  - name: claude-x
    description: >
      For hard questions.
    prices: {input: 2.00, output: 10.00}   # our contract
    endpoint:
      provider: anthropic   # no model: the name is the model's

  # an open model at a vendor
  - name: open
    endpoint: {provider: openai, base_url: "https://api.groq.com/openai/v1", model: open-x}
    abilities: [code]
  - name: own
    endpoint: {provider: openai, base_url: "http://localhost:8000/v1", model: org/open-x}
  - name: echo
    endpoint: {provider: echo}
tail: kept
"""
Aamc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aamc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aamc:
    monkeypatch.chdir(tmp_path)
    Path("map.json").write_text(json.dumps(MAP))
    Path("pool.yaml").write_text(POOL)
    return lambda *arguments: run_command("models", "prices", *arguments)


def spec(name: str, path: str = "pool.yaml") -> ModelSpec:
    pool = read_pool(Path(path))
    found = pool.candidates[pool.index(name)]
    assert isinstance(found, ModelSpec)
    return found


def test_prices_windows_and_abilities_are_filled_by_the_endpoints_model(aamc: Aamc) -> None:
    status, out, err = aamc("pool.yaml", "--prices", "map.json")
    assert status == 0, err
    small = spec("small")
    assert small.prices == Prices(0.15, 0.6, 0.075)
    assert (small.context_window, small.abilities) == (128000, {"tools", "vision"})
    assert spec("open").prices == Prices(0.05, 0.08)
    assert spec("open").abilities == {"code"}
    assert spec("open").context_window == 8192
    assert spec("own").prices is None
    assert "of unknown cost: own, echo" in err
    assert "Very long prompts cost more than the listed price: small." in err
    assert "Some hours cost less than the listed price: open." in err
    assert "groq/open-x" in out


def test_prices_of_images_of_other_units_and_of_lasting_caches(aamc: Aamc) -> None:
    names = ("drawing-x", "song-x", "free-x", "half-x", "embed-x", "lasting-x")
    Path("pool.yaml").write_text(json.dumps({"candidates": [{"name": name, "endpoint": "http://localhost:8000/v1"} for name in names]}))
    aamc("pool.yaml", "--prices", "map.json")
    assert [spec(name).prices for name in names] == [
        Prices(5.0, 32.0),
        None,
        Prices(0.0, 0.0),
        None,
        Prices(0.1, 0.0),
        Prices(4.0, 20.0, cache_write=5.0, cache_write_1h=10.0),
    ]


def test_a_model_is_found_by_its_name_at_gemini_and_values_that_say_nothing_are_left_out(aamc: Aamc) -> None:
    listed = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "max_input_tokens": 0, "supports_vision": "unknown"}
    Path("map.json").write_text(json.dumps({"gemini/flash-x": listed}))
    endpoint = {"provider": "openai", "base_url": "https://generativelanguage.googleapis.com/v1beta/openai", "model": "models/flash-x"}
    Path("pool.yaml").write_text(json.dumps({"candidates": [{"name": "flash", "endpoint": endpoint}]}))
    status, _, err = aamc("pool.yaml", "--prices", "map.json")
    assert status == 0, err
    assert (spec("flash").prices, spec("flash").context_window, spec("flash").abilities) == (Prices(1.0, 2.0), None, frozenset())


@pytest.mark.parametrize("indent", ["  ", ""])
def test_comments_order_and_all_other_lines_stay(aamc: Aamc, indent: str) -> None:
    pool = POOL.replace("\n  ", f"\n{indent}")
    Path("pool.yaml").write_text(pool)
    aamc("pool.yaml", "--prices", "map.json")
    written = Path("pool.yaml").read_text()
    assert [line for line in pool.splitlines() if line not in written.splitlines()] == []
    today = datetime.now(timezone.utc).date().isoformat()
    assert f"{indent}  prices: {{input: 0.15, output: 0.6, cached_input: 0.075}} # {today}, map.json: gpt-x\n" in written
    assert f"open-x}}\n{indent}  abilities: [code]" in written


def test_line_ends_of_windows_stay(aamc: Aamc) -> None:
    Path("pool.yaml").write_bytes(POOL.replace("\n", "\r\n").encode())
    status, _, err = aamc("pool.yaml", "--prices", "map.json")
    assert status == 0, err
    found = Path("pool.yaml").read_bytes()
    assert found.count(b"\r\n") == found.count(b"\n") > POOL.count("\n")


def test_a_comment_on_the_next_candidate_stays_before_it(aamc: Aamc) -> None:
    first = "candidates:\n  - endpoint: {provider: openai, model: gpt-x}\n"
    rest = "    name: a\n  # the other one\n  - name: b\n"
    Path("pool.yaml").write_text(first + rest)
    aamc("pool.yaml", "--prices", "map.json")
    written = Path("pool.yaml").read_text()
    assert written.startswith(first + "    prices:")
    assert written.endswith(rest)


@pytest.mark.parametrize("prices", ["{input: 9, output: 9}   # our contract", "\n      input: 9\n      output: 9   # our contract"])
def test_replaced_prices_leave_the_comments_around_them(aamc: Aamc, prices: str) -> None:
    last = "    # above\n    prices: "
    rest = "\n    # below\n\n  # the other one\n  - name: b\n"
    Path("pool.yaml").write_text(f"candidates:\n  - name: a\n    endpoint: {{provider: openai, model: gpt-x}}\n{last}{prices}{rest}")
    for _ in range(2):
        aamc("pool.yaml", "--prices", "map.json", "--replace")
    written = Path("pool.yaml").read_text()
    assert (last + "{input: 0.15" in written, written.endswith(rest), "contract" in written) == (True, True, False)


def test_a_comment_within_replaced_prices_goes_with_them(aamc: Aamc) -> None:
    head = "candidates:\n  - name: a\n    endpoint: {provider: openai, model: gpt-x}\n    prices:"
    Path("pool.yaml").write_text(head + "\n      # our contract\n      input: 9\n      output: 9\n  # the other one\n  - name: b\n")
    status, _, err = aamc("pool.yaml", "--prices", "map.json", "--replace")
    assert status == 0, err
    written = Path("pool.yaml").read_text()
    assert "prices: {input: 0.15" in written
    assert written.endswith("\n  # the other one\n  - name: b\n")
    assert "contract" not in written


def test_the_users_own_prices_stay_unless_they_are_replaced(aamc: Aamc) -> None:
    aamc("pool.yaml", "--prices", "map.json")
    assert spec("claude-x").prices == Prices(2.0, 10.0)
    aamc("pool.yaml", "--prices", "map.json", "--replace")
    assert spec("claude-x").prices == Prices(3.0, 15.0, 0.3, 3.75, 0.001, cache_write_1h=6.0)
    assert "our contract" not in Path("pool.yaml").read_text()
    Path("pool.yaml").write_text(Path("pool.yaml").read_text().replace("context_window: 8192", "context_window: 4096"))
    aamc("pool.yaml", "--prices", "map.json", "--replace")
    assert (spec("open").abilities, spec("open").context_window) == ({"code"}, 4096)


def test_a_second_import_changes_nothing(aamc: Aamc) -> None:
    aamc("pool.yaml", "--prices", "map.json", "--replace")
    once = Path("pool.yaml").read_text()
    aamc("pool.yaml", "--prices", "map.json", "--replace")
    assert Path("pool.yaml").read_text() == once


def test_out_leaves_the_pool_as_it_is_and_json_lists_each_candidate(aamc: Aamc) -> None:
    status, out, err = aamc("pool.yaml", "--prices", "map.json", "--out", "priced.yaml", "--json")
    assert status == 0, err
    assert Path("pool.yaml").read_text() == POOL
    document = json.loads(out)
    assert (document["schema"], document["unpriced"], document["source"]) == (1, ["own", "echo"], "map.json")
    assert {row["candidate"]: row["status"] for row in document["candidates"]} == {
        "small": "filled",
        "claude-x": "kept",
        "open": "filled",
        "own": "no price",
        "echo": "not called",
    }
    assert next(row["others"] for row in document["candidates"] if row["candidate"] == "own") == ["groq/open-x"]
    assert spec("small", "priced.yaml").prices is not None


@pytest.mark.parametrize(
    "content",
    [
        "candidates: [{name: gpt-x, endpoint: 'https://api.openai.com/v1'}]\n",
        "{candidates: [{endpoint: {provider: openai}, name: gpt-x}]}\n",
        "candidates:\n- name: gpt-x\n  endpoint:\n    provider: openai\n    deployments:\n    - {base_url: 'https://api.openai.com/v1'}\n",
        "candidates:\n- name: gpt-x\n  endpoint: {provider: openai, base_url: 'https://api.mistral.ai/v1', model: old-x, deployments: "
        "[{base_url: 'https://api.openai.com/v1', model: gpt-x}]}\n",
        "candidates:\n  - endpoint: {provider: litellm}\n    name: gpt-x   # last\n  # end\n",
        "candidates:\n  - {name: gpt-x, endpoint: {provider: litellm, model: openai/gpt-x}}\n",
    ],
)
def test_every_form_of_a_pool_file_can_be_filled(aamc: Aamc, content: str) -> None:
    Path("pool.yaml").write_text(content)
    status, _, err = aamc("pool.yaml", "--prices", "map.json")
    assert status == 0, err
    assert spec("gpt-x").prices == Prices(0.15, 0.6, 0.075)
    assert "gpt-x\n" in Path("pool.yaml").read_text()


def test_another_vendors_model_of_the_same_name_has_no_price(aamc: Aamc) -> None:
    endpoints = ("{provider: litellm, model: azure/gpt-x}", "{provider: anthropic, model: gpt-x}", "'https://api.mistral.ai/v1'")
    Path("pool.yaml").write_text("candidates:\n" + "".join(f"  - {{name: gpt-x{n}, endpoint: {at}}}\n" for n, at in enumerate(endpoints)))
    status, out, err = aamc("pool.yaml", "--prices", "map.json", "--json")
    assert status == 0, err
    assert json.loads(out)["unpriced"] == ["gpt-x0", "gpt-x1", "gpt-x2"]


def test_a_model_that_is_free_has_prices_of_zero(aamc: Aamc) -> None:
    Path("pool.yaml").write_text("candidates: [{name: free-x, endpoint: 'http://localhost:1/v1'}, {name: image-x, endpoint: 'http://localhost:1'}]")
    _, _, err = aamc("pool.yaml", "--prices", "map.json")
    assert spec("free-x").prices == Prices(0.0, 0.0)
    assert "of unknown cost: image-x." in err


@pytest.mark.parametrize("price", ["-1e-6", "1e400", "9" * 400, "1e305", "NaN", "true", '"1e-6"'])
def test_a_price_that_is_none_is_left_out(aamc: Aamc, price: str) -> None:
    Path("pool.yaml").write_text("candidates: [{name: odd-x, endpoint: 'http://localhost:1/v1'}]")
    Path("map.json").write_text(f'{{"odd-x": {{"input_cost_per_token": {price}, "output_cost_per_token": 1e-6}}}}')
    status, _, err = aamc("pool.yaml", "--prices", "map.json")
    assert (status, "of unknown cost: odd-x." in err) == (0, True), err


def test_the_map_of_an_installed_litellm_is_read_without_importing_it(aamc: Aamc, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path("site/litellm")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model_prices_and_context_window_backup.json").write_text(json.dumps(MAP))
    information = Path("site/litellm-1.2.3.dist-info")
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 1.2.3\n")
    monkeypatch.syspath_prepend(str(Path("site").resolve()))
    status, _, err = aamc("pool.yaml")
    assert status == 0, err
    assert "litellm 1.2.3: gpt-x" in Path("pool.yaml").read_text()
    assert "litellm" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (["--prices", "nothing.json"], POOL, "cannot read nothing.json: there is no such file"),
        (["--prices", "pool.yaml"], POOL, "give LiteLLM's price map, a JSON file"),
        (["--prices", "other.json"], POOL, "other.json is not LiteLLM's price map"),
        (["--prices", "map.json"], "candidates: {", "pool.yaml is not valid YAML in line 1"),
        (["--prices", "map.json"], "[" * 5_000, "pool.yaml has lists or mappings that are nested too deeply"),
        (["--prices", "map.json"], "candidates: []", "must have a list 'candidates'"),
        (["--prices", "map.json"], "", "pool.yaml is empty"),
        (["--prices", "map.json"], "- name: a", "pool.yaml must hold keys and values, not [{'name': 'a'}]"),
    ],
)
def test_what_cannot_be_used_is_named(aamc: Aamc, arguments: list[str], content: str, message: str) -> None:
    Path("other.json").write_text('{"a": {}}')
    Path("pool.yaml").write_text(content)
    status, _, err = aamc("pool.yaml", *arguments)
    assert status == 1
    assert message in err
    assert Path("pool.yaml").read_text() == content
